//===- BlockLists.cpp - Walking the blocks that lists name ----------------===//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//

#include "fresnel/Conversion/BlockLists.h"
#include "fresnel/Conversion/RadixSelect.h"

using namespace mlir;
using namespace fresnel;

Val fresnel::divideBy(Val a, int64_t b) {
  return llvm::isPowerOf2_64(b) ? a >> double(llvm::Log2_64(b)) : a / double(b);
}

Val fresnel::moduloBy(Val a, int64_t b) { return llvm::isPowerOf2_64(b) ? a & double(b - 1) : a % double(b); }

//===----------------------------------------------------------------------===//
// BlockSet
//===----------------------------------------------------------------------===//

BlockSet::BlockSet(KernelBuilder &builder, const BlockSetSizes &sizes)
    : b(builder), threads(32 * sizes.warps), sizes(sizes), thread(b.id(tile::Id::Thread)) {
  Type i32 = b.getI32Type();
  // One word more than there are marks: entries that stand for no block may look there.
  if (sizes.rows > 0)
    marks = b.alloc({sizes.rows * sizes.words + 1}, i32);
  list = b.alloc({sizes.entries + sizes.tail}, i32);
  counters = b.alloc({sizes.warps}, i32);
}

void BlockSet::mark(Val lists, Val batch, Val head, Val firstRow, Val base, int64_t blocks,
                    function_ref<Val(Val)> keep) {
  ArrayRef<int64_t> shape = cast<tile::GlobalType>(lists.getType()).getShape();
  int64_t rows = shape[2], entries = shape[3];
  Val step = b.i32(threads);
  b.forRange(thread, b.i32(sizes.rows * sizes.words + 1), step, [&](Val i) { b.store(b.i32(0), marks, {i}); });
  b.barrier();
  b.forRange(thread, b.i32(sizes.rows * entries), step, [&](Val i) {
    Val row = divideBy(i, entries);
    b.ifThen(firstRow + row < double(rows), [&] {
      Val block = b.load(lists, {batch, head, firstRow + row, moduloBy(i, entries)});
      Val place = block - base;
      Val wanted = (block >= 0.0) & (block < double(blocks)) & (place >= 0.0) & (place < double(sizes.getChunk()));
      if (keep)
        wanted = wanted & keep(block);
      b.ifThen(wanted, [&] {
        b.atomic(tile::Combine::Or, b.i32(1) << (place & 31.0), marks, {row * double(sizes.words) + (place >> 5.0)});
      });
    });
  });
  b.barrier();
}

Val BlockSet::collect(Val base, int64_t sentinel) {
  return collect(base, sentinel, [&](Val word) {
    if (sizes.rows == 1)
      return b.load(marks, {word});
    return b.forRange(b.i32(0), b.i32(sizes.rows), b.i32(1), {b.i32(0)}, [&](Val row, ArrayRef<Val> state) {
      return SmallVector<Val>{state[0] | b.load(marks, {row * double(sizes.words) + word})};
    })[0];
  });
}

Val BlockSet::emit(Val word, Val first, Val position) {
  // The lowest bit first, until none is left.
  return b.whileLoop(
      {word, position}, [&](ArrayRef<Val> state) { return state[0] != 0.0; },
      [&](ArrayRef<Val> state) {
        Val low = state[0] & (0.0 - state[0]);
        b.store(first + b.popcount(low - 1.0), list, {state[1]});
        return SmallVector<Val>{state[0] ^ low, state[1] + 1.0};
      })[1];
}

Val BlockSet::collect(Val base, int64_t sentinel, function_ref<Val(Val)> load) {
  Val warp = b.id(tile::Id::Warp), lane = b.id(tile::Id::Lane);
  int64_t warps = threads / 32;
  Val total = b.forRange(b.i32(0), b.i32(sizes.words), b.i32(threads), {b.i32(0)}, [&](Val first, ArrayRef<Val> state) {
    Val at = first + thread;
    Val word = b.ifElse(
        at < double(sizes.words), [&] { return SmallVector<Val>{load(at)}; },
        [&] { return SmallVector<Val>{b.i32(0)}; })[0];
    WarpScan scan(b, b.popcount(word));
    b.ifThen(lane == 0.0, [&] { b.store(scan.total, counters, {warp}); });
    b.barrier();
    Val before = state[0] + scan.before, sum = state[0];
    for (int64_t i = 0; i < warps; ++i) {
      Val count = b.load(counters, {b.i32(i)});
      before = before + b.select(warp > double(i), count, b.i32(0));
      sum = sum + count;
    }
    emit(word, base + at * 32.0, before);
    b.barrier();
    return SmallVector<Val>{sum};
  })[0];
  b.forRange(thread, b.i32(sizes.tail), b.i32(threads), [&](Val i) { b.store(b.i32(sentinel), list, {total + i}); });
  b.barrier();
  return total;
}

Val BlockSet::getEntry(Val index) {
  if (!tile::isFragment(index.getType()))
    return b.load(list, {index});
  return b.wrap(
      tile::LookupOp::create(b, index.getType(), Value(list), ValueRange(), Value(index), b.getI32IntegerAttr(0)));
}

Val BlockSet::isMarked(Val row, Val block, Val base) {
  Val place = block - base;
  Val word = b.wrap(tile::LookupOp::create(b, row.getType(), Value(marks), ValueRange(),
                                           Value(row * double(sizes.words) + (place >> 5.0)), b.getI32IntegerAttr(0)));
  return ((word >> (place & 31.0)) & 1.0) != 0.0;
}

//===----------------------------------------------------------------------===//
// ListWalk
//===----------------------------------------------------------------------===//

Val ListWalk::getColumns(Type type, Val step) {
  return b.wrap(tile::ColIndexOp::create(b, type, Value(step * double(columns))));
}

Val ListWalk::getBlocks(Type type, Val step) { return set.getEntry(divideBy(getColumns(type, step), block)); }

Val ListWalk::getRows(Type type, Val step) {
  if (isUniform())
    return b.wrap(tile::ColIndexOp::create(b, type, Value(getStart(step))));
  return getBlocks(type, step) * double(block) + moduloBy(getColumns(type, step), block);
}

void ListWalk::copy(Val tensor, Val batch, Val head, Val step, Val target) {
  if (isUniform()) {
    tile::CopyAsyncOp::create(b, Value(tensor), Value(batch), Value(head), Value(getStart(step)), Value(target));
    return;
  }
  tile::CopyAsyncOp::create(b, Value(tensor), Value(batch), Value(head), Value(step * double(columns)), Value(target),
                            Value(set.getList()), uint32_t(block), /*group=*/1);
}
