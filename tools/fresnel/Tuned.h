//===- Tuned.h - Compiling with what the tuning database knows --------------===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
#ifndef FRESNEL_TOOLS_TUNED_H
#define FRESNEL_TOOLS_TUNED_H

#include "Common.h"
#include "fresnel/Jit/TunedSchedules.h"
#include <CLI/CLI.hpp>

namespace fresnel::tool {

/// The database that `path` names, else the user's own; its warnings go to
/// stderr. Fails with ExitEnvironment when it cannot be read and with ExitFormat
/// when it is a file that holds no database.
rt::Database openDatabase(const std::string &path);

/// Fails with ExitUsage if the user named a database that is not there; an empty
/// `path` names none.
void checkDatabaseExists(const std::string &path);

/// Warnings on stderr, of many the first few.
void printWarnings(const std::vector<std::string> &warnings);

/// `path`, else the default database's; fails with ExitEnvironment where there is none.
std::string databasePath(const std::string &path);

/// The same for `command`, which writes to the database; fails with ExitUsage where it is a file, which is only read.
std::string databaseFolder(const std::string &path, const std::string &command);

/// --db, --tuned-for and --no-db of the commands that compile.
void addTunedOptions(CLI::App &command, TunedOptions &options);

/// The schedules for a target; the database's warnings go to stderr. Fails with
/// ExitEnvironment when it cannot be read, ExitUsage when it has no such device.
TunedSchedules openTuned(const TunedOptions &options, const std::string &target, const rt::DeviceClass *gpu = nullptr);

/// The problem that a kernel program solves; fails with ExitInternal if it has none.
rt::Problem problemOf(ProgramOp kernel);

/// The schedule as canonical JSON.
std::string canonicalSchedule(ScheduleAttr schedule);

/// "portable stages=2 tile_m=64 tile_n=64" from canonical JSON.
std::string scheduleText(const std::string &schedule);

} // namespace fresnel::tool

#endif // FRESNEL_TOOLS_TUNED_H
