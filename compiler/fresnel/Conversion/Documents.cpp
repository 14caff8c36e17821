//===- Documents.cpp - Packed documents in attention kernels --------------===//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//

#include "fresnel/Conversion/Documents.h"

using namespace mlir;
using namespace fresnel;

static int64_t getLength(Val bounds) { return cast<tile::GlobalType>(bounds.getType()).getShape().back(); }

/// A bound of tokens as one of rows that stand for `step` tokens each.
static Val toRows(Val bound, int64_t step) { return step == 1 ? bound : (bound + double(step - 1)) / double(step); }

DocumentEdges fresnel::loadDocumentEdges(KernelBuilder &b, Val bounds, Val firstRow, int64_t rows,
                                         DocumentSteps steps) {
  Val zero = b.i32(0), one = b.i32(1), end = b.i32(getLength(bounds) - 1);
  auto toToken = [&](Val row) { return b.min(steps.own == 1 ? row : row * double(steps.own), end); };
  Val first = toToken(firstRow), last = toToken(firstRow + double(rows - 1));
  auto load = [&](Val side, Val row) { return toRows(b.load(bounds, {zero, side, row}), steps.other); };
  return {load(zero, first), load(zero, last), load(one, first), load(one, last)};
}

DocumentRows fresnel::loadDocumentRows(KernelBuilder &b, Val bounds, Val firstRow, int64_t rows, DocumentSide side,
                                       int64_t group, DocumentSteps steps) {
  Type type = tile::getRowsType(rows, b.getI32Type());
  Value row = group == 1 ? tile::RowIndexOp::create(b, type, Value(firstRow)).getResult()
                         : Value(b.wrap(tile::RowIndexOp::create(b, type, Value(b.i32(0)))) / double(group) + firstRow);
  if (steps.own > 1)
    row = b.wrap(row) * double(steps.own);
  auto load = [&](int64_t which) {
    SmallVector<Value> indices{b.i32(0), b.i32(which)};
    Val bound = b.wrap(tile::LookupOp::create(b, type, Value(bounds), indices, row, b.getI32IntegerAttr(0)));
    return toRows(bound, steps.other);
  };
  return {side == DocumentSide::Ends ? Val() : load(0), side == DocumentSide::Starts ? Val() : load(1)};
}

Val fresnel::loadDocumentStarts(KernelBuilder &b, Val bounds, Val rows, DocumentSteps steps) {
  SmallVector<Value> indices{b.i32(0), b.i32(0)};
  Val starts =
      b.wrap(tile::LookupOp::create(b, rows.getType(), Value(bounds), indices, Value(rows), b.getI32IntegerAttr(0)));
  return toRows(starts, steps.other);
}

Val fresnel::isInDocument(const DocumentRows &rows, Val indices) {
  KernelBuilder &b = indices.getBuilder();
  auto broadcast = [&](Val bound) { return b.wrap(tile::BroadcastOp::create(b, indices.getType(), Value(bound))); };
  Val inside;
  if (rows.starts)
    inside = indices >= broadcast(rows.starts);
  if (rows.ends) {
    Val before = indices < broadcast(rows.ends);
    inside = inside ? inside & before : before;
  }
  return inside;
}
