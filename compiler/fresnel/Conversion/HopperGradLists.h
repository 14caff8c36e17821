//===- HopperGradLists.h - Block lists in attention's gradients -*- C++ -*-===//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
//
// In the hopper family's gradients over block lists a thread block, whose keys lie in one
// key block, walks the blocks of queries that list it: it compacts its row of the
// transposed lists to a list in shared memory, those of all lists that its key head's
// query heads read one behind the other.
//
//===----------------------------------------------------------------------===//
#ifndef FRESNEL_CONVERSION_HOPPERGRADLISTS_H
#define FRESNEL_CONVERSION_HOPPERGRADLISTS_H

#include "fresnel/Conversion/AttendMath.h"
#include "fresnel/Conversion/BlockLists.h"

namespace fresnel {

class HopperGradLists {
public:
  /// Where a step is: the query head, the row of the lists, and the step of queries.
  struct Place {
    Val head, listHead, listRow, step;
  };
  /// When a thread block adds to a tile: at the value `now` of its semaphore, which is 0 for
  /// the first one and `next` afterwards, 0 behind the last one.
  struct Turn {
    Val now, next;
  };

  HopperGradLists(KernelBuilder &builder, const AttendShape &shape, const BlockSetSizes &sizes, int64_t keyRows,
                  int64_t queryRows);

  /// Lists what reads the `block`-th keyRows keys. All threads call the written code together.
  void read(Val transposed, Val batch, Val kvHead, Val block);
  /// Steps over the listed queries, for all query heads.
  Val countSteps();
  /// The i-th step: the last rows first.
  Place getPlace(Val i);
  /// The turn at the tile of a step. A warp calls the written code together: its lanes
  /// count entries of the row with smaller blocks, this block and greater ones, so that
  /// entries may come in any order and repeat.
  Turn getTurn(Val lists, Val batch, const Place &place);

private:
  KernelBuilder &b;
  const AttendShape &shape;
  int64_t keyRows, queryRows, words;
  /// Lists of a key head; query heads that read one; steps of a block of queries.
  int64_t lists, readers, stepsPerBlock;
  /// Thread blocks of a key block.
  int64_t parts;
  BlockSet set;
  Val block, kvHead, count;
};

} // namespace fresnel

#endif // FRESNEL_CONVERSION_HOPPERGRADLISTS_H
