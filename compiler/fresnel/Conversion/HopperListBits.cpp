//===- HopperListBits.cpp - The rows that list a block, as bits -----------===//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//

#include "fresnel/Conversion/HopperListBits.h"
#include "fresnel/Conversion/BlockLists.h"

using namespace mlir;
using namespace fresnel;

static constexpr int64_t kLanes = 32;

HopperListBits::HopperListBits(KernelBuilder &builder, const AttendShape &shape, const ListSteps &steps,
                               HopperListWalks &pieces, int64_t walkKeys, int64_t words)
    : b(builder), shape(shape), steps(steps), pieces(pieces), walkKeys(walkKeys), words(words),
      lists(shape.listHeads / shape.kvHeads), readers(shape.heads / shape.listHeads) {}

void HopperListBits::setTensor(Val tensor, Val batch, Val kvHead) {
  this->tensor = tensor;
  this->batch = batch;
  this->kvHead = kvHead;
}

SmallVector<Val> HopperListBits::load(const ListWalkPiece &piece, Val list, Val word) {
  if (shape.keyBlock >= walkKeys)
    return {loadWord(piece, divideBy(piece.tile, shape.keyBlock / walkKeys), list, word)};
  int64_t blocks = walkKeys / shape.keyBlock;
  SmallVector<Val> loaded;
  for (int64_t block = 0; block < blocks; ++block)
    loaded.push_back(loadWord(piece, piece.tile * double(blocks) + double(block), list, word));
  return loaded;
}

Val HopperListBits::loadWord(const ListWalkPiece &piece, Val block, Val list, Val word) {
  Val mine = (word < double(words)) & (block < double(shape.getKeyBlocks()));
  if (piece.pieces)
    mine = mine & ((list * double(getSpans()) + divideBy(word, getSpan())) % piece.pieces == piece.piece);
  return b.ifElse(
      mine,
      [&] {
        Val listHead = kvHead * double(lists) + list;
        return SmallVector<Val>{b.load(tensor, {batch, listHead, block, word})};
      },
      [&] { return SmallVector<Val>{b.i32(0)}; })[0];
}

Val HopperListBits::combine(ArrayRef<Val> words) {
  Val any = words[0];
  for (Val word : words.drop_front())
    any = any | word;
  return any;
}

Val HopperListBits::fold(Val word) {
  uint32_t pattern = 0;
  for (int64_t bit = 0; bit < 32; bit += steps.rows)
    pattern |= uint32_t(1) << bit;
  for (int64_t shift = 1; shift < std::min<int64_t>(steps.rows, 32); shift *= 2)
    word = word | (word >> double(shift));
  return steps.rows == 1 ? word : word & double(int32_t(pattern));
}

Val HopperListBits::forEach(Val bits, Val init, function_ref<Val(Val, Val)> body) {
  return b.whileLoop(
      {bits, init}, [&](ArrayRef<Val> state) { return state[0] != 0.0; },
      [&](ArrayRef<Val> state) {
        Val low = state[0] & (0.0 - state[0]);
        Val next = body(b.popcount(low - 1.0), state[1]);
        return SmallVector<Val>{state[0] ^ low, next};
      })[1];
}

void HopperListBits::countSteps(Val counters, Val thread, int64_t threads) {
  int64_t walks = cast<tile::SharedType>(counters.getType()).getShape()[0] / getCounters(1);
  int64_t perWalk = lists * getSpans();
  b.forRange(thread, b.i32(walks * perWalk), b.i32(threads), [&](Val i) {
    Val at = divideBy(i, perWalk), rest = moduloBy(i, perWalk);
    ListWalkPiece piece = pieces.getPiece(at);
    Val list = divideBy(rest, getSpans()), word = moduloBy(rest, getSpans()) * double(getSpan());
    Val bits = combine(load(piece, list, word));
    if (getSpan() == 2)
      bits = b.select((bits | combine(load(piece, list, word + 1.0))) == 0.0, b.i32(0), b.i32(1));
    else if (!steps.gathered)
      bits = fold(bits);
    Val counter = steps.gathered ? at * double(lists) + list : at;
    b.ifThen(bits != 0.0, [&] {
      b.atomic(tile::Combine::Add, b.popcount(bits), counters, {counter});
      if (!hasOpen())
        return;
      // All rows of the word see the last key of the walk.
      Val position = word * double(32 * shape.queryBlock) + double(shape.getOffset());
      b.ifThen(position >= (piece.tile + 1.0) * double(walkKeys) - 1.0,
               [&] { b.atomic(tile::Combine::Add, b.popcount(bits), counters, {at + double(walks)}); });
    });
  });
  b.barrier();
}

Val HopperListBits::getSteps(Val counters, Val walk) {
  if (!steps.gathered)
    return b.load(counters, {walk});
  return b.forRange(b.i32(0), b.i32(lists), b.i32(1), {b.i32(0)}, [&](Val list, ArrayRef<Val> sum) {
    Val rows = b.load(counters, {walk * double(lists) + list});
    return SmallVector<Val>{sum[0] + divideBy(rows + double(steps.rows - 1), steps.rows)};
  })[0];
}

Val HopperListBits::getOpenSteps(Val counters, Val walk) {
  int64_t walks = cast<tile::SharedType>(counters.getType()).getShape()[0] / getCounters(1);
  return divideBy(b.load(counters, {walk + double(walks)}), steps.rows);
}

