//===- InvertSelections.cpp - Slot maps for what reads selections ---------===//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//

#include "fresnel/Transforms/Passes.h"

using namespace mlir;

namespace fresnel {
#define GEN_PASS_DEF_INVERTSELECTIONSPASS
#include "fresnel/Transforms/Passes.h.inc"

namespace {

/// Whether two operations describe one pyramid of tokens.
template <typename A, typename B>
bool isSamePyramid(A a, B b) {
  return a.getSeqLen() == b.getSeqLen() && a.getLevels() == b.getLevels() && a.getFactor() == b.getFactor() &&
         a.getDocuments() == b.getDocuments();
}

struct InvertSelectionsPass final : impl::InvertSelectionsPassBase<InvertSelectionsPass> {
  using Base::Base;

  void runOnOperation() override {
    ProgramOp main = requireMainProgram(getOperation());
    if (!main)
      return signalPassFailure();
    for (auto cascade : llvm::make_early_inc_range(main.getBody().getOps<SelectCascadeOp>()))
      invert(cascade);
  }

  void invert(SelectCascadeOp cascade) {
    SmallVector<Operation *> readers;
    for (Operation *user : cascade.getResult().getUsers())
      if (isReader(user, cascade))
        readers.push_back(user);
    if (readers.empty())
      return;
    if (!cascade.getSlots())
      cascade = addSlots(cascade);
    for (Operation *reader : readers) {
      OpBuilder builder(reader);
      if (auto scatter = dyn_cast<ScatterOp>(reader))
        replace(scatter, ScatterBySlotsOp::create(builder, scatter.getLoc(), scatter.getX(), cascade.getSlots(),
                                                  scatter.getSeqLen(), scatter.getLevels(), scatter.getFactor(),
                                                  scatter.getDocuments()));
      else if (auto gradient = dyn_cast<ScatterGradOp>(reader))
        replace(gradient, ScatterGradBySlotsOp::create(builder, gradient.getLoc(), gradient.getDy(),
                                                       gradient.getIndices(), cascade.getSlots(), gradient.getLevels(),
                                                       gradient.getFactor(), gradient.getDocuments()));
      else
        replaceGradient(cast<GatherGradOp>(reader), cascade, builder);
    }
  }

  /// Whether the slot map of the cascade's whole pyramid serves `op`.
  static bool isReader(Operation *op, SelectCascadeOp cascade) {
    if (auto gradient = dyn_cast<ScatterGradOp>(op))
      return int64_t(cascade.getSeqLen()) == cast<RankedTensorType>(gradient.getDy().getType()).getDimSize(2) &&
             gradient.getLevels() == cascade.getLevels() && gradient.getFactor() == cascade.getFactor() &&
             gradient.getDocuments() == cascade.getDocuments() && cascade.getLevels() > 1 &&
             hasShortWindows(cascade.getLevels(), cascade.getFactor());
    if (auto scatter = dyn_cast<ScatterOp>(op))
      return isSamePyramid(scatter, cascade);
    auto gradient = dyn_cast<GatherGradOp>(op);
    return gradient &&
           int64_t(gradient.getRows()) == cast<RankedTensorType>(cascade.getQueryScores().getType()).getDimSize(2);
  }

  static SelectCascadeOp addSlots(SelectCascadeOp cascade) {
    OpBuilder builder(cascade);
    auto inverted = SelectCascadeOp::create(builder, cascade.getLoc(), cascade.getQueryScores(), cascade.getKeyScores(),
                                            cascade.getSeqLen(), cascade.getLevels(), cascade.getFactor(),
                                            cascade.getTopk(), cascade.getOpenFirstWindow(), /*with_slots=*/true,
                                            cascade.getPerKeyHead(), cascade.getDocuments());
    cascade.getResult().replaceAllUsesWith(inverted.getResult());
    cascade.erase();
    return inverted;
  }

  void replaceGradient(GatherGradOp gradient, SelectCascadeOp cascade, OpBuilder &builder) {
    auto create = [&](int64_t length, int64_t levels, int64_t factor, ArrayRef<int64_t> documents) {
      return GatherGradBySlotsOp::create(builder, gradient.getLoc(), gradient.getDy(), cascade.getSlots(),
                                         gradient.getHeads(), length, levels, factor, documents);
    };
    auto pyramid = gradient->hasOneUse() ? dyn_cast<PyramidGradOp>(*gradient->user_begin()) : PyramidGradOp();
    if (!pyramid || pyramid.getKind() != PoolKind::Mean || !isSamePyramid(pyramid, cascade))
      // One level: every row is a window of its own.
      return replace(gradient, create(gradient.getRows(), /*levels=*/1, cascade.getFactor(), /*documents=*/{}));
    builder.setInsertionPoint(pyramid);
    replace(pyramid, create(pyramid.getSeqLen(), pyramid.getLevels(), pyramid.getFactor(), pyramid.getDocuments()));
    gradient.erase();
  }

  void replace(Operation *old, Operation *lookup) {
    ++numReaders;
    old->replaceAllUsesWith(lookup);
    old->erase();
  }
};

} // namespace
} // namespace fresnel
