//===- TransposeBlocks.cpp - From the blocks of a row to the rows of a block -===//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//

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
    ProgramOp main = requireMainProgram(getOperation());
    if (!main)
      return signalPassFailure();
    // Gradients that read one list share its transpose, which stands before the first of them.
    DenseMap<std::pair<Value, int64_t>, Value> known;
    for (auto gradient : main.getBody().getOps<AttendGradKvOp>()) {
      if (!gradient.getBlocks() || gradient.getTransposed())
        continue;
      int64_t keys = cast<RankedTensorType>(gradient.getK().getType()).getDimSize(2);
      int64_t blocks = llvm::divideCeil(keys, int64_t(gradient.getKeyBlock()));
      Value &bits = known[{gradient.getBlocks(), blocks}];
      if (!bits) {
        OpBuilder builder(gradient);
        bits = TransposeBlocksOp::create(builder, gradient.getLoc(), gradient.getBlocks(), blocks);
      }
      gradient.setListed(cast<RankedTensorType>(gradient.getBlocks().getType()).getDimSize(3));
      gradient.getMaskMutable().assign(bits);
      gradient.setTransposed(true);
      ++numTransposed;
    }
  }
};

} // namespace
} // namespace fresnel
