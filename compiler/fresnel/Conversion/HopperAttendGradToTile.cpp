//===- HopperAttendGradToTile.cpp - Attention's gradients with WGMMA ------===//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
//
// Up to head dim 128: each consumer owns 64 of a thread block's 128 keys, so that the
// weights and their gradients are left operands of the products that sum dV and dK, in
// registers. The gradient of the scores also goes through shared memory, where both
// consumers read it for dQ: each has a square of 64 x 64 of it, side by side where the
// head has two panels of 64 columns, else one below the other.
//
//===----------------------------------------------------------------------===//

#include "fresnel/Conversion/HopperGradKernel.h"
#include "fresnel/Conversion/HopperWideGrad.h"

using namespace mlir;
using namespace fresnel;

namespace {

/// The named barrier of a consumer's own threads.
constexpr int64_t kOwnBarrier = 8;

class HopperAttendGradKernel final : public HopperGradKernel {
public:
  HopperAttendGradKernel(AttendGradOp op, const KernelRequest &request, KernelBuilder &builder)
      : HopperGradKernel(op, request, builder, getSquares(request, op, 0), getSquares(request, op, 1)),
        math(builder, shape, Owner::Keys, kGroupRows, queryRows), hasOwnSquare(!getSquares(request, op, 1).empty()) {}

private:
  /// One square, or none beside a soft cap in one panel of columns.
  static Squares getSquares(const KernelRequest &request, AttendGradOp op, int64_t c) {
    int64_t headDim = cast<RankedTensorType>(op.getQ().getType()).getDimSize(3);
    if (request.schedule.getTileN() > kSquare)
      return {{c, 0, kSquare}};
    if (c * kSquare >= headDim)
      return {};
    return {{0, c * kSquare, std::min(kSquare, headDim - c * kSquare)}};
  }

  void allocateScores() override {
    // Two, so that a consumer may write the next one while the other reads.
    scoreTiles = b.alloc({2, queryRows, keyRows}, shape.element, tile::Layout::Swizzled);
  }

  Type getAccType(int64_t columns) { return tile::getAccType(kGroupRows, columns, b.getF32Type()); }

  /// Keys by queries: this consumer's rows of K or V times a tile of the ring.
  Val multiplyOwned(Val owned, Val tile) {
    return b.wrap(tile::WgmmaOp::create(b, math.getScoresType(), Value(owned), Value(groupRow), Value(tile), Value(),
                                        /*transposed=*/true));
  }

  Val accumulate(Val sum, Val lhs, Val tile) {
    return b.wrap(tile::WgmmaOp::create(b, sum.getType(), Value(lhs), Value(), Value(tile), Value(sum), false));
  }

  /// This consumer's square of dQ.
  Val multiplyScores(Val scores) {
    bool below = queryRows > kSquare;
    Val row = below ? groupRow : b.i32(0);
    Val keys = shape.headDim <= kSquare ? keyTile : b.wrap(tile::PanelOp::create(b, Value(keyTile), Value(consumer)));
    return b.wrap(tile::WgmmaOp::create(b, getAccType(kSquare), Value(scores), Value(row), Value(keys), Value(),
                                        /*transposed=*/false));
  }

  /// One step: dK and dV come in and go out.
  SmallVector<Val> iterate(Val i, ArrayRef<Val> sums) {
    auto [slot, parity] = slotOf(queries, i);
    auto [doutSlot, doutParity] = slotOf(douts, i);
    Val query = b.slice(queries.tiles, slot), dout = b.slice(douts.tiles, doutSlot), zero = b.i32(0);
    wait(queries.full, slot, parity);
    Val scores = multiplyOwned(keyTile, query), lse = loadValues(queries, slot, zero, queryRows);
    wait(douts.full, doutSlot, doutParity);
    Val dweights = multiplyOwned(valueTile, dout);
    scores = waitFor(scores, 1);
    AttendGradMath::Weights weights =
        math.weigh(scores, lse, getVisible(firstKey + groupRow, getStep(i).row, queryRows));
    Val delta = loadValues(douts, doutSlot, zero, queryRows);
    dweights = waitFor(dweights, 0);
    Val dscores = toLhs(math.differentiate(weights, dweights, delta)), lhs = toLhs(weights.weights);

    Val tile = b.slice(scoreTiles, i & 1.0);
    Val panel = b.wrap(tile::PanelOp::create(b, Value(tile), Value(consumer)));
    tile::StoreMatrixOp::create(b, Value(dscores), Value(panel), Value(zero), /*transposed=*/true);
    Val dv = accumulate(sums[1], lhs, dout);
    tile::FenceAsyncOp::create(b);
    meetConsumers();
    Val dq = multiplyScores(tile);
    dv = waitFor(dv, 1);
    release(douts, doutSlot);
    Val dk = accumulate(sums[0], dscores, query);
    dq = waitFor(dq, 1);
    hasOwnSquare ? handOut(dq, i) : b.ifThen(consumer == 0.0, [&] { handOut(dq, i); });
    dk = waitFor(dk, 0);
    release(queries, slot);
    return {dk, dv};
  }

  void consume() override {
    beginConsumer();
    groupRow = consumer * double(kGroupRows);
    Val zero = b.constant(getAccType(shape.headDim), 0.0), zeroValues = b.constant(getAccType(shape.valueDim), 0.0);
    SmallVector<Val> sums = b.forRange(b.i32(0), total, b.i32(1), {zero, zeroValues},
                                       [&](Val i, ArrayRef<Val> carried) { return iterate(i, carried); });
    endConsumer();
    tile::StoreMatrixOp::create(b, Value(sums[1]), Value(valueTile), Value(groupRow));
    tile::StoreMatrixOp::create(b, Value(sums[0] * shape.scale), Value(keyTile), Value(groupRow));
    tile::FenceAsyncOp::create(b);
    meet(consumer + double(kOwnBarrier), 128);
    b.ifThen(leader, [&] { storeGradients(valueTile, keyTile, groupRow, firstKey + groupRow); });
  }

  AttendGradMath math;
  /// Whether each consumer has a square.
  bool hasOwnSquare;
  Val scoreTiles;
  // In a consumer: its first row.
  Val groupRow;
};

} // namespace

LogicalResult fresnel::lowerAttendGrad(AttendGradOp op, const KernelRequest &request, KernelBuilder &builder) {
  if (isHopperGradWide(op))
    lowerHopperWideGrad(op, request, builder);
  else
    HopperAttendGradKernel(op, request, builder).write();
  return success();
}
