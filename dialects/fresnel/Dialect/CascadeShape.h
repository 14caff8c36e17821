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

#include "llvm/ADT/ArrayRef.h"
#include "llvm/ADT/SmallVector.h"
#include <cstdint>

namespace fresnel {

/// A document's part of the levels of a pyramid; level 0 is its tokens.
struct DocumentShape {
  /// Per level: its first entry, counted from the first of that level, and how many it has.
  llvm::SmallVector<int64_t> firsts, sizes;
};

/// Sizes and offsets of the levels of a pyramid over `seqLen` tokens, of which documents of these
/// lengths, if any, have pyramids of their own.
struct PyramidShape {
  PyramidShape(int64_t seqLen, int64_t levels, int64_t factor, llvm::ArrayRef<int64_t> documents = {});
  /// Tokens of a full window, entries, and first flat index, of each level.
  llvm::SmallVector<int64_t> windows, sizes, offsets;
  /// Entries of all levels.
  int64_t length = 0;
  /// The documents that have tokens, the whole sequence if none are given.
  llvm::SmallVector<DocumentShape> documents;

  bool isPacked() const { return documents.size() > 1; }
};

/// One chunk of the coarsest level.
struct CascadeChunk {
  /// Its document, and of that the coarsest windows `[first, end)`.
  int64_t document, first, end;
  /// How many candidates are kept by query score, then by key score, per level.
  int64_t queryBudget, keyBudget;
  /// Per level: candidates, and kept ones (0 at level 0), as if every window were full.
  llvm::SmallVector<int64_t> candidates, kept;
  /// First output slot and number of slots.
  int64_t slot, slots;
};

/// The cascade over a pyramid: chunks and the selection's length.
struct CascadeShape {
  CascadeShape(int64_t seqLen, int64_t levels, int64_t factor, int64_t topk, llvm::ArrayRef<int64_t> documents = {});
  PyramidShape pyramid;
  llvm::SmallVector<CascadeChunk> chunks;
  int64_t length = 0;

private:
  void addDocument(int64_t document, int64_t factor, int64_t topk);
};

} // namespace fresnel

#endif // FRESNEL_DIALECT_CASCADESHAPE_H
