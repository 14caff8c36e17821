//===- HopperListGradKv.cpp - Gradients of keys and values over block lists -===//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
//
// A thread block owns 128 keys, 64 for each consumer: of one block, which the consumers walk together, or of two, which
// each walks alone. A walk, or a piece of one (HopperListWalks.h), visits the queries that list the block, in steps of
// 64 rows: tokens of one head, or fewer tokens of several heads that share their lists. A warp of the producer scans
// the block's row of the transposed lists, fetches a step's queries and gradients of the output with bulk copies, and
// puts LSE and delta of each row beside them: an infinite LSE where the row does not list the block, so that the
// consumers know no lists. Scores are computed transposed, keys by queries, and are with their gradients left operands
// of the products that sum dV and dK, in registers.
//
//===----------------------------------------------------------------------===//

#include "fresnel/Conversion/AttendGradMath.h"
#include "fresnel/Conversion/BlockLists.h"
#include "fresnel/Conversion/HopperListBits.h"
#include "fresnel/Conversion/HopperRings.h"
#include "fresnel/Conversion/ToTile.h"
#include "fresnel/Schedule/HopperLists.h"
#include <cmath>

using namespace mlir;
using namespace fresnel;

namespace {

constexpr int64_t kGroupRows = 64, kConsumers = 2;
constexpr int64_t kRows = ListSteps::kRows, kLanes = 32, kThreads = 128 * (kConsumers + 1);
/// The named barriers of the first consumer's own threads, the others' follow, and of all consumers.
constexpr int64_t kOwnBarrier = 1, kAllBarrier = kOwnBarrier + kConsumers;

/// The producer walks lists, for which 24 would not do: 168 * 3 = 40 + 2 * 232.
constexpr int64_t kProducerRegisters = 40, kConsumerRegisters = 232;

/// The kernel's arguments. Bounds are there if there are documents; counts of rows, sums and turns if walks may be cut.
enum Argument : unsigned { kQ, kK, kV, kLse, kDelta, kDout, kBits, kDocuments, kCounts, kDk, kDv, kSums, kTurns };

class HopperListGradKv : HopperRings {
public:
  HopperListGradKv(AttendGradKvOp op, const KernelRequest &request, KernelBuilder &builder)
      : HopperRings(builder), request(request), shape(op), steps(getListSteps(op)),
        stages(request.schedule.getStages()), keyRows(getListKeys(op)), walkKeys(getWalkKeys(op)),
        walks(keyRows / walkKeys), blocks(getWalkBlocks(op)), wide(keyRows < kConsumers * kGroupRows),
        pieces(builder, shape, op.getCounts() ? getListCuts(op) : ListCuts(), walkKeys, walks, getSection(), kThreads),
        bits(builder, shape, steps, pieces, walkKeys, cast<RankedTensorType>(op.getBlocks().getType()).getDimSize(3)),
        math(builder, shape, Owner::Keys, kGroupRows, kRows) {}

  void write() {
    kernel = b.beginKernel(request.getName(), getArgumentTypes(), kThreads, {pieces.countThreadBlocks(), 1, 1});
    if (pieces.hasCuts()) {
      kernel->setAttr(kScratchAttr, b.getI64IntegerAttr(ShapedType::getNumElements(getSumsType().getShape())));
      kernel->setAttr(kCountersAttr, b.getI64IntegerAttr(ShapedType::getNumElements(getTurnsType().getShape())));
    }
    allocate();
    initialise();
    writeRoles(kConsumers, {kProducerRegisters, kConsumerRegisters}, [&] { produce(); }, [&] { consume(); });
  }

private:
  /// One head after the other by default: its queries, which walks of many blocks read, come through L2.
  int64_t getSection() const {
    return std::clamp<int64_t>(request.schedule.getSection(), 1, shape.kvHeads * shape.batches);
  }

  Val argument(Argument which) {
    return b.argument(kernel,
                      which - (which > kDocuments && !shape.documents) - (which > kCounts && !pieces.hasCuts()));
  }

