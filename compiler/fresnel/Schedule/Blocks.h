//===- Blocks.h - How kernels over block lists are cut ----------*- C++ -*-===//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
#ifndef FRESNEL_SCHEDULE_BLOCKS_H
#define FRESNEL_SCHEDULE_BLOCKS_H

#include "fresnel/Dialect/Fresnel.h"

namespace fresnel {

/// What a thread block keeps in shared memory of the blocks that it walks: marks,
/// one bit for each block of a chunk, and the marked blocks in ascending order.
struct BlockSetSizes {
  /// Rows of marks (0 if they are read from device memory), and the words of each.
  int64_t rows, words;
  /// Entries of the list, and those behind it that stand for no block.
  int64_t entries, tail;
  /// Warps of the thread block: each counts what it adds.
  int64_t warps;

  /// Blocks of one chunk.
  int64_t getChunk() const { return 32 * words; }
  int64_t getBytes() const { return 4 * (rows * words + 1 + entries + tail + warps); }
};

/// How attention over block lists, or one of its gradients, is cut.
struct BlockTiles {
  /// Query heads whose rows stand side by side in a tile, and the tokens of a tile.
  int64_t group, tokens;
  /// Rows of the lists that a tile's tokens may have.
  int64_t listRows;
  BlockSetSizes set;
};

/// For an operation with `blocks` under a schedule of the portable family.
BlockTiles getBlockTiles(ScheduleAttr schedule, mlir::Operation *op);

/// Under a schedule of the hopper family, where marks have one chunk; also without `blocks`.
BlockTiles getHopperTiles(ScheduleAttr schedule, AttendOp op);
BlockTiles getHopperTiles(ScheduleAttr schedule, AttendGradQOp op);

} // namespace fresnel

#endif // FRESNEL_SCHEDULE_BLOCKS_H
