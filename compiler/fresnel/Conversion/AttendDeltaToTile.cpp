//===- AttendDeltaToTile.cpp - Rows of outputs times their gradients ------===//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
//
// A team of lanes, a power of two that has a lane for each 16 bytes of a row, sums in
// f32: each lane its chunks, then a butterfly. A thread takes several rows, whose loads
// are in flight together with what else is read of them.
//
//===----------------------------------------------------------------------===//

#include "fresnel/Conversion/IntegerSums.h"
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
  /// With `squares` the squares of the second tensor's rows, too.
  RowProducts(RankedTensorType rows, KernelBuilder &builder, bool squares = false)
      : b(builder), rows(rows), squares(squares), width(getVectorWidth(rows.getElementType())),
        chunks(rows.getDimSize(3) / width), team(std::min<int64_t>(llvm::PowerOf2Ceil(chunks), 32)) {}

  int64_t rowsPerBlock() const { return kRowThreads / team * kRows; }
  std::array<int64_t, 3> grid(int64_t length) const {
    return {int64_t(llvm::divideCeil(length, rowsPerBlock())), rows.getDimSize(1), rows.getDimSize(0)};
  }

  /// A row, up to a length which may be beyond the tensors': `near` is the last one then, which stands for it.
  struct Row {
    Val batch, head, row, near;
  };
  using Values = SmallVector<Val>;

  /// Calls `read` for each row and when the products are there `write`, with the row's product, what `read`
  /// gave and the square if there is one, in one thread or in several alike.
  void forEachRow(Val out, Val dout, int64_t length, function_ref<Values(Row)> read,
                  function_ref<void(Row, Val, Values)> write) {
    Val batch = b.id(tile::Id::BlockZ), head = b.id(tile::Id::BlockY), thread = b.id(tile::Id::Thread);
    Val member = thread & double(team - 1);
    Val first = b.id(tile::Id::BlockX) * double(rowsPerBlock()) + (thread >> double(llvm::Log2_64(team)));
    auto getRow = [&](Val i) -> Row {
      Val row = first + i * double(kRowThreads / team);
      return {batch, head, row, b.min(row, b.i32(rows.getDimSize(2) - 1))};
    };
    // A lane writes one row of the team's, or every `team`-th. Those left over write as the last one does:
    // behind a condition the reads would wait for the products.
    int64_t writers = std::min(team, kRows);
    SmallVector<Row> places, own;
    SmallVector<Values> others;
    for (int64_t i = 0; i < kRows; i += writers) {
      own.push_back(getRow(b.min(member, b.i32(writers - 1)) + double(i)));
      others.push_back(read(own.back()));
    }
    Values sums(kRows * (squares ? 2 : 1), b.f32(0));
    for (int64_t i = 0; i < kRows; ++i)
      places.push_back(getRow(b.i32(i)));
    for (int64_t chunk = 0; chunk < chunks; chunk += team)
      add(out, dout, places, member + double(chunk), sums);
    for (int64_t mask = team / 2; mask > 0; mask /= 2)
      for (Val &sum : sums)
        sum = sum + b.shuffleXor(sum, mask);
    for (size_t i = 0; i < own.size(); ++i) {
      auto choose = [&](ArrayRef<Val> values) {
        Val chosen = values[(i + 1) * writers - 1];
        for (int64_t lane = writers - 2; lane >= 0; --lane)
          chosen = b.select(member == double(lane), values[i * writers + lane], chosen);
        return chosen;
      };
      Val product = choose(sums);
      if (squares)
        others[i].push_back(choose(ArrayRef<Val>(sums).drop_front(kRows)));
      auto writeRow = [&] { write(own[i], product, others[i]); };
      length % rowsPerBlock() ? b.ifThen(own[i].row < double(length), writeRow) : writeRow();
    }
  }

private:
  /// Adds one chunk of each row.
  void add(Val out, Val dout, ArrayRef<Row> places, Val chunk, MutableArrayRef<Val> sums) {
    // A lane without a chunk reads the last one and drops it.
    bool whole = chunks % team == 0;
    Val column = (whole ? chunk : b.min(chunk, b.i32(chunks - 1))) * double(width);
    SmallVector<std::pair<Val, Val>> loaded;
    for (const Row &place : places) {
      SmallVector<Val> at{place.batch, place.head, place.near, column};
      loaded.push_back({b.load(out, at, width), b.load(dout, at, width)});
    }
    auto sumUp = [&](Val &sum, Val first, Val second) {
      Val partial = sum;
      for (auto [x, y] : llvm::zip(widen(b, first, width), widen(b, second, width)))
        partial = b.fma(x, y, partial);
      sum = whole ? partial : b.select(chunk < double(chunks), partial, sum);
    };
    for (auto [i, pair] : llvm::enumerate(loaded)) {
      sumUp(sums[i], pair.first, pair.second);
      if (squares)
        sumUp(sums[kRows + i], pair.second, pair.second);
    }
  }

  KernelBuilder &b;
  RankedTensorType rows;
  bool squares;
  int64_t width, chunks, team;
};

} // namespace

