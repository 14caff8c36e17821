//===- HopperListScan.cpp - Steps over the rows that list a block ---------===//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//

#include "fresnel/Conversion/HopperListScan.h"
#include "fresnel/Conversion/BlockLists.h"

using namespace mlir;
using namespace fresnel;

constexpr int64_t kLanes = 32;
/// Wide steps may be so many for four narrow ones.
constexpr int64_t kWideForFour = 5;

HopperListScan::HopperListScan(KernelBuilder &builder, const AttendShape &shape, AttendGradKvOp op,
                               HopperListWalks &pieces, int64_t walks, int64_t keys, bool mayBeWide)
    : b(builder), shape(shape), pieces(pieces), narrow(getListSteps(op)),
      wide(mayBeWide ? getWideListSteps(op) : ListSteps{1, ListSteps::kRows, 0, 1}), walks(walks), keys(keys),
      lists(shape.listHeads / shape.kvHeads), readers(shape.heads / shape.listHeads),
      words(cast<RankedTensorType>(op.getBlocks().getType()).getDimSize(3)) {}

void HopperListScan::allocate() { counters = b.alloc({walks, 2}, b.getI32Type()); }

void HopperListScan::clear() {
  for (int64_t walk = 0; walk < walks; ++walk)
    for (int64_t which = 0; which < 2; ++which)
      b.store(b.i32(0), counters, {b.i32(walk), b.i32(which)});
}

Val HopperListScan::getKeyBlock(const ListWalkPiece &piece) { return divideBy(piece.tile, shape.keyBlock / keys); }

/// A word of the rows that list a block, 0 where there is none and where another piece has it.
Val HopperListScan::loadWord(const ListWalkPiece &piece, Val list, Val word) {
  Val block = getKeyBlock(piece);
  Val mine = (word >= 0.0) & (word < double(words)) & (block < double(shape.getKeyBlocks()));
  if (piece.pieces)
    mine = mine & ((list * double(getDeals()) + divideBy(word, getDealt())) % piece.pieces == piece.piece);
  return b.ifElse(
      mine, [&] { return SmallVector<Val>{b.load(bits, {batch, kvHead * double(lists) + list, block, word})}; },
      [&] { return SmallVector<Val>{b.i32(0)}; })[0];
}

/// The bit of the first row of each step in which some row is set.
Val HopperListScan::fold(const ListSteps &steps, Val word) {
  uint32_t pattern = 0;
  for (int64_t bit = 0; bit < 32; bit += steps.rows)
    pattern |= uint32_t(1) << bit;
  for (int64_t shift = 1; shift < std::min<int64_t>(steps.rows, 32); shift *= 2)
    word = word | (word >> double(shift));
  return steps.rows == 1 ? word : word & double(int32_t(pattern));
}

/// Steps of words that one piece has.
Val HopperListScan::countIn(const ListSteps &steps, ArrayRef<Val> dealt) {
  if (getSpan(steps) == 2)
    return b.cast((dealt[0] | dealt[1]) != 0.0, b.getI32Type());
  Val count = b.popcount(fold(steps, dealt[0]));
  return dealt.size() == 1 ? count : count + b.popcount(fold(steps, dealt[1]));
}

void HopperListScan::count(Val allBits, Val ownBatch, Val ownHead, Val thread, int64_t threads) {
  bits = allBits, batch = ownBatch, kvHead = ownHead;
  int64_t perWalk = lists * getDeals();
  b.forRange(thread, b.i32(walks * perWalk), b.i32(threads), [&](Val i) {
    Val at = divideBy(i, perWalk), rest = moduloBy(i, perWalk), list = divideBy(rest, getDeals());
    ListWalkPiece piece = pieces.getPiece(at);
    SmallVector<Val> dealt;
    for (int64_t word = 0; word < getDealt(); ++word)
      dealt.push_back(loadWord(piece, list, moduloBy(rest, getDeals()) * double(getDealt()) + double(word)));
    b.atomic(tile::Combine::Add, countIn(narrow, dealt), counters, {at, b.i32(0)});
    if (mayBeWide())
      b.atomic(tile::Combine::Add, countIn(wide, dealt), counters, {at, b.i32(1)});
  });
  b.barrier();
}

Val HopperListScan::isWide(Val walk) {
  Val few = b.load(counters, {walk, b.i32(1)}) * double(4 * getRepeats(wide));
  return few <= b.load(counters, {walk, b.i32(0)}) * double(kWideForFour * getRepeats(narrow));
}

