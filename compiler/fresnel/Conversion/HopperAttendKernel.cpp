//===- HopperAttendKernel.cpp - Set-up and producer of attention ----------===//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//

#include "fresnel/Conversion/HopperAttendKernel.h"

using namespace mlir;
using namespace fresnel;

/// From this width on it pays to skip corrections of the accumulator that
/// multiply with 1. Below, the branch costs more: it holds all exponentials back
/// until the product with V has ended.
constexpr int64_t kLazyValueDim = 192;

HopperAttendKernel::HopperAttendKernel(AttendOp op, const KernelRequest &request, KernelBuilder &builder)
    : HopperRings(builder), request(request), shape(op), tileM(request.schedule.getTileM()),
      tileN(request.schedule.getTileN()), stages(request.schedule.getStages()), consumers(tileM / kGroupRows),
      cluster(request.schedule.getCluster()), persistent(request.schedule.getPersistent()),
      chained(isHopperChained(request.schedule, op)), held(holdsHopperQueries(request.schedule, op)),
      reusesWeights(reusesHopperWeights(request.schedule, op)),
      ownOutput(hasHopperOutputTile(request.schedule, op) || reusesWeights), queryRows(held ? kGroupRows : tileM),
      lazy(shape.valueDim >= kLazyValueDim), early(request.schedule.getEarly()),
      sharedWeights(request.schedule.getSharedWeights()), outArgument(3 + op.getMasks().size()), op(op),
      math(builder, shape, kGroupRows, tileN),
      at(builder, shape, request.schedule, getHopperTiles(request.schedule, op), math), tiles(at.getCount()),
      grouped(at.getGroup() > 1) {}

void HopperAttendKernel::write() {
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
    at.setDocuments(b.argument(kernel, outArgument - 1));
  if (shape.starts)
    at.setStarts(b.argument(kernel, outArgument - 1));
  allocate();
  initialise();
  writeRoles(consumers, getHopperRegisters(consumers, minBlocks), [&] { produce(); }, [&] { consume(); });
  // A block's memory must stay until the others have told it what they are done with.
  if (cluster > 1)
    tile::ClusterBarrierOp::create(b);
}

//===----------------------------------------------------------------------===//
// Set-up
//===----------------------------------------------------------------------===//

SmallVector<Type> HopperAttendKernel::getArgumentTypes() {
  // The output is laid out as the queries.
  auto map = [&](int64_t rows, int64_t dim) -> Type {
    return tile::TensorMapType::get(b.getContext(), rows, getHopperPanel(dim), shape.element);
  };
  int64_t box = shape.hasBlocks() ? std::min(tileN, shape.keyBlock) : tileN / cluster;
  SmallVector<Type> types{grouped ? Type(request.views[0]) : map(queryRows, shape.headDim), map(box, shape.headDim),
                          map(box, shape.valueDim)};
  types.append(request.views.begin() + 3, request.views.begin() + outArgument);
  types.append(
      {grouped ? Type(request.views[outArgument]) : map(kGroupRows, shape.headDim), request.views[outArgument + 1]});
  if (persistent)
    types.push_back(tile::GlobalType::get(b.getContext(), {1}, b.getI32Type(), /*strided=*/false));
  return types;
}

/// Tiles of whole panels.
static tile::Layout getLayout(int64_t columns) {
  return getHopperPanel(columns) == 64 ? tile::Layout::Swizzled : tile::Layout::Swizzled64;
}

void HopperAttendKernel::allocate() {
  int64_t turns = chained ? 2 : 1;
  tile::Layout keyLayout = getLayout(shape.headDim), valueLayout = getLayout(shape.valueDim);
  Val queries = b.alloc({turns * (tileM / queryRows), queryRows, shape.headDim}, shape.element, keyLayout);
  queryRing = {turns, queries, allocBarriers(turns), allocBarriers(turns)};
  qTile = b.slice(queries, b.i32(0));
  if (sharedWeights)
    weightTile = b.alloc({tileM, tileN}, shape.element, getLayout(tileN));
  // Else a warpgroup's output takes the place of its own queries or weights, which it no longer needs.
  if (reusesWeights)
    oTile = b.allocReusing(weightTile, {tileM, shape.valueDim}, shape.element, keyLayout);
  else if (ownOutput)
    oTile = b.alloc({tileM, shape.valueDim}, shape.element, keyLayout);
  else if (!chained)
    oTile = b.allocReusing(queryRing.tiles, {tileM, shape.valueDim}, shape.element, keyLayout);
  keyRing = allocRing(stages, tileN, shape.headDim, shape.element, keyLayout);
  valueRing = allocRing(stages, tileN, shape.valueDim, shape.element, valueLayout);
  numberRead = allocBarriers(queryRing.stages);
  tileNumber = b.alloc({queryRing.stages}, b.getI32Type());
  if (int64_t ordered = countHopperOrder(request.schedule, op)) {
    order = b.alloc({ordered}, b.getIntegerType(16));
    orderKeys = b.allocReusing(keyRing.tiles, {ordered + 4}, b.getI32Type(), tile::Layout::Linear);
  }
  if (early)
    scratch = b.alloc({consumers, kHopperScratch}, b.getF32Type());
}