  /// dK and dV of each consumer of a walk that is cut, and whose turn it is to add to them.
  tile::GlobalType getSumsType() {
    return tile::GlobalType::get(b.getContext(),
                                 {pieces.countSums(), kConsumers / walks, wide ? 1 : 2, kGroupRows * shape.headDim},
                                 b.getF32Type(), /*strided=*/false);
  }
  tile::GlobalType getTurnsType() {
    return tile::GlobalType::get(b.getContext(), {pieces.countSums(), kConsumers / walks}, b.getI32Type(),
                                 /*strided=*/false);
  }

  SmallVector<Type> getArgumentTypes() {
    auto map = [&](int64_t rows, int64_t heads = 1) -> Type {
      return tile::TensorMapType::get(b.getContext(), rows, 64, shape.element, heads);
    };
    SmallVector<Type> types(request.views.begin(), request.views.end());
    types[kQ] = types[kDout] = map(steps.tokens, steps.group);
    types[kK] = types[kV] = map(kGroupRows);
    types.end()[-1] = types.end()[-2] = map(kGroupRows);
    if (pieces.hasCuts())
      types.append({getSumsType(), getTurnsType()});
    return types;
  }

  void allocate() {
    owned = b.alloc({2, keyRows, shape.headDim}, shape.element, tile::Layout::Swizzled);
    keyTile = b.slice(owned, b.i32(0));
    valueTile = b.slice(owned, b.i32(1));
    // The slots of each walk, one after the other.
    int64_t slots = walks * stages;
    queries = allocRing(slots, kRows, shape.headDim, shape.element);
    queries.stages = stages;
    douts = b.alloc({slots, kRows, shape.headDim}, shape.element, tile::Layout::Swizzled);
    lses = b.alloc({slots * blocks, kRows}, b.getF32Type());
    deltas = b.alloc({slots, kRows}, b.getF32Type());
    tokens = b.alloc({slots}, b.getI32Type());
    counters = b.alloc({walks}, b.getI32Type());
    keysFull = allocBarriers(walks);
    pieces.allocate();
  }

  void initialise() {
    thread = b.id(tile::Id::Thread);
    b.ifThen(thread == b.i32(0), [&] {
      for (Argument i : {kQ, kK, kV, kDout, kDk, kDv})
        tile::PrefetchMapOp::create(b, Value(argument(i)));
      // The copies, and each lane that writes values of rows.
      initBarriers(queries.full, 1 + kLanes);
      // Each thread, which reads values by itself.
      initBarriers(queries.empty, 128 * kConsumers / walks);
      initBarriers(keysFull, 1, /*fence=*/true);
      for (int64_t walk = 0; walk < walks; ++walk)
        b.store(b.i32(0), counters, {b.i32(walk)});
    });
    b.barrier();
    locate();
    bits.countSteps(counters, thread, kThreads);
  }

  void locate() {
    Val head = pieces.locate(pieces.hasCuts() ? argument(kCounts) : Val(), thread);
    batch = head / double(shape.kvHeads);
    kvHead = head % double(shape.kvHeads);
    bits.setTensor(argument(kBits), batch, kvHead);
  }

  /// The slot of the i-th step of a walk and the parity of its turn.
  std::pair<Val, Val> getSlot(Val walk, Val i) {
    auto [slot, parity] = slotOf(queries, i);
    return {walks == 1 ? slot : slot + walk * double(stages), parity};
  }

  //===--------------------------------------------------------------------===//
  // Producer
  //===--------------------------------------------------------------------===//

  void load(Argument map, Val head, Val row, Val target, Val barriers, Val slot, Val tileRow = {}) {
    tile::TmaLoadOp::create(b, Value(argument(map)), Value(batch), Value(head), Value(row), Value(target),
                            Value(barriers), Value(slot), Value(tileRow), /*evict_last=*/false, /*evict_first=*/false);
  }

