//===- Cost.h - What an operation takes on any machine ----------*- C++ -*-===//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
#ifndef FRESNEL_SCHEDULE_COST_H
#define FRESNEL_SCHEDULE_COST_H

#include "fresnel/Dialect/Fresnel.h"

namespace fresnel {

/// On kernels: {bytes_read, bytes_written, flops, exact}.
constexpr llvm::StringLiteral kCostAttr = "fresnel.cost";

/// Bytes that must move between device memory and the chip, each once, and the
/// additions and multiplications of the definition (comparisons, exponentials and
/// roots are not counted). Where the data decide, the most that can be, and `exact`
/// is false.
struct OperationCost {
  int64_t bytesRead = 0, bytesWritten = 0, flops = 0;
  bool exact = true;
};

/// The cost of a compute operation of the dialect.
OperationCost getCost(mlir::Operation *op);

/// Pairs of a query row and a key that the masks of an attention operation, or of one of
/// its gradients, allow in one head; with `blocks`, the most that these can be.
int64_t countVisiblePairs(mlir::Operation *op);

} // namespace fresnel

#endif // FRESNEL_SCHEDULE_COST_H
