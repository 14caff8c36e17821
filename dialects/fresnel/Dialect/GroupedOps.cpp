//===- GroupedOps.cpp - Shapes and checks of queries grouped by blocks ----===//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//

#include "fresnel/Dialect/Grouped.h"
#include "fresnel/Dialect/Infer.h"

using namespace mlir;
using namespace fresnel;

LogicalResult SplitBlocksOp::inferReturnTypes(MLIRContext *, std::optional<Location> location, Adaptor adaptor,
                                              SmallVectorImpl<Type> &results) {
  Inference<SplitBlocksOp> infer{location};
  if (failed(infer.requireRows(adaptor.getList())) || failed(infer.requireScores(adaptor.getDocuments())) ||
      failed(infer.require(adaptor.getAttributes(), {"key_block", "keys"})))
    return failure();
  for (auto [name, value] : {std::pair<StringRef, int64_t>{"key_block", adaptor.getKeyBlock()},
                             {"keys", int64_t(adaptor.getKeys())}}) // split_blocks_c1
    if (value <= 0 || value > kMaxSize)
      return infer.fail("`", name, "` must be positive and at most 2^40, but got ", value);
  RankedTensorType list = getTensor(adaptor.getList());
  Value documents = adaptor.getDocuments();
  int64_t keys = adaptor.getKeys(), rows = list.getDimSize(2);
  if (documents && (rows != keys || !areBoundsOf(documents, rows))) // split_blocks_c2
    return infer.fail("`documents` must be [1, 2, ", rows, "] for lists of as many queries as `keys`, but got ",
                      documents.getType(), " and ", keys, " keys");
  results.push_back(list);
  results.push_back(
      RankedTensorType::get({list.getDimSize(0), list.getDimSize(1), list.getDimSize(2), 1}, list.getElementType()));
  return success();
}

LogicalResult BlockBoundsOp::inferReturnTypes(MLIRContext *, std::optional<Location> location, Adaptor adaptor,
                                              SmallVectorImpl<Type> &results) {
  Inference<BlockBoundsOp> infer{location};
  if (failed(infer.requireScores(adaptor.getBounds())) || failed(infer.require(adaptor.getAttributes(), {"key_block"})))
    return failure();
  RankedTensorType bounds = getTensor(adaptor.getBounds());
  int64_t keyBlock = adaptor.getKeyBlock(), tokens = bounds.getDimSize(2);
  if (!areBoundsOf(adaptor.getBounds(), tokens) || keyBlock <= 0) // block_bounds_c1
    return infer.fail("takes bounds [1, 2, N] and a positive `key_block`, but got ", bounds, " and ", keyBlock);
  results.push_back(bounds);
  results.push_back(
      RankedTensorType::get({1, 1, int64_t(llvm::divideCeil(tokens, keyBlock)), 1}, bounds.getElementType()));
  return success();
}

LogicalResult GroupRowsOp::inferReturnTypes(MLIRContext *, std::optional<Location> location, Adaptor adaptor,
                                            SmallVectorImpl<Type> &results) {
  Inference<GroupRowsOp> infer{location};
  if (failed(infer.requireRows({adaptor.getList(), adaptor.getBits()})) ||
      failed(infer.requireScores(adaptor.getCounts())) || failed(infer.require(adaptor.getAttributes(), {"length"})))
    return failure();
  RankedTensorType list = getTensor(adaptor.getList()), bits = getTensor(adaptor.getBits());
  RankedTensorType counts = getTensor(adaptor.getCounts());
  int64_t words = llvm::divideCeil(list.getDimSize(2), 32), length = adaptor.getLength();
  if (bits.getShape().take_front(2) != list.getShape().take_front(2) || bits.getDimSize(3) != words ||
      counts.getShape() != bits.getShape().drop_back()) // group_rows_c1
    return infer.fail("`bits` must have ", words, " words for each block of ", list,
                      " and `counts` one number, but got ", bits, " and ", counts);
  if (length <= 0 || length > kMaxSize || length % kTilePlaces) // group_rows_c2
    return infer.fail("`length` must be a positive multiple of ", kTilePlaces, " and at most 2^40, but got ", length);
  Type element = list.getElementType();
  int64_t batch = list.getDimSize(0), heads = list.getDimSize(1);
  results.push_back(RankedTensorType::get({batch, heads, length}, element));
  results.push_back(RankedTensorType::get({batch, heads, length / kTilePlaces, 1}, element));
  results.push_back(list);
  return success();
}

LogicalResult GatherScoresOp::inferReturnTypes(MLIRContext *, std::optional<Location> location, Adaptor adaptor,
                                               SmallVectorImpl<Type> &results) {
  Inference<GatherScoresOp> infer{location};
  if (failed(infer.requireScores({adaptor.getX(), adaptor.getRows()})))
    return failure();
  RankedTensorType x = getTensor(adaptor.getX()), rows = getTensor(adaptor.getRows());
  if (!sharesHeads(x, rows)) // gather_scores_c1
    return infer.fail("the heads of x must be a multiple of those of `rows` and batches agree, but got ", x, " and ",
                      rows);
  results.push_back(withLength(x, rows.getDimSize(2)));
  return success();
}

/// What merging and summing have in common: the first constraint but for LSEs, and the second.
template <typename Op>
static LogicalResult checkPlaces(Inference<Op> infer, RankedTensorType part, RankedTensorType slots,
                                 RankedTensorType whole) {
  if (withLength(part, whole.getDimSize(2)) != whole) // merge_rows_c1, sum_rows_c1
    return infer.fail("`part` must agree with the rows that it joins except in length, but got ", part, " and ", whole);
  if (!sharesHeads(whole, slots) || slots.getDimSize(2) != whole.getDimSize(2)) // merge_rows_c2, sum_rows_c2
    return infer.fail("`slots` must have the batch and length of ", whole, " and a divisor of its heads, but got ",
                      slots);
  return success();
}

LogicalResult MergeRowsOp::inferReturnTypes(MLIRContext *, std::optional<Location> location, Adaptor adaptor,
                                            SmallVectorImpl<Type> &results) {
  Inference<MergeRowsOp> infer{location};
  if (failed(infer.requireRows({adaptor.getPart(), adaptor.getSlots(), adaptor.getOut()})) ||
      failed(infer.requireScores({adaptor.getPartLse(), adaptor.getLse()})))
    return failure();
  RankedTensorType part = getTensor(adaptor.getPart()), out = getTensor(adaptor.getOut());
  RankedTensorType partLse = getTensor(adaptor.getPartLse()), lse = getTensor(adaptor.getLse());
  if (failed(checkPlaces(infer, part, getTensor(adaptor.getSlots()), out)))
    return failure();
  if (partLse.getShape() != part.getShape().drop_back() ||
      lse.getShape() != out.getShape().drop_back()) // merge_rows_c1
    return infer.fail("the LSEs must have the shapes of ", part, " and ", out, " without the head dim, but got ",
                      partLse, " and ", lse);
  results.push_back(out);
  results.push_back(lse);
  return success();
}

LogicalResult SumRowsOp::inferReturnTypes(MLIRContext *, std::optional<Location> location, Adaptor adaptor,
                                          SmallVectorImpl<Type> &results) {
  Inference<SumRowsOp> infer{location};
  if (failed(infer.requireRows({adaptor.getPart(), adaptor.getSlots(), adaptor.getX()})))
    return failure();
  RankedTensorType x = getTensor(adaptor.getX());
  if (failed(checkPlaces(infer, getTensor(adaptor.getPart()), getTensor(adaptor.getSlots()), x)))
    return failure();
  results.push_back(x);
  return success();
}