LogicalResult fresnel::lowerAttendDelta(AttendDeltaOp op, const KernelRequest &request, KernelBuilder &b) {
  auto rows = cast<RankedTensorType>(op.getOut().getType());
  int64_t length = rows.getDimSize(2);
  RowProducts products(rows, b);
  auto kernel = b.beginKernel(request.getName(), request.getArgumentTypes(), kRowThreads, products.grid(length));
  Val target = b.argument(kernel, op.getDlse() ? 3 : 2);
  using Row = RowProducts::Row;
  products.forEachRow(
      b.argument(kernel, 0), b.argument(kernel, 1), length,
      [&](Row at) -> SmallVector<Val> {
        return {op.getDlse() ? b.load(b.argument(kernel, 2), {at.batch, at.head, at.near}) : b.f32(0)};
      },
      [&](Row at, Val sum, ArrayRef<Val> dlse) { b.store(sum - dlse[0], target, {at.batch, at.head, at.row}); });
  return success();
}

/// The largest of a row of the bounds of this block's key head.
static Val loadBound(AttendStatsOp op, KernelBuilder &b, Val bounds, int64_t which) {
  Val lane = b.id(tile::Id::Lane), head = getSharedHead(b.id(tile::Id::BlockY), op.getOut(), op.getBounds());
  int64_t chunks = cast<RankedTensorType>(op.getBounds().getType()).getDimSize(3);
  // Not negative, so that their bits are in the same order, with NaN behind all numbers.
  Val largest = b.forRange(lane, b.i32(chunks), b.i32(32), {b.i32(0)}, [&](Val chunk, ArrayRef<Val> carried) {
    Val value = b.load(bounds, {b.id(tile::Id::BlockZ), head, b.i32(which), chunk});
    return SmallVector<Val>{b.max(carried[0], b.bitcast(value, b.getI32Type()))};
  })[0];
  for (int64_t mask : {16, 8, 4, 2, 1})
    largest = b.max(largest, b.shuffleXor(largest, mask));
  return b.bitcast(largest, b.getF32Type());
}

LogicalResult fresnel::lowerAttendStats(AttendStatsOp op, const KernelRequest &request, KernelBuilder &b) {
  auto rows = cast<RankedTensorType>(op.getOut().getType());
  int64_t length = rows.getDimSize(2), padded = cast<RankedTensorType>(op.getStats().getType()).getDimSize(3);
  bool bounded = bool(op.getBounds());
  RowProducts products(rows, b, /*squares=*/bounded);
  auto kernel = b.beginKernel(request.getName(), request.getArgumentTypes(), kRowThreads, products.grid(padded));
  unsigned bounds = op.getDlse() ? 4 : 3;
  Val lses = b.argument(kernel, 2), target = b.argument(kernel, bounds + bounded), keys, values;
  if (bounded) {
    keys = loadBound(op, b, b.argument(kernel, bounds), 0);
    values = loadBound(op, b, b.argument(kernel, bounds), 1);
  }
  using Row = RowProducts::Row;
  products.forEachRow(
      b.argument(kernel, 0), b.argument(kernel, 1), padded,
      [&](Row at) -> SmallVector<Val> {
        SmallVector<Val> indices{at.batch, at.head, at.near};
        return {b.load(lses, indices), op.getDlse() ? b.load(b.argument(kernel, 3), indices) : b.f32(0)};
      },
      [&](Row at, Val sum, ArrayRef<Val> scores) {
        Val inside = at.row < double(length), lse = scores[0];
        // A weight of a row without keys is exp2(-inf).
        Val open = inside & (lse > -INFINITY);
        b.store(b.select(open, lse * M_LOG2E, b.f32(INFINITY)), target, {at.batch, at.head, b.i32(0), at.row});
        Val delta = b.select(inside, sum - scores[1], b.f32(0));
        b.store(delta, target, {at.batch, at.head, b.i32(1), at.row});
        if (!bounded)
          return;
        Val bound = keys * (b.sqrt(scores[2]) * values + b.max(delta, 0.0 - delta));
        // Neither infinite nor without an inverse; NaN stays.
        bound = b.select(bound < kLeastBound, b.f32(kLeastBound), bound);
        b.store(kIntegerBound / bound, target, {at.batch, at.head, b.i32(2), at.row});
      });
  return success();
}
