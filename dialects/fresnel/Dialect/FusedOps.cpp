//===- FusedOps.cpp - Shapes and checks of fused operations ---------------===//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//

#include "fresnel/Dialect/CascadeShape.h"
#include "fresnel/Dialect/Infer.h"

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

/// Checks rows beside a slot map of the pyramid that the attributes describe.
template <typename Op>
static LogicalResult checkSlots(Inference<Op> infer, typename Op::Adaptor adaptor, RankedTensorType rows,
                                int64_t length) {
  RankedTensorType slots = getTensor(adaptor.getSlots());
  // scatter_by_slots_c1, gather_grad_by_slots_c1, scatter_grad_by_slots_c1, gather_grad_tiles_c3
  if (!sharesHeads(rows, slots))
    return infer.fail("the rows and `slots` must agree in batch, and the heads of the rows be a multiple of those of "
                      "`slots`, but got ",
                      rows, " and ", slots);
  int64_t levels = adaptor.getLevels(), factor = adaptor.getFactor();
  // scatter_by_slots_c2, gather_grad_by_slots_c2, scatter_grad_by_slots_c2, gather_grad_tiles_c4
  if (failed(checkPyramid(infer, length, levels, factor)))
    return failure();
  // scatter_by_slots_c4, gather_grad_by_slots_c5, scatter_grad_by_slots_c5, gather_grad_tiles_c7
  if (failed(checkDocuments(infer, length, adaptor.getDocuments())))
    return failure();
  PyramidShape shape(length, levels, factor, adaptor.getDocuments());
  // scatter_by_slots_c3, gather_grad_by_slots_c3, scatter_grad_by_slots_c3, gather_grad_tiles_c5
  if (int64_t entries = shape.length; slots.getDimSize(2) != entries)
    return infer.fail("a pyramid of ", length, " tokens with `levels` ", levels, " and `factor` ", factor, " has ",
                      entries, " entries, but `slots` has ", slots.getDimSize(2));
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

//===----------------------------------------------------------------------===//
// Gradients of attention in one pass
//===----------------------------------------------------------------------===//

/// Rows of the stats and tiles are padded to this.
constexpr int64_t kStatsStep = 128;
constexpr int64_t kTileRows = 64;

LogicalResult BoundKeysOp::inferReturnTypes(MLIRContext *context, std::optional<Location> location, Adaptor adaptor,
                                            SmallVectorImpl<Type> &results) {
  Inference<BoundKeysOp> infer{location};
  if (failed(infer.requireRows({adaptor.getK(), adaptor.getV()})))
    return failure();
  RankedTensorType k = getTensor(adaptor.getK()), v = getTensor(adaptor.getV());
  if (k.getShape().drop_back() != v.getShape().drop_back() || k.getElementType() != v.getElementType()) // bound_keys_c1
    return infer.fail("k and v must agree in all but the head dim, but are ", k, " and ", v);
  int64_t chunks = llvm::divideCeil(k.getDimSize(2), kStatsStep);
  results.push_back(RankedTensorType::get({k.getDimSize(0), k.getDimSize(1), 2, chunks}, Float32Type::get(context)));
  return success();
}

/// The first of the tensors that has this rank, or null.
static Value findOfRank(ValueRange values, int64_t rank) {
  auto hasRank = [&](Value value) {
    auto tensor = dyn_cast<RankedTensorType>(value.getType());
    return tensor && tensor.getRank() == rank;
  };
  auto found = llvm::find_if(values, hasRank);
  return found == values.end() ? Value() : *found;
}

TypedValue<RankedTensorType> AttendStatsOp::getDlse() {
  return cast_if_present<TypedValue<RankedTensorType>>(findOfRank(getMore(), 3));
}
TypedValue<RankedTensorType> AttendStatsOp::getBounds() {
  return cast_if_present<TypedValue<RankedTensorType>>(findOfRank(getMore(), 4));
}

LogicalResult AttendStatsOp::inferReturnTypes(MLIRContext *context, std::optional<Location> location, Adaptor adaptor,
                                              SmallVectorImpl<Type> &results) {
  Inference<AttendStatsOp> infer{location};
  ValueRange more = adaptor.getMore();
  Value dlse = findOfRank(more, 3), bounds = findOfRank(more, 4);
  if (more.size() != size_t(bool(dlse)) + size_t(bool(bounds))) // attend_stats_c3
    return infer.fail("`more` may have one LSE's gradient and bounds, but has ", more.size(),
                      " tensors, the first of type ", more[0].getType());
  if (failed(infer.requireRows({adaptor.getOut(), adaptor.getDout()})) ||
      failed(infer.requireScores({adaptor.getLse(), dlse})))
    return failure();
  RankedTensorType out = getTensor(adaptor.getOut());
  auto fits = [&](Value scores) { return getTensor(scores).getShape() == out.getShape().drop_back(); };
  if (adaptor.getDout().getType() != out || !fits(adaptor.getLse()) || (dlse && !fits(dlse))) // attend_stats_c1
    return infer.fail("`dout` must have the type of `out`, ", out,
                      ", and `lse` and `dlse` its shape without the head "
                      "dim");
  int64_t padded = llvm::alignTo(out.getDimSize(2), kStatsStep), rows = 2;
  if (bounds) {
    RankedTensorType type = getTensor(bounds);
    if (type.getDimSize(2) != 2 || !sharesHeads(out, type)) // attend_stats_c2
      return infer.fail("`bounds` must be what `fresnel.bound_keys` gives for ", out, ", but got ", type);
    rows = 3;
  }
  results.push_back(
      RankedTensorType::get({out.getDimSize(0), out.getDimSize(1), rows, padded}, Float32Type::get(context)));
  return success();
}

/// What the attributes say of a branch; C4 holds.
static GateDeltaOp::Form getGateForm(ArrayRef<int64_t> deltas, ArrayRef<int64_t> stats, int64_t branch) {
  if (llvm::is_contained(deltas, branch))
    return GateDeltaOp::Form::Delta;
  return llvm::is_contained(stats, branch) ? GateDeltaOp::Form::Stats : GateDeltaOp::Form::Gradient;
}

GateDeltaOp::Form GateDeltaOp::getForm(unsigned branch) { return getGateForm(getDeltas(), getStats(), branch); }

LogicalResult GateDeltaOp::inferReturnTypes(MLIRContext *context, std::optional<Location> location, Adaptor adaptor,
                                            SmallVectorImpl<Type> &results) {
  Inference<GateDeltaOp> infer{location};
  if (failed(infer.requireRows({adaptor.getGates(), adaptor.getDy()})) ||
      failed(infer.requireRowsOrScores(adaptor.getParts())))
    return failure();
  ValueRange parts = adaptor.getParts();
  int64_t count = getTensor(adaptor.getGates()).getDimSize(3);
  if (int64_t(parts.size()) < count) // gate_delta_c1
    return infer.fail("needs a branch for each of the ", count, " columns of `gates`, but has ", parts.size(),
                      " tensors");
  SmallVector<Value> operands(parts.take_front(count));
  operands.push_back(adaptor.getGates());
  SmallVector<Type> forward;
  if (failed(GateOp::inferReturnTypes(context, location, GateOp::Adaptor(operands, adaptor.getAttributes()),
                                      forward))) // gate_delta_c1
    return failure();
  auto branch = cast<RankedTensorType>(forward[0]);
  if (adaptor.getDy().getType() != branch) // gate_delta_c2
    return infer.fail("dy must have the branches' type ", branch, ", but got ", adaptor.getDy().getType());
  if (adaptor.getActivation() != Activation::Sigmoid) // gate_delta_c3
    return infer.fail("needs an `activation` that is positive everywhere, sigmoid, but got ",
                      stringifyActivation(adaptor.getActivation()));
  ArrayRef<int64_t> deltas = adaptor.getDeltas(), stats = adaptor.getStats();
  for (ArrayRef<int64_t> named : {deltas, stats})
    for (auto [place, index] : llvm::enumerate(named)) // gate_delta_c4
      if (index < 0 || index >= count || (place > 0 && index <= named[place - 1]))
        return infer.fail("`deltas` and `stats` must name branches from 0 to ", count - 1,
                          " in ascending order, but got ", index, " at place ", place);
  for (int64_t index : deltas) // gate_delta_c4
    if (llvm::is_contained(stats, index))
      return infer.fail("`deltas` and `stats` must not both name branch ", index);
  Type f32 = Float32Type::get(context);
  auto scores = RankedTensorType::get(branch.getShape().drop_back(), f32);
  ValueRange lses = parts.drop_front(count);
  auto isLse = [&](Type type) { return type == scores; };
  if (lses.size() != deltas.size() + stats.size() || !llvm::all_of(lses.getTypes(), isLse)) // gate_delta_c5
    return infer.fail("needs an LSE ", scores, " for each of the ", deltas.size() + stats.size(),
                      " branches that `deltas` or `stats` names, but has behind the branches ", lses.getTypes());
  int64_t padded = llvm::alignTo(branch.getDimSize(2), kStatsStep);
  auto rows = RankedTensorType::get({branch.getDimSize(0), branch.getDimSize(1), 2, padded}, f32);
  results.push_back(adaptor.getGates().getType());
  for (int64_t i = 0; i < count; ++i) {
    GateDeltaOp::Form form = getGateForm(deltas, stats, i);
    if (form == GateDeltaOp::Form::Delta)
      results.append(2, scores);
    else
      results.push_back(form == GateDeltaOp::Form::Stats ? rows : branch);
  }
  return success();
}

LogicalResult AttendGradOp::inferReturnTypes(MLIRContext *context, std::optional<Location> location, Adaptor adaptor,
                                             SmallVectorImpl<Type> &results) {
  Inference<AttendGradOp> infer{location};
  ValueRange mask = adaptor.getMask();
  auto hasRank = [](Value value, int64_t rank) { return getTensor(value).getRank() == rank; };
  bool hasLists = mask.size() == 2 && hasRank(mask[0], 4) && hasRank(mask[1], 4);
  if (!mask.empty() && !hasLists && !(mask.size() == 1 && hasRank(mask[0], 3))) // attend_grad_c3
    return infer.fail("`mask` must be bounds of documents, or a list and its transpose, but there are ", mask.size(),
                      " tensors, the first of type ", mask[0].getType());
  SmallVector<Value> operands{adaptor.getQ(), adaptor.getK(), adaptor.getV()};
  if (!mask.empty())
    operands.push_back(mask[0]);
  SmallVector<Type> forward;
  // attend_grad_c1
  if (failed(
          AttendOp::inferReturnTypes(context, location, AttendOp::Adaptor(operands, adaptor.getAttributes()), forward)))
    return failure();
  if (hasLists) {
    RankedTensorType list = getTensor(mask[0]), transposed = getTensor(mask[1]);
    int64_t blocks = llvm::divideCeil(getTensor(adaptor.getK()).getDimSize(2), int64_t(adaptor.getKeyBlock()));
    auto expected = RankedTensorType::get(
        {list.getDimSize(0), list.getDimSize(1), blocks, int64_t(llvm::divideCeil(list.getDimSize(2), 32))},
        list.getElementType());
    if (transposed != expected) // attend_grad_c3
      return infer.fail("the transpose of the list must be ", expected, ", but got ", transposed);
  }
  RankedTensorType q = getTensor(adaptor.getQ());
  if (q.getDimSize(3) % 8) // attend_grad_c1
    return infer.fail("the head dim of q must be a multiple of 8, but is ", q.getDimSize(3));
  int64_t padded = llvm::alignTo(q.getDimSize(2), kStatsStep);
  Type f32 = Float32Type::get(context);
  RankedTensorType stats = RankedTensorType::get({q.getDimSize(0), q.getDimSize(1), 2, padded}, f32);
  bool integers = adaptor.getStats().getType() == withLength(stats, 3);
  if (adaptor.getDout().getType() != forward[0] ||
      (adaptor.getStats().getType() != stats && !integers)) // attend_grad_c2
    return infer.fail("`stats` must be ", stats, ", or with a third row, and `dout` ", forward[0], ", but got ",
                      adaptor.getStats().getType(), " and ", adaptor.getDout().getType());
  results.push_back(
      RankedTensorType::get({q.getDimSize(0), q.getDimSize(1), padded / kTileRows, kTileRows * q.getDimSize(3)},
                            integers ? Type(IntegerType::get(context, 32)) : f32));
  results.append({adaptor.getK().getType(), adaptor.getV().getType()});
  return success();
}

double AttendGradOp::getScaleOrDefault() { return resolveScale(getScale(), getQ()); }

TypedValue<RankedTensorType> AttendGradOp::getBlocks() {
  return getMask().size() == 2 ? cast<TypedValue<RankedTensorType>>(getMask()[0]) : TypedValue<RankedTensorType>();
}

TypedValue<RankedTensorType> AttendGradOp::getTransposed() {
  return getMask().size() == 2 ? cast<TypedValue<RankedTensorType>>(getMask()[1]) : TypedValue<RankedTensorType>();
}

TypedValue<RankedTensorType> AttendGradOp::getDocuments() {
  return getMask().size() == 1 ? cast<TypedValue<RankedTensorType>>(getMask()[0]) : TypedValue<RankedTensorType>();
}

RankedTensorType RoundTilesOp::getStatsType(RankedTensorType tiles) {
  return RankedTensorType::get({tiles.getDimSize(0), tiles.getDimSize(1), 2, tiles.getDimSize(2) * kTileRows},
                               Float32Type::get(tiles.getContext()));
}

TypedValue<RankedTensorType> RoundTilesOp::getStats() {
  bool first = !getMore().empty() && getMore().front().getType() == getStatsType(getTiles().getType());
  return first ? cast<TypedValue<RankedTensorType>>(getMore().front()) : TypedValue<RankedTensorType>();
}

TypedValue<RankedTensorType> RoundTilesOp::getAddend() {
  bool last = getMore().size() > size_t(getStats() ? 1 : 0);
  return last ? cast<TypedValue<RankedTensorType>>(getMore().back()) : TypedValue<RankedTensorType>();
}

/// What tiles are rounded to, or null.
static Type findElement(DictionaryAttr attributes) {
  auto type = attributes.getAs<TypeAttr>("element");
  bool fits = type && (type.getValue().isBF16() || type.getValue().isF16() || type.getValue().isF32());
  return fits ? type.getValue() : Type();
}

LogicalResult RoundTilesOp::inferReturnTypes(MLIRContext *, std::optional<Location> location, Adaptor adaptor,
                                             SmallVectorImpl<Type> &results) {
  Inference<RoundTilesOp> infer{location};
  if (failed(infer.require(adaptor.getAttributes(), {"seq_len", "head_dim"})))
    return failure();
  Type element = findElement(adaptor.getAttributes());
  if (!element) // round_tiles_c2
    return infer.fail("needs the attribute `element`: bf16, f16 or f32");
  // Accessors count on every mandatory attribute, whichever they read.
  if (!adaptor.getAttributes().getAs<FloatAttr>("scale"))
    return infer.fail("needs the attribute `scale`, a 64-bit float");
  auto tiles = dyn_cast<RankedTensorType>(adaptor.getTiles().getType());
  int64_t length = adaptor.getSeqLen(), columns = adaptor.getHeadDim();
  if (!tiles || tiles.getRank() != 4 || length <= 0 || columns <= 0 || columns % 8 ||
      tiles.getDimSize(2) * kTileRows != int64_t(llvm::alignTo(length, kStatsStep)) ||
      tiles.getDimSize(3) != kTileRows * columns) // round_tiles_c1
    return infer.fail("`seq_len` ", length, " and `head_dim` ", columns, " do not fit tiles of type ",
                      adaptor.getTiles().getType());
  auto rows = RankedTensorType::get({tiles.getDimSize(0), tiles.getDimSize(1), length, columns}, element);
  RankedTensorType stats = getStatsType(tiles);
  SmallVector<Type> more(adaptor.getMore().getTypes());
  bool one = more.size() == 1 && (more[0] == stats || more[0] == rows);
  bool both = more.size() == 2 && more[0] == stats && more[1] == rows;
  if (!more.empty() && !one && !both) // round_tiles_c3
    return infer.fail("`more` must be stats of type ", stats, ", an addend of type ", rows,
                      ", or both in this order, but has ", more.size(), ", the last of type ", more.back());
  results.push_back(rows);
  return success();
}

LogicalResult GatherGradTilesOp::inferReturnTypes(MLIRContext *, std::optional<Location> location, Adaptor adaptor,
                                                  SmallVectorImpl<Type> &results) {
  Inference<GatherGradTilesOp> infer{location};
  if (failed(infer.requireScores(adaptor.getSlots())))
    return failure();
  if (failed(infer.require(adaptor.getAttributes(), {"heads", "seq_len", "levels", "factor"})))
    return failure();
  Type element = findElement(adaptor.getAttributes());
  if (!element) // gather_grad_tiles_c2
    return infer.fail("needs the attribute `element`: bf16, f16 or f32");
  auto tiles = dyn_cast<RankedTensorType>(adaptor.getTiles().getType());
  if (!tiles || tiles.getRank() != 4 || tiles.getDimSize(2) % (kStatsStep / kTileRows) ||
      tiles.getDimSize(3) % (8 * kTileRows)) // gather_grad_tiles_c1
    return infer.fail("`tiles` must be an even number of tiles of a multiple of ", 8 * kTileRows, " elements, but got ",
                      adaptor.getTiles().getType());
  if (failed(checkSlots(infer, adaptor, tiles, adaptor.getSeqLen())))
    return failure();
  int64_t heads = adaptor.getHeads();
  if (heads <= 0 || tiles.getDimSize(1) % heads) // gather_grad_tiles_c6
    return infer.fail("`heads` must be positive and divide the ", tiles.getDimSize(1), " heads of `tiles`, but got ",
                      heads);
  results.push_back(RankedTensorType::get(
      {tiles.getDimSize(0), heads, int64_t(adaptor.getSeqLen()), tiles.getDimSize(3) / kTileRows}, element));
  return success();
}

LogicalResult SettleTilesOp::inferReturnTypes(MLIRContext *context, std::optional<Location> location, Adaptor adaptor,
                                              SmallVectorImpl<Type> &results) {
  Inference<SettleTilesOp> infer{location};
  SmallVector<Value> operands{adaptor.getQ(), adaptor.getK(), adaptor.getV(), adaptor.getStats(), adaptor.getDout()};
  SmallVector<Type> gradients;
  // settle_tiles_c1
  if (failed(AttendGradOp::inferReturnTypes(context, location, AttendGradOp::Adaptor(operands, adaptor.getAttributes()),
                                            gradients)))
    return failure();
  auto expected = cast<RankedTensorType>(gradients[0]);
  if (!expected.getElementType().isInteger(32) || adaptor.getTiles().getType() != expected) // settle_tiles_c1
    return infer.fail("`stats` must have three rows, and `tiles` be the integers of `fresnel.attend_grad`, ",
                      expected.clone(IntegerType::get(context, 32)), ", but got ", adaptor.getTiles().getType());
  results.push_back(adaptor.getQ().getType());
  return success();
}

double SettleTilesOp::getScaleOrDefault() { return resolveScale(getScale(), getQ()); }
