//===- RegroupToTile.cpp - Scores of windows to scores of blocks ----------===//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
//
// Each thread owns blocks of one row and adds the windows that meet them, each
// as often as the two share cells.
//
//===----------------------------------------------------------------------===//

#include "fresnel/Conversion/RowKernel.h"
#include "fresnel/Conversion/ToTile.h"

using namespace mlir;
using namespace fresnel;

/// Windows per block up to which their loads are written out.
static constexpr int64_t kMaxUnrolled = 32;

/// The score of block `j`; `load(i)` reads that of window i, which exists.
static Val sumWindows(KernelBuilder &b, Val j, int64_t blockCells, int64_t windowCells, int64_t windows,
                      function_ref<Val(Val)> load) {
  Val firstCell = j * double(blockCells);
  if (int64_t count = blockCells + windowCells - 1; count <= kMaxUnrolled) {
    SmallVector<Val> values;
    for (int64_t offset = 0; offset < count; ++offset) {
      Val i = firstCell + double(offset - windowCells + 1);
      Val exists = (i >= 0.0) & (i < double(windows));
      values.push_back(b.select(exists, load(b.max(b.min(i, b.i32(windows - 1)), b.i32(0))), b.f32(0)));
    }
    Val sum = b.f32(0);
    for (auto [offset, value] : llvm::enumerate(values)) {
      int64_t start = int64_t(offset) - windowCells + 1;
      int64_t shared = std::min(start + windowCells, blockCells) - std::max<int64_t>(start, 0);
      sum = b.fma(value, b.f32(double(shared)), sum);
    }
    return sum;
  }
  Val first = b.max(firstCell - double(windowCells - 1), b.i32(0));
  Val endCell = firstCell + double(blockCells), end = b.min(endCell, b.i32(windows));
  return b.forRange(first, end, b.i32(1), {b.f32(0)}, [&](Val i, ArrayRef<Val> state) {
    Val shared = b.min(i + double(windowCells), endCell) - b.max(i, firstCell);
    return SmallVector<Val>{b.fma(load(i), b.toFloat(shared, b.getF32Type()), state[0])};
  })[0];
}

LogicalResult fresnel::lowerRegroup(RegroupOp op, const KernelRequest &request, KernelBuilder &b) {
  auto x = cast<RankedTensorType>(op.getScores().getType()), y = cast<RankedTensorType>(op.getResult().getType());
  int64_t blocks = y.getDimSize(3), perRow = std::min<int64_t>(kRowThreads, llvm::PowerOf2Ceil(blocks));
  int64_t rowsPerBlock = kRowThreads / perRow, rows = y.getDimSize(2);
  auto kernel = b.beginKernel(request.getName(), request.getArgumentTypes(), kRowThreads,
                              {int64_t(llvm::divideCeil(rows, rowsPerBlock)), y.getDimSize(1), y.getDimSize(0)});
  Val source = b.argument(kernel, 0), target = b.argument(kernel, 1);
  Val batch = b.id(tile::Id::BlockZ), head = b.id(tile::Id::BlockY), thread = b.id(tile::Id::Thread);
  Val row = b.id(tile::Id::BlockX) * double(rowsPerBlock) + thread / double(perRow);
  b.ifThen(row < b.i32(rows), [&] {
    b.forRange(thread % double(perRow), b.i32(blocks), b.i32(perRow), [&](Val j) {
      Val sum = sumWindows(b, j, op.getBlock() / op.getStride(), op.getWindow() / op.getStride(), x.getDimSize(3),
                           [&](Val i) { return b.load(source, {batch, head, row, i}); });
      b.store(sum, target, {batch, head, row, j});
    });
  });
  return success();
}
