//===- IntegerSums.cpp - Gradients of queries summed in integers ----------===//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//

#include "fresnel/Conversion/IntegerSums.h"
#include "llvm/Support/MathExtras.h"

using namespace mlir;
using namespace fresnel;

/// Rows of a tile; threads of a block, which hold it as a warpgroup does an accumulator.
static constexpr int64_t kRows = 64, kThreads = 128;
/// The largest relative error, squared; the largest variance of the error of a term that is rounded.
static constexpr double kError = 0x1p-20, kVariance = 0.25;

// Multiples of the golden section fall apart evenly (Weyl).
Val fresnel::getDither(KernelBuilder &b, Val block) {
  Val turned = block * b.i32(int32_t(0x9e3779b9u));
  return b.toFloat(turned, b.getF32Type()) * 0x1p-32;
}

Val fresnel::areTooCoarse(KernelBuilder &b, Val tiles, Val stats, ArrayRef<Val> at, int64_t length, int64_t columns,
                          int64_t keys) {
  Val thread = b.id(tile::Id::Thread), lane = b.id(tile::Id::Lane), warp = b.id(tile::Id::Warp);
  Val first = at[2] * double(kRows);
  // The warps, and as many lanes for each row.
  Val partial = b.alloc({kThreads / 32}, b.getF32Type());
  auto getFactor = [&](Val row) { return b.load(stats, {at[0], at[1], b.i32(2), first + row}); };
  Val least = b.min(getFactor(lane), getFactor(lane + double(kRows / 2)));
  for (int64_t mask : {16, 8, 4, 2, 1})
    least = b.min(least, b.shuffleXor(least, mask));

  // All loads first, so that they are in flight together. Each has two elements of a row and two of the eighth after
  // it.
  SmallVector<Val> quads;
  for (int64_t i = 0; i < kRows * columns / 4 / kThreads; ++i)
    quads.push_back(b.load(tiles, {at[0], at[1], at[2], (thread + double(i * kThreads)) * 4.0}, 4));
  SmallVector<Val> squares(2, b.f32(0));
  for (Val quad : quads)
    for (int64_t k = 0; k < 4; ++k) {
      Val value = b.toFloat(b.extract(quad, k), b.getF32Type());
      squares[k / 2] = b.fma(value, value, squares[k / 2]);
    }
  double terms = double(llvm::divideCeil(keys, kTermKeys)), share = kVariance * double(columns) * terms / 4;
  Val excess = b.f32(0);
  for (int64_t r = 0; r < 2; ++r) {
    Val row = warp * 16.0 + (lane >> 2.0) + double(8 * r), factor = getFactor(row), unit = least / factor;
    Val errs = (first + row < double(length)) & (factor < kIntegerBound / kLeastBound);
    excess = excess + unit * unit * (b.select(errs, b.f32(share), b.f32(0)) - squares[r] * kError);
  }
  for (int64_t mask : {16, 8, 4, 2, 1})
    excess = excess + b.shuffleXor(excess, mask);
  b.ifThen(lane == 0.0, [&] { b.store(excess, partial, {warp}); });
  b.barrier();
  Val sum = b.load(partial, {b.i32(0)});
  for (int64_t i = 1; i < kThreads / 32; ++i)
    sum = sum + b.load(partial, {b.i32(i)});
  // NaN is too coarse.
  return (sum <= 0.0) ^ 1.0;
}
