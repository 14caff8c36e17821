//===- AssignSchedules.cpp - A schedule for every kernel program
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//

#include "fresnel/Schedule/HopperGrad.h"
#include "fresnel/Schedule/Schedule.h"
#include "fresnel/Transforms/PassTarget.h"
#include "fresnel/Transforms/Passes.h"

using namespace mlir;

namespace fresnel {
#define GEN_PASS_DEF_ASSIGNSCHEDULESPASS
#include "fresnel/Transforms/Passes.h.inc"

namespace {

struct AssignSchedulesPass final : impl::AssignSchedulesPassBase<AssignSchedulesPass> {
  using Base::Base;

  void runOnOperation() override {
    FailureOr<TargetInfo> info = requireTarget(getOperation(), target);
    if (failed(info))
      return signalPassFailure();
    // All refusals are reported, not only the first.
    bool refused = false;
    for (auto program : getOperation().getOps<ProgramOp>())
      if (program->hasAttr(kKernelAttr))
        refused |= failed(assign(program, *info));
    if (refused)
      signalPassFailure();
  }

  /// The default, but for the fields that are asked for.
  llvm::Expected<ScheduleAttr> choose(Operation *op, const TargetInfo &info) {
    ScheduleAttr schedule = getDefaultSchedule(op, info);
    if (!isAttention(op))
      return schedule;
    StringRef fields = isAttentionGradient(op) ? gradientSchedule : this->schedule;
    llvm::Expected<ScheduleAttr> changed = changeSchedule(schedule, fields);
    if (!changed || changed->getFamily() != Family::Hopper)
      return changed;
    // In any order other tiles are the default; what is asked for besides stays.
    auto gradient = dyn_cast<AttendGradOp>(op);
    if (gradient && !changed->getOrdered())
      return changeSchedule(getHopperGradDefault(gradient, /*ordered=*/false), fields);
    // The keys that the default weighs early may not fit other tiles, nor two tiles of queries those that are left.
    bool isPaired = gradient && isHopperGradPaired(*changed, gradient);
    if ((schedule.getEarly() || isPaired) && !verifySchedule(*changed, op, info).empty()) {
      StringRef other = isPaired ? "tile_n=64" : "early=0";
      ScheduleAttr smaller = llvm::cantFail(changeSchedule(llvm::cantFail(changeSchedule(schedule, other)), fields));
      if (verifySchedule(smaller, op, info).empty())
        return smaller;
    }
    return changed;
  }

  LogicalResult assign(ProgramOp program, const TargetInfo &info) {
    Operation *op = &program.getBody().front().front();
    if (std::string reason = explainUnsupported(op); !reason.empty())
      return op->emitOpError() << reason << "; the interpreter runs it (--device cpu)";
    auto schedule = program->getAttrOfType<ScheduleAttr>(kScheduleAttr);
    if (!schedule) {
      llvm::Expected<ScheduleAttr> chosen = choose(op, info);
      if (!chosen)
        return op->emitOpError() << llvm::toString(chosen.takeError());
      schedule = *chosen;
    }
    if (std::string reason = verifySchedule(schedule, op, info); !reason.empty())
      return op->emitOpError() << "cannot use schedule " << schedule << ": " << reason;
    program->setAttr(kScheduleAttr, schedule);
    // Without an order every block adds, the first one, too.
    if (auto gradient = dyn_cast<AttendGradOp>(op); gradient && !isHopperGradOrdered(schedule, gradient))
      program->setAttr(kZeroedAttr, DenseI64ArrayAttr::get(&getContext(), {0}));
    if (dependentLaunch && info.hasDependentLaunch)
      program->setAttr(kDependentLaunchAttr, UnitAttr::get(&getContext()));
    return success();
  }
};

} // namespace
} // namespace fresnel
