//===- HopperListBits.h - The rows that list a block, as bits ---*- C++ -*-===//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
//
// The gradient of keys and values finds the rows that it walks in the transposed lists: a
// walk over several blocks visits the rows that list any of them.
//
//===----------------------------------------------------------------------===//
#ifndef FRESNEL_CONVERSION_HOPPERLISTBITS_H
#define FRESNEL_CONVERSION_HOPPERLISTBITS_H

#include "fresnel/Conversion/HopperListWalks.h"

namespace fresnel {

class HopperListBits {
public:
  /// For walks of `walkKeys` keys over lists of `words` words.
  HopperListBits(KernelBuilder &builder, const AttendShape &shape, const ListSteps &steps, HopperListWalks &pieces,
                 int64_t walkKeys, int64_t words);

  void setTensor(Val tensor, Val batch, Val kvHead);
  /// Steps of one head, or heads side by side, and row: all parts for each reader.
  int64_t getRepeats() const { return readers / steps.group * steps.parts; }

  /// Numbers that `countSteps` adds to, of all walks.
  int64_t getCounters(int64_t walks) const { return walks * (steps.gathered ? lists : 1) + (hasOpen() ? walks : 0); }
  /// Whether the steps that need no mask come first, and are counted.
  bool hasOpen() const {
    bool isBound = shape.window > 0 || shape.documents;
    return steps.gathered && lists == 1 && shape.causal && !isBound;
  }
  /// Adds the steps of each walk, of one head or heads side by side, or the rows of each of its lists where rows are
  /// gathered, to `counters`. All threads of the thread block together; ends with a barrier.
  void countSteps(Val counters, Val thread, int64_t threads);
  /// The steps of a walk that were counted, and those that need no mask.
  Val getSteps(Val counters, Val walk);
  Val getOpenSteps(Val counters, Val walk);

  /// What is written for each step of a walk, in order: given its number, its first query head and token, and bits of
  /// its list rows, block by block: those of its first and of its second half.
  using Body = llvm::function_ref<void(Val, Val, Val, llvm::ArrayRef<Val>)>;
  /// In a warp, all lanes together.
  void forSteps(const ListWalkPiece &piece, Val lane, Body body);

  /// The same where rows are gathered: given the number of a step, its first query head, and where in `waiting`, an
  /// array of the walk in shared memory, its first list row lies, and the end of those that are there. The warp's
  /// lanes meet at `barrier`.
  using GatheredBody = llvm::function_ref<void(Val, Val, Val, Val)>;
  void forGathered(const ListWalkPiece &piece, Val lane, Val waiting, Val barrier, GatheredBody body);

private:
  /// Words of a step.
  int64_t getSpan() const { return steps.rows > 32 ? 2 : 1; }
  int64_t getSpans() const { return llvm::divideCeil(words, getSpan()); }
  /// A word of the rows that list each block of a walk, 0 behind the last one and where another piece has it.
  llvm::SmallVector<Val> load(const ListWalkPiece &piece, Val list, Val word);
  Val loadWord(const ListWalkPiece &piece, Val block, Val list, Val word);
  static Val combine(llvm::ArrayRef<Val> words);
  /// The bit of the first row of each step in which some row is set.
  Val fold(Val word);
  /// Calls `body` with the number of each set bit, the lowest first, and what is carried along.
  Val forEach(Val bits, Val init, llvm::function_ref<Val(Val, Val)> body);
  /// Puts the rows of the words of all lanes behind the `count` that wait, and returns how many wait then.
  Val queueRows(Val word, Val base, Val lane, Val waiting, Val count);
  Val getHead(Val list, Val repeat) const;
  Val walkWords(const ListWalkPiece &piece, Val lane, Val list, Val base, Val i, Body body);

  KernelBuilder &b;
  const AttendShape &shape;
  ListSteps steps;
  HopperListWalks &pieces;
  int64_t walkKeys, words;
  /// Lists of a key head, and query heads that read one.
  int64_t lists, readers;
  Val tensor, batch, kvHead;
};

} // namespace fresnel

#endif // FRESNEL_CONVERSION_HOPPERLISTBITS_H