  /// The keys and values of a walk's consumers.
  void loadOwned() {
    int64_t groups = walkKeys / kGroupRows;
    expect(keysFull, walk, 2 * cast<tile::SharedType>(keyTile.getType()).getBytes() / walks);
    for (int64_t group = 0; group < groups; ++group) {
      Val row = own.tile * double(kGroupRows * groups) + double(group * kGroupRows);
      Val tileRow = walk * double(kGroupRows) + double(group * kGroupRows);
      load(kK, kvHead, row, keyTile, keysFull, walk, tileRow);
      load(kV, kvHead, row, valueTile, keysFull, walk, tileRow);
    }
  }

  /// LSE for each block of the walk, and delta of a row of a step.
  struct RowValues {
    Val row;
    SmallVector<Val> lses;
    Val delta;
  };

  /// `listed` are bits of the step's list rows, block by block: those of its first and of its second half.
  RowValues loadValues(int64_t half, Val head, Val token, ArrayRef<Val> listed) {
    // Rows are in the order of the boxes: head by head.
    Val row = lane + double(half * kLanes), local = moduloBy(row, steps.tokens), rowToken = token + local;
    Val inside = rowToken < double(shape.queries), near = b.min(rowToken, b.i32(shape.queries - 1));
    Val rowHead = head + divideBy(row, steps.tokens);
    Val lse = b.load(argument(kLse), {batch, rowHead, near}), delta = b.load(argument(kDelta), {batch, rowHead, near});
    RowValues values{row, {}, b.select(inside, delta, b.f32(0))};
    for (int64_t block = 0; block < blocks; ++block) {
      Val open = inside & (lse > -INFINITY);
      // What is walked for one block lists that.
      if (steps.rows > 1 || blocks > 1) {
        Val bit = steps.rows > 32 ? lane : divideBy(local, shape.queryBlock);
        open = open & (((listed[2 * block + half] >> bit) & 1.0) != 0.0);
      }
      values.lses.push_back(b.select(open, lse * M_LOG2E, b.f32(INFINITY)));
    }
    return values;
  }

  /// The slot of a step's LSE for a block of the walk.
  Val getLseRow(Val slot, Val block) { return b.slice(lses, blocks > 1 ? slot * double(blocks) + block : slot); }

  void produceStep(Val i, Val head, Val token, ArrayRef<Val> listed) {
    auto [slot, parity] = getSlot(walk, i);
    Val query = b.slice(queries.tiles, slot), dout = b.slice(douts, slot);
    // These loads are on their way while the slot is waited for.
    SmallVector<RowValues> values;
    for (int64_t half = 0; half < kRows / kLanes; ++half)
      values.push_back(loadValues(half, head, token, listed));
    wait(queries.empty, slot, parity ^ 1.0);
    b.ifThen(elected, [&, slot = slot] {
      expect(queries.full, slot, 2 * cast<tile::SharedType>(query.getType()).getBytes());
      load(kQ, head, token, query, queries.full, slot);
      load(kDout, head, token, dout, queries.full, slot);
      b.store(token, tokens, {slot});
    });
    Val deltaRow = b.slice(deltas, slot);
    for (const RowValues &value : values) {
      for (auto [block, lse] : llvm::enumerate(value.lses))
        b.store(lse, getLseRow(slot, b.i32(int64_t(block))), {value.row});
      b.store(value.delta, deltaRow, {value.row});
    }
    arrive(queries.full, slot, b.constant(b.getI1Type(), 1));
  }

  void produce() {
    // A warp for each walk.
    walk = b.id(tile::Id::Warp);
    b.ifThen(walk < double(walks), [&] {
      lane = b.id(tile::Id::Lane);
      elected = b.wrap(tile::ElectOp::create(b, b.getI1Type()));
      own = pieces.getPiece(walk);
      b.ifThen(elected, [&] { loadOwned(); });
      bits.forSteps(own, lane,
                    [&](Val i, Val head, Val token, ArrayRef<Val> listed) { produceStep(i, head, token, listed); });
    });
  }

  //===--------------------------------------------------------------------===//
  // Consumers
  //===--------------------------------------------------------------------===//

