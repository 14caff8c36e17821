//===- Hopper.h - What the hopper family allows and prefers -----*- C++ -*-===//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
#ifndef FRESNEL_SCHEDULE_HOPPER_H
#define FRESNEL_SCHEDULE_HOPPER_H

#include "fresnel/Dialect/Fresnel.h"
#include "fresnel/Target/TargetInfo.h"

namespace fresnel {

/// Registers per thread of each role, for `setmaxnreg`.
struct HopperRegisters {
  int64_t producer, consumer;
};
HopperRegisters getHopperRegisters(int64_t consumers, int64_t minBlocks);

/// Thread blocks that a multiprocessor shall hold. Tiles of 64 queries over block
/// lists have one consumer; two blocks hide each other's softmax.
int64_t getHopperMinBlocks(ScheduleAttr schedule, AttendOp op);

/// Consecutive heads whose tiles are started together under a causal mask: what
/// the schedule says, or as many as have their keys and values in L2 at the same
/// time, at least one, in as few sections, which are alike.
int64_t getHopperSection(ScheduleAttr schedule, int64_t keys, int64_t columns, int64_t headsPerKeyHead, int64_t heads);

/// Thread blocks of a persistent kernel: the multiprocessors of an H100 or H200.
constexpr int64_t kHopperMultiprocessors = 132;
/// What the threads of a consumer store that weighs keys `early`, a sum for each of their two rows.
constexpr int64_t kHopperScratch = 256;

/// Whether a persistent kernel computes the first scores of a tile behind the last product of the tile before: there
/// must be shared memory for the queries of both.
bool isHopperChained(ScheduleAttr schedule, AttendOp op);

/// Whether the consumers of a chained kernel hold their queries in registers: products for scores then read nothing but
/// keys from shared memory.
bool holdsHopperQueries(ScheduleAttr schedule, AttendOp op);

/// A persistent kernel's next queries arrive while the output leaves, if there is
/// shared memory for both; else the output takes the queries' place.
bool hasHopperOutputTile(ScheduleAttr schedule, AttendOp op);

/// Tiles of a head that a kernel over documents starts in the order of their work, the most first; 0 if it does not.
int64_t countHopperOrder(ScheduleAttr schedule, AttendOp op);

/// Whether such a kernel without shared memory for both, nor chained, puts the output where the weights were.
bool reusesHopperWeights(ScheduleAttr schedule, AttendOp op);

/// Columns of a panel of such a tile of attention, 64 or, where that leaves less of the last panel empty, 32.
int64_t getHopperPanel(int64_t columns);

/// Shared memory of the kernel, in bytes.
int64_t getHopperSharedBytes(ScheduleAttr schedule, AttendOp op);

/// Whether scores of attention, or of its gradients, have a soft cap.
bool hasSoftcap(mlir::Operation *op);

/// Why the family cannot serve the operation on the target, or "".
std::string explainHopper(AttendOp op, const TargetInfo &target);
/// The limit that the schedule breaks and what to change, or "".
std::string verifyHopper(ScheduleAttr schedule, AttendOp op, const TargetInfo &target);
/// The schedule for an operation that the family serves.
ScheduleAttr getHopperDefault(AttendOp op);

} // namespace fresnel

#endif // FRESNEL_SCHEDULE_HOPPER_H
