//===- GradientOps.cpp - Shapes and checks of gradient operations ---------===//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//

#include "fresnel/Dialect/CascadeShape.h"
#include "fresnel/Dialect/Infer.h"

using namespace mlir;
using namespace fresnel;

LogicalResult AddOp::inferReturnTypes(MLIRContext *, std::optional<Location> location, Adaptor adaptor,
                                      SmallVectorImpl<Type> &results) {
  Inference<AddOp> infer{location};
  if (failed(infer.requireRowsOrScores(adaptor.getTerms())))
    return failure();
  ValueRange terms = adaptor.getTerms();
  if (terms.empty() || !llvm::all_equal(terms.getTypes())) // add_c1
    return infer.fail("needs at least one term, all of one type");
  results.push_back(terms.front().getType());
  return success();
}

OpFoldResult AddOp::fold(FoldAdaptor) { return getTerms().size() == 1 ? OpFoldResult(getTerms()[0]) : OpFoldResult(); }

//===----------------------------------------------------------------------===//
// Attention
//===----------------------------------------------------------------------===//

/// The shape of an LSE beside rows of type `rows`.
static bool isLseOf(Value lse, RankedTensorType rows) {
  return getTensor(lse).getShape() == rows.getShape().drop_back();
}

LogicalResult AttendDeltaOp::inferReturnTypes(MLIRContext *context, std::optional<Location> location, Adaptor adaptor,
                                              SmallVectorImpl<Type> &results) {
  Inference<AttendDeltaOp> infer{location};
  if (failed(infer.requireRows({adaptor.getOut(), adaptor.getDout()})) ||
      failed(infer.requireScores(adaptor.getDlse())))
    return failure();
  RankedTensorType out = getTensor(adaptor.getOut());
  if (adaptor.getDout().getType() != out || (adaptor.getDlse() && !isLseOf(adaptor.getDlse(), out))) // attend_delta_c1
    return infer.fail("`dout` must have the type of `out`, ", out, ", and `dlse` its shape without the head dim");
  results.push_back(RankedTensorType::get(out.getShape().drop_back(), Float32Type::get(context)));
  return success();
}

/// Checks both gradients of attention.
template <typename Op>
static LogicalResult checkAttendGrad(MLIRContext *context, std::optional<Location> location,
                                     typename Op::Adaptor adaptor) {
  Inference<Op> infer{location};
  SmallVector<Value> operands{adaptor.getQ(), adaptor.getK(), adaptor.getV()};
  for (Value mask : adaptor.getMasks())
    operands.push_back(mask);
  if constexpr (std::is_same_v<Op, AttendGradKvOp>) {
    // What goes with a transposed list has its own checks.
    AttendMasks masks = splitMasks(adaptor.getMasks(), adaptor.getQ());
    if (adaptor.getTransposed())
      llvm::erase_if(operands, [&](Value value) {
        return value == masks.blocks || value == masks.starts || value == masks.counts;
      });
  }
  SmallVector<Type> forward;
  // attend_grad_q_c1, attend_grad_kv_c1
  if (failed(
          AttendOp::inferReturnTypes(context, location, AttendOp::Adaptor(operands, adaptor.getAttributes()), forward)))
    return failure();
  // attend_grad_q_c2, attend_grad_kv_c2
  if (adaptor.getLse().getType() != forward[1] || adaptor.getDelta().getType() != forward[1] ||
      adaptor.getDout().getType() != forward[0])
    return infer.fail("`lse` and `delta` must be ", forward[1], " and `dout` ", forward[0], ", but got ",
                      adaptor.getLse().getType(), ", ", adaptor.getDelta().getType(), " and ",
                      adaptor.getDout().getType());
  return success();
}

LogicalResult AttendGradQOp::inferReturnTypes(MLIRContext *context, std::optional<Location> location, Adaptor adaptor,
                                              SmallVectorImpl<Type> &results) {
  results.push_back(adaptor.getQ().getType());
  return checkAttendGrad<AttendGradQOp>(context, location, adaptor);
}

