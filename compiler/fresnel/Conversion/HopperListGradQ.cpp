//===- HopperListGradQ.cpp - Gradient of queries over block lists ---------===//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
//
// A thread block owns a tile of queries and walks the listed keys, as attention does:
// a producer feeds K and V through rings; each consumer computes the scores of its 64
// rows and their gradients in registers, from where these are left operands of the
// product that sums dQ. So are its rows of queries and of the output's gradient where there
// are registers for them.
//
//===----------------------------------------------------------------------===//

#include "fresnel/Conversion/AttendGradMath.h"
#include "fresnel/Conversion/HopperRings.h"
#include "fresnel/Conversion/HopperTile.h"
#include "fresnel/Conversion/ToTile.h"
#include "fresnel/Schedule/HopperLists.h"

using namespace mlir;
using namespace fresnel;

namespace {

constexpr int64_t kGroupRows = 64;

/// Positions of the kernel's arguments; bounds of documents, or where blocks start, are behind the list.
enum Argument : unsigned { kQ, kK, kV, kLse, kDelta, kDout, kList, kDq };

class HopperListGradQ : HopperRings {
public:
  HopperListGradQ(AttendGradQOp op, const KernelRequest &request, KernelBuilder &builder)
      : HopperRings(builder), request(request), shape(op), tileM(request.schedule.getTileM()),
        tileN(request.schedule.getTileN()), consumers(tileM / kGroupRows), visits(builder, shape, kGroupRows, tileN),
        math(builder, shape, Owner::Queries, kGroupRows, tileN),
        at(builder, shape, request.schedule, getHopperTiles(request.schedule, op), visits), grouped(at.getGroup() > 1),
        index(tile::getAccType(kGroupRows, tileN, builder.getI32Type())), op(op) {}

  void write() {
    kernel = b.beginKernel(request.getName(), getArgumentTypes(), 128 * (consumers + 1), {at.getCount(), 1, 1});
    if (int64_t minBlocks = getHopperListsMinBlocks(request.schedule, op); minBlocks > 1)
      kernel->setAttr(tile::kMinBlocksAttr, b.getI32IntegerAttr(int32_t(minBlocks)));
    allocate();
    initialise();
    writeRoles(
        consumers, getHopperRegisters(consumers, getHopperListsMinBlocks(request.schedule, op)), [&] { produce(); },
        [&] { consume(); });
  }

private:
  Val argument(unsigned position) { return b.argument(kernel, position); }

  /// Rows of several heads in turn are no box of a tensor: the threads copy them.
  SmallVector<Type> getArgumentTypes() {
    auto map = [&](int64_t rows) -> Type { return tile::TensorMapType::get(b.getContext(), rows, 64, shape.element); };
    SmallVector<Type> types(request.views.begin(), request.views.end());
    types[kK] = types[kV] = map(std::min(tileN, shape.keyBlock));
    if (!grouped)
      types[kQ] = types[kDout] = map(kGroupRows);
    return types;
  }

  void allocate() {
    auto alloc = [&] { return b.alloc({consumers, kGroupRows, shape.headDim}, shape.element, tile::Layout::Swizzled); };
    queries = alloc();
    douts = alloc();
    keys = allocRing(request.schedule.getStages(), tileN, shape.headDim, shape.element);
    values = allocRing(request.schedule.getStages(), tileN, shape.headDim, shape.element);
    ownedFull = allocBarriers(1);
  }

  void initialise() {
    b.ifThen(b.id(tile::Id::Thread) == b.i32(0), [&] {
      for (unsigned i : {kQ, kK, kV, kDout})
        if (isa<tile::TensorMapType>(argument(i).getType()))
          tile::PrefetchMapOp::create(b, Value(argument(i)));
      for (const Ring &ring : {keys, values}) {
        initBarriers(ring.full, 1);
        initBarriers(ring.empty, consumers);
      }
      initBarriers(ownedFull, 1, /*fence=*/true);
    });
    b.barrier();
    if (shape.documents)
      at.setDocuments(argument(kList + 1));
    if (shape.starts)
      at.setStarts(argument(kList + 1));
    // What the thread block owns is on its way while the lists are read.
    at.readLists(argument(kList), [&] { fetchOwned(); });
    at.locate(b.id(tile::Id::BlockX));
    receiveOwned();
  }

