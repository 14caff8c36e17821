//===- AttendGradBlocksToTile.cpp - Gradients over block lists ------------===//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
//
// As AttendGradToTile.cpp, with the walked rows gathered by lists:
//
// | gradient of     | owns                                   | walks                                    |
// |-----------------|----------------------------------------|------------------------------------------|
// | queries         | tokens of heads that share lists       | the keys of the blocks that they list    |
// | keys and values | keys of one block                      | the queries of the rows that list it     |
//
// The rows that list a block come from the transposed list. Heads are walked one
// after the other and rows in ascending order, so that every sum has one order.
//
//===----------------------------------------------------------------------===//

#include "fresnel/Conversion/BlockLists.h"
#include "fresnel/Conversion/PortableProducts.h"
#include "fresnel/Conversion/ToTile.h"
#include "fresnel/Schedule/Schedule.h"

using namespace mlir;
using namespace fresnel;

namespace {

/// The width of the pieces in which the owned tiles are read back each iteration.
constexpr int64_t kLhsColumns = 32;

/// Positions of the operands of both operations; bounds of documents are behind the lists, the results are the last
/// arguments.
enum Operand : unsigned { kQ, kK, kV, kLse, kDelta, kDout, kBlocks };

/// A pair of tensors, or of tiles, that are multiplied: queries and the output's
/// gradient, or keys and values.
struct Pair {
  Val scores, weights;
};

class AttendGradBlocksKernel {
public:
  template <typename Op>
  AttendGradBlocksKernel(Op op, Owner owner, const KernelRequest &request, KernelBuilder &builder)
      : request(request), b(builder), shape(op), owner(owner), tileM(request.schedule.getTileM()),
        tileN(request.schedule.getTileN()), stages(request.schedule.getStages()),
        tiles(getBlockTiles(request.schedule, op)),
        shares{ownsKeys() ? getPortableGradParts(shape.headDim, shape.valueDim) : 1, Val()},
        math(builder, this->shape, owner, tileM, tileN), index(tile::getAccType(tileM, tileN, b.getI32Type())) {}

  void write() {
    int64_t threads = tileM / 16 * 32;
    int64_t blocks = ownsKeys() ? shape.getKeyBlocks() * tilesPerBlock() * shares.parts
                                : int64_t(llvm::divideCeil(shape.queries, tiles.tokens));
    int64_t heads = ownsKeys() ? shape.kvHeads : shape.heads / tiles.group;
    kernel = b.beginKernel(request.getName(), request.getArgumentTypes(), threads, {blocks, heads, shape.batches});
    batch = b.id(tile::Id::BlockZ);
    ownsKeys() ? locateKeys() : locateQueries();
    if (shape.documents) {
      edges = loadDocumentEdges(b, argument(kBlocks + 1), firstRow, ownsKeys() ? tileM : tiles.tokens);
      documents = loadDocumentRows(b, argument(kBlocks + 1), firstRow, tileM, math.getDocumentSide(), tiles.group);
    }
    BlockSet blockSet(b, tiles.set);
    ListWalk listWalk(b, blockSet, ownsKeys() ? shape.queryBlock : shape.keyBlock, tileN);
    set = &blockSet;
    walk = &listWalk;
    loadOwned();
    finish(visitChunks());
  }

private:
  bool ownsKeys() const { return owner == Owner::Keys; }
  int64_t tilesPerBlock() const { return llvm::divideCeil(shape.keyBlock, tileM); }
  Val argument(unsigned position) { return b.argument(kernel, position); }
  Val result(unsigned number) {
    return argument(kernel.getBody().getNumArguments() - request.op->getNumResults() + number);
  }

  /// The first keys have the most readers under a causal mask: they start first.
  void locateKeys() {
    head = b.id(tile::Id::BlockY);
    Val x = b.id(tile::Id::BlockX);
    shares.part = moduloBy(x, shares.parts);
    Val tile = divideBy(x, shares.parts);
    block = divideBy(tile, tilesPerBlock());
    Val start = block * double(shape.keyBlock);
    firstRow = start + moduloBy(tile, tilesPerBlock()) * double(tileM);
    limit = start + double(shape.keyBlock);
  }

