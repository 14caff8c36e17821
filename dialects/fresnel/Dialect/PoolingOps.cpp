//===- PoolingOps.cpp - Shapes and checks of pooling operations -----------===//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//

#include "fresnel/Dialect/CascadeShape.h"
#include "fresnel/Dialect/Infer.h"

using namespace mlir;
using namespace fresnel;

LogicalResult PoolOp::inferReturnTypes(MLIRContext *, std::optional<Location> location, Adaptor adaptor,
                                       SmallVectorImpl<Type> &results) {
  Inference<PoolOp> infer{location};
  if (failed(infer.requireRowsOrScores(adaptor.getX())) || failed(infer.requireScores(adaptor.getDocuments())))
    return failure();
  if (failed(infer.require(adaptor.getAttributes(), {"window"})))
    return failure();
  RankedTensorType x = getTensor(adaptor.getX());
  int64_t window = adaptor.getWindow(), stride = adaptor.getStride(), length = x.getDimSize(2);
  if (window <= 0) // pool_c1
    return infer.fail("`window` must be positive, but got ", window);
  if (stride < 0 || stride > window) // pool_c1
    return infer.fail("`stride` must be in [0, ", window, "], but got ", stride);
  if (stride == 0)
    stride = window;
  if (adaptor.getTail() == Tail::Drop && length < window) // pool_c2
    return infer.fail("`tail = drop` needs at least one window of ", window, " tokens, but the sequence has ", length);
  if (failed(checkPoolDocuments(infer, adaptor, adaptor.getDocuments(), length))) // pool_c3
    return failure();
  results.push_back(withLength(x, getPooledLength(length, window, stride, adaptor.getTail())));
  return success();
}

OpFoldResult PoolOp::fold(FoldAdaptor) {
  // A window of one token is that token, unless it belongs to no document.
  return getWindow() == 1 && !getDocuments() ? OpFoldResult(getX()) : OpFoldResult();
}

LogicalResult PyramidOp::inferReturnTypes(MLIRContext *, std::optional<Location> location, Adaptor adaptor,
                                          SmallVectorImpl<Type> &results) {
  Inference<PyramidOp> infer{location};
  if (failed(infer.requireRowsOrScores(adaptor.getX())))
    return failure();
  if (failed(infer.require(adaptor.getAttributes(), {"levels", "factor"})))
    return failure();
  int64_t levels = adaptor.getLevels(), factor = adaptor.getFactor();
  RankedTensorType x = getTensor(adaptor.getX());
  int64_t length = x.getDimSize(2);
  if (failed(checkPyramid(infer, length, levels, factor))) // pyramid_c1, pyramid_c2, pyramid_c3
    return failure();
  if (failed(checkDocuments(infer, length, adaptor.getDocuments()))) // pyramid_c4
    return failure();
  results.push_back(withLength(x, PyramidShape(length, levels, factor, adaptor.getDocuments()).length));
  return success();
}

OpFoldResult PyramidOp::fold(FoldAdaptor) {
  // One level is the input.
  return getLevels() == 1 ? OpFoldResult(getX()) : OpFoldResult();
}

LogicalResult NormOp::inferReturnTypes(MLIRContext *context, std::optional<Location> location, Adaptor adaptor,
                                       SmallVectorImpl<Type> &results) {
  if (failed(Inference<NormOp>{location}.requireRows(adaptor.getX())))
    return failure();
  RankedTensorType x = getTensor(adaptor.getX());
  results.push_back(RankedTensorType::get(x.getShape().drop_back(), Float32Type::get(context)));
  return success();
}

LogicalResult UnpoolOp::inferReturnTypes(MLIRContext *, std::optional<Location> location, Adaptor adaptor,
                                         SmallVectorImpl<Type> &results) {
  Inference<UnpoolOp> infer{location};
  if (failed(infer.requireRows(adaptor.getX())))
    return failure();
  if (failed(infer.require(adaptor.getAttributes(), {"window", "seq_len"})))
    return failure();
  int64_t window = adaptor.getWindow(), length = adaptor.getSeqLen();
  if (window <= 0 || length <= 0) // unpool_c1
    return infer.fail("`window` and `seq_len` must be positive, but got ", window, " and ", length);
  RankedTensorType x = getTensor(adaptor.getX());
  int64_t rows = llvm::divideCeil(length, window);
  if (x.getDimSize(2) != rows) // unpool_c2
    return infer.fail("`seq_len` ", length, " in windows of ", window, " needs ", rows, " rows, but x has ",
                      x.getDimSize(2));
  results.push_back(withLength(x, length));
  return success();
}
