//===- HopperAttendGradToTile.cpp - Attention's gradients with WGMMA ------===//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
//
// All three gradients in one pass. A thread block owns 128 keys, 64 for each of two
// consumer warpgroups, holds their K and V in shared memory and walks the queries that
// see them, for each query head that shares the key head (Shah et al.,
// FlashAttention-3, arXiv 2407.08608, section 3). Scores are computed transposed, keys
// by queries, so that the weights and their gradients are left operands of the products
// that sum dV and dK, in registers. The gradient of the scores also goes through shared
// memory, where both consumers read it for dQ: each has a square of 64 x 64 of it.
//
// Warps of the producer add the squares to device memory, in turns. The blocks of one head do so
// in the order of their keys, each after the one before it has told that it is done, so
// that the sums have the same bits in every run; the first one stores, and the last one
// leaves the counters at zero. They walk the queries from the last to the first: blocks
// that start together then wait one step for each other, and what they have in common,
// the queries, is read by all of them at about the same time. Query heads that share a
// key head take turns at each tile, for the same reason.
//
//===----------------------------------------------------------------------===//

#include "fresnel/Conversion/AttendGradMath.h"
#include "fresnel/Conversion/ToTile.h"
#include "fresnel/Schedule/Hopper.h"
#include "fresnel/Schedule/HopperGrad.h"

using namespace mlir;
using namespace fresnel;

namespace {

constexpr int64_t kConsumers = 2, kGroupRows = 64;
/// Rows and columns of what a consumer adds to dQ at once.
constexpr int64_t kSquare = 64;
/// The threads of a consumer and of the warp that takes its squares.
constexpr int64_t kHandThreads = 128 + 32;
/// Warps that take the squares in turns: while one waits until its sums have arrived, and
/// tells the next block so, another takes the squares of the next step.
constexpr int64_t kAddWarps = 2;
/// Named barriers: both consumers'; a consumer's own; its square was taken; its square is
/// there, one for each warp that takes it.
constexpr int64_t kScoresBarrier = 1, kOwnBarrier = 2, kTakenBarrier = 4, kReadyBarrier = 6;

/// Positions of the kernel's arguments.
enum Argument : unsigned { kQ, kK, kV, kStats, kDout, kDq, kDk, kDv, kTurns };

/// A ring of tiles of queries, or of the output's gradient, with one value per row beside
/// them, and the mbarriers that hand its slots back and forth.
struct RowRing {
  Val tiles, values, full, empty;
};

/// Where a step is: the query head, its first row, and the number of its semaphore.
struct Step {
  Val head, row, semaphore;
};

class HopperAttendGradKernel {
public:
  HopperAttendGradKernel(AttendGradOp op, const KernelRequest &request, KernelBuilder &builder)
      : request(request), b(builder), shape(op), keyRows(request.schedule.getTileM()),
        queryRows(request.schedule.getTileN()), stages(request.schedule.getStages()),
        steps(llvm::divideCeil(shape.queries, 128) * 128 / queryRows), blocks(llvm::divideCeil(shape.keys, keyRows)),
        group(shape.heads / shape.kvHeads), section(getHopperGradSection(request.schedule, op)),
        ordered(request.schedule.getOrdered()), math(builder, shape, Owner::Keys, kGroupRows, queryRows) {}

  void write() {
    int64_t count = blocks * shape.kvHeads * shape.batches;
    kernel = b.beginKernel(request.getName(), getArgumentTypes(), 128 * (kConsumers + 1), {count, 1, 1});
    if (ordered)
      kernel->setAttr(kCountersAttr, b.getI64IntegerAttr(shape.batches * shape.heads * steps));
    allocate();
    initialise();
    HopperRegisters registers = getHopperRegisters(kConsumers, /*minBlocks=*/1);
    auto roles = tile::WarpSpecializeOp::create(b, kConsumers, registers.producer, registers.consumer);
    writeRole(roles.getProducer(), [&] { produce(); });
    writeRole(roles.getConsumer(), [&] { consume(); });
  }

private:
  //===--------------------------------------------------------------------===//
  // Set-up
  //===--------------------------------------------------------------------===//