  void locateQueries() {
    head = b.id(tile::Id::BlockY) * double(tiles.group);
    listHead = divideBy(head, shape.heads / shape.listHeads);
    walkedHead = divideBy(head, shape.heads / shape.kvHeads);
    firstRow = b.id(tile::Id::BlockX) * double(tiles.tokens);
    firstListRow = divideBy(firstRow, shape.queryBlock);
  }

  Pair ownedTensors() { return ownsKeys() ? Pair{argument(kK), argument(kV)} : Pair{argument(kQ), argument(kDout)}; }
  Pair walkedTensors() { return ownsKeys() ? Pair{argument(kQ), argument(kDout)} : Pair{argument(kK), argument(kV)}; }

  void loadOwned() {
    auto alloc = [&](ArrayRef<int64_t> sizes) { return b.alloc(sizes, shape.element, tile::Layout::Padded); };
    owned = {alloc({tileM, shape.headDim}), alloc({tileM, shape.valueDim})};
    ring = {alloc({stages, tileN, shape.headDim}), alloc({stages, tileN, shape.valueDim})};
    Pair tensors = ownedTensors();
    for (auto [tensor, target] : {std::pair(tensors.scores, owned.scores), std::pair(tensors.weights, owned.weights)})
      tile::CopyAsyncOp::create(b, Value(tensor), Value(batch), Value(head), Value(firstRow), Value(target), Value(),
                                /*block=*/1, uint32_t(tiles.group));
    tile::CopyCommitOp::create(b);
    if (ownsKeys())
      return;
    Type rows = tile::getRowsType(tileM, b.getF32Type());
    auto load = [&](unsigned position, float outside) {
      return b.wrap(tile::LoadRowsOp::create(b, rows, Value(argument(position)), Value(batch), Value(head),
                                             Value(firstRow), APFloat(outside), uint32_t(tiles.group)));
    };
    rowLse = math.prepare(load(kLse, -INFINITY));
    rowDelta = load(kDelta, 0);
  }

  //===--------------------------------------------------------------------===//
  // Lists
  //===--------------------------------------------------------------------===//

  SmallVector<Val> visitChunks() {
    if (!ownsKeys())
      return overChunks(shape.getKeyBlocks(), shares.begin(b, shape, owner, tileM), [&](Val base, ArrayRef<Val> sums) {
        set->mark(argument(kBlocks), batch, listHead, firstListRow, base, shape.getKeyBlocks());
        chunkBase = base;
        firstHead = walkedHead;
        return visit(set->collect(base, shape.getKeyBlocks()), /*heads=*/1, sums);
      });
    // The lists that the key head's query heads read, one after the other.
    int64_t lists = shape.listHeads / shape.kvHeads, readers = shape.heads / shape.listHeads;
    auto visitList = [&](Val list, ArrayRef<Val> init) {
      listHead = head * double(lists) + list;
      firstHead = listHead * double(readers);
      return overChunks(shape.getListRows(), init, [&](Val base, ArrayRef<Val> sums) {
        Val words = b.i32(cast<tile::GlobalType>(argument(kBlocks).getType()).getShape()[3]);
        Val firstWord = base >> 5.0;
        Val count = set->collect(base, shape.getListRows(), [&](Val word) {
          return b.ifElse(
              firstWord + word < words,
              [&] { return SmallVector<Val>{b.load(argument(kBlocks), {batch, listHead, block, firstWord + word})}; },
              [&] { return SmallVector<Val>{b.i32(0)}; })[0];
        });
        return visit(count, readers, sums);
      });
    };
    if (lists == 1)
      return visitList(b.i32(0), shares.begin(b, shape, owner, tileM));
    return b.forRange(b.i32(0), b.i32(lists), b.i32(1), shares.begin(b, shape, owner, tileM), visitList);
  }

  SmallVector<Val> overChunks(int64_t blocks, ArrayRef<Val> init, KernelBuilder::LoopBody body) {
    if (blocks <= tiles.set.getChunk())
      return body(b.i32(0), init);
    return b.forRange(b.i32(0), b.i32(blocks), b.i32(tiles.set.getChunk()), init, body);
  }

