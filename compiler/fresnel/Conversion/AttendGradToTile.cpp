//===- AttendGradToTile.cpp - Attention gradients with mma.sync -----------===//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
//
// The portable family. A thread block owns `tile_m` rows, 16 per warp, and walks
// blocks of `tile_n` rows of the other side with a ring of `stages` tiles:
//
// | gradient of      | owns    | walks   | sums                                   |
// |------------------|---------|---------|----------------------------------------|
// | queries          | Q, dout | K, V    | dQ += dS K                             |
// | keys and values  | K, V    | Q, dout | dK += dS^T Q, dV += P^T dout           |
//
// `settle_tiles` is the first of the two where the integers that another kernel has summed
// are too coarse, and the integers themselves elsewhere.
//
// The heads of queries that share a key head are walked one after the other, so
// that each element of every gradient is summed in one place and in one order.
//
//===----------------------------------------------------------------------===//

#include "fresnel/Conversion/IntegerSums.h"
#include "fresnel/Conversion/PortableProducts.h"
#include "fresnel/Conversion/ToTile.h"
#include "fresnel/Schedule/Schedule.h"

using namespace mlir;
using namespace fresnel;

namespace {

/// The width of the pieces in which the owned tiles are read back each iteration.
constexpr int64_t kLhsColumns = 64;

/// Positions of the operands of both gradients, and of `settle_tiles`.
enum Operand : unsigned { kQ, kK, kV, kLse, kDelta, kDout, kDocuments };
enum SettleOperand : unsigned { kStats = kLse, kSettleDout, kTiles, kSettled };

/// A pair of tensors, or of tiles, that are multiplied: queries and the output's
/// gradient, or keys and values.
struct Pair {
  Val scores, weights;
};

class AttendGradKernel {
public:
  AttendGradKernel(const AttendShape &shape, Owner owner, const KernelRequest &request, KernelBuilder &builder)
      : request(request), b(builder), shape(shape), owner(owner), tileM(request.schedule.getTileM()),
        tileN(request.schedule.getTileN()), stages(request.schedule.getStages()),
        shares{owner == Owner::Keys ? getPortableGradParts(shape.headDim, shape.valueDim) : 1, Val()},
        group(owner == Owner::Keys ? shape.heads / shape.kvHeads : 1), settles(isa<SettleTilesOp>(request.op)),
        dout(settles ? unsigned(kSettleDout) : unsigned(kDout)), firstResult(settles           ? unsigned(kSettled)
                                                                             : shape.documents ? kDocuments + 1
                                                                                               : kDocuments),
        math(builder, this->shape, owner, tileM, tileN) {}

  void write() {
    int64_t rows = owner == Owner::Keys ? shape.keys : shape.queries;
    int64_t heads = owner == Owner::Keys ? shape.kvHeads : shape.heads;
    int64_t blocks = llvm::divideCeil(rows, tileM);
    kernel = b.beginKernel(request.getName(), request.getArgumentTypes(), tileM / 16 * 32,
                           {blocks * shares.parts, heads, shape.batches});
    locate(blocks);
    allocate();
    if (!settles)
      return compute();
    std::array<Val, 3> at{batch, head, firstRow / double(tileM)};
    Val coarse = areTooCoarse(b, argument(kTiles), argument(kStats), at, shape.queries, shape.headDim, shape.keys);
    auto either = [](auto write) { return [write] { return write(), SmallVector<Val>(); }; };
    b.ifElse(coarse, either([&] { compute(); }), either([&] { storeIntegers(at); }));
  }

private:
  Val argument(unsigned index) { return b.argument(kernel, index); }

  void compute() {
    loadOwned();
    for (int64_t i = 0; i + 1 < stages; ++i)
      copyBlock(b.i32(i), b.i32(i));
    SmallVector<Val> sums = b.forRange(b.i32(0), total, b.i32(1), shares.begin(b, shape, owner, tileM),
                                       [&](Val i, ArrayRef<Val> carried) { return iterate(i, carried); });
    finish(sums);
  }

  /// Where this thread block works.
  void locate(int64_t blocks) {
    batch = b.id(tile::Id::BlockZ);
    head = b.id(tile::Id::BlockY);
    Val x = b.id(tile::Id::BlockX);
    // The blocks with the most work first: under a causal mask the first keys and
    // the last queries.
    Val block = x / double(shares.parts);
    shares.part = x % double(shares.parts);
    if (shape.causal && owner == Owner::Queries)
      block = double(blocks - 1) - block;
    firstRow = block * double(tileM);
    if (shape.documents) {
      DocumentSteps steps = shape.getDocumentSteps(owner == Owner::Keys);
      edges = loadDocumentEdges(b, argument(kDocuments), firstRow, tileM, steps);
      documents =
          loadDocumentRows(b, argument(kDocuments), firstRow, tileM, math.getDocumentSide(), /*group=*/1, steps);
    }
    walked = math.walk(firstRow, tileM, shape.documents ? &edges : nullptr);
    total = walked.count * double(group);
  }

