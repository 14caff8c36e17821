//===- HopperGradKernel.cpp - Attention's gradients in one pass -----------===//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//

#include "fresnel/Conversion/HopperGradKernel.h"
#include "fresnel/Conversion/IntegerSums.h"
#include "fresnel/Schedule/Hopper.h"
#include "llvm/Support/MathExtras.h"
#include <numeric>

using namespace mlir;
using namespace fresnel;

/// The threads of a consumer and of the warp that takes its squares.
static constexpr int64_t kHandThreads = 128 + 32;
/// Warps that take the squares. Where each consumer has one they have their own warp and turns: the fewer squares a
/// block adds between its turn and the next block's, the less these lag behind each other. Else they take steps in
/// turns: while one waits until its sums have arrived, and tells the next block so, another takes the next squares.
static constexpr int64_t kAddWarps = 2;
static_assert(kAddWarps == 2);
/// Named barriers: both consumers'; its square was taken; its square is there, one for
/// each warp that takes it; a consumer's own threads, which add up shares.
static constexpr int64_t kScoresBarrier = 1, kTakenBarrier = 2, kReadyBarrier = 4, kSharesBarrier = 12;

/// Whether each consumer may have turns of its own: with head dim 64 and documents, whose bounds are registers of every
/// row, ptxas spills some of them then.
static bool hasRegistersForTurns(const AttendShape &shape) { return shape.headDim > 64 || !shape.documents; }

HopperGradKernel::HopperGradKernel(AttendGradOp op, const KernelRequest &request, KernelBuilder &builder, Squares first,
                                   Squares second)
    : HopperRings(builder), request(request), integers(op.hasIntegerSums()), shape(op),
      keyRows(request.schedule.getTileM()), queryRows(request.schedule.getTileN()),
      ringRows(isHopperGradPaired(request.schedule, op) ? queryRows / 2 : queryRows),
      steps(int64_t(llvm::alignTo(shape.queries, 128)) / queryRows), cluster(request.schedule.getCluster()),
      blocks(llvm::alignTo(llvm::divideCeil(shape.keys, keyRows), cluster)), shares(getHopperGradShares(op)),
      group(shape.heads / shape.kvHeads / shares), section(getHopperGradSection(request.schedule, op)),
      doutStages(getHopperGradDoutStages(request.schedule, op)), ordered(isHopperGradOrdered(request.schedule, op)),
      apart(ordered && first.size() == 1 && second.size() == 1 && hasRegistersForTurns(shape)),
      squareLists{std::move(first), std::move(second)}, listSizes(getHopperGradLists(op)) {}

void HopperGradKernel::write() {
  int64_t count = blocks * shape.kvHeads * shape.batches * shares;
  kernel = b.beginKernel(request.getName(), getArgumentTypes(), 128 * (kConsumers + 1), {count, 1, 1});
  if (shares > 1)
    kernel->setAttr(kScratchAttr, b.getI64IntegerAttr(ShapedType::getNumElements(getSumsType().getShape())));
  if (int64_t turns = countTurns())
    kernel->setAttr(kCountersAttr, b.getI64IntegerAttr(turns));
  if (cluster > 1)
    kernel->setAttr(tile::kClusterAttr, b.getI32IntegerAttr(int32_t(cluster)));
  allocate();
  initialise();
  writeRoles(kConsumers, getHopperRegisters(kConsumers, /*minBlocks=*/1), [&] { produce(); }, [&] { consume(); });
  // A block's memory must stay until the others have told it what they are done with.
  if (cluster > 1)
    tile::ClusterBarrierOp::create(b);
}

//===----------------------------------------------------------------------===//
// Set-up
//===----------------------------------------------------------------------===//

Val HopperGradKernel::argument(Argument which) {
  if (which >= kMask)
    return b.argument(kernel, kDout + 1 + (which - kMask));
  if (which <= kDout)
    return b.argument(kernel, which);
  return b.argument(kernel, which + countMasks() - (which > kSums && shares == 1));
}

tile::GlobalType HopperGradKernel::getSumsType() {
  // Whole fragments of keys, and of values.
  int64_t columns = llvm::alignTo(shape.headDim + shape.valueDim, std::lcm(shape.headDim, shape.valueDim));
  return tile::GlobalType::get(b.getContext(), {countShareTurns(), kGroupRows * columns}, b.getF32Type(),
                               /*strided=*/false);
}

