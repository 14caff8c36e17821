//===- HopperWideGrad.cpp - Attention's gradients for wide heads ----------===//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
//
// Head dims 192 and 256: registers hold the gradients of 64 keys only if the consumers
// share their columns. So do they with head dim 128 where block lists open 64 keys at a
// time. Each computes the scores of half of a step's queries; weights and
// their gradients meet in shared memory, from where both consumers read them whole: as
// left operands of their columns of dV and dK, and turned of their columns of dQ.
//
//===----------------------------------------------------------------------===//

#include "fresnel/Conversion/HopperWideGrad.h"
#include "fresnel/Conversion/HopperGradKernel.h"
#include "llvm/Support/MathExtras.h"

using namespace mlir;
using namespace fresnel;

namespace {

class HopperWideGradKernel final : public HopperGradKernel {
public:
  HopperWideGradKernel(AttendGradOp op, const KernelRequest &request, KernelBuilder &builder)
      : HopperGradKernel(op, request, builder, getSquares(op, 0), getSquares(op, 1)), half(queryRows / kConsumers),
        math(builder, shape, Owner::Keys, kGroupRows, half) {}

private:
  /// The first columns of a consumer, and how many it has: half of the panels, the first one more.
  static std::pair<int64_t, int64_t> getColumns(int64_t headDim, int64_t c) {
    int64_t first = llvm::alignTo(headDim / 2, kSquare);
    return c == 0 ? std::pair<int64_t, int64_t>(0, first) : std::pair<int64_t, int64_t>(first, headDim - first);
  }

  static Squares getSquares(AttendGradOp op, int64_t c) {
    auto [first, columns] = getColumns(cast<RankedTensorType>(op.getQ().getType()).getDimSize(3), c);
    Squares squares;
    for (int64_t column = first; column < first + columns; column += kSquare)
      squares.push_back({0, column, kSquare});
    return squares;
  }

  void allocateScores() override {
    // Two of each, so that a consumer may write the next ones while the other reads.
    weightTiles = b.alloc({2, keyRows, queryRows}, shape.element, tile::Layout::Swizzled);
    scoreTiles = b.alloc({2, keyRows, queryRows}, shape.element, tile::Layout::Swizzled);
  }

  Type getAccType(int64_t columns) { return tile::getAccType(kGroupRows, columns, b.getF32Type()); }

  Val getPanels(Val tile, int64_t column, int64_t columns) {
    return b.wrap(tile::PanelOp::create(b, Value(tile), Value(b.i32(column / 64)), columns));
  }

  /// Keys by this consumer's queries of a tile.
  Val multiplyHalf(Val owned, Val tile) {
    return b.wrap(tile::WgmmaOp::create(b, getAccType(half), Value(owned), Value(b.i32(0)), Value(tile),
                                        Value(firstQuery), Value(), /*transposed=*/true, /*lhs_transposed=*/false));
  }

  Val accumulate(Val sum, Val weights, Val tile) {
    return b.wrap(tile::WgmmaOp::create(b, sum.getType(), Value(weights), Value(b.i32(0)), Value(tile), Value(sum),
                                        /*transposed=*/false));
  }

  /// A square of dQ.
  Val multiplyTurned(Val scores, int64_t column) {
    return b.wrap(tile::WgmmaOp::create(b, getAccType(kSquare), Value(scores), Value(),
                                        Value(getPanels(keyTile, column, kSquare)), Value(), Value(),
                                        /*transposed=*/false, /*lhs_transposed=*/true));
  }

