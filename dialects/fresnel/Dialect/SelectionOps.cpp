//===- SelectionOps.cpp - Shapes and checks of scores and selections ------===//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//

#include "fresnel/Dialect/CascadeShape.h"
#include "fresnel/Dialect/Infer.h"

using namespace mlir;
using namespace fresnel;

LogicalResult BlockScoreOp::inferReturnTypes(MLIRContext *context, std::optional<Location> location, Adaptor adaptor,
                                             SmallVectorImpl<Type> &results) {
  Inference<BlockScoreOp> infer{location};
  if (failed(infer.requireRows({adaptor.getQ(), adaptor.getK()})) || failed(infer.requireScores(adaptor.getMore())))
    return failure();
  if (!areOneOfEach(adaptor.getMore())) // block_score_c7
    return infer.fail("takes one `lse` and behind it one of `documents`, but got ", adaptor.getMore().size(),
                      " operands");
  RankedTensorType q = getTensor(adaptor.getQ()), k = getTensor(adaptor.getK());
  if (q.getDimSize(0) != k.getDimSize(0) || q.getDimSize(3) != k.getDimSize(3) ||
      q.getElementType() != k.getElementType()) // block_score_c1
    return infer.fail("q and k must agree in batch, head dim and element type, but got ", q, " and ", k);
  if (q.getDimSize(1) % k.getDimSize(1)) // block_score_c2
    return infer.fail("the ", q.getDimSize(1), " query heads must be a multiple of the ", k.getDimSize(1),
                      " key heads");
  for (auto [name, value] : {std::pair("key_window", adaptor.getKeyWindow()),
                             {"key_stride", adaptor.getKeyStride()},
                             {"query_stride", adaptor.getQueryStride()}}) // block_score_c3
    if (value <= 0)
      return infer.fail("`", name, "` must be positive, but got ", value);
  if (adaptor.getGroupSum() && adaptor.getNormalize() != Normalize::Softmax) // block_score_c4
    return infer.fail("`group_sum` needs `normalize = softmax`");
  if (Value lse = findOperand(adaptor.getMore(), /*indices=*/false)) { // block_score_c5
    if (adaptor.getNormalize() != Normalize::Softmax)
      return infer.fail("`lse` needs `normalize = softmax`");
    if (lse.getType() != RankedTensorType::get(q.getShape().drop_back(), Float32Type::get(context)))
      return infer.fail("`lse` must hold one f32 for each row of ", q, ", but got ", lse.getType());
  }
  if (Value documents = findOperand(adaptor.getMore(), /*indices=*/true)) { // block_score_c6
    if (!areBoundsOf(documents, q.getDimSize(2)))
      return infer.fail("`documents` must be [1, 2, ", q.getDimSize(2), "], but got ", documents.getType());
    if (!adaptor.getCausal() || adaptor.getQueryStride() != 1)
      return infer.fail("`documents` needs `causal = true` and `query_stride = 1`, but these are ",
                        adaptor.getCausal() ? "true" : "false", " and ", int64_t(adaptor.getQueryStride()));
  }
  int64_t heads = adaptor.getGroupSum() ? k.getDimSize(1) : q.getDimSize(1);
  results.push_back(
      RankedTensorType::get({q.getDimSize(0), heads, q.getDimSize(2), k.getDimSize(2)}, Float32Type::get(context)));
  return success();
}

double BlockScoreOp::getScaleOrDefault() { return resolveScale(getScale(), getQ()); }

LogicalResult RegroupOp::inferReturnTypes(MLIRContext *, std::optional<Location> location, Adaptor adaptor,
                                          SmallVectorImpl<Type> &results) {
  Inference<RegroupOp> infer{location};
  if (failed(infer.requireRows(adaptor.getScores())))
    return failure();
  if (failed(infer.require(adaptor.getAttributes(), {"window", "stride", "block", "seq_len"})))
    return failure();
  int64_t window = adaptor.getWindow(), stride = adaptor.getStride(), block = adaptor.getBlock();
  for (auto [name, value] : {std::pair("window", window),
                             {"stride", stride},
                             {"block", block},
                             {"seq_len", int64_t(adaptor.getSeqLen())}}) // regroup_c1
    if (value <= 0)
      return infer.fail("`", name, "` must be positive, but got ", value);
  if (window % stride || block % stride) // regroup_c2
    return infer.fail("`stride` ", stride, " must divide `window` ", window, " and `block` ", block);
  RankedTensorType scores = getTensor(adaptor.getScores());
  SmallVector<int64_t> shape(scores.getShape());
  shape[3] = llvm::divideCeil(adaptor.getSeqLen(), block);
  results.push_back(RankedTensorType::get(shape, scores.getElementType()));
  return success();
}

