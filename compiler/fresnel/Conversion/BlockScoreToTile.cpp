//===- BlockScoreToTile.cpp - Scores of pooled keys -----------------------===//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
//
// 16-bit inputs: tiles of 64 queries and 64 keys by mma.sync, which leave through
// shared memory so that rows of any length are written in full lines. A softmax
// walks the keys twice: for the rows' sums, then for the probabilities. Those of a
// group of heads are summed in registers; where wide heads leave none, head after
// head is added to what the block has written.
//
// Other element types and head dims: a warp per row, each lane a key at a time.
//
//===----------------------------------------------------------------------===//

#include "fresnel/Conversion/BlockScoreMath.h"
#include "fresnel/Conversion/RowKernel.h"
#include "fresnel/Conversion/ToTile.h"
#include <cmath>

using namespace mlir;
using namespace fresnel;

namespace {

constexpr int64_t kTileM = 64, kTileN = 64, kThreads = kTileM / 16 * 32;
/// Thread blocks below which the keys of a tile of queries are shared out.
constexpr int64_t kFewBlocks = 1024;

class MatrixScores {
public:
  MatrixScores(BlockScoreOp op, const KernelRequest &request, KernelBuilder &b)
      : request(request), b(b), shape(op), tiles(b, shape, kTileM, kTileN),
        result(cast<RankedTensorType>(op.getResult().getType())), softmax(op.getNormalize() == Normalize::Softmax),
        members(op.getGroupSum() ? shape.getGroup() : 1), keyTiles(llvm::divideCeil(shape.getKeys(), kTileN)),
        factor(softmax ? shape.scale * M_LOG2E : shape.scale), hasLse(op.getLse() != nullptr),
        documentsArgument(hasLse ? 3 : 2) {}

  void write() {
    int64_t rowTiles = llvm::divideCeil(shape.getRows(), kTileM);
    int64_t blocks = rowTiles * result.getDimSize(1) * result.getDimSize(0);
    // A row's softmax needs all its keys.
    int64_t splits = softmax ? 1 : std::min(keyTiles, int64_t(llvm::divideCeil(kFewBlocks, blocks)));
    int64_t perSplit = llvm::divideCeil(keyTiles, splits);
    splits = llvm::divideCeil(keyTiles, perSplit);
    kernel = b.beginKernel(request.getName(), request.getArgumentTypes(), kThreads,
                           {rowTiles * splits, result.getDimSize(1), result.getDimSize(0)});
    batch = b.id(tile::Id::BlockZ);
    head = b.id(tile::Id::BlockY);
    Val x = b.id(tile::Id::BlockX);
    // Under a causal mask the last rows have the most work: start them first.
    Val rowTile = shape.causal ? double(rowTiles - 1) - x / double(splits) : x / double(splits);
    firstRow = rowTile * double(kTileM);
    firstTile = x % double(splits) * double(perSplit);
    endTile = b.min(firstTile + double(perSplit), b.i32(keyTiles));
    output.emplace(ScoreOutput{b, shape, kTileM, kTileN, kThreads,
                               b.argument(kernel, documentsArgument + shape.documents), batch, head, firstRow});
    tiles.allocate(b.argument(kernel, 0), b.argument(kernel, 1));
    if (shape.documents) {
      tiles.setDocuments(b.argument(kernel, documentsArgument));
      shareBegin = firstTile;
      firstTile = b.max(firstTile, tiles.getFirstTile(firstRow, endTile));
    }
    buffer = b.alloc({kTileM, kTileN}, b.getF32Type(), tile::Layout::Padded);
    if (members == 1)
      return writeMember(b.i32(0));
    if (tiles.isResident())
      return writeGroup(b.argument(kernel, 0), b.argument(kernel, 1));
    b.forRange(b.i32(0), b.i32(members), b.i32(1), [&](Val member) { writeMember(member); });
  }

private:
  void writeMember(Val member) {
    Val queryHead = head * double(members) + member, keyHead = queryHead / double(shape.getGroup());
    tiles.loadQueries(batch, queryHead, firstRow);
    Val visited = b.min(tiles.countTiles(firstRow), endTile);
    Val lse = softmax ? getLse(queryHead, keyHead, visited) : Val();
    tiles.walk(batch, keyHead, firstTile, visited, factor, {}, [&](Val scores, Val firstKey, ArrayRef<Val>) {
      if (softmax)
        scores = b.exp2(scores - b.wrap(tile::BroadcastOp::create(b, scores.getType(), Value(lse))));
      tile::StoreSharedOp::create(b, Value(scores), Value(buffer), /*transposed=*/false);
      b.barrier();
      output->write(
          firstKey, [&](Val row, Val column, int64_t width) { return b.load(buffer, {row, column}, width); },
          members > 1 ? member > 0.0 : Val());
      return SmallVector<Val>();
    });
    if (!shape.causal)
      return;
    // What no query of the tile sees.
    b.ifThen(member == 0.0, [&] {
      fill(b.max(visited, firstTile), endTile);
      if (shape.documents)
        fill(shareBegin, firstTile);
    });
  }

