//===- PyramidGradToTile.cpp - From all pooled levels back to the tokens --===//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
//
// Each thread owns one 16-byte chunk of one token and sums, level 0 first, its
// share of the entries that cover the token.
//
//===----------------------------------------------------------------------===//

#include "fresnel/Conversion/PyramidDocuments.h"
#include "fresnel/Conversion/RowKernel.h"
#include "fresnel/Conversion/ToTile.h"

using namespace mlir;
using namespace fresnel;

LogicalResult fresnel::lowerPyramidGrad(PyramidGradOp op, const KernelRequest &request, KernelBuilder &b) {
  auto result = cast<RankedTensorType>(op.getDx().getType());
  PyramidShape shape(result.getDimSize(2), op.getLevels(), op.getFactor(), op.getDocuments());
  PyramidDocuments documents(b, shape, [](const DocumentShape &document) { return document.sizes[0]; });
  RowGrid grid(result.getShape(), result.getElementType());
  auto kernel = b.beginKernel(request.getName(), request.getArgumentTypes(), grid.threads(), grid.grid());
  Val source = b.argument(kernel, 0), target = b.argument(kernel, 1);
  RowGrid::Place place = grid.locate(b);
  b.ifThen(place.inside, [&] {
    PyramidDocuments::Place document = documents.locate(place.row);
    SmallVector<Val> sum(grid.width, b.f32(0));
    for (size_t level = 0; level < shape.windows.size(); ++level) {
      int64_t window = shape.windows[level];
      Val index = document.item / double(window);
      Val entry = documents.getEntry(document, level, index);
      SmallVector<Val> values =
          widen(b, b.load(source, {place.batch, place.head, entry, place.column}, grid.width), grid.width);
      // The last window of a level may be short.
      Val count = b.min(b.i32(window), documents.getSize(document, 0) - index * double(window));
      Val share = 1.0 / b.toFloat(count, b.getF32Type());
      for (auto [total, value] : llvm::zip(sum, values))
        total = b.fma(value, share, total);
    }
    b.store(narrow(b, sum, result.getElementType()), target, {place.batch, place.head, place.row, place.column});
  });
  return success();
}