void HopperListBits::forSteps(const ListWalkPiece &piece, Val lane, Body body) {
  Val zero = b.i32(0), one = b.i32(1);
  b.forRange(zero, b.i32(lists), one, {zero}, [&](Val list, ArrayRef<Val> outer) {
    // The last rows first: under a causal mask blocks that start together then read the
    // same queries at about the same time, through L2.
    int64_t groups = llvm::divideCeil(words, kLanes);
    return b.forRange(zero, b.i32(groups), one, {outer[0]}, [&](Val group, ArrayRef<Val> carried) {
      Val base = (double(groups - 1) - group) * double(kLanes);
      return SmallVector<Val>{walkWords(piece, lane, list, base, carried[0], body)};
    });
  });
}

/// The steps of 32 words of a list from `base` on; `i` counts steps.
Val HopperListBits::walkWords(const ListWalkPiece &piece, Val lane, Val list, Val base, Val i, Body body) {
  auto fromLane = [&](Val value, Val source) { return b.shuffle(tile::Shuffle::Index, value, source); };
  SmallVector<Val> loaded = load(piece, list, base + lane);
  Val word = combine(loaded), first = fold(word);
  if (getSpan() == 2) {
    Val both = word | b.shuffleXor(word, 1);
    first = b.select(((lane & 1.0) != 0.0) | (both == 0.0), b.i32(0), b.i32(1));
  }
  return forEach(b.ballot(first != 0.0), i, [&](Val source, Val counted) {
    SmallVector<Val> lows, highs;
    for (Val each : loaded) {
      lows.push_back(fromLane(each, source));
      highs.push_back(getSpan() == 2 ? fromLane(each, source + 1.0) : Val());
    }
    return forEach(fromLane(first, source), counted, [&](Val bit, Val count) {
      Val row = (base + source) * 32.0 + bit;
      SmallVector<Val> listed;
      for (auto [low, high] : llvm::zip(lows, highs))
        listed.append({low >> bit, high ? high : low >> bit});
      return b.forRange(b.i32(0), b.i32(getRepeats()), b.i32(1), {count}, [&](Val repeat, ArrayRef<Val> carried) {
        Val token = row * double(shape.queryBlock) + divideBy(repeat, readers / steps.group) * double(steps.tokens);
        body(carried[0], getHead(list, repeat), token, listed);
        return SmallVector<Val>{carried[0] + 1.0};
      })[0];
    });
  });
}

Val HopperListBits::getHead(Val list, Val repeat) const {
  return (kvHead * double(lists) + list) * double(readers) +
         moduloBy(repeat, readers / steps.group) * double(steps.group);
}

Val HopperListBits::queueRows(Val word, Val base, Val lane, Val waiting, Val count) {
  return forEach(b.ballot(word != 0.0), count, [&](Val source, Val counted) {
    Val bits = b.shuffle(tile::Shuffle::Index, word, source), higher = (bits >> lane) >> 1.0;
    // The last lane has the first word: later rows come first.
    Val row = (base + (double(kLanes - 1) - source)) * 32.0 + lane;
    b.ifThen(((bits >> lane) & 1.0) != 0.0, [&] { b.store(row, waiting, {counted + b.popcount(higher)}); });
    return counted + b.popcount(bits);
  });
}

void HopperListBits::forGathered(const ListWalkPiece &piece, Val lane, Val waiting, Val barrier, GatheredBody body) {
  int64_t windows = llvm::divideCeil(words, kLanes);
  Val zero = b.i32(0), one = b.i32(1);
  auto meet = [&] {
    tile::BarrierOp::create(b, Value(barrier), b.getI32IntegerAttr(int32_t(kLanes)), /*arrive=*/false);
  };
  auto loadWindow = [&](Val list, Val base) { return load(piece, list, base + (double(kLanes - 1) - lane))[0]; };
  b.forRange(zero, b.i32(lists), one, {zero}, [&](Val list, ArrayRef<Val> outer) {
    Val last = b.i32((windows - 1) * kLanes);
    SmallVector<Val> init{outer[0], zero, loadWindow(list, last)};
    Val counted = b.forRange(zero, b.i32(windows), one, init, [&](Val window, ArrayRef<Val> carried) {
      Val base = last - window * double(kLanes);
      // The next words are on their way while the steps of these are.
      Val next = loadWindow(list, b.max(base - double(kLanes), zero));
      Val total = queueRows(carried[2], base, lane, waiting, carried[1]);
      meet();
      Val isLast = window == double(windows - 1);
      Val count = divideBy(total + b.select(isLast, b.i32(steps.rows - 1), zero), steps.rows);
      Val end = b.forRange(zero, count, one, {carried[0]}, [&](Val step, ArrayRef<Val> inner) {
        return b.forRange(zero, b.i32(getRepeats()), one, {inner[0]}, [&](Val repeat, ArrayRef<Val> number) {
          body(number[0], getHead(list, repeat), step * double(steps.rows), total);
          return SmallVector<Val>{number[0] + 1.0};
        });
      })[0];
      // Too few rows for a step wait for those of the next window.
      Val done = count * double(steps.rows), left = b.max(total - done, zero);
      Val moved = b.load(waiting, {b.min(done + lane, b.i32(kListWindow))});
      meet();
      b.ifThen(lane < left, [&] { b.store(moved, waiting, {lane}); });
      return SmallVector<Val>{end, left, next};
    })[0];
    return SmallVector<Val>{counted};
  });
}
