//===- DocumentBoundsToTile.cpp - Where documents begin and end -----------===//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
//
// A thread owns a token and compares it with every entry, in whatever order they
// stand. All threads read one entry at a time, which their caches hold.
//
//===----------------------------------------------------------------------===//

#include "fresnel/Conversion/ToTile.h"
#include "llvm/Support/MathExtras.h"

using namespace mlir;
using namespace fresnel;

static constexpr int64_t kThreads = 256;

LogicalResult fresnel::lowerDocumentBounds(DocumentBoundsOp op, const KernelRequest &request, KernelBuilder &b) {
  int64_t entries = cast<RankedTensorType>(op.getCu().getType()).getDimSize(2), tokens = op.getSeqLen();
  tile::KernelOp kernel = b.beginKernel(request.getName(), request.getArgumentTypes(), kThreads,
                                        {int64_t(llvm::divideCeil(tokens, kThreads)), 1, 1});
  Val zero = b.i32(0), one = b.i32(1), end = b.i32(tokens);
  Val token = b.id(tile::Id::BlockX) * double(kThreads) + b.id(tile::Id::Thread);
  b.ifThen(token < end, [&] {
    SmallVector<Val> bounds = b.forRange(zero, b.i32(entries), one, {zero, end}, [&](Val i, ArrayRef<Val> state) {
      Val entry = b.load(b.argument(kernel, 0), {zero, zero, i});
      Val before = entry <= token;
      return SmallVector<Val>{b.select(before, b.max(state[0], entry), state[0]),
                              b.select(before, state[1], b.min(state[1], entry))};
    });
    b.store(bounds[0], b.argument(kernel, 1), {zero, zero, token});
    b.store(bounds[1], b.argument(kernel, 1), {zero, one, token});
  });
  return success();
}
