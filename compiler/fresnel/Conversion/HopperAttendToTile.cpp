//===- HopperAttendToTile.cpp - Attention with TMA and WGMMA --------------===//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
//
// The hopper family: a producer warpgroup feeds K and V through rings of
// mbarriers with bulk tensor copies; consumer warpgroups own 64 query rows each.
// In a consumer the product with V of one block runs behind the softmax of the
// next, and the consumers take turns at issuing their products, so that the
// softmax of one hides behind the products of the other (Shah et al.,
// FlashAttention-3, arXiv 2407.08608).
//
// Key blocks are visited from the last to the first: those that cross the
// diagonal, the sequence's end or that of a document come first, then the plain
// ones, then those at the left edge of the window or the document, and the sinks.
// Each kind has its own copy of the loop, because a branch around a mask would make
// ptxas serialise the matrix unit.
//
// A persistent kernel has one block per multiprocessor, whose producer takes tile
// after tile from a counter in device memory and hands its number on with the
// queries. While the consumers finish a tile, the operands of the next arrive.
//
// The blocks of a cluster have neighbouring tiles of one head. Each loads its share of a
// block of keys into the memory of all, once the consumers of all have given the slot back.
// Under a causal mask a tile gives back unread what only later queries see.
//
//===----------------------------------------------------------------------===//

#include "fresnel/Conversion/AttendMath.h"
#include "fresnel/Conversion/HopperRings.h"
#include "fresnel/Conversion/HopperTile.h"
#include "fresnel/Conversion/ToTile.h"
#include "fresnel/Schedule/Hopper.h"

using namespace mlir;
using namespace fresnel;

namespace {

/// Named barriers: the consumers' turns, then one per consumer for its output.
constexpr int64_t kTurnBarrier = 1, kOutputBarrier = 4;

/// From this width on it pays to skip corrections of the accumulator that
/// multiply with 1. Below, the branch costs more: it holds all exponentials back
/// until the product with V has ended.
constexpr int64_t kLazyValueDim = 192;

/// What a consumer carries from one key block to the next: the accumulator, the
/// weights of the block before as a left operand, and the rows' maximum and sum.
struct State {
  Val acc, weights, maximum, sum;
};

class HopperAttendKernel : HopperRings {
public:
  HopperAttendKernel(AttendOp op, const KernelRequest &request, KernelBuilder &builder)
      : HopperRings(builder), request(request), shape(op), tileM(request.schedule.getTileM()),
        tileN(request.schedule.getTileN()), stages(request.schedule.getStages()), consumers(tileM / kGroupRows),
        cluster(request.schedule.getCluster()), persistent(request.schedule.getPersistent()),
        ownOutput(hasHopperOutputTile(request.schedule, shape.headDim, shape.valueDim)),
        lazy(shape.valueDim >= kLazyValueDim), outArgument(op.getMask() ? 4 : 3), op(op),
        math(builder, shape, kGroupRows, tileN),
        at(builder, shape, request.schedule, getHopperTiles(request.schedule, op), math), tiles(at.getCount()),
        grouped(at.getGroup() > 1) {}

  void write() {
    int64_t blocks = persistent ? std::min(tiles, kHopperMultiprocessors) : tiles;
    kernel = b.beginKernel(request.getName(), getArgumentTypes(), 128 * (consumers + 1), {blocks, 1, 1});
    if (persistent)
      kernel->setAttr(kCountersAttr, b.getI64IntegerAttr(1));
    if (cluster > 1)
      kernel->setAttr(tile::kClusterAttr, b.getI32IntegerAttr(int32_t(cluster)));
    int64_t minBlocks = getHopperMinBlocks(request.schedule, op);
    if (minBlocks > 1)
      kernel->setAttr(tile::kMinBlocksAttr, b.getI32IntegerAttr(minBlocks));
    if (shape.documents)
      at.setDocuments(b.argument(kernel, 3));
    allocate();
    initialise();
    writeRoles(consumers, getHopperRegisters(consumers, minBlocks), [&] { produce(); }, [&] { consume(); });
    // A block's memory must stay until the others have told it what they are done with.
    if (cluster > 1)
      tile::ClusterBarrierOp::create(b);
  }

private:
  //===--------------------------------------------------------------------===//
  // Set-up
  //===--------------------------------------------------------------------===//

