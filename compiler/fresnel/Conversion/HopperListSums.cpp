//===- HopperListSums.cpp - Steps that sum dK and dV over block lists -----===//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//

#include "fresnel/Conversion/HopperListSums.h"
#include "fresnel/Conversion/BlockLists.h"
#include <cmath>

using namespace mlir;
using namespace fresnel;

SmallVector<Type> HopperListSums::getMappedTypes() {
  auto map = [&](int64_t rows, int64_t heads = 1) -> Type {
    return tile::TensorMapType::get(b.getContext(), rows, 64, shape.element, heads);
  };
  SmallVector<Type> types(request.views.begin(), request.views.end());
  types[kQ] = types[kDout] = map(steps.gathered ? shape.queryBlock : steps.tokens, steps.group);
  types[kK] = types[kV] = map(kGroupRows);
  types.end()[-1] = types.end()[-2] = map(kGroupRows);
  return types;
}

void HopperListSums::allocateTiles(int64_t keyRows, int64_t slots, int64_t lsesPerSlot) {
  owned = b.alloc({2, keyRows, shape.headDim}, shape.element, tile::Layout::Swizzled);
  keyTile = b.slice(owned, b.i32(0));
  valueTile = b.slice(owned, b.i32(1));
  queries = allocRing(slots, kRows, shape.headDim, shape.element);
  queries.stages = stages;
  douts = b.alloc({slots, kRows, shape.headDim}, shape.element, tile::Layout::Swizzled);
  lses = b.alloc({slots * lsesPerSlot, kRows}, b.getF32Type());
  deltas = b.alloc({slots, kRows}, b.getF32Type());
  tokens = steps.gathered ? b.alloc({slots, steps.rows}, b.getI32Type()) : b.alloc({slots}, b.getI32Type());
}

void HopperListSums::prefetchMaps() {
  for (Argument i : {kQ, kK, kV, kDout, kDk, kDv})
    tile::PrefetchMapOp::create(b, Value(argument(i)));
}

//===----------------------------------------------------------------------===//
// Producer
//===----------------------------------------------------------------------===//

void HopperListSums::load(Argument map, Val head, Val row, Val target, Val barriers, Val slot, Val tileRow) {
  tile::TmaLoadOp::create(b, Value(argument(map)), Value(batch), Value(head), Value(row), Value(target),
                          Value(barriers), Value(slot), Value(tileRow), /*evict_last=*/false, /*evict_first=*/false);
}

HopperListSums::RowValues HopperListSums::loadValues(Val row, Val head, Val token, int64_t blocks,
                                                     function_ref<Val(int64_t)> isListed) {
  Val inside = token < double(shape.queries), near = b.min(token, b.i32(shape.queries - 1));
  Val lse = b.load(argument(kLse), {batch, head, near}), delta = b.load(argument(kDelta), {batch, head, near});
  RowValues values{row, {}, b.select(inside, delta, b.f32(0))};
  for (int64_t block = 0; block < blocks; ++block) {
    Val open = inside & (lse > -INFINITY);
    if (Val listed = isListed(block))
      open = open & listed;
    values.lses.push_back(b.select(open, lse * M_LOG2E, b.f32(INFINITY)));
  }
  return values;
}

void HopperListSums::loadTiles(Val head, Val token, Val slot, Val tileRow) {
  load(kQ, head, token, b.slice(queries.tiles, slot), queries.full, slot, tileRow);
  load(kDout, head, token, b.slice(douts, slot), queries.full, slot, tileRow);
}

void HopperListSums::fillSlot(std::pair<Val, Val> place, ArrayRef<RowValues> values, function_ref<void(Val)> loadRows,
                              function_ref<Val(int64_t)> getLseRow) {
  Val slot = place.first;
  wait(queries.empty, slot, place.second ^ 1.0);
  b.ifThen(elected, [&] {
    expect(queries.full, slot, 2 * cast<tile::SharedType>(b.slice(queries.tiles, slot).getType()).getBytes());
    loadRows(slot);
  });
  Val deltaRow = b.slice(deltas, slot);
  for (const RowValues &value : values) {
    for (auto [block, lse] : llvm::enumerate(value.lses))
      b.store(lse, getLseRow(int64_t(block)), {value.row});
    b.store(value.delta, deltaRow, {value.row});
  }
  arrive(queries.full, slot, b.constant(b.getI1Type(), 1));
}