/// Checks a transposed block list.
static LogicalResult checkTransposed(Inference<AttendGradKvOp> infer, AttendGradKvOp::Adaptor adaptor) {
  int64_t queryBlock = adaptor.getQueryBlock(), keyBlock = adaptor.getKeyBlock();
  AttendMasks masks = splitMasks(adaptor.getMasks(), adaptor.getQ());
  Value list = masks.blocks;
  if (!list || queryBlock <= 0 || keyBlock <= 0) // attend_grad_kv_c3
    return infer.fail("`transposed` needs `blocks`, and positive `query_block` and `key_block`, but these are ",
                      queryBlock, " and ", keyBlock);
  RankedTensorType q = getTensor(adaptor.getQ()), k = getTensor(adaptor.getK());
  RankedTensorType blocks = getTensor(list);
  int64_t rows = llvm::divideCeil(k.getDimSize(2), keyBlock);
  int64_t words = llvm::divideCeil(llvm::divideCeil(q.getDimSize(2), queryBlock), 32);
  if (blocks.getDimSize(0) != q.getDimSize(0) || q.getDimSize(1) % blocks.getDimSize(1) ||
      blocks.getDimSize(1) % k.getDimSize(1) || blocks.getDimSize(2) != rows ||
      blocks.getDimSize(3) != words) // attend_grad_kv_c3
    return infer.fail("transposed `blocks` must have the batch of q, a divisor of its heads that is a multiple of the "
                      "key heads, ",
                      rows, " rows and ", words, " words, but got ", blocks);
  if (masks.starts && masks.documents) // attend_grad_kv_c1
    return infer.fail("takes either `documents` or `starts`, but got both");
  return checkStarts(infer, masks.starts, adaptor.getK(), keyBlock); // attend_grad_kv_c1
}

LogicalResult AttendGradKvOp::inferReturnTypes(MLIRContext *context, std::optional<Location> location, Adaptor adaptor,
                                               SmallVectorImpl<Type> &results) {
  results.append({adaptor.getK().getType(), adaptor.getV().getType()});
  if (failed(checkAttendGrad<AttendGradKvOp>(context, location, adaptor)))
    return failure();
  if (adaptor.getTransposed() && failed(checkTransposed({location}, adaptor)))
    return failure();
  AttendMasks masks = splitMasks(adaptor.getMasks(), adaptor.getQ());
  if (masks.counts &&
      (!adaptor.getTransposed() ||
       getTensor(masks.counts).getShape() != getTensor(masks.blocks).getShape().drop_back())) // attend_grad_kv_c4
    return Inference<AttendGradKvOp>{location}.fail(
        "`counts` goes with `transposed` and has the shape of `blocks` without the words, but got ",
        masks.counts.getType());
  return success();
}

double AttendGradQOp::getScaleOrDefault() { return resolveScale(getScale(), getQ()); }
double AttendGradKvOp::getScaleOrDefault() { return resolveScale(getScale(), getQ()); }

//===----------------------------------------------------------------------===//
// Pooling
//===----------------------------------------------------------------------===//

/// Checks the operand that a maximum reads, and gives the gradient its type.
template <typename Op>
static LogicalResult inferPoolGrad(Inference<Op> infer, typename Op::Adaptor adaptor, Value x, int64_t pooled,
                                   SmallVectorImpl<Type> &results) {
  RankedTensorType dy = getTensor(adaptor.getDy());
  int64_t length = adaptor.getSeqLen();
  if (dy.getDimSize(2) != pooled) // pool_grad_c1, pyramid_grad_c1
    return infer.fail("`seq_len` ", length, " pools to ", pooled, " rows, but dy has ", dy.getDimSize(2));
  RankedTensorType dx = withLength(dy, length);
  bool isMax = adaptor.getKind() == PoolKind::Max;
  if (isMax != bool(x) || (isMax && x.getType() != dx)) // pool_grad_c2, pyramid_grad_c2
    return infer.fail("the operand of the pooling must be there with `max` only, as ", dx);
  results.push_back(dx);
  return success();
}