SmallVector<Type> HopperGradKernel::getArgumentTypes() {
  auto map = [&](int64_t rows) -> Type { return tile::TensorMapType::get(b.getContext(), rows, 64, shape.element); };
  // A block of a cluster loads its share of the queries for all.
  int64_t share = ringRows / cluster;
  SmallVector<Type> types{map(share), map(keyRows), map(keyRows), request.views[kStats], map(share)};
  // The mask, if there is one, and dQ.
  unsigned dq = kDout + 1 + countMasks();
  types.append(request.views.begin() + kDout + 1, request.views.begin() + dq + 1);
  types.append(2, map(kGroupRows));
  if (shares > 1)
    types.push_back(getSumsType());
  if (int64_t turns = countTurns())
    types.push_back(tile::GlobalType::get(b.getContext(), {turns}, b.getI32Type(), /*strided=*/false));
  return types;
}

HopperGradKernel::RowRing HopperGradKernel::allocRing(int64_t stages, int64_t columns) {
  Val tiles = b.alloc({stages, ringRows, columns}, shape.element, tile::Layout::Swizzled);
  Val values = b.alloc({stages, ringRows}, b.getF32Type(), tile::Layout::Linear);
  return {{stages, tiles, allocBarriers(stages), allocBarriers(stages)}, values};
}

void HopperGradKernel::allocate() {
  keyTile = b.alloc({keyRows, shape.headDim}, shape.element, tile::Layout::Swizzled);
  valueTile = b.alloc({keyRows, shape.valueDim}, shape.element, tile::Layout::Swizzled);
  queries = allocRing(request.schedule.getStages(), shape.headDim);
  douts = allocRing(doutStages, shape.valueDim);
  allocateScores();
  Type element = integers ? Type(b.getI32Type()) : b.getF32Type();
  int64_t columns = std::max(kSquare, squareLists[0].front().columns);
  squares = b.alloc({kConsumers, kSquare * columns}, element, tile::Layout::Linear);
  // A part of one: its first columns.
  int64_t rest = shape.headDim % kSquare;
  parts = rest ? b.allocReusing(squares, {kConsumers * kSquare / rest, kSquare * rest}, element, tile::Layout::Linear)
               : squares;
  if (integers)
    factors = b.alloc({queries.stages, ringRows}, b.getF32Type(), tile::Layout::Linear);
  keysFull = allocBarriers(1);
}

void HopperGradKernel::initialise() {
  thread = b.id(tile::Id::Thread);
  b.ifThen(thread == b.i32(0), [&] {
    for (Argument i : {kQ, kK, kV, kDout, kDk, kDv})
      tile::PrefetchMapOp::create(b, Value(argument(i)));
    for (const RowRing &ring : {queries, douts}) {
      initBarriers(ring.full, 1);
      // Each thread of the consumers, which read a slot's values by themselves, and one of each in other blocks.
      initBarriers(ring.empty, kConsumers * (128 + cluster - 1));
    }
    initBarriers(keysFull, 1, /*fence=*/true);
  });
  if (cluster > 1)
    tile::ClusterBarrierOp::create(b);
  else
    b.barrier();
  locate();
}

/// Which keys the block owns, and the steps that it takes.
///
/// A section's blocks start head by head, the first keys first: under a causal mask
/// these have the most work, so that the last ones to end are short. The blocks of a cluster
/// follow each other, and take the steps that any of them needs.
void HopperGradKernel::locate() {
  Val index = b.id(tile::Id::BlockX);
  auto [shared, tile] = walkSections(cluster > 1 ? index / double(cluster) : index,
                                     shape.kvHeads * shape.batches * shares, section, blocks / cluster);
  Val head = shared;
  if (shares > 1) {
    ownShare = shared % double(shares);
    head = shared / double(shares);
  }
  block = cluster > 1 ? tile * double(cluster) + index % double(cluster) : tile;
  batch = head / double(shape.kvHeads);
  kvHead = head % double(shape.kvHeads);
  firstKey = block * double(keyRows);
  if (shape.hasBlocks()) {
    lists.emplace(b, shape, *listSizes, keyRows, queryRows);
    lists->read(argument(kTransposed), batch, kvHead, block);
    total = lists->countSteps();
    return;
  }
  Val firstStep = b.i32(0), clusterKey = cluster > 1 ? tile * double(cluster * keyRows) : firstKey;
  endStep = b.i32(steps);
  if (shape.causal) // Of pooled keys the last token decides.
    firstStep = b.max(getLastToken(shape, clusterKey) - double(shape.getOffset()), b.i32(0)) / double(queryRows);
  if (shape.window > 0) {
    // The last query that sees the last owned key; sinks are seen by all.
    Val last = clusterKey + double(cluster * keyRows - 1 + shape.window - 1 - shape.getOffset());
    Val end = b.min(b.max(last + double(queryRows), b.i32(0)) / double(queryRows), endStep);
    endStep = b.select(clusterKey < double(shape.sinks), endStep, end);
  }
  if (shape.documents) {
    DocumentEdges edges =
        loadDocumentEdges(b, argument(kMask), firstKey, keyRows, shape.getDocumentSteps(/*ownsKeys=*/true));
    endStep = b.min((edges.lastEnd + double(queryRows - 1)) / double(queryRows), endStep);
    if (!shape.causal)
      firstStep = edges.firstStart / double(queryRows);
  }
  Val count = endStep - firstStep;
  // Nobody sees keys whose last token lies behind the queries.
  total = (shape.isPooled() ? b.max(count, b.i32(0)) : count) * double(group);
}

