//===- AddToTile.cpp - Sums of tensors
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//

#include "fresnel/Conversion/RowKernel.h"
#include "fresnel/Conversion/ToTile.h"

using namespace mlir;
using namespace fresnel;

LogicalResult fresnel::lowerAdd(AddOp op, const KernelRequest &request, KernelBuilder &b) {
  auto type = cast<RankedTensorType>(op.getResult().getType());
  Type element = type.getElementType();
  RowGrid grid(type.getShape(), element);
  auto kernel = b.beginKernel(request.getName(), request.getArgumentTypes(), grid.threads(), grid.grid());
  RowGrid::Place place = grid.locate(b);
  b.ifThen(place.inside, [&] {
    SmallVector<Val> indices{place.batch, place.head, place.row, place.column};
    SmallVector<Val> sum;
    for (unsigned i = 0; i < op->getNumOperands(); ++i) {
      SmallVector<Val> term = widen(b, b.load(b.argument(kernel, i), indices, grid.width), grid.width);
      for (auto [index, value] : llvm::enumerate(term))
        i == 0 ? sum.push_back(value) : void(sum[index] = sum[index] + value);
    }
    b.store(narrow(b, sum, element), b.argument(kernel, op->getNumOperands()), indices);
  });
  return success();
}
