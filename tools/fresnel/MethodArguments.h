//===- MethodArguments.h - What compile, run and bench take alike -----------===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
#ifndef FRESNEL_TOOLS_METHODARGUMENTS_H
#define FRESNEL_TOOLS_METHODARGUMENTS_H

#include "Execute.h"
#include "Method.h"
#include "Tuned.h"

namespace fresnel::tool {

/// A method and how its kernels are to be made.
struct MethodArguments {
  std::string method, target, schedule, gradientSchedule;
  std::vector<std::string> sets, gradOf, recompute;
  bool grad = false, noGroupedQueries = false;
  /// As in CompileOptions.
  int64_t headSlices = 0, workspaceLimit = 0;
  TunedOptions tuned;

  /// `tuned`, or nothing: schedules that the user asks for go before what was measured.
  TunedOptions getTuned() const;
};

/// What the options that mean other things to each command say of themselves.
struct MethodTexts {
  const char *method, *grad, *target;
};

/// Opens the bundle that `arguments` name. Fails with ExitUsage for options that are of methods only: a bundle is what
/// it is.
rt::Bundle openCompiled(const MethodArguments &arguments);
/// Fails so if `given`: the option does not apply to a bundle.
void refuseForBundle(const MethodArguments &arguments, bool given, const std::string &option);

/// METHOD, --set, --grad, --grad-of, --recompute, --target, --schedule, --gradient-schedule, --head-slices,
/// --workspace-limit, --no-grouped-queries and the options of the tuning database.
void addMethodOptions(CLI::App &command, MethodArguments &arguments, const MethodTexts &texts);

/// The preset or file that `arguments` name, with gradients if they ask for them. Fails as loadMethod and differentiate
/// do, and with ExitUsage for the text of a schedule that is none.
Method loadMethod(const MethodArguments &arguments, const std::map<std::string, std::string> &derived = {});

} // namespace fresnel::tool

#endif // FRESNEL_TOOLS_METHODARGUMENTS_H
