//===- FuseGateGradients.cpp - Gates go into the LSEs of gradients --------===//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//

#include "fresnel/Transforms/Passes.h"

using namespace mlir;

namespace fresnel {
#define GEN_PASS_DEF_FUSEGATEGRADIENTSPASS
#include "fresnel/Transforms/Passes.h.inc"

namespace {

/// What reads the gradient of a branch: gradients of the attention that made it, and what they read of its rows.
struct Readers {
  SmallVector<Operation *> gradients;
  /// Either of them.
  AttendDeltaOp delta;
  AttendStatsOp stats;
  Value lse;
};

/// Whether an operation is about the rows of a branch and its gradient.
template <typename Op>
bool isAbout(Op rows, Value branch, Value gradient) {
  return rows.getOut() == branch && rows.getDout() == gradient;
}

/// Sorts the users of a branch's gradient; false if there is one of another kind.
bool collectUsers(Value branch, Value gradient, Readers &readers) {
  for (Operation *user : gradient.getUsers()) {
    if (auto delta = dyn_cast<AttendDeltaOp>(user)) {
      if (readers.delta || delta.getDlse() || !isAbout(delta, branch, gradient))
        return false;
      readers.delta = delta;
    } else if (auto stats = dyn_cast<AttendStatsOp>(user)) {
      // Bounds make factors from the gradient of the branch.
      if (readers.stats || !stats.getMore().empty() || !isAbout(stats, branch, gradient))
        return false;
      readers.stats = stats;
    } else if (isa<AttendGradQOp, AttendGradKvOp, AttendGradOp>(user) &&
               llvm::count(user->getOperands(), gradient) == 1) {
      readers.gradients.push_back(user);
    } else {
      return false;
    }
  }
  return bool(readers.delta) != bool(readers.stats) && !readers.gradients.empty();
}

/// Whether the gradients read these rows, and besides them at most what rounds their tiles, which asks for rows
/// without keys only.
bool areOwnRows(Value rows, const Readers &readers) {
  return llvm::all_of(readers.gradients, [&](Operation *op) { return llvm::is_contained(op->getOperands(), rows); }) &&
         llvm::all_of(rows.getUsers(), [&](Operation *user) {
           return isa<RoundTilesOp>(user) || llvm::is_contained(readers.gradients, user);
         });
}

/// The LSE that all of them read, or null.
Value findLse(const Readers &readers) {
  if (AttendStatsOp stats = readers.stats)
    return stats.getLse();
  SmallVector<Value> lses;
  for (Operation *op : readers.gradients) {
    auto queries = dyn_cast<AttendGradQOp>(op);
    auto keys = dyn_cast<AttendGradKvOp>(op);
    lses.push_back(queries ? Value(queries.getLse()) : keys ? Value(keys.getLse()) : Value());
  }
  return llvm::all_equal(lses) ? lses.front() : Value();
}

/// What reads the gradient of branch `i`, if that can do without.
std::optional<Readers> findReaders(GateGradOp gate, unsigned i) {
  Readers readers;
  if (!collectUsers(gate.getBranches()[i], gate.getDbranches()[i], readers))
    return std::nullopt;
  AttendDeltaOp delta = readers.delta;
  AttendStatsOp stats = readers.stats;
  if (!areOwnRows(delta ? Value(delta.getDelta()) : Value(stats.getStats()), readers))
    return std::nullopt;
  readers.lse = findLse(readers);
  Operation *definition = readers.lse ? readers.lse.getDefiningOp() : nullptr;
  if (!readers.lse || (definition && !definition->isBeforeInBlock(gate)))
    return std::nullopt;
  return readers;
}

/// Whether gates may be factors of the weights: they have a logarithm, and the weights, which kernels round to the
/// element type, stay normal numbers. Those of f16 are small already where there are thousands of keys.
bool mayWeigh(GateGradOp gate) {
  return gate.getActivation() == Activation::Sigmoid &&
         !cast<RankedTensorType>(gate.getDy().getType()).getElementType().isF16();
}

struct FuseGateGradientsPass final : impl::FuseGateGradientsPassBase<FuseGateGradientsPass> {
  using Base::Base;

  void runOnOperation() override {
    ProgramOp main = requireMainProgram(getOperation());
    if (!main)
      return signalPassFailure();
    for (auto gate : llvm::make_early_inc_range(main.getBody().getOps<GateGradOp>())) {
      if (!mayWeigh(gate))
        continue;
      SmallVector<std::optional<Readers>> branches;
      for (unsigned i = 0; i < gate.getBranches().size(); ++i)
        branches.push_back(findReaders(gate, i));
      if (llvm::any_of(branches, [](const auto &readers) { return readers.has_value(); }))
        fold(gate, branches);
    }
  }

  void fold(GateGradOp gate, ArrayRef<std::optional<Readers>> branches) {
    SmallVector<Value> parts(gate.getBranches());
    SmallVector<int64_t> deltas, stats;
    for (auto [i, readers] : llvm::enumerate(branches))
      if (readers) {
        parts.push_back(readers->lse);
        (readers->delta ? deltas : stats).push_back(int64_t(i));
      }
    OpBuilder builder(gate);
    auto fused = GateDeltaOp::create(builder, gate.getLoc(), gate.getGates(), gate.getDy(), parts, gate.getActivation(),
                                     deltas, stats);
    gate.getDgates().replaceAllUsesWith(fused.getDgates());
    auto result = fused.getRows().begin();
    for (auto [gradient, readers] : llvm::zip_equal(gate.getDbranches(), branches)) {
      if (!readers) {
        gradient.replaceAllUsesWith(*result++);
        continue;
      }
      if (AttendDeltaOp delta = readers->delta) {
        for (Operation *op : readers->gradients)
          op->replaceUsesOfWith(readers->lse, *result);
        delta.getDelta().replaceAllUsesWith(*++result);
        delta.erase();
      } else {
        AttendStatsOp rows = readers->stats;
        rows.getStats().replaceAllUsesWith(*result);
        rows.erase();
      }
      ++result;
      for (Operation *op : readers->gradients)
        op->replaceUsesOfWith(gradient, gate.getDy());
      ++numFolded;
    }
    gate.erase();
  }
};

} // namespace
} // namespace fresnel