  /// Tiles of keys that no query sees.
  void fill(Val begin, Val end) {
    b.forRange(begin, end, b.i32(1), [&](Val i) { output->fill(i * double(kTileN), softmax ? 0.0 : -INFINITY); });
  }

  /// All members of a group, so that their sums are written once: first each member's
  /// LSE, then tile by tile of keys the probabilities of one member after the other. Keys
  /// are the rows of those products and stay in registers; the LSE belongs to columns.
  void writeGroup(Val q, Val k) {
    lses = b.alloc({members, kTileM}, b.getF32Type());
    Val visited = tiles.countTiles(firstRow), thread = b.id(tile::Id::Thread);
    b.forRange(b.i32(0), b.i32(members), b.i32(1), [&](Val member) {
      Val queryHead = head * double(members) + member;
      if (!hasLse)
        tiles.loadQueries(batch, queryHead, firstRow);
      Val lse = getLse(queryHead, head, visited);
      // Through shared memory, where a row of it takes the first column.
      Type column = tile::getAccType(kTileM, 8, b.getF32Type());
      tile::StoreSharedOp::create(b, Value(b.wrap(tile::BroadcastOp::create(b, column, Value(lse)))), Value(buffer),
                                  /*transposed=*/true);
      b.barrier();
      b.ifThen(thread < double(kTileM), [&] { b.store(b.load(buffer, {b.i32(0), thread}), lses, {member, thread}); });
      b.barrier();
    });
    b.forRange(shape.documents ? firstTile : b.i32(0), visited, b.i32(1), [&](Val i) {
      Val firstKey = i * double(kTileN), sums = sumGroup(q, k, firstKey);
      tile::StoreSharedOp::create(b, Value(sums), Value(buffer), /*transposed=*/true);
      b.barrier();
      output->write(firstKey, [&](Val row, Val column, int64_t width) { return b.load(buffer, {row, column}, width); });
      b.barrier();
    });
    if (shape.causal)
      fill(shape.documents ? b.max(visited, firstTile) : visited, endTile);
    if (shape.documents)
      fill(shareBegin, firstTile);
  }

  /// The probabilities of a tile of keys, [keys, queries], summed over the group.
  Val sumGroup(Val q, Val k, Val firstKey) {
    // The keys go where the queries were, the queries where the keys were.
    Val keyTile = tiles.getQueryTile(), ring = tiles.getKeyRing();
    auto copy = [&](Val source, Val from, Val row, Val target) {
      tile::CopyAsyncOp::create(b, Value(source), Value(batch), Value(from), Value(row), Value(target));
    };
    auto copyMember = [&](Val member) {
      b.ifThen(member < double(members),
               [&] { copy(q, head * double(members) + member, firstRow, b.slice(ring, member % 2.0)); });
      tile::CopyCommitOp::create(b);
    };
    copy(k, head, firstKey, keyTile);
    copyMember(b.i32(0));
    tile::CopyWaitOp::create(b, 0);
    b.barrier();
    Type element = shape.q.getElementType(), type = tile::getAccType(kTileN, kTileM, b.getF32Type());
    Value keys = tile::LoadLhsOp::create(b, tile::getLhsType(kTileN, shape.getDepth(), element), Value(keyTile), 0);
    Val zero = b.constant(type, 0.0);
    return b.forRange(b.i32(0), b.i32(members), b.i32(1), {zero}, [&](Val member, ArrayRef<Val> state) {
      copyMember(member + 1.0);
      tile::CopyWaitOp::create(b, 1);
      b.barrier();
      Val slot = b.slice(ring, member % 2.0);
      Val scores = b.wrap(tile::MmaOp::create(b, type, keys, Value(slot), Value(zero), /*transposed=*/true, 0));
      SmallVector<Value> place{Value(member), Value(b.i32(0))};
      Val lse = b.wrap(tile::LoadColsOp::create(b, type, Value(lses), place, llvm::APFloat(0.0f)));
      Val weights = b.exp2(hideKeys(scores * factor, firstKey) - lse);
      b.barrier();
      return SmallVector<Val>{state[0] + weights};
    })[0];
  }