  /// Walks the rows of `count` blocks of each head.
  SmallVector<Val> visit(Val count, int64_t heads, ArrayRef<Val> sums) {
    steps = walk->countSteps(count);
    total = steps * double(heads);
    for (int64_t i = 0; i + 1 < stages; ++i)
      copyStep(b.i32(i), b.i32(i));
    return b.forRange(b.i32(0), total, b.i32(1), sums,
                      [&](Val i, ArrayRef<Val> carried) { return iterate(i, carried); });
  }

  /// The head and the step of the i-th tile that is walked.
  std::pair<Val, Val> getPlace(Val i) {
    if (!ownsKeys())
      return {firstHead, i};
    return {firstHead + i / steps, i % steps};
  }

  void copyStep(Val i, Val slot) {
    b.ifThen(i < total, [&] {
      auto [stepHead, step] = getPlace(i);
      walk->copy(walkedTensors().scores, batch, stepHead, step, b.slice(ring.scores, slot));
      walk->copy(walkedTensors().weights, batch, stepHead, step, b.slice(ring.weights, slot));
    });
    // An empty group where there was nothing to copy keeps the count right.
    tile::CopyCommitOp::create(b);
  }

  //===--------------------------------------------------------------------===//
  // Arithmetic
  //===--------------------------------------------------------------------===//

  /// owned * walked^T, [tile_m, tile_n].
  Val multiply(Val ownedTile, Val walkedTile) {
    return multiplyRows(b, math.getScoresType(), ownedTile, walkedTile, kLhsColumns);
  }

  SmallVector<Val> iterate(Val i, ArrayRef<Val> sums) {
    Val ahead = i + double(stages - 1);
    copyStep(ahead, ahead % double(stages));
    tile::CopyWaitOp::create(b, stages - 1);
    b.barrier();
    Val slot = i % double(stages);
    Pair walked{b.slice(ring.scores, slot), b.slice(ring.weights, slot)};
    auto compute = [&](Val listed) {
      ScoreGradient gradient =
          differentiate(multiply(owned.scores, walked.scores), multiply(owned.weights, walked.weights), i, listed);
      SmallVector<Val> next{shares.add(b, sums[0], gradient.dscores, walked.scores)};
      if (ownsKeys())
        next.push_back(shares.add(b, sums[1], gradient.weights, walked.weights));
      return next;
    };
    SmallVector<Val> next = withListed(i, sums, compute);
    // The next iteration overwrites the slot that was just read.
    b.barrier();
    return next;
  }

  /// The tokens of the owned queries, counted from the first.
  Val getTokens(Type type) { return divideBy(b.wrap(tile::RowIndexOp::create(b, type, Value(b.i32(0)))), tiles.group); }

  /// Runs `compute` with the pairs that some row lists, or nothing if all rows list all
  /// columns; warps without any keep their sums.
  SmallVector<Val> withListed(Val i, ArrayRef<Val> sums, function_ref<SmallVector<Val>(Val)> compute) {
    if (ownsKeys() || tiles.listRows == 1)
      return compute(Val());
    auto listRows = [&](Type type) { return divideBy(getTokens(type) + firstRow, shape.queryBlock) - firstListRow; };
    if (!walk->isUniform())
      return compute(set->isMarked(listRows(index), walk->getBlocks(index, i), chunkBase));
    Val rows = set->isMarked(listRows(tile::getRowsType(tileM, b.getI32Type())), walk->getBlock(i), chunkBase);
    Type flags = tile::getAccType(tileM, tileN, b.getI1Type());
    return b.ifElse(
        b.wrap(tile::AnyOp::create(b, b.getI1Type(), Value(rows))),
        [&] { return compute(b.wrap(tile::BroadcastOp::create(b, flags, Value(rows)))); },
        [&] { return SmallVector<Val>(sums); });
  }

  /// The rows of the walked tensor, and the positions of owned and walked rows in one sequence.
  Val getVisible(Val step, Val walkedRows) {
    double offset = double(shape.getOffset());
    Val visible =
        ownsKeys() ? isVisible(shape, b.wrap(tile::RowIndexOp::create(b, index, Value(firstRow))), walkedRows + offset)
                   : isVisible(shape, walkedRows, getTokens(index) + (firstRow + offset));
    return shape.documents ? visible & isInDocument(documents, walkedRows) : visible;
  }