  /// Maps of boxes of 64 columns; the output is stored by one warpgroup at a time.
  SmallVector<Type> getArgumentTypes() {
    auto map = [&](int64_t rows) -> Type { return tile::TensorMapType::get(b.getContext(), rows, 64, shape.element); };
    int64_t box = shape.hasBlocks() ? std::min(tileN, shape.keyBlock) : tileN / cluster;
    SmallVector<Type> types{grouped ? Type(request.views[0]) : map(tileM), map(box), map(box)};
    if (outArgument > 3)
      types.push_back(request.views[3]);
    types.append({grouped ? Type(request.views[outArgument]) : map(kGroupRows), request.views[outArgument + 1]});
    if (persistent)
      types.push_back(tile::GlobalType::get(b.getContext(), {1}, b.getI32Type(), /*strided=*/false));
    return types;
  }

  void allocate() {
    qTile = b.alloc({tileM, shape.headDim}, shape.element, tile::Layout::Swizzled);
    // Else a warpgroup's output takes the place of its own queries, which it no longer needs.
    oTile = ownOutput ? b.alloc({tileM, shape.valueDim}, shape.element, tile::Layout::Swizzled)
                      : b.allocReusing(qTile, {tileM, shape.valueDim}, shape.element, tile::Layout::Swizzled);
    keyRing = allocRing(stages, tileN, shape.headDim, shape.element);
    valueRing = allocRing(stages, tileN, shape.valueDim, shape.element);
    qFull = allocBarriers(1);
    qEmpty = allocBarriers(1);
    numberRead = allocBarriers(1);
    tileNumber = b.alloc({1}, b.getI32Type());
  }

  void initialise() {
    thread = b.id(tile::Id::Thread);
    b.ifThen(thread == b.i32(0), [&] {
      for (unsigned i : {0u, 1u, 2u, outArgument})
        if (isa<tile::TensorMapType>(b.argument(kernel, i).getType()))
          tile::PrefetchMapOp::create(b, Value(b.argument(kernel, i)));
      for (const Ring &ring : {keyRing, valueRing}) {
        initBarriers(ring.full, 1);
        initBarriers(ring.empty, consumers * cluster);
      }
      initBarriers(qEmpty, consumers);
      initBarriers(numberRead, 128 * consumers);
      initBarriers(qFull, 1, /*fence=*/true);
    });
    if (cluster > 1)
      tile::ClusterBarrierOp::create(b);
    else
      b.barrier();
    if (!shape.hasBlocks())
      return;
    at.readLists(b.argument(kernel, 3));
    if (grouped)
      copyQueries();
  }

  /// Rows of several heads in turn: no box of the tensor, so that the threads copy them.
  void copyQueries() {
    tile::CopyAsyncOp::create(b, Value(b.argument(kernel, 0)), Value(at.batch), Value(at.head), Value(at.firstRow),
                              Value(qTile), Value(), /*block=*/1, uint32_t(at.getGroup()));
    tile::CopyCommitOp::create(b);
    tile::CopyWaitOp::create(b, 0);
    tile::FenceAsyncOp::create(b);
    b.barrier();
  }

  /// The slot of the i-th block and the parity of its turn.
  std::pair<Val, Val> slotOf(Val i) { return HopperRings::slotOf(keyRing, i); }

  //===--------------------------------------------------------------------===//
  // Producer
  //===--------------------------------------------------------------------===//