  /// This consumer's rows of K or V times a tile of a step.
  Val multiplyOwned(Val owned, Val tile) {
    return b.wrap(tile::WgmmaOp::create(b, math.getScoresType(), Value(owned), Value(groupRow), Value(tile), Value(),
                                        /*transposed=*/true));
  }

  Val toLhs(Val weights) {
    Type lhs = tile::getLhsType(kGroupRows, kRows, shape.element);
    return b.wrap(tile::ToLhsOp::create(b, lhs, Value(weights)));
  }

  /// sum + lhs * tile.
  Val accumulate(Val sum, Val lhs, Val tile) {
    return b.wrap(tile::WgmmaOp::create(b, sum.getType(), Value(lhs), Value(), Value(tile), Value(sum), false));
  }

  Val loadColumns(Val row) {
    return b.wrap(tile::LoadColsOp::create(b, math.getScoresType(), Value(row), ValueRange{b.i32(0)}, APFloat(0.0f)));
  }

  /// The pairs of owned keys and rows of a step that the mask opens, or null for all. What
  /// keys beyond the last one sum is not stored.
  Val getVisible(Val slot) {
    if (!shape.causal && !shape.documents)
      return Val();
    Type index = tile::getAccType(kGroupRows, kRows, b.getI32Type());
    Val first = b.load(tokens, {slot}) + double(shape.getOffset());
    Val row = b.wrap(tile::ColIndexOp::create(b, index, Value(b.i32(0))));
    Val position = moduloBy(row, steps.tokens) + first;
    Val visible = isVisible(shape, b.wrap(tile::RowIndexOp::create(b, index, Value(firstKey))), position);
    return shape.documents ? visible & isInDocument(documents, position) : visible;
  }

  /// The weights of a step whose scores have been waited for.
  AttendGradMath::Weights weigh(Val slot, Val scores) {
    // Each warp's keys lie in one block.
    Val lse = loadColumns(getLseRow(slot, blocks > 1 ? (thread >> 6.0) & 1.0 : Val())), visible = getVisible(slot);
    return math.weigh(scores, lse, visible);
  }

  /// Gives back a slot once its products have ended.
  void release(Val slot) { arrive(queries.empty, slot, b.constant(b.getI1Type(), 1)); }

  /// One step: the sums of dK, dV or both come in and go out.
  SmallVector<Val> iterate(bool keys, bool values, Val i, ArrayRef<Val> sums) {
    auto [slot, parity] = getSlot(walk, i);
    Val query = b.slice(queries.tiles, slot), dout = b.slice(douts, slot);
    wait(queries.full, slot, parity);
    Val scores = multiplyOwned(keyTile, query), dweights = keys ? multiplyOwned(valueTile, dout) : Val();
    AttendGradMath::Weights weights = weigh(slot, waitFor(scores, keys ? 1 : 0));
    // At once where weights and their slopes differ: there are no registers for both.
    Val lhs = values && shape.softcap > 0 ? toLhs(weights.weights) : Val(), delta;
    if (keys) {
      delta = loadColumns(b.slice(deltas, slot));
      dweights = waitFor(dweights, 0);
    }
    SmallVector<Val> next(sums);
    if (values)
      next.back() = accumulate(sums.back(), lhs ? lhs : toLhs(weights.weights), dout);
    if (keys)
      next[0] = accumulate(sums[0], toLhs(math.differentiate(weights, dweights, delta)), query);
    for (size_t pending = next.size(); pending-- > 0;)
      next[pending] = waitFor(next[pending], next.size() > 1 ? int64_t(pending) : 0);
    release(slot);
    return next;
  }

  //===--------------------------------------------------------------------===//
  // Steps that overlap
  //===--------------------------------------------------------------------===//

  /// Starts the scores of a step.
  Val beginScores(Val i) {
    auto [slot, parity] = getSlot(walk, i);
    wait(queries.full, slot, parity);
    return multiplyOwned(keyTile, b.slice(queries.tiles, slot));
  }
  /// Starts the gradients of the weights of a step whose scores have been waited for.
  Val beginWeights(Val i) { return multiplyOwned(valueTile, b.slice(douts, getSlot(walk, i).first)); }

