//===- PoolToTile.cpp - Windows of the sequence, and their gradient -------===//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
//
// A window of rows is read by a few groups of threads, each thread one 16-byte
// chunk of every `parts`-th row, eight loads at a time. The groups' sums meet in
// shared memory, where one group adds them in order: wide windows, of which there
// are few, fill the GPU as narrow ones do. Sums are taken in f32 and rounded once.
//
// The gradient is a gather: each thread owns one chunk of one token and sums the
// shares of the windows that cover it.
//
//===----------------------------------------------------------------------===//

#include "fresnel/Conversion/Documents.h"
#include "fresnel/Conversion/RowKernel.h"
#include "fresnel/Conversion/ToTile.h"
#include <cmath>

using namespace mlir;
using namespace fresnel;

namespace {

enum class Reduction { Sum, Mean, Max };

/// Where a window ends that begins with token `first` and ends at `end` if not its document does.
Val endInDocument(KernelBuilder &b, Val bounds, Val first, Val end) {
  return b.max(b.min(loadDocumentEdges(b, bounds, first, 1).firstEnd, end), first);
}

/// Rows of a window that one group reads at least, and has in flight at once.
constexpr int64_t kBatch = 8;

/// Windows [m stride, min(m stride + window, length)) of rows or scores.
class WindowKernel {
public:
  /// With `documents`, windows end with the documents whose bounds are operand 1.
  WindowKernel(KernelBuilder &b, const KernelRequest &request, Reduction reduction, int64_t window, int64_t stride,
               bool documents = false)
      : b(b), request(request), reduction(reduction), window(window), stride(stride), documents(documents),
        x(cast<RankedTensorType>(request.op->getOperand(0).getType())),
        y(cast<RankedTensorType>(request.op->getResult(0).getType())) {}

  void write() { y.getRank() == 4 ? writeRows() : writeScores(); }

private:
  using Values = SmallVector<Val>;

  Val combine(Val total, Val value) { return reduction == Reduction::Max ? b.max(total, value) : total + value; }
  Val getNeutral() { return b.f32(reduction == Reduction::Max ? -INFINITY : 0.0); }

  /// First row and end of window m.
  std::pair<Val, Val> locate(Val m) {
    Val first = m * double(stride), end = b.min(first + double(window), b.i32(x.getDimSize(2)));
    return {first, documents ? endInDocument(b, b.argument(kernel, 1), first, end) : end};
  }

  void finish(Values &values, Val first, Val end) {
    if (reduction != Reduction::Mean)
      return;
    // Nothing, where documents leave a window without tokens, stays 0.
    Val tokens = documents ? b.max(end - first, b.i32(1)) : end - first;
    Val count = b.toFloat(tokens, b.getF32Type());
    for (Val &value : values)
      value = value / count;
  }

  /// Combines rows `first`, `first` + `step`, ... below `end`.
  Values walk(Val first, Val end, int64_t step, int64_t batch, int64_t width, function_ref<Values(Val)> load) {
    return b.forRange(first, end, b.i32(step * batch), Values(width, getNeutral()), [&](Val row, ArrayRef<Val> state) {
      SmallVector<Values> rows;
      for (int64_t i = 0; i < batch; ++i)
        rows.push_back(load(i == 0 ? row : b.min(row + double(i * step), end - 1.0)));
      Values totals(state);
      for (int64_t i = 0; i < batch; ++i)
        for (auto [total, value] : llvm::zip(totals, rows[i]))
          total = i == 0 ? combine(total, value) : b.select(row + double(i * step) < end, combine(total, value), total);
      return totals;
    });
  }

