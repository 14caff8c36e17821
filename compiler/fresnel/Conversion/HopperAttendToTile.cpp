//===- HopperAttendToTile.cpp - The consumers of attention ----------------===//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//

#include "fresnel/Conversion/HopperAttendKernel.h"

using namespace mlir;
using namespace fresnel;

namespace {

/// Named barriers: the consumers' turns, then one per consumer for its output.
constexpr int64_t kTurnBarrier = 1, kOutputBarrier = 4;

/// `for (;;) { again, values = head(carried); if (!again) return values; carried = body(values); }`
static SmallVector<Val> loopFromHead(KernelBuilder &b, ArrayRef<Val> init,
                                     function_ref<std::pair<Val, SmallVector<Val>>(ArrayRef<Val>)> head,
                                     function_ref<SmallVector<Val>(ArrayRef<Val>)> body) {
  OpBuilder::InsertionGuard guard(b);
  auto toValues = [](ArrayRef<Val> vals) { return llvm::map_to_vector(vals, [](Val val) { return Value(val); }); };
  auto wrap = [&](ValueRange values) {
    return llvm::map_to_vector(values, [&](Value value) { return b.wrap(value); });
  };
  auto getTypes = [](ValueRange values) { return SmallVector<Type>(values.getTypes()); };
  SmallVector<Value> initial = toValues(init);
  SmallVector<Type> types = getTypes(initial);
  Region before;
  SmallVector<Location> locs(types.size(), b.getLoc());
  Block *insertion = b.getInsertionBlock();
  Block::iterator point = b.getInsertionPoint();
  Block *headBlock = b.createBlock(&before, {}, types, locs);
  auto [again, values] = head(wrap(headBlock->getArguments()));
  SmallVector<Value> passed = toValues(values);
  scf::ConditionOp::create(b, Value(again), passed);
  b.setInsertionPoint(insertion, point);
  auto loop = scf::WhileOp::create(b, getTypes(passed), initial);
  loop.getBefore().takeBody(before);
  locs.assign(passed.size(), b.getLoc());
  Block *bodyBlock = b.createBlock(&loop.getAfter(), {}, getTypes(passed), locs);
  scf::YieldOp::create(b, toValues(body(wrap(bodyBlock->getArguments()))));
  return wrap(loop.getResults());
}

/// What a consumer carries from one key block to the next: the accumulator, the weights of the block before as a left
/// operand (a fragment, or the tile in which they are), and the rows' maximum and sum.
struct State {
  Val acc, weights, maximum, sum;
};

/// Where a consumer's first row lies, and the tile that the output leaves from.
struct Place {
  Val batch, head, row, output;
};

class HopperAttendConsumers final : public HopperAttendKernel {
public:
  using HopperAttendKernel::HopperAttendKernel;

private:
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
      meet(turn + double(kTurnBarrier), 256, arriving);
  }

  Val multiplyKeys(Val slot) {
    Value queries = held ? qLhs : qTile, row = held ? Val() : groupRow;
    return b.wrap(tile::WgmmaOp::create(b, math.getScoresType(), queries, row, Value(b.slice(keyRing.tiles, slot)),
                                        Value(), /*transposed=*/true));
  }

  Val multiplyValues(const State &state, Val slot) {
    return b.wrap(tile::WgmmaOp::create(b, state.acc.getType(), Value(state.weights), sharedWeights ? groupRow : Val(),
                                        Value(b.slice(valueRing.tiles, slot)), Value(state.acc), false));
  }

  /// Weights as a left operand. If it is in shared memory, the product that reads those of the block before has ended;
  /// the one that reads these begins once all of the warpgroup have met, be it for their turn.
  Val toLhs(Val weights) {
    Type type = tile::getLhsType(kGroupRows, tileN, shape.element);
    Val fragment = b.wrap(tile::ToLhsOp::create(b, type, Value(weights)));
    if (!sharedWeights)
      return fragment;
    tile::StoreMatrixOp::create(b, Value(fragment), Value(weightTile), Value(groupRow));
    tile::FenceAsyncOp::create(b);
    if (!hasTurns())
      meetGroup();
    return weightTile;
  }

