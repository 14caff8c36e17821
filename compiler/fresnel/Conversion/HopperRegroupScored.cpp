//===- HopperRegroupScored.cpp - Scores of blocks with TMA and WGMMA ------===//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
//
// A thread block keeps the queries of some tokens, of all heads that share a key head, in
// shared memory, and walks the keys once: the LSE is known. The consumers take turns at
// tiles of 64 keys, which are the rows of their products and stay in registers; columns
// are queries, those of several heads side by side. While one consumer sums the exponentials
// of a product over the heads the products of the others run. What the mask hides is the same
// for all heads and is dropped from the sums.
//
// There is a thread block for each multiprocessor, which takes one tile of tokens after the
// other: as the consumers are done with the queries of a product, those of the next tile
// come. Warps of the producer bring the tile's LSE and store the zeros of hidden blocks.
//
// Two runs give the same bits: the heads of a pair are added in their order, in registers
// of one thread; no memory is added to by two threads; and nothing is read before it is there
// or replaced before it is read:
// - A tile of keys has one consumer, which waits for the phase of its own slot. Each warp
//   gives it back when its first product has ended, for which it had to have its rows in
//   registers: no load is under way.
// - A warp gives back the queries of a product when this product of its last tile of keys has
//   ended, and the LSE when it has used them.
// - Sums go through a buffer of the consumer, between barriers of its threads.
// - Sums of the last windows of a tile that reach into the next are left for the consumer that has it, which waits for
//   the phase. They are replaced three tiles later, by threads that have waited for those which had read them before
//   they left their own.
//
//===----------------------------------------------------------------------===//

#include "fresnel/Conversion/BlockLists.h"
#include "fresnel/Conversion/Documents.h"
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
/// Threads of the producer that bring LSE and store zeros.
constexpr int64_t kHelpers = 128 - kLanes;
/// Values that a helper has under way.
constexpr int64_t kLoads = 3;
/// The named barrier of the first consumer's own threads; the others' follow.
constexpr int64_t kOwnBarrier = 1;

/// Positions of the kernel's arguments.
enum Argument : unsigned { kQ, kK, kLse, kDocuments };

class HopperRegroupScored : HopperRings {
public:
  HopperRegroupScored(RegroupScoredOp op, const KernelRequest &request, KernelBuilder &builder)
      : HopperRings(builder), request(request), op(op), q(cast<RankedTensorType>(op.getQ().getType())),
        k(cast<RankedTensorType>(op.getK().getType())), result(cast<RankedTensorType>(op.getResult().getType())),
        cut(op, request.schedule.getTileM()) {}

