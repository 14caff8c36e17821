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
  int64_t walks = cast<tile::SharedType>(counters.getType()).getShape()[0], perWalk = lists * getSpans();
  b.forRange(thread, b.i32(walks * perWalk), b.i32(threads), [&](Val i) {
    Val at = divideBy(i, perWalk), rest = moduloBy(i, perWalk);
    ListWalkPiece piece = pieces.getPiece(at);
    Val list = divideBy(rest, getSpans()), word = moduloBy(rest, getSpans()) * double(getSpan());
    Val bits = combine(load(piece, list, word));
    if (getSpan() == 2)
      bits = b.select((bits | combine(load(piece, list, word + 1.0))) == 0.0, b.i32(0), b.i32(1));
    else
      bits = fold(bits);
    b.ifThen(bits != 0.0, [&] { b.atomic(tile::Combine::Add, b.popcount(bits), counters, {at}); });
  });
  b.barrier();
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
        int64_t groups = readers / steps.group;
        Val head = (kvHead * double(lists) + list) * double(readers) + moduloBy(repeat, groups) * double(steps.group);
        Val token = row * double(shape.queryBlock) + divideBy(repeat, groups) * double(steps.tokens);
        body(carried[0], head, token, listed);
        return SmallVector<Val>{carried[0] + 1.0};
      })[0];
    });
  });
}
