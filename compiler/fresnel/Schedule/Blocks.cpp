//===- Blocks.cpp - How kernels over block lists are cut ------------------===//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//

#include "fresnel/Schedule/Blocks.h"
#include "llvm/ADT/TypeSwitch.h"
#include "llvm/Support/MathExtras.h"

using namespace mlir;
using namespace fresnel;

/// Words of marks that a tile may have, over all its list rows.
static constexpr int64_t kMaxMarkWords = 4096;
/// Words of a chunk of a transposed list: 4096 rows of the list.
static constexpr int64_t kTransposedWords = 128;

static int64_t getDim(Value tensor, unsigned dim) { return cast<RankedTensorType>(tensor.getType()).getDimSize(dim); }

/// List rows that `tokens` tokens from a multiple of `tokens` on may have.
static int64_t countListRows(int64_t tokens, int64_t queryBlock) {
  if (queryBlock % tokens == 0)
    return 1;
  return tokens % queryBlock == 0 ? tokens / queryBlock : tokens / queryBlock + 2;
}

/// Tiles of queries: attention and the gradient of the queries.
template <typename Op>
static BlockTiles getQueryTiles(ScheduleAttr schedule, Op op, int64_t warps, int64_t maxMarkWords) {
  int64_t queryBlock = op.getQueryBlock(), keyBlock = op.getKeyBlock(), tileM = schedule.getTileM();
  int64_t sharing = getDim(op.getQ(), 1) / getDim(op.getBlocks(), 1);
  BlockTiles tiles{/*group=*/1, tileM, 1, {}};
  // Heads that share lists stand side by side until a tile has one list row:
  // every further one widens the union of blocks that the tile walks.
  while (tiles.tokens > queryBlock && tiles.tokens % 2 == 0 && sharing % (2 * tiles.group) == 0) {
    tiles.group *= 2;
    tiles.tokens /= 2;
  }
  tiles.listRows = countListRows(tiles.tokens, queryBlock);
  int64_t words = llvm::divideCeil(llvm::divideCeil(getDim(op.getK(), 2), keyBlock), 32);
  words = std::min(words, std::max<int64_t>(1, maxMarkWords / tiles.listRows));
  int64_t entries = std::min(32 * words, tiles.listRows * getDim(op.getBlocks(), 3));
  tiles.set = {tiles.listRows, words, entries, int64_t(llvm::divideCeil(schedule.getTileN(), keyBlock)) + 1, warps};
  return tiles;
}

/// Tiles of keys, each in one block: the gradient of keys and values.
static BlockTiles getKeyTiles(ScheduleAttr schedule, AttendGradKvOp op) {
  BlockTiles tiles{/*group=*/1, schedule.getTileM(), 0, {}};
  int64_t queryBlock = op.getQueryBlock(), words = std::min(getDim(op.getBlocks(), 3), kTransposedWords);
  tiles.set = {0, words, 32 * words, int64_t(llvm::divideCeil(schedule.getTileN(), queryBlock)) + 1,
               schedule.getTileM() / 16};
  return tiles;
}

BlockTiles fresnel::getBlockTiles(ScheduleAttr schedule, Operation *op) {
  return TypeSwitch<Operation *, BlockTiles>(op)
      .Case<AttendOp, AttendGradQOp>(
          [&](auto op) { return getQueryTiles(schedule, op, schedule.getTileM() / 16, kMaxMarkWords); })
      .Case([&](AttendGradKvOp op) { return getKeyTiles(schedule, op); });
}

template <typename Op>
static BlockTiles getHopperTilesOf(ScheduleAttr schedule, Op op) {
  if (op.getBlocks())
    // The consumers' warpgroups and the producer.
    return getQueryTiles(schedule, op, 4 * (schedule.getTileM() / 64 + 1), std::numeric_limits<int64_t>::max());
  return {/*group=*/1, schedule.getTileM(), /*listRows=*/1, {}};
}

BlockTiles fresnel::getHopperTiles(ScheduleAttr schedule, AttendOp op) { return getHopperTilesOf(schedule, op); }

BlockTiles fresnel::getHopperTiles(ScheduleAttr schedule, AttendGradQOp op) { return getHopperTilesOf(schedule, op); }
