//===- ScatterGradToTile.cpp - Tokens back to the slots that reached them -===//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
//
// Each thread owns one 16-byte chunk of one slot and sums the tokens of its
// entry's shifted window in f32.
//
//===----------------------------------------------------------------------===//

#include "fresnel/Conversion/RowKernel.h"
#include "fresnel/Conversion/ToTile.h"
#include "fresnel/Dialect/CascadeShape.h"

using namespace mlir;
using namespace fresnel;

LogicalResult fresnel::lowerScatterGrad(ScatterGradOp op, const KernelRequest &request, KernelBuilder &b) {
  auto result = cast<RankedTensorType>(op.getDx().getType());
  int64_t length = cast<RankedTensorType>(op.getDy().getType()).getDimSize(2);
  PyramidShape shape(length, op.getLevels(), op.getFactor());
  RowGrid grid(result.getShape(), result.getElementType());
  auto kernel = b.beginKernel(request.getName(), request.getArgumentTypes(), grid.threads(), grid.grid());
  Val source = b.argument(kernel, 0), indices = b.argument(kernel, 1), target = b.argument(kernel, 2);
  RowGrid::Place place = grid.locate(b);
  b.ifThen(place.inside, [&] {
    Val entry = b.load(indices, {place.batch, place.head, place.row});
    Val window = b.i32(1), index = entry;
    for (size_t level = 1; level < shape.windows.size(); ++level) {
      Val above = entry >= b.i32(shape.offsets[level]);
      window = b.select(above, b.i32(shape.windows[level]), window);
      index = b.select(above, entry - double(shape.offsets[level]), index);
    }
    Val first = index * window + window - 1.0;
    // Padding reaches no token.
    Val end = b.select(entry < 0.0, first, b.min(first + window, b.i32(length)));
    SmallVector<Val> sum = b.forRange(first, end, b.i32(1), SmallVector<Val>(grid.width, b.f32(0)), [&](Val token, ArrayRef<Val> state) {
      Val row = b.load(source, {place.batch, place.head, token, place.column}, grid.width);
      SmallVector<Val> next;
      for (auto [old, value] : llvm::zip(state, widen(b, row, grid.width)))
        next.push_back(old + value);
      return next;
    });
    b.store(narrow(b, sum, result.getElementType()), target, {place.batch, place.head, place.row, place.column});
  });
  return success();
}
