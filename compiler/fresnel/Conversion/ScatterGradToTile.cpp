//===- ScatterGradToTile.cpp - Tokens back to the slots that reached them -===//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
//
// Each thread owns one 16-byte chunk of one slot and sums the tokens of its
// entry's shifted window in f32, in their order, a batch of loads at a time.
//
//===----------------------------------------------------------------------===//

#include "fresnel/Conversion/PyramidDocuments.h"
#include "fresnel/Conversion/RowKernel.h"
#include "fresnel/Conversion/ToTile.h"

using namespace mlir;
using namespace fresnel;

/// Adds the chunks of the tokens [first, end), which `load` reads.
static SmallVector<Val> sumTokens(KernelBuilder &b, Val first, Val end, int64_t batch, int64_t width,
                                  function_ref<SmallVector<Val>(Val)> load) {
  SmallVector<Val> zero(width, b.f32(0));
  return b.forRange(first, end, b.i32(batch), zero, [&](Val token, ArrayRef<Val> state) {
    SmallVector<SmallVector<Val>> rows;
    for (int64_t i = 0; i < batch; ++i)
      rows.push_back(load(b.min(token + double(i), end - 1.0)));
    SmallVector<Val> sum(state);
    for (int64_t i = 0; i < batch; ++i)
      for (auto [total, value] : llvm::zip(sum, rows[i]))
        total = i == 0 ? total + value : b.select(token + double(i) < end, total + value, total);
    return sum;
  });
}

LogicalResult fresnel::lowerScatterGrad(ScatterGradOp op, const KernelRequest &request, KernelBuilder &b) {
  auto result = cast<RankedTensorType>(op.getDx().getType());
  int64_t length = cast<RankedTensorType>(op.getDy().getType()).getDimSize(2);
  PyramidShape shape(length, op.getLevels(), op.getFactor(), op.getDocuments());
  RowBatch grid(result.getShape(), result.getElementType(), /*perThread=*/1);
  int64_t width = grid.one.width;
  auto kernel = b.beginKernel(request.getName(), request.getArgumentTypes(), grid.threads(), grid.grid());
  Val source = b.argument(kernel, 0), indices = b.argument(kernel, 1), target = b.argument(kernel, 2);
  RowBatch::Place place = grid.locate(b);
  Val entry = b.load(indices, {place.batch, getSharedHead(place.head, op.getDy(), op.getIndices()), place.rows[0]});
  PyramidEntry found = findEntry(b, shape, entry);
  Val window = found.window, first = found.index * window + window - 1.0;
  // Padding reaches no token.
  Val end = b.select(entry < 0.0, first, b.min(first + window, found.length));
  auto load = [&](Val token) {
    Val row = token + found.firstToken;
    return widen(b, b.load(source, {place.batch, place.head, row, place.column}, width), width);
  };
  // A single token needs no batch.
  SmallVector<Val> sum = b.ifElse(
      window == 1.0, [&] { return sumTokens(b, first, end, 1, width, load); },
      [&] { return sumTokens(b, first, end, std::min<int64_t>(8, op.getFactor()), width, load); });
  grid.ifInside(b, place, 0, [&] {
    b.store(narrow(b, sum, result.getElementType()), target, {place.batch, place.head, place.rows[0], place.column});
  });
  return success();
}
