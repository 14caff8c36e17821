//===- FoldToTile.cpp - Folding by residues, and back ---------------------===//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
//
// Both are copies that the result drives: each thread owns a few 16-byte chunks of
// rows of the result, or one score, and looks up where they come from. Rows are
// written where they lie side by side, and read in pieces of a whole row. Repeated
// heads are summed in f32 on the way back, in their order.
//
//===----------------------------------------------------------------------===//

#include "fresnel/Conversion/RowKernel.h"
#include "fresnel/Conversion/ToTile.h"

using namespace mlir;
using namespace fresnel;

namespace {

/// Where a row of the result comes from: a row that can be read, of `count` heads that are
/// summed, and whether it is there; without `exists` all are.
struct Source {
  Val head, row, exists;
  int64_t count = 1;
};
using FindSource = function_ref<Source(Val head, Val row)>;

} // namespace

/// What was read, or 0 where there is nothing.
static Val keepExisting(KernelBuilder &b, Val value, Val exists) {
  return exists ? b.select(exists, value, b.constant(value.getType(), 0)) : value;
}

static void copyRows(KernelBuilder &b, const KernelRequest &request, RankedTensorType result, FindSource find) {
  RowBatch grid(result.getShape(), result.getElementType(), /*perThread=*/4);
  auto kernel = b.beginKernel(request.getName(), request.getArgumentTypes(), grid.threads(), grid.grid());
  Val source = b.argument(kernel, 0), target = b.argument(kernel, 1);
  RowBatch::Place place = grid.locate(b);
  SmallVector<Val> chunks;
  for (Val row : place.rows) {
    Source from = find(place.head, row);
    auto load = [&](int64_t i) {
      return b.load(source, {place.batch, from.head + double(i), from.row, place.column}, grid.one.width);
    };
    Val chunk = load(0);
    if (from.count > 1) {
      SmallVector<Val> sum = widen(b, chunk, grid.one.width);
      for (int64_t i = 1; i < from.count; ++i)
        for (auto [total, value] : llvm::zip(sum, widen(b, load(i), grid.one.width)))
          total = total + value;
      chunk = narrow(b, sum, result.getElementType());
    }
    chunks.push_back(keepExisting(b, chunk, from.exists));
  }
  for (auto [i, chunk] : llvm::enumerate(chunks))
    grid.ifInside(b, place, i, [&, chunk = chunk] {
      b.store(chunk, target, {place.batch, place.head, place.rows[i], place.column});
    });
}

static void copyScores(KernelBuilder &b, const KernelRequest &request, RankedTensorType result, FindSource find) {
  int64_t heads = result.getDimSize(1), length = result.getDimSize(2);
  auto kernel = b.beginKernel(request.getName(), request.getArgumentTypes(), kRowThreads,
                              {int64_t(llvm::divideCeil(length, kRowThreads)) * heads, 1, result.getDimSize(0)});
  Val source = b.argument(kernel, 0), target = b.argument(kernel, 1);
  Val batch = b.id(tile::Id::BlockZ), block = b.id(tile::Id::BlockX), head = block % double(heads);
  Val row = block / double(heads) * double(kRowThreads) + b.id(tile::Id::Thread);
  b.ifThen(row < b.i32(length), [&] {
    Source from = find(head, row);
    Val score = b.load(source, {batch, from.head, from.row});
    if (from.count > 1) {
      Val sum = b.cast(score, b.getF32Type());
      for (int64_t i = 1; i < from.count; ++i)
        sum = sum + b.cast(b.load(source, {batch, from.head + double(i), from.row}), b.getF32Type());
      score = b.cast(sum, result.getElementType());
    }
    b.store(keepExisting(b, score, from.exists), target, {batch, head, row});
  });
}

static void copy(KernelBuilder &b, const KernelRequest &request, FindSource find) {
  auto result = cast<RankedTensorType>(request.op->getResult(0).getType());
  result.getRank() == 4 ? copyRows(b, request, result, find) : copyScores(b, request, result, find);
}

LogicalResult fresnel::lowerFold(FoldOp op, const KernelRequest &request, KernelBuilder &b) {
  auto x = cast<RankedTensorType>(op.getX().getType());
  int64_t repeat = op.getRepeat(), heads = x.getDimSize(1) * repeat, length = x.getDimSize(2), factor = op.getFactor();
  copy(b, request, [&](Val head, Val row) -> Source {
    Val position = row * double(factor) + head / double(heads), from = head % double(heads) / double(repeat);
    if (length % factor == 0)
      return {from, position, {}};
    return {from, b.min(position, b.i32(length - 1)), position < b.i32(length)};
  });
  return success();
}

LogicalResult fresnel::lowerUnfold(UnfoldOp op, const KernelRequest &request, KernelBuilder &b) {
  int64_t factor = op.getFactor(), repeat = op.getRepeat();
  int64_t heads = cast<RankedTensorType>(op.getResult().getType()).getDimSize(1) * repeat;
  copy(b, request, [&](Val head, Val row) -> Source {
    return {row % double(factor) * double(heads) + head * double(repeat), row / double(factor), {}, repeat};
  });
  return success();
}
