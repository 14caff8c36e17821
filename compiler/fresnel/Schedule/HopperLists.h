//===- HopperLists.h - Gradients over block lists, hopper family -*- C++ -*-===//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
//
// Over block lists the gradients of queries and those of keys and values have kernels of
// their own: seven matrix products for each listed pair instead of the five of one pass
// (HopperGrad.h), but no sums of dQ in device memory, for which neighbours in time would
// have to be neighbours in the sequence, and no order in which blocks wait for each other.
//
//===----------------------------------------------------------------------===//
#ifndef FRESNEL_SCHEDULE_HOPPERLISTS_H
#define FRESNEL_SCHEDULE_HOPPERLISTS_H

#include "fresnel/Schedule/Blocks.h"
#include "fresnel/Schedule/Hopper.h"

namespace fresnel {

/// Steps of 64 rows over the queries that list a block: `group` heads that share a list, of
/// `tokens` tokens each.
struct ListSteps {
  static constexpr int64_t kRows = 64;
  int64_t group, tokens;
  /// List rows of a step, a power of two; then `parts` is 1. Or steps of a list row.
  int64_t rows, parts;
};
/// For the gradient of keys and values; the rows are 0 where the blocks of queries do not fit steps.
ListSteps getListSteps(mlir::Operation *op);

/// How walks over the rows that list a block are cut into pieces, whose sums are added in their order.
struct ListCuts {
  /// Ranges of rows that all walks take one after the other, each range while its queries are in
  /// L2: the blocks of a head read the same queries, at times of their own if nothing holds them together.
  int64_t ranges = 1;
  /// Rows of a piece of a walk that is much longer than others, because very many rows list its
  /// block, a sink say: it is cut by itself, from two pieces on. 0 where no walk can be so long.
  int64_t rows = 0;
  /// For a key head at most: pieces of long walks beyond the first ones, and walks that have sums to hand on.
  int64_t pieces = 0, walks = 0;

  bool areNone() const { return ranges == 1 && rows == 0; }
};
/// For the gradient of keys and values over transposed lists; `counted`: whether it knows how many rows list a block.
ListCuts getListCuts(mlir::Operation *op, bool counted = true);
/// Keys of a walk: 64 for each consumer, which walk alone or together.
int64_t getWalkKeys(mlir::Operation *op);

/// Why the family has no gradients over these lists, from an operation that has the operands
/// and attributes of attention, or "".
std::string explainHopperLists(mlir::Operation *op, const TargetInfo &target);
/// For `attend_grad_q` or `attend_grad_kv` over lists: the limit that the schedule breaks and what
/// to change, or "".
std::string verifyHopperLists(ScheduleAttr schedule, mlir::Operation *op, const TargetInfo &target);
/// The schedule for an operation that the family serves.
ScheduleAttr getHopperListsDefault(mlir::Operation *op);

/// Thread blocks of the gradient of the queries that a multiprocessor shall hold: two where
/// there is one consumer.
int64_t getHopperListsMinBlocks(ScheduleAttr schedule, AttendGradQOp op);

} // namespace fresnel

#endif // FRESNEL_SCHEDULE_HOPPERLISTS_H
