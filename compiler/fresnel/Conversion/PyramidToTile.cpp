//===- PyramidToTile.cpp - All pooled levels of a sequence
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
//
// Each thread owns one 16-byte chunk (rank 4) or one score (rank 3) of one
// entry and pools the base rows of its window. Means are summed in f32 and
// rounded once; level 0 is a copy.
//
//===----------------------------------------------------------------------===//

#include "fresnel/Conversion/PyramidDocuments.h"
#include "fresnel/Conversion/RowKernel.h"
#include "fresnel/Conversion/ToTile.h"
#include <cmath>

using namespace mlir;
using namespace fresnel;

namespace {

/// The base rows that an entry pools.
struct Window {
  Val first, end;
};

Window findWindow(KernelBuilder &b, const PyramidShape &shape, Val entry) {
  PyramidEntry found = findEntry(b, shape, entry);
  Val first = found.index * found.window;
  return {first + found.firstToken, b.min(first + found.window, found.length) + found.firstToken};
}

/// Pools `count` values over the rows of a window; `load(row)` reads them.
SmallVector<Val> poolRows(KernelBuilder &b, PoolKind kind, Window window, int64_t count,
                          function_ref<SmallVector<Val>(Val)> load) {
  SmallVector<Val> init(count, b.f32(kind == PoolKind::Max ? -INFINITY : 0.0));
  SmallVector<Val> pooled = b.forRange(window.first, window.end, b.i32(1), init, [&](Val row, ArrayRef<Val> state) {
    SmallVector<Val> next;
    for (auto [old, value] : llvm::zip(state, load(row)))
      next.push_back(kind == PoolKind::Max ? b.max(old, value) : old + value);
    return next;
  });
  if (kind == PoolKind::Mean) {
    Val count = b.toFloat(window.end - window.first, b.getF32Type());
    for (Val &value : pooled)
      value = value / count;
  }
  return pooled;
}

} // namespace

LogicalResult fresnel::lowerPyramid(PyramidOp op, const KernelRequest &request, KernelBuilder &b) {
  auto x = cast<RankedTensorType>(op.getX().getType());
  auto result = cast<RankedTensorType>(op.getResult().getType());
  Type element = x.getElementType();
  PyramidShape shape(x.getDimSize(2), op.getLevels(), op.getFactor(), op.getDocuments());
  if (result.getRank() == 4) {
    RowGrid grid(result.getShape(), element);
    auto kernel = b.beginKernel(request.getName(), request.getArgumentTypes(), grid.threads(), grid.grid());
    Val source = b.argument(kernel, 0), target = b.argument(kernel, 1);
    RowGrid::Place place = grid.locate(b);
    b.ifThen(place.inside, [&] {
      Window window = findWindow(b, shape, place.row);
      SmallVector<Val> pooled = poolRows(b, op.getKind(), window, grid.width, [&](Val row) {
        return widen(b, b.load(source, {place.batch, place.head, row, place.column}, grid.width), grid.width);
      });
      b.store(narrow(b, pooled, element), target, {place.batch, place.head, place.row, place.column});
    });
    return success();
  }
  int64_t entries = result.getDimSize(2);
  auto kernel =
      b.beginKernel(request.getName(), request.getArgumentTypes(), kRowThreads,
                    {int64_t(llvm::divideCeil(entries, kRowThreads)), result.getDimSize(1), result.getDimSize(0)});
  Val source = b.argument(kernel, 0), target = b.argument(kernel, 1);
  Val batch = b.id(tile::Id::BlockZ), head = b.id(tile::Id::BlockY);
  Val entry = b.id(tile::Id::BlockX) * double(kRowThreads) + b.id(tile::Id::Thread);
  b.ifThen(entry < b.i32(entries), [&] {
    SmallVector<Val> pooled = poolRows(b, op.getKind(), findWindow(b, shape, entry), 1, [&](Val row) {
      return SmallVector<Val>{b.cast(b.load(source, {batch, head, row}), b.getF32Type())};
    });
    b.store(b.cast(pooled[0], element), target, {batch, head, entry});
  });
  return success();
}
