//===- WarpSelect.cpp - The k largest of a stream of keys -----------------===//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//

#include "fresnel/Conversion/WarpSelect.h"
#include "fresnel/Conversion/Documents.h"
#include "fresnel/Conversion/RadixSelect.h"
#include <cmath>

using namespace mlir;
using namespace fresnel;

WarpSelect::List WarpSelect::begin() { return {b.i32(INT32_MIN), b.i32(-1)}; }

WarpSelect::List WarpSelect::add(List list, Val key, Val first) {
  Val lane = b.id(tile::Id::Lane), last = b.i32(take - 1);
  // Lanes whose key is better than the worst that is kept. One after the other
  // goes into its place; few do, once the list has filled.
  Val better = b.ballot(key > shuffle(list.keys, last));
  SmallVector<Val> result = b.whileLoop(
      {better, list.keys, list.indices}, [&](ArrayRef<Val> state) { return state[0] != 0.0; },
      [&](ArrayRef<Val> state) {
        auto [mask, keys, indices] = std::tuple(state[0], state[1], state[2]);
        Val source = b.popcount((mask & (b.i32(0) - mask)) - 1.0);
        Val candidate = shuffle(key, source);
        // Behind its equals, which have lower indices.
        Val place = b.popcount(b.ballot(keys >= candidate));
        auto insert = [&](Val values, Val value) {
          Val moved = b.shuffle(tile::Shuffle::Up, values, b.i32(1));
          return b.select(lane < place, values, b.select(lane == place, value, moved));
        };
        Val nextKeys = insert(keys, candidate), nextIndices = insert(indices, first + source);
        // The lanes behind that are still better.
        Val behind = b.i32(0) - (b.i32(2) << source);
        Val next = b.ballot(key > shuffle(nextKeys, last)) & behind;
        return SmallVector<Val>{next, nextKeys, nextIndices};
      });
  return {result[1], result[2]};
}

Val WarpSelect::getBound(Val largest) {
  // A bitonic sort, the largest first.
  Val lane = b.id(tile::Id::Lane), values = largest;
  for (int64_t run = 2; run <= 32; run *= 2)
    for (int64_t step = run / 2; step > 0; step /= 2) {
      Val other = b.shuffleXor(values, step);
      // Of a pair the lower lane keeps the larger value, in every other run the smaller one.
      Val lower = (lane & double(step)) == 0.0, forward = (lane & double(run)) == 0.0;
      values = b.select(lower == forward, b.max(values, other), b.min(values, other));
    }
  constexpr int32_t kInfinity = INT32_MIN + 0x7fffff;
  return b.max(shuffle(values, b.i32(take - 1)), b.i32(kInfinity + 1));
}

std::pair<WarpSelect::List, Val> WarpSelect::collect(List list, Val count, Val key, Val first, Val bound) {
  Val lane = b.id(tile::Id::Lane), found = b.ballot(key >= bound);
  SmallVector<Val> result = b.whileLoop(
      {found, list.keys, list.indices, count}, [&](ArrayRef<Val> state) { return state[0] != 0.0; },
      [&](ArrayRef<Val> state) {
        Val low = state[0] & (b.i32(0) - state[0]), source = b.popcount(low - 1.0), here = lane == state[3];
        return SmallVector<Val>{state[0] ^ low, b.select(here, shuffle(key, source), state[1]),
                                b.select(here, first + source, state[2]), state[3] + 1.0};
      });
  return {{result[1], result[2]}, result[3]};
}

void WarpSelect::finishCollected(List list, Val count, function_ref<void(Val, Val)> store) {
  Val lane = b.id(tile::Id::Lane), zero = b.i32(0);
  // How many are better: equal ones with a lower index are.
  Val rank = b.forRange(zero, count, b.i32(1), {zero}, [&](Val i, ArrayRef<Val> state) {
    Val other = shuffle(list.keys, i), better = (other > list.keys) | ((other == list.keys) & (i < lane));
    return SmallVector<Val>{state[0] + b.cast(better, b.getI32Type())};
  })[0];
  Val kept = (lane < count) & (rank < double(take)), votes = b.ballot(kept);
  Val before = b.popcount(votes & ((b.i32(1) << lane) - 1.0));
  b.ifThen(kept, [&] { store(before, list.indices); });
  b.ifThen((lane >= b.popcount(votes)) & (lane < double(take)), [&] { store(lane, b.i32(-1)); });
}

void WarpSelect::finish(List list, function_ref<void(Val, Val)> store) {
  Val lane = b.id(tile::Id::Lane), before = b.i32(0);
  for (int64_t i = 0; i < take; ++i) {
    Val other = shuffle(list.indices, b.i32(i));
    before = before + b.cast((other >= 0.0) & (other < list.indices), b.getI32Type());
  }
  // What was not filled is at the end of the list.
  Val place = b.select(list.indices >= 0.0, before, lane);
  b.ifThen(lane < double(take), [&] { store(place, list.indices); });
}

BlockRules::BlockRules(KernelBuilder &builder, SelectBlocksOp op, Val row, int64_t blocks, Val documents)
    : end(builder.i32(blocks)), b(builder), local(std::min<int64_t>(op.getLocal(), blocks)),
      sinks(std::min<int64_t>(op.getSinks(), blocks)) {
  if (documents) {
    DocumentEdges edges = loadDocumentEdges(b, documents, row * double(op.getQueryBlock()), op.getQueryBlock());
    first = edges.firstStart / double(op.getKeyBlock());
    end = b.min((edges.lastEnd + double(op.getKeyBlock() - 1)) / double(op.getKeyBlock()), end);
  }
  if (op.getCausal()) {
    Val lastToken = (row + 1.0) * double(op.getQueryBlock()) - 1.0;
    end = b.min(lastToken / double(op.getKeyBlock()) + 1.0, end);
  }
}

Val BlockRules::getKey(Val block, Val score) {
  Val nothing = b.i32(INT32_MIN);
  Val key = b.select(score == -INFINITY, nothing, RadixSelect::orderedKey(b, score));
  if (local > 0 || sinks > 0) {
    Val isSink = first ? block < first + double(sinks) : block < double(sinks);
    Val forced = isSink | (block >= end - double(local));
    key = b.select(forced, b.i32(INT32_MAX), key);
  }
  Val allowed = block < end;
  return b.select(first ? allowed & (block >= first) : allowed, key, nothing);
}

std::pair<Val, Val> BlockRules::getPlain() {
  Val begin = b.i32(sinks);
  return {first ? first + begin : begin, end - double(local)};
}
