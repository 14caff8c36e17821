//===- GatherTiles.cpp - Gradients of gathers out of f32 tiles ------------===//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//

#include "fresnel/Transforms/Passes.h"

using namespace mlir;

namespace fresnel {
#define GEN_PASS_DEF_GATHERTILESPASS
#include "fresnel/Transforms/Passes.h.inc"

namespace {

struct GatherTilesPass final : impl::GatherTilesPassBase<GatherTilesPass> {
  using Base::Base;

  void runOnOperation() override {
    ProgramOp main = requireMainProgram(getOperation());
    if (!main)
      return signalPassFailure();
    for (auto gradient : llvm::make_early_inc_range(main.getBody().getOps<GatherGradBySlotsOp>()))
      if (auto round = gradient.getDy().getDefiningOp<RoundTilesOp>(); round && isPlain(round))
        fuse(round, gradient);
  }

  /// Whether the rows are those of the tiles, and only a gather's gradient reads them.
  static bool isPlain(RoundTilesOp round) { return round.getMore().empty() && round->hasOneUse(); }

  void fuse(RoundTilesOp round, GatherGradBySlotsOp gradient) {
    OpBuilder builder(gradient);
    Value dx = GatherGradTilesOp::create(
        builder, gradient.getLoc(), round.getTiles(), gradient.getSlots(), gradient.getHeads(), gradient.getSeqLen(),
        gradient.getLevels(), gradient.getFactor(), gradient.getDocuments(), round.getScale(), round.getElement());
    gradient.getDx().replaceAllUsesWith(dx);
    gradient.erase();
    round.erase();
    ++numFused;
  }
};

} // namespace
} // namespace fresnel
