//===- ScatterToTile.cpp - Pyramid rows back to tokens, in gather form
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
//
// Every output row looks up its at most one contributor per level and sums them
// in f32, level 0 first: no atomics, no zero fill, one write per element. The
// slot of an entry is found by binary search: in the order of the cascade
// (post-order), the last token of an entry's window never decreases, and of
// entries with the same last token the finer comes first. Of documents the windows
// end with them, and what fills the end of a document's slots stands for the slot
// before it.
//
//===----------------------------------------------------------------------===//

#include "fresnel/Conversion/PyramidDocuments.h"
#include "fresnel/Conversion/RowKernel.h"
#include "fresnel/Conversion/ToTile.h"

using namespace mlir;
using namespace fresnel;

namespace {

/// Finds the slot of pyramid entries in one head's selection.
class SlotSearch {
public:
  SlotSearch(KernelBuilder &b, const PyramidShape &shape, Val indices, Val batch, Val head, int64_t length)
      : b(b), shape(shape), indices(indices), batch(batch), head(head), length(length) {}

  /// The slot of entry `index` of `level` of a document, or -1 when it was not selected.
  Val find(PyramidDocuments &documents, const PyramidDocuments::Place &document, int64_t level, Val index) {
    Val end = (index + 1.0) * double(shape.windows[level]);
    if (shape.isPacked())
      end = b.min(end, documents.getSize(document, 0)) + document.firsts[0];
    Val wanted = makeKey(b.i32(level), end);
    // The first slot whose key is not smaller, by halving [low, high).
    SmallVector<Val> bounds = b.whileLoop(
        {b.i32(0), b.i32(length)}, [&](ArrayRef<Val> s) { return s[0] < s[1]; },
        [&](ArrayRef<Val> s) {
          Val middle = (s[0] + s[1]) >> b.i32(1);
          Val smaller = keyAt(middle) < wanted;
          return SmallVector<Val>{b.select(smaller, middle + 1.0, s[0]), b.select(smaller, s[1], middle)};
        });
    Val slot = bounds[0];
    Val entry = documents.getEntry(document, level, index);
    Val last = b.min(slot, b.i32(length - 1));
    Val found = (slot < b.i32(length)) & (b.load(indices, {batch, head, last}) == entry);
    return b.select(found, slot, b.i32(-1));
  }

private:
  /// Orders entries by the end of their window, then by level.
  Val makeKey(Val level, Val end) { return b.cast(end, b.getI64Type()) * 16.0 + b.cast(level, b.getI64Type()); }

  Val keyAt(Val slot) {
    if (shape.isPacked())
      return keyOfDocuments(slot);
    Val entry = b.load(indices, {batch, head, slot});
    PyramidEntry found = findEntry(b, shape, entry);
    Val key = makeKey(found.level, (found.index + 1.0) * found.window);
    // The padding at the end comes after everything.
    return b.select(entry < 0.0, b.constant(b.getI64Type(), double(int64_t(1) << 62)), key);
  }

  Val keyOfDocuments(Val slot) {
    SmallVector<Val> found = b.whileLoop(
        {slot, b.load(indices, {batch, head, slot})}, [&](ArrayRef<Val> s) { return (s[0] > 0.0) & (s[1] < 0.0); },
        [&](ArrayRef<Val> s) { return SmallVector<Val>{s[0] - 1.0, b.load(indices, {batch, head, s[0] - 1.0})}; });
    PyramidEntry entry = findEntry(b, shape, found[1]);
    Val key = makeKey(entry.level, b.min((entry.index + 1.0) * entry.window, entry.length) + entry.firstToken);
    return b.select(found[1] < 0.0, b.constant(b.getI64Type(), -1.0), key);
  }

  KernelBuilder &b;
  const PyramidShape &shape;
  Val indices, batch, head;
  int64_t length;
};

} // namespace

LogicalResult fresnel::lowerScatter(ScatterOp op, const KernelRequest &request, KernelBuilder &b) {
  auto x = cast<RankedTensorType>(op.getX().getType());
  auto result = cast<RankedTensorType>(op.getResult().getType());
  PyramidShape shape(op.getSeqLen(), op.getLevels(), op.getFactor(), op.getDocuments());
  PyramidDocuments documents(b, shape, [](const DocumentShape &document) { return document.sizes[0]; });
  int64_t levels = shape.windows.size(), length = x.getDimSize(2);
  RowGrid grid(result.getShape(), x.getElementType());
  auto kernel = b.beginKernel(request.getName(), request.getArgumentTypes(), grid.threads(), grid.grid());
  Val source = b.argument(kernel, 0), indices = b.argument(kernel, 1), target = b.argument(kernel, 2);
  RowGrid::Place place = grid.locate(b);
  Val indexHead = getSharedHead(place.head, op.getX(), op.getIndices());

  // One thread per row and level searches; the row's threads then read the slots.
  Val slots = b.alloc({grid.rowsPerBlock() * levels}, b.getI32Type());
  Val firstRow = b.id(tile::Id::BlockX) * double(grid.rowsPerBlock());
  b.forRange(b.id(tile::Id::Thread), b.i32(grid.rowsPerBlock() * levels), b.i32(grid.threads()), [&](Val item) {
    Val row = firstRow + item / double(levels), level = item % double(levels);
    b.store(b.i32(-1), slots, {item});
    PyramidDocuments::Place document = documents.locate(b.min(row, b.i32(result.getDimSize(2) - 1)));
    for (int64_t l = 0; l < levels; ++l) {
      Val shifted = (shape.isPacked() ? document.item : row) - double(shape.windows[l] - 1);
      Val possible = (level == double(l)) & (shifted >= 0.0) & (row < b.i32(result.getDimSize(2)));
      b.ifThen(possible, [&] {
        SlotSearch search(b, shape, indices, place.batch, indexHead, length);
        b.store(search.find(documents, document, l, shifted / double(shape.windows[l])), slots, {item});
      });
    }
  });
  b.barrier();

  b.ifThen(place.inside, [&] {
    SmallVector<Val> sum(grid.width, b.f32(0));
    for (int64_t l = 0; l < levels; ++l) {
      Val slot = b.load(slots, {(place.row - firstRow) * double(levels) + double(l)});
      sum = b.ifElse(
          slot >= 0.0,
          [&] {
            Val row = b.load(source, {place.batch, place.head, slot, place.column}, grid.width);
            SmallVector<Val> next;
            for (auto [old, value] : llvm::zip(sum, widen(b, row, grid.width)))
              next.push_back(old + value);
            return next;
          },
          [&] { return sum; });
    }
    b.store(narrow(b, sum, x.getElementType()), target, {place.batch, place.head, place.row, place.column});
  });
  return success();
}
