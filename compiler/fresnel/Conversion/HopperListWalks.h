//===- HopperListWalks.h - Who walks the rows that list a block -*- C++ -*-===//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
//
// Each walk of a thread block belongs to a tile of keys of the consumers that take it.
// Where lists may be uneven (ListCuts), the walk over the rows of a block that many rows
// list is cut: piece p of n takes every n-th group of words of the block's row, from the p-th
// on. The last piece is walked where the whole walk would be, the others by further thread
// blocks, which have lower numbers and start before. In the order of the pieces the
// consumers add their sums to those of the pieces before.
//
//===----------------------------------------------------------------------===//
#ifndef FRESNEL_CONVERSION_HOPPERLISTWALKS_H
#define FRESNEL_CONVERSION_HOPPERLISTWALKS_H

#include "fresnel/Conversion/AttendMath.h"
#include "fresnel/Schedule/HopperLists.h"

namespace fresnel {

/// One walk: its tile of keys, the piece and how many there are, and where in the scratch array
/// the sums of its pieces lie, if there is more than one.
struct ListWalkPiece {
  Val tile, piece, pieces, sums;
};

class HopperListWalks {
public:
  /// `walks` of a thread block of `threads`, each of `keys` keys; a section of heads as in
  /// `walkSections`.
  HopperListWalks(KernelBuilder &builder, const AttendShape &shape, const ListCuts &cuts, int64_t keys, int64_t walks,
                  int64_t section, int64_t threads);

  bool hasCuts() const { return cuts.rows > 0; }
  int64_t countThreadBlocks() const { return countFurther() + tiles * heads; }
  /// Places of sums, over all heads.
  int64_t countSums() const { return cuts.walks * heads; }

  void allocate();
  /// The head of keys over all batches. All threads call it; `counts` are those of
  /// `fresnel.count_rows` where there are cuts. Ends with a barrier.
  Val locate(Val counts, Val thread);
  ListWalkPiece getPiece(Val walk);

private:
  int64_t countFurther() const { return llvm::divideCeil(cuts.pieces, walks) * heads; }
  void findPieces(Val counts, Val thread);
  void claim(Val block, Val further, Val piecesBefore, Val walksBefore);

  KernelBuilder &b;
  const AttendShape &shape;
  ListCuts cuts;
  int64_t walks, section, threads, heads;
  /// Thread blocks of a head without cuts, and walks of a block of keys, or blocks of a walk: what is cut is
  /// a block, or the blocks of a walk together.
  int64_t tiles, walksPerBlock, blocksPerWalk;
  /// Fields of the walks, and sums of warps.
  Val fields, pieceSums, walkSums;
  Val head, tile, isFurther;
};

} // namespace fresnel

#endif // FRESNEL_CONVERSION_HOPPERLISTWALKS_H
