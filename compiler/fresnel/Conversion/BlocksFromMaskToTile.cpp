//===- BlocksFromMaskToTile.cpp - Block lists from a mask of blocks -------===//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
//
// A warp per row: each lane reads the byte of one block, and a ballot tells it how
// many blocks come before its own. Nothing depends on who is first.
//
//===----------------------------------------------------------------------===//

#include "fresnel/Conversion/RowKernel.h"
#include "fresnel/Conversion/ToTile.h"

using namespace mlir;
using namespace fresnel;

/// Chunks of 32 blocks whose loads are in flight together.
static constexpr int64_t kChunks = 4;

LogicalResult fresnel::lowerBlocksFromMask(BlocksFromMaskOp op, const KernelRequest &request, KernelBuilder &b) {
  auto mask = cast<RankedTensorType>(op.getMask().getType());
  int64_t rows = mask.getDimSize(2), blocks = mask.getDimSize(3), rowsPerBlock = kRowThreads / 32;
  auto kernel = b.beginKernel(request.getName(), request.getArgumentTypes(), kRowThreads,
                              {int64_t(llvm::divideCeil(rows, rowsPerBlock)), mask.getDimSize(1), mask.getDimSize(0)});
  Val source = b.argument(kernel, 0), target = b.argument(kernel, 1);
  Val batch = b.id(tile::Id::BlockZ), head = b.id(tile::Id::BlockY), lane = b.id(tile::Id::Lane);
  Val row = b.id(tile::Id::BlockX) * double(rowsPerBlock) + b.id(tile::Id::Warp), last = b.i32(blocks - 1);
  // The condition is uniform in a warp, so that its lanes vote together.
  b.ifThen(row < double(rows), [&] {
    Val count =
        b.forRange(b.i32(0), b.i32(blocks), b.i32(32 * kChunks), {b.i32(0)}, [&](Val first, ArrayRef<Val> state) {
          SmallVector<Val> listed, numbers;
          for (int64_t i = 0; i < kChunks; ++i) {
            numbers.push_back(first + lane + double(32 * i));
            Val allowed = b.load(source, {batch, head, row, b.min(numbers[i], last)}) != 0.0;
            listed.push_back(allowed & (numbers[i] <= last));
          }
          Val place = state[0];
          for (int64_t i = 0; i < kChunks; ++i) {
            Val votes = b.ballot(listed[i]), before = b.popcount(votes & ((b.i32(1) << lane) - 1.0));
            b.ifThen(listed[i], [&] { b.store(numbers[i], target, {batch, head, row, place + before}); });
            place = place + b.popcount(votes);
          }
          return SmallVector<Val>{place};
        })[0];
    b.forRange(count + lane, b.i32(blocks), b.i32(32),
               [&](Val place) { b.store(b.i32(-1), target, {batch, head, row, place}); });
  });
  return success();
}
