//===- Mma.cpp - ldmatrix and mma.sync ------------------------------------===//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//

#include "fresnel/Conversion/TileToNVVM/Lowering.h"

using namespace mlir;
using namespace fresnel::tile;

namespace {

/// Four 8x8 matrices whose rows the lanes address: lane l gives row l % 8 of matrix l / 8.
static SmallVector<Value> loadMatrices(Emitter &emitter, Value address, bool transposed) {
  auto context = emitter.getContext();
  auto type = LLVM::LLVMStructType::getLiteral(context, SmallVector<Type>(4, emitter.getI32Type()));
  auto layout = transposed ? NVVM::MMALayout::col : NVVM::MMALayout::row;
  Value loaded =
      NVVM::LdMatrixOp::create(emitter, type, address, emitter.getI32IntegerAttr(4),
                               NVVM::MMALayoutAttr::get(context, layout), NVVM::LdStMatrixShapeAttr::get(context, 8, 8),
                               NVVM::LdStMatrixEltTypeAttr::get(context, NVVM::LdStMatrixEltType::B16));
  return emitter.unpack(loaded);
}

/// The row and column, inside a 16x16 block, that a lane addresses. Matrices 0
/// and 1 are the two halves of the rows, 2 and 3 those of the second half of
/// the columns; `swapped` exchanges the roles of matrices 1 and 2.
struct LanePosition {
  Value row, col;
};
static LanePosition getLanePosition(Emitter &emitter, bool swapped) {
  Value lane = emitter.laneId();
  Value inner = emitter.bitAnd(lane, 7);
  Value bit3 = emitter.bitAnd(emitter.shr(lane, 3), 1), bit4 = emitter.shr(lane, 4);
  Value half = swapped ? bit4 : bit3, side = swapped ? bit3 : bit4;
  return {emitter.add(emitter.shl(half, 3), inner), emitter.shl(side, 3)};
}

struct LoadLhsLowering final : TilePattern<LoadLhsOp> {
  using TilePattern::TilePattern;
  LogicalResult matchAndRewrite(LoadLhsOp op, OpAdaptor adaptor, ConversionPatternRewriter &rewriter) const override {
    Emitter emitter(op.getLoc(), rewriter);
    auto source = cast<SharedType>(op.getSource().getType());
    auto fragment = op.getResult().getType();
    LanePosition lane = getLanePosition(emitter, /*swapped=*/false);
    // fragmentRow's warp part, without its lane part.
    Value warpRow =
        LLVM::SubOp::create(emitter, emitter.fragmentRow(fragment.getShape()[0]), emitter.shr(emitter.laneId(), 2));
    Value row = emitter.add(warpRow, lane.row);
    SmallVector<Value> registers;
    for (int64_t k = 0; k < fragment.getShape()[1]; k += 16) {
      Value col = emitter.add(lane.col, emitter.i32(op.getColumn() + k));
      Value address = emitter.offset(adaptor.getSource(), emitter.sharedOffset(source, row, col));
      llvm::append_range(registers, loadMatrices(emitter, address, /*transposed=*/false));
    }
    rewriter.replaceOp(op, emitter.pack(getTypeConverter()->convertType(fragment), registers));
    return success();
  }
};

struct MmaLowering final : TilePattern<MmaOp> {
  using TilePattern::TilePattern;

  LogicalResult matchAndRewrite(MmaOp op, OpAdaptor adaptor, ConversionPatternRewriter &rewriter) const override {
    Emitter emitter(op.getLoc(), rewriter);
    SmallVector<Value> lhs = emitter.unpack(adaptor.getLhs());
    SmallVector<Value> acc = emitter.unpack(adaptor.getAcc());
    int64_t k = op.getLhs().getType().getShape()[1], n = op.getAcc().getType().getShape()[1];
    for (int64_t step = 0; step < k / 16; ++step)
      for (int64_t pair = 0; pair < n / 16; ++pair) {
        SmallVector<Value> rhs = loadRhs(op, adaptor, emitter, step, pair);
        for (int64_t half = 0; half < 2; ++half)
          multiply(op, emitter, ArrayRef(lhs).slice(4 * step, 4), ArrayRef(rhs).slice(2 * half, 2),
                   MutableArrayRef(acc).slice(8 * pair + 4 * half, 4));
      }
    rewriter.replaceOp(op, emitter.pack(adaptor.getAcc().getType(), acc));
    return success();
  }

  /// The B registers of k-step `step` for columns 16 pair .. 16 pair + 15.
  static SmallVector<Value> loadRhs(MmaOp op, OpAdaptor adaptor, Emitter &emitter, int64_t step, int64_t pair) {
    auto tile = cast<SharedType>(op.getRhs().getType());
    bool transposed = op.getTransposed();
    // Register order is (k low, k high) of the first eight columns, then of the second.
    LanePosition lane = getLanePosition(emitter, /*swapped=*/transposed);
    Value row = emitter.add(lane.row, emitter.i32(16 * (transposed ? pair : step)));
    Value col = emitter.add(lane.col, emitter.i32(op.getColumn() + 16 * (transposed ? step : pair)));
    Value address = emitter.offset(adaptor.getRhs(), emitter.sharedOffset(tile, row, col));
    return loadMatrices(emitter, address, /*transposed=*/!transposed);
  }

  static void multiply(MmaOp op, Emitter &emitter, ArrayRef<Value> lhs, ArrayRef<Value> rhs,
                       MutableArrayRef<Value> acc) {
    bool isBf16 = op.getLhs().getType().getElementType().isBF16();
    auto types = isBf16 ? NVVM::MMATypes::bf16 : NVVM::MMATypes::f16;
    auto result = LLVM::LLVMStructType::getLiteral(emitter.getContext(), SmallVector<Type>(4, emitter.getF32Type()));
    auto registers = [&](ArrayRef<Value> values) {
      // The f16 form takes pairs of halves, the bf16 form plain registers.
      SmallVector<Value> converted(values);
      if (!isBf16)
        for (Value &value : converted)
          value = LLVM::BitcastOp::create(emitter, VectorType::get(2, emitter.getF16Type()), value);
      return converted;
    };
    Value product = NVVM::MmaOp::create(
        emitter, result, registers(lhs), registers(rhs), ValueRange(acc), ArrayRef<int64_t>{16, 8, 16}, std::nullopt,
        std::nullopt, std::array{types, types}, std::array{NVVM::MMALayout::row, NVVM::MMALayout::col});
    llvm::copy(emitter.unpack(product), acc.begin());
  }
};

} // namespace

void fresnel::tile::populateMmaPatterns(const TileTypeConverter &converter, RewritePatternSet &patterns) {
  patterns.add<LoadLhsLowering, MmaLowering>(converter);
}
