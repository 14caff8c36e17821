//===- PyramidGradToTile.cpp - From all pooled levels back to the tokens --===//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
//
// Each thread owns one 16-byte chunk of one token and sums, level 0 first, its
// share of the entries that cover the token.
//
//===----------------------------------------------------------------------===//

#include "fresnel/Conversion/RowKernel.h"
#include "fresnel/Conversion/ToTile.h"
#include "fresnel/Dialect/CascadeShape.h"

using namespace mlir;
using namespace fresnel;

LogicalResult fresnel::lowerPyramidGrad(PyramidGradOp op, const KernelRequest &request, KernelBuilder &b) {
  auto result = cast<RankedTensorType>(op.getDx().getType());
  int64_t length = result.getDimSize(2);
  PyramidShape shape(length, op.getLevels(), op.getFactor());
  RowGrid grid(result.getShape(), result.getElementType());
  auto kernel = b.beginKernel(request.getName(), request.getArgumentTypes(), grid.threads(), grid.grid());
  Val source = b.argument(kernel, 0), target = b.argument(kernel, 1);
  RowGrid::Place place = grid.locate(b);
  b.ifThen(place.inside, [&] {
    SmallVector<Val> sum(grid.width, b.f32(0));
    for (size_t level = 0; level < shape.windows.size(); ++level) {
      int64_t window = shape.windows[level];
      Val index = place.row / double(window);
      Val entry = index + double(shape.offsets[level]);
      SmallVector<Val> values =
          widen(b, b.load(source, {place.batch, place.head, entry, place.column}, grid.width), grid.width);
      // The last window of a level may be short.
      Val count = b.min(b.i32(window), double(length) - index * double(window));
      Val share = 1.0 / b.toFloat(count, b.getF32Type());
      for (auto [total, value] : llvm::zip(sum, values))
        total = b.fma(value, share, total);
    }
    b.store(narrow(b, sum, result.getElementType()), target, {place.batch, place.head, place.row, place.column});
  });
  return success();
}
