//===- AttentionOps.cpp - Shapes and checks of attention operations -------===//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//

#include "fresnel/Dialect/Infer.h"

using namespace mlir;
using namespace fresnel;

LogicalResult DocumentBoundsOp::inferReturnTypes(MLIRContext *context, std::optional<Location> location,
                                                 Adaptor adaptor, SmallVectorImpl<Type> &results) {
  Inference<DocumentBoundsOp> infer{location};
  if (failed(infer.requireScores(adaptor.getCu())) || failed(infer.require(adaptor.getAttributes(), {"seq_len"})))
    return failure();
  int64_t length = adaptor.getSeqLen();
  if (length <= 0 || length > INT32_MAX) // document_bounds_c1
    return infer.fail("`seq_len` must be in [1, 2147483647], but got ", length);
  Value cu = adaptor.getCu();
  if (bool(cu) != adaptor.getDocuments().empty()) // document_bounds_c3
    return infer.fail("needs either `cu` or `documents`, but got ", cu ? "both" : "neither");
  if (cu && (getTensor(cu).getDimSize(0) != 1 || getTensor(cu).getDimSize(1) != 1)) // document_bounds_c2
    return infer.fail("`cu` must be [1, 1, C], one list for all batches and heads, but got ", cu.getType());
  if (failed(checkDocuments(infer, length, adaptor.getDocuments()))) // document_bounds_c4
    return failure();
  results.push_back(RankedTensorType::get({1, 2, length}, IntegerType::get(context, 32)));
  return success();
}

//===----------------------------------------------------------------------===//
// AttendOp
//===----------------------------------------------------------------------===//

static LogicalResult checkMasks(Inference<AttendOp> infer, AttendOp::Adaptor adaptor) {
  int64_t window = adaptor.getWindow(), sinks = adaptor.getSinks();
  if (window < 0 || sinks < 0) // attend_c3
    return infer.fail("`window` and `sinks` must not be negative, but got ", window, " and ", sinks);
  if (sinks > 0 && window == 0) // attend_c3
    return infer.fail("`sinks` ", sinks, " needs a `window`");
  if (window > 0 && !adaptor.getCausal()) // attend_c3
    return infer.fail("`window` ", window, " needs `causal = true`");
  if (adaptor.getSoftcap().isNegative()) // attend_c4
    return infer.fail("`softcap` must not be negative, but got ", adaptor.getSoftcap().convertToDouble());
  int64_t keyWindow = adaptor.getKeyWindow(), keyStride = adaptor.getKeyStride();
  if (keyWindow <= 0 || keyStride <= 0) // attend_c5
    return infer.fail("`key_window` and `key_stride` must be positive, but got ", keyWindow, " and ", keyStride);
  if ((keyWindow > 1 || keyStride > 1) && (window > 0 || getMaskOfRank(adaptor, 4))) // attend_c5
    return infer.fail("pooled keys allow neither `window` nor `blocks`");
  return success();
}

static LogicalResult checkBlocks(Inference<AttendOp> infer, AttendOp::Adaptor adaptor) {
  if (!getMaskOfRank(adaptor, 4))
    return success();
  RankedTensorType q = getTensor(adaptor.getQ()), k = getTensor(adaptor.getK());
  RankedTensorType blocks = getTensor(getMaskOfRank(adaptor, 4));
  int64_t queryBlock = adaptor.getQueryBlock(), keyBlock = adaptor.getKeyBlock();
  if (queryBlock <= 0 || keyBlock <= 0) // attend_c6
    return infer.fail("`query_block` and `key_block` must be positive, but got ", queryBlock, " and ", keyBlock);
  int64_t rows = llvm::divideCeil(q.getDimSize(2), queryBlock), limit = llvm::divideCeil(k.getDimSize(2), keyBlock);
  bool headsFit = q.getDimSize(1) % blocks.getDimSize(1) == 0 && blocks.getDimSize(1) % k.getDimSize(1) == 0;
  if (blocks.getDimSize(0) != q.getDimSize(0) || !headsFit || blocks.getDimSize(2) != rows ||
      blocks.getDimSize(3) > limit) // attend_c6
    return infer.fail("`blocks` must have the batch of q, a divisor of its heads that is a multiple of the key heads, ",
                      rows, " rows and at most ", limit, " entries, but got ", blocks);
  Value starts = splitMasks(adaptor.getMasks(), adaptor.getQ()).starts;
  return checkStarts(infer, starts, adaptor.getK(), keyBlock); // attend_c9
}

static LogicalResult checkBounds(Inference<AttendOp> infer, AttendOp::Adaptor adaptor) {
  Value documents = getMaskOfRank(adaptor, 3);
  if (!documents)
    return success();
  int64_t queries = getTensor(adaptor.getQ()).getDimSize(2), keys = getTensor(adaptor.getK()).getDimSize(2);
  int64_t keyWindow = adaptor.getKeyWindow(), keyStride = adaptor.getKeyStride();
  bool pooled = keyWindow > 1 || keyStride > 1;
  if (!pooled && queries != keys) // attend_c7
    return infer.fail("`documents` needs as many queries as keys, but there are ", queries, " and ", keys);
  if (pooled && !adaptor.getCausal()) // attend_c7
    return infer.fail(
        "`documents` beside pooled keys needs `causal = true`, for which the last token of a key decides");
  if (pooled && keys - 1 > (queries - 1) / keyStride) // attend_c7
    return infer.fail("`documents` needs pooled keys that begin at one of the ", queries, " queries, but ", keys,
                      " of them with `key_stride` ", keyStride, " go beyond");
  if (getTensor(documents).getShape() != ArrayRef<int64_t>{1, 2, queries}) // attend_c7
    return infer.fail("`documents` must be [1, 2, ", queries, "], but got ", documents.getType());
  if (adaptor.getSinks() > 0) // attend_c7
    return infer.fail("`documents` allows no `sinks`, but there are ", int64_t(adaptor.getSinks()));
  return success();
}

