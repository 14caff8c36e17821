//===- HopperAttendGradToTile.cpp - Attention's gradients with WGMMA ------===//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
//
// Up to head dim 128, and keys of 192 with values of 128: each consumer owns 64 of a thread block's 128 keys, so that
// the weights and their gradients are left operands of the products that sum dV and dK, in registers. The gradient of
// the scores also goes through shared memory, where both consumers read it for dQ: each has a square of 64 x 64 of it,
// side by side where the head has two panels of 64 columns, else one below the other. With three panels one has two
// squares, and there are registers for half of a step's queries at once only, as with one panel and pooled keys within
// documents.
//
// With head dims 96 and 128 a step may have two tiles of queries. Each consumer then computes the dQ of one, 64 rows
// and all columns, so that the keys are read once for twice as many products and the consumers meet half as often.
//
//===----------------------------------------------------------------------===//

#include "fresnel/Conversion/HopperGradKernel.h"
#include "fresnel/Conversion/HopperWideGrad.h"

using namespace mlir;
using namespace fresnel;

namespace {

/// Named barriers: a consumer's own threads; a consumer has read its tile of scores.
constexpr int64_t kOwnBarrier = 8, kReadBarrier = 10;

class HopperAttendGradKernel final : public HopperGradKernel {
public:
  HopperAttendGradKernel(AttendGradOp op, const KernelRequest &request, KernelBuilder &builder)
      : HopperGradKernel(op, request, builder, getSquares(request, op, 0), getSquares(request, op, 1)),
        half(hasFewRegisters() ? ringRows / 2 : ringRows), math(builder, shape, Owner::Keys, kGroupRows, half),
        hasOwnSquare(!getSquares(request, op, 1).empty()) {}

private:
  /// One square, none beside a soft cap in one panel of columns, or of three panels the first and the last.
  static Squares getSquares(const KernelRequest &request, AttendGradOp op, int64_t c) {
    int64_t headDim = cast<RankedTensorType>(op.getQ().getType()).getDimSize(3);
    if (isHopperGradPaired(request.schedule, op))
      return {{c, 0, headDim}};
    if (request.schedule.getTileN() > kSquare)
      return {{c, 0, kSquare}};
    Squares squares;
    for (int64_t column = c * kSquare; column < headDim; column += kConsumers * kSquare)
      squares.push_back({0, column, std::min(kSquare, headDim - column)});
    return squares;
  }

  /// Whether there are none for the scores of all queries of a tile: with three panels, or 128 queries whose bounds of
  /// documents are compared with pooled keys.
  bool hasFewRegisters() const {
    return shape.headDim > 128 || (ringRows > kSquare && shape.isPooled() && shape.documents);
  }

  void allocateScores() override {
    // Two, so that a consumer may write the next one while the other reads, or those of a step.
    scoreTiles = b.alloc({2, ringRows, keyRows}, shape.element, tile::Layout::Swizzled);
  }

  Type getAccType(int64_t columns) { return tile::getAccType(kGroupRows, columns, b.getF32Type()); }

  /// The row of the queries' tiles from which on a product takes `half` of them, or null for all.
  Val getFirst(int64_t part) { return half < ringRows ? b.i32(part * half) : Val(); }

  /// Keys by queries: this consumer's rows of K or V times a part of a tile of the ring.
  Val multiplyOwned(Val owned, Val tile, int64_t part) {
    return b.wrap(tile::WgmmaOp::create(b, math.getScoresType(), Value(owned), Value(groupRow), Value(tile),
                                        Value(getFirst(part)), Value(), /*transposed=*/true, /*lhs_transposed=*/false));
  }

  Val accumulate(Val sum, Val lhs, Val tile, int64_t part) {
    return b.wrap(tile::WgmmaOp::create(b, sum.getType(), Value(lhs), Value(), Value(tile), Value(getFirst(part)),
                                        Value(sum), /*transposed=*/false, /*lhs_transposed=*/false));
  }