  void writeRows() {
    Type element = x.getElementType();
    int64_t width = getVectorWidth(element), chunks = x.getDimSize(3) / width;
    int64_t groups = std::max<int64_t>(1, kRowThreads / chunks);
    int64_t parts = std::min<int64_t>(llvm::bit_floor(uint64_t(groups)),
                                      llvm::PowerOf2Ceil(llvm::divideCeil(std::min(window, x.getDimSize(2)), kBatch)));
    int64_t perBlock = groups / parts, heads = y.getDimSize(1);
    kernel = b.beginKernel(request.getName(), request.getArgumentTypes(), llvm::alignTo(groups * chunks, 32),
                           {int64_t(llvm::divideCeil(y.getDimSize(2), perBlock)) * heads, 1, y.getDimSize(0)});
    Val source = b.argument(kernel, 0), target = b.argument(kernel, request.views.size() - 1);
    Val thread = b.id(tile::Id::Thread), block = b.id(tile::Id::BlockX), batch = b.id(tile::Id::BlockZ);
    Val head = block % double(heads), column = thread % double(chunks) * double(width), group = thread / double(chunks);
    Val part = group % double(parts), place = block / double(heads) * double(perBlock) + group / double(parts);
    // Threads without a window repeat the last one and store nothing.
    Val exists = (place < b.i32(y.getDimSize(2))) & (group < double(perBlock * parts));
    Val m = b.min(place, b.i32(y.getDimSize(2) - 1));
    auto [first, end] = locate(m);
    Values totals = walk(first + part, end, parts, std::min(kBatch, window), width,
                         [&](Val row) { return widen(b, b.load(source, {batch, head, row, column}, width), width); });
    if (parts > 1)
      totals = meet(totals, group, column, groups, parts, exists & (part == 0.0));
    finish(totals, first, end);
    b.ifThen(exists & (part == 0.0),
             [&, m = m] { b.store(narrow(b, totals, element), target, {batch, head, m, column}); });
  }

  /// The totals of a window's groups, in the first of them.
  Values meet(const Values &own, Val group, Val column, int64_t groups, int64_t parts, Val leads) {
    int64_t width = own.size();
    // Threads beyond the last group have a row of their own.
    Val sums = b.alloc({groups + 1, x.getDimSize(3)}, b.getF32Type());
    b.store(b.vector(own), sums, {group, column});
    b.barrier();
    return b.ifElse(
        leads,
        [&] {
          Values totals = own;
          for (int64_t part = 1; part < parts; ++part) {
            Val other = b.load(sums, {group + double(part), column}, width);
            for (int64_t i = 0; i < width; ++i)
              totals[i] = combine(totals[i], b.extract(other, i));
          }
          return totals;
        },
        [&] { return own; });
  }

  void writeScores() {
    kernel = b.beginKernel(request.getName(), request.getArgumentTypes(), kRowThreads,
                           {int64_t(llvm::divideCeil(y.getDimSize(2), kRowThreads)), y.getDimSize(1), y.getDimSize(0)});
    Val source = b.argument(kernel, 0), target = b.argument(kernel, request.views.size() - 1);
    Val batch = b.id(tile::Id::BlockZ), head = b.id(tile::Id::BlockY);
    Val m = b.id(tile::Id::BlockX) * double(kRowThreads) + b.id(tile::Id::Thread);
    b.ifThen(m < b.i32(y.getDimSize(2)), [&] {
      auto [first, end] = locate(m);
      Values totals = walk(first, end, 1, 1, 1,
                           [&](Val row) { return Values{b.cast(b.load(source, {batch, head, row}), b.getF32Type())}; });
      finish(totals, first, end);
      b.store(b.cast(totals[0], y.getElementType()), target, {batch, head, m});
    });
  }

  KernelBuilder &b;
  const KernelRequest &request;
  Reduction reduction;
  int64_t window, stride;
  bool documents;
  RankedTensorType x, y;
  tile::KernelOp kernel;
};

} // namespace

LogicalResult fresnel::lowerPool(PoolOp op, const KernelRequest &request, KernelBuilder &b) {
  Reduction reduction = op.getKind() == PoolKind::Mean ? Reduction::Mean : Reduction::Max;
  WindowKernel(b, request, reduction, op.getWindow(), op.getStrideOrWindow(), bool(op.getDocuments())).write();
  return success();
}

LogicalResult fresnel::lowerUnpoolGrad(UnpoolGradOp op, const KernelRequest &request, KernelBuilder &b) {
  WindowKernel(b, request, Reduction::Sum, op.getWindow(), op.getWindow()).write();
  return success();
}

