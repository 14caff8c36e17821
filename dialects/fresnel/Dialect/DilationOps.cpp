//===- DilationOps.cpp - Shapes and checks of folding and unfolding -------===//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//

#include "fresnel/Dialect/Infer.h"

using namespace mlir;
using namespace fresnel;

/// Every residue and every copy is a head, and a launch takes that many.
static constexpr int64_t kMaxFoldFactor = 65535;

template <typename Op>
static LogicalResult checkFactors(Inference<Op> infer, typename Op::Adaptor adaptor) {
  for (auto [name, value] : {std::pair("factor", int64_t(adaptor.getFactor())),
                             {"repeat", int64_t(adaptor.getRepeat())}}) // fold_c1, unfold_c1
    if (value < 1 || value > kMaxFoldFactor)
      return infer.fail("`", name, "` must be in [1, ", kMaxFoldFactor, "], but got ", value);
  return success();
}

/// The type with dimensions 1 and 2 replaced.
static RankedTensorType withRows(RankedTensorType type, int64_t heads, int64_t length) {
  SmallVector<int64_t> shape(type.getShape());
  shape[1] = heads;
  shape[2] = length;
  return RankedTensorType::get(shape, type.getElementType());
}

LogicalResult FoldOp::inferReturnTypes(MLIRContext *, std::optional<Location> location, Adaptor adaptor,
                                       SmallVectorImpl<Type> &results) {
  Inference<FoldOp> infer{location};
  if (failed(infer.requireRowsOrScores(adaptor.getX())))
    return failure();
  if (failed(infer.require(adaptor.getAttributes(), {"factor"})))
    return failure();
  if (failed(checkFactors(infer, adaptor)))
    return failure();
  int64_t factor = adaptor.getFactor(), repeat = adaptor.getRepeat();
  RankedTensorType x = getTensor(adaptor.getX());
  results.push_back(withRows(x, x.getDimSize(1) * factor * repeat, llvm::divideCeil(x.getDimSize(2), factor)));
  return success();
}

OpFoldResult FoldOp::fold(FoldAdaptor) {
  // All positions have one residue.
  return getFactor() == 1 && getRepeat() == 1 ? OpFoldResult(getX()) : OpFoldResult();
}

LogicalResult UnfoldOp::inferReturnTypes(MLIRContext *, std::optional<Location> location, Adaptor adaptor,
                                         SmallVectorImpl<Type> &results) {
  Inference<UnfoldOp> infer{location};
  if (failed(infer.requireRowsOrScores(adaptor.getX())))
    return failure();
  if (failed(infer.require(adaptor.getAttributes(), {"factor", "seq_len"})))
    return failure();
  if (failed(checkFactors(infer, adaptor)))
    return failure();
  int64_t factor = adaptor.getFactor(), repeat = adaptor.getRepeat(), length = adaptor.getSeqLen();
  if (length < 1 || length > kMaxSize) // unfold_c1
    return infer.fail("`seq_len` must be positive and at most 2^40, but got ", length);
  RankedTensorType x = getTensor(adaptor.getX());
  if (x.getDimSize(1) % (factor * repeat)) // unfold_c2
    return infer.fail("the ", x.getDimSize(1), " heads of x must be a multiple of `factor` ", factor,
                      " times `repeat` ", repeat);
  int64_t rows = llvm::divideCeil(length, factor);
  if (x.getDimSize(2) != rows) // unfold_c3
    return infer.fail("`seq_len` ", length, " folded by `factor` ", factor, " has ", rows, " rows, but x has ",
                      x.getDimSize(2));
  results.push_back(withRows(x, x.getDimSize(1) / (factor * repeat), length));
  return success();
}

OpFoldResult UnfoldOp::fold(FoldAdaptor) {
  // All positions have one residue.
  return getFactor() == 1 && getRepeat() == 1 ? OpFoldResult(getX()) : OpFoldResult();
}
