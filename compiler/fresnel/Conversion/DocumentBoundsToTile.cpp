//===- DocumentBoundsToTile.cpp - Where documents begin and end -----------===//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
//
// A thread owns a token and compares it with every entry, in whatever order they
// stand. All threads read one entry at a time, which their caches hold. Documents
// whose lengths are known are found in a table instead. Narrower bounds are made of bounds.
//
//===----------------------------------------------------------------------===//

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

/// The same by the entries of `cu`.
static SmallVector<Val> compareWithEntries(DocumentBoundsOp op, KernelBuilder &b, Val cu, Val token) {
  int64_t entries = cast<RankedTensorType>(op.getCu().getType()).getDimSize(2);
  Val zero = b.i32(0), end = b.i32(op.getSeqLen());
  return b.forRange(zero, b.i32(entries), b.i32(1), {zero, end}, [&](Val i, ArrayRef<Val> state) {
    Val entry = b.load(cu, {zero, zero, i});
    Val before = entry <= token;
    return SmallVector<Val>{b.select(before, b.max(state[0], entry), state[0]),
                            b.select(before, state[1], b.min(state[1], entry))};
  });
}

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

LogicalResult fresnel::lowerDocumentBounds(DocumentBoundsOp op, const KernelRequest &request, KernelBuilder &b) {
  int64_t tokens = op.getSeqLen();
  tile::KernelOp kernel = b.beginKernel(request.getName(), request.getArgumentTypes(), kThreads,
                                        {int64_t(llvm::divideCeil(tokens, kThreads)), 1, 1});
  Val zero = b.i32(0), one = b.i32(1), target = b.argument(kernel, op.getCu() ? 1 : 0);
  Val token = b.id(tile::Id::BlockX) * double(kThreads) + b.id(tile::Id::Thread);
  b.ifThen(token < b.i32(tokens), [&] {
    SmallVector<Val> bounds =
        op.getCu() ? compareWithEntries(op, b, b.argument(kernel, 0), token) : findBounds(op, b, token);
    b.store(bounds[0], target, {zero, zero, token});
    b.store(bounds[1], target, {zero, one, token});
  });
  return success();
}