void HopperAttendKernel::initialise() {
  thread = b.id(tile::Id::Thread);
  b.ifThen(thread == b.i32(0), [&] {
    for (unsigned i : {0u, 1u, 2u, outArgument})
      if (isa<tile::TensorMapType>(b.argument(kernel, i).getType()))
        tile::PrefetchMapOp::create(b, Value(b.argument(kernel, i)));
    for (const Ring &ring : {keyRing, valueRing}) {
      initBarriers(ring.full, 1);
      initBarriers(ring.empty, consumers * cluster);
    }
    initBarriers(queryRing.empty, consumers);
    initBarriers(numberRead, 128 * consumers);
    initBarriers(queryRing.full, 1, /*fence=*/true);
  });
  if (cluster > 1)
    tile::ClusterBarrierOp::create(b);
  else
    b.barrier();
  if (order)
    at.sortTiles(orderKeys, order, 128 * (consumers + 1));
  if (!shape.hasBlocks())
    return;
  at.readLists(b.argument(kernel, 3));
  if (grouped)
    copyQueries();
}

void HopperAttendKernel::copyQueries() {
  tile::CopyAsyncOp::create(b, Value(b.argument(kernel, 0)), Value(at.batch), Value(at.head), Value(at.firstRow),
                            Value(qTile), Value(), /*block=*/1, uint32_t(at.getGroup()));
  tile::CopyCommitOp::create(b);
  tile::CopyWaitOp::create(b, 0);
  tile::FenceAsyncOp::create(b);
  b.barrier();
}

//===----------------------------------------------------------------------===//
// Producer
//===----------------------------------------------------------------------===//

void HopperAttendKernel::loadKeys(unsigned argument, Val i, Val target, Val barriers, Val slot) {
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

void HopperAttendKernel::fill(unsigned argument, const Ring &ring, Val base, Val i) {
  auto [slot, parity] = slotOf(base + i);
  wait(ring.empty, slot, parity ^ 1.0);
  loadKeys(argument, i, b.slice(ring.tiles, slot), ring.full, slot);
}

Val HopperAttendKernel::announce(Val index, Val turn) {
  auto [slot, parity] = HopperRings::slotOf(queryRing, turn);
  wait(queryRing.empty, slot, parity ^ 1.0);
  wait(numberRead, slot, parity ^ 1.0);
  b.store(index, tileNumber, {slot});
  return slot;
}

void HopperAttendKernel::loadQueries(Val index, Val turn) {
  Val slot = persistent ? announce(index, turn) : b.i32(0);
  if (grouped)
    return;
  int64_t parts = tileM / queryRows;
  expect(queryRing.full, slot, parts * cast<tile::SharedType>(qTile.getType()).getBytes());
  for (int64_t part = 0; part < parts; ++part) {
    Val target = b.slice(queryRing.tiles, slot * double(parts) + double(part));
    Val row = at.firstRow + double(part * queryRows);
    tile::TmaLoadOp::create(b, Value(b.argument(kernel, 0)), Value(at.batch), Value(at.head), Value(row), Value(target),
                            Value(queryRing.full), Value(slot), /*evictLast=*/false);
  }
}

Val HopperAttendKernel::askForNext() {
  if (!persistent)
    return Val();
  Val counter = b.argument(kernel, outArgument + 2);
  return b.atomic(tile::Combine::Add, b.i32(1), counter, {b.i32(0)}) + double(std::min(tiles, kHopperMultiprocessors));
}

Val HopperAttendKernel::produceTile(Val index, Val base, Val turn) {
  at.locate(index);
  if (cluster > 1)
    at.joinCluster();
  if (chained)
    loadQueries(index, turn);
  fill(1, keyRing, base, b.i32(0));
  if (!chained)
    loadQueries(index, turn);
  b.forRange(b.i32(1), at.visited.count, b.i32(1), [&](Val i) {
    fill(1, keyRing, base, i);
    fill(2, valueRing, base, i - 1.0);
  });
  Val next = askForNext();
  fill(2, valueRing, base, at.visited.count - 1.0);
  return next;
}

void HopperAttendKernel::produce() {
  Val elected = b.wrap(tile::ElectOp::create(b, b.getI1Type()));
  b.ifThen((b.id(tile::Id::Warp) == b.i32(0)) & elected, [&] {
    Val zero = b.i32(0), first = b.id(tile::Id::BlockX);
    if (!persistent) {
      produceTile(first, zero, zero);
      return;
    }
    auto hasTile = [&](ArrayRef<Val> state) { return state[0] < double(tiles); };
    SmallVector<Val> end = b.whileLoop({first, zero, zero}, hasTile, [&](ArrayRef<Val> state) {
      Val next = produceTile(state[0], state[1], state[2]);
      return SmallVector<Val>{next, state[1] + at.visited.count, state[2] + 1.0};
    });
    // A number beyond the last tile sends the consumers home.
    Val slot = announce(end[0], end[2]);
    arrive(queryRing.full, slot, b.constant(b.getI1Type(), 1));
  });
}
