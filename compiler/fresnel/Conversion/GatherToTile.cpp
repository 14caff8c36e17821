//===- GatherToTile.cpp - Rows at given indices
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//

#include "fresnel/Conversion/RowKernel.h"
#include "fresnel/Conversion/ToTile.h"

using namespace mlir;
using namespace fresnel;

LogicalResult fresnel::lowerGather(GatherOp op, const KernelRequest &request, KernelBuilder &b) {
  auto x = cast<RankedTensorType>(op.getX().getType());
  auto result = cast<RankedTensorType>(op.getResult().getType());
  RowGrid grid(result.getShape(), x.getElementType());
  auto kernel = b.beginKernel(request.getName(), request.getArgumentTypes(), grid.threads(), grid.grid());
  Val source = b.argument(kernel, 0), indices = b.argument(kernel, 1), target = b.argument(kernel, 2);
  RowGrid::Place place = grid.locate(b);
  b.ifThen(place.inside, [&] {
    Val index = b.load(indices, {place.batch, getSharedHead(place.head, op.getResult(), op.getIndices()), place.row});
    Val sourceHead = getSharedHead(place.head, op.getResult(), op.getX());
    Val exists = index >= 0.0;
    // A row that does not exist reads row 0 and drops it.
    Val row = b.load(source, {place.batch, sourceHead, b.select(exists, index, b.i32(0)), place.column}, grid.width);
    Val zero = b.constant(row.getType(), 0);
    b.store(b.select(exists, row, zero), target, {place.batch, place.head, place.row, place.column});
  });
  return success();
}
