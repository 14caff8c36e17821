//===- CascadeShape.h - Static sizes of pyramids and cascades ---*- C++ -*-===//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
//
// The arithmetic of `fresnel.pyramid` and `fresnel.select_cascade` (Lighthouse
// Attention, arXiv 2605.06554, generalised to any length and budget), shared by
// shape inference and the kernels.
//
//===----------------------------------------------------------------------===//
#ifndef FRESNEL_DIALECT_CASCADESHAPE_H
#define FRESNEL_DIALECT_CASCADESHAPE_H

#include "llvm/ADT/SmallVector.h"
#include <cstdint>

namespace fresnel {

/// Sizes and offsets of the levels of a pyramid over `seqLen` tokens.
struct PyramidShape {
  PyramidShape(int64_t seqLen, int64_t levels, int64_t factor);
  /// Tokens of a full window, entries, and first flat index, of each level.
  llvm::SmallVector<int64_t> windows, sizes, offsets;
  /// Entries of all levels.
  int64_t length = 0;
};

/// One chunk of the coarsest level.
struct CascadeChunk {
  /// The coarsest windows `[first, end)`.
  int64_t first, end;
  /// How many candidates are kept by query score, then by key score, per level.
  int64_t queryBudget, keyBudget;
  /// Per level: candidates, and kept ones (0 at level 0), as if every window were full.
  llvm::SmallVector<int64_t> candidates, kept;
  /// First output slot and number of slots.
  int64_t slot, slots;
};

/// The cascade over a pyramid: chunks and the selection's length.
struct CascadeShape {
  CascadeShape(int64_t seqLen, int64_t levels, int64_t factor, int64_t topk);
  PyramidShape pyramid;
  llvm::SmallVector<CascadeChunk> chunks;
  int64_t length = 0;
};

} // namespace fresnel

#endif // FRESNEL_DIALECT_CASCADESHAPE_H
