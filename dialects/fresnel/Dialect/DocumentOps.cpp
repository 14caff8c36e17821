//===- DocumentOps.cpp - Shapes and checks of what places documents -------===//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//

#include "fresnel/Dialect/Infer.h"

using namespace mlir;
using namespace fresnel;

LogicalResult AlignDocumentsOp::inferReturnTypes(MLIRContext *context, std::optional<Location> location,
                                                 Adaptor adaptor, SmallVectorImpl<Type> &results) {
  Inference<AlignDocumentsOp> infer{location};
  if (failed(infer.requireScores(adaptor.getCu())) ||
      failed(infer.require(adaptor.getAttributes(), {"seq_len", "block"})))
    return failure();
  int64_t length = adaptor.getSeqLen(), block = adaptor.getBlock();
  if (length <= 0 || block <= 0 || length > INT32_MAX || block > INT32_MAX) // align_documents_c1
    return infer.fail("`seq_len` and `block` must be in [1, 2147483647], but got ", length, " and ", block);
  Value cu = adaptor.getCu();
  if (bool(cu) != adaptor.getDocuments().empty()) // align_documents_c3
    return infer.fail("needs either `cu` or `documents`, but got ", cu ? "both" : "neither");
  if (cu && (getTensor(cu).getDimSize(0) != 1 || getTensor(cu).getDimSize(1) != 1)) // align_documents_c2
    return infer.fail("`cu` must be [1, 1, C], one list for all batches and heads, but got ", cu.getType());
  if (failed(checkDocuments(infer, length, adaptor.getDocuments()))) // align_documents_c4
    return failure();
  int64_t blocks = 0;
  for (int64_t tokens : adaptor.getDocuments())
    blocks += llvm::divideCeil(tokens, block);
  // Neither factor exceeds 2^31, so that the product fits.
  if (cu)
    blocks = (length + (std::min(getTensor(cu).getDimSize(2), length - 1) + 1) * (block - 1)) / block;
  if (blocks > INT32_MAX / block) // align_documents_c1
    return infer.fail(blocks, " blocks of ", block, " are more than 2147483647 places; lower `block` or the number of ",
                      "documents");
  auto push = [&](int64_t rows, int64_t places) {
    results.push_back(RankedTensorType::get({1, rows, places}, IntegerType::get(context, 32)));
  };
  push(2, blocks * block);
  push(2, blocks);
  push(2, blocks * block);
  push(1, blocks * block);
  push(1, length);
  return success();
}

LogicalResult NarrowBoundsOp::inferReturnTypes(MLIRContext *, std::optional<Location> location, Adaptor adaptor,
                                               SmallVectorImpl<Type> &results) {
  Inference<NarrowBoundsOp> infer{location};
  if (failed(infer.requireScores(adaptor.getBounds())) || failed(infer.require(adaptor.getAttributes(), {"window"})))
    return failure();
  RankedTensorType bounds = getTensor(adaptor.getBounds());
  if (int64_t window = adaptor.getWindow(); window <= 0 || !areBoundsOf(adaptor.getBounds(), bounds.getDimSize(2)))
    // narrow_bounds_c1
    return infer.fail("`bounds` must be [1, 2, N] and `window` positive, but got ", bounds, " and ", window);
  results.push_back(bounds);
  return success();
}

LogicalResult MoveOp::inferReturnTypes(MLIRContext *, std::optional<Location> location, Adaptor adaptor,
                                       SmallVectorImpl<Type> &results) {
  Inference<MoveOp> infer{location};
  if (failed(infer.requireRowsOrScores(adaptor.getX())) ||
      failed(infer.requireScores({adaptor.getFrom(), adaptor.getTo()})))
    return failure();
  RankedTensorType x = getTensor(adaptor.getX()), from = getTensor(adaptor.getFrom());
  if (from.getShape().drop_back() != ArrayRef<int64_t>{1, 1} ||
      getTensor(adaptor.getTo()).getShape() != ArrayRef<int64_t>{1, 1, x.getDimSize(2)}) // move_c1
    return infer.fail("`from` must be [1, 1, S] and `to` [1, 1, ", x.getDimSize(2), "], but got ", from, " and ",
                      adaptor.getTo().getType());
  results.push_back(withLength(x, from.getDimSize(2)));
  return success();
}
