//===- Space.h - The schedules that a tuner may try -------------*- C++ -*-===//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
#ifndef FRESNEL_SCHEDULE_SPACE_H
#define FRESNEL_SCHEDULE_SPACE_H

#include "fresnel/Schedule/Schedule.h"
#include <vector>

namespace fresnel {

/// Quick: the default's family, the tiles that matter. Full: every family and field.
enum class SpaceSize { Quick, Full };

struct Candidate {
  ScheduleAttr schedule;
  /// Why it is not legal here; "" if it is.
  std::string rejected;
  /// Cycles that the kernel takes at least; see getBoundCycles.
  double boundCycles = 0;
};

/// All schedules of the space, each once, rejected ones with their reason: the
/// default first, then by the number of fields that differ from it, bound and
/// JSON text. The order is the same on every machine. Families that serve no
/// such operation at all appear once.
std::vector<Candidate> enumerateSchedules(mlir::Operation *op, const TargetInfo &target, int64_t multiprocessors,
                                          SpaceSize size);

/// A lower bound of an attention kernel's cycles: the matrix products of all
/// tiles that it cannot skip, rounded up to whole tiles and shared evenly by the
/// multiprocessors, and at least one tile. 0 where nothing is known.
double getBoundCycles(ScheduleAttr schedule, mlir::Operation *op, const TargetInfo &target, int64_t multiprocessors);

/// What a kernel computes, as the key of a tuning database:
/// {"op", "operands": [{"dtype", "shape"}], "attributes"}.
llvm::json::Object describeProblem(mlir::Operation *op);

} // namespace fresnel

#endif // FRESNEL_SCHEDULE_SPACE_H
