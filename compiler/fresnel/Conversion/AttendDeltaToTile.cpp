//===- AttendDeltaToTile.cpp - Rows of outputs times their gradients ------===//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//

#include "fresnel/Conversion/IntegerSums.h"
#include "fresnel/Conversion/RowProducts.h"
#include "fresnel/Conversion/ToTile.h"
#include <cmath>

using namespace mlir;
using namespace fresnel;

LogicalResult fresnel::lowerAttendDelta(AttendDeltaOp op, const KernelRequest &request, KernelBuilder &b) {
  auto rows = cast<RankedTensorType>(op.getOut().getType());
  int64_t length = rows.getDimSize(2);
  RowProducts products(rows, b);
  auto kernel = b.beginKernel(request.getName(), request.getArgumentTypes(), kRowThreads, products.grid(length));
  Val target = b.argument(kernel, op.getDlse() ? 3 : 2);
  using Row = RowProducts::Row;
  products.forEachRow(
      {b.argument(kernel, 0)}, b.argument(kernel, 1), length,
      [&](Row at) -> SmallVector<Val> {
        return {op.getDlse() ? b.load(b.argument(kernel, 2), {at.batch, at.head, at.near}) : b.f32(0)};
      },
      [&](Row at, ArrayRef<Val> sums, ArrayRef<Val> dlse) {
        b.store(sums[0] - dlse[0], target, {at.batch, at.head, at.row});
      });
  return success();
}

/// The largest of a row of the bounds of this block's key head.
static Val loadBound(AttendStatsOp op, KernelBuilder &b, Val bounds, int64_t which) {
  Val lane = b.id(tile::Id::Lane), head = getSharedHead(b.id(tile::Id::BlockY), op.getOut(), op.getBounds());
  int64_t chunks = cast<RankedTensorType>(op.getBounds().getType()).getDimSize(3);
  // Not negative, so that their bits are in the same order, with NaN behind all numbers.
  Val largest = b.forRange(lane, b.i32(chunks), b.i32(32), {b.i32(0)}, [&](Val chunk, ArrayRef<Val> carried) {
    Val value = b.load(bounds, {b.id(tile::Id::BlockZ), head, b.i32(which), chunk});
    return SmallVector<Val>{b.max(carried[0], b.bitcast(value, b.getI32Type()))};
  })[0];
  for (int64_t mask : {16, 8, 4, 2, 1})
    largest = b.max(largest, b.shuffleXor(largest, mask));
  return b.bitcast(largest, b.getF32Type());
}

LogicalResult fresnel::lowerAttendStats(AttendStatsOp op, const KernelRequest &request, KernelBuilder &b) {
  auto rows = cast<RankedTensorType>(op.getOut().getType());
  int64_t length = rows.getDimSize(2), padded = cast<RankedTensorType>(op.getStats().getType()).getDimSize(3);
  bool bounded = bool(op.getBounds());
  RowProducts products(rows, b);
  auto kernel = b.beginKernel(request.getName(), request.getArgumentTypes(), kRowThreads, products.grid(padded));
  unsigned bounds = op.getDlse() ? 4 : 3;
  Val lses = b.argument(kernel, 2), target = b.argument(kernel, bounds + bounded), keys, values;
  if (bounded) {
    keys = loadBound(op, b, b.argument(kernel, bounds), 0);
    values = loadBound(op, b, b.argument(kernel, bounds), 1);
  }
  using Row = RowProducts::Row;
  Val dout = b.argument(kernel, 1);
  SmallVector<Val> lefts{b.argument(kernel, 0)};
  if (bounded)
    lefts.push_back(dout);
  products.forEachRow(
      lefts, dout, padded,
      [&](Row at) -> SmallVector<Val> {
        SmallVector<Val> indices{at.batch, at.head, at.near};
        return {b.load(lses, indices), op.getDlse() ? b.load(b.argument(kernel, 3), indices) : b.f32(0)};
      },
      [&](Row at, ArrayRef<Val> sums, ArrayRef<Val> scores) {
        Val inside = at.row < double(length), lse = scores[0];
        // A weight of a row without keys is exp2(-inf).
        Val open = inside & (lse > -INFINITY);
        b.store(b.select(open, lse * M_LOG2E, b.f32(INFINITY)), target, {at.batch, at.head, b.i32(0), at.row});
        Val delta = b.select(inside, sums[0] - scores[1], b.f32(0));
        b.store(delta, target, {at.batch, at.head, b.i32(1), at.row});
        if (!bounded)
          return;
        Val bound = keys * (b.sqrt(sums[1]) * values + b.max(delta, 0.0 - delta));
        // Neither infinite nor without an inverse; NaN stays.
        bound = b.select(bound < kLeastBound, b.f32(kLeastBound), bound);
        b.store(kIntegerBound / bound, target, {at.batch, at.head, b.i32(2), at.row});
      });
  return success();
}
