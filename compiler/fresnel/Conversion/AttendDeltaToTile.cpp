//===- AttendDeltaToTile.cpp - Rows of outputs times their gradients ------===//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
//
// One warp per row, summed in f32: each lane its chunks, then a butterfly.
//
//===----------------------------------------------------------------------===//

#include "fresnel/Conversion/RowKernel.h"
#include "fresnel/Conversion/ToTile.h"

using namespace mlir;
using namespace fresnel;

LogicalResult fresnel::lowerAttendDelta(AttendDeltaOp op, const KernelRequest &request, KernelBuilder &b) {
  auto rows = cast<RankedTensorType>(op.getOut().getType());
  int64_t rowsPerBlock = kRowThreads / 32, width = getVectorWidth(rows.getElementType());
  int64_t length = rows.getDimSize(2), chunks = rows.getDimSize(3) / width;
  auto kernel = b.beginKernel(request.getName(), request.getArgumentTypes(), kRowThreads,
                              {int64_t(llvm::divideCeil(length, rowsPerBlock)), rows.getDimSize(1), rows.getDimSize(0)});
  Val out = b.argument(kernel, 0), dout = b.argument(kernel, 1);
  Val target = b.argument(kernel, op.getDlse() ? 3 : 2);
  Val batch = b.id(tile::Id::BlockZ), head = b.id(tile::Id::BlockY), lane = b.id(tile::Id::Lane);
  Val row = b.id(tile::Id::BlockX) * double(rowsPerBlock) + b.id(tile::Id::Warp);
  // The condition is uniform in a warp, so that its lanes shuffle together.
  b.ifThen(row < b.i32(length), [&] {
    Val sum = b.forRange(lane, b.i32(chunks), b.i32(32), {b.f32(0)}, [&](Val chunk, ArrayRef<Val> state) {
      Val partial = state[0], column = chunk * double(width);
      SmallVector<Val> left = widen(b, b.load(out, {batch, head, row, column}, width), width);
      SmallVector<Val> right = widen(b, b.load(dout, {batch, head, row, column}, width), width);
      for (auto [x, y] : llvm::zip(left, right))
        partial = b.fma(x, y, partial);
      return SmallVector<Val>{partial};
    })[0];
    for (int64_t mask : {16, 8, 4, 2, 1})
      sum = sum + b.shuffleXor(sum, mask);
    b.ifThen(lane == 0.0, [&] {
      Val delta = op.getDlse() ? sum - b.load(b.argument(kernel, 2), {batch, head, row}) : sum;
      b.store(delta, target, {batch, head, row});
    });
  });
  return success();
}
