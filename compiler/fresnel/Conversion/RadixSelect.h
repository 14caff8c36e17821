//===- RadixSelect.h - The k largest of a block's candidates ----*- C++ -*-===//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
#ifndef FRESNEL_CONVERSION_RADIXSELECT_H
#define FRESNEL_CONVERSION_RADIXSELECT_H

#include "fresnel/Conversion/KernelBuilder.h"

namespace fresnel {

/// Writes the selection of the largest keys by a thread block: four passes of
/// eight bits find the smallest selected key and how many of its equals are
/// taken; those are the ones with the lowest candidate numbers. Deterministic:
/// only counts are combined atomically.
class RadixSelect {
public:
  /// i32 words of shared memory that one selection uses.
  static constexpr int64_t kWords = 256 + 2;

  /// Marks are bits of `bitmap`, one per candidate; marked candidates take no
  /// part. All `threads` threads call the written code together.
  RadixSelect(KernelBuilder &builder, Val thread, int64_t threads, Val bitmap);

  /// An i32 whose signed order is that of the f32 score; both zeros are equal.
  static Val orderedKey(KernelBuilder &builder, Val score);

  /// Marks the `take` largest unmarked candidates of `count` (there are at least
  /// as many); ends with a barrier. `load(j)` gives candidate j's ordered key.
  void mark(Val count, Val take, llvm::function_ref<Val(Val)> load);

private:
  Val isFree(Val candidate);
  void setMark(Val candidate);
  void findThreshold(Val count, Val take, llvm::function_ref<Val(Val)> load);
  void chooseDigit(Val prefix, Val remaining);
  void takeTies(Val count, Val threshold, Val ties, llvm::function_ref<Val(Val)> load);

  KernelBuilder &b;
  Val thread, bitmap, histogram, state;
  int64_t threads;
};

} // namespace fresnel

#endif // FRESNEL_CONVERSION_RADIXSELECT_H
