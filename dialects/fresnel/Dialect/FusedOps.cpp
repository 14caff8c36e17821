//===- FusedOps.cpp - Shapes and checks of fused operations ---------------===//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//

#include "fresnel/Dialect/CascadeShape.h"
#include "fresnel/Dialect/Infer.h"
#include "fresnel/Dialect/Slots.h"

using namespace mlir;
using namespace fresnel;

LogicalResult PoolLevelsOp::inferReturnTypes(MLIRContext *context, std::optional<Location> location, Adaptor adaptor,
                                             SmallVectorImpl<Type> &results) {
  Inference<PoolLevelsOp> infer{location};
  if (failed(infer.requireRows(adaptor.getX())))
    return failure();
  if (failed(infer.require(adaptor.getAttributes(), {"levels", "factor"})))
    return failure();
  RankedTensorType x = getTensor(adaptor.getX());
  int64_t length = x.getDimSize(2), levels = adaptor.getLevels();
  if (levels < 2) // pool_levels_c1
    return infer.fail("`levels` must be in [2, 16], but got ", levels);
  if (failed(checkPyramid(infer, length, levels, adaptor.getFactor()))) // pool_levels_c1
    return failure();
  if (failed(checkDocuments(infer, length, adaptor.getDocuments()))) // pool_levels_c2
    return failure();
  PyramidShape shape(length, levels, adaptor.getFactor(), adaptor.getDocuments());
  results.push_back(withLength(x, shape.length - length));
  if (adaptor.getNorms())
    results.push_back(
        RankedTensorType::get({x.getDimSize(0), x.getDimSize(1), shape.length}, Float32Type::get(context)));
  return success();
}

LogicalResult GatherLevelsOp::inferReturnTypes(MLIRContext *, std::optional<Location> location, Adaptor adaptor,
                                               SmallVectorImpl<Type> &results) {
  Inference<GatherLevelsOp> infer{location};
  if (failed(infer.requireRows(adaptor.getBases())) || failed(infer.requireRows(adaptor.getTails())) ||
      failed(infer.requireScores(adaptor.getIndices())))
    return failure();
  ValueRange bases = adaptor.getBases(), tails = adaptor.getTails();
  auto agree = [](ValueRange range) {
    return llvm::all_of(range, [&](Value value) {
      RankedTensorType type = getTensor(value), first = getTensor(range.front());
      return type.getShape().drop_front(2) == first.getShape().drop_front(2) &&
             type.getElementType() == first.getElementType();
    });
  };
  if (bases.empty() || bases.size() != tails.size() || !agree(bases) || !agree(tails)) // gather_levels_c1
    return infer.fail("needs as many tails as bases, at least one, each kind of one length, head dim and element type");
  RankedTensorType indices = getTensor(adaptor.getIndices());
  for (auto [base, tail] : llvm::zip(bases, tails)) {
    RankedTensorType x = getTensor(base);
    if (withLength(getTensor(tail), x.getDimSize(2)) != x) // gather_levels_c2
      return infer.fail("a tail must agree with its base except in length, but got ", tail.getType(), " for ", x);
    if (!sharesHeads(indices, x) && !sharesHeads(x, indices)) // gather_levels_c3
      return infer.fail("batches must agree and of the heads of `indices` and a base one be a multiple of the other, "
                        "but got ",
                        indices, " and ", x);
    results.push_back(RankedTensorType::get(
        {x.getDimSize(0), std::max(x.getDimSize(1), indices.getDimSize(1)), indices.getDimSize(2), x.getDimSize(3)},
        x.getElementType()));
  }
  for (Type result : results) // gather_levels_c4
    if (result != results.front())
      return infer.fail("the results must agree in heads, but they are ", results.front(), " and ", result);
  return success();
}

LogicalResult ScatterBySlotsOp::inferReturnTypes(MLIRContext *, std::optional<Location> location, Adaptor adaptor,
                                                 SmallVectorImpl<Type> &results) {
  Inference<ScatterBySlotsOp> infer{location};
  if (failed(infer.requireRows(adaptor.getX())) || failed(infer.requireScores(adaptor.getSlots())))
    return failure();
  if (failed(infer.require(adaptor.getAttributes(), {"seq_len", "levels", "factor"})))
    return failure();
  RankedTensorType x = getTensor(adaptor.getX());
  if (failed(checkSlots(infer, adaptor, x, adaptor.getSeqLen())))
    return failure();
  results.push_back(withLength(x, adaptor.getSeqLen()));
  return success();
}