  /// The left operands of the products that sum dK and dV.
  SmallVector<Val> finish(Val i, const AttendGradMath::Weights &weights, Val dweights) {
    Val left = toLhs(weights.weights), delta = loadColumns(b.slice(deltas, getSlot(walk, i).first));
    return {toLhs(math.differentiate(weights, waitFor(dweights, 0), delta)), left};
  }

  /// dK and dV of a step from its left operands, under way.
  SmallVector<Val> beginSums(Val i, ArrayRef<Val> sums, ArrayRef<Val> left) {
    Val slot = getSlot(walk, i).first, dv = accumulate(sums[1], left[1], b.slice(douts, slot));
    return {accumulate(sums[0], left[0], b.slice(queries.tiles, slot)), dv};
  }

  /// Each step's sums run beside the exponentials of the next one. There is at least one step, and there are no
  /// registers for both products of a step beside the left operands of the one before.
  SmallVector<Val> walkOverlapped(Val total, Val zero) {
    Val first = b.i32(0), last = total - 1.0;
    AttendGradMath::Weights weights = weigh(getSlot(walk, first).first, waitFor(beginScores(first), 0));
    SmallVector<Val> state{zero, zero};
    state.append(finish(first, weights, beginWeights(first)));
    state = b.forRange(first, last, b.i32(1), state, [&](Val i, ArrayRef<Val> carried) {
      Val next = i + 1.0, scores = beginScores(next);
      SmallVector<Val> sums = beginSums(i, carried.take_front(2), carried.drop_front(2));
      AttendGradMath::Weights weights = weigh(getSlot(walk, next).first, waitFor(scores, 2));
      SmallVector<Val> result{Val(), waitFor(sums[1], 1)};
      result[0] = waitFor(sums[0], 0);
      Val dweights = beginWeights(next);
      release(getSlot(walk, i).first);
      result.append(finish(next, weights, dweights));
      return result;
    });
    SmallVector<Val> sums = beginSums(last, ArrayRef<Val>(state).take_front(2), ArrayRef<Val>(state).drop_front(2));
    return {waitFor(sums[0], 0), waitFor(sums[1], 0)};
  }

  /// Not with two walks, which wait for memory; and a mask or a soft cap has no registers left.
  bool overlaps() const {
    return stages > 1 && walks == 1 && !wide && !shape.causal && !shape.documents && shape.softcap <= 0;
  }

  void meetOwn(Val consumer) { meet(consumer + double(kOwnBarrier), 128); }

  /// Adds the sums of the pieces of the walk before this one, and leaves the new ones to the piece behind.
  SmallVector<Val> joinPieces(Val consumer, SmallVector<Val> sums) {
    Val group = walks == 1 ? consumer : b.i32(0);
    auto place = [&](int64_t which) { return SmallVector<Value>{own.sums, group, b.i32(which), b.i32(0)}; };
    SharedSums shared{argument(kSums), argument(kTurns), {own.sums, group}, place, own.piece, own.pieces};
    return addInTurn(shared, std::move(sums), leader, [&] { meetOwn(consumer); });
  }

  void store(Val consumer, ArrayRef<Val> sums) {
    if (wide)
      return storeOne(consumer, sums[0]);
    // In the places of the consumer's own keys and values, which nobody else reads.
    tile::StoreMatrixOp::create(b, Value(sums[1]), Value(valueTile), Value(groupRow));
    tile::StoreMatrixOp::create(b, Value(sums[0] * shape.scale), Value(keyTile), Value(groupRow));
    tile::FenceAsyncOp::create(b);
    meetOwn(consumer);
    b.ifThen(leader, [&] {
      for (auto [tile, map] : {std::pair(valueTile, kDv), std::pair(keyTile, kDk)})
        storeTile(tile, map);
      tile::TmaStoreWaitOp::create(b);
    });
  }

  void storeTile(Val tile, Argument map) {
    tile::TmaStoreOp::create(b, Value(tile), Value(groupRow), Value(argument(map)), Value(batch), Value(kvHead),
                             Value(firstKey));
  }

