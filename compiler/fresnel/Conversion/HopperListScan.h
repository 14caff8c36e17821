//===- HopperListScan.h - Steps over the rows that list a block -*- C++ -*-===//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
//
// A walk over the rows that list a block of keys scans the block's bits in the transposed
// lists. Where heads share a list its steps are narrow, few tokens of many heads, or wide, as
// many tokens as there are rows and one head after the other: between blocks that share
// queries and are not quite at the same place, fewer bytes pass then, which stay in L2.
// Narrow steps take less where neighbours list different blocks; each walk counts both.
//
//===----------------------------------------------------------------------===//
#ifndef FRESNEL_CONVERSION_HOPPERLISTSCAN_H
#define FRESNEL_CONVERSION_HOPPERLISTSCAN_H

#include "fresnel/Conversion/HopperListWalks.h"

namespace fresnel {

class HopperListScan {
public:
  /// A step: its head, or the first one, its first token, the bits of its list rows, of the first
  /// and the second half, and how it is cut.
  struct Step {
    Val head, token, listed[2];
    const ListSteps &cut;
  };

  /// `walks` of a thread block, of so many `keys` each. Steps may be wide where the operation allows it.
  HopperListScan(KernelBuilder &builder, const AttendShape &shape, AttendGradKvOp op, HopperListWalks &pieces,
                 int64_t walks, int64_t keys, bool mayBeWide);

  const ListSteps &getNarrow() const { return narrow; }
  const ListSteps &getWide() const { return wide; }
  bool mayBeWide() const { return wide.rows > 0; }

  void allocate();
  /// One thread calls it, before a barrier.
  void clear();
  /// All `threads` call it; ends with a barrier. `bits` of [batch, head, block, word].
  void count(Val bits, Val batch, Val kvHead, Val thread, int64_t threads);
  /// The steps of a walk, and whether they are wide.
  Val countSteps(Val walk);
  Val isWide(Val walk);

  /// Calls `body` with the number of each step of a walk, by a warp. The last rows come first: under a
  /// causal mask blocks that start together then read the same queries at about the same time.
  void visit(const ListWalkPiece &piece, Val walk, llvm::function_ref<void(Val, const Step &)> body);

private:
  static int64_t getSpan(const ListSteps &steps) { return steps.rows > 32 ? 2 : 1; }
  /// Words that belong to one piece.
  int64_t getDealt() const { return std::max(getSpan(narrow), getSpan(wide)); }
  int64_t getDeals() const { return llvm::divideCeil(words, getDealt()); }
  /// Steps of the same rows: heads, or heads side by side, and parts.
  int64_t getRepeats(const ListSteps &steps) const { return readers / steps.group * steps.parts; }

  Val getKeyBlock(const ListWalkPiece &piece);
  Val loadWord(const ListWalkPiece &piece, Val list, Val word);
  Val fold(const ListSteps &steps, Val word);
  Val countIn(const ListSteps &steps, llvm::ArrayRef<Val> dealt);
  Val forBits(Val bits, Val init, llvm::function_ref<Val(Val, Val)> body);
  Val fromLane(Val value, Val source) { return b.shuffle(tile::Shuffle::Index, value, source); }
  using RowsBody = llvm::function_ref<Val(Val, Val, llvm::ArrayRef<Val>)>;
  Val visitWords(const ListSteps &steps, Val word, Val base, Val i, RowsBody body);
  Val visitRows(const ListSteps &steps, const ListWalkPiece &piece, Val list, Val i, RowsBody body);
  void visitAs(const ListSteps &steps, const ListWalkPiece &piece, llvm::function_ref<void(Val, const Step &)> body);

  KernelBuilder &b;
  const AttendShape &shape;
  HopperListWalks &pieces;
  ListSteps narrow, wide;
  int64_t walks, keys;
  /// Lists of a key head, query heads that read one, and words of its bits.
  int64_t lists, readers, words;
  Val bits, batch, kvHead, counters;
};

} // namespace fresnel

#endif // FRESNEL_CONVERSION_HOPPERLISTSCAN_H