HopperGradKernel::Step HopperGradKernel::getStep(Val i) {
  HopperGradLists::Place place;
  if (lists) {
    place = lists->getPlace(i);
  } else {
    place.head = shares > 1 ? kvHead * double(shares) + ownShare : kvHead;
    if (group > 1)
      place.head = place.head * double(group) + i % double(group);
    place.step = endStep - 1.0 - (group == 1 ? i : i / double(group));
  }
  Val semaphore = (batch * double(shape.heads) + place.head) * double(steps) + place.step;
  return {place.head, place.step * double(queryRows), semaphore, place};
}

//===----------------------------------------------------------------------===//
// Producer
//===----------------------------------------------------------------------===//

void HopperGradKernel::load(Argument map, Val head, Val row, Val target, Val barriers, Val slot) {
  // Over lists a tile of queries is read here and there, while dQ, which is added to just as
  // often and costs twice the traffic if it is not there, has the room in L2.
  bool shared = cluster > 1 && (map == kQ || map == kDout);
  Val share;
  if (shared) {
    share = b.id(tile::Id::BlockX) % double(cluster) * double(ringRows / cluster);
    row = row + share;
  }
  tile::TmaLoadOp::create(b, Value(argument(map)), Value(batch), Value(head), Value(row), Value(target),
                          Value(barriers), Value(slot), Value(share), /*evict_last=*/false,
                          /*evict_first=*/bool(lists), /*multicast=*/shared);
}

/// One tile of a ring and its row of the stats; with queries also the factors of their sums.
void HopperGradKernel::fill(const RowRing &ring, Argument map, int64_t statsRow, Val i, const Step &step) {
  auto [slot, parity] = slotOf(ring, i);
  Val tile = b.slice(ring.tiles, slot);
  SmallVector<std::pair<int64_t, Val>> rows{{statsRow, b.slice(ring.values, slot)}};
  if (integers && map == kQ)
    rows.push_back({2, b.slice(factors, slot)});
  wait(ring.empty, slot, parity ^ 1.0);
  int64_t rowBytes = cast<tile::SharedType>(rows[0].second.getType()).getBytes();
  expect(ring.full, slot, cast<tile::SharedType>(tile.getType()).getBytes() + int64_t(rows.size()) * rowBytes);
  load(map, step.head, step.row, tile, ring.full, slot);
  for (auto [row, values] : rows) {
    SmallVector<Value> indices{batch, step.head, b.i32(row), step.row};
    tile::BulkLoadOp::create(b, Value(argument(kStats)), indices, Value(values), Value(ring.full), Value(slot));
  }
}

void HopperGradKernel::loadAll() {
  Val zero = b.i32(0);
  expect(keysFull, zero,
         cast<tile::SharedType>(keyTile.getType()).getBytes() + cast<tile::SharedType>(valueTile.getType()).getBytes());
  load(kK, kvHead, firstKey, keyTile, keysFull, zero);
  load(kV, kvHead, firstKey, valueTile, keysFull, zero);
  b.forRange(zero, total, b.i32(1), [&](Val i) {
    Step step = getStep(i);
    if (ringRows == queryRows) {
      fill(queries, kQ, 0, i, step);
      return fill(douts, kDout, 1, i, step);
    }
    for (int64_t tile : {1, 0}) {
      Step part = step;
      part.row = step.row + double(tile * ringRows);
      fill(queries, kQ, 0, i * 2.0 + double(1 - tile), part);
      fill(douts, kDout, 1, i * 2.0 + double(1 - tile), part);
    }
  });
}

