//===- RadixSelect.cpp - The k largest of a block's candidates ------------===//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//

#include "fresnel/Conversion/RadixSelect.h"

using namespace mlir;
using namespace fresnel;

/// Words of `state`: the digits found so far, and how many keys are still to be
/// taken among those that share them.
static constexpr double kPrefix = 0, kRemaining = 1;

WarpScan::WarpScan(KernelBuilder &b, Val value) {
  Val lane = b.id(tile::Id::Lane), inclusive = value;
  for (int64_t distance : {1, 2, 4, 8, 16}) {
    Val other = b.shuffle(tile::Shuffle::Up, inclusive, b.i32(distance));
    inclusive = inclusive + b.select(lane >= double(distance), other, b.i32(0));
  }
  before = inclusive - value;
  total = b.shuffle(tile::Shuffle::Index, inclusive, b.i32(31));
}

ThreadScan fresnel::scanThreads(KernelBuilder &b, Val value, Val sums, int64_t threads) {
  Val warp = b.id(tile::Id::Warp);
  WarpScan scan(b, value);
  b.ifThen(b.id(tile::Id::Lane) == 0.0, [&] { b.store(scan.total, sums, {warp}); });
  b.barrier();
  Val before = scan.before, total = b.i32(0);
  for (int64_t i = 0; i < threads / 32; ++i) {
    Val sum = b.load(sums, {b.i32(i)});
    before = before + b.select(warp > double(i), sum, b.i32(0));
    total = total + sum;
  }
  return {before, total};
}

RadixSelect::RadixSelect(KernelBuilder &builder, Val thread, int64_t threads, Val equals)
    : b(builder), thread(thread), equals(equals), threads(threads) {
  histogram = b.alloc({256}, b.getI32Type());
  state = b.alloc({2}, b.getI32Type());
}

Val RadixSelect::orderedKey(KernelBuilder &b, Val score) {
  // Adding zero turns -0 into +0.
  Val bits = b.bitcast(score + 0.0, b.getI32Type());
  return b.select(bits < 0.0, bits ^ double(INT32_MAX), bits);
}

Val RadixSelect::isFree(Val bitmap, Val candidate) {
  Val word = b.load(bitmap, {candidate >> b.i32(5)});
  return ((word >> (candidate & 31.0)) & 1.0) == 0.0;
}

void RadixSelect::mark(Val bitmap, Val count, Val take, function_ref<Val(Val)> load) {
  b.ifThen(take > 0.0, [&] {
    findThreshold(bitmap, count, take, load);
    Val threshold = b.load(state, {b.i32(kPrefix)}) ^ double(INT32_MIN);
    Val ties = b.load(state, {b.i32(kRemaining)});
    takeLarger(bitmap, count, threshold, load);
    b.barrier();
    b.ifThen(b.id(tile::Id::Warp) == 0.0, [&] { takeEquals(bitmap, count, ties); });
  });
  b.barrier();
}

void RadixSelect::findThreshold(Val bitmap, Val count, Val take, function_ref<Val(Val)> load) {
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
      Val matches = isFree(bitmap, j);
      if (shift < 24)
        matches = matches & ((key >> b.i32(shift + 8)) == prefix);
      b.ifThen(matches, [&] { b.atomic(tile::Combine::Add, b.i32(1), histogram, {(key >> b.i32(shift)) & 255.0}); });
    });
    b.barrier();
    b.ifThen(b.id(tile::Id::Warp) == 0.0, [&] { chooseDigit(prefix, remaining); });
    b.barrier();
  }
}

/// Warp 0: the digit in which, from the largest down, the count reaches
/// `remaining`. Lane l owns the bins 255 - 8l down to 248 - 8l.
void RadixSelect::chooseDigit(Val prefix, Val remaining) {
  Val top = 255.0 - b.id(tile::Id::Lane) * 8.0, own = b.i32(0);
  SmallVector<Val> bins;
  for (int64_t i = 0; i < 8; ++i) {
    bins.push_back(b.load(histogram, {top - double(i)}));
    own = own + bins.back();
  }
  Val above = WarpScan(b, own).before;
  b.ifThen((above < remaining) & (above + own >= remaining), [&] {
    // The last of the lane's bins before which the count is not reached.
    Val digit = top, counted = above, sum = above;
    for (int64_t i = 1; i < 8; ++i) {
      sum = sum + bins[i - 1];
      Val further = sum < remaining;
      digit = b.select(further, top - double(i), digit);
      counted = b.select(further, sum, counted);
    }
    b.store((prefix << b.i32(8)) | digit, state, {b.i32(kPrefix)});
    b.store(remaining - counted, state, {b.i32(kRemaining)});
  });
}

/// Marks what is above the threshold and notes what equals it. A warp owns a
/// word of 32 candidates at a time, which its lane 0 reads and writes.
void RadixSelect::takeLarger(Val bitmap, Val count, Val threshold, function_ref<Val(Val)> load) {
  Val lane = b.id(tile::Id::Lane), words = (count + 31.0) >> b.i32(5);
  b.forRange(b.id(tile::Id::Warp), words, b.i32(threads / 32), [&](Val word) {
    Val j = word * 32.0 + lane;
    Val read = b.ifElse(
        lane == 0.0, [&] { return SmallVector<Val>{b.load(bitmap, {word})}; },
        [&] { return SmallVector<Val>{b.i32(0)}; })[0];
    Val old = b.shuffle(tile::Shuffle::Index, read, b.i32(0));
    Val free = (j < count) & (((old >> lane) & 1.0) == 0.0);
    Val key = load(b.min(j, count - 1.0));
    Val larger = b.ballot(free & (key > threshold)), equal = b.ballot(free & (key == threshold));
    b.ifThen(lane == 0.0, [&] {
      b.store(old | larger, bitmap, {word});
      b.store(equal, equals, {word});
    });
  });
}

/// Warp 0 marks the first `ties` of the candidates that equal the threshold.
void RadixSelect::takeEquals(Val bitmap, Val count, Val ties) {
  Val lane = b.id(tile::Id::Lane), words = (count + 31.0) >> b.i32(5);
  b.forRange(b.i32(0), words, b.i32(32), {ties}, [&](Val base, ArrayRef<Val> left) {
    Val word = b.min(base + lane, words - 1.0);
    Val bits = b.select(base + lane < words, b.load(equals, {word}), b.i32(0));
    Val number = b.popcount(bits);
    WarpScan scan(b, number);
    Val take = b.min(b.max(left[0] - scan.before, b.i32(0)), number);
    b.ifThen(take > 0.0, [&] {
      // Only one word of all is taken in part: its lowest bits, one after the other.
      Val rest = b.whileLoop(
          {bits, b.select(take == number, b.i32(0), take)}, [&](ArrayRef<Val> s) { return s[1] > 0.0; },
          [&](ArrayRef<Val> s) { return SmallVector<Val>{s[0] & (s[0] - 1.0), s[1] - 1.0}; })[0];
      Val taken = b.select(take == number, bits, bits ^ rest);
      b.store(b.load(bitmap, {word}) | taken, bitmap, {word});
    });
    return SmallVector<Val>{left[0] - scan.total};
  });
}
