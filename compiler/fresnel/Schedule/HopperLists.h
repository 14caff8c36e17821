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
  /// Whether the rows of a step are any that list the block, each fetched by itself, rather than neighbours.
  bool gathered = false;
};
/// List rows that a producer's warp looks at together, and which wait to be gathered.
constexpr int64_t kListWindow = 1024;
/// For the gradient of keys and values; the rows are 0 where the blocks of queries do not fit steps.
ListSteps getListSteps(mlir::Operation *op);

/// How walks over the rows that list a block are cut into pieces where a block, a sink say, may be
/// listed by many more rows than others.
struct ListCuts {
  /// Rows of a piece; a walk of less than two pieces stays whole, and 0 says that all are so short.
  int64_t rows = 0;
  /// For a key head at most: pieces beyond the first ones of walks, and walks that are cut, those of
  /// the first blocks that are listed so often.
  int64_t pieces = 0, walks = 0;
};
/// For the gradient of keys and values over transposed lists.
ListCuts getListCuts(mlir::Operation *op);
/// Keys of a thread block of the gradient of keys and values: 64 for each consumer, or the same 64 where one
/// consumer has no registers for both gradients of wide heads, so that each sums one.
int64_t getListKeys(mlir::Operation *op);
/// Keys of a walk: those of one consumer, or those of both, which then walk together.
int64_t getWalkKeys(mlir::Operation *op);
/// Blocks of keys in a walk: two of 32 keys, for which it visits the rows that list either.
int64_t getWalkBlocks(mlir::Operation *op);

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