LogicalResult SelectCascadeOp::inferReturnTypes(MLIRContext *context, std::optional<Location> location, Adaptor adaptor,
                                                SmallVectorImpl<Type> &results) {
  Inference<SelectCascadeOp> infer{location};
  if (failed(infer.requireScores({adaptor.getQueryScores(), adaptor.getKeyScores()})))
    return failure();
  if (failed(infer.require(adaptor.getAttributes(), {"seq_len", "levels", "factor", "topk"})))
    return failure();
  int64_t seqLen = adaptor.getSeqLen(), levels = adaptor.getLevels(), factor = adaptor.getFactor();
  if (failed(checkPyramid(infer, seqLen, levels, factor))) // select_cascade_c1
    return failure();
  if (adaptor.getTopk() == 0 || static_cast<int64_t>(adaptor.getTopk()) < 0) // select_cascade_c1
    return infer.fail("`topk` must be positive, but got ", static_cast<int64_t>(adaptor.getTopk()));
  if (failed(checkDocuments(infer, seqLen, adaptor.getDocuments()))) // select_cascade_c4
    return failure();
  CascadeShape shape(seqLen, levels, factor, adaptor.getTopk(), adaptor.getDocuments());
  RankedTensorType q = getTensor(adaptor.getQueryScores()), k = getTensor(adaptor.getKeyScores());
  for (RankedTensorType scores : {q, k}) // select_cascade_c2
    if (scores.getDimSize(2) != shape.pyramid.length)
      return infer.fail("a pyramid of ", seqLen, " tokens with `levels` ", levels, " and `factor` ", factor, " has ",
                        shape.pyramid.length, " entries, but the scores have ", scores.getDimSize(2));
  if (q.getDimSize(0) != k.getDimSize(0) || q.getDimSize(1) % k.getDimSize(1)) // select_cascade_c3
    return infer.fail("batches must agree and query heads be a multiple of key heads, but got ", q, " and ", k);
  auto push = [&](int64_t length) {
    int64_t heads = adaptor.getPerKeyHead() ? k.getDimSize(1) : q.getDimSize(1);
    results.push_back(RankedTensorType::get({q.getDimSize(0), heads, length}, IntegerType::get(context, 32)));
  };
  push(shape.length);
  if (adaptor.getWithSlots())
    push(shape.pyramid.length);
  return success();
}

LogicalResult SelectBlocksOp::inferReturnTypes(MLIRContext *context, std::optional<Location> location, Adaptor adaptor,
                                               SmallVectorImpl<Type> &results) {
  Inference<SelectBlocksOp> infer{location};
  if (failed(infer.requireRows(adaptor.getScores())) || failed(infer.requireScores(adaptor.getDocuments())))
    return failure();
  if (failed(infer.require(adaptor.getAttributes(), {"topk", "key_block"})))
    return failure();
  int64_t topk = adaptor.getTopk(), local = adaptor.getLocal(), sinks = adaptor.getSinks();
  for (auto [name, value] : {std::pair("topk", topk),
                             {"query_block", int64_t(adaptor.getQueryBlock())},
                             {"key_block", int64_t(adaptor.getKeyBlock())}}) // select_blocks_c1
    if (value <= 0)
      return infer.fail("`", name, "` must be positive, but got ", value);
  if (local < 0 || sinks < 0) // select_blocks_c1
    return infer.fail("`local` and `sinks` must not be negative, but got ", local, " and ", sinks);
  if (local > topk || sinks > topk - local) // select_blocks_c2
    return infer.fail("`local` ", local, " and `sinks` ", sinks, " must fit into `topk` ", topk);
  RankedTensorType scores = getTensor(adaptor.getScores());
  if (failed(checkSelectedDocuments(infer, adaptor.getDocuments(), adaptor.getQueryBlock(), adaptor.getKeyBlock(),
                                    scores.getDimSize(2), scores.getDimSize(3)))) // select_blocks_c3
    return failure();
  SmallVector<int64_t> shape(scores.getShape());
  shape[3] = std::min(topk, shape[3]);
  results.push_back(RankedTensorType::get(shape, IntegerType::get(context, 32)));
  return success();
}

LogicalResult BlocksFromMaskOp::inferReturnTypes(MLIRContext *context, std::optional<Location> location,
                                                 Adaptor adaptor, SmallVectorImpl<Type> &results) {
  Inference<BlocksFromMaskOp> infer{location};
  if (failed(infer.requireRows(adaptor.getMask())))
    return failure();
  results.push_back(RankedTensorType::get(getTensor(adaptor.getMask()).getShape(), IntegerType::get(context, 32)));
  return success();
}

LogicalResult GatherOp::inferReturnTypes(MLIRContext *, std::optional<Location> location, Adaptor adaptor,
                                         SmallVectorImpl<Type> &results) {
  Inference<GatherOp> infer{location};
  if (failed(infer.requireRows(adaptor.getX())) || failed(infer.requireScores(adaptor.getIndices())))
    return failure();
  RankedTensorType x = getTensor(adaptor.getX()), indices = getTensor(adaptor.getIndices());
  if (!sharesHeads(indices, x) && !sharesHeads(x, indices)) // gather_c1
    return infer.fail("batches must agree and of the heads of `indices` and x one be a multiple of the other, but got ",
                      indices, " and ", x);
  results.push_back(RankedTensorType::get(
      {x.getDimSize(0), std::max(x.getDimSize(1), indices.getDimSize(1)), indices.getDimSize(2), x.getDimSize(3)},
      x.getElementType()));
  return success();
}

LogicalResult ScatterOp::inferReturnTypes(MLIRContext *, std::optional<Location> location, Adaptor adaptor,
                                          SmallVectorImpl<Type> &results) {
  Inference<ScatterOp> infer{location};
  if (failed(infer.requireRows(adaptor.getX())) || failed(infer.requireScores(adaptor.getIndices())))
    return failure();
  if (failed(infer.require(adaptor.getAttributes(), {"seq_len", "levels", "factor"})))
    return failure();
  RankedTensorType x = getTensor(adaptor.getX()), indices = getTensor(adaptor.getIndices());
  if (!sharesHeads(x, indices) || x.getDimSize(2) != indices.getDimSize(2)) // scatter_c1
    return infer.fail("x and `indices` must agree in batch and length, and the heads of x be a multiple of those of "
                      "`indices`, but got ",
                      x, " and ", indices);
  if (failed(checkPyramid(infer, adaptor.getSeqLen(), adaptor.getLevels(), adaptor.getFactor()))) // scatter_c2
    return failure();
  if (failed(checkDocuments(infer, adaptor.getSeqLen(), adaptor.getDocuments()))) // scatter_c3
    return failure();
  results.push_back(withLength(x, adaptor.getSeqLen()));
  return success();
}
