//===- HopperRegroupScored.cpp - Scores of blocks with TMA and WGMMA ------===//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
//
// A thread block keeps the queries of some tokens, of all heads that share a key head, in
// shared memory, and walks the keys once: the LSE is known. The consumers take turns at
// tiles of 64 keys, which are the rows of their products and stay in registers; columns
// are queries, those of several heads side by side. While one product's exponentials are
// summed over the heads the next product runs. What the mask hides is the same for all
// heads and is dropped from the sums.
//
// A tile of keys has all windows that reach into its blocks, so that neighbouring tiles
// share some keys, and each tile's scores of blocks are its own.
//
//===----------------------------------------------------------------------===//

#include "fresnel/Conversion/BlockLists.h"
#include "fresnel/Conversion/HopperRings.h"
#include "fresnel/Conversion/ToTile.h"
#include "fresnel/Schedule/Hopper.h"
#include "fresnel/Schedule/HopperScores.h"
#include <cmath>

using namespace mlir;
using namespace fresnel;

namespace {

constexpr int64_t kKeys = HopperScoreTiles::kKeys, kConsumers = HopperScoreTiles::kConsumers;
constexpr int64_t kThreads = 128 * (kConsumers + 1), kLanes = 32;
/// The named barrier of the first consumer's own threads; the others' follow.
constexpr int64_t kOwnBarrier = 1;

/// Positions of the kernel's arguments.
enum Argument : unsigned { kQ, kK, kLse, kResult };

class HopperRegroupScored : HopperRings {
public:
  HopperRegroupScored(RegroupScoredOp op, const KernelRequest &request, KernelBuilder &builder)
      : HopperRings(builder), request(request), op(op), q(cast<RankedTensorType>(op.getQ().getType())),
        k(cast<RankedTensorType>(op.getK().getType())), result(cast<RankedTensorType>(op.getResult().getType())),
        cut(op, request.schedule.getTileM()) {}

  void write() {
    kernel = b.beginKernel(request.getName(), getArgumentTypes(), kThreads,
                           {getRowTiles(), k.getDimSize(1), k.getDimSize(0)});
    allocate();
    locate();
    initialise();
    HopperRegisters registers = getHopperRegisters(kConsumers, /*minBlocks=*/1);
    auto roles = tile::WarpSpecializeOp::create(b, kConsumers, registers.producer, registers.consumer);
    writeRole(roles.getProducer(), [&] { produce(); });
    writeRole(roles.getConsumer(), [&] { consume(); });
  }

private:
  int64_t getRows() const { return q.getDimSize(2); }
  int64_t getDepth() const { return q.getDimSize(3); }
  int64_t getRowTiles() const { return llvm::divideCeil(getRows(), cut.tokens); }
  int64_t getResultBlocks() const { return result.getDimSize(3); }
  Val argument(unsigned position) { return b.argument(kernel, position); }

  SmallVector<Type> getArgumentTypes() {
    SmallVector<Type> types(request.views.begin(), request.views.end());
    types[kQ] = tile::TensorMapType::get(b.getContext(), cut.tokens, 64, q.getElementType(), cut.heads);
    types[kK] = tile::TensorMapType::get(b.getContext(), kKeys, 64, q.getElementType(), 1);
    return types;
  }

  void allocate() {
    Type element = q.getElementType(), f32 = b.getF32Type();
    queries = b.alloc({cut.getProducts(), cut.getColumns(), getDepth()}, element, tile::Layout::Swizzled);
    keys = allocRing(kConsumers, kKeys, getDepth(), element);
    sums = b.alloc({kConsumers, cut.tokens, kKeys}, f32, tile::Layout::Padded);
    lses = b.alloc({cut.getProducts(), cut.getColumns()}, f32);
    queriesFull = allocBarriers(1);
  }

  void locate() {
    Val x = b.id(tile::Id::BlockX);
    // Under a causal mask the last rows have the most work: start them first.
    firstRow = (op.getCausal() ? double(getRowTiles() - 1) - x : x) * double(cut.tokens);
    batch = b.id(tile::Id::BlockZ);
    kvHead = b.id(tile::Id::BlockY);
    thread = b.id(tile::Id::Thread);
  }

  /// How many keys, from the first on, a token sees.
  Val countSeen(Val token) {
    Val all = b.i32(k.getDimSize(2));
    if (!op.getCausal())
      return all;
    int64_t stride = op.getStride();
    // Clamped before the division, which rounds towards zero.
    Val reach = b.max(token + double(1 - int64_t(op.getWindow()) + stride), b.i32(0));
    return b.min(divideBy(reach, stride), all);
  }