  SmallVector<Type> getArgumentTypes() {
    auto map = [&](int64_t rows) -> Type { return tile::TensorMapType::get(b.getContext(), rows, 64, shape.element); };
    SmallVector<Type> types{map(queryRows), map(keyRows),       map(keyRows),    request.views[kStats],
                            map(queryRows), request.views[kDq], map(kGroupRows), map(kGroupRows)};
    if (ordered)
      types.push_back(tile::GlobalType::get(b.getContext(), {shape.batches * shape.heads * steps}, b.getI32Type(),
                                            /*strided=*/false));
    return types;
  }

  Val argument(unsigned index) { return b.argument(kernel, index); }

  void writeRole(Region &region, function_ref<void()> body) {
    OpBuilder::InsertionGuard guard(b);
    b.createBlock(&region);
    body();
    tile::YieldOp::create(b);
  }

  Val allocBarriers(int64_t count) {
    return b.wrap(tile::AllocOp::create(b, tile::BarriersType::get(b.getContext(), count), Value()));
  }

  RowRing allocRing() {
    Val tiles = b.alloc({stages, queryRows, shape.headDim}, shape.element, tile::Layout::Swizzled);
    Val values = b.alloc({stages, queryRows}, b.getF32Type(), tile::Layout::Linear);
    return {tiles, values, allocBarriers(stages), allocBarriers(stages)};
  }

  void allocate() {
    auto swizzled = [&](ArrayRef<int64_t> sizes) { return b.alloc(sizes, shape.element, tile::Layout::Swizzled); };
    keyTile = swizzled({keyRows, shape.headDim});
    valueTile = swizzled({keyRows, shape.headDim});
    queries = allocRing();
    douts = allocRing();
    // Two, so that a consumer may write the next one while the other reads.
    scoreTiles = swizzled({2, queryRows, keyRows});
    squares = b.alloc({kConsumers, kSquare * kSquare}, b.getF32Type(), tile::Layout::Linear);
    // A part of one: its first columns.
    parts = shape.headDim % kSquare
                ? b.allocReusing(
                      squares, {kConsumers * kSquare / (shape.headDim % kSquare), kSquare * (shape.headDim % kSquare)},
                      b.getF32Type(), tile::Layout::Linear)
                : squares;
    keysFull = allocBarriers(1);
  }

  void initBarriers(Val barriers, int64_t arrivals, bool fence = false) {
    tile::BarrierInitOp::create(b, Value(barriers), uint32_t(arrivals), fence);
  }

  void initialise() {
    thread = b.id(tile::Id::Thread);
    b.ifThen(thread == b.i32(0), [&] {
      for (unsigned i : {kQ, kK, kV, kDout, kDk, kDv})
        tile::PrefetchMapOp::create(b, Value(argument(i)));
      for (const RowRing &ring : {queries, douts}) {
        initBarriers(ring.full, 1);
        initBarriers(ring.empty, kConsumers);
      }
      initBarriers(keysFull, 1, /*fence=*/true);
    });
    b.barrier();
    locate();
  }

