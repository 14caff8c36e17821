//===- FusePyramids.cpp - Levels and norms in one pass over a tensor ------===//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//

#include "fresnel/Transforms/Passes.h"

using namespace mlir;

namespace fresnel {
#define GEN_PASS_DEF_FUSEPYRAMIDSPASS
#include "fresnel/Transforms/Passes.h.inc"

namespace {

bool isSamePyramid(PyramidOp a, PyramidOp b) {
  return a.getLevels() == b.getLevels() && a.getFactor() == b.getFactor() && a.getDocuments() == b.getDocuments();
}

/// Whether `op` is a mean pyramid that only gathers read, of windows that fusion serves.
bool isFusible(PyramidOp op) {
  auto x = cast<RankedTensorType>(op.getX().getType());
  if (op.getKind() != PoolKind::Mean || x.getRank() != 4 || op.getLevels() < 2 || op->use_empty())
    return false;
  return hasShortWindows(op.getLevels(), op.getFactor()) && llvm::all_of(op->getUsers(), llvm::IsaPred<GatherOp>);
}

/// The maximum pyramid of the norms of what `op` pools, if it has the same levels
/// and nothing else reads the norms.
PyramidOp findNorms(PyramidOp op) {
  for (Operation *user : op.getX().getUsers()) {
    auto norm = dyn_cast<NormOp>(user);
    if (!norm || !norm->hasOneUse())
      continue;
    auto scores = dyn_cast<PyramidOp>(*norm->user_begin());
    if (scores && scores.getKind() == PoolKind::Max && isSamePyramid(op, scores))
      return scores;
  }
  return {};
}

struct FusePyramidsPass final : impl::FusePyramidsPassBase<FusePyramidsPass> {
  using Base::Base;

  void runOnOperation() override {
    ProgramOp main = requireMainProgram(getOperation());
    if (!main)
      return signalPassFailure();
    SmallVector<PyramidOp> pyramids;
    for (auto pyramid : main.getBody().getOps<PyramidOp>())
      if (isFusible(pyramid))
        pyramids.push_back(pyramid);
    for (PyramidOp pyramid : pyramids)
      fuse(pyramid);
  }

  void fuse(PyramidOp pyramid) {
    ++numPyramids;
    Operation *place = pyramid;
    PyramidOp scores = findNorms(pyramid);
    if (scores && scores->isBeforeInBlock(place))
      place = scores;
    OpBuilder builder(place);
    auto levels = PoolLevelsOp::create(builder, pyramid.getLoc(), pyramid.getX(), pyramid.getLevels(),
                                       pyramid.getFactor(), /*norms=*/bool(scores), pyramid.getDocuments());
    if (scores) {
      Operation *norm = scores.getX().getDefiningOp();
      scores->getResult(0).replaceAllUsesWith(levels.getScores());
      scores.erase();
      norm->erase();
    }
    for (Operation *user : llvm::make_early_inc_range(pyramid->getUsers())) {
      auto gather = cast<GatherOp>(user);
      builder.setInsertionPoint(gather);
      auto rows = GatherLevelsOp::create(builder, gather.getLoc(), ValueRange{pyramid.getX()},
                                         ValueRange{levels.getRows()}, gather.getIndices());
      gather->replaceAllUsesWith(rows);
      gather.erase();
    }
    pyramid.erase();
  }
};

} // namespace
} // namespace fresnel
