//===- GroupRowsToTile.cpp - Rows of lists, block by block ----------------===//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
//
// `split_blocks` has a thread for each row, `group_rows` a thread block for each block of
// keys: from the numbers of rows of the blocks before its own it knows its first place,
// and counts bits for the others. What belongs to no block of keys is shared out evenly.
//
//===----------------------------------------------------------------------===//

#include "fresnel/Conversion/BlockLists.h"
#include "fresnel/Conversion/RadixSelect.h"
#include "fresnel/Conversion/ToTile.h"
#include "fresnel/Dialect/Grouped.h"

using namespace mlir;
using namespace fresnel;

static constexpr int64_t kThreads = 256, kWarps = kThreads / 32;

LogicalResult fresnel::lowerSplitBlocks(SplitBlocksOp op, const KernelRequest &request, KernelBuilder &b) {
  auto list = cast<RankedTensorType>(op.getList().getType());
  int64_t rows = list.getDimSize(2), entries = list.getDimSize(3), keys = op.getKeys();
  auto kernel = b.beginKernel(request.getName(), request.getArgumentTypes(), kThreads,
                              {int64_t(llvm::divideCeil(rows, kThreads)), list.getDimSize(1), list.getDimSize(0)});
  Val batch = b.id(tile::Id::BlockZ), head = b.id(tile::Id::BlockY), zero = b.i32(0), none = b.i32(-1);
  Val row = b.id(tile::Id::BlockX) * double(kThreads) + b.id(tile::Id::Thread);
  unsigned results = op.getDocuments() ? 2 : 1;
  auto entryAt = [&](Val k) { return b.load(b.argument(kernel, 0), {batch, head, row, k}); };
  b.ifThen(row < double(rows), [&] {
    Val position = row + double(keys - rows), exists = position >= 0.0;
    Val own = divideBy(b.max(position, zero), op.getKeyBlock());
    // Blocks that end up to here are those of other documents.
    Val first = op.getDocuments() ? b.load(b.argument(kernel, 1), {zero, zero, row}) : Val();
    Val diagonal = b.forRange(zero, b.i32(entries), b.i32(1), {none}, [&](Val k, ArrayRef<Val> found) {
      Val entry = entryAt(k);
      Val before = b.forRange(zero, k, b.i32(1), {zero}, [&](Val j, ArrayRef<Val> seen) {
        return SmallVector<Val>{seen[0] | b.cast(entryAt(j) == entry, b.getI32Type())};
      })[0];
      Val isPast = exists & (entry >= 0.0) & (entry < own) & (before == 0.0);
      if (first)
        isPast = isPast & ((entry + 1.0) * double(op.getKeyBlock()) > first);
      b.store(b.select(isPast, entry, none), b.argument(kernel, results), {batch, head, row, k});
      return SmallVector<Val>{b.select(exists & (entry == own), entry, found[0])};
    })[0];
    b.store(diagonal, b.argument(kernel, results + 1), {batch, head, row, zero});
  });
  return success();
}

namespace {

class GroupRows {
  enum Argument { kList, kBits, kCounts, kRows, kTiles, kSlots };

public:
  GroupRows(GroupRowsOp op, const KernelRequest &request, KernelBuilder &builder) : b(builder), length(op.getLength()) {
    auto list = cast<RankedTensorType>(op.getList().getType()), bits = cast<RankedTensorType>(op.getBits().getType());
    rows = list.getDimSize(2);
    entries = list.getDimSize(3);
    blocks = bits.getDimSize(2);
    words = bits.getDimSize(3);
    kernel = b.beginKernel(request.getName(), request.getArgumentTypes(), kThreads,
                           {blocks, list.getDimSize(1), list.getDimSize(0)});
  }

