//===- WarpSelect.h - The k largest of a stream of keys ---------*- C++ -*-===//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
#ifndef FRESNEL_CONVERSION_WARPSELECT_H
#define FRESNEL_CONVERSION_WARPSELECT_H

#include "fresnel/Conversion/KernelBuilder.h"
#include "fresnel/Dialect/Fresnel.h"

namespace fresnel {

/// Writes the selection of the largest keys of a row by a warp: lane i holds the
/// i-th best key seen so far and its index. Keys come 32 at a time with ascending
/// indices, so that of equal keys the lower index is kept. All lanes call the
/// written code together.
class WarpSelect {
public:
  /// As many as a warp has lanes.
  static constexpr int64_t kMaxTake = 32;

  struct List {
    Val keys, indices;
  };

  WarpSelect(KernelBuilder &builder, int64_t take) : b(builder), take(take) {}

  /// The list of nothing.
  List begin();
  /// The `take`-th largest of the lanes' values, in every lane: a row whose lanes have seen these as their largest
  /// has at least `take` keys that are no smaller. More than the key of -inf, which is never taken.
  Val getBound(Val largest);
  /// Takes up, behind those of `list`, what is at least a bound of 32 keys with ascending indices, in no order of the
  /// keys. Counts on where the list is full.
  std::pair<List, Val> collect(List list, Val count, Val key, Val first, Val bound);
  /// Calls `store` as `finish` does with the best of the `count` collected ones, at most 32.
  void finishCollected(List list, Val count, llvm::function_ref<void(Val, Val)> store);
  /// Takes up the key of each lane, whose index is `first` + lane; a key of
  /// INT32_MIN stands for none.
  List add(List list, Val key, Val first);
  /// Calls `store(place, index)` in lanes 0 .. take - 1: the indices ascend, -1 fills the end.
  void finish(List list, llvm::function_ref<void(Val, Val)> store);

private:
  Val shuffle(Val value, Val lane) { return b.shuffle(tile::Shuffle::Index, value, lane); }

  KernelBuilder &b;
  int64_t take;
};

/// The rules of `fresnel.select_blocks` for one row: which blocks may be taken, which must be.
class BlockRules {
public:
  /// `row` is the row of the scores, which have `blocks` columns; the bounds of documents if the operation has any.
  BlockRules(KernelBuilder &builder, SelectBlocksOp op, Val row, int64_t blocks, Val documents);

  /// The ordered key of the block with this score: the largest where the block is
  /// forced, INT32_MIN where it may not be taken.
  Val getKey(Val block, Val score);

  /// The first of the blocks that are neither forced nor hidden, whose scores alone count, and the first behind them,
  /// which may be less.
  std::pair<Val, Val> getPlain();

  /// Blocks from here on are never taken.
  Val end;

private:
  KernelBuilder &b;
  /// Blocks that are forced at both ends, at most all.
  int64_t local, sinks;
  /// The first block of the row's documents, absent without documents.
  Val first;
};

} // namespace fresnel

#endif // FRESNEL_CONVERSION_WARPSELECT_H