  /// Calls `body` with the argument, the tile and the first token of each consumer's queries and gradients.
  void forOwned(function_ref<void(unsigned, Val, Val)> body) {
    for (int64_t consumer = 0; consumer < consumers; ++consumer)
      for (auto [source, target] : {std::pair(kQ, queries), std::pair(kDout, douts)})
        body(source, b.slice(target, b.i32(consumer)), at.firstRow + double(consumer * kGroupRows / at.getGroup()));
  }

  void fetchOwned() {
    if (!grouped) {
      b.ifThen(b.id(tile::Id::Thread) == b.i32(0), [&] { loadOwned(); });
      return;
    }
    forOwned([&](unsigned source, Val target, Val token) {
      tile::CopyAsyncOp::create(b, Value(argument(source)), Value(at.batch), Value(at.head), Value(token),
                                Value(target), Value(), /*block=*/1, uint32_t(at.getGroup()));
    });
    tile::CopyCommitOp::create(b);
  }

  /// In one thread.
  void loadOwned() {
    Val zero = b.i32(0);
    expect(ownedFull, zero, 2 * cast<tile::SharedType>(queries.getType()).getBytes());
    forOwned([&](unsigned map, Val target, Val token) {
      tile::TmaLoadOp::create(b, Value(argument(map)), Value(at.batch), Value(at.head), Value(token), Value(target),
                              Value(ownedFull), Value(zero), /*evict_last=*/false);
    });
  }

  /// Waits for what the threads fetch themselves.
  void receiveOwned() {
    if (!grouped)
      return;
    tile::CopyWaitOp::create(b, 0);
    tile::FenceAsyncOp::create(b);
    b.barrier();
  }

  //===--------------------------------------------------------------------===//
  // Producer
  //===--------------------------------------------------------------------===//

  void fill(unsigned map, const Ring &ring, Val i) {
    auto [slot, parity] = slotOf(ring, i);
    Val tile = b.slice(ring.tiles, slot);
    wait(ring.empty, slot, parity ^ 1.0);
    expect(ring.full, slot, cast<tile::SharedType>(tile.getType()).getBytes());
    at.lists->load(argument(map), at.batch, at.kvHead, i, tile, ring.full, slot);
  }

  void produce() {
    Val elected = b.wrap(tile::ElectOp::create(b, b.getI1Type()));
    b.ifThen((b.id(tile::Id::Warp) == b.i32(0)) & elected, [&] {
      b.forRange(b.i32(0), at.visited.count, b.i32(1), [&](Val i) {
        fill(kK, keys, i);
        fill(kV, values, i);
      });
    });
  }

  //===--------------------------------------------------------------------===//
  // Consumers
  //===--------------------------------------------------------------------===//

  /// This consumer's rows of an owned tile times a tile of a ring.
  Val multiplyOwned(Val owned, const Ring &ring, Val slot) {
    Val row = isa<RankedTensorType>(owned.getType()) ? Val() : b.i32(0);
    return b.wrap(tile::WgmmaOp::create(b, math.getScoresType(), Value(owned), row ? Value(row) : Value(),
                                        Value(b.slice(ring.tiles, slot)), Value(), /*transposed=*/true));
  }

  /// The tokens of a fragment's rows, counted from the tile's first.
  Val getTokens(Type type) {
    return divideBy(b.wrap(tile::RowIndexOp::create(b, type, Value(groupRow))), at.getGroup());
  }

  Val broadcast(Val rows) { return b.wrap(tile::BroadcastOp::create(b, math.getScoresType(), Value(rows))); }