  /// -inf where the key, a row here, is not there or not visible to the query of the column.
  Val hideKeys(Val scores, Val firstKey) {
    Val end = firstKey + double(kTileN), needed = end > b.i32(shape.getKeys());
    if (shape.causal)
      needed = needed | (end > shape.countVisible(b, firstRow));
    if (shape.documents)
      needed = needed | (firstKey < tiles.getLastStart(firstRow));
    auto hide = [&] {
      Type index = tile::getAccType(kTileN, kTileM, b.getI32Type());
      Val key = b.wrap(tile::RowIndexOp::create(b, index, Value(firstKey)));
      Val query = b.wrap(tile::ColIndexOp::create(b, index, Value(firstRow)));
      Val visible = key < double(shape.getKeys());
      if (shape.causal)
        visible = visible & shape.isVisible(query, key);
      if (shape.documents)
        visible = visible & (key >= loadDocumentStarts(b, b.argument(kernel, documentsArgument), query,
                                                       shape.getDocumentSteps()));
      return SmallVector<Val>{b.select(visible, scores, b.constant(scores.getType(), -INFINITY))};
    };
    return b.ifElse(needed, hide, [&] { return SmallVector<Val>{scores}; })[0];
  }

  /// The base-2 LSE of the rows, +inf where a row sees nothing; the operand, where there is one.
  Val getLse(Val queryHead, Val keyHead, Val visited) {
    if (!hasLse)
      return sumRows(keyHead, visited);
    Type rows = tile::getRowsType(kTileM, b.getF32Type());
    Val lse = b.wrap(tile::LoadRowsOp::create(b, rows, Value(b.argument(kernel, 2)), Value(batch), Value(queryHead),
                                              Value(firstRow), APFloat(-INFINITY)));
    return b.select(lse == -INFINITY, b.constant(rows, INFINITY), lse * M_LOG2E);
  }

  /// The same, in a walk over the keys.
  Val sumRows(Val keyHead, Val visited) {
    Type rows = tile::getRowsType(kTileM, b.getF32Type());
    SmallVector<Val> init{b.constant(rows, -INFINITY), b.constant(rows, 0.0)};
    auto reference = [&](Val maximum) { return b.select(maximum == -INFINITY, b.constant(rows, 0.0), maximum); };
    SmallVector<Val> state =
        tiles.walk(batch, keyHead, firstTile, visited, factor, init, [&](Val scores, Val, ArrayRef<Val> old) {
          Val maximum = b.wrap(tile::ReduceOp::create(b, rows, tile::Combine::Max, Value(scores), /*partial=*/false));
          maximum = b.max(maximum, old[0]);
          Val base = reference(maximum);
          Val weights = b.exp2(scores - b.wrap(tile::BroadcastOp::create(b, scores.getType(), Value(base))));
          Val sum = b.wrap(tile::ReduceOp::create(b, rows, tile::Combine::Add, Value(weights), /*partial=*/true));
          return SmallVector<Val>{maximum, b.fma(old[1], b.exp2(old[0] - base), sum)};
        });
    Val sum = b.wrap(tile::QuadReduceOp::create(b, rows, tile::Combine::Add, Value(state[1])));
    return b.select(sum == 0.0, b.constant(rows, INFINITY), reference(state[0]) + b.log2(sum));
  }

  const KernelRequest &request;
  KernelBuilder &b;
  ScoreShape shape;
  ScoreTiles tiles;
  RankedTensorType result;
  bool softmax;
  int64_t members, keyTiles;
  double factor;
  /// Whether the LSE is an operand.
  bool hasLse;
  /// Where the bounds of documents are, if there are any, and the result behind them.
  unsigned documentsArgument;
  tile::KernelOp kernel;
  std::optional<ScoreOutput> output;
  /// The tiles of keys that are visited, and with documents where the thread block's share begins.
  Val firstTile, endTile, shareBegin;
  Val batch, head, firstRow, buffer, lses;
};

/// A warp per row.
class PlainScores {
public:
  PlainScores(BlockScoreOp op, const KernelRequest &request, KernelBuilder &b)
      : request(request), b(b), shape(op), result(cast<RankedTensorType>(op.getResult().getType())),
        softmax(op.getNormalize() == Normalize::Softmax), members(op.getGroupSum() ? shape.getGroup() : 1),
        hasLse(op.getLse() != nullptr) {}

