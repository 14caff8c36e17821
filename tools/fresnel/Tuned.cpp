//===- Tuned.cpp - Compiling with what the tuning database knows ------------===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
#include "Tuned.h"

#include "fresnel/Schedule/Schedule.h"
#include "llvm/Support/FileSystem.h"
#include "llvm/Support/FormatVariadic.h"

#include <algorithm>
#include <iostream>

namespace fresnel::tool {

std::string databasePath(const std::string &path) {
  std::string chosen = path.empty() ? rt::defaultDatabasePath() : path;
  if (chosen.empty())
    fail(ExitEnvironment, "there is no place for a tuning database: HOME is not set",
         "name one with --db or the environment variable FRESNEL_DB");
  return chosen;
}

std::string databaseFolder(const std::string &path, const std::string &command) {
  std::string chosen = databasePath(path);
  if (llvm::sys::fs::exists(chosen) && !llvm::sys::fs::is_directory(chosen))
    fail(ExitUsage, "'" + chosen + "' is a file, but " + command + " writes to a database's folder",
         "packs and journals are only read; name a folder with --db or FRESNEL_DB");
  return chosen;
}

void printWarnings(const std::vector<std::string> &warnings) {
  constexpr size_t kShown = 5;
  for (size_t i = 0; i < std::min(warnings.size(), kShown); ++i)
    std::cerr << "warning: " << warnings[i] << "\n";
  if (warnings.size() > kShown)
    std::cerr << "warning: and " << warnings.size() - kShown << " more\n";
}

void checkDatabaseExists(const std::string &path) {
  if (rt::Status status = path.empty() ? rt::Status() : rt::checkDatabaseExists(path); !status.ok())
    fail(ExitUsage, status.message());
}

rt::Database openDatabase(const std::string &path) {
  std::string chosen = databasePath(path);
  rt::Expected<rt::Database> database = rt::Database::open(chosen);
  if (!database)
    fail(ExitEnvironment, database.status().message());
  const std::vector<std::string> &warnings = database->warnings();
  // A folder may hold files of others; a file that was named is meant.
  if (database->records().empty() && !warnings.empty() && !llvm::sys::fs::is_directory(chosen))
    fail(ExitFormat, warnings.front() + "; nothing of the file is a tuning database's",
         "a database is a folder, a pack (.ftdb) or a journal (.jsonl)");
  printWarnings(warnings);
  return std::move(*database);
}

void addTunedOptions(CLI::App &command, TunedOptions &options) {
  auto *database = command.add_option("--db", options.database, "tuning database to take schedules from");
  auto *device =
      command.add_option("--tuned-for", options.device, "take the trials of the GPU whose name contains this");
  command.add_flag("--no-db", options.off, "take the default schedules")->excludes(database)->excludes(device);
}

TunedSchedules openTuned(const TunedOptions &options, const std::string &targetName, const rt::DeviceClass *gpu) {
  llvm::Expected<TargetInfo> target = findTarget(targetName);
  if (!target)
    fail(ExitUsage, llvm::toString(target.takeError()));
  checkDatabaseExists(options.database);
  std::vector<std::string> warnings;
  rt::Expected<TunedSchedules> tuned = TunedSchedules::open(options, *target, gpu, warnings);
  printWarnings(warnings);
  if (!tuned)
    fail(tuned.status().code() == rt::Code::InvalidArgument ? ExitUsage : ExitEnvironment, tuned.status().message());
  return std::move(*tuned);
}

rt::Problem problemOf(ProgramOp kernel) {
  rt::Expected<rt::Problem> problem = getProblem(kernel);
  if (!problem)
    fail(ExitInternal, problem.status().message());
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

} // namespace fresnel::tool