LogicalResult GatherGradBySlotsOp::inferReturnTypes(MLIRContext *, std::optional<Location> location, Adaptor adaptor,
                                                    SmallVectorImpl<Type> &results) {
  Inference<GatherGradBySlotsOp> infer{location};
  if (failed(infer.requireRows(adaptor.getDy())) || failed(infer.requireScores(adaptor.getSlots())))
    return failure();
  if (failed(infer.require(adaptor.getAttributes(), {"heads", "seq_len", "levels", "factor"})))
    return failure();
  RankedTensorType dy = getTensor(adaptor.getDy());
  if (failed(checkSlots(infer, adaptor, dy, adaptor.getSeqLen())))
    return failure();
  int64_t heads = adaptor.getHeads();
  if (heads <= 0 || dy.getDimSize(1) % heads) // gather_grad_by_slots_c4
    return infer.fail("`heads` must be positive and divide the ", dy.getDimSize(1), " heads of dy, but got ", heads);
  results.push_back(RankedTensorType::get({dy.getDimSize(0), heads, int64_t(adaptor.getSeqLen()), dy.getDimSize(3)},
                                          dy.getElementType()));
  return success();
}

LogicalResult ScatterGradBySlotsOp::inferReturnTypes(MLIRContext *, std::optional<Location> location, Adaptor adaptor,
                                                     SmallVectorImpl<Type> &results) {
  Inference<ScatterGradBySlotsOp> infer{location};
  if (failed(infer.requireRows(adaptor.getDy())) ||
      failed(infer.requireScores({adaptor.getIndices(), adaptor.getSlots()})))
    return failure();
  if (failed(infer.require(adaptor.getAttributes(), {"levels", "factor"})))
    return failure();
  RankedTensorType dy = getTensor(adaptor.getDy()), indices = getTensor(adaptor.getIndices());
  if (failed(checkSlots(infer, adaptor, dy, dy.getDimSize(2))))
    return failure();
  RankedTensorType slots = getTensor(adaptor.getSlots());
  if (indices.getShape().take_front(2) != slots.getShape().take_front(2)) // scatter_grad_by_slots_c4
    return infer.fail("`indices` and `slots` must agree in batch and heads, but got ", indices, " and ", slots);
  results.push_back(withLength(dy, indices.getDimSize(2)));
  return success();
}

LogicalResult SelectScoredOp::inferReturnTypes(MLIRContext *context, std::optional<Location> location, Adaptor adaptor,
                                               SmallVectorImpl<Type> &results) {
  Inference<SelectScoredOp> infer{location};
  if (failed(infer.requireRows({adaptor.getQ(), adaptor.getK()})) ||
      failed(infer.requireScores(adaptor.getDocuments())) ||
      failed(infer.require(adaptor.getAttributes(), {"topk", "key_block"})))
    return failure();
  RankedTensorType q = getTensor(adaptor.getQ()), k = getTensor(adaptor.getK());
  if (q.getDimSize(0) != k.getDimSize(0) || q.getDimSize(3) != k.getDimSize(3) ||
      q.getElementType() != k.getElementType()) // select_scored_c1
    return infer.fail("q and k must agree in batch, head dim and element type, but got ", q, " and ", k);
  if (q.getDimSize(1) % k.getDimSize(1)) // select_scored_c2
    return infer.fail("the ", q.getDimSize(1), " query heads must be a multiple of the ", k.getDimSize(1),
                      " key heads");
  int64_t topk = adaptor.getTopk(), local = adaptor.getLocal(), sinks = adaptor.getSinks();
  for (auto [name, value] : {std::pair("topk", topk),
                             {"key_block", int64_t(adaptor.getKeyBlock())},
                             {"key_window", int64_t(adaptor.getKeyWindow())},
                             {"key_stride", int64_t(adaptor.getKeyStride())},
                             {"query_stride", int64_t(adaptor.getQueryStride())}}) // select_scored_c3
    if (value <= 0)
      return infer.fail("`", name, "` must be positive, but got ", value);
  if (local < 0 || sinks < 0 || local + sinks > topk) // select_scored_c4
    return infer.fail("`local` ", local, " and `sinks` ", sinks, " must not be negative and fit into `topk` ", topk);
  if (failed(checkSelectedDocuments(infer, adaptor.getDocuments(), adaptor.getQueryStride(), adaptor.getKeyBlock(),
                                    q.getDimSize(2), k.getDimSize(2)))) // select_scored_c5
    return failure();
  results.push_back(
      RankedTensorType::get({q.getDimSize(0), q.getDimSize(1), q.getDimSize(2), std::min(topk, k.getDimSize(2))},
                            IntegerType::get(context, 32)));
  return success();
}

