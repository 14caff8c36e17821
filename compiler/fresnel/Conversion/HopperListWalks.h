//===- HopperListWalks.h - Who walks the rows that list a block -*- C++ -*-===//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
//
// Each walk of a thread block belongs to a tile of keys of the consumers that take it. It may
// be cut into pieces (ListCuts), each of which adds its sums to those of the piece before, in
// their order. Piece p of all walks of a head takes the p-th range of rows, from the last rows
// on; thread blocks are numbered head by head, and range by range. But the walk over the rows
// of a block that very many list is cut by itself: piece p of n takes every n-th group of
// words of the block's row. The last piece is walked where the last range of the walk would
// be, the others by further thread blocks, which have the lowest numbers and start first.
//
//===----------------------------------------------------------------------===//
#ifndef FRESNEL_CONVERSION_HOPPERLISTWALKS_H
#define FRESNEL_CONVERSION_HOPPERLISTWALKS_H

#include "fresnel/Conversion/AttendMath.h"
#include "fresnel/Schedule/HopperLists.h"

namespace fresnel {

/// One walk: its tile of keys, the piece and how many there are, and where in the scratch array the sums of its
/// pieces lie, if there is more than one.
struct ListWalkPiece {
  Val tile, piece, pieces, sums;
  /// The groups of 32 words that it takes, counted from the last one; of their spans those
  /// that are `offset` modulo `stride`. Null for all.
  Val firstGroup, endGroup, offset, stride;
};

class HopperListWalks {
public:
  /// `walks` of a thread block of `threads`, each of `keys` keys; a section of heads as in
  /// `walkSections`; `words` of a row of the transposed lists.
  HopperListWalks(KernelBuilder &builder, const AttendShape &shape, const ListCuts &cuts, int64_t keys, int64_t walks,
                  int64_t section, int64_t words, int64_t threads);

  bool hasCuts() const { return !cuts.areNone(); }
  int64_t countThreadBlocks() const { return countFurther() + ranges * tiles * heads; }
  int64_t countGroups() const { return groups; }
  /// Places of sums, over all heads.
  int64_t countSums() const { return cuts.walks * heads; }

  void allocate();
  /// The head of keys over all batches. All threads call it; `counts` are those of
  /// `fresnel.count_rows` where there are cuts. Ends with a barrier.
  Val locate(Val counts, Val thread);
  ListWalkPiece getPiece(Val walk);

private:
  int64_t countFurther() const { return llvm::divideCeil(cuts.pieces, walks) * heads; }
  void findPieces(Val counts);
  void setField(Val walk, int64_t which, Val value) { b.store(value, fields, {walk, b.i32(which)}); }
  void claim(Val block, Val further, Val piecesBefore, Val walksBefore);
  std::pair<Val, Val> scanBlock(Val value, Val sums);

  KernelBuilder &b;
  const AttendShape &shape;
  ListCuts cuts;
  int64_t walks, section, threads, heads;
  /// Groups of 32 words, those of a range, and ranges.
  int64_t groups, groupsPerRange, ranges;
  /// Thread blocks of a head without cuts, and walks of a block of keys.
  int64_t tiles, walksPerBlock;
  /// Fields of the walks, and sums of warps.
  Val fields, pieceSums, walkSums;
  Val head, tile, range, isFurther;
};

} // namespace fresnel

#endif // FRESNEL_CONVERSION_HOPPERLISTWALKS_H
