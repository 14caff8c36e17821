//===- RoundTilesToTile.cpp - Rows out of accumulators' squares -----------===//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
//
// A thread block reads one tile of 64 rows as it lies in memory, 16 bytes a thread,
// sorts it in shared memory and writes it row by row.
//
//===----------------------------------------------------------------------===//

#include "fresnel/Conversion/RowKernel.h"
#include "fresnel/Conversion/ToTile.h"
#include <cmath>

using namespace mlir;
using namespace fresnel;

/// Rows of a tile; the threads that held it.
static constexpr int64_t kTileRows = 64, kHolders = 128;

namespace {
/// Writes the kernel of one operation.
class RoundTilesKernel {
public:
  RoundTilesKernel(RoundTilesOp op, const KernelRequest &request, KernelBuilder &b) : op(op), b(b) {
    auto rows = cast<RankedTensorType>(op.getRows().getType());
    element = rows.getElementType();
    length = rows.getDimSize(2), columns = rows.getDimSize(3), width = getVectorWidth(element);
    chunks = columns / width;
    kernel = b.beginKernel(request.getName(), request.getArgumentTypes(), kRowThreads,
                           {int64_t(llvm::divideCeil(length, kTileRows)), rows.getDimSize(1), rows.getDimSize(0)});
    batch = b.id(tile::Id::BlockZ), head = b.id(tile::Id::BlockY), tile = b.id(tile::Id::BlockX);
    thread = b.id(tile::Id::Thread);
    shared = b.alloc({kTileRows, columns}, b.getF32Type(), tile::Layout::Padded);
  }

  void write() {
    // All loads first, so that they are in flight together.
    SmallVector<Val> places, values, addends;
    for (int64_t i = 0; i < int64_t(llvm::divideCeil(kTileRows * columns / 4, kRowThreads)); ++i) {
      places.push_back(thread + double(i * kRowThreads));
      values.push_back(b.load(b.argument(kernel, 0), {batch, head, tile, places.back() * 4.0}, 4));
    }
    if (op.getAddend())
      for (int64_t i = 0; i < int64_t(llvm::divideCeil(kTileRows * chunks, kRowThreads)); ++i)
        addends.push_back(loadAddend(locate(thread + double(i * kRowThreads))));
    for (auto [place, four] : llvm::zip(places, values))
      sort(place, four);
    b.barrier();
    if (addends.empty())
      return b.forRange(thread, b.i32(kTileRows * chunks), b.i32(kRowThreads),
                        [&](Val i) { writeChunk(locate(i), Val()); });
    for (auto [i, addend] : llvm::enumerate(addends))
      writeChunk(locate(thread + double(i * kRowThreads)), addend);
  }

private:
  /// A chunk of 16 bytes of a row.
  struct Chunk {
    Val local, row, column;
  };

  Chunk locate(Val i) {
    Val local = i / double(chunks);
    return {local, tile * double(kTileRows) + local, i % double(chunks) * double(width)};
  }

  /// Of the last row if there is no such row. The result may lie in the place of the addend: what a thread adds, and
  /// what others may write before, is not used then.
  Val loadAddend(const Chunk &chunk) {
    return b.load(getAddend(), {batch, head, b.min(chunk.row, b.i32(length - 1)), chunk.column}, width);
  }

  Val getAddend() { return b.argument(kernel, op.getStats() ? 2 : 1); }

  void sort(Val place, Val four) {
    // Place 4 (128 j + t) + 2 r + i is row 16 (t / 32) + t % 32 / 4 + 8 r, column 8 j + 2 (t % 4) + i.
    Val holder = place & double(kHolders - 1), group = place >> double(llvm::Log2_64(kHolders));
    Val row = ((holder >> 5.0) << 4.0) + ((holder & 31.0) >> 2.0), column = group * 8.0 + (holder & 3.0) * 2.0;
    for (int64_t r = 0; r < 2; ++r)
      b.store(b.vector({b.extract(four, 2 * r), b.extract(four, 2 * r + 1)}), shared, {row + double(8 * r), column});
  }

  void writeChunk(const Chunk &chunk, Val addend) {
    Val exists = chunk.row < double(length);
    if (addend && kTileRows * chunks % kRowThreads)
      exists = exists & (chunk.local < double(kTileRows));
    b.ifThen(exists, [&] {
      Val sees, scale = b.f32(op.getScale().convertToDouble());
      if (op.getStats())
        sees = b.load(b.argument(kernel, 1), {batch, head, b.i32(0), chunk.row}) < INFINITY;
      SmallVector<Val> terms = addend ? widen(b, addend, width) : SmallVector<Val>(), sums;
      for (int64_t at = 0; at < width; at += 4) {
        Val four = b.load(shared, {chunk.local, chunk.column + double(at)}, 4);
        for (int64_t k = 0; k < 4; ++k) {
          Val value = b.extract(four, k) * scale;
          Val seen = sees ? b.select(sees, value, b.f32(0)) : value;
          sums.push_back(addend ? seen + terms[at + k] : seen);
        }
      }
      b.store(narrow(b, sums, element), b.argument(kernel, 1 + op.getMore().size()),
              {batch, head, chunk.row, chunk.column});
    });
  }

  RoundTilesOp op;
  KernelBuilder &b;
  tile::KernelOp kernel;
  Type element;
  int64_t length, columns, width, chunks;
  Val batch, head, tile, thread, shared;
};
} // namespace

LogicalResult fresnel::lowerRoundTiles(RoundTilesOp op, const KernelRequest &request, KernelBuilder &b) {
  RoundTilesKernel(op, request, b).write();
  return success();
}