LogicalResult PoolGradOp::inferReturnTypes(MLIRContext *, std::optional<Location> location, Adaptor adaptor,
                                           SmallVectorImpl<Type> &results) {
  Inference<PoolGradOp> infer{location};
  if (failed(infer.requireRowsOrScores(adaptor.getDy())) || failed(infer.requireRowsOrScores(adaptor.getMore())))
    return failure();
  if (failed(infer.require(adaptor.getAttributes(), {"seq_len", "window"})))
    return failure();
  int64_t length = adaptor.getSeqLen(), window = adaptor.getWindow(), stride = adaptor.getStride();
  if (length <= 0 || window <= 0 || stride < 0 || stride > window) // pool_grad_c1
    return infer.fail("`seq_len` and `window` must be positive and `stride` in [0, window], but got ", length, ", ",
                      window, " and ", stride);
  if (adaptor.getTail() == Tail::Drop && length < window) // pool_grad_c1
    return infer.fail("`tail = drop` needs at least one window of ", window, " tokens, but `seq_len` is ", length);
  if (!areOneOfEach(adaptor.getMore())) // pool_grad_c4
    return infer.fail("takes one operand of the pooling and behind it one of `documents`, but got ",
                      adaptor.getMore().size(), " operands");
  Value documents = findOperand(adaptor.getMore(), /*indices=*/true);
  if (failed(checkPoolDocuments(infer, adaptor, documents, length))) // pool_grad_c3
    return failure();
  return inferPoolGrad(infer, adaptor, findOperand(adaptor.getMore(), /*indices=*/false),
                       getPooledLength(length, window, stride ? stride : window, adaptor.getTail()), results);
}

LogicalResult PyramidGradOp::inferReturnTypes(MLIRContext *, std::optional<Location> location, Adaptor adaptor,
                                              SmallVectorImpl<Type> &results) {
  Inference<PyramidGradOp> infer{location};
  if (failed(infer.requireRowsOrScores({adaptor.getDy(), adaptor.getX()})))
    return failure();
  if (failed(infer.require(adaptor.getAttributes(), {"seq_len", "levels", "factor"})))
    return failure();
  int64_t length = adaptor.getSeqLen(), levels = adaptor.getLevels(), factor = adaptor.getFactor();
  if (failed(checkPyramid(infer, length, levels, factor))) // pyramid_grad_c1
    return failure();
  if (failed(checkDocuments(infer, length, adaptor.getDocuments()))) // pyramid_grad_c3
    return failure();
  return inferPoolGrad(infer, adaptor, adaptor.getX(),
                       PyramidShape(length, levels, factor, adaptor.getDocuments()).length, results);
}

LogicalResult UnpoolGradOp::inferReturnTypes(MLIRContext *, std::optional<Location> location, Adaptor adaptor,
                                             SmallVectorImpl<Type> &results) {
  Inference<UnpoolGradOp> infer{location};
  if (failed(infer.requireRows(adaptor.getDy())))
    return failure();
  if (failed(infer.require(adaptor.getAttributes(), {"window"})))
    return failure();
  int64_t window = adaptor.getWindow();
  if (window <= 0) // unpool_grad_c1
    return infer.fail("`window` must be positive, but got ", window);
  RankedTensorType dy = getTensor(adaptor.getDy());
  results.push_back(withLength(dy, llvm::divideCeil(dy.getDimSize(2), window)));
  return success();
}

//===----------------------------------------------------------------------===//
// Movement and combination
//===----------------------------------------------------------------------===//

