//===- PyramidDocuments.h - Pyramids of packed documents --------*- C++ -*-===//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
//
// How the kernels of pyramids and selections find a document's part of a packed
// pyramid. The lengths are known, so that a kernel has them as a table of constants,
// with a row for each document that has tokens: where its items begin among those of
// all documents (an item is what a thread or a team works on), and per level its
// first entry, their number, and what its last window multiplies sums by for a mean.
// A pyramid of one document needs no table; its places cost nothing.
//
//===----------------------------------------------------------------------===//
#ifndef FRESNEL_CONVERSION_PYRAMIDDOCUMENTS_H
#define FRESNEL_CONVERSION_PYRAMIDDOCUMENTS_H

#include "fresnel/Conversion/KernelBuilder.h"
#include "fresnel/Dialect/CascadeShape.h"

namespace fresnel {

class PyramidDocuments {
public:
  /// `countItems` says how many items a document is cut into, at least one.
  PyramidDocuments(KernelBuilder &b, const PyramidShape &shape,
                   llvm::function_ref<int64_t(const DocumentShape &)> countItems);

  /// Items of all documents.
  int64_t getItems() const { return items; }
  /// Whether every document is a whole number of windows of `tokens` tokens.
  bool areMultiplesOf(int64_t tokens) const;

  /// A document, and an item counted from its first one on.
  struct Place {
    Val item;
    /// Per level, of the document; empty where there is but one.
    llvm::SmallVector<Val> firsts, sizes, shares;
  };
  /// The document of one of all items.
  Place locate(Val item);
  /// The document in that row of the table, without an item.
  Place getDocument(Val row);
  /// The document of entry `entry` of a packed pyramid, which is of level `level`; the item is the
  /// entry's number in its document's level.
  Place locateEntry(Val level, Val entry);

  /// Entry `index` of the document's level, among all entries of the pyramid.
  Val getEntry(const Place &place, int64_t level, Val index);
  Val getSize(const Place &place, int64_t level);
  Val getLast(const Place &place, int64_t level);
  /// What a sum over window `index` of a level is multiplied by for a mean.
  Val getShare(const Place &place, int64_t level, Val index);

private:
  Val createTable();
  Val findRow(Val table, Val value, Val column);
  Place readRow(Val table, Val row);

  KernelBuilder &b;
  const PyramidShape &shape;
  llvm::SmallVector<int64_t> firstItems;
  int64_t items = 0;
};

/// What an entry of a pyramid pools: window `index` of `window` tokens of a document of `length` tokens,
/// which begins at `firstToken`. What is said of entry -1 means nothing.
struct PyramidEntry {
  Val level, index, window, length, firstToken;
};
PyramidEntry findEntry(KernelBuilder &b, const PyramidShape &shape, Val entry);

} // namespace fresnel

#endif // FRESNEL_CONVERSION_PYRAMIDDOCUMENTS_H
