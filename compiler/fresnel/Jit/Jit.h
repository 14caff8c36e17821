//===- Jit.h - A method compiled, cached and loaded in one call
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
//
//   fresnel::JitRequest request;
//   request.method = "lighthouse";
//   request.parameters = {{"seq_len", "98304"}, {"dtype", "bf16"}};
//   auto plan = fresnel::jit(driver, /*device=*/0, request);
//
// The schedules come from the tuning database, the kernels from the kernel cache
// (fresnel/Artifact/KernelCache.h) if they are there. A bundle is found by what it
// is made from: program, plan with its schedules and where they come from, target,
// compiler and format version; so one that is found is the one that would be made.
//
// Every function here may be called from several threads and processes at once; of
// those that miss the same bundle one compiles and the others wait for it.
//
//===----------------------------------------------------------------------===//
#ifndef FRESNEL_JIT_JIT_H
#define FRESNEL_JIT_JIT_H

#include "fresnel/Jit/TunedSchedules.h"
#include "fresnel/Runtime/Plan.h"

namespace fresnel {

/// Never: what is not in the cache is an error, JitDisabled. Always: compiles, and
/// puts the result in place of what was cached.
enum class JitMode { Never, OnMiss, Always };

/// "never", "on-miss", "always".
std::optional<JitMode> parseJitMode(llvm::StringRef name);
/// What FRESNEL_JIT says, else OnMiss; InvalidArgument for any other text.
rt::Expected<JitMode> getJitMode();

struct JitOptions {
  /// Unset: getJitMode().
  std::optional<JitMode> mode;
  /// Folder of the kernel cache; empty for the user's.
  std::string cacheFolder;
  TunedOptions tuned;
  /// Takes warnings, one at a time but on the caller's thread; by default they go to stderr.
  std::function<void(const std::string &)> warn;
};

/// How a program is to be compiled.
struct JitTarget {
  /// Empty: the best one for `gpu`.
  std::string name;
  /// The GPU that will run the code, if it is known.
  std::optional<rt::DeviceClass> gpu;
  /// As in CompileOptions. A schedule turns the tuning database off.
  std::string schedule, gradientSchedule;
  std::vector<std::string> recompute;
  int64_t headSlices = 0, workspaceLimit = 0;
  bool groupQueries = true;
};

/// A method, by name or as text.
struct JitRequest {
  /// A preset's name, or the text of a program in the dialect.
  std::string method;
  /// Of a preset; NAME: VALUE as for `--set`.
  std::map<std::string, std::string> parameters;
  /// With gradients: of the outputs named, or of the first one.
  bool grad = false;
  std::vector<std::string> gradOf;
  JitTarget target;
};

struct JitBundle {
  rt::Bundle bundle;
  /// Where it is in the cache; empty where it could not be stored (after a warning).
  std::string path;
  /// Whether it was there.
  bool found = false;
  /// What the tuning database said, "" if it was not asked.
  std::string tuning;
};

/// Finds or makes the bundle of a program, which stays as it is; `name` and
/// `parameters` go into the manifest. Diagnostics come back in the error:
/// Unsupported for what has no kernel, IoError for a cache folder that is refused.
rt::Expected<JitBundle> jitProgram(mlir::ModuleOp program, const std::string &name, const std::string &parameters,
                                   const JitTarget &target, const JitOptions &options = {});

/// The same for a method. InvalidArgument for names and values that are wrong.
rt::Expected<JitBundle> jitBundle(const JitRequest &request, const JitOptions &options = {});

/// Finds or makes the bundle for GPU `device` and loads it there.
rt::Expected<rt::LoadedPlan> jit(std::shared_ptr<rt::Driver> driver, int device, const JitRequest &request,
                                 const JitOptions &options = {});

} // namespace fresnel

#endif // FRESNEL_JIT_JIT_H
