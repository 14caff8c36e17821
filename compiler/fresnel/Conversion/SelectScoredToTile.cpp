//===- SelectScoredToTile.cpp - Scores and their top-k in one kernel ------===//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
//
// A thread block owns 64 queries of a head and walks the tiles of pooled keys. The
// scores of a tile go through shared memory to the two lanes that own their row:
// one takes the even columns, the other the odd ones, each past a sorted list in
// registers. At the end the two lists are merged and written by index.
//
//===----------------------------------------------------------------------===//

#include "fresnel/Conversion/BlockScoreMath.h"
#include "fresnel/Conversion/ToTile.h"
#include <cfloat>
#include <cmath>

using namespace mlir;
using namespace fresnel;

namespace {

constexpr int64_t kTileM = 64, kTileN = 64;
/// Two words more than a tile has columns: the lanes' reads then meet distinct banks.
constexpr int64_t kBufferColumns = kTileN + 2;
/// Lists up to this length take every score without asking first whether any lane needs it.
constexpr int64_t kShortList = 4;

class SelectScoredKernel {
public:
  SelectScoredKernel(SelectScoredOp op, const KernelRequest &request, KernelBuilder &b)
      : op(op), request(request), b(b), shape(op), tiles(b, shape, kTileM, kTileN),
        take(cast<RankedTensorType>(op.getResult().getType()).getDimSize(3)) {}

  void write() {
    int64_t rowTiles = llvm::divideCeil(shape.getRows(), kTileM);
    auto kernel = b.beginKernel(request.getName(), request.getArgumentTypes(), kTileM / 16 * 32,
                                {rowTiles, shape.q.getDimSize(1), shape.q.getDimSize(0)});
    Val batch = b.id(tile::Id::BlockZ), head = b.id(tile::Id::BlockY), x = b.id(tile::Id::BlockX);
    // Under a causal mask the last rows have the most work: start them first.
    Val firstRow = (shape.causal ? double(rowTiles - 1) - x : x) * double(kTileM);
    tiles.allocate(b.argument(kernel, 0), b.argument(kernel, 1));
    buffer = b.alloc({kTileM, kBufferColumns}, b.getF32Type());
    tiles.loadQueries(batch, head, firstRow);
    locate(firstRow, op.getDocuments() ? b.argument(kernel, 2) : Val());
    SmallVector<Val> init(take, b.f32(-INFINITY));
    init.append(take, b.i32(-1));
    SmallVector<Val> lists =
        tiles.walk(batch, head / double(shape.getGroup()), b.i32(0), countTiles(firstRow), shape.scale, init,
                   [&](Val scores, Val firstKey, ArrayRef<Val> state) {
                     tile::StoreSharedOp::create(b, Value(scores), Value(buffer), /*transposed=*/false);
                     b.barrier();
                     return takeTile(firstKey, state);
                   });
    merge(lists);
    b.ifThen((row < double(shape.getRows())) & (half == 0.0),
             [&] { store(lists, b.argument(kernel, edges ? 3 : 2), batch, head); });
  }

private:
  using Values = SmallVector<Val>;

  /// The lane's row, half of the columns, and what the row's documents hold.
  void locate(Val firstRow, Val documents) {
    Val lane = b.id(tile::Id::Lane);
    local = b.id(tile::Id::Warp) * 16.0 + lane % 16.0;
    half = lane / 16.0;
    row = firstRow + local;
    if (!documents)
      return;
    // Beside the queries and the scores there are no registers for them.
    edges = b.alloc({2, kTileM}, b.getI32Type());
    DocumentEdges bounds = loadDocumentEdges(b, documents, row * double(shape.queryStride), shape.queryStride);
    b.ifThen(half == 0.0, [&] {
      b.store(bounds.firstStart / double(op.getKeyBlock()), edges, {b.i32(0), local});
      b.store((bounds.lastEnd + double(op.getKeyBlock() - 1)) / double(op.getKeyBlock()), edges, {b.i32(1), local});
    });
  }

  /// The first block that select_blocks allows the row, absent without documents, and the first one behind.
  std::pair<Val, Val> findBlocks() {
    Val first, end = b.i32(shape.getKeys());
    if (edges) {
      first = b.load(edges, {b.i32(0), local});
      end = b.min(b.load(edges, {b.i32(1), local}), end);
    }
    if (op.getCausal()) {
      Val lastToken = (row + 1.0) * double(shape.queryStride) - 1.0;
      end = b.min(lastToken / double(op.getKeyBlock()) + 1.0, end);
    }
    return {first, end};
  }