Val HopperListScan::countSteps(Val walk) {
  Val steps = b.load(counters, {walk, b.i32(0)}) * double(getRepeats(narrow));
  if (!mayBeWide())
    return steps;
  return b.select(isWide(walk), b.load(counters, {walk, b.i32(1)}) * double(getRepeats(wide)), steps);
}

/// Calls `body` with the number of each set bit, the lowest first, and what is carried along.
Val HopperListScan::forBits(Val set, Val init, function_ref<Val(Val, Val)> body) {
  return b.whileLoop(
      {set, init}, [&](ArrayRef<Val> state) { return state[0] != 0.0; },
      [&](ArrayRef<Val> state) {
        Val low = state[0] & (0.0 - state[0]);
        Val next = body(b.popcount(low - 1.0), state[1]);
        return SmallVector<Val>{state[0] ^ low, next};
      })[1];
}

/// The rows of steps in 32 words of a list from `base` on, of which each lane has one.
Val HopperListScan::visitWords(const ListSteps &steps, Val word, Val base, Val i, RowsBody body) {
  Val starts = fold(steps, word);
  if (getSpan(steps) == 2) {
    Val both = word | b.shuffleXor(word, 1);
    starts = b.select(((b.id(tile::Id::Lane) & 1.0) != 0.0) | (both == 0.0), b.i32(0), b.i32(1));
  }
  return forBits(b.ballot(starts != 0.0), i, [&](Val source, Val counted) {
    Val first = fromLane(word, source), second = getSpan(steps) == 2 ? fromLane(word, source + 1.0) : Val();
    return forBits(fromLane(starts, source), counted, [&](Val bit, Val count) {
      Val listed[] = {first >> bit, second ? second : first >> bit};
      return body((base + source) * double(kLanes) + bit, count, listed);
    });
  });
}

Val HopperListScan::visitRows(const ListSteps &steps, const ListWalkPiece &piece, Val list, Val i, RowsBody body) {
  int64_t groups = llvm::divideCeil(words, kLanes);
  Val lane = b.id(tile::Id::Lane), last = b.i32((groups - 1) * kLanes);
  // The next words are on their way while the steps of these are made.
  return b.forRange(b.i32(0), b.i32(groups), b.i32(1), {i, loadWord(piece, list, last + lane)},
                    [&](Val group, ArrayRef<Val> carried) {
                      Val base = last - group * double(kLanes);
                      Val next = loadWord(piece, list, base - double(kLanes) + lane);
                      return SmallVector<Val>{visitWords(steps, carried[1], base, carried[0], body), next};
                    })[0];
}

void HopperListScan::visitAs(const ListSteps &steps, const ListWalkPiece &piece,
                             function_ref<void(Val, const Step &)> body) {
  // Wide steps: the heads one after the other. Narrow ones: those of the same rows follow each other.
  int64_t groups = readers / steps.group, outer = &steps == &wide ? groups : 1;
  b.forRange(b.i32(0), b.i32(lists * outer), b.i32(1), {b.i32(0)}, [&](Val at, ArrayRef<Val> before) {
    Val list = divideBy(at, outer), firstHead = (kvHead * double(lists) + list) * double(readers);
    if (outer > 1)
      firstHead = firstHead + moduloBy(at, outer) * double(steps.group);
    int64_t repeats = getRepeats(steps) / outer, sides = groups / outer;
    Val end = visitRows(steps, piece, list, before[0], [&](Val row, Val count, ArrayRef<Val> listed) {
      return b.forRange(b.i32(0), b.i32(repeats), b.i32(1), {count}, [&](Val repeat, ArrayRef<Val> carried) {
        Val head = firstHead + moduloBy(repeat, sides) * double(steps.group);
        Val token = row * double(shape.queryBlock) + divideBy(repeat, sides) * double(steps.tokens);
        body(carried[0], Step{head, token, {listed[0], listed[1]}, steps});
        return SmallVector<Val>{carried[0] + 1.0};
      })[0];
    });
    return SmallVector<Val>{end};
  });
}

void HopperListScan::visit(const ListWalkPiece &piece, Val walk, function_ref<void(Val, const Step &)> body) {
  if (!mayBeWide())
    return visitAs(narrow, piece, body);
  Val isWideWalk = isWide(walk);
  b.ifThen(isWideWalk, [&] { visitAs(wide, piece, body); });
  b.ifThen(isWideWalk ^ b.constant(b.getI1Type(), 1), [&] { visitAs(narrow, piece, body); });
}