LogicalResult AttendOp::inferReturnTypes(MLIRContext *context, std::optional<Location> location, Adaptor adaptor,
                                         SmallVectorImpl<Type> &results) {
  Inference<AttendOp> infer{location};
  if (failed(infer.requireRows({adaptor.getQ(), adaptor.getK(), adaptor.getV()})) ||
      failed(infer.requireRowsOrScores(adaptor.getMasks())))
    return failure();
  ValueRange masks = adaptor.getMasks();
  if (masks.size() > 2 || (masks.size() == 2 && getTensor(masks[0]).getRank() != 4)) // attend_c8
    return infer.fail("takes one list of `blocks` and behind it one of `documents` or `starts`, but got ", masks.size(),
                      " masks");
  RankedTensorType q = getTensor(adaptor.getQ()), k = getTensor(adaptor.getK()), v = getTensor(adaptor.getV());
  if (q.getDimSize(0) != k.getDimSize(0) || q.getDimSize(3) != k.getDimSize(3) ||
      k.getShape().drop_back() != v.getShape().drop_back() || q.getElementType() != k.getElementType() ||
      q.getElementType() != v.getElementType()) // attend_c1
    return infer.fail("q, k and v do not fit: got ", q, ", ", k, " and ", v);
  if (q.getDimSize(1) % k.getDimSize(1)) // attend_c2
    return infer.fail("the ", q.getDimSize(1), " query heads must be a multiple of the ", k.getDimSize(1),
                      " key heads");
  if (failed(checkMasks(infer, adaptor)) || failed(checkBlocks(infer, adaptor)) || failed(checkBounds(infer, adaptor)))
    return failure();
  SmallVector<int64_t> shape(q.getShape());
  results.push_back(RankedTensorType::get({shape[0], shape[1], shape[2], v.getDimSize(3)}, q.getElementType()));
  results.push_back(RankedTensorType::get({shape[0], shape[1], shape[2]}, Float32Type::get(context)));
  return success();
}

double AttendOp::getScaleOrDefault() { return resolveScale(getScale(), getQ()); }

//===----------------------------------------------------------------------===//
// MergeOp and GateOp
//===----------------------------------------------------------------------===//

LogicalResult MergeOp::inferReturnTypes(MLIRContext *, std::optional<Location> location, Adaptor adaptor,
                                        SmallVectorImpl<Type> &results) {
  Inference<MergeOp> infer{location};
  if (failed(infer.requireRows(adaptor.getOuts())) || failed(infer.requireScores(adaptor.getLses())))
    return failure();
  ValueRange outs = adaptor.getOuts(), lses = adaptor.getLses();
  if (outs.empty() || outs.size() != lses.size()) // merge_c1
    return infer.fail("needs as many outputs as LSEs, and at least one, but got ", outs.size(), " and ", lses.size());
  RankedTensorType out = getTensor(outs[0]), lse = getTensor(lses[0]);
  for (auto [o, l] : llvm::zip(outs, lses)) // merge_c2
    if (o.getType() != out || getTensor(l).getShape() != out.getShape().drop_back())
      return infer.fail("all parts must be alike, but got ", o.getType(), " with LSE ", l.getType(), " beside ", out);
  results.append({out, lse});
  return success();
}

LogicalResult MergeOp::fold(FoldAdaptor, SmallVectorImpl<OpFoldResult> &results) {
  // One part is its own merge.
  if (getOuts().size() != 1)
    return failure();
  results.append({getOuts()[0], getLses()[0]});
  return success();
}

LogicalResult GateOp::inferReturnTypes(MLIRContext *, std::optional<Location> location, Adaptor adaptor,
                                       SmallVectorImpl<Type> &results) {
  Inference<GateOp> infer{location};
  if (failed(infer.requireRows(adaptor.getBranches())) || failed(infer.requireRows(adaptor.getGates())))
    return failure();
  ValueRange branches = adaptor.getBranches();
  if (branches.empty() || !llvm::all_equal(branches.getTypes())) // gate_c1
    return infer.fail("needs at least one branch, all of one type");
  RankedTensorType x = getTensor(branches[0]), gates = getTensor(adaptor.getGates());
  SmallVector<int64_t> expected(x.getShape());
  expected[3] = branches.size();
  if (gates.getShape() != ArrayRef(expected)) // gate_c2
    return infer.fail("`gates` must be [", expected[0], ", ", expected[1], ", ", expected[2], ", ", expected[3],
                      "], but got ", gates);
  results.push_back(x);
  return success();
}
