//===- SlotsToTile.cpp - Sums of rows that a slot map names ---------------===//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
//
// `scatter_by_slots` and `gather_grad_by_slots`: every output row has at most one
// contributor per level (and query head), which it looks up. Sums are f32 in a
// fixed order, each row is written once. A thread owns one 16-byte chunk of a few
// rows; all their slots are read first, then all rows that exist.
//
//===----------------------------------------------------------------------===//

#include "fresnel/Conversion/RowKernel.h"
#include "fresnel/Conversion/ToTile.h"
#include "fresnel/Dialect/CascadeShape.h"

using namespace mlir;
using namespace fresnel;

namespace {

/// 16-byte loads that a thread may have in flight.
constexpr int64_t kLoads = 16;

/// What contributes to a row at one level.
struct Term {
  /// Pyramid entry, whether the level has one for the row (null: always), and the factor (null: 1).
  Val entry, possible, share;
};

class SlotKernel {
public:
  SlotKernel(Value rows, RankedTensorType result, PyramidShape shape, const KernelRequest &request, KernelBuilder &b)
      : b(b), request(request), shape(std::move(shape)), result(result),
        group(cast<RankedTensorType>(rows.getType()).getDimSize(1) / result.getDimSize(1)),
        grid(result.getShape(), result.getElementType(), getRowsPerThread(this->shape.windows.size())) {}

  /// `term(level, row)` says what a row takes from a level.
  void write(function_ref<Term(int64_t, Val)> term) {
    auto kernel = b.beginKernel(request.getName(), request.getArgumentTypes(), grid.threads(), grid.grid());
    source = b.argument(kernel, 0);
    slots = b.argument(kernel, 1);
    Val target = b.argument(kernel, 2);
    place = grid.locate(b);
    for (Val row : place.rows)
      for (int64_t level = 0; level < getLevels(); ++level)
        terms.push_back(term(level, row));
    SmallVector<Val> sums(place.rows.size() * grid.one.width, b.f32(0));
    if (group == 1)
      sums = add(place.head, sums);
    else
      sums = b.forRange(b.i32(0), b.i32(group), b.i32(1), sums, [&](Val member, ArrayRef<Val> state) {
        return add(place.head * double(group) + member, SmallVector<Val>(state));
      });
    for (size_t i = 0; i < place.rows.size(); ++i) {
      ArrayRef<Val> row = ArrayRef(sums).slice(i * grid.one.width, grid.one.width);
      Val rounded = narrow(b, row, result.getElementType());
      grid.ifInside(b, place, i,
                    [&] { b.store(rounded, target, {place.batch, place.head, place.rows[i], place.column}); });
    }
  }

  const PyramidShape &getShape() const { return shape; }

private:
  /// A power of two, so that blocks end where common lengths do.
  static int64_t getRowsPerThread(int64_t levels) { return levels <= kLoads / 4 ? 4 : levels <= kLoads / 2 ? 2 : 1; }
  int64_t getLevels() const { return shape.windows.size(); }

  /// The sums with the rows of query head `head` added.
  SmallVector<Val> add(Val head, SmallVector<Val> sums) {
    SmallVector<Val> found, loaded;
    for (const Term &term : terms) {
      Val slot = b.load(slots, {place.batch, head, term.entry});
      found.push_back(term.possible ? b.select(term.possible, slot, b.i32(-1)) : slot);
    }
    Type row = VectorType::get(grid.one.width, result.getElementType());
    for (Val slot : found)
      loaded.push_back(b.ifElse(
          slot >= 0.0,
          [&] { return SmallVector<Val>{b.load(source, {place.batch, head, slot, place.column}, grid.one.width)}; },
          [&] { return SmallVector<Val>{b.constant(row, 0)}; })[0]);
    for (auto [at, term] : llvm::enumerate(terms)) {
      size_t first = at / getLevels() * grid.one.width;
      for (auto [d, value] : llvm::enumerate(widen(b, loaded[at], grid.one.width))) {
        Val &sum = sums[first + d];
        sum = term.share ? b.fma(value, term.share, sum) : sum + value;
      }
    }
    return sums;
  }

  KernelBuilder &b;
  const KernelRequest &request;
  PyramidShape shape;
  RankedTensorType result;
  int64_t group;
  RowBatch grid;
  RowBatch::Place place;
  Val source, slots;
  SmallVector<Term> terms;
};

} // namespace

LogicalResult fresnel::lowerScatterBySlots(ScatterBySlotsOp op, const KernelRequest &request, KernelBuilder &b) {
  SlotKernel kernel(op.getX(), cast<RankedTensorType>(op.getResult().getType()),
                    PyramidShape(op.getSeqLen(), op.getLevels(), op.getFactor()), request, b);
  const PyramidShape &shape = kernel.getShape();
  kernel.write([&](int64_t level, Val row) {
    if (level == 0)
      return Term{row, Val(), Val()};
    Val shifted = row - double(shape.windows[level] - 1);
    Val index = b.max(shifted, b.i32(0)) / double(shape.windows[level]);
    return Term{index + double(shape.offsets[level]), shifted >= 0.0, Val()};
  });
  return success();
}

LogicalResult fresnel::lowerGatherGradBySlots(GatherGradBySlotsOp op, const KernelRequest &request, KernelBuilder &b) {
  int64_t length = op.getSeqLen();
  SlotKernel kernel(op.getDy(), cast<RankedTensorType>(op.getDx().getType()),
                    PyramidShape(length, op.getLevels(), op.getFactor()), request, b);
  const PyramidShape &shape = kernel.getShape();
  kernel.write([&](int64_t level, Val row) {
    if (level == 0)
      return Term{row, Val(), Val()};
    int64_t window = shape.windows[level], last = shape.sizes[level] - 1;
    Val index = row / double(window);
    Val share = b.f32(1.0 / double(window));
    // The last window of a level may be short.
    if (length % window)
      share = b.select(index == double(last), b.f32(1.0 / double(length - last * window)), share);
    return Term{index + double(shape.offsets[level]), Val(), share};
  });
  return success();
}
