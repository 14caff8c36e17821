//===- FuseSelections.cpp - Selections without stored scores --------------===//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//

#include "fresnel/Schedule/HopperScores.h"
#include "fresnel/Transforms/PassTarget.h"
#include "fresnel/Transforms/Passes.h"

using namespace mlir;

namespace fresnel {
#define GEN_PASS_DEF_FUSESELECTIONSPASS
#include "fresnel/Transforms/Passes.h.inc"

namespace {

/// Lists of this many blocks stay in a lane's registers.
constexpr int64_t kMaxTake = 16;
/// Rows below which two kernels, which share a row's scores among more threads, are faster.
constexpr int64_t kMinRows = 1 << 16;

/// The scores that `select` alone reads, if one kernel can compute and rank them.
BlockScoreOp findScores(SelectBlocksOp select) {
  auto scores = select.getScores().getDefiningOp<BlockScoreOp>();
  if (!scores || !scores->hasOneUse() || scores.getDocuments() || scores.getNormalize() != Normalize::None ||
      scores.getCausal() != select.getCausal() || scores.getQueryStride() != select.getQueryBlock())
    return {};
  auto q = cast<RankedTensorType>(scores.getQ().getType());
  if (q.getElementType().isF32() || q.getDimSize(3) % 16 || q.getDimSize(3) > 256)
    return {};
  if (cast<RankedTensorType>(select.getResult().getType()).getDimSize(3) > kMaxTake ||
      q.getNumElements() / q.getDimSize(3) < kMinRows)
    return {};
  return scores;
}

/// The scores that `regroup` alone reads, if one kernel can compute the blocks' scores from the start.
BlockScoreOp findWindows(RegroupOp regroup, const TargetInfo &target) {
  auto scores = regroup.getScores().getDefiningOp<BlockScoreOp>();
  if (!scores || !scores->hasOneUse() || !scores.getLse() || !scores.getGroupSum() || scores.getQueryStride() != 1 ||
      scores.getKeyWindow() != regroup.getWindow() || scores.getKeyStride() != regroup.getStride())
    return {};
  auto q = cast<RankedTensorType>(scores.getQ().getType()), k = cast<RankedTensorType>(scores.getK().getType());
  return explainHopperScores(q, k, regroup.getWindow(), regroup.getStride(), regroup.getBlock(), target).empty()
             ? scores
             : BlockScoreOp();
}

struct FuseSelectionsPass final : impl::FuseSelectionsPassBase<FuseSelectionsPass> {
  using Base::Base;

  void runOnOperation() override {
    FailureOr<ProgramForTarget> input = requireProgramForTarget(getOperation(), target);
    if (failed(input))
      return signalPassFailure();
    auto [main, info] = *input;
    if (regroup)
      for (auto op : llvm::make_early_inc_range(main.getBody().getOps<RegroupOp>()))
        if (BlockScoreOp scores = findWindows(op, info))
          fuse(op, scores);
    for (auto select : llvm::make_early_inc_range(main.getBody().getOps<SelectBlocksOp>()))
      if (BlockScoreOp scores = findScores(select))
        fuse(select, scores);
  }

  void fuse(RegroupOp regroup, BlockScoreOp scores) {
    ++numRegrouped;
    OpBuilder builder(regroup);
    auto fused = RegroupScoredOp::create(builder, regroup.getLoc(), scores.getQ(), scores.getK(), scores.getLse(),
                                         scores.getDocuments(), scores.getScaleAttr(), scores.getCausalAttr(),
                                         regroup.getWindowAttr(), regroup.getStrideAttr(), regroup.getBlockAttr(),
                                         regroup.getSeqLenAttr());
    regroup.getResult().replaceAllUsesWith(fused.getResult());
    regroup.erase();
    scores.erase();
  }

  void fuse(SelectBlocksOp select, BlockScoreOp scores) {
    ++numSelections;
    OpBuilder builder(select);
    auto fused = SelectScoredOp::create(builder, select.getLoc(), scores.getQ(), scores.getK(), select.getDocuments(),
                                        scores.getScaleAttr(), scores.getCausalAttr(), scores.getKeyWindowAttr(),
                                        scores.getKeyStrideAttr(), scores.getQueryStrideAttr(), select.getTopkAttr(),
                                        select.getLocalAttr(), select.getSinksAttr(), select.getKeyBlockAttr());
    select.getResult().replaceAllUsesWith(fused.getResult());
    select.erase();
    scores.erase();
  }
};

} // namespace
} // namespace fresnel