  /// Which keys the block owns, and the steps that it takes.
  ///
  /// A section's blocks start head by head, the first keys first: under a causal mask
  /// these have the most work, so that the last ones to end are short.
  void locate() {
    int64_t heads = shape.kvHeads * shape.batches;
    Val index = b.id(tile::Id::BlockX), first = index / double(section * blocks) * double(section);
    Val width = heads % section ? b.min(b.i32(section), double(heads) - first) : b.i32(section);
    Val rest = index % double(section * blocks), flatHead = first + rest % width;
    block = rest / width;
    batch = flatHead / double(shape.kvHeads);
    kvHead = flatHead % double(shape.kvHeads);
    firstKey = block * double(keyRows);
    Val firstStep = b.i32(0);
    endStep = b.i32(steps);
    if (shape.causal)
      firstStep = b.max(firstKey - double(shape.getOffset()), b.i32(0)) / double(queryRows);
    if (shape.window > 0) {
      // The last query that sees the last owned key; sinks are seen by all.
      Val last = firstKey + double(keyRows - 1 + shape.window - 1 - shape.getOffset());
      Val end = b.min(b.max(last + double(queryRows), b.i32(0)) / double(queryRows), endStep);
      endStep = b.select(firstKey < double(shape.sinks), endStep, end);
    }
    total = (endStep - firstStep) * double(group);
  }

  Step getStep(Val i) {
    Val head = group == 1 ? kvHead : kvHead * double(group) + i % double(group);
    Val step = endStep - 1.0 - (group == 1 ? i : i / double(group));
    return {head, step * double(queryRows), (batch * double(shape.heads) + head) * double(steps) + step};
  }

  /// The slot of the i-th step and the parity of its turn.
  std::pair<Val, Val> slotOf(Val i) {
    if (llvm::isPowerOf2_64(stages)) {
      int64_t bits = llvm::Log2_64(stages);
      return {i & double(stages - 1), (i >> double(bits)) & 1.0};
    }
    return {i % double(stages), (i / double(stages)) & 1.0};
  }

  void wait(Val barriers, Val slot, Val parity) {
    tile::BarrierWaitOp::create(b, Value(barriers), Value(slot), Value(parity));
  }

  void meet(Val id, int64_t threads, bool arriving = false) {
    tile::BarrierOp::create(b, Value(id), b.getI32IntegerAttr(int32_t(threads)), arriving);
  }

  //===--------------------------------------------------------------------===//
  // Producer
  //===--------------------------------------------------------------------===//

  void expect(Val barriers, Val slot, int64_t bytes) {
    tile::BarrierExpectOp::create(b, Value(barriers), Value(slot), uint32_t(bytes));
  }

  void load(unsigned map, Val head, Val row, Val target, Val barriers, Val slot) {
    tile::TmaLoadOp::create(b, Value(argument(map)), Value(batch), Value(head), Value(row), Value(target),
                            Value(barriers), Value(slot), /*evict_last=*/false);
  }

  /// One tile of a ring and its row of the stats.
  void fill(const RowRing &ring, unsigned map, int64_t statsRow, Val i, const Step &step) {
    auto [slot, parity] = slotOf(i);
    Val tile = b.slice(ring.tiles, slot), values = b.slice(ring.values, slot);
    wait(ring.empty, slot, parity ^ 1.0);
    expect(ring.full, slot,
           cast<tile::SharedType>(tile.getType()).getBytes() + cast<tile::SharedType>(values.getType()).getBytes());
    load(map, step.head, step.row, tile, ring.full, slot);
    SmallVector<Value> indices{batch, step.head, b.i32(statsRow), step.row};
    tile::BulkLoadOp::create(b, Value(argument(kStats)), indices, Value(values), Value(ring.full), Value(slot));
  }

  void loadAll() {
    Val zero = b.i32(0);
    expect(keysFull, zero, 2 * cast<tile::SharedType>(keyTile.getType()).getBytes());
    load(kK, kvHead, firstKey, keyTile, keysFull, zero);
    load(kV, kvHead, firstKey, valueTile, keysFull, zero);
    b.forRange(zero, total, b.i32(1), [&](Val i) {
      Step step = getStep(i);
      fill(queries, kQ, 0, i, step);
      fill(douts, kDout, 1, i, step);
    });
  }

  /// Where consumer `c`'s square of a step goes: columns of a tile, or all of one of two tiles.
  SmallVector<Value> getSquareIndices(const Step &step, int64_t c) {
    Val tile = step.row / double(kSquare), zero = b.i32(0);
    if (queryRows > kSquare)
      return {batch, step.head, tile + double(c), zero};
    return {batch, step.head, tile, b.i32(c * kSquare * kSquare)};
  }

