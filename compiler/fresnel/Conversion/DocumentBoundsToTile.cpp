//===- DocumentBoundsToTile.cpp - Where documents begin and end -----------===//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
//
// A thread owns a token. The threads of a block read the entries together, in whatever
// order they stand, and leave bits at those tokens of the block that begin a document,
// so that each finds its own bounds in a few words. Documents
// whose lengths are known are found in a table instead. Narrower bounds are made of bounds.
//
//===----------------------------------------------------------------------===//

#include "fresnel/Conversion/BlockLists.h"
#include "fresnel/Conversion/PyramidDocuments.h"
#include "fresnel/Conversion/ToTile.h"
#include "llvm/Support/MathExtras.h"

using namespace mlir;
using namespace fresnel;

static constexpr int64_t kThreads = 256;

/// The bounds of the document of a token whose lengths are known.
static SmallVector<Val> findBounds(DocumentBoundsOp op, KernelBuilder &b, Val token) {
  PyramidShape shape(op.getSeqLen(), /*levels=*/1, /*factor=*/2, op.getDocuments());
  PyramidDocuments documents(b, shape, [](const DocumentShape &document) { return document.sizes[0]; });
  PyramidDocuments::Place place = documents.locate(token);
  Val first = documents.getEntry(place, 0, b.i32(0));
  return {first, first + documents.getSize(place, 0)};
}

namespace {
/// The same by the entries of `cu`. Those at the block's own tokens become bits; of the others the last one in front of
/// them and the first one behind count.
class EntrySearch {
public:
  EntrySearch(KernelBuilder &b, Val firstToken, int64_t length)
      : b(b), firstToken(firstToken), length(length), thread(b.id(tile::Id::Thread)),
        bits(b.alloc({kWords}, b.getI32Type())), edges(b.alloc({2}, b.getI32Type())) {}

  /// All threads together; ends with a barrier.
  void read(Val cu) {
    int64_t entries = cast<tile::GlobalType>(cu.getType()).getShape().back();
    Val zero = b.i32(0);
    b.ifThen(thread < double(kWords), [&] { b.store(zero, bits, {thread}); });
    // The second one's sign is turned, so that both are maxima.
    b.ifThen(thread < 2.0, [&] { b.store(b.select(thread == 0.0, zero, b.i32(-length)), edges, {thread}); });
    b.barrier();
    SmallVector<Val> near =
        b.forRange(thread, b.i32(entries), b.i32(kThreads), {zero, b.i32(length)}, [&](Val i, ArrayRef<Val> state) {
          Val entry = b.load(cu, {zero, zero, i});
          Val before = entry <= firstToken, behind = entry > firstToken + double(kThreads - 1);
          b.ifThen(before == behind, [&] {
            Val place = entry - firstToken;
            b.atomic(tile::Combine::Or, b.i32(1) << (place & 31.0), bits, {place >> 5.0});
          });
          return SmallVector<Val>{b.select(before, b.max(state[0], entry), state[0]),
                                  b.select(behind, b.min(state[1], entry), state[1])};
        });
    b.atomic(tile::Combine::Max, near[0], edges, {zero});
    b.atomic(tile::Combine::Max, zero - near[1], edges, {b.i32(1)});
    b.barrier();
  }

  /// The bounds of this thread's token.
  SmallVector<Val> findBounds() {
    Val zero = b.i32(0), one = b.i32(1), word = thread >> 5.0;
    // Bits of the thread's word up to its own.
    Val upTo = (b.i32(2) << (thread & 31.0)) - 1.0;
    Val last = zero, lastWord = zero, next = zero, nextWord = zero;
    for (int64_t i = 0; i < kWords; ++i) {
      Val mask = b.select(word > double(i), b.i32(-1), b.select(word == double(i), upTo, zero));
      Val found = b.load(bits, {b.i32(i)}) & mask;
      last = b.select(found != 0.0, found, last);
      lastWord = b.select(found != 0.0, b.i32(i), lastWord);
    }
    for (int64_t i = kWords - 1; i >= 0; --i) {
      Val mask = b.select(word < double(i), b.i32(-1), b.select(word == double(i), upTo ^ -1.0, zero));
      Val found = b.load(bits, {b.i32(i)}) & mask;
      next = b.select(found != 0.0, found, next);
      nextWord = b.select(found != 0.0, b.i32(i), nextWord);
    }
    // What lies below the highest bit, and with it.
    Val below = last;
    for (int64_t shift : {1, 2, 4, 8, 16})
      below = below | (below >> double(shift));
    Val start = firstToken + lastWord * 32.0 + b.popcount(below) - 1.0;
    Val end = firstToken + nextWord * 32.0 + b.popcount((next & (zero - next)) - 1.0);
    return {b.select(last != 0.0, start, b.load(edges, {zero})),
            b.select(next != 0.0, end, zero - b.load(edges, {one}))};
  }

private:
  static constexpr int64_t kWords = kThreads / 32;