  Pair ownedTensors() {
    return owner == Owner::Keys ? Pair{argument(kK), argument(kV)} : Pair{argument(kQ), argument(dout)};
  }
  Pair walkedTensors() {
    return owner == Owner::Keys ? Pair{argument(kQ), argument(dout)} : Pair{argument(kK), argument(kV)};
  }

  void copy(Val tensor, Val tensorHead, Val row, Val target) {
    tile::CopyAsyncOp::create(b, Value(tensor), Value(batch), Value(tensorHead), Value(row), Value(target));
  }

  void allocate() {
    auto alloc = [&](ArrayRef<int64_t> sizes) { return b.alloc(sizes, shape.element, tile::Layout::Padded); };
    owned = {alloc({tileM, shape.headDim}), alloc({tileM, shape.valueDim})};
    ring = {alloc({stages, tileN, shape.headDim}), alloc({stages, tileN, shape.valueDim})};
  }

  void loadOwned() {
    copy(ownedTensors().scores, head, firstRow, owned.scores);
    copy(ownedTensors().weights, head, firstRow, owned.weights);
    tile::CopyCommitOp::create(b);
    if (owner == Owner::Keys)
      return;
    if (settles) {
      rowLse = loadStats(0);
      rowDelta = loadStats(1);
      return;
    }
    Type rows = tile::getRowsType(tileM, b.getF32Type());
    auto load = [&](unsigned index, float outside) {
      return b.wrap(tile::LoadRowsOp::create(b, rows, Value(argument(index)), Value(batch), Value(head),
                                             Value(firstRow), APFloat(outside)));
    };
    rowLse = math.prepare(load(kLse, -INFINITY));
    rowDelta = load(kDelta, 0);
  }

  /// A row of the stats.
  Val loadStats(int64_t which) {
    Val rows = b.wrap(tile::RowIndexOp::create(b, tile::getRowsType(tileM, b.getI32Type()), Value(firstRow)));
    SmallVector<Value> indices{batch, head, b.i32(which)};
    return b.wrap(tile::LookupOp::create(b, tile::getRowsType(tileM, b.getF32Type()), Value(argument(kStats)), indices,
                                         Value(rows), b.getF32FloatAttr(0.0f)));
  }

  /// The rows of dQ that integers give.
  void storeIntegers(ArrayRef<Val> at) {
    SmallVector<Value> indices{at[0], at[1], at[2], b.i32(0)};
    Type integers = tile::getAccType(tileM, shape.headDim, b.getI32Type());
    Val sums = b.wrap(tile::LoadFragmentOp::create(b, integers, Value(argument(kTiles)), indices));
    Type type = tile::getAccType(tileM, shape.headDim, b.getF32Type());
    Val scale = shape.scale / loadStats(2);
    store(b.toFloat(sums, type) * b.wrap(tile::BroadcastOp::create(b, type, Value(scale))), argument(firstResult));
  }

  /// The head and the first row of the i-th block that is walked.
  std::pair<Val, Val> blockPlace(Val i) {
    if (owner == Owner::Queries)
      return {head / double(shape.heads / shape.kvHeads), math.blockStart(walked, i)};
    return {head * double(group) + i / walked.count, math.blockStart(walked, i % walked.count)};
  }

  void copyBlock(Val i, Val slot) {
    b.ifThen(i < total, [&] {
      auto [blockHead, start] = blockPlace(i);
      copy(walkedTensors().scores, blockHead, start, b.slice(ring.scores, slot));
      copy(walkedTensors().weights, blockHead, start, b.slice(ring.weights, slot));
    });
    // An empty group where there was nothing to copy keeps the count right.
    tile::CopyCommitOp::create(b);
  }

  /// owned * walked^T, [tile_m, tile_n].
  Val multiply(Val ownedTile, Val walkedTile) {
    return multiplyRows(b, math.getScoresType(), ownedTile, walkedTile, kLhsColumns);
  }

