//===- AttendGradMath.cpp - What every attention gradient computes --------===//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//

#include "fresnel/Conversion/AttendGradMath.h"
#include <cmath>

using namespace mlir;
using namespace fresnel;

WalkedBlocks AttendGradMath::walk(Val first, int64_t owned, const DocumentEdges *documents) {
  Val begin = b.i32(0), end = b.i32(owner == Owner::Queries ? shape.keys : shape.queries);
  if (shape.causal && owner == Owner::Queries) {
    Val position = toPosition(first);
    end = b.min(end, countKeysUpTo(shape, position + double(owned - 1)));
    if (shape.window > 0)
      begin = b.max(position - double(shape.window - 1), begin);
  } else if (shape.causal) {
    if (shape.window > 0) {
      // The last query that sees the last owned key; sinks are seen by all.
      Val last = first + double(owned - 1 + shape.window - shape.getOffset());
      end = b.select(first < double(shape.sinks), end, b.max(b.min(end, last), begin));
    }
    begin = b.max(getLastToken(shape, first) - double(shape.getOffset()), begin);
  }
  if (documents) {
    begin = b.max(begin, documents->firstStart);
    end = b.min(end, documents->lastEnd);
  }
  WalkedBlocks blocks;
  blocks.first = begin / double(columns);
  blocks.sinks = hasSinkBlocks() ? b.min(b.i32(llvm::divideCeil(shape.sinks, columns)), blocks.first) : b.i32(0);
  blocks.count = b.max((end + double(columns - 1)) / double(columns) - blocks.first, b.i32(0)) + blocks.sinks;
  return blocks;
}

Val AttendGradMath::blockStart(const WalkedBlocks &blocks, Val i) {
  Val block = blocks.first + i;
  if (hasSinkBlocks())
    block = b.select(i < blocks.sinks, i, block - blocks.sinks);
  return block * double(columns);
}

Val AttendGradMath::needsMask(Val first, int64_t owned, Val start, const DocumentEdges *documents) {
  if (documents)
    return needsMask(first, owned, start) | (start < documents->lastStart) |
           (start + double(columns) > documents->firstEnd);
  bool ownsKeys = owner == Owner::Keys;
  Val key = ownsKeys ? first : start, position = toPosition(ownsKeys ? start : first);
  int64_t keyRows = ownsKeys ? owned : columns, queryRows = ownsKeys ? columns : owned;
  // Rows of keys beyond the end are owned, too, but never stored.
  if (!shape.causal)
    return ownsKeys ? b.constant(b.getI1Type(), 0) : key + double(keyRows) > double(shape.keys);
  Val needed = getLastToken(shape, key + double(keyRows - 1)) > position;
  if (shape.isPooled())
    return ownsKeys ? needed : needed | (key + double(keyRows) > double(shape.keys));
  return shape.window > 0 ? needed | (key < position + double(queryRows - shape.window)) : needed;
}

Val AttendGradMath::prepare(Val lse) {
  return b.select(lse == -INFINITY, b.constant(lse.getType(), INFINITY), lse * M_LOG2E);
}

ScoreGradient AttendGradMath::differentiate(Val scores, Val dweights, Val lse, Val delta, Val first, Val start,
                                            bool masked, const DocumentRows *documents) {
  if (!masked)
    return differentiate(scores, dweights, lse, delta, Val());
  Type index = tile::getAccType(rows, columns, b.getI32Type());
  auto row = [&](Val base) { return b.wrap(tile::RowIndexOp::create(b, index, Value(base))); };
  auto col = [&](Val base) { return b.wrap(tile::ColIndexOp::create(b, index, Value(base))); };
  Val visible = owner == Owner::Keys ? isVisible(shape, row(first), col(toPosition(start)))
                                     : isVisible(shape, col(start), row(toPosition(first)));
  if (documents)
    visible = visible & isInDocument(*documents, col(start));
  return differentiate(scores, dweights, lse, delta, visible);
}

ScoreGradient AttendGradMath::differentiate(Val scores, Val dweights, Val lse, Val delta, Val visible) {
  Weights weights = weigh(scores, lse, visible);
  return {weights.weights, differentiate(weights, dweights, delta)};
}

AttendGradMath::Weights AttendGradMath::weigh(Val scores, Val lse, Val visible) {
  Type type = scores.getType();
  Val weights, slope;
  if (shape.softcap > 0) {
    // tanh(x) = 1 - 2 / (1 + e^2x), exact at both infinities.
    Val power = b.exp2(scores * (2 * M_LOG2E * shape.scale / shape.softcap));
    Val tanh = 1.0 - 2.0 * b.reciprocal(1.0 + power);
    weights = b.exp2(shape.softcap * M_LOG2E * tanh - lse);
    slope = 1.0 - tanh * tanh;
  } else {
    // The sum takes a multiplication by -1 along as a sign, where 0 - lse is an addition of its own; but beside
    // documents and block lists ptxas then spills.
    Val negative = shape.documents || shape.hasBlocks() ? 0.0 - lse : lse * -1.0;
    weights = b.exp2(b.fma(scores, b.constant(type, shape.scale * M_LOG2E), negative));
  }
  if (visible)
    weights = b.select(visible, weights, b.constant(type, 0.0));
  // At once: until the other product arrives there are no registers for both.
  return {weights, slope ? weights * slope : weights};
}

Val AttendGradMath::differentiate(const Weights &weights, Val dweights, Val delta) {
  return weights.sloped * (dweights - delta);
}
