//===- ScatterGradBySlotsToTile.cpp - Tokens to slots, each read once -----===//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
//
// The windows that a scatter writes to are those of the pyramid moved by one window
// less one token: token j is in window (j + 1) div F - 1 of a level with windows of F
// tokens, so that they nest. A thread owns one 16-byte chunk of the tokens of a
// coarsest window and walks them in units of factor^m <= 16 tokens, whose loads are
// all in flight together. Sums of the levels up to m come and go within a unit; those
// above are carried. What was selected is written, in f32 sums rounded once.
//
//===----------------------------------------------------------------------===//

#include "fresnel/Conversion/PyramidDocuments.h"
#include "fresnel/Conversion/RowKernel.h"
#include "fresnel/Conversion/ToTile.h"

using namespace mlir;
using namespace fresnel;

namespace {

constexpr int64_t kThreads = 128;
/// Tokens whose rows a thread holds in registers at most.
constexpr int64_t kMaxUnit = 16;

class ScatterGradKernel {
public:
  ScatterGradKernel(ScatterGradBySlotsOp op, const KernelRequest &request, KernelBuilder &b)
      : op(op), request(request), b(b), dy(cast<RankedTensorType>(op.getDy().getType())),
        shape(dy.getDimSize(2), op.getLevels(), op.getFactor(), op.getDocuments()), levels(op.getLevels()),
        factor(op.getFactor()), one(dy.getShape(), dy.getElementType()),
        documents(b, shape, [](const DocumentShape &document) { return document.sizes.back() + 1; }) {
    for (; unitLevels + 1 < levels && unit * factor <= kMaxUnit; ++unitLevels)
      unit *= factor;
  }

  void write() {
    locate();
    beginPadding();
    addUnits();
    clearPadding();
  }

private:
  using Values = SmallVector<Val>;
  /// The sums of the levels above a unit's.
  using Carry = SmallVector<Values>;
  int64_t getCarried() const { return levels - 1 - unitLevels; }

  void addUnits() {
    int64_t units = shape.windows.back() / unit;
    if (units == 1) {
      Carry none;
      return addUnit(number, b.i32(0), none);
    }
    SmallVector<Val> init(getCarried() * one.width, b.f32(0));
    b.forRange(b.i32(0), b.i32(units), b.i32(1), init, [&](Val step, ArrayRef<Val> state) {
      Carry carry;
      for (int64_t i = 0; i < getCarried(); ++i)
        carry.push_back(Values(state.slice(i * one.width, one.width)));
      addUnit(number * double(units) + step, step, carry);
      Values next;
      for (const Values &sum : carry)
        next.append(sum);
      return next;
    });
  }

  /// Begins the kernel. The threads of neighbouring heads, whose rows [B, N, H, D] memory holds side by
  /// side, are neighbours.
  void locate() {
    int64_t heads = dy.getDimSize(1), all = documents.getItems() * heads;
    int64_t perBlock = std::max<int64_t>(1, kThreads / one.chunks), threads = llvm::alignTo(perBlock * one.chunks, 32);
    auto kernel = b.beginKernel(request.getName(), request.getArgumentTypes(), threads,
                                {int64_t(llvm::divideCeil(all, perBlock)), 1, dy.getDimSize(0)});
    source = b.argument(kernel, 0);
    indices = b.argument(kernel, 1);
    slots = b.argument(kernel, 2);
    target = b.argument(kernel, 3);
    batch = b.id(tile::Id::BlockZ);
    Val thread = b.id(tile::Id::Thread), local = thread / double(one.chunks);
    column = thread % double(one.chunks) * double(one.width);
    Val item = b.id(tile::Id::BlockX) * double(perBlock) + local;
    // A thread too many does the last one's work and stores nothing.
    if (all % perBlock || perBlock * one.chunks != threads) {
      exists = (item < b.i32(all)) & (local < b.i32(perBlock));
      item = b.min(item, b.i32(all - 1));
    }
    head = item % double(heads);
    span = item / double(heads);
    place = documents.locate(span);
    number = place.item;
    slotHead = getSharedHead(head, op.getDy(), op.getSlots());
  }

  /// Slots without an entry hold zeros. The threads of a coarsest window look after a share of the slots, each after a
  /// few, and clear whole rows: there are few. What one has to know is on its way while it adds up its tokens.
  void beginPadding() {
    int64_t count = cast<RankedTensorType>(op.getIndices().getType()).getDimSize(2);
    int64_t share = llvm::divideCeil(count, documents.getItems());
    firstSlot = span * double(share) + column / double(one.width);
    endSlot = b.min(span * double(share) + double(share), b.i32(count));
    if (share <= one.chunks)
      ownIndex = b.load(indices, {batch, slotHead, b.min(firstSlot, b.i32(count - 1))});
  }

  void clearPadding() {
    if (ownIndex)
      return clearIfEmpty(firstSlot, (ownIndex < 0.0) & (firstSlot < endSlot));
    b.forRange(firstSlot, endSlot, b.i32(one.chunks),
               [&](Val slot) { clearIfEmpty(slot, b.load(indices, {batch, slotHead, slot}) < 0.0); });
  }