  void addSquare(const Step &step, Val turn, int64_t c, Val elected) {
    // The last columns of a head dim that is no multiple of 64 are a part of a square.
    bool isPart = queryRows == kSquare && (c + 1) * kSquare > shape.headDim;
    int64_t perSquare = kSquare / (isPart ? shape.headDim % kSquare : kSquare);
    Val square = b.slice(isPart ? parts : squares, b.i32(c * perSquare));
    auto write = [&](bool add, Val predicate) {
      tile::BulkStoreOp::create(b, add, Value(square), Value(argument(kDq)), getSquareIndices(step, c),
                                Value(predicate));
    };
    if (!ordered)
      return write(/*add=*/true, elected);
    write(/*add=*/false, elected & (turn == 0.0));
    write(/*add=*/true, elected & (turn > 0.0));
  }

  /// The last block that adds to a step's tile.
  Val getLastBlock(const Step &step) {
    if (!shape.causal)
      return b.i32(blocks - 1);
    return b.min((step.row + double(queryRows - 1 + shape.getOffset())) / double(keyRows), b.i32(blocks - 1));
  }

  /// How many blocks have their turn at a step's tile before this one: all in front of it,
  /// without those between the sinks and the window.
  Val getTurn(const Step &step) {
    if (shape.window <= 0)
      return block;
    Val left = step.row + double(shape.getOffset() - shape.window + 1);
    Val first = b.max(left, b.i32(0)) / double(keyRows);
    Val sinks = b.min(first, b.i32(llvm::divideCeil(shape.sinks, keyRows)));
    return b.select(block < first, block, block - first + sinks);
  }

  /// The steps first, first + kAddWarps, ...
  void addFrom(Val first) {
    Val ready = first * double(kConsumers) + double(kReadyBarrier);
    Val elected = b.wrap(tile::ElectOp::create(b, b.getI1Type()));
    b.forRange(first, total, b.i32(kAddWarps), [&](Val i) {
      Step step = getStep(i);
      Val turn = getTurn(step);
      for (int64_t c = 0; c < kConsumers; ++c) {
        meet(ready + double(c), kHandThreads);
        if (ordered && c == 0)
          tile::SemaphoreWaitOp::create(b, Value(argument(kTurns)), ValueRange{step.semaphore}, Value(turn));
        addSquare(step, turn, c, elected);
      }
      for (int64_t c = 0; c < kConsumers; ++c) {
        tile::TmaStoreWaitOp::create(b, uint32_t(kConsumers - 1 - c), /*complete=*/false);
        meet(b.i32(kTakenBarrier + c), kHandThreads, /*arriving=*/true);
      }
      if (!ordered)
        return;
      tile::TmaStoreWaitOp::create(b, 0, /*complete=*/true);
      Val next = b.select(block == getLastBlock(step), b.i32(0), turn + 1.0);
      tile::SemaphorePostOp::create(b, Value(next), Value(argument(kTurns)), ValueRange{step.semaphore},
                                    Value(elected));
    });
    // The copies read shared memory, which ends with the block.
    tile::TmaStoreWaitOp::create(b);
  }

  void produce() {
    Val warp = b.id(tile::Id::Warp);
    b.ifThen(warp == 0.0, [&] {
      Val elected = b.wrap(tile::ElectOp::create(b, b.getI1Type()));
      b.ifThen(elected, [&] { loadAll(); });
    });
    b.ifThen((warp > 0.0) & (warp <= double(kAddWarps)), [&] { addFrom(warp - 1.0); });
  }

  //===--------------------------------------------------------------------===//
  // Consumers
  //===--------------------------------------------------------------------===//

  void arrive(Val barriers, Val slot) { tile::BarrierArriveOp::create(b, Value(barriers), Value(slot), Value(leader)); }