  /// The keys of a step, or this thread block's share of them, for its whole cluster; the rest comes from the others.
  void loadKeys(unsigned argument, Val i, Val target, Val barriers, Val slot) {
    expect(barriers, slot, cast<tile::SharedType>(target.getType()).getBytes());
    if (shape.hasBlocks())
      return at.lists->load(b.argument(kernel, argument), at.batch, at.kvHead, i, target, barriers, slot);
    Val row = at.getStart(i), share;
    if (cluster > 1) {
      share = b.id(tile::Id::BlockX) % double(cluster) * double(tileN / cluster);
      row = row + share;
    }
    tile::TmaLoadOp::create(b, Value(b.argument(kernel, argument)), Value(at.batch), Value(at.kvHead), Value(row),
                            Value(target), Value(barriers), Value(slot), Value(share), /*evict_last=*/true,
                            /*evict_first=*/false, /*multicast=*/cluster > 1);
  }

  void loadQueries() {
    expect(qFull, b.i32(0), cast<tile::SharedType>(qTile.getType()).getBytes());
    tile::TmaLoadOp::create(b, Value(b.argument(kernel, 0)), Value(at.batch), Value(at.head), Value(at.firstRow),
                            Value(qTile), Value(qFull), Value(b.i32(0)), /*evictLast=*/false);
  }

  /// Block i of the tile, whose first block was the `base`-th of this kernel.
  void fill(unsigned argument, const Ring &ring, Val base, Val i) {
    auto [slot, parity] = slotOf(base + i);
    wait(ring.empty, slot, parity ^ 1.0);
    loadKeys(argument, i, b.slice(ring.tiles, slot), ring.full, slot);
  }

  /// Writes the tile's number, once every consumer thread has read the one before.
  void announce(Val index, Val turn) {
    wait(numberRead, b.i32(0), (turn & 1.0) ^ 1.0);
    b.store(index, tileNumber, {b.i32(0)});
  }

  /// Hands on the queries of one tile, and its keys and values in the order in
  /// which the consumers release the slots.
  void produceTile(Val index, Val base, Val turn) {
    at.locate(index);
    if (cluster > 1)
      at.joinCluster();
    fill(1, keyRing, base, b.i32(0));
    if (persistent) {
      wait(qEmpty, b.i32(0), (turn & 1.0) ^ 1.0);
      announce(index, turn);
    }
    if (!grouped)
      loadQueries();
    b.forRange(b.i32(1), at.visited.count, b.i32(1), [&](Val i) {
      fill(1, keyRing, base, i);
      fill(2, valueRing, base, i - 1.0);
    });
    fill(2, valueRing, base, at.visited.count - 1.0);
  }

  void produce() {
    Val elected = b.wrap(tile::ElectOp::create(b, b.getI1Type()));
    b.ifThen((b.id(tile::Id::Warp) == b.i32(0)) & elected, [&] {
      Val zero = b.i32(0), first = b.id(tile::Id::BlockX);
      if (!persistent)
        return produceTile(first, zero, zero);
      Val counter = b.argument(kernel, outArgument + 2);
      int64_t blocks = std::min(tiles, kHopperMultiprocessors);
      auto hasTile = [&](ArrayRef<Val> state) { return state[0] < double(tiles); };
      SmallVector<Val> end = b.whileLoop({first, zero, zero}, hasTile, [&](ArrayRef<Val> state) {
        produceTile(state[0], state[1], state[2]);
        // Asked for when the last loads are under way: a tile that is reserved
        // earlier could be started sooner by another block.
        Val next = b.atomic(tile::Combine::Add, b.i32(1), counter, {zero}) + double(blocks);
        return SmallVector<Val>{next, state[1] + at.visited.count, state[2] + 1.0};
      });
      // A number beyond the last tile sends the consumers home.
      wait(qEmpty, zero, (end[2] & 1.0) ^ 1.0);
      announce(end[0], end[2]);
      tile::BarrierArriveOp::create(b, Value(qFull), Value(zero), Value(b.constant(b.getI1Type(), 1)));
    });
  }

  //===--------------------------------------------------------------------===//
  // Consumers
  //===--------------------------------------------------------------------===//

  void arrive(Val barriers, Val slot) { HopperRings::arrive(barriers, slot, leader); }

