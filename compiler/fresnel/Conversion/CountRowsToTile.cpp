//===- CountRowsToTile.cpp - How many rows list a block -------------------===//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
//
// A warp counts the bits of one block.
//
//===----------------------------------------------------------------------===//

#include "fresnel/Conversion/ToTile.h"
#include "llvm/Support/MathExtras.h"

using namespace mlir;
using namespace fresnel;

static constexpr int64_t kWarps = 8, kLanes = 32;

LogicalResult fresnel::lowerCountRows(CountRowsOp op, const KernelRequest &request, KernelBuilder &b) {
  auto bits = cast<RankedTensorType>(op.getBits().getType());
  int64_t blocks = bits.getDimSize(2), words = bits.getDimSize(3);
  tile::KernelOp kernel =
      b.beginKernel(request.getName(), request.getArgumentTypes(), kWarps * kLanes,
                    {int64_t(llvm::divideCeil(blocks, kWarps)), bits.getDimSize(1), bits.getDimSize(0)});
  Val batch = b.id(tile::Id::BlockZ), head = b.id(tile::Id::BlockY), lane = b.id(tile::Id::Lane);
  Val block = b.id(tile::Id::BlockX) * double(kWarps) + b.id(tile::Id::Warp);
  b.ifThen(block < double(blocks), [&] {
    Val count = b.forRange(lane, b.i32(words), b.i32(kLanes), {b.i32(0)}, [&](Val word, ArrayRef<Val> sum) {
      Val set = b.popcount(b.load(b.argument(kernel, 0), {batch, head, block, word}));
      return SmallVector<Val>{sum[0] + set};
    })[0];
    for (int64_t mask = kLanes / 2; mask > 0; mask /= 2)
      count = count + b.shuffleXor(count, mask);
    b.ifThen(lane == 0.0, [&] { b.store(count, b.argument(kernel, 1), {batch, head, block}); });
  });
  return success();
}