  /// For each role by itself, so that nothing is carried into both: tiles with a block into which a window reaches that
  /// some query of the tile sees.
  Val countTiles() {
    Val seen = countSeen(b.min(firstRow + double(cut.tokens - 1), b.i32(getRows() - 1)));
    Val blocks = divideBy(seen + double(cut.windowCells + cut.blockCells - 2), cut.blockCells);
    blocks = b.select(seen == 0.0, b.i32(0), b.min(blocks, b.i32(getResultBlocks())));
    return divideBy(blocks + double(cut.getBlocks() - 1), cut.getBlocks());
  }

  void initialise() {
    b.ifThen(thread == 0.0, [&] {
      for (unsigned i : {kQ, kK})
        tile::PrefetchMapOp::create(b, Value(argument(i)));
      initBarriers(keys.full, 1);
      // A lane of each warp of the one consumer that reads the tile.
      initBarriers(keys.empty, 4);
      initBarriers(queriesFull, 1, /*fence=*/true);
    });
    b.forRange(thread, b.i32(cut.group * cut.tokens), b.i32(kThreads), [&](Val i) {
      Val head = kvHead * double(cut.group) + divideBy(i, cut.tokens), row = firstRow + moduloBy(i, cut.tokens);
      Val inside = row < double(getRows());
      Val lse = b.load(argument(kLse), {batch, head, b.min(row, b.i32(getRows() - 1))});
      // Rows that see nothing, and those that do not exist, weigh nothing.
      lse = b.select(inside & (lse > -INFINITY), lse * M_LOG2E, b.f32(INFINITY));
      b.store(lse, lses, {divideBy(i, cut.getColumns()), moduloBy(i, cut.getColumns())});
    });
    b.barrier();
  }

  /// The first key of a tile, negative where windows would begin before the first.
  Val getFirstKey(Val index) { return index * double(cut.getBlocks() * cut.blockCells) - double(cut.getLeadingKeys()); }

  //===--------------------------------------------------------------------===//
  // Producer
  //===--------------------------------------------------------------------===//

  void load(unsigned map, Val head, Val row, Val target, Val barriers, Val slot, bool evictLast) {
    tile::TmaLoadOp::create(b, Value(argument(map)), Value(batch), Value(head), Value(row), Value(target),
                            Value(barriers), Value(slot), evictLast);
  }

  void loadKeys(Val index) {
    auto [slot, parity] = slotOf(keys, index);
    wait(keys.empty, slot, parity ^ 1.0);
    expect(keys.full, slot, cast<tile::SharedType>(keys.tiles.getType()).getTileBytes());
    load(kK, kvHead, getFirstKey(index), b.slice(keys.tiles, slot), keys.full, slot, /*evictLast=*/true);
  }

  void produce() {
    Val elected = b.wrap(tile::ElectOp::create(b, b.getI1Type())), zero = b.i32(0), visited = countTiles();
    b.ifThen((b.id(tile::Id::Warp) == zero) & elected & (visited > 0.0), [&] {
      loadKeys(zero);
      expect(queriesFull, zero, cast<tile::SharedType>(queries.getType()).getBytes());
      for (int64_t i = 0; i < cut.getProducts(); ++i)
        load(kQ, kvHead * double(cut.group) + double(i * cut.heads), firstRow, b.slice(queries, b.i32(i)), queriesFull,
             zero,
             /*evictLast=*/false);
      b.forRange(b.i32(1), visited, b.i32(1), [&](Val index) { loadKeys(index); });
    });
  }

  //===--------------------------------------------------------------------===//
  // Consumers
  //===--------------------------------------------------------------------===//

  Type getProductType() { return tile::getAccType(kKeys, cut.getColumns(), b.getF32Type()); }

  /// Starts the product of a tile of keys with the queries of some heads.
  Val multiply(Val keyRows, int64_t product) {
    return b.wrap(tile::WgmmaOp::create(b, getProductType(), Value(keyRows), Value(),
                                        Value(b.slice(queries, b.i32(product))), Value(), /*transposed=*/true));
  }

  /// `sum`, or nothing, and the probabilities of a product's pairs, summed over its heads.
  Val weigh(Val scores, int64_t product, Val sum) {
    Type type = tile::getAccType(kKeys, cut.tokens, b.getF32Type());
    for (int64_t head = 0; head < cut.heads; ++head) {
      Val first = b.i32(head * cut.tokens), part = scores;
      if (cut.heads > 1)
        part = b.wrap(tile::ColumnsOp::create(b, type, Value(scores), uint32_t(head * cut.tokens)));
      SmallVector<Value> place{Value(b.i32(product)), Value(first)};
      Val lse = b.wrap(tile::LoadColsOp::create(b, type, Value(lses), place, APFloat(0.0f)));
      Val weights = b.exp2(part * (op.getScaleOrDefault() * M_LOG2E) - lse);
      sum = sum ? sum + weights : weights;
    }
    return sum;
  }

  void meetGroup() {
    tile::BarrierOp::create(b, Value(consumer + double(kOwnBarrier)), b.getI32IntegerAttr(128), /*arrive=*/false);
  }

