//===- BlockScoreMath.cpp - Scores of pooled keys on fragments ------------===//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//

#include "fresnel/Conversion/BlockScoreMath.h"
#include <cmath>

using namespace mlir;
using namespace fresnel;

/// Up to this head dim the queries stay in registers.
static constexpr int64_t kMaxResidentDepth = 128;
/// The width of the pieces in which wider ones are read back.
static constexpr int64_t kPiece = 64;

bool fresnel::hasMatrixScores(RankedTensorType q) {
  int64_t depth = q.getDimSize(3);
  return !q.getElementType().isF32() && depth % 16 == 0 && depth <= 256;
}

Val ScoreShape::countVisible(KernelBuilder &b, Val row) const {
  if (!causal)
    return b.i32(getKeys());
  // Clamped before the division, which rounds towards zero.
  Val reach = (row + 1.0) * double(queryStride) - double(keyWindow) + double(keyStride);
  return b.min(b.max(reach, b.i32(0)) / double(keyStride), b.i32(getKeys()));
}

ScoreTiles::ScoreTiles(KernelBuilder &builder, const ScoreShape &shape, int64_t tileM, int64_t tileN)
    : b(builder), shape(shape), tileM(tileM), tileN(tileN), stages(shape.getDepth() <= kMaxResidentDepth ? 2 : 1) {}

bool ScoreTiles::isResident() const { return shape.getDepth() <= kMaxResidentDepth; }

void ScoreTiles::allocate(Val queries, Val keys) {
  q = queries;
  k = keys;
  Type element = shape.q.getElementType();
  qTile = b.alloc({tileM, shape.getDepth()}, element, tile::Layout::Padded);
  kRing = b.alloc({stages, tileN, shape.getDepth()}, element, tile::Layout::Padded);
}

void ScoreTiles::loadQueries(Val batch, Val head, Val row) {
  firstRow = row;
  if (shape.documents) {
    edges = loadDocumentEdges(b, bounds, row, tileM, shape.getDocumentSteps());
    documents = loadDocumentRows(b, bounds, row, tileM, DocumentSide::Starts, /*group=*/1, shape.getDocumentSteps());
  }
  tile::CopyAsyncOp::create(b, Value(q), Value(batch), Value(head), Value(row), Value(qTile));
  tile::CopyCommitOp::create(b);
  tile::CopyWaitOp::create(b, 0);
  b.barrier();
  if (!isResident())
    return;
  Type lhs = tile::getLhsType(tileM, shape.getDepth(), shape.q.getElementType());
  qLhs = b.wrap(tile::LoadLhsOp::create(b, lhs, Value(qTile), 0));
  // The tile may be overwritten from here on.
  b.barrier();
}

Val ScoreTiles::countTiles(Val row) {
  Val last = b.min(row + double(tileM - 1), b.i32(shape.getRows() - 1));
  return (shape.countVisible(b, last) + double(tileN - 1)) / double(tileN);
}

Val ScoreTiles::getFirstTile(Val row, Val end) {
  if (!shape.documents)
    return b.i32(0);
  return b.min(loadDocumentEdges(b, bounds, row, tileM, shape.getDocumentSteps()).firstStart / double(tileN), end);
}

void ScoreTiles::copyKeys(Val batch, Val keyHead, Val tile, Val end) {
  b.ifThen(tile < end, [&] {
    Val slot = b.slice(kRing, tile % double(stages));
    tile::CopyAsyncOp::create(b, Value(k), Value(batch), Value(keyHead), Value(tile * double(tileN)), Value(slot));
  });
  // An empty group where there was nothing to copy keeps the count right.
  tile::CopyCommitOp::create(b);
}

Val ScoreTiles::multiply(Val keys) {
  Val scores = b.constant(getType(b.getF32Type()), 0.0);
  int64_t piece = isResident() ? shape.getDepth() : kPiece;
  for (int64_t column = 0; column < shape.getDepth(); column += piece) {
    int64_t width = std::min(piece, shape.getDepth() - column);
    Type type = tile::getLhsType(tileM, width, shape.q.getElementType());
    Value lhs = qLhs ? Value(qLhs) : Value(tile::LoadLhsOp::create(b, type, Value(qTile), column));
    scores =
        b.wrap(tile::MmaOp::create(b, scores.getType(), lhs, Value(keys), Value(scores), /*transposed=*/true, column));
  }
  return scores;
}

Val ScoreTiles::mask(Val scores, Val firstKey) {
  Val end = firstKey + double(tileN);
  Val needed = end > b.i32(shape.getKeys());
  if (shape.causal)
    needed = needed | (end > shape.countVisible(b, firstRow));
  if (shape.documents)
    needed = needed | (firstKey < edges.lastStart);
  auto hide = [&] {
    Type index = getType(b.getI32Type());
    Val key = b.wrap(tile::ColIndexOp::create(b, index, Value(firstKey)));
    Val visible = key < double(shape.getKeys());
    if (shape.causal)
      visible = visible & shape.isVisible(b.wrap(tile::RowIndexOp::create(b, index, Value(firstRow))), key);
    if (shape.documents)
      visible = visible & isInDocument(documents, key);
    return SmallVector<Val>{b.select(visible, scores, b.constant(scores.getType(), -INFINITY))};
  };
  return b.ifElse(needed, hide, [&] { return SmallVector<Val>{scores}; })[0];
}

SmallVector<Val> ScoreTiles::walk(Val batch, Val keyHead, Val first, Val end, double factor, ArrayRef<Val> init,
                                  function_ref<SmallVector<Val>(Val, Val, ArrayRef<Val>)> use) {
  for (int64_t i = 0; i + 1 < stages; ++i)
    copyKeys(batch, keyHead, first + double(i), end);
  SmallVector<Val> result = b.forRange(first, end, b.i32(1), init, [&](Val i, ArrayRef<Val> state) {
    copyKeys(batch, keyHead, i + double(stages - 1), end);
    tile::CopyWaitOp::create(b, stages - 1);
    b.barrier();
    Val firstKey = i * double(tileN);
    Val scores = mask(multiply(b.slice(kRing, i % double(stages))) * factor, firstKey);
    SmallVector<Val> next = use(scores, firstKey, state);
    // The next iteration overwrites the slot that was just read.
    b.barrier();
    return next;
  });
  return result;
}

void ScoreOutput::write(Val firstKey, function_ref<Val(Val, Val, int64_t)> read, Val adds) {
  int64_t width = shape.getKeys() % 4 ? 1 : 4, perRow = tileN / width;
  Val thread = b.id(tile::Id::Thread);
  Val column = thread % double(perRow) * double(width), key = firstKey + column;
  b.ifThen(key < double(shape.getKeys()), [&] {
    b.forRange(thread / double(perRow), b.i32(tileM), b.i32(threads / perRow), [&](Val local) {
      Val row = firstRow + local;
      b.ifThen(row < double(shape.getRows()), [&] {
        SmallVector<Val> place{batch, head, row, key};
        Val value = read(local, column, width);
        if (adds)
          value = b.ifElse(
              adds, [&] { return SmallVector<Val>{value + b.load(target, place, width)}; },
              [&] { return SmallVector<Val>{value}; })[0];
        b.store(value, target, place);
      });
    });
  });
}

void ScoreOutput::fill(Val firstKey, double value) {
  write(firstKey, [&](Val, Val, int64_t width) {
    return width == 1 ? b.f32(value) : b.vector(SmallVector<Val>(width, b.f32(value)));
  });
}
