//===- FusedGradientOps.cpp - Shapes and checks of gradients in one pass --===//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//

#include "fresnel/Dialect/Slots.h"

using namespace mlir;
using namespace fresnel;

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
