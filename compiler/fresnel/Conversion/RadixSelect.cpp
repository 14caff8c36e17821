//===- RadixSelect.cpp - The k largest of a block's candidates ------------===//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//

#include "fresnel/Conversion/RadixSelect.h"

using namespace mlir;
using namespace fresnel;

/// Words of `state`: the digits found so far, and how many keys are still to be
/// taken among those that share them.
static constexpr double kPrefix = 0, kRemaining = 1;

RadixSelect::RadixSelect(KernelBuilder &builder, Val thread, int64_t threads, Val bitmap)
    : b(builder), thread(thread), bitmap(bitmap), threads(threads) {
  histogram = b.alloc({256}, b.getI32Type());
  state = b.alloc({2}, b.getI32Type());
}

Val RadixSelect::orderedKey(KernelBuilder &b, Val score) {
  // Adding zero turns -0 into +0.
  Val bits = b.bitcast(score + 0.0, b.getI32Type());
  return b.select(bits < 0.0, bits ^ double(INT32_MAX), bits);
}

Val RadixSelect::isFree(Val candidate) {
  Val word = b.load(bitmap, {candidate >> b.i32(5)});
  return ((word >> (candidate & 31.0)) & 1.0) == 0.0;
}

void RadixSelect::setMark(Val candidate) {
  b.atomic(tile::Combine::Or, b.i32(1) << (candidate & 31.0), bitmap, {candidate >> b.i32(5)});
}

void RadixSelect::mark(Val count, Val take, function_ref<Val(Val)> load) {
  b.ifThen(take > 0.0, [&] {
    findThreshold(count, take, load);
    Val threshold = b.load(state, {b.i32(kPrefix)}) ^ double(INT32_MIN);
    Val ties = b.load(state, {b.i32(kRemaining)});
    // The marks of larger keys do not disturb the ties: those have other keys.
    takeTies(count, threshold, ties, load);
    b.forRange(thread, count, b.i32(threads), [&](Val j) {
      b.ifThen(isFree(j) & (load(j) > threshold), [&] { setMark(j); });
    });
  });
  b.barrier();
}

void RadixSelect::findThreshold(Val count, Val take, function_ref<Val(Val)> load) {
  b.ifThen(thread == 0.0, [&] {
    b.store(b.i32(0), state, {b.i32(kPrefix)});
    b.store(take, state, {b.i32(kRemaining)});
  });
  for (int64_t shift : {24, 16, 8, 0}) {
    b.forRange(thread, b.i32(256), b.i32(threads), [&](Val bin) { b.store(b.i32(0), histogram, {bin}); });
    b.barrier();
    // Read before the barrier that precedes their next update.
    Val prefix = b.load(state, {b.i32(kPrefix)}), remaining = b.load(state, {b.i32(kRemaining)});
    b.forRange(thread, count, b.i32(threads), [&](Val j) {
      // The sign bit is flipped so that the digits order as unsigned numbers.
      Val key = load(j) ^ double(INT32_MIN);
      Val matches = isFree(j);
      if (shift < 24)
        matches = matches & ((key >> b.i32(shift + 8)) == prefix);
      b.ifThen(matches, [&] {
        b.atomic(tile::Combine::Add, b.i32(1), histogram, {(key >> b.i32(shift)) & 255.0});
      });
    });
    b.barrier();
    b.ifThen(b.id(tile::Id::Warp) == 0.0, [&] { chooseDigit(prefix, remaining); });
    b.barrier();
  }
}

/// Warp 0: the digit in which, from the largest down, the count reaches
/// `remaining`. Lane l owns the bins 255 - 8l down to 248 - 8l.
void RadixSelect::chooseDigit(Val prefix, Val remaining) {
  Val lane = b.id(tile::Id::Lane), top = 255.0 - lane * 8.0;
  Val own = b.forRange(b.i32(0), b.i32(8), b.i32(1), {b.i32(0)}, [&](Val i, ArrayRef<Val> sum) {
    return SmallVector<Val>{sum[0] + b.load(histogram, {top - i})};
  })[0];
  Val inclusive = own;
  for (int64_t distance : {1, 2, 4, 8, 16}) {
    Val other = b.shuffle(tile::Shuffle::Up, inclusive, b.i32(distance));
    inclusive = inclusive + b.select(lane >= double(distance), other, b.i32(0));
  }
  Val above = inclusive - own;
  b.ifThen((above < remaining) & (inclusive >= remaining), [&] {
    // Descend inside the lane's bins until the count is reached.
    SmallVector<Val> found =
        b.whileLoop({top, above}, [&](ArrayRef<Val> s) { return s[1] + b.load(histogram, {s[0]}) < remaining; },
                    [&](ArrayRef<Val> s) {
                      return SmallVector<Val>{s[0] - 1.0, s[1] + b.load(histogram, {s[0]})};
                    });
    b.store((prefix << b.i32(8)) | found[0], state, {b.i32(kPrefix)});
    b.store(remaining - found[1], state, {b.i32(kRemaining)});
  });
}

/// Warp 0 marks the first `ties` candidates whose key is the threshold.
void RadixSelect::takeTies(Val count, Val threshold, Val ties, function_ref<Val(Val)> load) {
  Val lane = b.id(tile::Id::Lane);
  b.ifThen(b.id(tile::Id::Warp) == 0.0, [&] {
    b.whileLoop(
        {b.i32(0), ties}, [&](ArrayRef<Val> s) { return (s[0] < count) & (s[1] > 0.0); },
        [&](ArrayRef<Val> s) {
          Val j = b.min(s[0] + lane, count - 1.0);
          Val equal = (s[0] + lane < count) & isFree(j) & (load(j) == threshold);
          Val mask = b.ballot(equal);
          Val before = b.popcount(mask & ((b.i32(1) << lane) - 1.0));
          b.ifThen(equal & (before < s[1]), [&] { setMark(j); });
          return SmallVector<Val>{s[0] + 32.0, s[1] - b.popcount(mask)};
        });
  });
}
