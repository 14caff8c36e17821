//===- OverlapLaunches.cpp - Kernels beside launches that they do not need
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//

#include "fresnel/Target/TargetInfo.h"
#include "fresnel/Transforms/Passes.h"

using namespace mlir;

namespace fresnel {
#define GEN_PASS_DEF_OVERLAPLAUNCHESPASS
#include "fresnel/Transforms/Passes.h.inc"

namespace {

struct OverlapLaunchesPass final : impl::OverlapLaunchesPassBase<OverlapLaunchesPass> {
  using Base::Base;

  void runOnOperation() override {
    ProgramOp main = requireMainProgram(getOperation());
    if (!main)
      return signalPassFailure();
    overlap(main);
    if (ProgramOp backward = findBackwardProgram(getOperation()))
      overlap(backward);
  }

  void overlap(ProgramOp plan) {
    SmallVector<Operation *> kernels;
    SmallVector<int64_t> needed;
    if (!read(plan, kernels, needed))
      return;
    auto setWait = [&](int64_t index, StringRef wait) {
      kernels[index]->setAttr(kWaitAttr, StringAttr::get(&getContext(), wait));
    };
    // The first launch that may still run when launch i starts.
    int64_t running = 0;
    for (int64_t i = 1, end = kernels.size(); i < end; ++i) {
      if (needed[i] < running) {
        setWait(i, kWaitAtEnd);
        ++numOverlapped;
      } else if (i + 1 < end && needed[i + 1] < i && needed[i + 1] >= running) {
        setWait(i, kWaitBeforeNext);
        running = i;
      }
    }
  }

  /// The kernel of each launch, and the last launch whose results it reads or -1. False if some
  /// kernel does not wait by itself, or serves two launches.
  bool read(ProgramOp plan, SmallVectorImpl<Operation *> &kernels, SmallVectorImpl<int64_t> &needed) {
    SymbolTable symbols(getOperation());
    DenseMap<Operation *, int64_t> order;
    DenseSet<Operation *> seen;
    for (auto launch : plan.getBody().getOps<LaunchOp>()) {
      Operation *kernel = symbols.lookup(launch.getCallee());
      if (!kernel || !kernel->hasAttr(kDependentLaunchAttr) || !seen.insert(kernel).second)
        return false;
      int64_t last = -1;
      for (Value operand : launch.getOperands())
        if (auto before = operand.getDefiningOp<LaunchOp>())
          last = std::max(last, order.lookup(before));
      order[launch] = int64_t(kernels.size());
      kernels.push_back(kernel);
      needed.push_back(last);
    }
    return true;
  }
};

} // namespace
} // namespace fresnel
