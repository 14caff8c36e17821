//===- BlockLists.h - Walking the blocks that lists name --------*- C++ -*-===//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
//
// A list row is a set of blocks. A thread block marks the blocks of its rows in
// a bitmap in shared memory and compacts their union to an ascending list there,
// so that results depend neither on the order of entries nor on repetitions.
// Bitmaps that are too long are walked in chunks.
//
//===----------------------------------------------------------------------===//
#ifndef FRESNEL_CONVERSION_BLOCKLISTS_H
#define FRESNEL_CONVERSION_BLOCKLISTS_H

#include "fresnel/Conversion/KernelBuilder.h"
#include "fresnel/Schedule/Blocks.h"

namespace fresnel {

/// a / b and a % b of values that are not negative.
Val divideBy(Val a, int64_t b);
Val moduloBy(Val a, int64_t b);

/// Marks and list in shared memory. All threads of the block call the written code together.
class BlockSet {
public:
  BlockSet(KernelBuilder &builder, const BlockSetSizes &sizes);

  /// Marks in row r of the chunk from block `base` on what row `firstRow` + r of
  /// `lists` [batch, head, rows, entries] names. `keep` may drop blocks.
  void mark(Val lists, Val batch, Val head, Val firstRow, Val base, int64_t blocks,
            llvm::function_ref<Val(Val)> keep = nullptr);
  /// Lists the blocks of the chunk that are marked in any row. `sentinel` fills the
  /// entries behind. Ends with a barrier; returns how many blocks there are.
  Val collect(Val base, int64_t sentinel);
  /// The same for marks that `load` gives word by word.
  Val collect(Val base, int64_t sentinel, llvm::function_ref<Val(Val)> load);

  Val getList() const { return list; }
  /// The entry of the list, `index` a scalar or a fragment.
  Val getEntry(Val index);
  /// Whether row `row` marks `block` of the chunk from `base` on, in fragments of one
  /// layout, or with a scalar block.
  Val isMarked(Val row, Val block, Val base);

private:
  Val emit(Val word, Val first, Val position);

  KernelBuilder &b;
  int64_t threads;
  BlockSetSizes sizes;
  Val thread, marks, list, counters;
};

/// Tiles of the rows of listed blocks, end to end: row u of the walk is row u mod
/// `block` of the block that entry u div `block` names.
class ListWalk {
public:
  ListWalk(KernelBuilder &builder, BlockSet &set, int64_t block, int64_t columns)
      : b(builder), set(set), block(block), columns(columns) {}

  /// Tiles over `count` blocks.
  Val countSteps(Val count) { return divideBy(count * double(block) + double(columns - 1), columns); }
  /// Whether a tile lies in one block.
  bool isUniform() const { return block % columns == 0; }
  /// Then, its block and the tensor's row at which it starts.
  Val getBlock(Val step) { return set.getEntry(divideBy(step * double(columns), block)); }
  Val getStart(Val step) { return getBlock(step) * double(block) + moduloBy(step * double(columns), block); }
  /// The tensor's row of each column; `type` is an accumulator of i32.
  Val getRows(mlir::Type type, Val step);
  /// The block of each column.
  Val getBlocks(mlir::Type type, Val step);
  /// Copies the step's rows of (batch, head) to a tile; those of no block arrive as zeros.
  void copy(Val tensor, Val batch, Val head, Val step, Val target);

private:
  Val getColumns(mlir::Type type, Val step);

  KernelBuilder &b;
  BlockSet &set;
  int64_t block, columns;
};

} // namespace fresnel

#endif // FRESNEL_CONVERSION_BLOCKLISTS_H
