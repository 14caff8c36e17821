//===- Tuned.cpp - Compiling with what the tuning database knows ------------===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
#include "Tuned.h"

#include "fresnel/Artifact/Sha256.h"
#include "fresnel/Dialect/Fresnel.h"
#include "fresnel/Schedule/Space.h"
#include "llvm/Support/FormatVariadic.h"

#include <iostream>

namespace fresnel::tool {

std::string databasePath(const std::string &path) {
  std::string chosen = path.empty() ? rt::defaultDatabasePath() : path;
  if (chosen.empty())
    fail(ExitEnvironment, "there is no place for a tuning database: HOME is not set",
         "name one with --db or the environment variable FRESNEL_DB");
  return chosen;
}

rt::Database openDatabase(const std::string &path) {
  rt::Expected<rt::Database> database = rt::Database::open(databasePath(path));
  if (!database)
    fail(ExitEnvironment, database.status().message());
  for (const std::string &warning : database->warnings())
    std::cerr << "warning: " << warning << "\n";
  return std::move(*database);
}

void addTunedOptions(CLI::App &command, TunedOptions &options) {
  auto *database = command.add_option("--db", options.database, "tuning database to take schedules from");
  auto *device = command.add_option("--tuned-for", options.device, "take the trials of the GPU whose name contains this");
  command.add_flag("--no-db", options.off, "take the default schedules")->excludes(database)->excludes(device);
}

rt::Problem problemOf(ProgramOp kernel) {
  std::string text = llvm::formatv("{0}", llvm::json::Value(describeProblem(&kernel.getBody().front().front())));
  rt::Expected<rt::Problem> problem = rt::parseProblem(text);
  if (!problem)
    fail(ExitInternal, "kernel '" + kernel.getSymName().str() + "' is no problem: " + problem.status().message());
  return *problem;
}

std::string canonicalSchedule(ScheduleAttr schedule) {
  std::string text = llvm::formatv("{0}", llvm::json::Value(toJson(schedule)));
  return *rt::canonicalJson(text);
}

std::string scheduleText(const std::string &schedule) {
  Json value = Json::parse(schedule, nullptr, false);
  if (!value.is_object())
    return "-";
  std::string text = value.value("family", "-");
  for (const auto &[name, field] : value.items())
    if (name != "family")
      text += " " + name + "=" + field.dump();
  return text;
}

std::string hashKernel(const std::string &ptx, const std::string &entry) {
  std::string text;
  llvm::StringRef rest = ptx;
  auto isName = [](char c) { return isalnum(static_cast<unsigned char>(c)) || c == '_' || c == '$'; };
  for (size_t at; (at = rest.find(entry)) != llvm::StringRef::npos; rest = rest.drop_front(at + entry.size())) {
    bool whole = (at == 0 || !isName(rest[at - 1])) &&
                 (at + entry.size() == rest.size() || !isName(rest[at + entry.size()]) ||
                  rest.drop_front(at + entry.size()).starts_with("_param"));
    text += rest.take_front(at);
    text += whole ? "kernel" : entry;
  }
  return rt::toHex(rt::sha256(text + rest.str()));
}

//===----------------------------------------------------------------------===//
// Schedules for a compilation
//===----------------------------------------------------------------------===//

static TargetInfo targetInfo(const std::string &name) {
  llvm::Expected<TargetInfo> target = findTarget(name);
  if (!target)
    fail(ExitUsage, llvm::toString(target.takeError()));
  return *target;
}

TunedSchedules::TunedSchedules(const TunedOptions &options, const std::string &targetName, const rt::DeviceClass *gpu)
    : target(targetInfo(targetName)) {
  bool asked = !options.database.empty();
  std::string path = asked ? options.database : rt::defaultDatabasePath();
  if (options.off || path.empty())
    return;
  rt::Database database = openDatabase(path);
  if (!database.records().empty())
    chooseDevice(database, options, gpu);
  else if (asked)
    text = "tuning database " + path + ": no trials";
}

/// True if code for the target runs on the device.
static bool runsOn(const TargetInfo &target, const rt::DeviceClass &device) {
  int needs = target.computeMajor * 10 + target.computeMinor;
  return target.archSpecific ? device.compute == needs : device.compute >= needs;
}

void TunedSchedules::chooseDevice(const rt::Database &database, const TunedOptions &options,
                                  const rt::DeviceClass *gpu) {
  std::vector<rt::DeviceClass> devices;
  std::string names;
  for (const rt::DeviceClass &device : rt::listDevices(database)) {
    bool named = options.device.empty() ? !gpu || *gpu == device
                                        : device.name.find(options.device) != std::string::npos;
    if (!named || !runsOn(target, device))
      continue;
    devices.push_back(device);
    names += (names.empty() ? "" : ", ") + device.name;
  }
  if (devices.empty() && !options.device.empty())
    fail(ExitUsage, "the tuning database has no trials of a GPU named '" + options.device + "' that runs " +
                        target.name.str());
  if (devices.size() > 1) {
    text = "tuning database not used: it has trials of " + names + "; name one with --tuned-for";
    return;
  }
  if (devices.empty())
    return;
  active = true;
  selection = rt::Selection(database, devices[0]);
  text = "tuned for " + devices[0].name;
}

void TunedSchedules::apply(mlir::ModuleOp module) {
  if (!active)
    return;
  size_t counts[3] = {};
  for (auto kernel : module.getOps<ProgramOp>()) {
    mlir::Operation *op = &kernel.getBody().front().front();
    if (!kernel->hasAttr(kKernelAttr) || kernel->hasAttr(kScheduleAttr) || !explainUnsupported(op).empty())
      continue;
    auto parse = [&](const std::string &schedule) -> ScheduleAttr {
      llvm::Expected<llvm::json::Value> json = llvm::json::parse(schedule);
      if (!json || !json->getAsObject()) {
        llvm::consumeError(json.takeError());
        return {};
      }
      llvm::Expected<ScheduleAttr> attribute = scheduleFromJson(*json->getAsObject(), module.getContext());
      if (attribute)
        return *attribute;
      llvm::consumeError(attribute.takeError());
      return {};
    };
    rt::Choice choice = selection.lookup(problemOf(kernel), [&](const std::string &schedule) {
      ScheduleAttr attribute = parse(schedule);
      return attribute && verifySchedule(attribute, op, target).empty();
    });
    if (choice.trial)
      kernel->setAttr(kScheduleAttr, parse(choice.trial->schedule));
    ++counts[int(choice.source)];
    choices[kernel.getSymName().str()] = choice;
  }
  text += ": " + std::to_string(counts[0]) + " exact, " + std::to_string(counts[1]) + " from the nearest length, " +
          formatCount(counts[2], "kernel") + " by the heuristic";
}

void TunedSchedules::record(CompiledBundle &bundle) const {
  for (size_t i = 0; i < bundle.manifest.kernels.size(); ++i) {
    rt::Kernel &kernel = bundle.manifest.kernels[i];
    auto found = choices.find(kernel.name);
    if (found == choices.end())
      continue;
    Json choice = {{"source", rt::nameOf(found->second.source)}};
    if (const auto &trial = found->second.trial) {
      choice["device"] = trial->device.name;
      choice["lengths"] = trial->problem.lengths;
      choice["us"] = trial->us.median;
      choice["of_default"] = trial->us.relative;
      choice["same_code"] = trial->kernel == hashKernel(bundle.ptx[i], kernel.entry);
    }
    kernel.choice = choice.dump();
  }
}

} // namespace fresnel::tool
