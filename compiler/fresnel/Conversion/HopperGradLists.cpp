//===- HopperGradLists.cpp - Block lists in attention's gradients ---------===//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//

#include "fresnel/Conversion/HopperGradLists.h"
#include "llvm/Support/MathExtras.h"

using namespace mlir;
using namespace fresnel;

HopperGradLists::HopperGradLists(KernelBuilder &builder, const AttendShape &shape, const BlockSetSizes &sizes,
                                 int64_t keyRows, int64_t queryRows)
    : b(builder), shape(shape), keyRows(keyRows), queryRows(queryRows),
      words(llvm::divideCeil(shape.getListRows(), 32)), lists(shape.listHeads / shape.kvHeads),
      readers(shape.heads / shape.listHeads), stepsPerBlock(shape.queryBlock / queryRows),
      parts(shape.keyBlock / keyRows), set(builder, sizes) {}

void HopperGradLists::read(Val transposed, Val batch, Val keyHead, Val keyTile) {
  block = keyTile;
  kvHead = keyHead;
  Val keyBlock = divideBy(block, parts), firstList = kvHead * double(lists);
  count = set.collect(b.i32(0), /*sentinel=*/0, [&](Val word) {
    return b.load(transposed, {batch, firstList + divideBy(word, words), keyBlock, moduloBy(word, words)});
  });
}

Val HopperGradLists::countSteps() { return count * double(readers * stepsPerBlock); }

HopperGradLists::Place HopperGradLists::getPlace(Val i) {
  Val reader = moduloBy(i, readers), round = divideBy(i, readers);
  Val entry = set.getEntry(count - 1.0 - divideBy(round, stepsPerBlock));
  // Behind the rows of one list, up to a whole word, stand those of the next.
  Val list = lists == 1 ? b.i32(0) : entry / double(32 * words);
  Place place;
  place.listRow = lists == 1 ? entry : entry % double(32 * words);
  place.listHead = kvHead * double(lists) + list;
  place.head = place.listHead * double(readers) + reader;
  place.step = place.listRow * double(stepsPerBlock) + (double(stepsPerBlock - 1) - moduloBy(round, stepsPerBlock));
  return place;
}

HopperGradLists::Turn HopperGradLists::getTurn(Val listTensor, Val batch, const Place &place) {
  int64_t entries = cast<tile::GlobalType>(listTensor.getType()).getShape()[3], blocks = shape.getKeyBlocks();
  Val keyBlock = divideBy(block, parts), zero = b.i32(0), one = b.i32(1);
  SmallVector<Val> counts =
      b.forRange(b.id(tile::Id::Lane), b.i32(entries), b.i32(32), {zero, zero, zero}, [&](Val i, ArrayRef<Val> sums) {
        Val entry = b.load(listTensor, {batch, place.listHead, place.listRow, i});
        auto add = [&](Val sum, Val counts) { return sum + b.select(counts, one, zero); };
        return SmallVector<Val>{add(sums[0], (entry >= 0.0) & (entry < keyBlock)), add(sums[1], entry == keyBlock),
                                add(sums[2], (entry > keyBlock) & (entry < double(blocks)))};
      });
  for (int64_t mask = 16; mask > 0; mask /= 2)
    for (Val &sum : counts)
      sum = sum + b.shuffleXor(sum, mask);
  auto [before, here, behind] = std::tuple(counts[0], counts[1], counts[2]);
  // The thread blocks of one key block follow each other.
  Val part = moduloBy(block, parts), now = before * double(parts) + part;
  Val isLastPart = (part == double(parts - 1)) | (block == double(int64_t(llvm::divideCeil(shape.keys, keyRows)) - 1));
  Val next = b.select(behind == 0.0, zero, (before + here) * double(parts));
  return {now, b.select(isLastPart, next, now + 1.0)};
}
