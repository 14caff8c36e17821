//===- AttendMath.cpp - What every attention kernel computes --------------===//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//

#include "fresnel/Conversion/AttendMath.h"
#include <cmath>

using namespace mlir;
using namespace fresnel;

/// How far, in the base-2 domain, scores may rise above the maximum that is
/// subtracted from them: weights up to 2^8 lose nothing in any format.
static constexpr double kMaxGrowth = 8;

AttendShape::AttendShape(RankedTensorType q, RankedTensorType k, RankedTensorType v)
    : element(q.getElementType()), batches(q.getDimSize(0)), heads(q.getDimSize(1)), kvHeads(k.getDimSize(1)),
      queries(q.getDimSize(2)), keys(k.getDimSize(2)), headDim(q.getDimSize(3)), valueDim(v.getDimSize(3)) {}

void AttendShape::setBlocks(RankedTensorType blocks, int64_t queryBlock, int64_t keyBlock) {
  listHeads = blocks.getDimSize(1);
  this->queryBlock = queryBlock;
  this->keyBlock = keyBlock;
}

Val fresnel::countKeysUpTo(const AttendShape &shape, Val position) {
  KernelBuilder &b = position.getBuilder();
  Val count = b.max(position + double(1 + shape.keyStride - shape.keyWindow), b.i32(0));
  return shape.keyStride > 1 ? count / double(shape.keyStride) : count;
}

Val fresnel::getLastToken(const AttendShape &shape, Val key) {
  if (shape.isPooled())
    key = key * double(shape.keyStride) + double(shape.keyWindow - 1);
  return key;
}

Val fresnel::isVisible(const AttendShape &shape, Val key, Val position) {
  if (!shape.causal)
    return key < double(shape.keys);
  if (shape.isPooled())
    return (getLastToken(shape, key) <= position) & (key < double(shape.keys));
  // A query never stands beyond the last key, so this covers the sequence's end.
  Val visible = key <= position;
  if (shape.window <= 0)
    return visible;
  Val recent = position - key < double(shape.window);
  return visible & (shape.sinks > 0 ? recent | (key < double(shape.sinks)) : recent);
}

AttendMath::AttendMath(KernelBuilder &builder, const AttendShape &shape, int64_t rows, int64_t tileN)
    : b(builder), shape(shape), rows(rows), tileN(tileN),
      // A positive scale commutes with the maximum, so that one fused
      // multiply-add per score serves the scale and the subtraction.
      factor(shape.softcap <= 0 && shape.scale > 0 ? shape.scale * M_LOG2E : 1.0) {}

KeyBlocks AttendMath::visit(Val position, int64_t queries, const DocumentEdges *documents) {
  Val end = b.i32(shape.keys);
  if (shape.causal)
    end = b.min(end, countKeysUpTo(shape, position + double(queries - 1)));
  else if (documents)
    end = b.min(end, documents->lastEnd);
  KeyBlocks blocks;
  blocks.end = (end + double(tileN - 1)) / double(tileN);
  blocks.first = blocks.sinks = b.i32(0);
  if (shape.window > 0) {
    blocks.first = b.max(position - double(shape.window - 1), b.i32(0)) / double(tileN);
    blocks.sinks = b.min(b.i32(llvm::divideCeil(shape.sinks, tileN)), blocks.first);
  }
  if (documents)
    blocks.first = b.max(documents->firstStart / double(tileN), blocks.first);
  blocks.count = b.max(blocks.end - blocks.first, b.i32(0)) + blocks.sinks;
  return blocks;
}

Val AttendMath::cap(Val scores) {
  if (shape.softcap > 0) {
    // tanh(x) = 1 - 2 / (1 + e^2x), exact at both infinities.
    Val power = b.exp2(scores * (2 * M_LOG2E * shape.scale / shape.softcap));
    return shape.softcap * M_LOG2E * (1.0 - 2.0 * b.reciprocal(1.0 + power));
  }
  return shape.scale > 0 ? scores : scores * (shape.scale * M_LOG2E);
}

