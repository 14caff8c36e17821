//===- PyramidDocuments.cpp - Pyramids of packed documents ----------------===//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//

#include "fresnel/Conversion/PyramidDocuments.h"
#include "llvm/ADT/bit.h"

using namespace mlir;
using namespace fresnel;

/// The columns of the table: the first item, then these for each level.
static constexpr int64_t kFirst = 0, kSize = 1, kShare = 2, kPerLevel = 3;

static int64_t getColumn(int64_t level, int64_t which) { return 1 + level * kPerLevel + which; }

/// What the sum over the last window of a level is multiplied by for a mean.
static float getLastShare(const DocumentShape &document, int64_t level, int64_t window) {
  return float(1.0 / double(document.sizes[0] - (document.sizes[level] - 1) * window));
}

PyramidDocuments::PyramidDocuments(KernelBuilder &b, const PyramidShape &shape,
                                   function_ref<int64_t(const DocumentShape &)> countItems)
    : b(b), shape(shape) {
  for (const DocumentShape &document : shape.documents) {
    firstItems.push_back(items);
    items += countItems(document);
  }
}

bool PyramidDocuments::areMultiplesOf(int64_t tokens) const {
  return llvm::all_of(shape.documents, [&](const DocumentShape &document) { return document.sizes[0] % tokens == 0; });
}

Val PyramidDocuments::createTable() {
  int64_t levels = shape.windows.size();
  SmallVector<int32_t> values;
  for (auto [document, first] : llvm::zip(shape.documents, firstItems)) {
    values.push_back(first);
    for (int64_t level = 0; level < levels; ++level)
      values.append({int32_t(shape.offsets[level] + document.firsts[level]), int32_t(document.sizes[level]),
                     llvm::bit_cast<int32_t>(getLastShare(document, level, shape.windows[level]))});
  }
  return b.table(values, getColumn(levels, 0));
}

/// The last row that holds at most `value` in that column, which ascends from what is at most `value`.
Val PyramidDocuments::findRow(Val table, Val value, Val column) {
  int64_t rows = shape.documents.size();
  Val found = b.i32(0);
  for (int64_t step = llvm::bit_floor(uint64_t(rows - 1)); step > 0; step /= 2) {
    Val row = found + double(step);
    Val fits = (row < double(rows)) & (b.load(table, {b.min(row, b.i32(rows - 1)), column}) <= value);
    found = b.select(fits, row, found);
  }
  return found;
}

PyramidDocuments::Place PyramidDocuments::readRow(Val table, Val row) {
  Place place;
  for (size_t level = 0; level < shape.windows.size(); ++level) {
    auto load = [&](int64_t which) { return b.load(table, {row, b.i32(getColumn(level, which))}); };
    place.firsts.push_back(load(kFirst));
    place.sizes.push_back(load(kSize));
    place.shares.push_back(b.bitcast(load(kShare), b.getF32Type()));
  }
  return place;
}

PyramidDocuments::Place PyramidDocuments::locate(Val item) {
  if (!shape.isPacked())
    return {item, {}, {}, {}};
  Val table = createTable(), row = findRow(table, item, b.i32(0));
  Place place = readRow(table, row);
  place.item = item - b.load(table, {row, b.i32(0)});
  return place;
}

PyramidDocuments::Place PyramidDocuments::getDocument(Val row) {
  return shape.isPacked() ? readRow(createTable(), row) : Place();
}

PyramidDocuments::Place PyramidDocuments::locateEntry(Val level, Val entry) {
  Val table = createTable(), column = level * double(kPerLevel) + double(getColumn(0, kFirst));
  Val row = findRow(table, entry, column);
  Place place = readRow(table, row);
  place.item = entry - b.load(table, {row, column});
  return place;
}

Val PyramidDocuments::getEntry(const Place &place, int64_t level, Val index) {
  if (!place.firsts.empty())
    return index + place.firsts[level];
  return level == 0 ? index : index + double(shape.offsets[level]);
}

Val PyramidDocuments::getSize(const Place &place, int64_t level) {
  return place.sizes.empty() ? b.i32(shape.sizes[level]) : place.sizes[level];
}

Val PyramidDocuments::getLast(const Place &place, int64_t level) {
  return place.sizes.empty() ? b.i32(shape.sizes[level] - 1) : place.sizes[level] - 1.0;
}

Val PyramidDocuments::getShare(const Place &place, int64_t level, Val index) {
  int64_t window = shape.windows[level];
  Val share = b.f32(1.0 / double(window));
  // The last window of a document may be short.
  if (areMultiplesOf(window))
    return share;
  Val last = place.shares.empty() ? b.f32(getLastShare(shape.documents[0], level, window)) : place.shares[level];
  return b.select(index == getLast(place, level), last, share);
}

PyramidEntry fresnel::findEntry(KernelBuilder &b, const PyramidShape &shape, Val entry) {
  PyramidEntry found{b.i32(0), entry, b.i32(1), b.i32(shape.sizes[0]), b.i32(0)};
  for (size_t level = 1; level < shape.windows.size(); ++level) {
    Val above = entry >= b.i32(shape.offsets[level]);
    found.level = b.select(above, b.i32(level), found.level);
    found.window = b.select(above, b.i32(shape.windows[level]), found.window);
    found.index = b.select(above, entry - double(shape.offsets[level]), found.index);
  }
  if (!shape.isPacked())
    return found;
  PyramidDocuments documents(b, shape, [](const DocumentShape &document) { return document.sizes[0]; });
  PyramidDocuments::Place place = documents.locateEntry(found.level, b.max(entry, b.i32(0)));
  found.index = place.item;
  found.length = place.sizes[0];
  found.firstToken = place.firsts[0];
  return found;
}