  void write() {
    thread = b.id(tile::Id::Thread);
    block = b.id(tile::Id::BlockX);
    head = b.id(tile::Id::BlockY);
    batch = b.id(tile::Id::BlockZ);
    sums = b.alloc({kWarps}, b.getI32Type());
    Val count = load(kCounts, {block}), first = sumPlaces(b.i32(0), block), end = first + roundUp(count);
    placeRows(first);
    b.forRange(first + count + thread, b.min(end, b.i32(length)), b.i32(kThreads),
               [&](Val place) { store(b.i32(-1), kRows, {place}); });
    b.forRange(tileOf(first) + thread, tileOf(b.min(end, b.i32(length))), b.i32(kThreads),
               [&](Val tile) { store(block, kTiles, {tile, b.i32(0)}); });
    fillRest(end + sumPlaces(block + 1.0, b.i32(blocks)));
  }

private:
  Val load(Argument which, ArrayRef<Val> indices) { return b.load(b.argument(kernel, which), within(indices)); }
  void store(Val value, Argument which, ArrayRef<Val> indices) {
    b.store(value, b.argument(kernel, which), within(indices));
  }
  SmallVector<Val> within(ArrayRef<Val> indices) {
    SmallVector<Val> all{batch, head};
    all.append(indices.begin(), indices.end());
    return all;
  }

  Val roundUp(Val count) { return (count + double(kTilePlaces - 1)) & b.i32(-kTilePlaces); }
  Val tileOf(Val place) { return divideBy(place, kTilePlaces); }

  /// Places of the blocks of keys from `from` to `to`.
  Val sumPlaces(Val from, Val to) {
    Val own = b.forRange(from + thread, to, b.i32(kThreads), {b.i32(0)}, [&](Val other, ArrayRef<Val> sum) {
      return SmallVector<Val>{sum[0] + roundUp(load(kCounts, {other}))};
    })[0];
    Val total = scanThreads(b, own, sums, kThreads).total;
    b.barrier();
    return total;
  }

  /// Each thread looks at a word of bits at a time.
  void placeRows(Val first) {
    b.forRange(b.i32(0), b.i32(words), b.i32(kThreads), {first}, [&](Val start, ArrayRef<Val> place) {
      Val at = start + thread;
      Val word = b.ifElse(
          at < double(words), [&] { return SmallVector<Val>{load(kBits, {block, at})}; },
          [&] { return SmallVector<Val>{b.i32(0)}; })[0];
      ThreadScan scan = scanThreads(b, b.popcount(word), sums, kThreads);
      b.whileLoop(
          {word, place[0] + scan.before}, [&](ArrayRef<Val> next) { return next[0] != 0.0; },
          [&](ArrayRef<Val> next) {
            Val lowest = next[0] & (b.i32(0) - next[0]);
            b.ifThen(next[1] < double(length), [&] { placeRow(at * 32.0 + b.popcount(lowest - 1.0), next[1]); });
            return SmallVector<Val>{next[0] & (next[0] - 1.0), next[1] + 1.0};
          });
      b.barrier();
      return SmallVector<Val>{place[0] + scan.total};
    });
  }

  void placeRow(Val row, Val place) {
    store(row, kRows, {place});
    b.forRange(b.i32(0), b.i32(entries), b.i32(1),
               [&](Val k) { b.ifThen(load(kList, {row, k}) == block, [&] { store(place, kSlots, {row, k}); }); });
  }

  /// Places from `end` on, and entries without one.
  void fillRest(Val end) {
    Val none = b.i32(-1), own = block * double(kThreads) + thread, step = b.i32(blocks * kThreads);
    b.forRange(end + own, b.i32(length), step, [&](Val place) { store(none, kRows, {place}); });
    b.forRange(tileOf(end) + own, b.i32(length / kTilePlaces), step,
               [&](Val tile) { store(none, kTiles, {tile, b.i32(0)}); });
    b.forRange(own, b.i32(rows * entries), step, [&](Val entry) {
      Val row = divideBy(entry, entries), k = moduloBy(entry, entries);
      b.ifThen(load(kList, {row, k}) < 0.0, [&] { store(none, kSlots, {row, k}); });
    });
  }

  KernelBuilder &b;
  tile::KernelOp kernel;
  int64_t length, rows, entries, blocks, words;
  Val thread, block, head, batch, sums;
};

} // namespace

LogicalResult fresnel::lowerGroupRows(GroupRowsOp op, const KernelRequest &request, KernelBuilder &b) {
  GroupRows(op, request, b).write();
  return success();
}
