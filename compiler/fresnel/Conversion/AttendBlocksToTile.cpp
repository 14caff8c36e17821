//===- AttendBlocksToTile.cpp - Attention over block lists, portable ------===//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
//
// As AttendToTile.cpp, but the keys that are walked are those of listed blocks. A
// tile has `group` rows for each of its tokens, one for each head that reads the
// same list row: with a list row per token, the fewer tokens a tile has, the
// fewer blocks it walks. It walks the union of its tokens' blocks; rows do not see
// the blocks that only others list, and a warp that sees none skips the block.
//
//===----------------------------------------------------------------------===//

#include "fresnel/Conversion/BlockLists.h"
#include "fresnel/Conversion/PortableProducts.h"
#include "fresnel/Conversion/ToTile.h"

using namespace mlir;
using namespace fresnel;

namespace {

/// The width of the pieces in which the Q tile is read back each iteration.
constexpr int64_t kLhsColumns = 64;

/// Positions of the operation's operands and results, where there are no documents.
enum Operand : unsigned { kQ, kK, kV, kBlocks, kOut, kLse };

class AttendBlocksKernel {
public:
  AttendBlocksKernel(AttendOp op, const KernelRequest &request, KernelBuilder &builder)
      : request(request), b(builder), shape(op), tileM(request.schedule.getTileM()), tileN(request.schedule.getTileN()),
        stages(request.schedule.getStages()), tiles(getBlockTiles(request.schedule, op)),
        math(builder, shape, tileM, tileN), accIndex(tile::getAccType(tileM, tileN, builder.getI32Type())),
        rowIndex(tile::getRowsType(tileM, builder.getI32Type())) {}

  void write() {
    int64_t blocks = llvm::divideCeil(shape.queries, tiles.tokens), threads = tileM / 16 * 32;
    kernel = b.beginKernel(request.getName(), request.getArgumentTypes(), threads,
                           {blocks, shape.heads / tiles.group, shape.batches});
    locate();
    BlockSet blockSet(b, tiles.set);
    ListWalk listWalk(b, blockSet, shape.keyBlock, tileN);
    set = &blockSet;
    walk = &listWalk;
    loadQueries();
    finish(visitChunks());
  }

private:
  Val argument(unsigned index) { return b.argument(kernel, shape.documents && index > kBlocks ? index + 1 : index); }

  void locate() {
    batch = b.id(tile::Id::BlockZ);
    head = b.id(tile::Id::BlockY) * double(tiles.group);
    kvHead = divideBy(head, shape.heads / shape.kvHeads);
    listHead = divideBy(head, shape.heads / shape.listHeads);
    firstRow = b.id(tile::Id::BlockX) * double(tiles.tokens);
    firstListRow = divideBy(firstRow, shape.queryBlock);
    firstPosition = firstRow + double(shape.getOffset());
    if (!shape.documents)
      return;
    Val bounds = b.argument(kernel, kBlocks + 1);
    edges = loadDocumentEdges(b, bounds, firstRow, tiles.tokens);
    DocumentSide side = shape.causal ? DocumentSide::Starts : DocumentSide::Both;
    documents = loadDocumentRows(b, bounds, firstRow, tileM, side, tiles.group);
  }

  void loadQueries() {
    auto alloc = [&](ArrayRef<int64_t> sizes) { return b.alloc(sizes, shape.element, tile::Layout::Padded); };
    qTile = alloc({tileM, shape.headDim});
    kRing = alloc({stages, tileN, shape.headDim});
    vRing = alloc({stages, tileN, shape.valueDim});
    tile::CopyAsyncOp::create(b, Value(argument(kQ)), Value(batch), Value(head), Value(firstRow), Value(qTile), Value(),
                              /*block=*/1, uint32_t(tiles.group));
    tile::CopyCommitOp::create(b);
  }

  SmallVector<Val> visitChunks() {
    int64_t blocks = shape.getKeyBlocks(), chunk = tiles.set.getChunk();
    auto visit = [&](Val base, ArrayRef<Val> state) {
      set->mark(argument(kBlocks), batch, listHead, firstListRow, base, blocks);
      total = walk->countSteps(set->collect(base, blocks));
      chunkBase = base;
      for (int64_t i = 0; i + 1 < stages; ++i)
        copyStep(b.i32(i), b.i32(i));
      return b.forRange(b.i32(0), total, b.i32(1), state,
                        [&](Val i, ArrayRef<Val> carried) { return iterate(i, carried); });
    };
    if (blocks <= chunk)
      return visit(b.i32(0), beginSoftmax(b, tileM, shape.valueDim));
    return b.forRange(b.i32(0), b.i32(blocks), b.i32(chunk), beginSoftmax(b, tileM, shape.valueDim), visit);
  }

