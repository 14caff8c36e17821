//===- HopperGrad.h - Attention's gradients in the hopper family -*- C++ -*-===//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
#ifndef FRESNEL_SCHEDULE_HOPPERGRAD_H
#define FRESNEL_SCHEDULE_HOPPERGRAD_H

#include "fresnel/Schedule/Blocks.h"
#include "fresnel/Target/TargetInfo.h"
#include <optional>

namespace fresnel {

/// Why the family has no gradient of queries, keys and values in one pass for these
/// operands, attributes (those of `fresnel.attend`) and target, or "".
std::string explainHopperGrad(mlir::Operation *op, const TargetInfo &target);
/// The limit that the schedule breaks and what to change, or "".
std::string verifyHopperGrad(ScheduleAttr schedule, AttendGradOp op, const TargetInfo &target);
/// The schedule for an operation that the family serves, adding dQ in one order or in any.
ScheduleAttr getHopperGradDefault(AttendGradOp op, bool ordered = true);

/// Whether the consumers share the columns of 64 keys: where the head dim is 192 or 256, and
/// where block lists open 64 keys at a time.
bool isHopperGradWide(AttendGradOp op);
/// Whether a step has two tiles of queries, of whose dQ each consumer computes one.
bool isHopperGradPaired(ScheduleAttr schedule, AttendGradOp op);
/// With block lists, what a thread block keeps of them in shared memory.
std::optional<BlockSetSizes> getHopperGradLists(AttendGradOp op);
/// Whether thread blocks add to a tile of dQ in one order: they are asked to, and the sums are not integers.
bool isHopperGradOrdered(ScheduleAttr schedule, AttendGradOp op);
/// Whether there are kernels that sum dQ in integers, and whether these are faster than f32 in one order; for an
/// operation with the operands and attributes of attention.
bool allowsIntegerSums(mlir::Operation *op);
bool prefersIntegerSums(mlir::Operation *op);
/// Tiles of the output's gradient in flight: `stages` as of the queries, if shared memory has place.
int64_t getHopperGradDoutStages(ScheduleAttr schedule, AttendGradOp op);

/// Thread blocks for each block of keys: each walks its share of the query heads, and they add up the gradients of keys
/// and values in their order.
int64_t getHopperGradShares(AttendGradOp op);

/// Consecutive key heads whose blocks of keys are started together: what the schedule
/// says, or the default for the shape.
///
/// Thread blocks add to a tile of dQ in the order of their keys, so that those of one
/// head which start together wait for each other: with s heads side by side 132 / s
/// blocks of a head do, half that number of additions each on average. The more heads, the
/// less waiting; the fewer, the more of what they read they share through L2.
int64_t getHopperGradSection(ScheduleAttr schedule, AttendGradOp op);

} // namespace fresnel

#endif // FRESNEL_SCHEDULE_HOPPERGRAD_H
