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

LogicalResult fresnel::lowerRoundTiles(RoundTilesOp op, const KernelRequest &request, KernelBuilder &b) {
  auto rows = cast<RankedTensorType>(op.getRows().getType());
  int64_t length = rows.getDimSize(2), columns = rows.getDimSize(3), width = getVectorWidth(rows.getElementType());
  int64_t quads = kTileRows * columns / 4, tiles = llvm::divideCeil(length, kTileRows);
  auto kernel = b.beginKernel(request.getName(), request.getArgumentTypes(), kRowThreads,
                              {tiles, rows.getDimSize(1), rows.getDimSize(0)});
  Val source = b.argument(kernel, 0), target = b.argument(kernel, op.getStats() ? 2 : 1);
  Val batch = b.id(tile::Id::BlockZ), head = b.id(tile::Id::BlockY), tile = b.id(tile::Id::BlockX);
  Val thread = b.id(tile::Id::Thread), shared = b.alloc({kTileRows, columns}, b.getF32Type(), tile::Layout::Padded);

  // All loads first, so that they are in flight together.
  SmallVector<Val> places, values;
  for (int64_t i = 0; i < int64_t(llvm::divideCeil(quads, kRowThreads)); ++i) {
    places.push_back(thread + double(i * kRowThreads));
    values.push_back(b.load(source, {batch, head, tile, places.back() * 4.0}, 4));
  }
  for (auto [place, four] : llvm::zip(places, values)) {
    // Place 4 (128 j + t) + 2 r + i is row 16 (t / 32) + t % 32 / 4 + 8 r, column 8 j + 2 (t % 4) + i.
    Val holder = place & double(kHolders - 1), group = place >> double(llvm::Log2_64(kHolders));
    Val row = ((holder >> 5.0) << 4.0) + ((holder & 31.0) >> 2.0), column = group * 8.0 + (holder & 3.0) * 2.0;
    for (int64_t r = 0; r < 2; ++r)
      b.store(b.vector({b.extract(four, 2 * r), b.extract(four, 2 * r + 1)}), shared, {row + double(8 * r), column});
  }
  b.barrier();

  int64_t chunks = columns / width, total = kTileRows * chunks;
  b.forRange(thread, b.i32(total), b.i32(kRowThreads), [&](Val i) {
    Val local = i / double(chunks), column = i % double(chunks) * double(width);
    Val row = tile * double(kTileRows) + local;
    b.ifThen(row < double(length), [&] {
      Val sees, scale = b.f32(op.getScale().convertToDouble());
      if (op.getStats())
        sees = b.load(b.argument(kernel, 1), {batch, head, b.i32(0), row}) < INFINITY;
      SmallVector<Val> scaled;
      for (int64_t at = 0; at < width; at += 4) {
        Val four = b.load(shared, {local, column + double(at)}, 4);
        for (int64_t k = 0; k < 4; ++k) {
          Val value = b.extract(four, k) * scale;
          scaled.push_back(sees ? b.select(sees, value, b.f32(0)) : value);
        }
      }
      b.store(narrow(b, scaled, rows.getElementType()), target, {batch, head, row, column});
    });
  });
  return success();
}
