//===- TransposeBlocksToTile.cpp - Which rows list a block ----------------===//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
//
// A thread block sets the bits of up to 256 list rows for up to 1024 blocks in
// shared memory. Setting a bit twice is setting it once, so that the order in
// which entries are seen does not matter.
//
//===----------------------------------------------------------------------===//

#include "fresnel/Conversion/BlockLists.h"
#include "fresnel/Conversion/ToTile.h"

using namespace mlir;
using namespace fresnel;

/// Threads of a block, and what it transposes at most.
static constexpr int64_t kThreads = 256, kWords = 8, kBlocks = 1024;

LogicalResult fresnel::lowerTransposeBlocks(TransposeBlocksOp op, const KernelRequest &request, KernelBuilder &b) {
  auto list = cast<RankedTensorType>(op.getList().getType()), result = cast<RankedTensorType>(op.getResult().getType());
  int64_t rows = list.getDimSize(2), entries = list.getDimSize(3), blocks = result.getDimSize(2);
  int64_t words = result.getDimSize(3), width = std::min(words, kWords), height = std::min(blocks, kBlocks);
  int64_t parts = llvm::divideCeil(words, width);
  tile::KernelOp kernel =
      b.beginKernel(request.getName(), request.getArgumentTypes(), kThreads,
                    {parts * int64_t(llvm::divideCeil(blocks, height)), list.getDimSize(1), list.getDimSize(0)});
  Val batch = b.id(tile::Id::BlockZ), head = b.id(tile::Id::BlockY), x = b.id(tile::Id::BlockX);
  Val thread = b.id(tile::Id::Thread), step = b.i32(kThreads);
  Val firstWord = x % double(parts) * double(width), firstBlock = x / double(parts) * double(height);
  Val bits = b.alloc({height * width}, b.getI32Type());

  b.forRange(thread, b.i32(height * width), step, [&](Val i) { b.store(b.i32(0), bits, {i}); });
  b.barrier();
  b.forRange(thread, b.i32(32 * width * entries), step, [&](Val i) {
    Val local = divideBy(i, entries), row = firstWord * 32.0 + local;
    b.ifThen(row < double(rows), [&] {
      Val place = b.load(b.argument(kernel, 0), {batch, head, row, moduloBy(i, entries)}) - firstBlock;
      b.ifThen((place >= 0.0) & (place < double(height)), [&] {
        b.atomic(tile::Combine::Or, b.i32(1) << (local & 31.0), bits, {place * double(width) + (local >> 5.0)});
      });
    });
  });
  b.barrier();
  b.forRange(thread, b.i32(height * width), step, [&](Val i) {
    Val block = firstBlock + divideBy(i, width), word = firstWord + moduloBy(i, width);
    b.ifThen((block < double(blocks)) & (word < double(words)),
             [&] { b.store(b.load(bits, {i}), b.argument(kernel, 1), {batch, head, block, word}); });
  });
  return success();
}