  void copyStep(Val i, Val slot) {
    b.ifThen(i < total, [&] {
      walk->copy(argument(kK), batch, kvHead, i, b.slice(kRing, slot));
      walk->copy(argument(kV), batch, kvHead, i, b.slice(vRing, slot));
    });
    // An empty group where there was nothing to copy keeps the count right.
    tile::CopyCommitOp::create(b);
  }

  /// The tokens of the fragment's rows, counted from the tile's first.
  Val getTokens(Type type) { return divideBy(b.wrap(tile::RowIndexOp::create(b, type, Value(b.i32(0)))), tiles.group); }

  /// The list rows of the fragment's rows, counted from the tile's first.
  Val getListRows(Type type) { return divideBy(getTokens(type) + firstRow, shape.queryBlock) - firstListRow; }

  SmallVector<Val> iterate(Val i, ArrayRef<Val> state) {
    Val ahead = i + double(stages - 1);
    copyStep(ahead, ahead % double(stages));
    tile::CopyWaitOp::create(b, stages - 1);
    b.barrier();
    Val slot = i % double(stages);
    auto compute = [&](Val listed) {
      Val scores =
          mask(math.cap(multiplyRows(b, math.getScoresType(), qTile, b.slice(kRing, slot), kLhsColumns)), i, listed);
      return continueSoftmax(b, math, scores, state, b.slice(vRing, slot));
    };
    SmallVector<Val> next;
    if (tiles.listRows == 1) {
      next = compute(Val());
    } else if (walk->isUniform()) {
      Val rows = set->isMarked(getListRows(rowIndex), walk->getBlock(i), chunkBase);
      Val any = b.wrap(tile::AnyOp::create(b, b.getI1Type(), Value(rows)));
      Type flags = tile::getAccType(tileM, tileN, b.getI1Type());
      next =
          b.ifElse(any, [&] { return compute(math.broadcast(rows, flags)); }, [&] { return SmallVector<Val>(state); });
    } else {
      next = compute(set->isMarked(getListRows(accIndex), walk->getBlocks(accIndex, i), chunkBase));
    }
    // The next iteration overwrites the slot that was just read.
    b.barrier();
    return next;
  }

  /// Hides the keys that a row must not see, of tiles that have any.
  Val mask(Val scores, Val i, Val listed) {
    auto hide = [&] {
      Val positions = getTokens(accIndex) + firstPosition, keys = walk->getRows(accIndex, i), seen = listed;
      if (shape.documents)
        seen = listed ? listed & isInDocument(documents, keys) : isInDocument(documents, keys);
      return SmallVector<Val>{math.hide(scores, keys, positions, seen)};
    };
    if (!walk->isUniform())
      return hide()[0];
    Val start = walk->getStart(i), end = start + double(tileN);
    Val needed = end > b.i32(shape.keys);
    if (shape.causal)
      needed = needed | (end - 1.0 > firstPosition);
    if (shape.window > 0)
      needed = needed | (start < firstPosition + double(tiles.tokens - shape.window));
    if (shape.documents)
      needed = needed | (start < edges.lastStart) | (end > edges.firstEnd);
    return b.ifElse(needed, hide, [&] {
      if (!listed)
        return SmallVector<Val>{scores};
      return SmallVector<Val>{b.select(listed, scores, b.constant(scores.getType(), -INFINITY))};
    })[0];
  }

  void finish(ArrayRef<Val> state) {
    auto [inverse, lse] = math.finish(state[1], state[2]);
    Val acc = state[0] * math.broadcast(inverse, state[0].getType());
    tile::StoreTileOp::create(b, Value(acc), Value(argument(kOut)), Value(batch), Value(head), Value(firstRow), Value(),
                              Value(), uint32_t(tiles.group));
    tile::StoreRowsOp::create(b, Value(lse), Value(argument(kLse)), Value(batch), Value(head), Value(firstRow),
                              uint32_t(tiles.group));
  }

  const KernelRequest &request;
  KernelBuilder &b;
  AttendShape shape;
  int64_t tileM, tileN, stages;
  BlockTiles tiles;
  AttendMath math;
  Type accIndex, rowIndex;
  tile::KernelOp kernel;
  BlockSet *set = nullptr;
  ListWalk *walk = nullptr;
  Val batch, head, kvHead, listHead, firstRow, firstListRow, firstPosition, chunkBase, total;
  Val qTile, kRing, vRing;
  DocumentEdges edges;
  DocumentRows documents;
};

} // namespace

void fresnel::lowerAttendBlocks(AttendOp op, const KernelRequest &request, KernelBuilder &builder) {
  AttendBlocksKernel(op, request, builder).write();
}
