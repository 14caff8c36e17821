//===- Database.cpp - All records of a tuning database
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//

#include "fresnel/Tuning/Database.h"
#include "fresnel/Artifact/File.h"
#include "fresnel/Artifact/Sha256.h"
#include <algorithm>
#include <cerrno>
#include <csignal>
#include <cstdlib>
#include <cstring>
#include <ctime>
#include <dirent.h>
#include <fcntl.h>
#include <nlohmann/json.hpp>
#include <sys/stat.h>
#include <unistd.h>

using nlohmann::json;

namespace fresnel::rt {

static constexpr const char *kPackFamily = "fresnel.pack/", *kPackSchema = "fresnel.pack/1";
static constexpr const char *kPackSuffix = ".ftdb", *kJournalSuffix = ".jsonl";

std::string defaultDatabasePath() {
  if (const char *chosen = std::getenv("FRESNEL_DB"); chosen && *chosen)
    return chosen;
  std::string folder = userFolder();
  return folder.empty() ? "" : folder + "/tuning";
}

Status checkDatabaseExists(const std::string &path) {
  struct stat info;
  if (stat(path.c_str(), &info) == 0 || errno != ENOENT)
    return Status();
  return Status(Code::IoError, path + ": no such database; name a folder, a pack (.ftdb) or a journal (.jsonl)");
}

static bool endsWith(std::string_view text, std::string_view end) {
  return text.size() >= end.size() && text.substr(text.size() - end.size()) == end;
}

//===----------------------------------------------------------------------===//
// Reading
//===----------------------------------------------------------------------===//

Expected<Database> Database::open(const std::string &path) {
  Database database;
  struct stat info;
  if (stat(path.c_str(), &info) != 0) {
    if (errno == ENOENT)
      return database;
    return Status(Code::IoError, "cannot read the tuning database '" + path + "': " + std::strerror(errno));
  }
  if (!S_ISDIR(info.st_mode)) {
    Status status = database.readFile(path);
    return status.ok() ? Expected<Database>(std::move(database)) : status;
  }
  for (auto [folder, suffix] : {std::pair("/packs", kPackSuffix), {"/journal", kJournalSuffix}}) {
    Status status = database.readFolder(path + folder, suffix);
    if (!status.ok())
      return status;
  }
  return database;
}

Status Database::readFolder(const std::string &folder, const std::string &suffix) {
  DIR *directory = opendir(folder.c_str());
  if (!directory)
    return errno == ENOENT ? Status() : Status(Code::IoError, "cannot read '" + folder + "': " + std::strerror(errno));
  std::vector<std::string> names;
  while (dirent *entry = readdir(directory))
    if (endsWith(entry->d_name, suffix))
      names.push_back(entry->d_name);
  closedir(directory);
  // Warnings come in the same order everywhere.
  std::sort(names.begin(), names.end());
  for (const std::string &name : names) {
    Status status = readFile(folder + "/" + name);
    if (status.ok())
      continue;
    // Someone pruned it meanwhile: its records are in a pack, or were dropped.
    if (access((folder + "/" + name).c_str(), F_OK) != 0)
      continue;
    return status;
  }
  return Status();
}

Status Database::readFile(const std::string &path) {
  Expected<std::string> content = rt::readFile(path);
  if (!content)
    return content.status();
  sources.push_back(path);
  readContent(path, *content);
  return Status();
}

Database Database::parse(const std::string &name, std::string_view content) {
  Database database;
  database.readContent(name, content);
  return database;
}

void Database::readContent(const std::string &path, std::string_view content) {
  // Of any version: the records of a newer one may mean something else.
  if (content.find(kPackFamily) < content.find('\n'))
    readPack(path, content);
  else
    readJournal(path, content);
}

void Database::readJournal(const std::string &path, std::string_view content) {
  for (size_t line = 1, at = 0; at < content.size(); ++line) {
    size_t end = content.find('\n', at);
    std::string where = path + ":" + std::to_string(line) + ": ";
    if (end == std::string_view::npos) {
      notes.push_back(where + "the last line is torn and left out: its writer was killed, or is writing it");
      return;
    }
    Expected<Record> record = parseRecord(content.substr(at, end - at));
    if (record)
      insert(*record);
    else
      notes.push_back(where + "left out: " + record.status().message());
    at = end + 1;
  }
}

void Database::readPack(const std::string &path, std::string_view content) {
  size_t end = std::min(content.find('\n'), content.size());
  std::string_view body = content.substr(std::min(end + 1, content.size()));
  json header = json::parse(content.substr(0, end), nullptr, /*allow_exceptions=*/false);
  auto is = [&header](const char *key, const std::string &value) {
    return header.is_object() && header.contains(key) && header[key] == value;
  };
  if (!is("schema", kPackSchema))
    notes.push_back(path + ": left out: it does not begin with the header of a pack of schema " + kPackSchema);
  else if (!is("sha256", toHex(sha256(body))))
    notes.push_back(path + ": left out: the pack is damaged (its records do not match its hash)");
  else
    readJournal(path, body);
}

bool Database::insert(const Record &record) { return all.emplace(toJson(record), record).second; }

size_t Database::merge(const Database &other) {
  size_t before = all.size();
  all.insert(other.all.begin(), other.all.end());
  return all.size() - before;
}

//===----------------------------------------------------------------------===//
// Writing
//===----------------------------------------------------------------------===//

static std::string joinLines(const std::map<std::string, Record> &records) {
  std::string body;
  for (const auto &[text, record] : records)
    body += text + "\n";
  return body;
}

static std::string addHeader(const std::string &body, size_t count) {
  json header = {{"schema", kPackSchema}, {"records", count}, {"sha256", toHex(sha256(body))}};
  return header.dump() + "\n" + body;
}

std::string makePack(const std::map<std::string, Record> &records) {
  return addHeader(joinLines(records), records.size());
}

Expected<std::string> publishPack(const std::string &folder, const std::map<std::string, Record> &records) {
  Status status = makeFolders(folder + "/packs");
  if (!status.ok())
    return status;
  std::string body = joinLines(records);
  std::string hash = toHex(sha256(body)).substr(0, 32);
  std::string path = folder + "/packs/" + hash + kPackSuffix;
  if (access(path.c_str(), F_OK) == 0)
    return path;
  // A pack of the same name is the same pack.
  status = publishFile(path, {addHeader(body, records.size())});
  if (!status.ok())
    return status;
  return path;
}

bool isJournalLive(const std::string &path) {
  struct stat info;
  if (stat(path.c_str(), &info) != 0)
    return false;
  // HOST.PID.RUN.jsonl; a host's name holds no dot here.
  std::string name = path.substr(path.rfind('/') + 1);
  size_t first = name.find('.'), second = name.find('.', first + 1);
  char host[256] = {};
  gethostname(host, sizeof host - 1);
  std::string here = host;
  std::replace_if(here.begin(), here.end(), [](unsigned char c) { return !isalnum(c) && c != '-'; }, '-');
  if (first == std::string::npos || second == std::string::npos || name.substr(0, first) != here)
    return std::time(nullptr) - info.st_mtime < 24 * 3600;
  long process = std::strtol(name.c_str() + first + 1, nullptr, 10);
  return process > 0 && (kill(pid_t(process), 0) == 0 || errno == EPERM);
}

} // namespace fresnel::rt