  /// Gives a slot back to every block that fills it.
  void release(const Ring &ring, Val slot) {
    if (cluster == 1)
      return arrive(ring.empty, slot);
    // A thread for each block of the cluster.
    tile::BarrierArriveOp::create(b, Value(ring.empty), Value(slot), Value(thread & double(cluster - 1)),
                                  Value((thread & 127.0) < double(cluster)));
  }

  /// Gives back what is loaded for other tiles of the cluster only.
  void skip(Val base) {
    b.forRange(b.i32(0), at.skipped, b.i32(1), [&](Val i) {
      auto [slot, parity] = slotOf(base + i);
      for (const Ring &ring : {keyRing, valueRing}) {
        wait(ring.full, slot, parity);
        release(ring, slot);
      }
    });
  }

  /// The consumers wait for their turn before they issue products.
  bool hasTurns() { return consumers > 1 && request.schedule.getPingPong(); }

  void turnBarrier(Val turn, bool arriving) {
    if (hasTurns())
      tile::BarrierOp::create(b, Value(turn + double(kTurnBarrier)), b.getI32IntegerAttr(256), arriving);
  }

  Val multiplyKeys(Val slot) {
    return b.wrap(tile::WgmmaOp::create(b, math.getScoresType(), Value(qTile), Value(groupRow),
                                        Value(b.slice(keyRing.tiles, slot)), Value(), /*transposed=*/true));
  }

  Val multiplyValues(const State &state, Val slot) {
    return b.wrap(tile::WgmmaOp::create(b, state.acc.getType(), Value(state.weights), Value(),
                                        Value(b.slice(valueRing.tiles, slot)), Value(state.acc), false));
  }

  Val toLhs(Val weights) {
    Type type = tile::getLhsType(kGroupRows, tileN, shape.element);
    return b.wrap(tile::ToLhsOp::create(b, type, Value(weights)));
  }

  /// The tokens of a fragment's rows, counted from the tile's first.
  Val getTokens(Type type) {
    return divideBy(b.wrap(tile::RowIndexOp::create(b, type, Value(groupRow))), at.getGroup());
  }

  Val hide(Val scores, Val i) {
    if (!shape.hasBlocks())
      return at.hide(scores, i);
    Type index = tile::getAccType(kGroupRows, tileN, b.getI32Type());
    Val position = grouped ? getTokens(index) + at.position : at.groupPosition;
    return math.hide(scores, at.lists->getKeys(index, i), position, /*listed=*/Val());
  }

  /// Which rows list the block of step i, if they have lists of their own.
  Val findListed(Val i) {
    if (!hasRowLists() || at.lists->getBoxes() > 1)
      return Val();
    return at.lists->getListed(getTokens(tile::getRowsType(kGroupRows, b.getI32Type())), i);
  }

  /// The same for a step of several blocks, of which a row may see some.
  Val hideUnlisted(Val scores, Val i) {
    if (!hasRowLists() || at.lists->getBoxes() == 1)
      return scores;
    Type rows = tile::getRowsType(kGroupRows, b.getF32Type());
    return scores + at.lists->chooseListed(scores.getType(), getTokens(tile::getRowsType(kGroupRows, b.getI32Type())),
                                           i, b.constant(rows, 0.0), b.constant(rows, -INFINITY));
  }

  bool hasRowLists() const { return at.lists && at.lists->hasSeveralRows(); }

  /// The first block: no products with values yet, nothing to correct.
  State begin(Val base) {
    auto [slot, parity] = slotOf(base);
    wait(keyRing.full, slot, parity);
    Val scores = waitFor(multiplyKeys(slot), 0);
    release(keyRing, slot);
    bool masked = shape.causal || shape.keys % tileN || outArgument > 3;
    scores = math.cap(scores);
    if (masked)
      scores = hide(scores, b.i32(0));
    scores = hideUnlisted(scores, b.i32(0));
    SoftmaxStep step = math.softmax(scores, Val(), Val(), /*mayBeEmpty=*/masked, /*lazy=*/false, findListed(b.i32(0)));
    Val acc = b.constant(tile::getAccType(kGroupRows, shape.valueDim, b.getF32Type()), 0.0);
    return {acc, toLhs(step.weights), step.maximum, step.sum};
  }