  /// The last product of a tile, or of all tiles, which has no turn.
  Val multiplyLast(const State &state, Val slot) {
    if (sharedWeights && hasTurns())
      meetGroup();
    return waitFor(multiplyValues(state, slot), 0);
  }

  Val getRowTokens() { return getTokens(tile::getRowsType(kGroupRows, b.getI32Type())); }
  /// The tokens of a fragment's rows, counted from the tile's first.
  Val getTokens(Type type) {
    return divideBy(b.wrap(tile::RowIndexOp::create(b, type, Value(groupRow))), at.getGroup());
  }

  Val hide(Val scores, Val i) {
    if (!shape.hasBlocks())
      return at.hide(scores, i);
    Type index = tile::getAccType(kGroupRows, tileN, b.getI32Type());
    Val position = grouped ? getTokens(index) + at.position : at.groupPosition, keys = at.lists->getKeys(index, i);
    return math.hide(scores, keys, position, at.isWithin(keys));
  }

  /// Which rows list the block of step i, if they have lists of their own.
  Val findListed(Val i) {
    return hasRowLists() && at.lists->getBoxes() == 1 ? at.lists->getListed(getRowTokens(), i) : Val();
  }

  /// The same for a step of several blocks, of which a row may see some.
  Val hideUnlisted(Val scores, Val i) {
    if (!hasRowLists() || at.lists->getBoxes() == 1)
      return scores;
    Type rows = tile::getRowsType(kGroupRows, b.getF32Type());
    return scores + at.lists->chooseListed(scores.getType(), getRowTokens(), i, b.constant(rows, 0.0),
                                           b.constant(rows, -INFINITY));
  }

  bool hasRowLists() const { return at.lists && at.lists->hasSeveralRows(); }

  Val clearAcc() { return b.constant(tile::getAccType(kGroupRows, shape.valueDim, b.getF32Type()), 0.0); }

  bool isFirstMasked() { return shape.causal || shape.keys % tileN || outArgument > 3; }

  /// The first block: no products with values yet, nothing to correct.
  State begin(Val base) {
    auto [slot, parity] = slotOf(base);
    wait(keyRing.full, slot, parity);
    Val scores = waitFor(multiplyKeys(slot), 0);
    release(keyRing, slot);
    bool masked = isFirstMasked();
    scores = math.cap(scores);
    scores = hideUnlisted(masked ? hide(scores, b.i32(0)) : scores, b.i32(0));
    SoftmaxStep step = math.softmax(scores, Val(), Val(), /*mayBeEmpty=*/masked, /*lazy=*/false, findListed(b.i32(0)));
    if (reusesWeights)
      waitForOutput();
    return {clearAcc(), toLhs(step.weights), step.maximum, step.sum};
  }

