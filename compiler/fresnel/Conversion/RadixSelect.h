//===- RadixSelect.h - The k largest of a block's candidates ----*- C++ -*-===//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
#ifndef FRESNEL_CONVERSION_RADIXSELECT_H
#define FRESNEL_CONVERSION_RADIXSELECT_H

#include "fresnel/Conversion/KernelBuilder.h"

namespace fresnel {

/// Sums over the lanes below, and over all lanes, of a warp.
struct WarpScan {
  WarpScan(KernelBuilder &builder, Val value);
  Val before, total;
};

/// The same of a value of each of a block's `threads`, which call the written code together; `sums` has room for
/// a number for each warp, and may be written again behind a barrier.
struct ThreadScan {
  Val before, total;
};
ThreadScan scanThreads(KernelBuilder &builder, Val value, Val sums, int64_t threads);

/// Writes the selection of the largest keys by a thread block: four passes of
/// eight bits find the smallest selected key and how many of its equals are
/// taken; those are the ones with the lowest candidate numbers. Deterministic:
/// only counts are combined atomically. All `threads` threads call the written
/// code together.
class RadixSelect {
public:
  /// i32 words of shared memory that one selector uses.
  static constexpr int64_t kWords = 256 + 2;

  /// `equals` has room for one bit per candidate.
  RadixSelect(KernelBuilder &builder, Val thread, int64_t threads, Val equals);

  /// An i32 whose signed order is that of the f32 score; both zeros are equal.
  static Val orderedKey(KernelBuilder &builder, Val score);

  /// Marks the `take` largest unmarked candidates of `count` (there are at least
  /// as many); ends with a barrier. `load(j)` gives candidate j's ordered key.
  /// Marks are bits of `bitmap`, one per candidate; marked candidates take no part.
  void mark(Val bitmap, Val count, Val take, llvm::function_ref<Val(Val)> load);

private:
  Val isFree(Val bitmap, Val candidate);
  void findThreshold(Val bitmap, Val count, Val take, llvm::function_ref<Val(Val)> load);
  void chooseDigit(Val prefix, Val remaining);
  void takeLarger(Val bitmap, Val count, Val threshold, llvm::function_ref<Val(Val)> load);
  void takeEquals(Val bitmap, Val count, Val ties);

  KernelBuilder &b;
  Val thread, equals, histogram, state;
  int64_t threads;
};

} // namespace fresnel

#endif // FRESNEL_CONVERSION_RADIXSELECT_H