  /// Block i: its scores, and behind them the product of the block before.
  State iterate(Val base, Val i, const State &state, bool masked) {
    auto [slot, parity] = slotOf(base + i);
    auto [slotBefore, parityBefore] = slotOf(base + i - 1.0);
    wait(keyRing.full, slot, parity);
    turnBarrier(group, /*arriving=*/false);
    Val scores = multiplyKeys(slot);
    wait(valueRing.full, slotBefore, parityBefore);
    Val acc = multiplyValues(state, slotBefore);
    turnBarrier(nextGroup, /*arriving=*/true);
    scores = math.cap(waitFor(scores, 1));
    release(keyRing, slot);
    if (masked)
      scores = hide(scores, i);
    scores = hideUnlisted(scores, i);
    SoftmaxStep step = math.softmax(scores, state.maximum, state.sum, masked || hasRowLists(), lazy, findListed(i));
    acc = waitFor(acc, 0);
    release(valueRing, slotBefore);
    auto correct = [&] { return SmallVector<Val>{acc * math.broadcast(step.correction, acc.getType())}; };
    acc = lazy ? b.ifElse(step.corrects, correct, [&] { return SmallVector<Val>{acc}; })[0] : correct()[0];
    return {acc, toLhs(step.weights), step.maximum, step.sum};
  }

  State loop(Val base, Val lower, Val upper, const State &init, bool masked) {
    SmallVector<Val> result = b.forRange(
        lower, upper, b.i32(1), {init.acc, init.weights, init.maximum, init.sum}, [&](Val i, ArrayRef<Val> carried) {
          State next = iterate(base, i, {carried[0], carried[1], carried[2], carried[3]}, masked);
          return SmallVector<Val>{next.acc, next.weights, next.maximum, next.sum};
        });
    return {result[0], result[1], result[2], result[3]};
  }

  /// True if only the first block that is visited can cross the diagonal.
  bool hasOneDiagonalBlock() { return !shape.isPooled() && tileN % tileM == 0 && shape.getOffset() % tileM == 0; }

  State visitAll(Val base) {
    State state = begin(base);
    Val next = b.i32(1);
    if (shape.hasBlocks()) {
      if (!at.lists->hasOneMaskedStep()) {
        state = loop(base, next, at.lists->masked, state, /*masked=*/true);
        next = at.lists->masked;
      }
      return loop(base, next, at.visited.count, state, /*masked=*/false);
    }
    if (shape.causal ? !hasOneDiagonalBlock() : shape.documents) {
      Val until = b.max(b.min(at.visited.end - at.countPlain(), at.visited.count), next);
      state = loop(base, next, until, state, /*masked=*/true);
      next = until;
    }
    if (shape.window <= 0 && !shape.documents)
      return loop(base, next, at.visited.count, state, /*masked=*/false);
    Val until = at.visited.end - (at.getLeftEdge() + double(tileN - 1)) / double(tileN);
    until = b.max(b.min(until, at.visited.end - at.visited.first), next);
    state = loop(base, next, until, state, /*masked=*/false);
    return loop(base, until, at.visited.count, state, /*masked=*/true);
  }

  void consumeTile(Val index, Val base) {
    at.locate(index);
    at.locateGroup(groupRow);
    if (cluster > 1) {
      skip(base);
      base = base + at.skipped;
    }
    State state = visitAll(base);
    if (ownOutput)
      arrive(qEmpty, b.i32(0));
    auto [slot, parity] = slotOf(base + at.visited.count - 1.0);
    wait(valueRing.full, slot, parity);
    Val acc = waitFor(multiplyValues(state, slot), 0);
    if (persistent)
      release(valueRing, slot);
    store(acc, state);
  }

