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
enum Field : int64_t { kTile, kPiece, kPieces, kSums, kFirstGroup, kEndGroup, kOffset, kStride, kFields };

HopperListWalks::HopperListWalks(KernelBuilder &builder, const AttendShape &shape, const ListCuts &cuts, int64_t keys,
                                 int64_t walks, int64_t section, int64_t words, int64_t threads)
    : b(builder), shape(shape), cuts(cuts), walks(walks), section(section), threads(threads),
      heads(shape.kvHeads * shape.batches), groups(llvm::divideCeil(words, 32)),
      groupsPerRange(llvm::divideCeil(groups, cuts.ranges)), ranges(llvm::divideCeil(groups, groupsPerRange)),
      tiles(llvm::divideCeil(shape.keys, keys * walks)), walksPerBlock(shape.keyBlock / keys) {}

void HopperListWalks::allocate() {
  if (!hasCuts())
    return;
  fields = b.alloc({walks, kFields}, b.getI32Type());
  pieceSums = b.alloc({threads / 32}, b.getI32Type());
  walkSums = b.alloc({threads / 32}, b.getI32Type());
}

Val HopperListWalks::locate(Val counts, Val thread) {
  Val index = b.id(tile::Id::BlockX), zero = b.i32(0), one = b.i32(1);
  if (!hasCuts()) {
    HeadTile place = walkSections(index, heads, section, tiles);
    tile = place.tile;
    return head = place.head;
  }
  isFurther = index < double(countFurther());
  Val number = b.max(index - double(countFurther()), zero);
  // Ranges are those of one head after the other.
  HeadTile place = walkSections(number, heads, ranges > 1 ? 1 : section, ranges * tiles);
  range = b.select(isFurther, zero, divideBy(place.tile, tiles));
  head = b.select(isFurther, moduloBy(index, heads), place.head);
  tile = b.select(isFurther, divideBy(index, heads), moduloBy(place.tile, tiles));
  b.ifThen(thread < double(walks), [&] {
    Val walk = tile * double(walks) + thread;
    // Its range; or nobody's: a piece behind the last one, which takes no words.
    setField(thread, kTile, b.select(isFurther, zero, walk));
    setField(thread, kPiece, b.select(isFurther, one, range));
    setField(thread, kPieces, b.select(isFurther, one, b.i32(ranges)));
    setField(thread, kSums, b.select(isFurther, zero, walk));
    setField(thread, kFirstGroup, range * double(groupsPerRange));
    setField(thread, kEndGroup,
             b.select(isFurther, zero, b.min((range + 1.0) * double(groupsPerRange), b.i32(groups))));
    setField(thread, kOffset, zero);
    setField(thread, kStride, one);
  });
  b.barrier();
  if (cuts.rows > 0)
    findPieces(counts);
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

/// Every thread looks at blocks of keys and tells the walks that are pieces of theirs.
void HopperListWalks::findPieces(Val counts) {
  Val zero = b.i32(0), one = b.i32(1), batch = head / double(shape.kvHeads), kvHead = head % double(shape.kvHeads);
  int64_t lists = shape.listHeads / shape.kvHeads, blocks = shape.getKeyBlocks();
  b.forRange(zero, b.i32(blocks), b.i32(threads), {zero, zero}, [&](Val first, ArrayRef<Val> sums) {
    Val block = first + b.id(tile::Id::Thread);
    Val count = b.ifElse(
        block < double(blocks),
        [&] {
          Val rows = zero;
          for (int64_t list = 0; list < lists; ++list)
            rows = rows + b.load(counts, {batch, kvHead * double(lists) + double(list), block});
          return SmallVector<Val>{rows};
        },
        [&] { return SmallVector<Val>{zero}; })[0];
    Val further = b.select(count < double(2 * cuts.rows), zero, divideBy(count, cuts.rows) - 1.0);
    auto [pieces, allPieces] = scanBlock(further, pieceSums);
    auto [cut, allCut] = scanBlock(b.select(further > 0.0, one, zero), walkSums);
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
      Val inBlock = b.select(isFurther, piece / further, whole), ownTile = block * double(walksPerBlock) + inBlock;
      // Only in the last range there is a piece of it.
      Val none = (isFurther ^ 1.0) & (range < double(ranges - 1)), pieces = further + 1.0;
      setField(at, kTile, ownTile);
      setField(at, kPiece, b.select(none, pieces, b.select(isFurther, piece % further, further)));
      setField(at, kPieces, pieces);
      setField(at, kSums, ranges > 1 ? ownTile : walksBefore * double(walksPerBlock) + inBlock);
      setField(at, kFirstGroup, b.i32(0));
      setField(at, kEndGroup, b.select(none, b.i32(0), b.i32(groups)));
      setField(at, kOffset, b.select(isFurther, piece % further, further));
      setField(at, kStride, pieces);
    });
  }
}

ListWalkPiece HopperListWalks::getPiece(Val walk) {
  ListWalkPiece piece;
  if (!hasCuts()) {
    piece.tile = walks == 1 ? tile : tile * double(walks) + walk;
    return piece;
  }
  auto field = [&](int64_t which) { return b.load(fields, {walk, b.i32(which)}); };
  piece.tile = field(kTile);
  piece.piece = field(kPiece);
  piece.pieces = field(kPieces);
  piece.sums = head * double(cuts.walks) + field(kSums);
  piece.firstGroup = field(kFirstGroup);
  piece.endGroup = field(kEndGroup);
  if (cuts.rows > 0) {
    piece.offset = field(kOffset);
    piece.stride = field(kStride);
  }
  return piece;
}