  /// For each score the LSE of its row, infinite where this does not list the block of the step, or of the column.
  Val getListedLse(Val i) {
    if (!at.lists->hasSeveralRows())
      return broadcast(lse);
    Val tokens = getTokens(tile::getRowsType(kGroupRows, b.getI32Type())), none = b.constant(lse.getType(), INFINITY);
    if (at.lists->getBoxes() > 1)
      return at.lists->chooseListed(math.getScoresType(), tokens, i, lse, none);
    return broadcast(b.select(at.lists->getListed(tokens, i), lse, none));
  }

  /// Products of a step that are under way: scores, and gradients of the weights.
  struct Products {
    Val scores, dweights;
  };

  Products begin(Val i) {
    auto [slot, parity] = slotOf(keys, i);
    wait(keys.full, slot, parity);
    Val scores = multiplyOwned(ownQueries, keys, slot);
    wait(values.full, slot, parity);
    return {scores, multiplyOwned(ownDouts, values, slot)};
  }

  /// The left operand of the product that sums dQ, from those of step i, behind which `pending` others are under way.
  Val differentiate(Val i, Products products, bool masked, int64_t pending) {
    Val visible;
    if (masked) {
      Val keys = at.lists->getKeys(index, i), inside = at.isWithin(keys);
      visible = isVisible(shape, keys, getTokens(index) + at.position);
      visible = inside ? visible & inside : visible;
    }
    Val listed = getListedLse(i);
    AttendGradMath::Weights weights = math.weigh(waitFor(products.scores, pending + 1), listed, visible);
    Val dweights = waitFor(products.dweights, pending);
    arrive(values.empty, slotOf(keys, i).first, leader);
    Type lhs = tile::getLhsType(kGroupRows, tileN, shape.element);
    return b.wrap(tile::ToLhsOp::create(b, lhs, Value(math.differentiate(weights, dweights, broadcast(delta)))));
  }

  /// dQ from the left operand of step i.
  Val accumulate(Val i, Val sum, Val left) {
    return b.wrap(tile::WgmmaOp::create(b, sum.getType(), Value(left), Value(),
                                        Value(b.slice(keys.tiles, slotOf(keys, i).first)), Value(sum),
                                        /*transposed=*/false));
  }

  /// dQ of step i once its product has ended, which gives back the slot.
  Val end(Val i, Val sum) {
    sum = waitFor(sum, 0);
    arrive(keys.empty, slotOf(keys, i).first, leader);
    return sum;
  }

  /// One step after the other: dQ comes in and goes out.
  Val walkOneByOne(Val lower, Val upper, Val sum, bool masked) {
    return b.forRange(lower, upper, b.i32(1), {sum}, [&](Val i, ArrayRef<Val> carried) {
      Val left = differentiate(i, begin(i), masked, 0);
      return SmallVector<Val>{end(i, accumulate(i, carried[0], left))};
    })[0];
  }

  /// Each step's sum runs beside the exponentials of the next one. There is at least one step.
  Val walkOverlapped(Val lower, Val upper, Val sum) {
    Val left = differentiate(lower, begin(lower), /*masked=*/false, 0), last = upper - 1.0;
    SmallVector<Val> state = b.forRange(lower, last, b.i32(1), {sum, left}, [&](Val i, ArrayRef<Val> carried) {
      Products next = begin(i + 1.0);
      Val sum = accumulate(i, carried[0], carried[1]);
      Val left = differentiate(i + 1.0, next, /*masked=*/false, 1);
      return SmallVector<Val>{end(i, sum), left};
    });
    return end(last, accumulate(last, state[0], state[1]));
  }

  Val loadRows(unsigned position, Val token, float outside) {
    return b.wrap(tile::LoadRowsOp::create(b, tile::getRowsType(kGroupRows, b.getF32Type()), Value(argument(position)),
                                           Value(at.batch), Value(at.head), Value(token), APFloat(outside),
                                           uint32_t(at.getGroup())));
  }

