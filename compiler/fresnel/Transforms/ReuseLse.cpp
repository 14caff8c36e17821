//===- ReuseLse.cpp - Scores take the LSE of attention --------------------===//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//

#include "fresnel/Transforms/Passes.h"

using namespace mlir;

namespace fresnel {
#define GEN_PASS_DEF_REUSELSEPASS
#include "fresnel/Transforms/Passes.h.inc"

namespace {

/// Whether both mask the same pairs. A query of scores stands for its own token, and counts from the first one, as
/// those of attention over pooled keys do; over other keys attention aligns the ends.
bool haveSameMask(BlockScoreOp scores, AttendOp attend) {
  if (attend.getSoftcap().isPosZero() && !attend.getBlocks() && attend.getDocuments() == scores.getDocuments() &&
      attend.getWindow() == 0 && attend.getCausal() == scores.getCausal()) {
    if (!scores.getCausal())
      return true;
    bool pooled = attend.getKeyWindow() > 1 || attend.getKeyStride() > 1;
    bool square = cast<RankedTensorType>(attend.getQ().getType()).getDimSize(2) ==
                  cast<RankedTensorType>(attend.getK().getType()).getDimSize(2);
    return scores.getQueryStride() == 1 && scores.getKeyWindow() == attend.getKeyWindow() &&
           scores.getKeyStride() == attend.getKeyStride() && (pooled || square);
  }
  return false;
}

AttendOp findAttention(BlockScoreOp scores) {
  for (Operation *user : scores.getQ().getUsers()) {
    auto attend = dyn_cast<AttendOp>(user);
    if (attend && attend.getQ() == scores.getQ() && attend.getK() == scores.getK() &&
        attend->getBlock() == scores->getBlock() && attend->isBeforeInBlock(scores) &&
        attend.getScaleOrDefault() == scores.getScaleOrDefault() && haveSameMask(scores, attend))
      return attend;
  }
  return {};
}

struct ReuseLsePass final : impl::ReuseLsePassBase<ReuseLsePass> {
  using Base::Base;

  void runOnOperation() override {
    ProgramOp main = requireMainProgram(getOperation());
    if (!main)
      return signalPassFailure();
    for (auto scores : main.getBody().getOps<BlockScoreOp>()) {
      if (scores.getLse() || scores.getNormalize() != Normalize::Softmax)
        continue;
      if (AttendOp attend = findAttention(scores)) {
        scores->insertOperands(2, attend.getLse());
        ++numReused;
      }
    }
  }
};

} // namespace
} // namespace fresnel