  /// Block i: its scores, and behind them the product of the block before. If that ends the tile before, the rows
  /// start anew once `finish` has got its sums.
  State iterate(Val base, Val i, const State &state, bool masked, function_ref<void(Val)> finish = {}) {
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
    scores = hideUnlisted(masked ? hide(scores, i) : scores, i);
    Val maximum = finish ? Val() : state.maximum, sum = finish ? Val() : state.sum;
    // Where one tile leads to the next, the bounds of documents have the registers that the sums would need.
    int64_t weighed = finish && shape.documents ? 0 : early;
    SoftmaxStep step = math.softmax(scores, maximum, sum, masked || hasRowLists(), lazy, findListed(i), weighed);
    if (weighed)
      tile::AnchorOp::create(b, Value(step.early), Value(b.slice(scratch, group)));
    acc = waitFor(acc, 0);
    release(valueRing, slotBefore);
    if (finish) {
      finish(acc);
      return {clearAcc(), toLhs(step.weights), step.maximum, step.sum};
    }
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

  /// All blocks but the first. `between` is written behind those at the diagonal.
  State visitRest(Val base, State state, function_ref<void()> between = [] {}) {
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
    between();
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
    State state = visitRest(base, begin(base));
    if (ownOutput)
      arrive(queryRing.empty, b.i32(0));
    auto [slot, parity] = slotOf(base + at.visited.count - 1.0);
    wait(valueRing.full, slot, parity);
    Val acc = multiplyLast(state, slot);
    if (persistent)
      release(valueRing, slot);
    store(acc, state, {at.batch, at.head, at.firstRow + groupRow, oTile});
  }

  /// Waits for the queries of a turn and returns their slot, in which the tile's number stands.
  Val waitForTile(Val turn) {
    auto [slot, parity] = HopperRings::slotOf(queryRing, turn);
    wait(queryRing.full, slot, parity);
    return slot;
  }

  /// Every thread says that it has read the number in a slot.
  void releaseNumber(Val slot) { HopperRings::arrive(numberRead, slot, b.constant(b.getI1Type(), 1)); }

  Val getQueries(Val turn) {
    Val slot = HopperRings::slotOf(queryRing, turn).first;
    return b.slice(queryRing.tiles, held ? slot * double(consumers) + group : slot);
  }

  void enterTile(Val index, Val turn, ArrayRef<Val> bounds = {}) {
    at.locate(index, bounds);
    at.locateGroup(groupRow, bounds);
    qTile = getQueries(turn);
  }

  void holdQueries() {
    if (held)
      qLhs = b.wrap(
          tile::LoadLhsOp::create(b, tile::getLhsType(kGroupRows, shape.headDim, shape.element), Value(qTile), 0));
  }

  Val getOutput(Val turn) { return ownOutput ? oTile : getQueries(turn); }

  /// Once the output of the tile before has left the queries' place, if there is one.
  void releaseQueries(Val turn) {
    b.ifThen(leader & (turn > 0.0), [&] {
      tile::TmaStoreWaitOp::create(b);
      HopperRings::arrive(queryRing.empty, HopperRings::slotOf(queryRing, turn - 1.0).first,
                          b.constant(b.getI1Type(), 1));
    });
  }

  /// Tile after tile. The head of the loop visits the blocks of one but for the first, and its body leads over to the
  /// next; the number of a thread block's first tile is that of the block.
  void consumeChained() {
    Val zero = b.i32(0), first = b.id(tile::Id::BlockX);
    releaseNumber(waitForTile(zero));
    enterTile(first, zero);
    holdQueries();
    State begun = begin(zero);
    // What is known of a tile goes with it: its queries, if they are held, and the bounds of its documents.
    auto addKnown = [&](SmallVector<Val> values) {
      if (held)
        values.push_back(qLhs);
      values.append(at.getBounds());
      return values;
    };
    SmallVector<Val> init = addKnown({begun.acc, begun.weights, begun.maximum, begun.sum, first, zero, zero});
    auto getState = [](ArrayRef<Val> values) { return State{values[0], values[1], values[2], values[3]}; };
    auto visit = [&](ArrayRef<Val> carried) {
      Val index = carried[4], base = carried[5], turn = carried[6];
      enterTile(index, turn, carried.drop_front(held ? 8 : 7));
      if (held)
        qLhs = carried[7];
      State state = visitRest(base, getState(carried), [&] {
        if (!ownOutput)
          releaseQueries(turn);
      });
      if (ownOutput)
        arrive(queryRing.empty, HopperRings::slotOf(queryRing, turn).first);
      Val slot = waitForTile(turn + 1.0), next = b.load(tileNumber, {slot});
      releaseNumber(slot);
      return std::pair{next < double(tiles), SmallVector<Val>{state.acc, state.weights, state.maximum, state.sum, next,
                                                              base + at.visited.count, turn + 1.0, at.batch, at.head,
                                                              at.firstRow + groupRow}};
    };
    // Of the tile that ends.
    auto getPlace = [&](ArrayRef<Val> carried) {
      return Place{carried[7], carried[8], carried[9], getOutput(carried[6] - 1.0)};
    };
    auto lead = [&](ArrayRef<Val> carried) {
      State last = getState(carried);
      Val next = carried[4], base = carried[5], turn = carried[6];
      Place place = getPlace(carried);
      enterTile(next, turn);
      holdQueries();
      State state = iterate(base, zero, last, isFirstMasked(), [&](Val acc) { store(acc, last, place); });
      return addKnown({state.acc, state.weights, state.maximum, state.sum, next, base, turn});
    };
    SmallVector<Val> end = loopFromHead(b, init, visit, lead);
    State last = getState(end);
    auto [slot, parity] = slotOf(end[5] - 1.0);
    wait(valueRing.full, slot, parity);
    store(multiplyLast(last, slot), last, getPlace(end));
  }

  void consume() override {
    group = b.id(tile::Id::Warpgroup) - 1.0;
    nextGroup = b.select(group == double(consumers - 1), b.i32(0), group + 1.0);
    leader = (thread & 127.0) == 0.0;
    groupRow = group * double(kGroupRows);
    // The last consumer gives the first one its first turn, and takes back the
    // one that is left over in the end.
    if (hasTurns())
      b.ifThen(group == double(consumers - 1), [&] { turnBarrier(b.i32(0), /*arriving=*/true); });
    Val zero = b.i32(0);
    if (chained) {
      consumeChained();
    } else if (persistent) {
      b.whileLoop(
          {zero, zero},
          [&](ArrayRef<Val> state) { return b.load(tileNumber, {waitForTile(state[1])}) < double(tiles); },
          [&](ArrayRef<Val> state) {
            Val index = b.load(tileNumber, {zero});
            releaseNumber(zero);
            consumeTile(index, state[0]);
            return SmallVector<Val>{state[0] + at.visited.count, state[1] + 1.0};
          });
    } else {
      if (!grouped)
        waitForTile(zero);
      consumeTile(b.id(tile::Id::BlockX), zero);
    }
    b.ifThen(leader, [&] { tile::TmaStoreWaitOp::create(b); });
    if (hasTurns())
      b.ifThen(group == 0.0, [&] { turnBarrier(b.i32(0), /*arriving=*/false); });
  }

  void meetGroup() { meet(group + double(kOutputBarrier), 128); }

  /// The copy of the tile before must have read the memory.
  void waitForOutput() {
    b.ifThen(leader, [&] { tile::TmaStoreWaitOp::create(b); });
    meetGroup();
  }

  void store(Val acc, const State &state, const Place &place) {
    auto [inverse, lse] = math.finish(state.maximum, state.sum);
    acc = acc * math.broadcast(inverse, acc.getType());
    if (grouped)
      return storeGrouped(acc, lse);
    tile::StoreRowsOp::create(b, Value(lse), Value(b.argument(kernel, outArgument + 1)), Value(place.batch),
                              Value(place.head), Value(place.row));
    if (ownOutput && !reusesWeights)
      waitForOutput();
    tile::StoreMatrixOp::create(b, Value(acc), Value(place.output), Value(groupRow));
    tile::FenceAsyncOp::create(b);
    meetGroup();
    b.ifThen(leader, [&] {
      tile::TmaStoreOp::create(b, Value(place.output), Value(groupRow), Value(b.argument(kernel, outArgument)),
                               Value(place.batch), Value(place.head), Value(place.row));
      if (persistent && !ownOutput && !chained) {
        tile::TmaStoreWaitOp::create(b);
        arrive(queryRing.empty, b.i32(0));
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

  /// Its queries, if they are held in registers.
  Val qLhs;
  // A consumer's number, who is next, its first row, and whether this thread speaks for it.
  Val group, nextGroup, groupRow, leader;
};

} // namespace

void fresnel::lowerHopperAttend(AttendOp op, const KernelRequest &request, KernelBuilder &builder) {
  HopperAttendConsumers(op, request, builder).write();
}
