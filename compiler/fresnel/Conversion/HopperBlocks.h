//===- HopperBlocks.h - Block lists in kernels of the hopper family -*- C++ -*-===//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
//
// A tile of queries visits the union of its rows' lists, from the last block to the
// first, several in a step where blocks are smaller than `tile_n`,
// several steps a block where they are larger: those that cross the diagonal or
// the end of the keys come first, so that only the first steps need a mask. Where keys in
// front of a block's start are hidden, steps ascend from the one in which it lies.
//
//===----------------------------------------------------------------------===//
#ifndef FRESNEL_CONVERSION_HOPPERBLOCKS_H
#define FRESNEL_CONVERSION_HOPPERBLOCKS_H

#include "fresnel/Conversion/AttendMath.h"
#include "fresnel/Conversion/BlockLists.h"

namespace fresnel {

class HopperBlocks {
public:
  HopperBlocks(KernelBuilder &builder, const AttendShape &shape, ScheduleAttr schedule, const BlockTiles &rows);

  /// Rows of the boxes in which keys and values arrive.
  int64_t getBoxRows() const { return std::min(tileN, shape.keyBlock); }
  int64_t getBoxes() const { return tileN / getBoxRows(); }

  /// Where blocks start, before the lists are read.
  void setStarts(Val tensor) { starts = tensor; }
  /// Reads the list rows of the tile of queries at `firstRow`, which stands at
  /// `position`, and those of its documents if there are any; all threads of the block together. Ends with a barrier.
  void read(Val lists, Val batch, Val head, Val firstRow, Val position, const DocumentEdges *documents = nullptr);

  /// Steps that are visited, at least one, and how many of the first need a mask, at
  /// least one: a tile without blocks visits keys that do not exist.
  Val steps, masked;
  /// Whether only the first step can need a mask.
  bool hasOneMaskedStep() const;
  /// Whether every step needs one, as keys may be hidden on the left, too.
  bool masksEveryStep() const { return shape.window > 0 || shape.documents; }

  /// The first key of a box of a step.
  Val getStart(Val step, int64_t box);
  /// Starts the copies of a step's keys, or their values, to the tile `target`.
  void load(Val map, Val batch, Val head, Val step, Val target, Val barriers, Val slot);
  /// The keys of a step's columns; `type` is an accumulator of i32.
  Val getKeys(mlir::Type type, Val step);
  /// Which of such keys are not in front of the start of their block; null where none is.
  Val isBehindStart(Val keys);

  /// Whether a tile has more than one list row: then not all rows see all that is visited.
  bool hasSeveralRows() const { return rows.listRows > 1; }
  /// Which of `tokens`, counted from the tile's first, list the block of a box of a step.
  Val getListed(Val tokens, Val step, int64_t box = 0);
  /// For each column of a step of several boxes, a fragment of `type`: `listed` where the block of its box is
  /// listed by the row, else `otherwise`, both values of rows.
  Val chooseListed(mlir::Type type, Val tokens, Val step, Val listed, Val otherwise);

private:
  /// Leaves out the steps in front of the start of the tile's block.
  void skipHidden(int64_t perBlock);
  /// The block of a box of a step.
  Val getBlock(Val step, int64_t box);

  KernelBuilder &b;
  const AttendShape &shape;
  int64_t tileN;
  BlockTiles rows;
  BlockSet set;
  Val firstRow, firstListRow;
  /// Entries that are walked: the blocks, and those that stand for none, in whole steps.
  Val entries;
  /// The starts of all blocks, and of the tile's block, which has steps in front of it.
  Val starts, start, skipped;
};

} // namespace fresnel

#endif // FRESNEL_CONVERSION_HOPPERBLOCKS_H
