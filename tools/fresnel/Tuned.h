//===- Tuned.h - Compiling with what the tuning database knows --------------===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
#ifndef FRESNEL_TOOLS_TUNED_H
#define FRESNEL_TOOLS_TUNED_H

#include "Common.h"
#include "fresnel/Compiler/Compiler.h"
#include "fresnel/Dialect/Fresnel.h"
#include "fresnel/Target/TargetInfo.h"
#include "fresnel/Tuning/Selection.h"
#include <CLI/CLI.hpp>

namespace fresnel::tool {

/// The database that `path` names, else the user's own; its warnings go to
/// stderr. Fails with ExitEnvironment when it cannot be read.
rt::Database openDatabase(const std::string &path);

/// `path`, else the default database's; fails with ExitEnvironment where there is none.
std::string databasePath(const std::string &path);

/// Options of the commands that compile.
struct TunedOptions {
  std::string database, device;
  bool off = false;
};
void addTunedOptions(CLI::App &command, TunedOptions &options);

/// Sets the schedules of the kernels of a module at the plan stage to what a
/// database says, and keeps what it did for the bundle.
class TunedSchedules {
public:
  /// Without a database, or with --no-db, every kernel keeps the heuristic.
  /// `gpu` is the device that will run the code, if it is known.
  TunedSchedules(const TunedOptions &options, const std::string &target, const rt::DeviceClass *gpu);

  /// For CompileOptions::afterPlan.
  void apply(mlir::ModuleOp module);
  /// Writes into the manifest where each kernel's schedule comes from.
  void record(CompiledBundle &bundle) const;
  /// One line about what was found, "" if nothing was asked.
  const std::string &summary() const { return text; }

private:
  void chooseDevice(const rt::Database &database, const TunedOptions &options, const rt::DeviceClass *gpu);

  TargetInfo target;
  bool active = false;
  rt::Selection selection;
  std::string text;
  /// By the kernel's name.
  std::map<std::string, rt::Choice> choices;
};

/// The problem that a kernel program solves; fails with ExitInternal if it has none.
rt::Problem problemOf(ProgramOp kernel);

/// The schedule as canonical JSON, and back; fails with ExitFormat.
std::string canonicalSchedule(ScheduleAttr schedule);

/// "portable 64x64 stages=2" from canonical JSON.
std::string scheduleText(const std::string &schedule);

/// SHA-256 of PTX with its entry renamed to `kernel`, so that a kernel has one
/// hash in all programs.
std::string hashKernel(const std::string &ptx, const std::string &entry);

} // namespace fresnel::tool

#endif // FRESNEL_TOOLS_TUNED_H