  void write() {
    kernel = b.beginKernel(request.getName(), getArgumentTypes(), kThreads, {getThreadBlocks(), 1, 1});
    allocate();
    initialise();
    writeRoles(kConsumers, getHopperRegisters(kConsumers, /*minBlocks=*/1), [&] { produce(); }, [&] { consume(); });
  }

private:
  int64_t getRows() const { return q.getDimSize(2); }
  int64_t getDepth() const { return q.getDimSize(3); }
  int64_t getRowTiles() const { return llvm::divideCeil(getRows(), cut.tokens); }
  int64_t getHeads() const { return k.getDimSize(0) * k.getDimSize(1); }
  int64_t getThreadBlocks() const { return std::min(getRowTiles() * getHeads(), kHopperMultiprocessors); }
  int64_t getResultBlocks() const { return result.getDimSize(3); }
  Val argument(unsigned position) { return b.argument(kernel, position); }
  Val getResult() { return argument(request.views.size() - 1); }

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
    lses = b.alloc({2, cut.getProducts(), cut.getColumns()}, f32);
    queriesFull = allocBarriers(1);
    queriesEmpty = allocBarriers(cut.getProducts());
    lsesFull = allocBarriers(2);
    lsesEmpty = allocBarriers(2);
    edges = b.alloc({kConsumers, cut.tokens, std::max<int64_t>(cut.getLeadingKeys(), 1)}, f32);
    edgesFull = allocBarriers(kConsumers);
  }

  /// Calls `body` with the number of this thread block's tile of tokens, and what is carried along.
  void forTiles(ArrayRef<Val> init, function_ref<SmallVector<Val>(Val, ArrayRef<Val>)> body) {
    int64_t tiles = getRowTiles() * getHeads(), blocks = getThreadBlocks(), rounds = tiles / blocks;
    // Every other round backwards: the tiles become shorter from one to the next.
    auto number = [&](Val round) {
      Val x = b.id(tile::Id::BlockX);
      return round * double(blocks) + b.select((round & 1.0) == 0.0, x, double(blocks - 1) - x);
    };
    Val mine = b.i32(rounds);
    if (tiles % blocks)
      mine = b.select(number(mine) < double(tiles), mine + 1.0, mine);
    b.forRange(b.i32(0), mine, b.i32(1), init, [&](Val round, ArrayRef<Val> carried) {
      locate(number(round));
      return body(round, carried);
    });
  }

  void locate(Val number) {
    Val rowTile = divideBy(number, getHeads()), head = moduloBy(number, getHeads());
    // Under a causal mask the last rows have the most work: start them first.
    firstRow = (op.getCausal() ? double(getRowTiles() - 1) - rowTile : rowTile) * double(cut.tokens);
    batch = divideBy(head, k.getDimSize(1));
    kvHead = moduloBy(head, k.getDimSize(1));
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

  /// The first key that a token sees, whether or not there is one.
  Val getStart(Val token) {
    return loadDocumentEdges(b, argument(kDocuments), token, 1, {1, int64_t(op.getStride())}).firstStart;
  }

  /// With documents: the tiles in front of the first that a query of the tile of tokens sees, at most all.
  Val getFirstTile(Val end) { return b.min(divideBy(getStart(firstRow), cut.blockCells * cut.getBlocks()), end); }

  /// For each role by itself, so that nothing is carried into both: tiles with a block into which a window reaches that
  /// some query of the tile sees.
  Val countTiles() {
    Val seen = countSeen(b.min(firstRow + double(cut.tokens - 1), b.i32(getRows() - 1)));
    Val blocks = divideBy(seen + double(cut.windowCells + cut.blockCells - 2), cut.blockCells);
    blocks = b.select(seen == 0.0, b.i32(0), b.min(blocks, b.i32(getResultBlocks())));
    return divideBy(blocks + double(cut.getBlocks() - 1), cut.getBlocks());
  }

  void initialise() {
    b.ifThen(b.id(tile::Id::Thread) == 0.0, [&] {
      for (unsigned i : {kQ, kK})
        tile::PrefetchMapOp::create(b, Value(argument(i)));
      initBarriers(keys.full, 1);
      // A lane of each warp of the one consumer that reads the tile.
      initBarriers(keys.empty, 4);
      // A lane of each warp of all consumers.
      initBarriers(queriesEmpty, 4 * kConsumers);
      // Each thread, which reads them by itself.
      initBarriers(lsesEmpty, 128 * kConsumers);
      initBarriers(lsesFull, kHelpers);
      initBarriers(edgesFull, 128);
      initBarriers(queriesFull, 1, /*fence=*/true);
    });
    b.barrier();
  }

  Val getFirstKey(Val index) { return index * double(cut.getStep()); }

  //===--------------------------------------------------------------------===//
  // Producer
  //===--------------------------------------------------------------------===//

  void load(unsigned map, Val head, Val row, Val target, Val barriers, Val slot, bool evictLast) {
    tile::TmaLoadOp::create(b, Value(argument(map)), Value(batch), Value(head), Value(row), Value(target),
                            Value(barriers), Value(slot), evictLast);
  }

  /// The `index`-th tile of keys of a tile of tokens, in all the `turn`-th.
  void loadKeys(Val index, Val turn) {
    auto [slot, parity] = slotOf(keys, turn);
    wait(keys.empty, slot, parity ^ 1.0);
    expect(keys.full, slot, cast<tile::SharedType>(keys.tiles.getType()).getTileBytes());
    load(kK, kvHead, getFirstKey(index), b.slice(keys.tiles, slot), keys.full, slot, /*evictLast=*/true);
  }

  void loadQueries(Val round) {
    for (int64_t i = 0; i < cut.getProducts(); ++i) {
      wait(queriesEmpty, b.i32(i), (round & 1.0) ^ 1.0);
      // Then the consumers have seen those of the tile before.
      if (i == 0)
        expect(queriesFull, b.i32(0), cast<tile::SharedType>(queries.getType()).getBytes());
      load(kQ, kvHead * double(cut.group) + double(i * cut.heads), firstRow, b.slice(queries, b.i32(i)), queriesFull,
           b.i32(0), /*evictLast=*/false);
    }
  }

  void produce() {
    Val elected = b.wrap(tile::ElectOp::create(b, b.getI1Type())), zero = b.i32(0), warp = b.id(tile::Id::Warp);
    b.ifThen((warp == zero) & elected, [&] {
      forTiles({zero}, [&](Val round, ArrayRef<Val> carried) {
        Val visited = countTiles(), skipped;
        if (op.getDocuments()) {
          skipped = getFirstTile(visited);
          visited = visited - skipped;
        }
        auto load = [&](Val index) { loadKeys(skipped ? skipped + index : index, carried[0] + index); };
        // Those whose slots are free before the queries are.
        Val early = b.min(visited, b.i32(kConsumers));
        b.forRange(zero, early, b.i32(1), load);
        loadQueries(round);
        b.forRange(early, visited, b.i32(1), load);
        return SmallVector<Val>{carried[0] + visited};
      });
    });
    b.ifThen(warp > zero, [&] {
      forTiles({}, [&](Val round, ArrayRef<Val>) {
        provideLses(round);
        storeZeros();
        return SmallVector<Val>();
      });
    });
  }

  /// The LSE of a tile's queries, in the order of the products' columns.
  void provideLses(Val round) {
    Val helper = b.id(tile::Id::Thread) - double(kLanes), buffer = round & 1.0;
    int64_t count = cut.group * cut.tokens;
    wait(lsesEmpty, buffer, ((round >> 1.0) & 1.0) ^ 1.0);
    b.forRange(helper, b.i32(count), b.i32(kLoads * kHelpers), [&](Val start) {
      SmallVector<std::pair<Val, Val>> values;
      for (int64_t load = 0; load < kLoads; ++load) {
        Val i = b.min(start + double(load * kHelpers), b.i32(count - 1));
        Val head = kvHead * double(cut.group) + divideBy(i, cut.tokens), row = firstRow + moduloBy(i, cut.tokens);
        Val lse = b.load(argument(kLse), {batch, head, b.min(row, b.i32(getRows() - 1))});
        // Rows that see nothing, and those that do not exist, weigh nothing.
        Val counts = (row < double(getRows())) & (lse > -INFINITY);
        values.push_back({i, b.select(counts, lse * M_LOG2E, b.f32(INFINITY))});
      }
      for (auto [i, lse] : values)
        b.store(lse, lses, {buffer, divideBy(i, cut.getColumns()), moduloBy(i, cut.getColumns())});
    });
    arrive(lsesFull, buffer, b.constant(b.getI1Type(), 1));
  }

  /// Blocks that no query of a tile sees anything of.
  void storeZeros() {
    Val end = countTiles(), hidden = end * double(cut.getBlocks()) + b.id(tile::Id::Lane);
    b.forRange(b.id(tile::Id::Warp) - 1.0, b.i32(cut.tokens), b.i32(kHelpers / kLanes), [&](Val token) {
      if (op.getDocuments()) {
        Val skipped = b.min(getFirstTile(end) * double(cut.getBlocks()), b.i32(getResultBlocks()));
        b.forRange(b.id(tile::Id::Lane), skipped, b.i32(kLanes), [&](Val block) { store(token, block, b.f32(0)); });
      }
      b.forRange(hidden, b.i32(getResultBlocks()), b.i32(kLanes), [&](Val block) { store(token, block, b.f32(0)); });
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
      Val lse = b.wrap(tile::LoadColsOp::create(b, type, Value(ownLses), place, APFloat(0.0f)));
      Val weights = b.exp2(part * (op.getScaleOrDefault() * M_LOG2E) - lse);
      sum = sum ? sum + weights : weights;
    }
    return sum;
  }

  void meetGroup() { meet(consumer + double(kOwnBarrier), 128); }

  /// Adds up and stores the scores of `count` blocks of a tile from the `first` on, with what the tile before, whose
  /// consumer is `previous`, has of windows that reach into them. `whole` if all windows are there and are seen.
  void storeBlocks(Val index, Val previous, Val token, Val first, int64_t count, bool whole) {
    int64_t leading = cut.getLeadingKeys(), cells = cut.blockCells, width = count * cells % 4 == 0 ? 4 : 1;
    Val begin = first * double(cells), origin = getFirstKey(index) + begin;
    Val end = countSeen(firstRow + token) - origin, document;
    if (op.getDocuments())
      document = getStart(firstRow + token) - origin;
    SmallVector<Val> scores(count, b.f32(0));
    // `offset` counts from the first block's first key on.
    auto add = [&](int64_t offset, Val value) {
      if (!whole) {
        Val seen = end > double(offset);
        value = b.select(document ? seen & (document <= double(offset)) : seen, value, b.f32(0));
      }
      for (int64_t block = 0; block < count; ++block) {
        int64_t start = offset - block * cells;
        if (int64_t shared = std::min(start + cut.windowCells, cells) - std::max<int64_t>(start, 0); shared > 0)
          scores[block] = b.fma(value, b.f32(double(shared)), scores[block]);
      }
    };
    for (int64_t offset = -leading; offset < 0; ++offset) {
      Val column = begin + double(offset), before = column < 0.0;
      Val reaching = b.load(edges, {previous, token, b.min(column + double(leading), b.i32(leading - 1))});
      Val value = b.select(before, reaching, b.load(sums, {consumer, token, b.max(column, b.i32(0))}));
      add(offset, whole ? value : b.select(before & (index == 0.0), b.f32(0), value));
    }
    for (int64_t offset = 0; offset < count * cells; offset += width) {
      Val values = b.load(sums, {consumer, token, begin + double(offset)}, width);
      for (int64_t i = 0; i < width; ++i)
        add(offset + i, width > 1 ? b.extract(values, i) : values);
    }
    Val block = index * double(cut.getBlocks()) + first, row = firstRow + token;
    if (count > 1 && getResultBlocks() % 4 == 0) {
      b.ifThen((row < double(getRows())) & (block < double(getResultBlocks())),
               [&] { b.store(b.vector(scores), getResult(), {batch, kvHead, row, block}); });
      return;
    }
    for (auto [i, score] : llvm::enumerate(scores))
      store(token, block + double(i), score);
  }

  /// The scores of a tile's blocks. Neighbouring threads share a token.
  void storeScores(Val index, Val previous) {
    int64_t sharing = 128 / cut.tokens, count = 4;
    while (count > 1 && (cut.getBlocks() % count || cut.getBlocks() / count < sharing))
      count /= 2;
    Val own = b.id(tile::Id::Thread) & 127.0, token = divideBy(own, sharing);
    auto storeAll = [&](bool whole) {
      b.forRange(moduloBy(own, sharing), b.i32(cut.getBlocks() / count), b.i32(sharing),
                 [&](Val part) { storeBlocks(index, previous, token, part * double(count), count, whole); });
      return SmallVector<Val>();
    };
    // What its first token sees all see, unless the document of another one starts later.
    Val whole = (index > 0.0) & (getFirstKey(index) + double(cut.getStep()) <= countSeen(firstRow));
    if (op.getDocuments()) {
      Val last = b.min(firstRow + double(cut.tokens - 1), b.i32(getRows() - 1));
      whole = whole & (getStart(last) <= getFirstKey(index) - double(cut.getLeadingKeys()));
    }
    b.ifElse(whole, [&] { return storeAll(true); }, [&] { return storeAll(false); });
  }

  void store(Val token, Val block, Val value) {
    Val row = firstRow + token;
    b.ifThen((row < double(getRows())) & (block < double(getResultBlocks())),
             [&] { b.store(value, getResult(), {batch, kvHead, row, block}); });
  }

  /// The `index`-th tile of keys of a tile of tokens, in all the `turn`-th; `last` if this consumer has no further one.
  void consumeTile(Val index, Val turn, Val last) {
    wait(keys.full, consumer, divideBy(turn, kConsumers) & 1.0);
    Type lhs = tile::getLhsType(kKeys, getDepth(), q.getElementType());
    Val keyRows = b.wrap(tile::LoadLhsOp::create(b, lhs, Value(b.slice(keys.tiles, consumer)), 0)), sum;
    for (int64_t i = 0; i < cut.getProducts(); ++i) {
      Val product = waitFor(multiply(keyRows, i), 0);
      // What a product has used has been read.
      if (i == 0)
        arrive(keys.empty, consumer, speaks);
      arrive(queriesEmpty, b.i32(i), speaks & last);
      sum = weigh(product, i, sum);
    }
    // Everyone has read the sums of the tile before.
    meetGroup();
    tile::StoreSharedOp::create(b, Value(sum), Value(b.slice(sums, consumer)), /*transposed=*/true);
    meetGroup();
    // The first tile of all waits for none.
    Val previous = moduloBy(consumer + double(kConsumers - 1), kConsumers);
    bool reach = cut.getLeadingKeys() > 0;
    if (reach) {
      wait(edgesFull, previous, (divideBy(turn + double(kConsumers - 1), kConsumers) & 1.0) ^ 1.0);
      storeEdges();
    }
    storeScores(index, previous);
    if (reach)
      arrive(edgesFull, consumer, b.constant(b.getI1Type(), 1));
  }

  /// What reaches into the blocks of the next tile.
  void storeEdges() {
    int64_t leading = cut.getLeadingKeys();
    b.forRange(b.id(tile::Id::Thread) & 127.0, b.i32(cut.tokens * leading), b.i32(128), [&](Val i) {
      Val token = divideBy(i, leading), edge = moduloBy(i, leading);
      b.store(b.load(sums, {consumer, token, edge + double(cut.getStep() - leading)}), edges, {consumer, token, edge});
    });
  }

  void consume() {
    consumer = b.id(tile::Id::Warpgroup) - 1.0;
    speaks = b.id(tile::Id::Lane) == 0.0;
    Val zero = b.i32(0);
    forTiles({zero}, [&](Val round, ArrayRef<Val> carried) {
      Val visited = countTiles(), skipped;
      if (op.getDocuments()) {
        skipped = getFirstTile(visited);
        visited = visited - skipped;
      }
      Val end = carried[0] + visited, buffer = round & 1.0;
      // The consumers go on taking turns where they ended.
      Val first = carried[0] + moduloBy(consumer + double(kConsumers) - moduloBy(carried[0], kConsumers), kConsumers);
      ownLses = b.slice(lses, buffer);
      wait(lsesFull, buffer, (round >> 1.0) & 1.0);
      // Here, not before each product: the compiler moves sums behind a wait, and holds all products until then.
      wait(queriesFull, zero, round & 1.0);
      // Not before: those of the tile before would be counted with them.
      b.ifThen((first >= end) & speaks, [&] {
        for (int64_t i = 0; i < cut.getProducts(); ++i)
          arrive(queriesEmpty, b.i32(i), b.constant(b.getI1Type(), 1));
      });
      b.forRange(first, end, b.i32(kConsumers), [&](Val turn) {
        Val index = turn - carried[0];
        consumeTile(skipped ? index + skipped : index, turn, turn + double(kConsumers) >= end);
      });
      arrive(lsesEmpty, buffer, b.constant(b.getI1Type(), 1));
      return SmallVector<Val>{end};
    });
  }

  const KernelRequest &request;
  RegroupScoredOp op;
  RankedTensorType q, k, result;
  HopperScoreTiles cut;
  tile::KernelOp kernel;
  Val queries, sums, lses, queriesFull, queriesEmpty, lsesFull, lsesEmpty, edges, edgesFull;
  Ring keys;
  // In the roles: the tile of tokens.
  Val batch, kvHead, firstRow;
  // In a consumer: its number, whether this lane speaks for its warp, and the tile's LSE.
  Val consumer, speaks, ownLses;
};

} // namespace

LogicalResult fresnel::lowerRegroupScored(RegroupScoredOp op, const KernelRequest &request, KernelBuilder &builder) {
  HopperRegroupScored(op, request, builder).write();
  return success();
}
