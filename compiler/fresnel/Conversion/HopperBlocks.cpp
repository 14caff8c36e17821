//===- HopperBlocks.cpp - Block lists in kernels of the hopper family -----===//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//

#include "fresnel/Conversion/HopperBlocks.h"

using namespace mlir;
using namespace fresnel;

HopperBlocks::HopperBlocks(KernelBuilder &builder, const AttendShape &shape, ScheduleAttr schedule,
                           const BlockTiles &rows)
    : b(builder), shape(shape), tileN(schedule.getTileN()), rows(rows), set(builder, rows.set) {}

void HopperBlocks::read(Val lists, Val batch, Val head, Val row, Val position, const DocumentEdges *documents) {
  firstRow = row;
  firstListRow = divideBy(row, shape.queryBlock);
  int64_t size = shape.keyBlock, blocks = shape.getKeyBlocks(), boxes = getBoxes();
  // Blocks that no query of the tile can see are not visited.
  auto keep = [&](Val block) {
    Val start = block * double(size);
    Val wanted = shape.causal ? start < position + double(rows.tokens) : start < double(shape.keys);
    if (documents)
      wanted = wanted & (start < documents->lastEnd) & (start + double(size) > documents->firstStart);
    if (shape.window > 0) {
      Val recent = start + double(size - 1 + shape.window) > position;
      wanted = wanted & (shape.sinks > 0 ? recent | (start < double(shape.sinks)) : recent);
    }
    return wanted;
  };
  function_ref<Val(Val)> filter = keep;
  bool hides = shape.causal || documents;
  set.mark(lists, batch, head, firstListRow, b.i32(0), blocks, hides ? filter : function_ref<Val(Val)>());
  Val count = set.collect(b.i32(0), blocks);
  Val whole = b.max(divideBy(count + double(boxes - 1), boxes), b.i32(1));
  entries = whole * double(boxes);

  // From this block on keys may be hidden from the tile's first query.
  Val plain = shape.causal ? b.min(countKeysUpTo(shape, position), b.i32(shape.keys)) : b.i32(shape.keys);
  plain = divideBy(plain, size);
  Val partial = b.whileLoop(
      {b.i32(0)},
      [&](ArrayRef<Val> state) {
        Val last = b.max(count - 1.0 - state[0], b.i32(0));
        return (state[0] < count) & (set.getEntry(last) >= plain);
      },
      [&](ArrayRef<Val> state) { return SmallVector<Val>{state[0] + 1.0}; })[0];
  int64_t perBlock = std::max<int64_t>(1, size / tileN);
  Val none = count == 0.0;
  steps = b.select(none, b.i32(1), whole * double(perBlock));
  if (starts)
    skipHidden(perBlock);
  masked = divideBy(entries - count + partial + double(boxes - 1), boxes) * double(perBlock);
  masked = masksEveryStep() ? steps : b.max(b.min(masked, steps), b.i32(1));
}

/// Whatever the starts hold, no step is taken that has no keys.
void HopperBlocks::skipHidden(int64_t perBlock) {
  Val zero = b.i32(0), block = b.min(set.getEntry(entries - 1.0), b.i32(shape.getKeyBlocks() - 1));
  start = b.load(starts, {zero, zero, block, zero});
  Val hidden = b.max(start - block * double(shape.keyBlock), zero);
  skipped = b.min(divideBy(hidden, tileN), b.i32(perBlock - 1));
  steps = b.max(steps - skipped, b.i32(1));
}

bool HopperBlocks::hasOneMaskedStep() const {
  bool wholeEnd = shape.keys % shape.keyBlock == 0 || shape.keyBlock <= tileN;
  return !shape.causal && !masksEveryStep() && wholeEnd;
}

Val HopperBlocks::getBlock(Val step, int64_t box) {
  int64_t perBlock = std::max<int64_t>(1, shape.keyBlock / tileN);
  return set.getEntry(entries - 1.0 - (divideBy(step, perBlock) * double(getBoxes()) + double(box)));
}

Val HopperBlocks::getStart(Val step, int64_t box) {
  int64_t perBlock = std::max<int64_t>(1, shape.keyBlock / tileN);
  Val start = getBlock(step, box) * double(shape.keyBlock);
  if (perBlock == 1)
    return start;
  Val inBlock = skipped ? skipped + step : double(perBlock - 1) - moduloBy(step, perBlock);
  return start + inBlock * double(tileN);
}

void HopperBlocks::load(Val map, Val batch, Val head, Val step, Val target, Val barriers, Val slot) {
  for (int64_t box = 0; box < getBoxes(); ++box)
    tile::TmaLoadOp::create(b, Value(map), Value(batch), Value(head), Value(getStart(step, box)), Value(target),
                            Value(barriers), Value(slot), Value(b.i32(box * getBoxRows())), /*evict_last=*/true);
}

Val HopperBlocks::getListed(Val tokens, Val step, int64_t box) {
  Val row = divideBy(tokens + firstRow, shape.queryBlock) - firstListRow;
  return set.isMarked(row, getBlock(step, box), b.i32(0));
}

Val HopperBlocks::chooseListed(Type type, Val tokens, Val step, Val listed, Val otherwise) {
  auto choose = [&](int64_t box) {
    Val rows = b.select(getListed(tokens, step, box), listed, otherwise);
    return b.wrap(tile::BroadcastOp::create(b, type, Value(rows)));
  };
  Val chosen = choose(0);
  auto fragment = cast<RankedTensorType>(type);
  Val column = b.wrap(tile::ColIndexOp::create(b, fragment.clone(b.getI32Type()), Value(b.i32(0))));
  for (int64_t box = 1; box < getBoxes(); ++box)
    chosen = b.select(column >= double(box * getBoxRows()), choose(box), chosen);
  return chosen;
}

Val HopperBlocks::isBehindStart(Val keys) { return start ? keys >= start : Val(); }

Val HopperBlocks::getKeys(Type type, Val step) {
  Val keys = b.wrap(tile::ColIndexOp::create(b, type, Value(getStart(step, 0))));
  if (getBoxes() == 1)
    return keys;
  Val column = b.wrap(tile::ColIndexOp::create(b, type, Value(b.i32(0))));
  for (int64_t box = 1; box < getBoxes(); ++box) {
    int64_t first = box * getBoxRows();
    keys = b.select(column >= double(first), column + (getStart(step, box) - double(first)), keys);
  }
  return keys;
}
