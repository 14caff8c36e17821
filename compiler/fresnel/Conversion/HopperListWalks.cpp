//===- HopperListWalks.cpp - Who walks the rows that list a block ---------===//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//

#include "fresnel/Conversion/HopperListWalks.h"
#include "fresnel/Conversion/BlockLists.h"
#include "fresnel/Conversion/HopperRings.h"
#include "fresnel/Conversion/RadixSelect.h"
#include "llvm/Support/MathExtras.h"

using namespace mlir;
using namespace fresnel;

/// Fields of a walk in shared memory.
static constexpr int64_t kTile = 0, kPiece = 1, kPieces = 2, kSums = 3, kFirst = 4, kEnd = 5, kFields = 6;

HopperListWalks::HopperListWalks(KernelBuilder &builder, const AttendShape &shape, const ListCuts &cuts, int64_t keys,
                                 int64_t walks, int64_t section, int64_t threads)
    : b(builder), shape(shape), cuts(cuts), walks(walks), section(section), threads(threads),
      heads(shape.kvHeads * shape.batches), tiles(llvm::divideCeil(shape.keys, keys * walks)),
      walksPerBlock(std::max<int64_t>(1, shape.keyBlock / keys)),
      blocksPerWalk(std::max<int64_t>(1, keys / shape.keyBlock)) {}

void HopperListWalks::allocate() {
  if (!hasCuts())
    return;
  fields = b.alloc({walks, kFields}, b.getI32Type());
  pieceSums = b.alloc({threads / 32}, b.getI32Type());
  walkSums = b.alloc({threads / 32}, b.getI32Type());
}

Val HopperListWalks::locate(Val counts, Val thread) {
  Val index = b.id(tile::Id::BlockX);
  if (!hasCuts()) {
    HeadTile place = walkSections(index, heads, section, tiles);
    tile = place.tile;
    return head = place.head;
  }
  isFurther = index < double(countFurther());
  if (cuts.inOrder) {
    HeadTile place = walkSections(index, heads, section, countItems());
    tile = place.tile;
    head = place.head;
    findInOrder(counts, thread);
    return head;
  }
  HeadTile place = walkSections(b.max(index - double(countFurther()), b.i32(0)), heads, section, tiles);
  head = b.select(isFurther, moduloBy(index, heads), place.head);
  tile = b.select(isFurther, divideBy(index, heads), place.tile);
  findPieces(counts, thread);
  return head;
}