  SmallVector<Val> iterate(Val i, ArrayRef<Val> sums) {
    Val ahead = i + double(stages - 1);
    copyBlock(ahead, ahead % double(stages));
    tile::CopyWaitOp::create(b, stages - 1);
    b.barrier();
    Val slot = i % double(stages);
    Pair tiles{b.slice(ring.scores, slot), b.slice(ring.weights, slot)};
    auto [blockHead, start] = blockPlace(i);
    ScoreGradient gradient =
        differentiate(multiply(owned.scores, tiles.scores), multiply(owned.weights, tiles.weights), blockHead, start);
    SmallVector<Val> next{shares.add(b, sums[0], gradient.dscores, tiles.scores)};
    if (owner == Owner::Keys)
      next.push_back(shares.add(b, sums[1], gradient.weights, tiles.weights));
    // The next iteration overwrites the slot that was just read.
    b.barrier();
    return next;
  }

  ScoreGradient differentiate(Val scores, Val dweights, Val blockHead, Val start) {
    Type type = scores.getType();
    Val lse, delta;
    if (owner == Owner::Queries) {
      lse = b.wrap(tile::BroadcastOp::create(b, type, Value(rowLse)));
      delta = b.wrap(tile::BroadcastOp::create(b, type, Value(rowDelta)));
    } else {
      auto load = [&](unsigned index, float outside) {
        SmallVector<Value> indices{batch, blockHead, start};
        return b.wrap(tile::LoadColsOp::create(b, type, Value(argument(index)), indices, APFloat(outside)));
      };
      lse = math.prepare(load(kLse, -INFINITY));
      delta = load(kDelta, 0);
    }
    auto write = [&](bool masked) {
      ScoreGradient gradient = math.differentiate(scores, dweights, lse, delta, firstRow, start, masked,
                                                  shape.documents ? &documents : nullptr);
      return SmallVector<Val>{gradient.weights, gradient.dscores};
    };
    Val needsMask = math.needsMask(firstRow, tileM, start, shape.documents ? &edges : nullptr);
    SmallVector<Val> result = b.ifElse(needsMask, [&] { return write(true); }, [&] { return write(false); });
    return {result[0], result[1]};
  }

  void finish(ArrayRef<Val> sums) {
    store(sums[0] * shape.scale, argument(firstResult));
    if (owner == Owner::Keys)
      store(sums[1], argument(firstResult + 1));
  }

  void store(Val sum, Val target) {
    int64_t width = cast<RankedTensorType>(sum.getType()).getShape()[1];
    tile::StoreTileOp::create(b, Value(sum), Value(target), Value(batch), Value(head), Value(firstRow),
                              shares.parts == 1 ? Value() : Value(shares.part * double(width)));
  }

  const KernelRequest &request;
  KernelBuilder &b;
  AttendShape shape;
  Owner owner;
  int64_t tileM, tileN, stages;
  GradientSums shares;
  /// Heads that are walked.
  int64_t group;
  /// Whether the tiles are those of integers, and computed only where these are too coarse.
  bool settles;
  /// Positions of the output's gradient and of the first result among the arguments.
  unsigned dout, firstResult;
  AttendGradMath math;
  tile::KernelOp kernel;
  Val batch, head, firstRow, total, rowLse, rowDelta;
  WalkedBlocks walked;
  Pair owned, ring;
  // With documents only: those of the owned rows.
  DocumentEdges edges;
  DocumentRows documents;
};

} // namespace

LogicalResult fresnel::lowerAttendGradQ(AttendGradQOp op, const KernelRequest &request, KernelBuilder &builder) {
  if (op.getBlocks() && request.schedule.getFamily() == Family::Hopper)
    lowerHopperListGrad(op, request, builder);
  else if (op.getBlocks())
    lowerAttendGradBlocks(op, request, builder);
  else
    AttendGradKernel(AttendShape(op), Owner::Queries, request, builder).write();
  return success();
}

LogicalResult fresnel::lowerSettleTiles(SettleTilesOp op, const KernelRequest &request, KernelBuilder &builder) {
  AttendGradKernel(AttendShape(op), Owner::Queries, request, builder).write();
  return success();
}

LogicalResult fresnel::lowerAttendGradKv(AttendGradKvOp op, const KernelRequest &request, KernelBuilder &builder) {
  if (op.getBlocks() && request.schedule.getFamily() == Family::Hopper)
    lowerHopperListGrad(op, request, builder);
  else if (op.getBlocks())
    lowerAttendGradBlocks(op, request, builder);
  else
    AttendGradKernel(AttendShape(op), Owner::Keys, request, builder).write();
  return success();
}
