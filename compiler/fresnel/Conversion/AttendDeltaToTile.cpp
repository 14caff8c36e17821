//===- AttendDeltaToTile.cpp - Rows of outputs times their gradients ------===//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
//
// A team of lanes, a power of two that has a lane for each 16 bytes of a row, sums in
// f32: each lane its chunks, then a butterfly. A thread takes several rows, whose loads
// are in flight together.
//
//===----------------------------------------------------------------------===//

#include "fresnel/Conversion/RowKernel.h"
#include "fresnel/Conversion/ToTile.h"
#include "llvm/Support/MathExtras.h"
#include <cmath>

using namespace mlir;
using namespace fresnel;

namespace {

/// Rows of a thread.
constexpr int64_t kRows = 4;

/// The products of the rows of two tensors.
class RowProducts {
public:
  RowProducts(RankedTensorType rows, KernelBuilder &builder)
      : b(builder), rows(rows), width(getVectorWidth(rows.getElementType())), chunks(rows.getDimSize(3) / width),
        team(std::min<int64_t>(llvm::PowerOf2Ceil(chunks), 32)) {}

  int64_t rowsPerBlock() const { return kRowThreads / team * kRows; }
  std::array<int64_t, 3> grid(int64_t length) const {
    return {int64_t(llvm::divideCeil(length, rowsPerBlock())), rows.getDimSize(1), rows.getDimSize(0)};
  }

  /// Calls `write(batch, head, row, product)` in one thread for each row, up to `length`;
  /// rows beyond the tensors' are like their last.
  void forEachRow(Val out, Val dout, int64_t length, function_ref<void(Val, Val, Val, Val)> write) {
    Val batch = b.id(tile::Id::BlockZ), head = b.id(tile::Id::BlockY), thread = b.id(tile::Id::Thread);
    Val member = thread & double(team - 1);
    Val first = b.id(tile::Id::BlockX) * double(rowsPerBlock()) + (thread >> double(llvm::Log2_64(team)));
    SmallVector<Val> places, sums(kRows, b.f32(0));
    for (int64_t i = 0; i < kRows; ++i)
      places.push_back(first + double(i * (kRowThreads / team)));
    for (int64_t chunk = 0; chunk < chunks; chunk += team)
      add(out, dout, batch, head, places, member + double(chunk), sums);
    for (auto [place, sum] : llvm::zip(places, sums)) {
      for (int64_t mask = team / 2; mask > 0; mask /= 2)
        sum = sum + b.shuffleXor(sum, mask);
      b.ifThen((member == 0.0) & (place < double(length)), [&] { write(batch, head, place, sum); });
    }
  }

private:
  /// Adds one chunk of each row.
  void add(Val out, Val dout, Val batch, Val head, ArrayRef<Val> places, Val chunk, MutableArrayRef<Val> sums) {
    // A lane without a chunk reads the last one and drops it.
    bool whole = chunks % team == 0;
    Val column = (whole ? chunk : b.min(chunk, b.i32(chunks - 1))) * double(width);
    SmallVector<std::pair<Val, Val>> loaded;
    for (Val place : places) {
      Val row = b.min(place, b.i32(rows.getDimSize(2) - 1));
      loaded.push_back(
          {b.load(out, {batch, head, row, column}, width), b.load(dout, {batch, head, row, column}, width)});
    }
    for (auto [sum, pair] : llvm::zip(sums, loaded)) {
      Val partial = sum;
      for (auto [x, y] : llvm::zip(widen(b, pair.first, width), widen(b, pair.second, width)))
        partial = b.fma(x, y, partial);
      sum = whole ? partial : b.select(chunk < double(chunks), partial, sum);
    }
  }

  KernelBuilder &b;
  RankedTensorType rows;
  int64_t width, chunks, team;
};

} // namespace

LogicalResult fresnel::lowerAttendDelta(AttendDeltaOp op, const KernelRequest &request, KernelBuilder &b) {
  auto rows = cast<RankedTensorType>(op.getOut().getType());
  int64_t length = rows.getDimSize(2);
  RowProducts products(rows, b);
  auto kernel = b.beginKernel(request.getName(), request.getArgumentTypes(), kRowThreads, products.grid(length));
  Val target = b.argument(kernel, op.getDlse() ? 3 : 2);
  products.forEachRow(b.argument(kernel, 0), b.argument(kernel, 1), length, [&](Val batch, Val head, Val row, Val sum) {
    Val delta = op.getDlse() ? sum - b.load(b.argument(kernel, 2), {batch, head, row}) : sum;
    b.store(delta, target, {batch, head, row});
  });
  return success();
}

LogicalResult fresnel::lowerAttendStats(AttendStatsOp op, const KernelRequest &request, KernelBuilder &b) {
  auto rows = cast<RankedTensorType>(op.getOut().getType());
  int64_t length = rows.getDimSize(2), padded = cast<RankedTensorType>(op.getStats().getType()).getDimSize(3);
  RowProducts products(rows, b);
  auto kernel = b.beginKernel(request.getName(), request.getArgumentTypes(), kRowThreads, products.grid(padded));
  Val lses = b.argument(kernel, 2), target = b.argument(kernel, op.getDlse() ? 4 : 3);
  products.forEachRow(b.argument(kernel, 0), b.argument(kernel, 1), padded, [&](Val batch, Val head, Val row, Val sum) {
    Val inside = row < double(length), near = b.min(row, b.i32(length - 1));
    Val lse = b.load(lses, {batch, head, near});
    Val delta = op.getDlse() ? sum - b.load(b.argument(kernel, 3), {batch, head, near}) : sum;
    // A weight of a row without keys is exp2(-inf).
    Val open = inside & (lse > -INFINITY);
    b.store(b.select(open, lse * M_LOG2E, b.f32(INFINITY)), target, {batch, head, b.i32(0), row});
    b.store(b.select(inside, delta, b.f32(0)), target, {batch, head, b.i32(1), row});
  });
  return success();
}