  /// This consumer's `index`-th square of dQ.
  Val multiplyScores(Val scores, int64_t index) {
    bool below = queryRows > kSquare;
    Val row = below ? groupRow : b.i32(0), panel = index ? consumer + double(index * kConsumers) : consumer;
    Val keys = shape.headDim <= kSquare ? keyTile : b.wrap(tile::PanelOp::create(b, Value(keyTile), Value(panel)));
    return b.wrap(tile::WgmmaOp::create(b, getAccType(kSquare), Value(scores), Value(row), Value(keys), Value(),
                                        /*transposed=*/false));
  }

  /// The weights of a part of the queries of the i-th tile of the rings, from `row` on, and the gradients of their
  /// scores. `behind`: products with what was computed last are under way.
  std::pair<Val, Val> computeScores(Val i, Val row, int64_t part, bool behind, Val query, Val dout,
                                    SmallVector<Val> &sums) {
    auto [slot, parity] = slotOf(queries, i);
    auto [doutSlot, doutParity] = slotOf(douts, i);
    Val first = b.i32(part * half);
    if (part == 0)
      wait(queries.full, slot, parity);
    Val scores = multiplyOwned(keyTile, query, part), lse = loadValues(queries, slot, first, half);
    if (part == 0)
      wait(douts.full, doutSlot, doutParity);
    if (behind) // There are no registers for more products beside what those read.
      sums = {waitFor(sums[0], 1), waitFor(sums[1], 1)};
    Val dweights = multiplyOwned(valueTile, dout, part);
    scores = waitFor(scores, 1);
    AttendGradMath::Weights weights =
        math.weigh(scores, lse, getVisible(firstKey + groupRow, part > 0 ? row + first : row, half));
    Val delta = loadValues(douts, doutSlot, first, half);
    dweights = waitFor(dweights, 0);
    Val dscores = toLhs(math.differentiate(weights, dweights, delta));
    return {toLhs(weights.weights), dscores};
  }

  /// One step of a consumer that has `count` squares: dK and dV come in and go out.
  SmallVector<Val> iterate(Val i, ArrayRef<Val> carried, int64_t count) {
    Val slot = slotOf(queries, i).first, doutSlot = slotOf(douts, i).first;
    Val query = b.slice(queries.tiles, slot), dout = b.slice(douts.tiles, doutSlot);
    Val tile;
    SmallVector<Val> sums(carried);
    for (int64_t part = 0;; ++part) {
      auto [lhs, dscores] = computeScores(i, getStep(i).row, part, /*behind=*/part > 0, query, dout, sums);
      if (part == 0)
        tile = b.slice(scoreTiles, i & 1.0);
      Val panel = b.wrap(tile::PanelOp::create(b, Value(tile), Value(consumer)));
      tile::StoreMatrixOp::create(b, Value(dscores), Value(panel), Value(b.i32(part * half)), /*transposed=*/true);
      sums[1] = accumulate(sums[1], lhs, dout, part);
      if ((part + 1) * half == queryRows) {
        addScores(i, tile, query, dscores, sums, part, count);
        return sums;
      }
      sums[0] = accumulate(sums[0], dscores, query, part);
    }
  }

  /// Once the scores of both consumers are there: dQ, and the last part of dK.
  void addScores(Val i, Val tile, Val query, Val dscores, SmallVector<Val> &sums, int64_t part, int64_t count) {
    Val &dk = sums[0], &dv = sums[1];
    tile::FenceAsyncOp::create(b);
    meetConsumers();
    Val dq = multiplyScores(tile, 0);
    dv = waitFor(dv, 1);
    release(douts, slotOf(douts, i).first);
    dk = accumulate(dk, dscores, query, part);
    dq = waitFor(dq, 1);
    hasOwnSquare ? handOut(dq, i) : b.ifThen(consumer == 0.0, [&] { handOut(dq, i); });
    for (int64_t index = 1; index < count; ++index) {
      // Squares of f32 leave no registers for a second one beside the product that is under way.
      if (!integers)
        dk = waitFor(dk, 0);
      dq = multiplyScores(tile, index);
      if (integers)
        dk = waitFor(dk, 1);
      handOut(waitFor(dq, 0), i);
    }
    dk = waitFor(dk, 0);
    release(queries, slotOf(queries, i).first);
  }

  Val getOther() { return 1.0 - consumer; }

  void meetReader(Val which, bool arriving) { meet(which + double(kReadBarrier), 128 * kConsumers, arriving); }

