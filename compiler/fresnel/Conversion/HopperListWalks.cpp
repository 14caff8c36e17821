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
static constexpr int64_t kTile = 0, kPiece = 1, kPieces = 2, kSums = 3, kFields = 4;

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
  HeadTile place = walkSections(b.max(index - double(countFurther()), b.i32(0)), heads, section, tiles);
  head = b.select(isFurther, moduloBy(index, heads), place.head);
  tile = b.select(isFurther, divideBy(index, heads), place.tile);
  findPieces(counts, thread);
  return head;
}

/// Every thread looks at blocks of keys and tells the walks that are pieces of theirs.
void HopperListWalks::findPieces(Val counts, Val thread) {
  Val zero = b.i32(0), one = b.i32(1), batch = head / double(shape.kvHeads), kvHead = head % double(shape.kvHeads);
  int64_t lists = shape.listHeads / shape.kvHeads, keyBlocks = shape.getKeyBlocks();
  int64_t blocks = llvm::divideCeil(keyBlocks, blocksPerWalk);
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
    Val count = b.ifElse(
        block < double(blocks),
        [&] {
          Val rows = zero;
          for (int64_t i = 0; i < lists * blocksPerWalk; ++i) {
            Val at = block * double(blocksPerWalk) + double(i % blocksPerWalk), near = at;
            if (keyBlocks % blocksPerWalk)
              near = b.min(at, b.i32(keyBlocks - 1));
            Val count = b.load(counts, {batch, kvHead * double(lists) + double(i / blocksPerWalk), near});
            rows = rows + (keyBlocks % blocksPerWalk ? b.select(at == near, count, zero) : count);
          }
          return SmallVector<Val>{rows};
        },
        [&] { return SmallVector<Val>{zero}; })[0];
    Val often = b.select(count < double(2 * cuts.rows), zero, one);
    auto [cut, allCut] = scanThreads(b, often, walkSums, threads);
    // There is room for the sums of so many blocks.
    Val isCut = (often > 0.0) & (sums[1] + cut < double(cuts.walks / walksPerBlock));
    Val further = b.select(isCut, divideBy(count, cuts.rows) - 1.0, zero);
    auto [pieces, allPieces] = scanThreads(b, further, pieceSums, threads);
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

ListWalkPiece HopperListWalks::getPiece(Val walk) {
  if (!hasCuts())
    return {walks == 1 ? tile : tile * double(walks) + walk, Val(), Val(), Val()};
  auto field = [&](int64_t which) { return b.load(fields, {walk, b.i32(which)}); };
  return {field(kTile), field(kPiece), field(kPieces), head * double(cuts.walks) + field(kSums)};
}
