//===- Documents.h - Packed documents ---------------------------*- C++ -*-===//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
#ifndef FRESNEL_REFERENCE_DOCUMENTS_H
#define FRESNEL_REFERENCE_DOCUMENTS_H

#include "fresnel/Reference/Tensor.h"
#include <vector>

namespace fresnel::ref {

/// Cumulative lengths `cu` [1, 1, C] -> [1, 2, seqLen]: where the document of each token
/// begins, the greatest of 0 and the entries up to the token; and where it ends, the
/// least of seqLen and the entries after the token.
IndexTensor documentBounds(const IndexTensor &cu, int64_t seqLen);
/// The same for documents of these lengths.
IndexTensor documentBounds(const std::vector<int64_t> &lengths);

/// Bounds [1, 2, N] that reach no further than `window` tokens, each token's own one of them.
IndexTensor narrowBounds(const IndexTensor &bounds, int64_t window);

struct AlignedDocuments {
  /// [1, 2, S] where the document of each place begins and ends, in whole blocks; [1, 2, S / block] the same in blocks;
  /// and [1, 2, S] the same without places that hold no token.
  IndexTensor bounds, blocks, tokens;
  /// [1, 1, S] the token of each place or -1, and [1, 1, seqLen] the place of each token.
  IndexTensor from, to;
};

/// Cumulative lengths `cu` [1, 1, C] -> places of `seqLen` tokens in which documents begin at multiples of `block`. An
/// entry ends a document at the greatest of 0 and the entries up to it, at most `seqLen`.
AlignedDocuments alignDocuments(const IndexTensor &cu, int64_t seqLen, int64_t block);
/// The same for documents of these lengths, without places behind them.
AlignedDocuments alignDocuments(const std::vector<int64_t> &lengths, int64_t block);

} // namespace fresnel::ref

#endif // FRESNEL_REFERENCE_DOCUMENTS_H