  void write() {
    int64_t rowsPerBlock = kRowThreads / 32;
    kernel = b.beginKernel(
        request.getName(), request.getArgumentTypes(), kRowThreads,
        {int64_t(llvm::divideCeil(shape.getRows(), rowsPerBlock)), result.getDimSize(1), result.getDimSize(0)});
    batch = b.id(tile::Id::BlockZ);
    head = b.id(tile::Id::BlockY);
    lane = b.id(tile::Id::Lane);
    row = b.id(tile::Id::BlockX) * double(rowsPerBlock) + b.id(tile::Id::Warp);
    // The condition is uniform in a warp, so that its lanes shuffle together.
    b.ifThen(row < double(shape.getRows()), [&] {
      if (shape.documents)
        start = loadDocumentEdges(b, b.argument(kernel, hasLse ? 3 : 2), row, 1, shape.getDocumentSteps()).firstStart;
      for (int64_t member = 0; member < (members == 1 ? 1 : 2); ++member) {
        // The first member writes, the others add.
        if (member == 0)
          writeMember(b.i32(0), /*first=*/true);
        else
          b.forRange(b.i32(1), b.i32(members), b.i32(1), [&](Val i) { writeMember(i, /*first=*/false); });
      }
    });
  }

private:
  /// The score of a key that exists.
  Val getScore(Val queryHead, Val key) {
    int64_t width = getVectorWidth(shape.q.getElementType());
    Val keyHead = queryHead / double(shape.getGroup());
    Val sum =
        b.forRange(b.i32(0), b.i32(shape.getDepth()), b.i32(width), {b.f32(0)}, [&](Val column, ArrayRef<Val> state) {
          Val total = state[0];
          Values left = widen(b, b.load(b.argument(kernel, 0), {batch, queryHead, row, column}, width), width);
          Values right = widen(b, b.load(b.argument(kernel, 1), {batch, keyHead, key, column}, width), width);
          for (auto [x, y] : llvm::zip(left, right))
            total = b.fma(x, y, total);
          return Values{total};
        })[0];
    Val score = sum * (softmax ? shape.scale * M_LOG2E : shape.scale);
    if (!shape.causal)
      return score;
    Val visible = shape.isVisible(row, key);
    return b.select(start ? visible & (key >= start) : visible, score, b.f32(-INFINITY));
  }

  /// A reference and the sum of the row's exponentials over it: of the LSE, where it is given.
  std::pair<Val, Val> getSum(Val queryHead) {
    if (!hasLse)
      return sumRow(queryHead);
    return {b.load(b.argument(kernel, 2), {batch, queryHead, row}) * M_LOG2E, b.f32(1)};
  }

  /// Largest and sum over the row's keys, in all lanes; sum 0 where it sees none.
  std::pair<Val, Val> sumRow(Val queryHead) {
    Values state = b.forRange(lane, shape.countVisible(b, row), b.i32(32), {b.f32(-INFINITY), b.f32(0)},
                              [&](Val key, ArrayRef<Val> old) {
                                Val score = getScore(queryHead, key), top = b.max(old[0], score);
                                return Values{top, b.fma(old[1], b.exp2(old[0] - top), b.exp2(score - top))};
                              });
    Val top = state[0];
    for (int64_t mask : {16, 8, 4, 2, 1})
      top = b.max(top, b.shuffleXor(top, mask));
    // Lanes without a key hold no sum.
    Val sum = b.select(state[0] == -INFINITY, b.f32(0), state[1] * b.exp2(state[0] - top));
    for (int64_t mask : {16, 8, 4, 2, 1})
      sum = sum + b.shuffleXor(sum, mask);
    return {top, sum};
  }

  void writeMember(Val member, bool first) {
    Val queryHead = head * double(members) + member;
    auto [top, sum] = softmax ? getSum(queryHead) : std::pair<Val, Val>();
    Val target = b.argument(kernel, request.views.size() - 1);
    b.forRange(lane, b.i32(shape.getKeys()), b.i32(32), [&, top = top, sum = sum](Val key) {
      SmallVector<Val> place{batch, head, row, key};
      Val value = getScore(queryHead, key);
      if (softmax)
        value = b.select(value == -INFINITY, b.f32(0), b.exp2(value - top) / sum);
      b.store(first ? value : value + b.load(target, place), target, place);
    });
  }

  using Values = SmallVector<Val>;
  const KernelRequest &request;
  KernelBuilder &b;
  ScoreShape shape;
  RankedTensorType result;
  bool softmax;
  int64_t members;
  bool hasLse;
  tile::KernelOp kernel;
  Val batch, head, lane, row;
  /// With documents: the first key of the row's.
  Val start;
};

} // namespace

LogicalResult fresnel::lowerBlockScore(BlockScoreOp op, const KernelRequest &request, KernelBuilder &b) {
  if (hasMatrixScores(cast<RankedTensorType>(op.getQ().getType())))
    MatrixScores(op, request, b).write();
  else
    PlainScores(op, request, b).write();
  return success();
}