  Val waitFor(Val product, int64_t pending) {
    return b.wrap(tile::WgmmaWaitOp::create(b, product.getType(), uint32_t(pending), Value(product)));
  }

  Type getAccType(int64_t columns) { return tile::getAccType(kGroupRows, columns, b.getF32Type()); }

  /// Keys by queries: this consumer's rows of K or V times a tile of the ring.
  Val multiplyOwned(Val owned, Val tile) {
    return b.wrap(tile::WgmmaOp::create(b, math.getScoresType(), Value(owned), Value(groupRow), Value(tile), Value(),
                                        /*transposed=*/true));
  }

  Val accumulate(Val sum, Val lhs, Val tile) {
    return b.wrap(tile::WgmmaOp::create(b, sum.getType(), Value(lhs), Value(), Value(tile), Value(sum), false));
  }

  /// This consumer's square of dQ.
  Val multiplyScores(Val scores) {
    if (queryRows > kSquare)
      return b.wrap(tile::WgmmaOp::create(b, getAccType(kSquare), Value(scores), Value(groupRow), Value(keyTile),
                                          Value(), /*transposed=*/false));
    Val panel = b.wrap(tile::PanelOp::create(b, Value(keyTile), Value(consumer)));
    return b.wrap(tile::WgmmaOp::create(b, getAccType(kSquare), Value(scores), Value(b.i32(0)), Value(panel), Value(),
                                        /*transposed=*/false));
  }

  /// One value of each query, from the ring.
  Val loadValues(const RowRing &ring, Val slot) {
    Val row = b.slice(ring.values, slot);
    return b.wrap(tile::LoadColsOp::create(b, math.getScoresType(), Value(row), ValueRange{b.i32(0)}, APFloat(0.0f)));
  }

  /// The pairs that the step may see, or null for all.
  Val getVisible(Val row) {
    Val key = firstKey + groupRow;
    Type index = tile::getAccType(kGroupRows, queryRows, b.getI32Type());
    auto reaches = [&](Val offset) {
      return b.wrap(tile::TriangleOp::create(b, tile::getAccType(kGroupRows, queryRows, b.getI1Type()), Value(offset)));
    };
    if (shape.causal) {
      // Keys beyond the last one are to the right of every query.
      Val offset = key - row - double(shape.getOffset()), visible = reaches(offset);
      if (shape.window <= 0)
        return visible;
      Val outside = reaches(offset + double(shape.window)), inside = outside ^ 1.0;
      if (shape.sinks > 0)
        inside = inside | (b.wrap(tile::RowIndexOp::create(b, index, Value(key))) < double(shape.sinks));
      return visible & inside;
    }
    if (shape.keys % keyRows == 0)
      return Val();
    return b.wrap(tile::RowIndexOp::create(b, index, Value(key))) < double(shape.keys);
  }

  Val toLhs(Val value) {
    return b.wrap(tile::ToLhsOp::create(b, tile::getLhsType(kGroupRows, queryRows, shape.element), Value(value)));
  }