void HopperGradKernel::addSquare(const Step &step, Val now, int64_t c, const Square &square, Val elected) {
  int64_t perSquare = std::max<int64_t>(kSquare / square.columns, 1);
  Val source = b.slice(perSquare > 1 ? parts : squares, b.i32(c * perSquare));
  Val tile = step.row / double(kSquare) + double(square.tile), place = b.i32(square.column * kSquare);
  auto write = [&](bool add, Val predicate) {
    SmallVector<Value> indices{batch, step.head, tile, place};
    tile::BulkStoreOp::create(b, add, Value(source), Value(argument(kDq)), indices, Value(predicate));
  };
  if (!ordered)
    return write(/*add=*/true, elected);
  write(/*add=*/false, elected & (now == 0.0));
  write(/*add=*/true, elected & (now > 0.0));
}

/// The last block that adds to a step's tile.
Val HopperGradKernel::getLastBlock(const Step &step) {
  if (!shape.causal)
    return b.i32(blocks - 1);
  Val position = step.row + double(queryRows - 1 + shape.getOffset());
  if (shape.isPooled()) // No block visits a tile that sees no key.
    position = countKeysUpTo(shape, position) - 1.0;
  Val last = position / double(keyRows);
  if (cluster > 1)
    last = last / double(cluster) * double(cluster) + double(cluster - 1);
  return b.min(last, b.i32(blocks - 1));
}

/// Before this block all in front of it have their turn at a step's tile, without those
/// between the sinks and the window, and those of earlier documents.
HopperGradLists::Turn HopperGradKernel::getTurn(const Step &step) {
  if (lists)
    return lists->getTurn(argument(kMask), batch, step.listed);
  Val now = block, last = getLastBlock(step);
  if (shape.documents) {
    DocumentEdges edges = loadDocumentEdges(b, argument(kMask), step.row, queryRows, shape.getDocumentSteps());
    now = block - edges.firstStart / double(keyRows);
    if (!shape.causal)
      last = (edges.lastEnd - 1.0) / double(keyRows);
  }
  if (shape.window > 0) {
    Val left = step.row + double(shape.getOffset() - shape.window + 1);
    // Whole clusters.
    Val first = b.max(left, b.i32(0)) / double(cluster * keyRows) * double(cluster);
    Val sinks = b.min(first, b.i32(llvm::divideCeil(shape.sinks, cluster * keyRows) * cluster));
    now = b.select(block < first, block, block - first + sinks);
  }
  return {now, b.select(block == last, b.i32(0), now + 1.0)};
}

/// The `round`-th square of each consumer that has one.
void HopperGradKernel::addRound(const Step &step, Val now, size_t round, Val ready, Val elected) {
  SmallVector<int64_t> givers;
  for (int64_t c = 0; c < kConsumers; ++c)
    if (round < squareLists[c].size())
      givers.push_back(c);
  for (int64_t c : givers) {
    meet(ready + double(c), kHandThreads);
    addSquare(step, now, c, squareLists[c][round], elected);
  }
  for (auto [n, c] : llvm::enumerate(givers)) {
    tile::TmaStoreWaitOp::create(b, uint32_t(givers.size() - 1 - n), /*complete=*/false);
    meet(b.i32(kTakenBarrier + c), kHandThreads, /*arriving=*/true);
  }
}

/// The only square of consumer `c` of all steps.
void HopperGradKernel::addOwn(int64_t c) {
  Val elected = b.wrap(tile::ElectOp::create(b, b.getI1Type()));
  b.forRange(b.i32(0), total, b.i32(1), [&](Val i) {
    Step step = getStep(i);
    auto [now, next] = getTurn(step);
    Val semaphore = step.semaphore * double(kConsumers) + double(c);
    tile::SemaphoreWaitOp::create(b, Value(argument(kTurns)), ValueRange{semaphore}, Value(now));
    meet(b.i32(kReadyBarrier + c), kHandThreads);
    addSquare(step, now, c, squareLists[c][0], elected);
    tile::TmaStoreWaitOp::create(b, 0, /*complete=*/false);
    meet(b.i32(kTakenBarrier + c), kHandThreads, /*arriving=*/true);
    tile::TmaStoreWaitOp::create(b, 0, /*complete=*/true);
    tile::SemaphorePostOp::create(b, Value(next), Value(argument(kTurns)), ValueRange{semaphore}, Value(elected));
  });
}

