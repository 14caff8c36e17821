//===- GatherGradToTile.cpp - Sums of the slots that read a row -----------===//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
//
// The indices may repeat and have no order, and there are no atomics. A thread
// block owns a few rows, whose sums it keeps in shared memory. It reads all
// indices, a batch at a time: each warp lists the slots of its part that hit the
// rows, in order; then each warp adds the listed slots of the rows that are its
// own. A row is summed by one warp in the order of heads and slots.
//
//===----------------------------------------------------------------------===//

#include "fresnel/Conversion/RowKernel.h"
#include "fresnel/Conversion/ToTile.h"

using namespace mlir;
using namespace fresnel;

namespace {

constexpr int64_t kWarps = kRowThreads / 32;
/// Slots that a warp reads in one batch, one per lane and turn.
constexpr int64_t kTurns = 4, kSlotsPerWarp = 32 * kTurns;

class GatherGradKernel {
public:
  GatherGradKernel(GatherGradOp op, const KernelRequest &request, KernelBuilder &b)
      : request(request), b(b), dy(cast<RankedTensorType>(op.getDy().getType())),
        dx(cast<RankedTensorType>(op.getDx().getType())), depth(dx.getDimSize(3)), rows(depth <= 128 ? 64 : 32),
        slots(dy.getDimSize(2)), group(dy.getDimSize(1) / dx.getDimSize(1)),
        sharing(dy.getDimSize(1) / cast<RankedTensorType>(op.getIndices().getType()).getDimSize(1)) {}

  void write() {
    auto kernel =
        b.beginKernel(request.getName(), request.getArgumentTypes(), kRowThreads,
                      {int64_t(llvm::divideCeil(dx.getDimSize(2), rows)), dx.getDimSize(1), dx.getDimSize(0)});
    source = b.argument(kernel, 0);
    indices = b.argument(kernel, 1);
    target = b.argument(kernel, 2);
    batch = b.id(tile::Id::BlockZ);
    head = b.id(tile::Id::BlockY);
    thread = b.id(tile::Id::Thread);
    warp = b.id(tile::Id::Warp);
    lane = b.id(tile::Id::Lane);
    firstRow = b.id(tile::Id::BlockX) * double(rows);
    sums = b.alloc({rows, depth}, b.getF32Type());
    hitSlots = b.alloc({kWarps, kSlotsPerWarp}, b.getI32Type());
    hitRows = b.alloc({kWarps, kSlotsPerWarp}, b.getI32Type());
    counts = b.alloc({kWarps}, b.getI32Type());

    forEachElement([&](Val row, Val column) { b.store(b.f32(0), sums, {row, column}); });
    Val batches = b.i32(llvm::divideCeil(slots, kWarps * kSlotsPerWarp));
    b.forRange(b.i32(0), b.i32(group), b.i32(1), [&](Val member) {
      Val from = head * double(group) + member;
      b.forRange(b.i32(0), batches, b.i32(1), [&](Val i) {
        list(from, (i * double(kWarps) + warp) * double(kSlotsPerWarp));
        b.barrier();
        add(from);
        b.barrier();
      });
    });
    b.barrier();
    store();
  }

private:
  /// Visits the block's sums, spread over its threads.
  void forEachElement(function_ref<void(Val, Val)> visit) {
    b.forRange(thread, b.i32(rows * depth), b.i32(kRowThreads),
               [&](Val element) { visit(element / double(depth), element % double(depth)); });
  }

  /// Lists the slots from `first` on that hit the block's rows.
  void list(Val from, Val first) {
    SmallVector<Val> hits;
    for (int64_t turn = 0; turn < kTurns; ++turn) {
      Val slot = first + lane + double(32 * turn);
      Val exists = slot < double(slots);
      Val index = b.load(indices, {batch, from / double(sharing), b.select(exists, slot, b.i32(0))});
      // One comparison finds rows before, after and padding of -1.
      Val row = index - firstRow;
      hits.push_back(b.select(exists & (row >= 0.0) & (row < double(rows)), row, b.i32(-1)));
    }
    Val count = b.i32(0);
    for (auto [turn, row] : llvm::enumerate(hits)) {
      Val hit = row >= 0.0;
      Val mask = b.ballot(hit);
      Val before = b.popcount(mask & ((b.i32(1) << lane) - 1.0));
      b.ifThen(hit, [&] {
        b.store(first + lane + double(32 * turn), hitSlots, {warp, count + before});
        b.store(row, hitRows, {warp, count + before});
      });
      count = count + b.popcount(mask);
    }
    b.ifThen(lane == 0.0, [&] { b.store(count, counts, {warp}); });
  }

  /// Adds the listed slots of the rows that are this warp's, list by list.
  void add(Val from) {
    b.forRange(b.i32(0), b.i32(kWarps), b.i32(1), [&](Val origin) {
      b.forRange(b.i32(0), b.load(counts, {origin}), b.i32(1), [&](Val i) {
        Val row = b.load(hitRows, {origin, i});
        b.ifThen(row % double(kWarps) == warp, [&] {
          Val slot = b.load(hitSlots, {origin, i});
          b.forRange(lane, b.i32(depth), b.i32(32), [&](Val column) {
            Val value = b.cast(b.load(source, {batch, from, slot, column}), b.getF32Type());
            b.store(b.load(sums, {row, column}) + value, sums, {row, column});
          });
        });
      });
    });
  }

  void store() {
    forEachElement([&](Val row, Val column) {
      b.ifThen(firstRow + row < double(dx.getDimSize(2)), [&] {
        b.store(b.cast(b.load(sums, {row, column}), dx.getElementType()), target,
                {batch, head, firstRow + row, column});
      });
    });
  }

  const KernelRequest &request;
  KernelBuilder &b;
  RankedTensorType dy, dx;
  /// `group` counts the heads of dy for one of dx, `sharing` those for one of the indices.
  int64_t depth, rows, slots, group, sharing;
  Val source, indices, target, batch, head, thread, warp, lane, firstRow;
  Val sums, hitSlots, hitRows, counts;
};

} // namespace

LogicalResult fresnel::lowerGatherGrad(GatherGradOp op, const KernelRequest &request, KernelBuilder &builder) {
  GatherGradKernel(op, request, builder).write();
  return success();
}