  /// Tiles that hold a key that is visible, or a block that is forced.
  Val countTiles(Val firstRow) {
    Val visited = tiles.countTiles(firstRow);
    if (!op.getCausal() || (op.getLocal() == 0 && op.getSinks() == 0))
      return visited;
    Val lastRow = b.min(firstRow + double(kTileM - 1), b.i32(shape.getRows() - 1));
    Val lastToken = (lastRow + 1.0) * double(shape.queryStride) - 1.0;
    Val last = b.min(lastToken / double(op.getKeyBlock()) + 1.0, b.i32(shape.getKeys()));
    return b.max(visited, (last + double(kTileN - 1)) / double(kTileN));
  }

  /// The key of a block: its score, infinity where it is forced, -infinity where it may not be taken. It is `offset`
  /// blocks behind one that lies so far behind the row's first and behind its end.
  Val getKey(Val fromFirst, Val fromEnd, int64_t offset, Val score) {
    Val key = b.min(score, b.f32(FLT_MAX));
    // No more than all blocks are forced.
    int64_t sinks = std::min<int64_t>(op.getSinks(), shape.getKeys());
    int64_t local = std::min<int64_t>(op.getLocal(), shape.getKeys());
    if (local > 0 || sinks > 0) {
      Val forced = (fromFirst < double(sinks - offset)) | (fromEnd >= double(-local - offset));
      key = b.select(forced, b.f32(INFINITY), key);
    }
    Val allowed = fromEnd < double(-offset);
    return b.select(edges ? allowed & (fromFirst >= double(-offset)) : allowed, key, b.f32(-INFINITY));
  }

  /// Puts a key into the sorted list, behind what `isBetter` says it does not beat.
  Values insert(ArrayRef<Val> state, Val key, Val index, function_ref<Val(Val, Val)> isBetter) {
    Values next(2 * take);
    Val above;
    for (int64_t i = 0; i < take; ++i) {
      Val better = isBetter(state[i], state[take + i]);
      // Better than the one before, too: that one moves down here.
      next[i] =
          above ? b.select(above, state[i - 1], b.select(better, key, state[i])) : b.select(better, key, state[i]);
      next[take + i] = above ? b.select(above, state[take + i - 1], b.select(better, index, state[take + i]))
                             : b.select(better, index, state[take + i]);
      above = better;
    }
    return next;
  }

  Values takeTile(Val firstKey, ArrayRef<Val> state) {
    Values keys, lists(state);
    for (int64_t i = 0; i < kTileN / 2; ++i)
      keys.push_back(b.load(buffer, {local, half + double(2 * i)}));
    auto [first, end] = findBlocks();
    Val start = firstKey + half, fromFirst = first ? start - first : start, fromEnd = start - end;
    for (int64_t i = 0; i < kTileN / 2; ++i) {
      Val block = start + double(2 * i), key = getKey(fromFirst, fromEnd, 2 * i, keys[i]);
      auto put = [&] {
        // Of equal keys the one that came first stays ahead.
        return insert(lists, key, block, [&](Val other, Val) { return key > other; });
      };
      if (take <= kShortList)
        lists = put();
      else
        lists = b.ifElse(b.ballot(key > lists[take - 1]) != 0.0, put, [&] { return lists; });
    }
    return lists;
  }

  /// Both lanes of a row get the best of their two lists.
  void merge(Values &lists) {
    Values others;
    for (Val value : lists)
      others.push_back(b.shuffleXor(value, 16));
    for (int64_t i = 0; i < take; ++i) {
      Val key = others[i], index = others[take + i];
      lists = insert(lists, key, index, [&](Val otherKey, Val otherIndex) {
        return (key > otherKey) | ((key == otherKey) & (index < otherIndex));
      });
    }
  }

  /// Ascending by index, -1 at the end.
  void store(ArrayRef<Val> lists, Val target, Val batch, Val head) {
    Values indices(lists.drop_front(take));
    for (int64_t i = 0; i < take; ++i) {
      Val place = b.i32(0);
      for (int64_t j = 0; j < take; ++j) {
        if (i == j)
          continue;
        // As unsigned numbers -1 is the largest; those keep their order.
        Val low = indices[j] ^ double(INT32_MIN), own = indices[i] ^ double(INT32_MIN);
        place = place + b.cast(j < i ? low <= own : low < own, b.getI32Type());
      }
      b.store(indices[i], target, {batch, head, row, place});
    }
  }

  SelectScoredOp op;
  const KernelRequest &request;
  KernelBuilder &b;
  ScoreShape shape;
  ScoreTiles tiles;
  int64_t take;
  Val buffer, local, half, row;
  /// With documents: where the blocks of each row begin and end.
  Val edges;
};

} // namespace

LogicalResult fresnel::lowerSelectScored(SelectScoredOp op, const KernelRequest &request, KernelBuilder &b) {
  if (!hasMatrixScores(cast<RankedTensorType>(op.getQ().getType())))
    return op.emitOpError()
           << "has a GPU kernel for bf16 and f16 with a head dim that is a multiple of 16 up to 256, but q is "
           << op.getQ().getType();
  SelectScoredKernel(op, request, b).write();
  return success();
}