  void consume() {
    group = b.id(tile::Id::Warpgroup) - 1.0;
    nextGroup = b.select(group == double(consumers - 1), b.i32(0), group + 1.0);
    leader = (thread & 127.0) == 0.0;
    groupRow = group * double(kGroupRows);
    // The last consumer gives the first one its first turn, and takes back the
    // one that is left over in the end.
    if (hasTurns())
      b.ifThen(group == double(consumers - 1), [&] { turnBarrier(b.i32(0), /*arriving=*/true); });
    Val zero = b.i32(0);
    if (persistent) {
      b.whileLoop(
          {zero, zero},
          [&](ArrayRef<Val> state) {
            wait(qFull, zero, state[1] & 1.0);
            return b.load(tileNumber, {zero}) < double(tiles);
          },
          [&](ArrayRef<Val> state) {
            Val index = b.load(tileNumber, {zero});
            tile::BarrierArriveOp::create(b, Value(numberRead), Value(zero), Value(b.constant(b.getI1Type(), 1)));
            consumeTile(index, state[0]);
            return SmallVector<Val>{state[0] + at.visited.count, state[1] + 1.0};
          });
    } else {
      if (!grouped)
        wait(qFull, zero, zero);
      consumeTile(b.id(tile::Id::BlockX), zero);
    }
    b.ifThen(leader, [&] { tile::TmaStoreWaitOp::create(b); });
    if (hasTurns())
      b.ifThen(group == 0.0, [&] { turnBarrier(b.i32(0), /*arriving=*/false); });
  }

  void meetGroup() {
    tile::BarrierOp::create(b, Value(group + double(kOutputBarrier)), b.getI32IntegerAttr(128), /*arrive=*/false);
  }

  void store(Val acc, const State &state) {
    auto [inverse, lse] = math.finish(state.maximum, state.sum);
    acc = acc * math.broadcast(inverse, acc.getType());
    if (grouped)
      return storeGrouped(acc, lse);
    Val row = at.firstRow + groupRow;
    tile::StoreRowsOp::create(b, Value(lse), Value(b.argument(kernel, outArgument + 1)), Value(at.batch),
                              Value(at.head), Value(row));
    if (ownOutput) {
      // The copy of the tile before must have read the memory.
      b.ifThen(leader, [&] { tile::TmaStoreWaitOp::create(b); });
      meetGroup();
    }
    tile::StoreMatrixOp::create(b, Value(acc), Value(oTile), Value(groupRow));
    tile::FenceAsyncOp::create(b);
    meetGroup();
    b.ifThen(leader, [&] {
      tile::TmaStoreOp::create(b, Value(oTile), Value(groupRow), Value(b.argument(kernel, outArgument)),
                               Value(at.batch), Value(at.head), Value(row));
      if (persistent && !ownOutput) {
        tile::TmaStoreWaitOp::create(b);
        arrive(qEmpty, b.i32(0));
      }
    });
  }

  void storeGrouped(Val acc, Val lse) {
    uint32_t group = uint32_t(at.getGroup());
    Val token = at.firstRow + divideBy(groupRow, group);
    tile::StoreTileOp::create(b, Value(acc), Value(b.argument(kernel, outArgument)), Value(at.batch), Value(at.head),
                              Value(token), Value(), Value(), group);
    tile::StoreRowsOp::create(b, Value(lse), Value(b.argument(kernel, outArgument + 1)), Value(at.batch),
                              Value(at.head), Value(token), group);
  }

  const KernelRequest &request;
  AttendShape shape;
  int64_t tileM, tileN, stages, consumers, cluster;
  bool persistent, ownOutput, lazy;
  /// The output's position among the arguments; the LSE follows it.
  unsigned outArgument;
  AttendOp op;
  AttendMath math;
  HopperTile at;
  int64_t tiles;
  /// Whether a tile has rows of several heads.
  bool grouped;
  tile::KernelOp kernel;
  Val thread;
  Val qTile, oTile, qFull, qEmpty, tileNumber, numberRead;
  Ring keyRing, valueRing;
  // In a consumer: its number, who is next, its first row, and whether this thread speaks for it.
  Val group, nextGroup, groupRow, leader;
};

} // namespace

void fresnel::lowerHopperAttend(AttendOp op, const KernelRequest &request, KernelBuilder &builder) {
  HopperAttendKernel(op, request, builder).write();
}
