//===- Passes.h - From a program to its plan
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
#ifndef FRESNEL_TRANSFORMS_PASSES_H
#define FRESNEL_TRANSFORMS_PASSES_H

#include "fresnel/Dialect/Fresnel.h"
#include "mlir/IR/BuiltinOps.h"
#include "mlir/Pass/Pass.h"

namespace fresnel {

#define GEN_PASS_DECL
#define GEN_PASS_REGISTRATION
#include "fresnel/Transforms/Passes.h.inc"

/// Whether a team of threads can walk a pyramid's coarsest window: a wider one leaves too few
/// teams to fill the GPU, and a larger factor too many rows in registers.
inline bool hasShortWindows(int64_t levels, int64_t factor) {
  constexpr int64_t kMaxFactor = 16, kMaxWindow = 256;
  int64_t window = 1;
  for (int64_t level = 1; level < levels && window <= kMaxWindow; ++level)
    window *= factor;
  return factor <= kMaxFactor && window <= kMaxWindow;
}

} // namespace fresnel

#endif // FRESNEL_TRANSFORMS_PASSES_H
