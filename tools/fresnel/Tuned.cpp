//===- Tuned.cpp - Compiling with what the tuning database knows ------------===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
#include "Tuned.h"

#include "fresnel/Schedule/Schedule.h"
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
  auto *device =
      command.add_option("--tuned-for", options.device, "take the trials of the GPU whose name contains this");
  command.add_flag("--no-db", options.off, "take the default schedules")->excludes(database)->excludes(device);
}

TunedSchedules openTuned(const TunedOptions &options, const std::string &targetName, const rt::DeviceClass *gpu) {
  llvm::Expected<TargetInfo> target = findTarget(targetName);
  if (!target)
    fail(ExitUsage, llvm::toString(target.takeError()));
  std::vector<std::string> warnings;
  rt::Expected<TunedSchedules> tuned = TunedSchedules::open(options, *target, gpu, warnings);
  for (const std::string &warning : warnings)
    std::cerr << "warning: " << warning << "\n";
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
