//===- PortableProducts.cpp - Products of the portable family -------------===//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//

#include "fresnel/Conversion/PortableProducts.h"
#include <cmath>

using namespace mlir;
using namespace fresnel;

static ArrayRef<int64_t> getShape(Type fragment) { return cast<RankedTensorType>(fragment).getShape(); }

/// The fragment in the registers and of the type that products take on their left.
static Value toLeft(KernelBuilder &b, Val fragment, Type element) {
  ArrayRef<int64_t> shape = getShape(fragment.getType());
  return tile::ToLhsOp::create(b, tile::getLhsType(shape[0], shape[1], element), Value(fragment));
}

static Val addProduct(KernelBuilder &b, Val sum, Value left, Val right, bool transposed, int64_t column) {
  return b.wrap(tile::MmaOp::create(b, sum.getType(), left, Value(right), Value(sum), transposed, column));
}

Val fresnel::multiplyRows(KernelBuilder &b, Type product, Val left, Val right, int64_t chunk) {
  Val sum = b.constant(product, 0.0);
  auto tile = cast<tile::SharedType>(left.getType());
  for (int64_t column = 0; column < tile.getCols(); column += chunk) {
    int64_t width = std::min(chunk, tile.getCols() - column);
    Value lhs = tile::LoadLhsOp::create(b, tile::getLhsType(getShape(product)[0], width, tile.getElementType()),
                                        Value(left), column);
    sum = addProduct(b, sum, lhs, right, /*transposed=*/true, column);
  }
  return sum;
}

SmallVector<Val> fresnel::beginSoftmax(KernelBuilder &b, int64_t rows, int64_t valueDim) {
  Type f32 = b.getF32Type(), perRow = tile::getRowsType(rows, f32);
  return {b.constant(tile::getAccType(rows, valueDim, f32), 0.0), b.constant(perRow, -INFINITY),
          b.constant(perRow, 0.0)};
}

SmallVector<Val> fresnel::continueSoftmax(KernelBuilder &b, AttendMath &math, Val scores, ArrayRef<Val> state,
                                          Val values) {
  SoftmaxStep step = math.softmax(scores, state[1], state[2], /*mayBeEmpty=*/true);
  Val sum = state[0] * math.broadcast(step.correction, state[0].getType());
  Value weights = toLeft(b, step.weights, cast<tile::SharedType>(values.getType()).getElementType());
  return {addProduct(b, sum, weights, values, /*transposed=*/false, 0), step.maximum, step.sum};
}

SmallVector<Val> GradientSums::begin(KernelBuilder &b, const AttendShape &shape, Owner owner, int64_t rows) const {
  auto zero = [&](int64_t columns) { return b.constant(tile::getAccType(rows, columns / parts, b.getF32Type()), 0.0); };
  SmallVector<Val> sums{zero(shape.headDim)};
  if (owner == Owner::Keys)
    sums.push_back(zero(shape.valueDim));
  return sums;
}

Val GradientSums::add(KernelBuilder &b, Val sum, Val left, Val right) const {
  Value lhs = toLeft(b, left, cast<tile::SharedType>(right.getType()).getElementType());
  int64_t width = getShape(sum.getType())[1];
  auto addFrom = [&](int64_t column) {
    return SmallVector<Val>{addProduct(b, sum, lhs, right, /*transposed=*/false, column)};
  };
  if (parts == 1)
    return addFrom(0)[0];
  return b.ifElse(part == 0.0, [&] { return addFrom(0); }, [&] { return addFrom(width); })[0];
}