  /// Whether some pair may be hidden: always where a step's rows are not neighbours.
  Val needsMask(Val step) {
    if (ownsKeys() && !shape.causal && !shape.documents)
      return b.constant(b.getI1Type(), 0);
    if (!walk->isUniform())
      return b.constant(b.getI1Type(), 1);
    Val start = walk->getStart(step);
    double offset = double(shape.getOffset());
    Val key = ownsKeys() ? firstRow : start, position = (ownsKeys() ? start : firstRow) + offset;
    int64_t keyRows = ownsKeys() ? tileM : tileN, queryRows = ownsKeys() ? tileN : tiles.tokens;
    Val needed = key + double(keyRows) > double(shape.keys);
    if (shape.causal)
      needed = needed | (key + double(keyRows - 1) > position);
    if (shape.documents)
      needed = needed | (start < edges.lastStart) | (start + double(tileN) > edges.firstEnd);
    return shape.window > 0 ? needed | (key < position + double(queryRows - shape.window)) : needed;
  }

  ScoreGradient differentiate(Val scores, Val dweights, Val i, Val listed) {
    Type type = scores.getType();
    auto [stepHead, step] = getPlace(i);
    Val rows = walk->getRows(index, step), lse, delta;
    if (ownsKeys()) {
      Val indices[] = {batch, stepHead};
      auto load = [&](unsigned position, double outside) {
        return b.wrap(tile::LookupOp::create(b, type, Value(argument(position)), ValueRange{indices[0], indices[1]},
                                             Value(rows), b.getF32FloatAttr(outside)));
      };
      lse = math.prepare(load(kLse, -INFINITY));
      delta = load(kDelta, 0);
    } else {
      lse = b.wrap(tile::BroadcastOp::create(b, type, Value(rowLse)));
      delta = b.wrap(tile::BroadcastOp::create(b, type, Value(rowDelta)));
    }
    auto write = [&](Val visible) {
      ScoreGradient gradient = math.differentiate(scores, dweights, lse, delta, visible);
      return SmallVector<Val>{gradient.weights, gradient.dscores};
    };
    SmallVector<Val> result = b.ifElse(
        needsMask(step),
        [&] {
          Val visible = getVisible(step, rows);
          return write(listed ? visible & listed : visible);
        },
        [&] { return write(listed); });
    return {result[0], result[1]};
  }

  void finish(ArrayRef<Val> sums) {
    store(sums[0] * shape.scale, result(0));
    if (ownsKeys())
      store(sums[1], result(1));
  }

  void store(Val sum, Val target) {
    int64_t width = cast<RankedTensorType>(sum.getType()).getShape()[1];
    Value column = shares.parts == 1 ? Value() : Value(shares.part * double(width));
    tile::StoreTileOp::create(b, Value(sum), Value(target), Value(batch), Value(head), Value(firstRow), column,
                              limit ? Value(limit) : Value(), uint32_t(tiles.group));
  }

  const KernelRequest &request;
  KernelBuilder &b;
  AttendShape shape;
  Owner owner;
  int64_t tileM, tileN, stages;
  BlockTiles tiles;
  /// Thread blocks that share the columns of one tile's gradients.
  GradientSums shares;
  AttendGradMath math;
  Type index;
  tile::KernelOp kernel;
  BlockSet *set = nullptr;
  ListWalk *walk = nullptr;
  Val batch, head, listHead, walkedHead, firstHead, block, firstRow, firstListRow, limit;
  Val chunkBase, steps, total, rowLse, rowDelta;
  Pair owned, ring;
  DocumentEdges edges;
  DocumentRows documents;
};

} // namespace

void fresnel::lowerAttendGradBlocks(AttendGradQOp op, const KernelRequest &request, KernelBuilder &builder) {
  AttendGradBlocksKernel(op, Owner::Queries, request, builder).write();
}

void fresnel::lowerAttendGradBlocks(AttendGradKvOp op, const KernelRequest &request, KernelBuilder &builder) {
  AttendGradBlocksKernel(op, Owner::Keys, request, builder).write();
}