  /// Weights and their gradients of this consumer's queries, to where both read them.
  void writeScores(Val i, Val slot, Val doutSlot, Val query, Val dout, Val weightTile, Val scoreTile) {
    Val scores = multiplyHalf(keyTile, query), lse = loadValues(queries, slot, firstQuery, half);
    auto [unused, parity] = slotOf(douts, i);
    wait(douts.full, doutSlot, parity);
    Val dweights = multiplyHalf(valueTile, dout);
    scores = waitFor(scores, 1);
    AttendGradMath::Weights weights = math.weigh(scores, lse, getVisible(firstKey, getStep(i).row + firstQuery, half));
    Val delta = loadValues(douts, doutSlot, firstQuery, half);
    auto store = [&](Val value, Val tile) {
      tile::StoreMatrixOp::create(b, Value(toLhs(value)), Value(tile), Value(b.i32(0)), Value(firstQuery),
                                  /*transposed=*/false);
    };
    store(weights.weights, weightTile);
    dweights = waitFor(dweights, 0);
    store(math.differentiate(weights, dweights, delta), scoreTile);
    tile::FenceAsyncOp::create(b);
    meetConsumers();
  }

  /// One step of consumer c: dK and dV come in and go out.
  SmallVector<Val> iterate(Val i, ArrayRef<Val> sums, int64_t c) {
    auto [first, columns] = getColumns(shape.headDim, c);
    auto [firstValue, valueColumns] = getColumns(shape.valueDim, c);
    auto [slot, parity] = slotOf(queries, i);
    Val doutSlot = slotOf(douts, i).first;
    Val query = b.slice(queries.tiles, slot), dout = b.slice(douts.tiles, doutSlot);
    Val weightTile = b.slice(weightTiles, i & 1.0), scoreTile = b.slice(scoreTiles, i & 1.0);
    wait(queries.full, slot, parity);
    writeScores(i, slot, doutSlot, query, dout, weightTile, scoreTile);

    Val dv = accumulate(sums[1], weightTile, getPanels(dout, firstValue, valueColumns));
    Val square = multiplyTurned(scoreTile, first);
    dv = waitFor(dv, 1);
    release(douts, doutSlot);
    Val dk = accumulate(sums[0], scoreTile, getPanels(query, first, columns));
    handOut(waitFor(square, 1), i);
    for (int64_t column = first + kSquare; column < first + columns; column += kSquare) {
      square = multiplyTurned(scoreTile, column);
      dk = waitFor(dk, 1);
      handOut(waitFor(square, 0), i);
    }
    dk = waitFor(dk, 0);
    release(queries, slot);
    return {dk, dv};
  }

  void consumeColumns(int64_t c) {
    auto [first, columns] = getColumns(shape.headDim, c);
    auto [firstValue, valueColumns] = getColumns(shape.valueDim, c);
    Val zero = b.constant(getAccType(columns), 0.0), zeroValues = b.constant(getAccType(valueColumns), 0.0);
    SmallVector<Val> sums = b.forRange(b.i32(0), total, b.i32(1), {zero, zeroValues},
                                       [&](Val i, ArrayRef<Val> carried) { return iterate(i, carried, c); });
    endConsumer();
    auto store = [&](Val value, Val tile, int64_t column) {
      tile::StoreMatrixOp::create(b, Value(value), Value(tile), Value(b.i32(0)), Value(b.i32(column)),
                                  /*transposed=*/false);
    };
    store(sums[1], valueTile, firstValue);
    store(sums[0] * shape.scale, keyTile, first);
  }

  void consume() override {
    beginConsumer();
    firstQuery = consumer * double(half);
    // A body for each: they differ in the width of their products.
    b.ifElse(
        consumer == 0.0, [&] { return consumeColumns(0), SmallVector<Val>(); },
        [&] { return consumeColumns(1), SmallVector<Val>(); });
    tile::FenceAsyncOp::create(b);
    meetConsumers();
    b.ifThen(leader & (consumer == 0.0), [&] { storeGradients(valueTile, keyTile, b.i32(0), firstKey); });
  }

  /// Queries of a step of which a consumer computes the scores.
  int64_t half;
  AttendGradMath math;
  Val weightTiles, scoreTiles;
  // In a consumer: the first of its queries in a step.
  Val firstQuery;
};

} // namespace

void fresnel::lowerHopperWideGrad(AttendGradOp op, const KernelRequest &request, KernelBuilder &builder) {
  HopperWideGradKernel(op, request, builder).write();
}
