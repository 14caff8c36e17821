//===- Workload.cpp - The problems that a program met, for the tuner
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//

#include "fresnel/Tuning/Workload.h"
#include "fresnel/Artifact/File.h"
#include <cerrno>
#include <cstring>
#include <fcntl.h>
#include <mutex>
#include <nlohmann/json.hpp>
#include <set>
#include <sys/file.h>
#include <unistd.h>

using nlohmann::json;

namespace fresnel::rt {

//===----------------------------------------------------------------------===//
// Text
//===----------------------------------------------------------------------===//

std::string toJson(const Workload &workload) {
  json value = {{"schema", kWorkloadSchema},
                {"method", workload.method},
                {"parameters", json::parse(workload.parameters, nullptr, /*allow_exceptions=*/false)},
                {"dtype", workload.dtype},
                {"target", workload.target},
                {"grad", workload.grad},
                {"device",
                 {{"name", workload.device.name},
                  {"compute", workload.device.compute},
                  {"multiprocessors", workload.device.multiprocessors}}},
                {"program", workload.program}};
  return value.dump(-1, ' ', false, json::error_handler_t::replace);
}

static Status damaged(const std::string &why) { return Status(Code::Integrity, why); }

Expected<Workload> parseWorkload(std::string_view line) {
  json value = isNestedDeeperThan(line, 16) ? json() : json::parse(line, nullptr, /*allow_exceptions=*/false);
  if (!value.is_object())
    return damaged("not a JSON object");
  auto text = [](const json &object, const char *key) {
    auto found = object.find(key);
    return found != object.end() && found->is_string() ? found->get<std::string>() : std::string();
  };
  if (std::string schema = text(value, "schema"); schema != kWorkloadSchema)
    return Status(Code::Unsupported, "schema '" + schema + "' is not " + kWorkloadSchema);
  Workload workload;
  for (auto [key, member] : {std::pair("method", &workload.method),
                             {"dtype", &workload.dtype},
                             {"target", &workload.target},
                             {"program", &workload.program}}) {
    *member = text(value, key);
    if (member->empty())
      return damaged(std::string("'") + key + "' is missing or no string");
  }
  auto parameters = value.find("parameters"), grad = value.find("grad"), device = value.find("device");
  if (parameters == value.end() || !parameters->is_object())
    return damaged("'parameters' is missing or no object");
  if (grad == value.end() || !grad->is_boolean())
    return damaged("'grad' is missing or no boolean");
  if (device == value.end() || !device->is_object())
    return damaged("'device' is missing or no object");
  workload.parameters = parameters->dump(-1, ' ', false, json::error_handler_t::replace);
  workload.grad = grad->get<bool>();
  workload.device.name = text(*device, "name");
  for (auto [key, member] :
       {std::pair("compute", &workload.device.compute), {"multiprocessors", &workload.device.multiprocessors}}) {
    auto found = device->find(key);
    if (found == device->end() || !found->is_number_integer() || found->get<int64_t>() < 0 ||
        found->get<int64_t>() > 1000000)
      return damaged(std::string("'device/") + key + "' is missing or no small number");
    *member = int(found->get<int64_t>());
  }
  return workload;
}

//===----------------------------------------------------------------------===//
// Files
//===----------------------------------------------------------------------===//

/// True if `content` has `line` as one of its lines.
static bool hasLine(std::string_view content, std::string_view line) {
  for (size_t at = content.find(line); at != std::string_view::npos; at = content.find(line, at + 1)) {
    size_t end = at + line.size();
    if ((at == 0 || content[at - 1] == '\n') && end < content.size() && content[end] == '\n')
      return true;
  }
  return false;
}

/// Appends to a file that is locked.
static Status append(int file, const std::string &path, const std::string &line) {
  Expected<std::string> content = readFile(path);
  if (!content)
    return content.status();
  if (hasLine(*content, line))
    return Status();
  // A process that was killed may have left its line torn.
  bool torn = !content->empty() && content->back() != '\n';
  std::string text = (torn ? "\n" : "") + line + "\n";
  ssize_t count;
  do
    count = write(file, text.data(), text.size());
  while (count < 0 && errno == EINTR);
  if (count == ssize_t(text.size()))
    return Status();
  return Status(Code::IoError,
                "cannot write '" + path + "': " + (count < 0 ? std::strerror(errno) : "the disk is full"));
}

Status recordWorkload(const std::string &path, const Workload &workload) {
  std::string line = toJson(workload);
  // What this process has written needs no look into the file. Never destroyed:
  // another thread may still load while the process ends.
  static std::mutex &mutex = *new std::mutex;
  static std::set<std::string> &known = *new std::set<std::string>;
  std::lock_guard<std::mutex> guard(mutex);
  if (known.count(path + "\n" + line))
    return Status();
  int file = open(path.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0644);
  if (file < 0)
    return Status(Code::IoError, "cannot write '" + path + "': " + std::strerror(errno));
  while (flock(file, LOCK_EX) != 0 && errno == EINTR)
    ;
  Status status = append(file, path, line);
  // This releases the lock.
  close(file);
  if (status.ok())
    known.insert(path + "\n" + line);
  return status;
}

Expected<std::vector<Workload>> readWorkloads(const std::string &path, std::vector<std::string> &warnings) {
  Expected<std::string> content = readFile(path);
  if (!content)
    return content.status();
  std::vector<Workload> workloads;
  std::set<std::string> seen;
  std::string_view rest = *content;
  for (size_t number = 1; !rest.empty(); ++number) {
    size_t end = std::min(rest.find('\n'), rest.size());
    Expected<Workload> workload = parseWorkload(rest.substr(0, end));
    if (!workload)
      warnings.push_back(path + ":" + std::to_string(number) + ": left out: " + workload.status().message());
    else if (seen.insert(toJson(*workload)).second)
      workloads.push_back(std::move(*workload));
    rest.remove_prefix(std::min(end + 1, rest.size()));
  }
  return workloads;
}

} // namespace fresnel::rt