/// The steps first, first + kAddWarps, ...
void HopperGradKernel::addFrom(Val first) {
  Val ready = first * double(kConsumers) + double(kReadyBarrier);
  Val elected = b.wrap(tile::ElectOp::create(b, b.getI1Type()));
  size_t rounds = std::max(squareLists[0].size(), squareLists[1].size());
  b.forRange(first, total, b.i32(kAddWarps), [&](Val i) {
    Step step = getStep(i);
    auto [now, next] = ordered ? getTurn(step) : HopperGradLists::Turn();
    // Before the first square is there: while the warp asks whose turn it is, the consumers compute.
    if (ordered)
      tile::SemaphoreWaitOp::create(b, Value(argument(kTurns)), ValueRange{step.semaphore}, Value(now));
    for (size_t round = 0; round < rounds; ++round)
      addRound(step, now, round, ready, elected);
    if (!ordered)
      return;
    tile::TmaStoreWaitOp::create(b, 0, /*complete=*/true);
    tile::SemaphorePostOp::create(b, Value(next), Value(argument(kTurns)), ValueRange{step.semaphore}, Value(elected));
  });
  // The copies read shared memory, which ends with the block.
  tile::TmaStoreWaitOp::create(b);
}

void HopperGradKernel::produce() {
  Val warp = b.id(tile::Id::Warp);
  b.ifThen(warp == 0.0, [&] {
    Val elected = b.wrap(tile::ElectOp::create(b, b.getI1Type()));
    b.ifThen(elected, [&] { loadAll(); });
  });
  if (!apart)
    return b.ifThen((warp > 0.0) & (warp <= double(kAddWarps)), [&] { addFrom(warp - 1.0); });
  for (int64_t c = 0; c < kConsumers; ++c)
    b.ifThen(warp == double(c + 1), [&] { addOwn(c); });
}

//===----------------------------------------------------------------------===//
// Consumers
//===----------------------------------------------------------------------===//

void HopperGradKernel::release(const RowRing &ring, Val slot) {
  arrive(ring.empty, slot, b.constant(b.getI1Type(), 1));
  if (cluster == 1)
    return;
  // A thread for each other block of the cluster.
  Val peer = thread & double(cluster - 1), own = b.id(tile::Id::BlockX) % double(cluster);
  tile::BarrierArriveOp::create(b, Value(ring.empty), Value(slot), Value(peer),
                                Value(((thread & 127.0) < double(cluster)) & (peer != own)));
}

void HopperGradKernel::meetConsumers() { meet(b.i32(kScoresBarrier), 128 * kConsumers); }

Val HopperGradKernel::toLhs(Val value) {
  int64_t columns = cast<RankedTensorType>(value.getType()).getShape()[1];
  return b.wrap(tile::ToLhsOp::create(b, tile::getLhsType(kGroupRows, columns, shape.element), Value(value)));
}

Val HopperGradKernel::loadValues(const RowRing &ring, Val slot, Val first, int64_t columns) {
  Type type = tile::getAccType(kGroupRows, columns, b.getF32Type());
  Val row = b.slice(ring.values, slot);
  return b.wrap(tile::LoadColsOp::create(b, type, Value(row), ValueRange{first}, APFloat(0.0f)));
}

Val HopperGradKernel::getVisible(Val key, Val row, int64_t columns) {
  auto reaches = [&](Val offset) {
    return b.wrap(tile::TriangleOp::create(b, tile::getAccType(kGroupRows, columns, b.getI1Type()), Value(offset)));
  };
  auto isBefore = [&](int64_t end) {
    return b.wrap(tile::RowIndexOp::create(b, tile::getAccType(kGroupRows, columns, b.getI32Type()), Value(key))) <
           double(end);
  };
  Val together;
  if (shape.documents) {
    // Loaded again in every step: there are no registers to keep them.
    DocumentSide side = shape.causal ? DocumentSide::Ends : DocumentSide::Both;
    DocumentRows documents = loadDocumentRows(b, argument(kMask), key, kGroupRows, side, /*group=*/1,
                                              shape.getDocumentSteps(/*ownsKeys=*/true));
    Type index = tile::getAccType(kGroupRows, columns, b.getI32Type());
    together = isInDocument(documents, b.wrap(tile::ColIndexOp::create(b, index, Value(row))));
  }
  // Keys beyond the last one are in no document, and to the right of every query.
  if (!shape.causal)
    return together || shape.keys % (cluster * keyRows) == 0 ? together : isBefore(shape.keys);
  if (shape.isPooled()) {
    Type index = tile::getAccType(kGroupRows, columns, b.getI32Type());
    Val visible = isVisible(shape, b.wrap(tile::RowIndexOp::create(b, index, Value(key))),
                            b.wrap(tile::ColIndexOp::create(b, index, Value(row))));
    return together ? visible & together : visible;
  }
  Val offset = key - row - double(shape.getOffset()), visible = reaches(offset);
  if (together)
    return visible & together;
  if (shape.window <= 0)
    return visible;
  Val inside = reaches(offset + double(shape.window)) ^ 1.0;
  return visible & (shape.sinks > 0 ? inside | isBefore(shape.sinks) : inside);
}