  /// Whether there are registers for a consumer's queries and gradients, which every step reads: beside dQ and the
  /// products, but neither wide heads nor what soft caps and lists of several boxes need. Where one loop walks all
  /// steps ptxas (CUDA 13.0) may give the left operand of the sum the registers of the queries, which the next step
  /// then reads (tests/gpu/left_operands.py finds that); a second loop behind the first keeps them.
  bool keepsOwned() {
    bool severalBoxes = at.lists->hasSeveralRows() && at.lists->getBoxes() > 1;
    return shape.headDim <= 128 && shape.softcap <= 0 && !severalBoxes && !at.lists->masksEveryStep();
  }

  /// Whether a step's sum runs beside the exponentials of the next one. One consumer of two thread blocks, which
  /// overlap each other, gains where it waits for its keys; narrower heads were not measured so.
  bool overlaps() {
    return request.schedule.getStages() > 1 && keepsOwned() && (consumers > 1 || shape.headDim == 128);
  }

  /// Beside steps that overlap, one consumer of two thread blocks has registers for its gradients alone.
  bool keepsQueries() { return keepsOwned() && (consumers > 1 || !overlaps()); }

  Val holdOwned(Val tiles, bool inRegisters) {
    Val tile = b.slice(tiles, b.id(tile::Id::Warpgroup) - 1.0);
    if (!inRegisters)
      return tile;
    Type lhs = tile::getLhsType(kGroupRows, shape.headDim, shape.element);
    return b.wrap(tile::LoadLhsOp::create(b, lhs, Value(tile), 0));
  }

  void consume() {
    groupRow = (b.id(tile::Id::Warpgroup) - 1.0) * double(kGroupRows);
    leader = (b.id(tile::Id::Thread) & 127.0) == 0.0;
    at.locateGroup(groupRow);
    Val token = at.firstRow + divideBy(groupRow, at.getGroup()), zero = b.i32(0);
    lse = math.prepare(loadRows(kLse, token, -INFINITY));
    delta = loadRows(kDelta, token, 0);
    if (!grouped)
      wait(ownedFull, zero, zero);
    ownQueries = holdOwned(queries, keepsQueries());
    ownDouts = holdOwned(douts, keepsOwned());
    Val sum = b.constant(tile::getAccType(kGroupRows, shape.headDim, b.getF32Type()), 0.0);
    Val masked = at.lists->hasOneMaskedStep() ? b.i32(1) : at.lists->masked;
    sum = walkOneByOne(zero, masked, sum, /*masked=*/true);
    Val count = at.visited.count;
    if (overlaps())
      sum = b.ifElse(
          masked < count, [&] { return SmallVector<Val>{walkOverlapped(masked, count, sum)}; },
          [&] { return SmallVector<Val>{sum}; })[0];
    else
      sum = walkOneByOne(masked, count, sum, /*masked=*/false);
    tile::StoreTileOp::create(b, Value(sum * shape.scale), Value(argument(op.getMasks().size() > 1 ? kDq + 1 : kDq)),
                              Value(at.batch), Value(at.head), Value(token), Value(), Value(), uint32_t(at.getGroup()));
  }

  const KernelRequest &request;
  AttendShape shape;
  int64_t tileM, tileN, consumers;
  AttendMath visits;
  AttendGradMath math;
  HopperTile at;
  /// Whether a tile has rows of several heads.
  bool grouped;
  Type index;
  AttendGradQOp op;
  tile::KernelOp kernel;
  Val queries, douts, ownedFull;
  Ring keys, values;
  // In a consumer: its first row, whether this thread speaks for it, and its rows' values.
  Val groupRow, leader, lse, delta, ownQueries, ownDouts;
};

} // namespace

void fresnel::lowerHopperListGrad(AttendGradQOp op, const KernelRequest &request, KernelBuilder &builder) {
  HopperListGradQ(op, request, builder).write();
}
