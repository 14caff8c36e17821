//===- TransposeBlocks.cpp - From the blocks of a row to the rows of a block -===//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//

#include "fresnel/Schedule/HopperLists.h"
#include "fresnel/Schedule/Schedule.h"
#include "fresnel/Transforms/PassTarget.h"
#include "fresnel/Transforms/Passes.h"
#include "llvm/Support/MathExtras.h"

using namespace mlir;

namespace fresnel {
#define GEN_PASS_DEF_TRANSPOSEBLOCKSPASS
#include "fresnel/Transforms/Passes.h.inc"

namespace {

struct TransposeBlocksPass final : impl::TransposeBlocksPassBase<TransposeBlocksPass> {
  using Base::Base;

  void runOnOperation() override {
    FailureOr<ProgramForTarget> input = requireProgramForTarget(getOperation(), target);
    if (failed(input))
      return signalPassFailure();
    auto [main, info] = *input;
    // Gradients that read one list share its transpose, which stands before the first of them; so do those that were
    // fused and brought their own.
    DenseMap<std::pair<Value, int64_t>, TransposeBlocksOp> known;
    DenseMap<Value, Value> counts;
    for (auto bits : llvm::make_early_inc_range(main.getBody().getOps<TransposeBlocksOp>())) {
      TransposeBlocksOp &first = known[{bits.getList(), int64_t(bits.getBlocks())}];
      if (!first) {
        first = bits;
        continue;
      }
      bits.getResult().replaceAllUsesWith(first.getResult());
      bits.erase();
    }
    for (auto gradient : main.getBody().getOps<AttendGradKvOp>()) {
      if (!gradient.getBlocks() || gradient.getTransposed())
        continue;
      int64_t keys = cast<RankedTensorType>(gradient.getK().getType()).getDimSize(2);
      int64_t blocks = llvm::divideCeil(keys, int64_t(gradient.getKeyBlock()));
      TransposeBlocksOp &bits = known[{gradient.getBlocks(), blocks}];
      OpBuilder builder(gradient);
      if (!bits)
        bits = TransposeBlocksOp::create(builder, gradient.getLoc(), gradient.getBlocks(), blocks);
      else if (gradient->isBeforeInBlock(bits))
        bits->moveBefore(gradient);
      gradient.setListed(cast<RankedTensorType>(gradient.getBlocks().getType()).getDimSize(3));
      gradient.getMasksMutable().slice(0, 1).assign(bits.getResult());
      gradient.setTransposed(true);
      if (!excludesHopper(schedule) && explainHopperLists(gradient, info).empty() && getListCuts(gradient).rows > 0) {
        Value &rows = counts[bits.getResult()];
        if (!rows)
          rows = CountRowsOp::create(builder, gradient.getLoc(), bits.getResult());
        gradient.getMasksMutable().append(rows);
      }
      ++numTransposed;
    }
  }
};

} // namespace
} // namespace fresnel
