//===- AlignDocumentsToTile.cpp - Documents that begin with a block -------===//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
//
// A thread owns a place. It walks the documents, of which all threads read one at a time,
// up to the one that holds its place; the token that stands there gets its place from it.
// Documents whose lengths are known are found in a table instead.
//
//===----------------------------------------------------------------------===//

#include "fresnel/Conversion/PyramidDocuments.h"
#include "fresnel/Conversion/ToTile.h"
#include "llvm/Support/MathExtras.h"

using namespace mlir;
using namespace fresnel;

static constexpr int64_t kThreads = 256;

/// The results, in their order behind `cu`, if that is there.
enum Result : unsigned { kBounds, kBlocks, kTokens, kFrom, kTo };

namespace {
/// The document of a place: its first place, its first token, and how many it has, none behind all documents.
struct Document {
  Val place, token, length;
};
} // namespace

/// Rounded up; nothing on the way exceeds `length`.
static Val countBlocks(KernelBuilder &b, Val length, int64_t block) {
  return length / double(block) + b.cast(length % double(block) > 0.0, b.getI32Type());
}

/// The document of a place, of those whose lengths are known: in a pyramid of two levels the second one has their
/// blocks.
static Document lookUpDocument(AlignDocumentsOp op, KernelBuilder &b, Val place) {
  PyramidShape shape(op.getSeqLen(), /*levels=*/2, op.getBlock(), op.getDocuments());
  PyramidDocuments documents(b, shape, [](const DocumentShape &document) { return document.sizes[1]; });
  Val block = place / double(op.getBlock());
  PyramidDocuments::Place found = documents.locate(block);
  return {(block - found.item) * double(op.getBlock()), documents.getEntry(found, 0, b.i32(0)),
          documents.getSize(found, 0)};
}

/// The same by the entries of `cu`.
static Document walkDocuments(AlignDocumentsOp op, KernelBuilder &b, Val cu, Val place) {
  int64_t entries = cast<RankedTensorType>(op.getCu().getType()).getDimSize(2);
  Val zero = b.i32(0), tokens = b.i32(op.getSeqLen());
  // The document that the walk is at: its place and token; the one that was found.
  auto visit = [&](Val end, ArrayRef<Val> state) {
    Val length = b.max(b.min(end, tokens), state[1]) - state[1];
    Val next = state[0] + countBlocks(b, length, op.getBlock()) * double(op.getBlock());
    Val holds = (state[0] <= place) & (place < next);
    return SmallVector<Val>{next, state[1] + length, b.select(holds, state[0], state[2]),
                            b.select(holds, state[1], state[3]), b.select(holds, length, state[4])};
  };
  // Behind all documents every block is one.
  Val ownBlock = place - place % double(op.getBlock());
  SmallVector<Val> found =
      b.forRange(zero, b.i32(entries), b.i32(1), {zero, zero, ownBlock, tokens, zero},
                 [&](Val i, ArrayRef<Val> state) { return visit(b.load(cu, {zero, zero, i}), state); });
  found = visit(tokens, found);
  return {found[2], found[3], found[4]};
}

LogicalResult fresnel::lowerAlignDocuments(AlignDocumentsOp op, const KernelRequest &request, KernelBuilder &b) {
  int64_t places = cast<RankedTensorType>(op.getFrom().getType()).getDimSize(2), block = op.getBlock();
  tile::KernelOp kernel = b.beginKernel(request.getName(), request.getArgumentTypes(), kThreads,
                                        {int64_t(llvm::divideCeil(places, kThreads)), 1, 1});
  Val zero = b.i32(0), one = b.i32(1);
  Val place = b.id(tile::Id::BlockX) * double(kThreads) + b.id(tile::Id::Thread);
  b.ifThen(place < b.i32(places), [&] {
    bool known = !op.getCu();
    Document document = known ? lookUpDocument(op, b, place) : walkDocuments(op, b, b.argument(kernel, 0), place);
    auto result = [&](Result which) { return b.argument(kernel, known ? which : which + 1); };
    Val end = document.place + document.length, inside = place < end;
    Val blocks = b.max(countBlocks(b, document.length, block), one), next = document.place + blocks * double(block);
    auto store = [&](Result bounds, Val index, Val first, Val last) {
      b.store(first, result(bounds), {zero, zero, index});
      b.store(last, result(bounds), {zero, one, index});
    };
    store(kBounds, place, document.place, next);
    store(kTokens, place, document.place, end);
    Val token = document.token + (place - document.place);
    b.store(b.select(inside, token, b.i32(-1)), result(kFrom), {zero, zero, place});
    b.ifThen(inside, [&] { b.store(place, result(kTo), {zero, zero, token}); });
    b.ifThen(place % double(block) == 0.0, [&] {
      Val first = document.place / double(block);
      store(kBlocks, place / double(block), first, first + blocks);
    });
  });
  return success();
}