/// What is in front of this thread's value in the thread block, and the sum of all.
std::pair<Val, Val> HopperListWalks::scanBlock(Val value, Val sums) {
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

/// How many rows list a block, or those of a walk; 0 behind the last one.
Val HopperListWalks::loadRows(Val counts, Val block) {
  Val batch = head / double(shape.kvHeads), kvHead = head % double(shape.kvHeads);
  int64_t lists = shape.listHeads / shape.kvHeads, keyBlocks = shape.getKeyBlocks();
  return b.ifElse(
      block < double(getBlocks()),
      [&] {
        Val rows = b.i32(0);
        for (int64_t i = 0; i < lists * blocksPerWalk; ++i) {
          Val at = block * double(blocksPerWalk) + double(i % blocksPerWalk), near = at;
          if (keyBlocks % blocksPerWalk)
            near = b.min(at, b.i32(keyBlocks - 1));
          Val count = b.load(counts, {batch, kvHead * double(lists) + double(i / blocksPerWalk), near});
          rows = rows + (keyBlocks % blocksPerWalk ? b.select(at == near, count, b.i32(0)) : count);
        }
        return SmallVector<Val>{rows};
      },
      [&] { return SmallVector<Val>{b.i32(0)}; })[0];
}

/// Every thread looks at blocks of keys and tells the walks that are pieces of theirs.
void HopperListWalks::findPieces(Val counts, Val thread) {
  Val zero = b.i32(0), one = b.i32(1);
  int64_t blocks = getBlocks();
  b.ifThen(thread < double(walks), [&] {
    // Whole, or nobody's: a piece behind the last one takes no words.
    b.store(b.select(isFurther, zero, tile * double(walks) + thread), fields, {thread, b.i32(kTile)});
    b.store(b.select(isFurther, one, zero), fields, {thread, b.i32(kPiece)});
    b.store(one, fields, {thread, b.i32(kPieces)});
    b.store(zero, fields, {thread, b.i32(kSums)});
  });
  b.barrier();
  b.forRange(zero, b.i32(blocks), b.i32(threads), {zero, zero}, [&](Val first, ArrayRef<Val> sums) {
    Val block = first + thread;
    Val count = loadRows(counts, block);
    Val often = b.select(count < double(2 * cuts.rows), zero, one);
    auto [cut, allCut] = scanBlock(often, walkSums);
    // There is room for the sums of so many blocks.
    Val isCut = (often > 0.0) & (sums[1] + cut < double(cuts.walks / walksPerBlock));
    Val further = b.select(isCut, divideBy(count, cuts.rows) - 1.0, zero);
    auto [pieces, allPieces] = scanBlock(further, pieceSums);
    b.ifThen(further > 0.0,
             [&, pieces = pieces, cut = cut] { claim(block, further, sums[0] + pieces, sums[1] + cut); });
    b.barrier();
    return SmallVector<Val>{sums[0] + allPieces, sums[1] + allCut};
  });
}

/// Where walks of this thread block are of `block`, which has `further` pieces beyond one. Its walks
/// have equal pieces and follow each other.
void HopperListWalks::claim(Val block, Val further, Val piecesBefore, Val walksBefore) {
  for (int64_t walk = 0; walk < walks; ++walk) {
    Val number = tile * double(walks) + double(walk), at = b.i32(walk);
    Val piece = number - piecesBefore * double(walksPerBlock), whole = number - block * double(walksPerBlock);
    Val within = b.select(isFurther, piece, whole);
    Val size = b.select(isFurther, further * double(walksPerBlock), b.i32(walksPerBlock));
    b.ifThen((within >= 0.0) & (within < size), [&] {
      Val inBlock = b.select(isFurther, piece / further, whole);
      b.store(block * double(walksPerBlock) + inBlock, fields, {at, b.i32(kTile)});
      b.store(b.select(isFurther, piece % further, further), fields, {at, b.i32(kPiece)});
      b.store(further + 1.0, fields, {at, b.i32(kPieces)});
      b.store(walksBefore * double(walksPerBlock) + inBlock, fields, {at, b.i32(kSums)});
    });
  }
}

/// The sum over all blocks, each of which a thread has looked at.
Val HopperListWalks::sumBlocks(Val thread, function_ref<Val(Val)> value) {
  Val own = b.forRange(thread, b.i32(getBlocks()), b.i32(threads), {b.i32(0)},
                       [&](Val block, ArrayRef<Val> sum) { return SmallVector<Val>{sum[0] + value(block)}; })[0];
  Val total = scanBlock(own, pieceSums).second;
  b.barrier();
  return total;
}

/// The thread block's walk: pieces of one number follow each other, block by block, those of the next number behind
/// them.
void HopperListWalks::findInOrder(Val counts, Val thread) {
  Val zero = b.i32(0), one = b.i32(1);
  b.ifThen(thread == zero, [&] {
    // Nobody's, unless somebody is found.
    for (auto [field, value] : {std::pair(kTile, zero), std::pair(kPiece, one), std::pair(kPieces, one),
                                std::pair(kSums, zero), std::pair(kFirst, zero), std::pair(kEnd, zero)})
      b.store(value, fields, {zero, b.i32(field)});
  });
  auto getPieces = [&](Val block) {
    return b.select(block < double(getBlocks()), b.max(divideBy(loadRows(counts, block), cuts.rows), one), zero);
  };
  // The most pieces of which all blocks together have no more before this one.
  int64_t rows = int64_t(llvm::divideCeil(shape.queries, shape.queryBlock)) * (shape.listHeads / shape.kvHeads);
  Val number = divideBy(tile, walksPerBlock), inBlock = moduloBy(tile, walksPerBlock), piece = zero, before = zero;
  for (int64_t bit = llvm::PowerOf2Ceil(rows * blocksPerWalk / cuts.rows + 1) / 2; bit > 0; bit /= 2) {
    Val next = piece + double(bit);
    Val sum = sumBlocks(thread, [&](Val block) { return b.min(getPieces(block), next); });
    before = b.select(sum > number, before, sum);
    piece = b.select(sum > number, piece, next);
  }
  b.forRange(zero, b.i32(getBlocks()), b.i32(threads), {zero, zero}, [&](Val first, ArrayRef<Val> sums) {
    Val block = first + thread, pieces = getPieces(block);
    auto [rank, all] = scanBlock(b.select(pieces > piece, one, zero), pieceSums);
    auto [cut, allCut] = scanBlock(b.select(pieces > one, one, zero), walkSums);
    b.ifThen((pieces > piece) & (sums[0] + rank == number - before), [&, cut = cut] {
      for (auto [field, value] :
           {std::pair(kTile, block * double(walksPerBlock) + inBlock), std::pair(kPiece, piece),
            std::pair(kPieces, pieces), std::pair(kSums, (sums[1] + cut) * double(walksPerBlock) + inBlock)})
        b.store(value, fields, {zero, b.i32(field)});
    });
    b.barrier();
    return SmallVector<Val>{sums[0] + all, sums[1] + allCut};
  });
}

/// Pieces have equal numbers of rows, as far as whole positions do: one is of the piece that its first row is of.
void HopperListWalks::findEnds(Val thread, int64_t all, function_ref<Val(Val)> count) {
  Val zero = b.i32(0), one = b.i32(1), positions = b.i32(all);
  ListWalkPiece own = getPiece(zero);
  b.ifThen((own.pieces == one) & (own.piece == zero) & (thread == zero),
           [&] { b.store(positions, fields, {zero, b.i32(kEnd)}); });
  b.ifThen(own.pieces > one, [&] {
    int64_t share = llvm::divideCeil(all, threads);
    Val lower = thread * double(share), upper = b.min(lower + double(share), positions);
    Val rows = b.forRange(lower, upper, one, {zero}, [&](Val position, ArrayRef<Val> sum) {
      return SmallVector<Val>{sum[0] + count(position)};
    })[0];
    auto [before, total] = scanBlock(rows, pieceSums);
    Val size = (total + own.pieces - 1.0) / own.pieces, from = size * own.piece, to = from + size;
    SmallVector<Val> state =
        b.forRange(lower, upper, one, {before, zero, zero}, [&](Val position, ArrayRef<Val> carried) {
          return SmallVector<Val>{carried[0] + count(position), carried[1] + b.select(carried[0] < from, one, zero),
                                  carried[2] + b.select(carried[0] < to, one, zero)};
        });
    // One thread has the last position in front of each end.
    for (auto [field, limit, counted] : {std::tuple(kFirst, from, state[1]), std::tuple(kEnd, to, state[2])})
      b.ifThen((counted > zero) & ((state[0] >= limit) | (upper == positions)),
               [&, field = field, counted = counted] { b.store(lower + counted, fields, {zero, b.i32(field)}); });
  });
  b.barrier();
}

ListWalkPiece HopperListWalks::getPiece(Val walk) {
  if (!hasCuts())
    return {walks == 1 ? tile : tile * double(walks) + walk, Val(), Val(), Val(), Val(), Val()};
  auto field = [&](int64_t which) { return b.load(fields, {walk, b.i32(which)}); };
  ListWalkPiece piece{field(kTile), field(kPiece), field(kPieces), head * double(cuts.walks) + field(kSums), {}, {}};
  if (cuts.inOrder) {
    piece.first = field(kFirst);
    piece.end = field(kEnd);
  }
  return piece;
}