LogicalResult GatherGradOp::inferReturnTypes(MLIRContext *, std::optional<Location> location, Adaptor adaptor,
                                             SmallVectorImpl<Type> &results) {
  Inference<GatherGradOp> infer{location};
  if (failed(infer.requireRows(adaptor.getDy())) || failed(infer.requireScores(adaptor.getIndices())))
    return failure();
  if (failed(infer.require(adaptor.getAttributes(), {"heads", "rows"})))
    return failure();
  RankedTensorType dy = getTensor(adaptor.getDy()), indices = getTensor(adaptor.getIndices());
  if (!sharesHeads(dy, indices) || dy.getDimSize(2) != indices.getDimSize(2)) // gather_grad_c1
    return infer.fail("dy and `indices` must agree in batch and length, and the heads of dy be a multiple of those of "
                      "`indices`, but got ",
                      dy, " and ", indices);
  int64_t heads = adaptor.getHeads(), rows = adaptor.getRows();
  if (heads <= 0 || rows <= 0 || dy.getDimSize(1) % heads) // gather_grad_c2
    return infer.fail("`heads` and `rows` must be positive and `heads` divide the ", dy.getDimSize(1),
                      " heads of dy, but got ", heads, " and ", rows);
  results.push_back(RankedTensorType::get({dy.getDimSize(0), heads, rows, dy.getDimSize(3)}, dy.getElementType()));
  return success();
}

LogicalResult ScatterGradOp::inferReturnTypes(MLIRContext *, std::optional<Location> location, Adaptor adaptor,
                                              SmallVectorImpl<Type> &results) {
  Inference<ScatterGradOp> infer{location};
  if (failed(infer.requireRows(adaptor.getDy())) || failed(infer.requireScores(adaptor.getIndices())))
    return failure();
  if (failed(infer.require(adaptor.getAttributes(), {"levels", "factor"})))
    return failure();
  RankedTensorType dy = getTensor(adaptor.getDy()), indices = getTensor(adaptor.getIndices());
  if (!sharesHeads(dy, indices)) // scatter_grad_c1
    return infer.fail("dy and `indices` must agree in batch, and the heads of dy be a multiple of those of `indices`, "
                      "but got ",
                      dy, " and ", indices);
  if (failed(checkPyramid(infer, dy.getDimSize(2), adaptor.getLevels(), adaptor.getFactor()))) // scatter_grad_c2
    return failure();
  if (failed(checkDocuments(infer, dy.getDimSize(2), adaptor.getDocuments()))) // scatter_grad_c3
    return failure();
  results.push_back(withLength(dy, indices.getDimSize(2)));
  return success();
}

LogicalResult GateGradOp::inferReturnTypes(MLIRContext *context, std::optional<Location> location, Adaptor adaptor,
                                           SmallVectorImpl<Type> &results) {
  Inference<GateGradOp> infer{location};
  SmallVector<Value> operands(adaptor.getBranches());
  operands.push_back(adaptor.getGates());
  SmallVector<Type> forward;
  if (failed(GateOp::inferReturnTypes(context, location, GateOp::Adaptor(operands, adaptor.getAttributes()),
                                      forward))) // gate_grad_c1
    return failure();
  if (adaptor.getDy().getType() != forward[0]) // gate_grad_c2
    return infer.fail("dy must have the branches' type ", forward[0], ", but got ", adaptor.getDy().getType());
  results.append(adaptor.getBranches().size(), forward[0]);
  results.push_back(adaptor.getGates().getType());
  return success();
}

LogicalResult MergeGradOp::inferReturnTypes(MLIRContext *, std::optional<Location> location, Adaptor adaptor,
                                            SmallVectorImpl<Type> &results) {
  Inference<MergeGradOp> infer{location};
  if (failed(infer.requireRows(adaptor.getPart())) ||
      failed(infer.requireScores({adaptor.getPartLse(), adaptor.getDlse()})))
    return failure();
  RankedTensorType part = getTensor(adaptor.getPart());
  if (!isLseOf(adaptor.getPartLse(), part) || (adaptor.getDlse() && !isLseOf(adaptor.getDlse(), part))) // merge_grad_c1
    return infer.fail("the LSEs must have the shape of ", part, " without the head dim, but got ",
                      adaptor.getPartLse().getType());
  results.append({part, adaptor.getPartLse().getType()});
  return success();
}