Val AttendMath::hide(Val scores, Val start, Val position) {
  Type index = tile::getAccType(rows, tileN, b.getI32Type());
  Val key = b.wrap(tile::ColIndexOp::create(b, index, Value(start)));
  return hide(scores, key, position, Val());
}

Val AttendMath::hide(Val scores, Val start, Val position, const DocumentRows &documents) {
  Type index = tile::getAccType(rows, tileN, b.getI32Type());
  Val key = b.wrap(tile::ColIndexOp::create(b, index, Value(start)));
  return hide(scores, key, position, isInDocument(documents, key));
}

Val AttendMath::hide(Val scores, Val keys, Val position, Val listed) {
  // A fragment of positions, or that of the first row.
  Val row = tile::isFragment(position.getType()) ? position
                                                 : b.wrap(tile::RowIndexOp::create(b, keys.getType(), Value(position)));
  Val visible = isVisible(shape, keys, row);
  return b.select(listed ? visible & listed : visible, scores, b.constant(scores.getType(), -INFINITY));
}

Val AttendMath::sumColumns(Val weights, int64_t first, int64_t count) {
  if (count < tileN)
    weights = b.wrap(tile::ColumnsOp::create(b, tile::getAccType(rows, count, b.getF32Type()), Value(weights),
                                             b.getI32IntegerAttr(int32_t(first))));
  Type rowsType = tile::getRowsType(rows, b.getF32Type());
  return b.wrap(tile::ReduceOp::create(b, rowsType, tile::Combine::Add, Value(weights), /*partial=*/true));
}

SoftmaxStep AttendMath::softmax(Val scores, Val maximum, Val sum, bool mayBeEmpty, bool lazy, Val listed,
                                int64_t early) {
  Type rowsType = tile::getRowsType(rows, b.getF32Type());
  SoftmaxStep step;
  step.maximum = b.wrap(tile::ReduceOp::create(b, rowsType, tile::Combine::Max, Value(scores), /*partial=*/false));
  if (listed)
    step.maximum = b.select(listed, step.maximum, b.constant(rowsType, -INFINITY));
  if (maximum && lazy) {
    Val grows = step.maximum > maximum + kMaxGrowth / factor;
    step.maximum = b.select(grows, step.maximum, maximum);
    step.corrects = b.wrap(tile::AnyOp::create(b, b.getI1Type(), Value(grows)));
  } else if (maximum) {
    step.maximum = b.max(maximum, step.maximum);
  }
  // A row that has seen no key yet keeps -inf; subtracting it would give NaN.
  Val reference = step.maximum;
  if (mayBeEmpty)
    reference = b.select(reference == -INFINITY, b.constant(rowsType, 0.0), reference);
  Val negative = reference * -factor;
  Type type = scores.getType();
  // Subtracting infinity makes weights 0 without touching single scores.
  Val subtrahend = listed ? b.select(listed, negative, b.constant(rowsType, -INFINITY)) : negative;
  step.weights = b.exp2(b.fma(scores, b.constant(type, factor), broadcast(subtrahend, type)));
  if (early)
    step.early = sumColumns(step.weights, 0, early);
  step.sum = sumColumns(step.weights, early, tileN - early);
  if (early)
    step.sum = step.early + step.sum;
  if (maximum) {
    step.correction = b.exp2(b.fma(maximum, b.constant(rowsType, factor), negative));
    step.sum = b.fma(sum, step.correction, step.sum);
  }
  return step;
}

std::pair<Val, Val> AttendMath::finish(Val maximum, Val sum) {
  sum = b.wrap(tile::QuadReduceOp::create(b, sum.getType(), tile::Combine::Add, Value(sum)));
  Val empty = sum == 0.0;
  Val inverse = b.select(empty, b.constant(sum.getType(), 0.0), 1.0 / sum);
  Val lse = b.fma(maximum, b.constant(sum.getType(), factor), b.log2(sum)) * M_LN2;
  return {inverse, b.select(empty, b.constant(sum.getType(), -INFINITY), lse)};
}