void HopperGradKernel::handOut(Val square, Val i) {
  if (integers)
    square = toIntegers(square, i);
  meet(consumer + double(kTakenBarrier), kHandThreads);
  tile::StoreFragmentOp::create(b, Value(square), Value(b.slice(squares, consumer)), ValueRange());
  tile::FenceAsyncOp::create(b);
  Val taker = apart ? consumer : i % double(kAddWarps) * double(kConsumers) + consumer;
  meet(taker + double(kReadyBarrier), kHandThreads, /*arriving=*/true);
}

Val HopperGradKernel::toIntegers(Val square, Val i) {
  // The squares of the two consumers may lie one below the other.
  Val first = consumer * double(squareLists[1].front().tile * kSquare);
  Val rows = b.wrap(tile::RowIndexOp::create(b, tile::getRowsType(kGroupRows, b.getI32Type()), Value(first)));
  Val factor = b.wrap(tile::LookupOp::create(b, tile::getRowsType(kGroupRows, b.getF32Type()),
                                             Value(b.slice(factors, slotOf(queries, i).first)), ValueRange(),
                                             Value(rows), b.getF32FloatAttr(0.0f)));
  Val scaled = b.fma(square, b.wrap(tile::BroadcastOp::create(b, square.getType(), Value(factor))), dither);
  return b.wrap(tile::RoundOp::create(b, tile::getAccType(kGroupRows, kSquare, b.getI32Type()), Value(scaled)));
}

void HopperGradKernel::beginConsumer() {
  consumer = b.id(tile::Id::Warpgroup) - 1.0;
  leader = (thread & 127.0) == 0.0;
  if (integers)
    dither = b.wrap(
        tile::SplatOp::create(b, tile::getAccType(kGroupRows, kSquare, b.getF32Type()), Value(getDither(b, block))));
  // One warp takes the part of those that take the squares, and says that both are free.
  b.ifThen((b.id(tile::Id::Warp) & 3.0) == 0.0,
           [&] { meet(consumer + double(kTakenBarrier), kHandThreads, /*arriving=*/true); });
  wait(keysFull, b.i32(0), b.i32(0));
}

void HopperGradKernel::endConsumer() {
  // The last square was taken before the shared memory ends.
  meet(consumer + double(kTakenBarrier), kHandThreads);
  meetConsumers();
}

void HopperGradKernel::joinShares(SmallVector<Val> sums, function_ref<void(ArrayRef<Val>)> store) {
  if (shares == 1)
    return store(sums);
  Val own = ((batch * double(shape.kvHeads) + kvHead) * double(blocks) + block) * double(kConsumers) + consumer;
  auto place = [&](int64_t which) { return SmallVector<Value>{own, b.i32(which ? kGroupRows * shape.headDim : 0)}; };
  SharedSums shared{argument(kSums), argument(kTurns), {own + double(countTileTurns())},
                    place,           ownShare,         b.i32(shares)};
  sums = addInTurn(shared, std::move(sums), leader, [&] { meet(consumer + double(kSharesBarrier), 128); });
  b.ifThen(ownShare == double(shares - 1), [&] { store(sums); });
}

void HopperGradKernel::storeGradients(Val dvTile, Val dkTile, Val tileRow, Val key) {
  auto store = [&](Val tile, Argument map) {
    tile::TmaStoreOp::create(b, Value(tile), Value(tileRow), Value(argument(map)), Value(batch), Value(kvHead),
                             Value(key));
  };
  store(dvTile, kDv);
  store(dkTile, kDk);
  tile::TmaStoreWaitOp::create(b);
}