  /// The score of a tile's block from the sums of the windows that there are and that the token sees: each counts as
  /// often as it shares cells.
  Val sumWindows(Val buffer, Val token, Val block, Val firstKey) {
    int64_t count = cut.blockCells + cut.windowCells - 1, width = cut.blockCells % 4 == 0 ? 4 : 1;
    Val sum = b.f32(0), first = block * double(cut.blockCells);
    // Counted from the block's first window on.
    Val begin = b.i32(0) - firstKey - first, end = countSeen(firstRow + token) + begin;
    auto add = [&](int64_t offset, Val value) {
      int64_t start = offset - cut.windowCells + 1;
      Val seen = end > double(offset);
      if (offset < cut.getLeadingKeys())
        seen = seen & (begin <= double(offset));
      value = b.select(seen, value, b.f32(0));
      int64_t shared = std::min(start + cut.windowCells, cut.blockCells) - std::max<int64_t>(start, 0);
      sum = b.fma(value, b.f32(double(shared)), sum);
    };
    int64_t offset = 0;
    for (; width > 1 && offset + width <= count; offset += width) {
      Val values = b.load(buffer, {token, first + double(offset)}, width);
      for (int64_t i = 0; i < width; ++i)
        add(offset + i, b.extract(values, i));
    }
    for (; offset < count; ++offset)
      add(offset, b.load(buffer, {token, first + double(offset)}));
    return sum;
  }

  void store(Val token, Val block, Val value) {
    Val row = firstRow + token;
    b.ifThen((row < double(getRows())) & (block < double(getResultBlocks())),
             [&] { b.store(value, argument(kResult), {batch, kvHead, row, block}); });
  }

  /// The `turn`-th tile of this consumer, in the slot that is its own.
  void consumeTile(Val turn) {
    Val index = turn * double(kConsumers) + consumer;
    wait(keys.full, consumer, turn & 1.0);
    Type lhs = tile::getLhsType(kKeys, getDepth(), q.getElementType());
    Val keyRows = b.wrap(tile::LoadLhsOp::create(b, lhs, Value(b.slice(keys.tiles, consumer)), 0));
    Val product = multiply(keyRows, 0), sum;
    for (int64_t i = 0; i < cut.getProducts(); ++i) {
      bool more = i + 1 < cut.getProducts();
      Val next = more ? multiply(keyRows, i + 1) : Val();
      product = waitFor(product, more ? 1 : 0);
      // What a product has used has been read.
      if (i == 0)
        arrive(keys.empty, consumer, (thread & double(kLanes - 1)) == 0.0);
      sum = weigh(product, i, sum);
      product = next;
    }
    Val buffer = b.slice(sums, consumer);
    // Everyone has read the sums of the tile before.
    meetGroup();
    tile::StoreSharedOp::create(b, Value(sum), Value(buffer), /*transposed=*/true);
    meetGroup();
    // Neighbouring threads share a token.
    int64_t sharing = 128 / cut.tokens;
    Val own = thread & 127.0, token = divideBy(own, sharing);
    b.forRange(moduloBy(own, sharing), b.i32(cut.getBlocks()), b.i32(sharing), [&](Val block) {
      store(token, index * double(cut.getBlocks()) + block, sumWindows(buffer, token, block, getFirstKey(index)));
    });
  }

  void consume() {
    consumer = b.id(tile::Id::Warpgroup) - 1.0;
    Val visited = countTiles();
    // Blocks that no query of the tile sees anything of, while the queries arrive.
    Val warp = b.id(tile::Id::Warp) - 4.0, lane = b.id(tile::Id::Lane);
    b.forRange(warp, b.i32(cut.tokens), b.i32(4 * kConsumers), [&](Val token) {
      b.forRange(visited * double(cut.getBlocks()) + lane, b.i32(getResultBlocks()), b.i32(kLanes),
                 [&](Val block) { store(token, block, b.f32(0)); });
    });
    // Here, not before each product: the compiler moves sums behind a wait, and holds all products until then.
    b.ifThen(visited > 0.0, [&] { wait(queriesFull, b.i32(0), b.i32(0)); });
    Val turns = divideBy(visited + double(kConsumers - 1) - consumer, kConsumers);
    b.forRange(b.i32(0), turns, b.i32(1), [&](Val turn) { consumeTile(turn); });
  }

  const KernelRequest &request;
  RegroupScoredOp op;
  RankedTensorType q, k, result;
  HopperScoreTiles cut;
  tile::KernelOp kernel;
  Val thread, batch, kvHead, firstRow;
  Val queries, sums, lses, queriesFull;
  Ring keys;
  // In a consumer: its number.
  Val consumer;
};

} // namespace

LogicalResult fresnel::lowerRegroupScored(RegroupScoredOp op, const KernelRequest &request, KernelBuilder &builder) {
  HopperRegroupScored(op, request, builder).write();
  return success();
}
