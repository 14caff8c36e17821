//===- MoveToTile.cpp - Rows to other places, one to one ------------------===//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
//
// A copy that the result drives, as a fold's: each thread owns a chunk of a few rows of
// the result, of 16 bytes or of one element where rows are no multiple of that, or one
// score. What nothing moves to is 0.
//
//===----------------------------------------------------------------------===//

#include "fresnel/Conversion/RowKernel.h"
#include "fresnel/Conversion/ToTile.h"

using namespace mlir;
using namespace fresnel;

static int64_t getChunk(RankedTensorType rows) {
  int64_t width = getVectorWidth(rows.getElementType());
  return rows.getDimSize(3) % width ? 1 : width;
}

static void moveRows(MoveOp op, RankedTensorType result, const KernelRequest &request, KernelBuilder &b) {
  RowBatch grid(result.getShape(), getChunk(result), /*perThread=*/2);
  auto kernel = b.beginKernel(request.getName(), request.getArgumentTypes(), grid.threads(), grid.grid());
  Val source = b.argument(kernel, 0), from = b.argument(kernel, 1), target = b.argument(kernel, 3);
  RowBatch::Place place = grid.locate(b);
  SmallVector<Val> chunks;
  for (Val row : place.rows) {
    Val index = b.load(from, {b.i32(0), b.i32(0), row}), exists = index >= 0.0;
    // A row that does not exist reads row 0 and drops it.
    Val chunk = b.load(source, {place.batch, place.head, b.max(index, b.i32(0)), place.column}, grid.one.width);
    chunks.push_back(b.select(exists, chunk, b.constant(chunk.getType(), 0)));
  }
  for (auto [i, chunk] : llvm::enumerate(chunks))
    grid.ifInside(b, place, i, [&, chunk = chunk] {
      b.store(chunk, target, {place.batch, place.head, place.rows[i], place.column});
    });
}

static void moveScores(MoveOp op, RankedTensorType result, const KernelRequest &request, KernelBuilder &b) {
  int64_t length = result.getDimSize(2);
  auto kernel =
      b.beginKernel(request.getName(), request.getArgumentTypes(), kRowThreads,
                    {int64_t(llvm::divideCeil(length, kRowThreads)), result.getDimSize(1), result.getDimSize(0)});
  Val source = b.argument(kernel, 0), from = b.argument(kernel, 1), target = b.argument(kernel, 3);
  Val batch = b.id(tile::Id::BlockZ), head = b.id(tile::Id::BlockY);
  Val row = b.id(tile::Id::BlockX) * double(kRowThreads) + b.id(tile::Id::Thread);
  b.ifThen(row < b.i32(length), [&] {
    Val index = b.load(from, {b.i32(0), b.i32(0), row});
    Val score = b.load(source, {batch, head, b.max(index, b.i32(0))});
    b.store(b.select(index >= 0.0, score, b.constant(score.getType(), 0)), target, {batch, head, row});
  });
}

LogicalResult fresnel::lowerMove(MoveOp op, const KernelRequest &request, KernelBuilder &builder) {
  auto result = cast<RankedTensorType>(op.getResult().getType());
  result.getRank() == 4 ? moveRows(op, result, request, builder) : moveScores(op, result, request, builder);
  return success();
}