double SelectScoredOp::getScaleOrDefault() { return resolveScale(getScale(), getQ()); }

LogicalResult RegroupScoredOp::inferReturnTypes(MLIRContext *context, std::optional<Location> location, Adaptor adaptor,
                                                SmallVectorImpl<Type> &results) {
  Inference<RegroupScoredOp> infer{location};
  if (failed(infer.requireRows({adaptor.getQ(), adaptor.getK()})) ||
      failed(infer.requireScores(adaptor.getDocuments())) ||
      failed(infer.require(adaptor.getAttributes(), {"window", "stride", "block", "seq_len"})))
    return failure();
  RankedTensorType q = getTensor(adaptor.getQ()), k = getTensor(adaptor.getK());
  if (q.getDimSize(0) != k.getDimSize(0) || q.getDimSize(3) != k.getDimSize(3) ||
      q.getElementType() != k.getElementType()) // regroup_scored_c1
    return infer.fail("q and k must agree in batch, head dim and element type, but got ", q, " and ", k);
  if (q.getDimSize(1) % k.getDimSize(1)) // regroup_scored_c2
    return infer.fail("the ", q.getDimSize(1), " query heads must be a multiple of the ", k.getDimSize(1),
                      " key heads");
  Type f32 = Float32Type::get(context);
  if (adaptor.getLse().getType() != RankedTensorType::get(q.getShape().drop_back(), f32)) // regroup_scored_c3
    return infer.fail("`lse` must hold one f32 for each row of ", q, ", but got ", adaptor.getLse().getType());
  int64_t window = adaptor.getWindow(), stride = adaptor.getStride(), block = adaptor.getBlock();
  for (auto [name, value] : {std::pair("window", window),
                             {"stride", stride},
                             {"block", block},
                             {"seq_len", int64_t(adaptor.getSeqLen())}}) // regroup_scored_c4
    if (value <= 0)
      return infer.fail("`", name, "` must be positive, but got ", value);
  if (window % stride || block % stride) // regroup_scored_c4
    return infer.fail("`stride` ", stride, " must divide `window` ", window, " and `block` ", block);
  if (Value documents = adaptor.getDocuments()) // regroup_scored_c5
    if (!areBoundsOf(documents, q.getDimSize(2)) || !adaptor.getCausal())
      return infer.fail("`documents` must be [1, 2, ", q.getDimSize(2), "] and needs `causal = true`, but got ",
                        documents.getType(), " and ", adaptor.getCausal() ? "true" : "false");
  int64_t blocks = llvm::divideCeil(int64_t(adaptor.getSeqLen()), block);
  results.push_back(RankedTensorType::get({q.getDimSize(0), k.getDimSize(1), q.getDimSize(2), blocks}, f32));
  return success();
}

double RegroupScoredOp::getScaleOrDefault() { return resolveScale(getScale(), getQ()); }

LogicalResult TransposeBlocksOp::inferReturnTypes(MLIRContext *, std::optional<Location> location, Adaptor adaptor,
                                                  SmallVectorImpl<Type> &results) {
  Inference<TransposeBlocksOp> infer{location};
  if (failed(infer.require(adaptor.getAttributes(), {"blocks"})))
    return failure();
  int64_t blocks = adaptor.getBlocks();
  if (blocks <= 0) // transpose_blocks_c1
    return infer.fail("`blocks` must be positive, but got ", blocks);
  RankedTensorType list = getTensor(adaptor.getList());
  int64_t words = llvm::divideCeil(list.getDimSize(2), 32);
  results.push_back(
      RankedTensorType::get({list.getDimSize(0), list.getDimSize(1), blocks, words}, list.getElementType()));
  return success();
}

LogicalResult CountRowsOp::inferReturnTypes(MLIRContext *, std::optional<Location>, Adaptor adaptor,
                                            SmallVectorImpl<Type> &results) {
  RankedTensorType bits = getTensor(adaptor.getBits());
  results.push_back(RankedTensorType::get(bits.getShape().drop_back(), bits.getElementType()));
  return success();
}