  /// The gradient of the keys, which the first consumer has, or that of the values.
  void storeOne(Val consumer, Val sum) {
    Val target = b.slice(owned, consumer);
    // The other consumer has read the keys.
    meet(b.i32(kAllBarrier), 128 * kConsumers);
    tile::StoreMatrixOp::create(b, Value(sum), Value(target), Value(groupRow));
    tile::FenceAsyncOp::create(b);
    meetOwn(consumer);
    b.ifThen(leader & (consumer == 0.0), [&] { storeTile(target, kDk); });
    b.ifThen(leader & (consumer != 0.0), [&] { storeTile(target, kDv); });
    b.ifThen(leader, [&] { tile::TmaStoreWaitOp::create(b); });
  }

  SmallVector<Val> sumWalk(Val consumer, Val total) {
    Val zero = b.constant(tile::getAccType(kGroupRows, shape.headDim, b.getF32Type()), 0.0);
    auto loop = [&](bool keys, bool values) {
      SmallVector<Val> init(int(keys) + int(values), zero);
      return b.forRange(b.i32(0), total, b.i32(1), init,
                        [&](Val i, ArrayRef<Val> carried) { return iterate(keys, values, i, carried); });
    };
    if (overlaps())
      return b.ifElse(
          total > 0.0, [&] { return walkOverlapped(total, zero); }, [&] { return SmallVector<Val>{zero, zero}; });
    if (!wide)
      return loop(/*keys=*/true, /*values=*/true);
    return b.ifElse(
        consumer == 0.0, [&] { return SmallVector<Val>{loop(/*keys=*/true, /*values=*/false)[0] * shape.scale}; },
        [&] { return loop(/*keys=*/false, /*values=*/true); });
  }

  void consume() {
    Val consumer = b.id(tile::Id::Warpgroup) - 1.0;
    walk = walks == 1 ? b.i32(0) : consumer;
    own = pieces.getPiece(walk);
    Val total = b.load(counters, {walk}) * double(bits.getRepeats());
    groupRow = wide ? b.i32(0) : consumer * double(kGroupRows);
    firstKey = own.tile * double(walkKeys);
    if (walks == 1)
      firstKey = firstKey + groupRow;
    leader = (thread & 127.0) == 0.0;
    if (shape.documents)
      documents = loadDocumentRows(b, argument(kDocuments), firstKey, kGroupRows, math.getDocumentSide());
    wait(keysFull, walk, b.i32(0));
    SmallVector<Val> sums = sumWalk(consumer, total);
    if (!pieces.hasCuts())
      return store(consumer, sums);
    // A thread block may have a place for a piece and no piece.
    b.ifThen(own.piece < own.pieces, [&] {
      SmallVector<Val> joined =
          b.ifElse(own.pieces > 1.0, [&] { return joinPieces(consumer, sums); }, [&] { return sums; });
      b.ifThen(own.piece == own.pieces - 1.0, [&] { store(consumer, joined); });
    });
  }

  const KernelRequest &request;
  AttendShape shape;
  ListSteps steps;
  int64_t stages;
  /// Keys of the thread block and of a walk; walks, one of both consumers or one for each; blocks of a walk.
  int64_t keyRows, walkKeys, walks, blocks;
  /// Whether both consumers own the same keys, one for each gradient.
  bool wide;
  HopperListWalks pieces;
  HopperListBits bits;
  AttendGradMath math;
  tile::KernelOp kernel;
  Val thread, batch, kvHead;
  Val owned, keyTile, valueTile, douts, lses, deltas, tokens, counters, keysFull;
  Ring queries;
  // In the roles.
  Val walk;
  ListWalkPiece own;
  // In the producer.
  Val lane, elected;
  // In a consumer: its first row of a tile and in the sequence, and whether this thread speaks for it.
  Val groupRow, firstKey, leader;
  DocumentRows documents;
};

} // namespace

void fresnel::lowerHopperListGrad(AttendGradKvOp op, const KernelRequest &request, KernelBuilder &builder) {
  HopperListGradKv(op, request, builder).write();
}