LogicalResult fresnel::lowerUnpool(UnpoolOp op, const KernelRequest &request, KernelBuilder &b) {
  auto result = cast<RankedTensorType>(op.getResult().getType());
  RowBatch grid(result.getShape(), result.getElementType(), /*perThread=*/4);
  auto kernel = b.beginKernel(request.getName(), request.getArgumentTypes(), grid.threads(), grid.grid());
  Val source = b.argument(kernel, 0), target = b.argument(kernel, 1);
  RowBatch::Place place = grid.locate(b);
  SmallVector<Val> rows;
  for (Val row : place.rows)
    rows.push_back(
        b.load(source, {place.batch, place.head, row / double(op.getWindow()), place.column}, grid.one.width));
  for (auto [i, row] : llvm::enumerate(rows))
    grid.ifInside(b, place, i, [&] { b.store(row, target, {place.batch, place.head, place.rows[i], place.column}); });
  return success();
}

/// The sum, over the windows that cover `row`, of their shares; `load(m)` reads window m's gradient. `bounds` are those
/// of documents, if there are any.
static SmallVector<Val> sumShares(KernelBuilder &b, PoolGradOp op, Val bounds, Val row, int64_t width,
                                  function_ref<SmallVector<Val>(Val)> load) {
  int64_t window = op.getWindow(), stride = op.getStride() ? op.getStride() : window;
  int64_t windows = cast<RankedTensorType>(op.getDy().getType()).getDimSize(2), length = op.getSeqLen();
  // The first window that ends after the row; the quotient is never taken of a negative number.
  Val first = b.max(row - double(window) + double(stride), b.i32(0)) / double(stride);
  Val end = b.min(row / double(stride), b.i32(windows - 1)) + 1.0;
  return b.forRange(first, end, b.i32(1), SmallVector<Val>(width, b.f32(0)), [&](Val m, ArrayRef<Val> state) {
    Val count = b.min(b.i32(window), double(length) - m * double(stride)), covers;
    if (bounds) {
      Val first = m * double(stride), end = endInDocument(b, bounds, first, first + count);
      covers = row < end;
      count = b.max(end - first, b.i32(1));
    }
    Val share = 1.0 / b.toFloat(count, b.getF32Type());
    if (covers)
      share = b.select(covers, share, b.f32(0));
    SmallVector<Val> next;
    for (auto [total, value] : llvm::zip(state, load(m)))
      next.push_back(b.fma(value, share, total));
    return next;
  });
}

LogicalResult fresnel::lowerPoolGrad(PoolGradOp op, const KernelRequest &request, KernelBuilder &b) {
  auto result = cast<RankedTensorType>(op.getDx().getType());
  Type element = result.getElementType();
  if (result.getRank() == 3) {
    auto kernel = b.beginKernel(
        request.getName(), request.getArgumentTypes(), kRowThreads,
        {int64_t(llvm::divideCeil(result.getDimSize(2), kRowThreads)), result.getDimSize(1), result.getDimSize(0)});
    Val source = b.argument(kernel, 0), target = b.argument(kernel, request.views.size() - 1);
    Val bounds = op.getDocuments() ? b.argument(kernel, 1) : Val();
    Val batch = b.id(tile::Id::BlockZ), head = b.id(tile::Id::BlockY);
    Val row = b.id(tile::Id::BlockX) * double(kRowThreads) + b.id(tile::Id::Thread);
    b.ifThen(row < b.i32(result.getDimSize(2)), [&] {
      Val sum = sumShares(b, op, bounds, row, 1, [&](Val m) {
        return SmallVector<Val>{b.cast(b.load(source, {batch, head, m}), b.getF32Type())};
      })[0];
      b.store(b.cast(sum, element), target, {batch, head, row});
    });
    return success();
  }
  RowBatch grid(result.getShape(), element, /*perThread=*/2);
  auto kernel = b.beginKernel(request.getName(), request.getArgumentTypes(), grid.threads(), grid.grid());
  Val source = b.argument(kernel, 0), target = b.argument(kernel, request.views.size() - 1);
  Val bounds = op.getDocuments() ? b.argument(kernel, 1) : Val();
  RowBatch::Place place = grid.locate(b);
  for (auto [i, row] : llvm::enumerate(place.rows)) {
    SmallVector<Val> sum = sumShares(b, op, bounds, row, grid.one.width, [&](Val m) {
      return widen(b, b.load(source, {place.batch, place.head, m, place.column}, grid.one.width), grid.one.width);
    });
    grid.ifInside(b, place, i, [&, row = row] {
      b.store(narrow(b, sum, element), target, {place.batch, place.head, row, place.column});
    });
  }
  return success();
}
