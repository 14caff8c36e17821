//===- Elementwise.cpp - arith and math on fragments, element by element --===//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//

#include "fresnel/Conversion/TileToNVVM/Lowering.h"
#include "mlir/Dialect/Math/IR/Math.h"

using namespace mlir;
using namespace fresnel::tile;

namespace {

/// Repeats an elementwise operation for each value that the thread holds.
struct ElementwiseLowering final : ConversionPattern {
  ElementwiseLowering(const TypeConverter &converter, MLIRContext *context)
      : ConversionPattern(converter, MatchAnyOpTypeTag(), /*benefit=*/1, context) {}

  LogicalResult matchAndRewrite(Operation *op, ArrayRef<Value> operands,
                                ConversionPatternRewriter &rewriter) const override {
    if (!op->hasTrait<OpTrait::Elementwise>() || op->getNumResults() != 1 || !isFragment(op->getResult(0).getType()))
      return failure();
    Emitter emitter(op->getLoc(), rewriter);
    SmallVector<SmallVector<Value>> unpacked;
    for (auto [original, operand] : llvm::zip(op->getOperands(), operands))
      unpacked.push_back(isFragment(original.getType()) ? emitter.unpack(operand) : SmallVector<Value>{operand});
    auto fragment = cast<RankedTensorType>(op->getResult(0).getType());
    SmallVector<Value> results;
    for (int64_t i = 0, e = getElementsPerThread(fragment); i < e; ++i) {
      SmallVector<Value> scalars;
      for (ArrayRef<Value> values : unpacked)
        scalars.push_back(values.size() == 1 ? values[0] : values[i]);
      OperationState state(op->getLoc(), op->getName(), scalars, fragment.getElementType(), op->getAttrs());
      results.push_back(emitter.create(state)->getResult(0));
    }
    rewriter.replaceOp(op, emitter.pack(getTypeConverter()->convertType(fragment), results));
    return success();
  }
};

struct ConstantLowering final : TilePattern<arith::ConstantOp> {
  using TilePattern::TilePattern;
  LogicalResult matchAndRewrite(arith::ConstantOp op, OpAdaptor, ConversionPatternRewriter &rewriter) const override {
    auto fragment = dyn_cast<RankedTensorType>(op.getType());
    auto value = dyn_cast<SplatElementsAttr>(op.getValue());
    if (!fragment || !isFragment(fragment) || !value)
      return failure();
    Emitter emitter(op.getLoc(), rewriter);
    Value scalar = LLVM::ConstantOp::create(emitter, fragment.getElementType(), value.getSplatValue<Attribute>());
    SmallVector<Value> values(getElementsPerThread(fragment), scalar);
    rewriter.replaceOp(op, emitter.pack(getTypeConverter()->convertType(fragment), values));
    return success();
  }
};

/// The NVPTX backend has no selection for the generic log2, and its exp2 is the
/// approximate instruction in any case; naming the instructions keeps both explicit.
template <typename Op>
struct ApproximateLowering final : TilePattern<Op> {
  ApproximateLowering(const TileTypeConverter &converter, StringRef intrinsic)
      : TilePattern<Op>(converter, /*benefit=*/2), intrinsic(intrinsic) {}

  LogicalResult matchAndRewrite(Op op, typename Op::Adaptor adaptor,
                                ConversionPatternRewriter &rewriter) const override {
    if (!op.getType().isF32())
      return failure();
    rewriter.replaceOpWithNewOp<LLVM::CallIntrinsicOp>(op, op.getType(), rewriter.getStringAttr(intrinsic),
                                                       adaptor.getOperands());
    return success();
  }

  StringRef intrinsic;
};

} // namespace

void fresnel::tile::populateElementwisePatterns(const TileTypeConverter &converter, RewritePatternSet &patterns) {
  patterns.add<ElementwiseLowering>(converter, patterns.getContext());
  patterns.add<ConstantLowering>(converter);
  patterns.add<ApproximateLowering<math::Exp2Op>>(converter, "llvm.nvvm.ex2.approx.ftz.f");
  patterns.add<ApproximateLowering<math::Log2Op>>(converter, "llvm.nvvm.lg2.approx.ftz.f");
}
