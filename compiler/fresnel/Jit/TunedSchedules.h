//===- TunedSchedules.h - Compiling with what the tuning database knows
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
#ifndef FRESNEL_JIT_TUNEDSCHEDULES_H
#define FRESNEL_JIT_TUNEDSCHEDULES_H

#include "fresnel/Compiler/Compiler.h"
#include "fresnel/Dialect/Fresnel.h"
#include "fresnel/Target/TargetInfo.h"
#include "fresnel/Tuning/Selection.h"

namespace fresnel {

/// Which trials a compilation goes by.
struct TunedOptions {
  /// Path of the database, which must be there; empty for the user's.
  std::string database;
  /// Takes the trials of the GPU whose name contains this.
  std::string device;
  /// Every kernel keeps the compiler's default.
  bool off = false;
};

/// Sets the schedules of the kernels of a module at the plan stage to what a
/// database says, and keeps what it did for the manifest. Used by one thread.
class TunedSchedules {
public:
  /// Reads the database. `gpu` is the device that will run the code, if it is known.
  /// What the database leaves out goes to `warnings`. IoError where it cannot be
  /// read or is named and not there, InvalidArgument where it has no GPU of that name.
  static rt::Expected<TunedSchedules> open(const TunedOptions &options, const TargetInfo &target,
                                           const rt::DeviceClass *gpu, std::vector<std::string> &warnings);

  /// For CompileOptions::afterPlan; again for another copy of the module.
  void apply(mlir::ModuleOp module);
  /// Writes into the manifest where each kernel's schedule comes from.
  void record(CompiledBundle &bundle) const;
  /// One line about what was found, "" if nothing was asked.
  const std::string &summary() const { return text; }
  /// What `record` will write, apart from what follows from the code: equal texts,
  /// equal manifests.
  std::string describeChoices() const;

private:
  explicit TunedSchedules(const TargetInfo &target) : target(target) {}
  rt::Status chooseDevice(const rt::Database &database, const TunedOptions &options, const rt::DeviceClass *gpu);

  TargetInfo target;
  bool active = false;
  rt::Selection selection;
  /// "tuned for NAME", or what `summary` says if the database is not used.
  std::string head, text;
  /// By the kernel's name.
  std::map<std::string, rt::Choice> choices;
};

/// The problem that a kernel program solves.
rt::Expected<rt::Problem> getProblem(ProgramOp kernel);

/// SHA-256 of PTX with its entry renamed to `kernel`, so that a kernel has one
/// hash in all programs.
std::string hashKernel(const std::string &ptx, const std::string &entry);

} // namespace fresnel

#endif // FRESNEL_JIT_TUNEDSCHEDULES_H