  void clearIfEmpty(Val slot, Val empty) {
    b.ifThen(exists ? empty & exists : empty, [&] {
      b.forRange(b.i32(0), b.i32(one.chunks), b.i32(1),
                 [&](Val chunk) { b.store(getZero(), target, {batch, head, slot, chunk * double(one.width)}); });
    });
  }

  /// Adds unit `at` of the document, number `step` of its coarsest window.
  void addUnit(Val at, Val step, Carry &carry) {
    SmallVector<Values> found(levels);
    for (int64_t level = 0; level < levels; ++level)
      for (int64_t i = 0; i < std::max<int64_t>(1, unit / shape.windows[level]); ++i)
        found[level].push_back(findSlot(at, level, i));
    Values rows = loadTokens(at);
    SmallVector<Values> sums;
    for (auto [slot, row] : llvm::zip(found[0], rows)) {
      store(slot, [&] { return row; });
      sums.push_back(widen(b, row, one.width));
    }
    for (int64_t level = 1; level <= unitLevels; ++level) {
      SmallVector<Values> pooled;
      for (size_t i = 0; i < sums.size(); i += factor) {
        pooled.push_back(sums[i]);
        for (int64_t child = 1; child < factor; ++child)
          addTo(pooled.back(), sums[i + child]);
        store(found[level][i / factor], [&] { return narrow(b, pooled.back(), dy.getElementType()); });
      }
      sums = std::move(pooled);
    }
    for (int64_t above = 0; above < getCarried(); ++above) {
      int64_t level = unitLevels + 1 + above;
      addTo(carry[above], sums[0]);
      Val full = (step + 1.0) % double(shape.windows[level] / unit) == 0.0;
      store(b.select(full, found[level][0], b.i32(-1)), [&] { return narrow(b, carry[above], dy.getElementType()); });
      for (Val &value : carry[above])
        value = b.select(full, b.f32(0), value);
    }
  }

  void addTo(Values &sum, ArrayRef<Val> more) {
    for (auto [total, value] : llvm::zip(sum, more))
      total = total + value;
  }

  /// The slot of the unit's window `i` of a level, or of the window that holds the unit, or -1.
  Val findSlot(Val at, int64_t level, int64_t i) {
    int64_t window = shape.windows[level];
    Val moved = window <= unit ? at * double(unit / window) + double(i) : at / double(window / unit);
    Val index = moved - 1.0;
    Val entry = b.max(b.min(index, documents.getLast(place, level)), b.i32(0));
    Val slot = b.load(slots, {batch, slotHead, documents.getEntry(place, level, entry)});
    return b.select(entry == index, slot, b.i32(-1));
  }

  /// The rows of the unit's tokens, zeros behind the last. Token -1 stands for token 0: it is in windows
  /// that no entry has.
  Values loadTokens(Val at) {
    Values rows;
    Val first = at * double(unit) - 1.0, length = documents.getSize(place, 0);
    for (int64_t i = 0; i < unit; ++i) {
      Val token = first + double(i);
      rows.push_back(b.ifElse(
          token < length,
          [&] {
            Val row = i == 0 ? b.max(token, b.i32(0)) : token;
            return Values{b.load(source, {batch, head, documents.getEntry(place, 0, row), column}, one.width)};
          },
          [&] { return Values{getZero()}; })[0]);
    }
    return rows;
  }

  void store(Val slot, function_ref<Val()> row) {
    Val selected = slot >= 0.0;
    b.ifThen(exists ? selected & exists : selected, [&] { b.store(row(), target, {batch, head, slot, column}); });
  }

  Val getZero() { return b.constant(VectorType::get(one.width, dy.getElementType()), 0); }

  ScatterGradBySlotsOp op;
  const KernelRequest &request;
  KernelBuilder &b;
  RankedTensorType dy;
  PyramidShape shape;
  int64_t levels, factor, unit = 1, unitLevels = 0;
  RowGrid one;
  PyramidDocuments documents;
  PyramidDocuments::Place place;
  /// `span` counts the coarsest windows of all documents, `number` those of one, as tokens are counted.
  Val source, indices, slots, target, batch, head, slotHead, column, span, number, exists;
  /// The first slot that a thread clears if it is empty, the end of its team's, and what the first one holds.
  Val firstSlot, endSlot, ownIndex;
};

} // namespace

LogicalResult fresnel::lowerScatterGradBySlots(ScatterGradBySlotsOp op, const KernelRequest &request,
                                               KernelBuilder &b) {
  PyramidShape shape(cast<RankedTensorType>(op.getDy().getType()).getDimSize(2), op.getLevels(), op.getFactor(),
                     op.getDocuments());
  if (shape.windows.back() * (shape.sizes.back() + 1) > INT32_MAX)
    return op.emitOpError() << "windows end beyond token 2147483647; lower `levels` or `factor`";
  ScatterGradKernel(op, request, b).write();
  return success();
}