//===----------------------------------------------------------------------===//
// Consumers
//===----------------------------------------------------------------------===//

void HopperListSums::release(Val barriers, Val slot) { arrive(barriers, slot, b.constant(b.getI1Type(), 1)); }

/// This consumer's rows of K or V times a tile of a step.
Val HopperListSums::multiplyOwned(Val owned, Val tile) {
  return b.wrap(tile::WgmmaOp::create(b, math.getScoresType(), Value(owned), Value(groupRow), Value(tile), Value(),
                                      /*transposed=*/true));
}

Val HopperListSums::toLhs(Val weights) {
  Type lhs = tile::getLhsType(kGroupRows, kRows, shape.element);
  return b.wrap(tile::ToLhsOp::create(b, lhs, Value(weights)));
}

/// sum + lhs * tile.
Val HopperListSums::accumulate(Val sum, Val lhs, Val tile) {
  return b.wrap(tile::WgmmaOp::create(b, sum.getType(), Value(lhs), Value(), Value(tile), Value(sum), false));
}

Val HopperListSums::loadColumns(Val row) {
  return b.wrap(tile::LoadColsOp::create(b, math.getScoresType(), Value(row), ValueRange{b.i32(0)}, APFloat(0.0f)));
}

/// The pairs of owned keys and rows of a step that the mask opens, or null for all. What
/// keys beyond the last one sum is not stored.
Val HopperListSums::getVisible(Val slot) {
  if (!shape.causal && !shape.documents)
    return Val();
  Type index = tile::getAccType(kGroupRows, kRows, b.getI32Type());
  Val row = b.wrap(tile::ColIndexOp::create(b, index, Value(b.i32(0)))), first, local = moduloBy(row, steps.tokens);
  if (steps.gathered) {
    int64_t boxRows = kRows / steps.rows;
    first = b.wrap(tile::LookupOp::create(b, index, Value(b.slice(tokens, slot)), ValueRange(),
                                          Value(divideBy(row, boxRows)), b.getI32IntegerAttr(0)));
    local = moduloBy(row, shape.queryBlock);
  } else {
    first = b.load(tokens, {slot});
  }
  Val position = local + (first + double(shape.getOffset()));
  Val visible = isVisible(shape, b.wrap(tile::RowIndexOp::create(b, index, Value(firstKey))), position);
  return shape.documents ? visible & isInDocument(documents, position) : visible;
}

/// The weights of a step whose scores have been waited for.
AttendGradMath::Weights HopperListSums::weigh(Val slot, Val scores, bool masked) {
  Val lse = loadColumns(getOwnLseRow(slot)), visible = masked ? getVisible(slot) : Val();
  return math.weigh(scores, lse, visible);
}

SmallVector<Val> HopperListSums::iterate(bool keys, bool values, bool masked, Val i, ArrayRef<Val> sums) {
  auto [slot, parity] = getSlot(i);
  Val query = b.slice(queries.tiles, slot), dout = b.slice(douts, slot);
  wait(queries.full, slot, parity);
  Val scores = multiplyOwned(keyTile, query), dweights = keys ? multiplyOwned(valueTile, dout) : Val();
  AttendGradMath::Weights weights = weigh(slot, waitFor(scores, keys ? 1 : 0), masked);
  // At once where weights and their slopes differ: there are no registers for both.
  Val lhs = values && shape.softcap > 0 ? toLhs(weights.weights) : Val(), delta;
  if (keys) {
    delta = loadColumns(b.slice(deltas, slot));
    dweights = waitFor(dweights, 0);
  }
  SmallVector<Val> next(sums);
  if (values)
    next.back() = accumulate(sums.back(), lhs ? lhs : toLhs(weights.weights), dout);
  if (keys)
    next[0] = accumulate(sums[0], toLhs(math.differentiate(weights, dweights, delta)), query);
  for (size_t pending = next.size(); pending-- > 0;)
    next[pending] = waitFor(next[pending], next.size() > 1 ? int64_t(pending) : 0);
  release(queries.empty, slot);
  return next;
}

