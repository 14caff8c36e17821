//===- Documents.h - Packed documents in attention kernels ------*- C++ -*-===//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
//
// The documents of a tile of rows, from the bounds that `fresnel.document_bounds`
// makes. Documents stand in the order of their tokens, so that those of the first and
// of the last row tell what a tile visits. Two tokens see each other if one lies
// within the bounds of the other: kernels that own queries compare their bounds with
// keys, kernels that own keys with queries. Whatever the bounds hold, no row that does
// not exist is read.
//
//===----------------------------------------------------------------------===//
#ifndef FRESNEL_CONVERSION_DOCUMENTS_H
#define FRESNEL_CONVERSION_DOCUMENTS_H

#include "fresnel/Conversion/KernelBuilder.h"

namespace fresnel {

/// Bounds of the documents of a tile's first and last row, scalars.
struct DocumentEdges {
  Val firstStart, lastStart, firstEnd, lastEnd;
};

/// How many tokens a row that has bounds stands for, and how many a row that they are compared with: with pooled keys
/// their stride, else 1. Of the latter those that begin within the bounds lie in them.
struct DocumentSteps {
  int64_t own = 1, other = 1;
};

/// Of the `rows` rows from `firstRow` on; those beyond the last one stand for that one.
DocumentEdges loadDocumentEdges(KernelBuilder &b, Val bounds, Val firstRow, int64_t rows, DocumentSteps steps = {});

/// Bounds of every row of a fragment, as row fragments; the one that nothing is compared with is absent.
struct DocumentRows {
  Val starts, ends;
};

/// Which of the bounds a kernel compares with: under a causal mask the diagonal takes the place of the other.
enum class DocumentSide { Both, Starts, Ends };

/// With `group` heads side by side, row r is one of token `firstRow` + r div group.
DocumentRows loadDocumentRows(KernelBuilder &b, Val bounds, Val firstRow, int64_t rows, DocumentSide side,
                              int64_t group = 1, DocumentSteps steps = {});

/// Where the documents of the rows that a fragment numbers begin.
Val loadDocumentStarts(KernelBuilder &b, Val bounds, Val rows, DocumentSteps steps = {});

/// Whether the tokens `indices`, a fragment, lie in the documents of its rows.
Val isInDocument(const DocumentRows &rows, Val indices);

} // namespace fresnel

#endif // FRESNEL_CONVERSION_DOCUMENTS_H
