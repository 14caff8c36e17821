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

} // namespace fresnel::ref

#endif // FRESNEL_REFERENCE_DOCUMENTS_H
