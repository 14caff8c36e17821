//===- GatherLevelsToTile.cpp - Rows of several pyramids at given indices -===//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
//
// Each thread copies one 16-byte chunk of a few rows of every pyramid: it reads
// an index once, and all its loads are in flight together.
//
//===----------------------------------------------------------------------===//

#include "fresnel/Conversion/RowKernel.h"
#include "fresnel/Conversion/ToTile.h"

using namespace mlir;
using namespace fresnel;

/// 16-byte loads that a thread has in flight.
static constexpr int64_t kLoads = 12;

namespace {
/// The row of a base or a tail that an index names.
struct Source {
  Val base, tail, indices;
  int64_t group, length;

  Val load(KernelBuilder &b, Val batch, Val head, Val index, Val column, int64_t width) const {
    Val sourceHead = head / double(group);
    return b.ifElse(
        index < double(length),
        [&] {
          // A row that does not exist reads row 0 and is dropped.
          return SmallVector<Val>{b.load(base, {batch, sourceHead, b.max(index, b.i32(0)), column}, width)};
        },
        [&] { return SmallVector<Val>{b.load(tail, {batch, sourceHead, index - double(length), column}, width)}; })[0];
  }
};
} // namespace

LogicalResult fresnel::lowerGatherLevels(GatherLevelsOp op, const KernelRequest &request, KernelBuilder &b) {
  int64_t count = op.getBases().size();
  auto result = cast<RankedTensorType>(op.getResult(0).getType());
  RowBatch grid(result.getShape(), result.getElementType(), std::max<int64_t>(1, kLoads / count));
  auto kernel = b.beginKernel(request.getName(), request.getArgumentTypes(), grid.threads(), grid.grid());
  Val indices = b.argument(kernel, 2 * count);
  RowBatch::Place place = grid.locate(b);
  SmallVector<Val> rows, loaded;
  Val indexHead = getSharedHead(place.head, op.getResult(0), op.getIndices());
  for (Val row : place.rows)
    rows.push_back(b.load(indices, {place.batch, indexHead, row}));
  for (int64_t i = 0; i < count; ++i) {
    auto base = cast<RankedTensorType>(op.getBases()[i].getType());
    Source source{b.argument(kernel, i), b.argument(kernel, count + i), indices,
                  result.getDimSize(1) / base.getDimSize(1), base.getDimSize(2)};
    for (Val index : rows)
      loaded.push_back(source.load(b, place.batch, place.head, index, place.column, grid.one.width));
  }
  for (auto [at, row] : llvm::enumerate(loaded)) {
    size_t which = at / rows.size(), slot = at % rows.size();
    Val target = b.argument(kernel, 2 * count + 1 + which);
    Val value = b.select(rows[slot] >= 0.0, row, b.constant(row.getType(), 0));
    grid.ifInside(b, place, slot,
                  [&] { b.store(value, target, {place.batch, place.head, place.rows[slot], place.column}); });
  }
  return success();
}