  /// One step: dK and dV come in and go out.
  SmallVector<Val> iterate(Val i, ArrayRef<Val> sums) {
    auto [slot, parity] = slotOf(i);
    Val query = b.slice(queries.tiles, slot), dout = b.slice(douts.tiles, slot);
    wait(queries.full, slot, parity);
    Val scores = multiplyOwned(keyTile, query), lse = loadValues(queries, slot);
    wait(douts.full, slot, parity);
    Val dweights = multiplyOwned(valueTile, dout);
    scores = waitFor(scores, 1);
    AttendGradMath::Weights weights = math.weigh(scores, lse, getVisible(getStep(i).row));
    Val delta = loadValues(douts, slot);
    dweights = waitFor(dweights, 0);
    Val dscores = toLhs(math.differentiate(weights, dweights, delta)), lhs = toLhs(weights.weights);

    Val tile = b.slice(scoreTiles, i & 1.0);
    Val panel = b.wrap(tile::PanelOp::create(b, Value(tile), Value(consumer)));
    tile::StoreMatrixOp::create(b, Value(dscores), Value(panel), Value(b.i32(0)), /*transposed=*/true);
    Val dv = accumulate(sums[1], lhs, dout);
    tile::FenceAsyncOp::create(b);
    meet(b.i32(kScoresBarrier), 128 * kConsumers);
    Val dq = multiplyScores(tile);
    dv = waitFor(dv, 1);
    arrive(douts.empty, slot);
    Val dk = accumulate(sums[0], dscores, query);
    dq = waitFor(dq, 1);
    meet(consumer + double(kTakenBarrier), kHandThreads);
    tile::StoreFragmentOp::create(b, Value(dq), Value(b.slice(squares, consumer)));
    tile::FenceAsyncOp::create(b);
    meet(i % double(kAddWarps) * double(kConsumers) + consumer + double(kReadyBarrier), kHandThreads,
         /*arriving=*/true);
    dk = waitFor(dk, 0);
    arrive(queries.empty, slot);
    return {dk, dv};
  }

  void consume() {
    consumer = b.id(tile::Id::Warpgroup) - 1.0;
    groupRow = consumer * double(kGroupRows);
    leader = (thread & 127.0) == 0.0;
    // One warp takes the part of the one that hands the squares on, and says that both are free.
    b.ifThen((b.id(tile::Id::Warp) & 3.0) == 0.0,
             [&] { meet(consumer + double(kTakenBarrier), kHandThreads, /*arriving=*/true); });
    wait(keysFull, b.i32(0), b.i32(0));
    Val zero = b.constant(getAccType(shape.headDim), 0.0);
    SmallVector<Val> sums = b.forRange(b.i32(0), total, b.i32(1), {zero, zero},
                                       [&](Val i, ArrayRef<Val> carried) { return iterate(i, carried); });
    // The last square was taken before the shared memory ends; and both consumers are done with K and V.
    meet(consumer + double(kTakenBarrier), kHandThreads);
    meet(b.i32(kScoresBarrier), 128 * kConsumers);
    tile::StoreMatrixOp::create(b, Value(sums[1]), Value(valueTile), Value(groupRow));
    tile::StoreMatrixOp::create(b, Value(sums[0] * shape.scale), Value(keyTile), Value(groupRow));
    tile::FenceAsyncOp::create(b);
    meet(consumer + double(kOwnBarrier), 128);
    b.ifThen(leader, [&] {
      auto store = [&](Val tile, unsigned map) {
        tile::TmaStoreOp::create(b, Value(tile), Value(groupRow), Value(argument(map)), Value(batch), Value(kvHead),
                                 Value(firstKey + groupRow));
      };
      store(valueTile, kDv);
      store(keyTile, kDk);
      tile::TmaStoreWaitOp::create(b);
    });
  }

  const KernelRequest &request;
  KernelBuilder &b;
  AttendShape shape;
  int64_t keyRows, queryRows, stages;
  /// Steps over the queries of a head, blocks of keys, query heads of a key head, key heads of a section.
  int64_t steps, blocks, group, section;
  bool ordered;
  AttendGradMath math;
  tile::KernelOp kernel;
  Val thread, block, batch, kvHead, firstKey;
  /// Behind the last step of a query head; steps in all.
  Val endStep, total;
  Val keyTile, valueTile, scoreTiles, squares, parts, keysFull;
  RowRing queries, douts;
  // In a consumer: its number, its first row, and whether this thread speaks for it.
  Val consumer, groupRow, leader;
};

} // namespace

LogicalResult fresnel::lowerAttendGrad(AttendGradOp op, const KernelRequest &request, KernelBuilder &builder) {
  HopperAttendGradKernel(op, request, builder).write();
  return success();
}
