//===- GroupedRowsToTile.cpp - To the places of rows and back -------------===//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
//
// Each thread owns 16-byte chunks of a row and has the chunks of all of its places under
// way at once.
//
//===----------------------------------------------------------------------===//

#include "fresnel/Conversion/RowKernel.h"
#include "fresnel/Conversion/ToTile.h"
#include <cmath>

using namespace mlir;
using namespace fresnel;

using Values = SmallVector<Val>;

LogicalResult fresnel::lowerGatherScores(GatherScoresOp op, const KernelRequest &request, KernelBuilder &b) {
  auto result = cast<RankedTensorType>(op.getResult().getType());
  int64_t length = result.getDimSize(2);
  auto kernel =
      b.beginKernel(request.getName(), request.getArgumentTypes(), kRowThreads,
                    {int64_t(llvm::divideCeil(length, kRowThreads)), result.getDimSize(1), result.getDimSize(0)});
  Val batch = b.id(tile::Id::BlockZ), head = b.id(tile::Id::BlockY);
  Val place = b.id(tile::Id::BlockX) * double(kRowThreads) + b.id(tile::Id::Thread);
  b.ifThen(place < double(length), [&] {
    Val row = b.load(b.argument(kernel, 1), {batch, getSharedHead(head, op.getX(), op.getRows()), place});
    Val value = b.load(b.argument(kernel, 0), {batch, head, b.max(row, b.i32(0))});
    b.store(b.select(row >= 0.0, value, b.f32(0)), b.argument(kernel, 2), {batch, head, place});
  });
  return success();
}

/// The places of a row, -1 for none, and their chunks of `part`: of row 0 where there is none.
static std::pair<Values, Values> loadPlaces(KernelBuilder &b, Val slots, int64_t entries, Val part, Val sharedHead,
                                            const RowGrid::Place &place, int64_t width) {
  Values places, chunks;
  for (int64_t k = 0; k < entries; ++k)
    places.push_back(b.load(slots, {place.batch, sharedHead, place.row, b.i32(k)}));
  for (Val at : places)
    chunks.push_back(b.load(part, {place.batch, place.head, b.max(at, b.i32(0)), place.column}, width));
  return {places, chunks};
}

LogicalResult fresnel::lowerMergeRows(MergeRowsOp op, const KernelRequest &request, KernelBuilder &b) {
  auto type = cast<RankedTensorType>(op.getMerged().getType());
  int64_t entries = cast<RankedTensorType>(op.getSlots().getType()).getDimSize(3);
  RowGrid grid(type.getShape(), type.getElementType());
  auto kernel = b.beginKernel(request.getName(), request.getArgumentTypes(), grid.threads(), grid.grid());
  Val part = b.argument(kernel, 0), partLse = b.argument(kernel, 1), slots = b.argument(kernel, 2);
  Val out = b.argument(kernel, 3), lse = b.argument(kernel, 4);
  RowGrid::Place place = grid.locate(b);
  b.ifThen(place.inside, [&] {
    Val sharedHead = getSharedHead(place.head, op.getOut(), op.getSlots());
    auto [places, chunks] = loadPlaces(b, slots, entries, part, sharedHead, place, grid.width);
    chunks.push_back(b.load(out, {place.batch, place.head, place.row, place.column}, grid.width));
    Values lses;
    for (Val at : places) {
      Val value = b.load(partLse, {place.batch, place.head, b.max(at, b.i32(0))});
      lses.push_back(b.select(at >= 0.0, value, b.f32(-INFINITY)));
    }
    lses.push_back(b.load(lse, {place.batch, place.head, place.row}));
    Val top = lses.front();
    for (Val value : lses)
      top = b.max(top, value);
    // Without anything to merge all weights are 0.
    Val nothing = top == -INFINITY, base = b.select(nothing, b.f32(0), top), sum = b.f32(0);
    Values weights, total(grid.width, b.f32(0));
    for (Val value : lses) {
      weights.push_back(b.exp2((value - base) * M_LOG2E));
      sum = sum + weights.back();
    }
    Val inverse = b.select(nothing, b.f32(0), b.reciprocal(sum));
    for (auto [weight, chunk] : llvm::zip(weights, chunks))
      for (auto [element, value] : llvm::zip(total, widen(b, chunk, grid.width)))
        element = b.fma(weight * inverse, value, element);
    b.store(narrow(b, total, type.getElementType()), b.argument(kernel, 5),
            {place.batch, place.head, place.row, place.column});
    b.ifThen(place.column == 0.0, [&] {
      Val merged = b.select(nothing, b.f32(-INFINITY), b.fma(b.log2(sum), b.f32(M_LN2), base));
      b.store(merged, b.argument(kernel, 6), {place.batch, place.head, place.row});
    });
  });
  return success();
}

LogicalResult fresnel::lowerSumRows(SumRowsOp op, const KernelRequest &request, KernelBuilder &b) {
  auto type = cast<RankedTensorType>(op.getResult().getType());
  int64_t entries = cast<RankedTensorType>(op.getSlots().getType()).getDimSize(3);
  RowGrid grid(type.getShape(), type.getElementType());
  auto kernel = b.beginKernel(request.getName(), request.getArgumentTypes(), grid.threads(), grid.grid());
  RowGrid::Place place = grid.locate(b);
  b.ifThen(place.inside, [&] {
    Values row{place.batch, place.head, place.row, place.column};
    Val sharedHead = getSharedHead(place.head, op.getX(), op.getSlots());
    auto [places, chunks] =
        loadPlaces(b, b.argument(kernel, 1), entries, b.argument(kernel, 0), sharedHead, place, grid.width);
    Values sum = widen(b, b.load(b.argument(kernel, 2), row, grid.width), grid.width);
    for (auto [at, chunk] : llvm::zip(places, chunks))
      for (auto [element, value] : llvm::zip(sum, widen(b, chunk, grid.width)))
        element = element + b.select(at >= 0.0, value, b.f32(0));
    b.store(narrow(b, sum, type.getElementType()), b.argument(kernel, 3), row);
  });
  return success();
}
