//===- HopperRings.cpp - Rings of tiles between the roles of a kernel -----===//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//

#include "fresnel/Conversion/HopperRings.h"
#include "llvm/Support/MathExtras.h"

using namespace mlir;
using namespace fresnel;

HeadTile fresnel::walkSections(Val index, int64_t heads, int64_t section, int64_t tiles) {
  KernelBuilder &b = index.getBuilder();
  Val first = index / double(section * tiles) * double(section);
  // The last section may be smaller.
  Val width = heads % section ? b.min(b.i32(section), double(heads) - first) : b.i32(section);
  Val rest = index % double(section * tiles);
  return {first + rest % width, rest / width};
}

void HopperRings::writeRoles(int64_t consumers, HopperRegisters registers, function_ref<void()> produce,
                             function_ref<void()> consume) {
  auto roles = tile::WarpSpecializeOp::create(b, consumers, registers.producer, registers.consumer);
  auto write = [&](Region &region, function_ref<void()> body) {
    OpBuilder::InsertionGuard guard(b);
    b.createBlock(&region);
    body();
    tile::YieldOp::create(b);
  };
  write(roles.getProducer(), produce);
  write(roles.getConsumer(), consume);
}

Val HopperRings::allocBarriers(int64_t count) {
  return b.wrap(tile::AllocOp::create(b, tile::BarriersType::get(b.getContext(), count), Value()));
}

HopperRings::Ring HopperRings::allocRing(int64_t stages, int64_t rows, int64_t columns, Type element,
                                         tile::Layout layout) {
  Val tiles = b.alloc({stages, rows, columns}, element, layout);
  return {stages, tiles, allocBarriers(stages), allocBarriers(stages)};
}

void HopperRings::initBarriers(Val barriers, int64_t arrivals, bool fence) {
  tile::BarrierInitOp::create(b, Value(barriers), uint32_t(arrivals), fence);
}

std::pair<Val, Val> HopperRings::slotOf(const Ring &ring, Val i) {
  if (ring.stages == 1)
    return {b.i32(0), i & 1.0};
  if (llvm::isPowerOf2_64(ring.stages)) {
    int64_t bits = llvm::Log2_64(ring.stages);
    return {i & double(ring.stages - 1), (i >> double(bits)) & 1.0};
  }
  return {i % double(ring.stages), (i / double(ring.stages)) & 1.0};
}

void HopperRings::wait(Val barriers, Val slot, Val parity) {
  tile::BarrierWaitOp::create(b, Value(barriers), Value(slot), Value(parity));
}

void HopperRings::expect(Val barriers, Val slot, int64_t bytes) {
  tile::BarrierExpectOp::create(b, Value(barriers), Value(slot), uint32_t(bytes));
}

void HopperRings::arrive(Val barriers, Val slot, Val predicate) {
  tile::BarrierArriveOp::create(b, Value(barriers), Value(slot), Value(predicate));
}

void HopperRings::meet(Val id, int64_t threads, bool arriving) {
  tile::BarrierOp::create(b, Value(id), b.getI32IntegerAttr(int32_t(threads)), arriving);
}

SmallVector<Val> HopperRings::addInTurn(const SharedSums &shared, SmallVector<Val> sums, Val leader,
                                        function_ref<void()> meetOwn) {
  sums = b.ifElse(
      shared.number > 0.0,
      [&] {
        b.ifThen(leader,
                 [&] { tile::SemaphoreWaitOp::create(b, Value(shared.turns), shared.turn, Value(shared.number)); });
        meetOwn();
        SmallVector<Val> joined;
        for (auto [which, sum] : llvm::enumerate(sums))
          joined.push_back(sum + b.wrap(tile::LoadFragmentOp::create(b, sum.getType(), Value(shared.sums),
                                                                     shared.place(int64_t(which)))));
        return joined;
      },
      [&] { return sums; });
  Val isLast = shared.number == shared.count - 1.0;
  b.ifThen(isLast ^ 1.0, [&] {
    for (auto [which, sum] : llvm::enumerate(sums))
      tile::StoreFragmentOp::create(b, Value(sum), Value(shared.sums), shared.place(int64_t(which)));
  });
  meetOwn();
  Val next = b.select(isLast, b.i32(0), shared.number + 1.0);
  tile::SemaphorePostOp::create(b, Value(next), Value(shared.turns), shared.turn, Value(leader));
  return sums;
}

Val HopperRings::waitFor(Val product, int64_t pending) {
  return b.wrap(tile::WgmmaWaitOp::create(b, product.getType(), uint32_t(pending), Value(product)));
}
