//===- HopperScores.h - Scores of blocks, hopper family ---------*- C++ -*-===//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
#ifndef FRESNEL_SCHEDULE_HOPPERSCORES_H
#define FRESNEL_SCHEDULE_HOPPERSCORES_H

#include "fresnel/Dialect/Fresnel.h"
#include "fresnel/Target/TargetInfo.h"

namespace fresnel {

/// How `regroup_scored` is cut: a thread block keeps `tokens` queries of all heads of a group,
/// `heads` of which stand side by side in a product with a tile of 64 keys.
struct HopperScoreTiles {
  static constexpr int64_t kKeys = 64, kConsumers = 3;

  HopperScoreTiles(RegroupScoredOp op, int64_t tokens);
  HopperScoreTiles(int64_t group, int64_t tokens, int64_t windowCells, int64_t blockCells);

  /// Columns of a product, and how many there are for a tile of keys.
  int64_t getColumns() const { return heads * tokens; }
  int64_t getProducts() const { return group / heads; }
  /// Windows before the one at which a block begins that reach into it.
  int64_t getLeadingKeys() const { return windowCells - 1; }
  /// Blocks that begin in a tile, and their keys: the next tile begins behind them.
  int64_t getBlocks() const { return kKeys / blockCells; }
  int64_t getStep() const { return getBlocks() * blockCells; }
  /// Shared memory of a thread block for head dim `depth`.
  int64_t getSharedBytes(int64_t depth) const;

  int64_t group, tokens, heads, windowCells, blockCells;
};

/// Why the family has no kernel for scores of such queries over such windows, or "".
std::string explainHopperScores(mlir::RankedTensorType q, mlir::RankedTensorType k, int64_t window, int64_t stride,
                                int64_t block, const TargetInfo &target);
/// The limit that the schedule breaks and what to change, or "".
std::string verifyHopperScores(ScheduleAttr schedule, RegroupScoredOp op, const TargetInfo &target);
/// The schedule for an operation that the family serves.
ScheduleAttr getHopperScoresDefault(RegroupScoredOp op, const TargetInfo &target);

} // namespace fresnel

#endif // FRESNEL_SCHEDULE_HOPPERSCORES_H
