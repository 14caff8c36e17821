//===- Fused.h - What fusion makes of pyramids and selections ---*- C++ -*-===//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
#ifndef FRESNEL_REFERENCE_FUSED_H
#define FRESNEL_REFERENCE_FUSED_H

#include "fresnel/Reference/Movement.h"
#include "fresnel/Reference/Pooling.h"

namespace fresnel::ref {

/// Indices [B, H, S] without repetitions -> [B, H, rows]: the slot that holds
/// each row, or -1.
IndexTensor invertSelection(const IndexTensor &indices, int64_t rows);

/// x [B, H, N, D] -> its mean pyramid without level 0.
Tensor poolLevels(const Tensor &x, const PyramidOptions &options);

/// `gather` from the pyramid with level 0 in `base` and the others in `tail`.
Tensor gatherLevels(const Tensor &base, const Tensor &tail, const IndexTensor &indices);

/// `scatter` where `slots` is the inverse of the indices.
Tensor scatterBySlots(const Tensor &x, const IndexTensor &slots, const ScatterOptions &options);

/// dy [B, H, S, D], slots [B, H, P] -> [B, heads, seqLen, D]: row j sums, over the
/// query heads that share the head and the levels, the row of the entry (l, j div F),
/// F = factor^l, divided by the number of tokens in its window.
Tensor gatherGradBySlots(const Tensor &dy, const IndexTensor &slots, int64_t heads, const ScatterOptions &options);

} // namespace fresnel::ref

#endif // FRESNEL_REFERENCE_FUSED_H