  /// That of a step's tile. They change places from step to step: else each address has a register of its own.
  Val getScoreTile(Val i, Val tile) { return b.slice(scoreTiles, (i + tile) & 1.0); }

  /// One step of two tiles of queries, the last one first.
  SmallVector<Val> iteratePair(Val i, ArrayRef<Val> carried) {
    SmallVector<Val> sums(carried);
    Val row = getStep(i).row, query, dout, dscores, n, before;
    for (int64_t tile : {1, 0}) {
      n = i * 2.0 + double(1 - tile);
      query = b.slice(queries.tiles, slotOf(queries, n).first), dout = b.slice(douts.tiles, slotOf(douts, n).first);
      Val first = tile ? row + double(ringRows) : row, lhs;
      std::tie(lhs, dscores) = computeScores(n, first, 0, /*behind=*/tile == 0, query, dout, sums);
      if (tile) // The other consumer has read what its product with the keys needs of the last step.
        meetReader(getOther(), /*arriving=*/false);
      else {
        release(douts, slotOf(douts, before).first);
        release(queries, slotOf(queries, before).first);
      }
      Val scores = getScoreTile(i, b.i32(tile));
      tile::StoreMatrixOp::create(b, Value(dscores),
                                  Value(b.wrap(tile::PanelOp::create(b, Value(scores), Value(consumer)))),
                                  Value(b.i32(0)), /*transposed=*/true);
      sums[1] = accumulate(sums[1], lhs, dout, 0);
      sums[0] = accumulate(sums[0], dscores, query, 0);
      before = n;
    }
    tile::FenceAsyncOp::create(b);
    meetConsumers();
    // There are no registers for dQ beside all that those products read.
    sums[1] = waitFor(sums[1], 1);
    release(douts, slotOf(douts, n).first);
    Val dq = b.wrap(tile::WgmmaOp::create(b, getAccType(shape.headDim), Value(getScoreTile(i, consumer)),
                                          Value(b.i32(0)), Value(keyTile), Value(), /*transposed=*/false));
    sums[0] = waitFor(sums[0], 1);
    release(queries, slotOf(queries, n).first);
    dq = waitFor(dq, 0);
    meetReader(consumer, /*arriving=*/true);
    handOut(dq, i);
    return sums;
  }

  bool isPaired() { return ringRows < queryRows; }

  /// All steps of a consumer that has `count` squares.
  void walk(int64_t count) {
    Val zero = b.constant(getAccType(shape.headDim), 0.0), zeroValues = b.constant(getAccType(shape.valueDim), 0.0);
    if (isPaired())
      meetReader(consumer, /*arriving=*/true);
    SmallVector<Val> sums =
        b.forRange(b.i32(0), total, b.i32(1), {zero, zeroValues}, [&](Val i, ArrayRef<Val> carried) {
          return isPaired() ? iteratePair(i, carried) : iterate(i, carried, count);
        });
    if (isPaired())
      meetReader(getOther(), /*arriving=*/false);
    endConsumer();
    joinShares(sums, [&](ArrayRef<Val> joined) {
      tile::StoreMatrixOp::create(b, Value(joined[1]), Value(valueTile), Value(groupRow));
      tile::StoreMatrixOp::create(b, Value(joined[0] * shape.scale), Value(keyTile), Value(groupRow));
      tile::FenceAsyncOp::create(b);
      meet(consumer + double(kOwnBarrier), 128);
      b.ifThen(leader, [&] { storeGradients(valueTile, keyTile, groupRow, firstKey + groupRow); });
    });
  }

  /// The same where it is the `which`-th, which is known when the kernel is written.
  SmallVector<Val> walkAs(int64_t which, int64_t count) {
    consumer = b.i32(which);
    groupRow = b.i32(which * kGroupRows);
    walk(count);
    return {};
  }

  void consume() override {
    beginConsumer();
    groupRow = consumer * double(kGroupRows);
    if (shape.headDim <= kConsumers * kSquare)
      return walk(1);
    // A body for each.
    b.ifElse(consumer == 0.0, [&] { return walkAs(0, 2); }, [&] { return walkAs(1, 1); });
  }

  /// Queries whose scores are computed at once.
  int64_t half;
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