/// Starts the scores of a step.
Val HopperListSums::beginScores(Val i) {
  auto [slot, parity] = getSlot(i);
  wait(queries.full, slot, parity);
  return multiplyOwned(keyTile, b.slice(queries.tiles, slot));
}

/// Starts the gradients of the weights of a step whose scores have been waited for.
Val HopperListSums::beginWeights(Val i) { return multiplyOwned(valueTile, b.slice(douts, getSlot(i).first)); }

/// The left operands of the products that sum dK and dV.
SmallVector<Val> HopperListSums::finish(Val i, const AttendGradMath::Weights &weights, Val dweights) {
  Val left = toLhs(weights.weights), delta = loadColumns(b.slice(deltas, getSlot(i).first));
  return {toLhs(math.differentiate(weights, waitFor(dweights, 0), delta)), left};
}

/// dK and dV of a step from its left operands, under way.
SmallVector<Val> HopperListSums::beginSums(Val i, ArrayRef<Val> sums, ArrayRef<Val> left) {
  Val slot = getSlot(i).first, dv = accumulate(sums[1], left[1], b.slice(douts, slot));
  return {accumulate(sums[0], left[0], b.slice(queries.tiles, slot)), dv};
}

SmallVector<Val> HopperListSums::walkOverlapped(Val first, Val end, ArrayRef<Val> init) {
  Val last = end - 1.0;
  AttendGradMath::Weights weights = weigh(getSlot(first).first, waitFor(beginScores(first), 0), /*masked=*/false);
  SmallVector<Val> state(init);
  state.append(finish(first, weights, beginWeights(first)));
  state = b.forRange(first, last, b.i32(1), state, [&](Val i, ArrayRef<Val> carried) {
    Val next = i + 1.0, scores = beginScores(next);
    SmallVector<Val> sums = beginSums(i, carried.take_front(2), carried.drop_front(2));
    AttendGradMath::Weights weights = weigh(getSlot(next).first, waitFor(scores, 2), /*masked=*/false);
    SmallVector<Val> result{Val(), waitFor(sums[1], 1)};
    result[0] = waitFor(sums[0], 0);
    Val dweights = beginWeights(next);
    release(queries.empty, getSlot(i).first);
    result.append(finish(next, weights, dweights));
    return result;
  });
  SmallVector<Val> sums = beginSums(last, ArrayRef<Val>(state).take_front(2), ArrayRef<Val>(state).drop_front(2));
  return {waitFor(sums[0], 0), waitFor(sums[1], 0)};
}

Val HopperListSums::clearHidden(Val sum) {
  if (!shape.starts)
    return sum;
  Val zero = b.i32(0), block = b.min(divideBy(firstKey, shape.keyBlock), b.i32(shape.getKeyBlocks() - 1));
  Val start = b.load(argument(kDocuments), {zero, zero, block, zero});
  auto type = cast<RankedTensorType>(sum.getType());
  Val key = b.wrap(tile::RowIndexOp::create(b, type.clone(b.getI32Type()), Value(firstKey)));
  return b.select(key >= start, sum, b.constant(type, 0.0));
}

void HopperListSums::storeGradients(Val consumer, ArrayRef<Val> sums) {
  // In the places of the consumer's own keys and values, which nobody else reads.
  tile::StoreMatrixOp::create(b, Value(sums[1]), Value(valueTile), Value(groupRow));
  tile::StoreMatrixOp::create(b, Value(sums[0] * shape.scale), Value(keyTile), Value(groupRow));
  tile::FenceAsyncOp::create(b);
  meetOwn(consumer);
  b.ifThen(leader, [&] {
    for (auto [tile, map] : {std::pair(valueTile, kDv), std::pair(keyTile, kDk)})
      storeTile(tile, map);
    tile::TmaStoreWaitOp::create(b);
  });
}

void HopperListSums::storeTile(Val tile, Argument map) {
  tile::TmaStoreOp::create(b, Value(tile), Value(groupRow), Value(argument(map)), Value(batch), Value(kvHead),
                           Value(firstKey));
}

Val HopperListSums::getZero() { return b.constant(tile::getAccType(kGroupRows, shape.headDim, b.getF32Type()), 0.0); }
