//===- NormToTile.cpp - Euclidean norms
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
//
// One warp per row. The squares are summed in f64, where the sum of 16-bit
// values is exact for all practical inputs; the order of the sum therefore does
// not matter and the result has the same bits as the oracle's.
//
//===----------------------------------------------------------------------===//

#include "fresnel/Conversion/RowKernel.h"
#include "fresnel/Conversion/ToTile.h"

using namespace mlir;
using namespace fresnel;

LogicalResult fresnel::lowerNorm(NormOp op, const KernelRequest &request, KernelBuilder &b) {
  auto x = cast<RankedTensorType>(op.getX().getType());
  Type element = x.getElementType(), f64 = b.getF64Type();
  int64_t rowsPerBlock = kRowThreads / 32, width = getVectorWidth(element), chunks = x.getDimSize(3) / width;
  auto kernel =
      b.beginKernel(request.getName(), request.getArgumentTypes(), kRowThreads,
                    {int64_t(llvm::divideCeil(x.getDimSize(2), rowsPerBlock)), x.getDimSize(1), x.getDimSize(0)});
  Val source = b.argument(kernel, 0), target = b.argument(kernel, 1);
  Val batch = b.id(tile::Id::BlockZ), head = b.id(tile::Id::BlockY), lane = b.id(tile::Id::Lane);
  Val row = b.id(tile::Id::BlockX) * double(rowsPerBlock) + b.id(tile::Id::Warp);
  // The condition is uniform in a warp, so that its lanes shuffle together.
  b.ifThen(row < b.i32(x.getDimSize(2)), [&] {
    Val sum = b.forRange(lane, b.i32(chunks), b.i32(32), {b.constant(f64, 0)}, [&](Val chunk, ArrayRef<Val> state) {
      Val partial = state[0];
      for (Val value : widen(b, b.load(source, {batch, head, row, chunk * double(width)}, width), width)) {
        Val wide = b.cast(value, f64);
        partial = b.fma(wide, wide, partial);
      }
      return SmallVector<Val>{partial};
    })[0];
    for (int64_t mask : {16, 8, 4, 2, 1})
      sum = sum + shuffleXorWide(b, sum, mask);
    Val norm = b.sqrt(b.cast(sum, b.getF32Type()));
    b.ifThen(lane == 0.0, [&] { b.store(norm, target, {batch, head, row}); });
  });
  return success();
}
