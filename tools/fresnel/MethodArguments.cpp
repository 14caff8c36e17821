//===- MethodArguments.cpp - What compile, run and bench take alike ---------===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
#include "MethodArguments.h"
#include "Options.h"

#include "fresnel/Schedule/Schedule.h"

#include <iostream>

namespace fresnel::tool {

TunedOptions MethodArguments::getTuned() const {
  TunedOptions options = tuned;
  options.off |= !schedule.empty() || !gradientSchedule.empty();
  return options;
}

void addMethodOptions(CLI::App &command, MethodArguments &arguments, const MethodTexts &texts) {
  command.add_option("METHOD", arguments.method, texts.method)->required();
  command.add_option("--set", arguments.sets, "give a preset's parameter a value: NAME=VALUE, repeatable")
      ->allow_extra_args(false);
  command.add_flag("--grad", arguments.grad, texts.grad);
  command.add_option("--grad-of", arguments.gradOf, "outputs to differentiate (default: the first one)")
      ->needs("--grad")
      ->delimiter(',');
  command
      .add_option(
          "--recompute", arguments.recompute,
          "operations that the backward plan repeats rather than having them saved, e.g. gather_levels,pool_levels")
      ->needs("--grad")
      ->delimiter(',');
  command.add_option("--target", arguments.target, texts.target);
  command.add_option("--schedule", arguments.schedule,
                     "change the attention kernels' schedules: FIELD=VALUE:..., for example tile_n=96:stages=3");
  command.add_option("--gradient-schedule", arguments.gradientSchedule,
                     "the same for the gradients of attention: ordered=false adds in any order, family=portable "
                     "computes them one by one");
  CLI::Option *slices = command
                            .add_option("--head-slices", arguments.headSlices,
                                        "cut batch and heads into so many slices, computed one after the other in one "
                                        "workspace (default: by memory)")
                            ->check(wholeNumber(1, INT32_MAX));
  command
      .add_option(
          "--workspace-limit", arguments.workspaceLimit,
          "take the fewest slices with which no workspace exceeds this size: bytes, or a number of KiB, MiB or GiB")
      ->transform(CLI::AsSizeValue(/*kb_is_1000=*/false))
      ->check(CLI::PositiveNumber)
      ->excludes(slices);
  command.add_flag("--no-grouped-queries", arguments.noGroupedQueries,
                   "from query to query also where each has a block list of its own: less memory, more time");
  addTunedOptions(command, arguments.tuned);
}

void refuseForBundle(const MethodArguments &arguments, bool given, const std::string &option) {
  if (given)
    fail(ExitUsage, option + " applies to presets and files; " + arguments.method + " is a bundle",
         "compile the bundle with " + option);
}

rt::Bundle openCompiled(const MethodArguments &arguments) {
  refuseForBundle(arguments, arguments.grad, "--grad");
  refuseForBundle(arguments, !arguments.sets.empty(), "--set");
  refuseForBundle(arguments, !arguments.target.empty(), "--target");
  refuseForBundle(arguments, !arguments.schedule.empty(), "--schedule");
  refuseForBundle(arguments, !arguments.gradientSchedule.empty(), "--gradient-schedule");
  refuseForBundle(arguments, arguments.headSlices > 0, "--head-slices");
  refuseForBundle(arguments, arguments.workspaceLimit > 0, "--workspace-limit");
  refuseForBundle(arguments, arguments.noGroupedQueries, "--no-grouped-queries");
  refuseForBundle(arguments, !arguments.tuned.database.empty(), "--db");
  refuseForBundle(arguments, !arguments.tuned.device.empty(), "--tuned-for");
  return openBundle(arguments.method);
}

/// Whether the schedule serves a kernel depends on the kernel; what its fields are called does not.
static void checkScheduleText(const std::string &option, const std::string &text, mlir::MLIRContext &context) {
  llvm::Expected<ScheduleAttr> base = scheduleFromJson(llvm::json::Object{{"family", "portable"}}, &context);
  llvm::Expected<ScheduleAttr> changed = base ? changeSchedule(*base, text) : std::move(base);
  if (!changed)
    fail(ExitUsage, option + ": " + llvm::toString(changed.takeError()));
}

/// Says if there is nothing that --gradient-schedule would change.
static void noteIdleSchedule(const MethodArguments &arguments, mlir::ModuleOp module) {
  if (arguments.gradientSchedule.empty())
    return;
  auto found = module.walk([](mlir::Operation *op) {
    return isAttentionGradient(op) ? mlir::WalkResult::interrupt() : mlir::WalkResult::advance();
  });
  if (!found.wasInterrupted())
    std::cerr << "note: --gradient-schedule changes nothing, since " << arguments.method
              << " has no gradients of attention" << (arguments.grad ? "" : " without --grad") << "\n";
}

Method loadMethod(const MethodArguments &arguments, const std::map<std::string, std::string> &derived) {
  checkSets(arguments.sets);
  Method method = loadMethod(arguments.method, arguments.sets, derived);
  if (!findMainProgram(*method.module))
    fail(ExitFormat, arguments.method + " holds no fresnel.program, or more than one");
  checkScheduleText("--schedule", arguments.schedule, *method.context);
  checkScheduleText("--gradient-schedule", arguments.gradientSchedule, *method.context);
  if (arguments.grad)
    differentiate(method, arguments.gradOf);
  noteIdleSchedule(arguments, *method.module);
  return method;
}

} // namespace fresnel::tool