  KernelBuilder &b;
  Val firstToken;
  int64_t length;
  Val thread, bits, edges;
};
} // namespace

LogicalResult fresnel::lowerNarrowBounds(NarrowBoundsOp op, const KernelRequest &request, KernelBuilder &b) {
  int64_t tokens = op.getBounds().getType().getDimSize(2);
  tile::KernelOp kernel = b.beginKernel(request.getName(), request.getArgumentTypes(), kThreads,
                                        {int64_t(llvm::divideCeil(tokens, kThreads)), 1, 1});
  // No window reaches over more than all tokens.
  int64_t window = std::min<int64_t>(op.getWindow(), tokens);
  Val zero = b.i32(0), one = b.i32(1), bounds = b.argument(kernel, 0), target = b.argument(kernel, 1);
  Val token = b.id(tile::Id::BlockX) * double(kThreads) + b.id(tile::Id::Thread);
  b.ifThen(token < b.i32(tokens), [&] {
    Val start = b.load(bounds, {zero, zero, token}), end = b.load(bounds, {zero, one, token});
    b.store(b.max(start, token - double(window - 1)), target, {zero, zero, token});
    // token + window may take 32 bits.
    b.store(token + b.min(end - token, b.i32(window)), target, {zero, one, token});
  });
  return success();
}

LogicalResult fresnel::lowerBlockBounds(BlockBoundsOp op, const KernelRequest &request, KernelBuilder &b) {
  int64_t tokens = op.getBounds().getType().getDimSize(2), keyBlock = std::min<int64_t>(op.getKeyBlock(), tokens);
  tile::KernelOp kernel = b.beginKernel(request.getName(), request.getArgumentTypes(), kThreads,
                                        {int64_t(llvm::divideCeil(tokens, kThreads)), 1, 1});
  Val zero = b.i32(0), one = b.i32(1), bounds = b.argument(kernel, 0), own = b.argument(kernel, 1);
  Val token = b.id(tile::Id::BlockX) * double(kThreads) + b.id(tile::Id::Thread);
  b.ifThen(token < b.i32(tokens), [&] {
    Val block = divideBy(token, keyBlock), first = block * double(keyBlock);
    Val start = b.max(b.load(bounds, {zero, zero, token}), first), end = b.load(bounds, {zero, one, token});
    b.store(start, own, {zero, zero, token});
    // The block's end may take 32 bits.
    b.store(first + b.min(end - first, b.i32(keyBlock)), own, {zero, one, token});
    Val isLast = (token == double(tokens - 1)) | (token - first == double(keyBlock - 1));
    b.ifThen(isLast, [&] { b.store(start, b.argument(kernel, 2), {zero, zero, block, zero}); });
  });
  return success();
}

LogicalResult fresnel::lowerDocumentBounds(DocumentBoundsOp op, const KernelRequest &request, KernelBuilder &b) {
  int64_t tokens = op.getSeqLen();
  tile::KernelOp kernel = b.beginKernel(request.getName(), request.getArgumentTypes(), kThreads,
                                        {int64_t(llvm::divideCeil(tokens, kThreads)), 1, 1});
  Val zero = b.i32(0), one = b.i32(1), target = b.argument(kernel, op.getCu() ? 1 : 0);
  Val firstToken = b.id(tile::Id::BlockX) * double(kThreads), token = firstToken + b.id(tile::Id::Thread);
  std::optional<EntrySearch> search;
  if (op.getCu())
    search.emplace(b, firstToken, tokens).read(b.argument(kernel, 0));
  b.ifThen(token < b.i32(tokens), [&] {
    SmallVector<Val> bounds = search ? search->findBounds() : findBounds(op, b, token);
    b.store(bounds[0], target, {zero, zero, token});
    b.store(bounds[1], target, {zero, one, token});
  });
  return success();
}
