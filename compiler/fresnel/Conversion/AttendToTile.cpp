//===- AttendToTile.cpp - Attention with cp.async and mma.sync ------------===//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
//
// The portable family: a thread block owns `tile_m` query rows of one head, 16
// per warp, and walks the key blocks it can see with a ring of `stages` tiles of
// K and V, keeping the softmax online (Milakov and Gimelshein, arXiv 1805.02867;
// Dao, arXiv 2307.08691). Scores live in the base-2 domain.
//
//===----------------------------------------------------------------------===//

#include "fresnel/Conversion/ToTile.h"
#include <cmath>

using namespace mlir;
using namespace fresnel;

namespace {

/// The width of the pieces in which a wide Q tile is read back each iteration.
constexpr int64_t kLhsColumns = 64;
/// Up to this head dim all of Q stays in registers.
constexpr int64_t kMaxResidentHeadDim = 128;

/// Writes one attention kernel.
class AttendKernel {
public:
  AttendKernel(AttendOp op, const KernelRequest &request, KernelBuilder &builder)
      : op(op), request(request), b(builder), qType(op.getQ().getType()), kType(op.getK().getType()),
        vType(op.getV().getType()), element(qType.getElementType()), queries(qType.getDimSize(2)),
        keys(kType.getDimSize(2)), headDim(qType.getDimSize(3)), valueDim(vType.getDimSize(3)),
        tileM(request.schedule.getTileM()), tileN(request.schedule.getTileN()), stages(request.schedule.getStages()),
        causal(op.getCausal()), window(op.getWindow()), sinks(op.getSinks()) {}

  void write() {
    int64_t blocks = llvm::divideCeil(queries, tileM);
    int64_t threads = tileM / 16 * 32;
    kernel = b.beginKernel(request.getName(), request.getArgumentTypes(), threads,
                           {blocks, qType.getDimSize(1), qType.getDimSize(0)});
    locate(blocks);
    allocate();
    loadQueries();
    prefetch();
    SmallVector<Val> result = b.forRange(b.i32(0), count, b.i32(1), initialState(), [&](Val i, ArrayRef<Val> state) {
      return iterate(i, state);
    });
    finish(result);
  }

private:
  // Where this thread block works.
  void locate(int64_t blocks) {
    batch = b.id(tile::Id::BlockZ);
    head = b.id(tile::Id::BlockY);
    kvHead = head / double(qType.getDimSize(1) / kType.getDimSize(1));
    Val x = b.id(tile::Id::BlockX);
    // Under a causal mask the last rows have the most work: start them first.
    Val block = causal ? double(blocks - 1) - x : x;
    firstRow = block * double(tileM);
    // Bottom-right alignment: query i stands at position i + keys - queries.
    firstPosition = firstRow + double(keys - queries);
    Val end = b.i32(keys);
    if (causal)
      end = b.max(b.min(end, firstPosition + double(tileM)), b.i32(0));
    Val endBlock = (end + double(tileN - 1)) / double(tileN);
    firstBlock = b.i32(0);
    sinkBlocks = b.i32(0);
    if (window > 0) {
      firstBlock = b.max(firstPosition - double(window - 1), b.i32(0)) / double(tileN);
      sinkBlocks = b.min(b.i32(llvm::divideCeil(sinks, tileN)), firstBlock);
    }
    count = b.max(endBlock - firstBlock, b.i32(0)) + sinkBlocks;
  }

  /// First key of the i-th block that is visited: the sinks, then the window.
  Val blockStart(Val i) {
    Val block = firstBlock + (i - sinkBlocks);
    if (window > 0 && sinks > 0)
      block = b.select(i < sinkBlocks, i, block);
    return block * double(tileN);
  }

  void allocate() {
    qTile = b.alloc({tileM, headDim}, element, tile::Layout::Padded);
    kRing = b.alloc({stages, tileN, headDim}, element, tile::Layout::Padded);
    vRing = b.alloc({stages, tileN, valueDim}, element, tile::Layout::Padded);
  }

  void loadQueries() {
    Val q = b.argument(kernel, 0);
    tile::CopyAsyncOp::create(b, Value(q), Value(batch), Value(head), Value(firstRow), Value(qTile));
    tile::CopyCommitOp::create(b);
    if (headDim > kMaxResidentHeadDim)
      return;
    tile::CopyWaitOp::create(b, 0);
    b.barrier();
    qLhs = b.wrap(tile::LoadLhsOp::create(b, tile::getLhsType(tileM, headDim, element), Value(qTile), 0));
  }

  void copyBlock(Val i, Val slot) {
    b.ifThen(i < count, [&] {
      Val row = blockStart(i);
      for (auto [argument, ring] : {std::pair(1, kRing), std::pair(2, vRing)})
        tile::CopyAsyncOp::create(b, Value(b.argument(kernel, argument)), Value(batch), Value(kvHead), Value(row),
                                  Value(b.slice(ring, slot)));
    });
    // An empty group where there was nothing to copy keeps the count right.
    tile::CopyCommitOp::create(b);
  }

  void prefetch() {
    for (int64_t i = 0; i + 1 < stages; ++i)
      copyBlock(b.i32(i), b.i32(i));
  }

  SmallVector<Val> initialState() {
    Type f32 = b.getF32Type();
    Type rows = tile::getRowsType(tileM, f32);
    return {b.constant(tile::getAccType(tileM, valueDim, f32), 0.0), b.constant(rows, -INFINITY),
            b.constant(rows, 0.0)};
  }

  SmallVector<Val> iterate(Val i, ArrayRef<Val> state) {
    Val ahead = i + double(stages - 1);
    copyBlock(ahead, ahead % double(stages));
    tile::CopyWaitOp::create(b, stages - 1);
    b.barrier();
    Val slot = i % double(stages);
    Val scores = mask(scale(multiplyQueries(b.slice(kRing, slot))), blockStart(i));
    SmallVector<Val> next = softmax(scores, state, b.slice(vRing, slot));
    // The next iteration overwrites the slot that was just read.
    b.barrier();
    return next;
  }

  Val multiplyQueries(Val kTile) {
    Val scores = b.constant(tile::getAccType(tileM, tileN, b.getF32Type()), 0.0);
    if (qLhs)
      return b.wrap(tile::MmaOp::create(b, scores.getType(), Value(qLhs), Value(kTile), Value(scores),
                                        /*transposed=*/true, /*column=*/0));
    for (int64_t column = 0; column < headDim; column += kLhsColumns) {
      int64_t width = std::min(kLhsColumns, headDim - column);
      Value lhs = tile::LoadLhsOp::create(b, tile::getLhsType(tileM, width, element), Value(qTile), column);
      scores = b.wrap(tile::MmaOp::create(b, scores.getType(), lhs, Value(kTile), Value(scores),
                                          /*transposed=*/true, column));
    }
    return scores;
  }

  /// To the base-2 domain, through the soft cap where there is one.
  Val scale(Val scores) {
    double factor = op.getScaleOrDefault();
    double cap = op.getSoftcap().convertToDouble();
    if (cap <= 0)
      return scores * (factor * M_LOG2E);
    // tanh(x) = 1 - 2 / (1 + e^2x), exact at both infinities.
    Val power = b.exp2(scores * (2 * M_LOG2E * factor / cap));
    return cap * M_LOG2E * (1.0 - 2.0 / (1.0 + power));
  }

  /// Hides the keys that a row must not see; blocks without any are left alone.
  Val mask(Val scores, Val start) {
    Val end = start + double(tileN);
    Val needed = end > b.i32(keys);
    if (causal)
      needed = needed | (end - 1.0 > firstPosition);
    if (window > 0)
      needed = needed | (start < firstPosition + double(tileM - window));
    return b.ifElse(
        needed, [&] { return SmallVector<Val>{b.select(visible(scores, start), scores, hidden(scores))}; },
        [&] { return SmallVector<Val>{scores}; })[0];
  }

  Val hidden(Val scores) { return b.constant(scores.getType(), -INFINITY); }

  Val visible(Val scores, Val start) {
    Type index = tile::getAccType(tileM, tileN, b.getI32Type());
    Val key = b.wrap(tile::ColIndexOp::create(b, index, Value(start)));
    Val inside = key < b.i32(keys);
    if (!causal)
      return inside;
    Val position = b.wrap(tile::RowIndexOp::create(b, index, Value(firstPosition)));
    inside = inside & (key <= position);
    if (window > 0) {
      Val recent = position - key < b.i32(window);
      inside = inside & (sinks > 0 ? recent | (key < b.i32(sinks)) : recent);
    }
    return inside;
  }

  Val broadcast(Val rows, Type like) { return b.wrap(tile::BroadcastOp::create(b, like, Value(rows))); }

  /// One step of the online softmax: {accumulator, running maximum, this lane's part of the running sum}.
  SmallVector<Val> softmax(Val scores, ArrayRef<Val> state, Val vTile) {
    Val acc = state[0], maximum = state[1], sum = state[2];
    Val blockMaximum =
        b.wrap(tile::ReduceOp::create(b, maximum.getType(), tile::Combine::Max, Value(scores), /*partial=*/false));
    Val newMaximum = b.max(maximum, blockMaximum);
    // A row that has seen no key yet keeps -inf; subtracting it would give NaN.
    Val reference = b.select(newMaximum == -INFINITY, b.constant(newMaximum.getType(), 0.0), newMaximum);
    Val correction = b.exp2(maximum - reference);
    Val weights = b.exp2(scores - broadcast(reference, scores.getType()));
    Val blockSum =
        b.wrap(tile::ReduceOp::create(b, sum.getType(), tile::Combine::Add, Value(weights), /*partial=*/true));
    acc = acc * broadcast(correction, acc.getType());
    Value lhs = tile::ToLhsOp::create(b, tile::getLhsType(tileM, tileN, element), Value(weights));
    acc = b.wrap(tile::MmaOp::create(b, acc.getType(), lhs, Value(vTile), Value(acc), /*transposed=*/false, 0));
    return {acc, newMaximum, sum * correction + blockSum};
  }

  void finish(ArrayRef<Val> state) {
    Val acc = state[0], maximum = state[1];
    Val sum = b.wrap(tile::QuadReduceOp::create(b, state[2].getType(), tile::Combine::Add, Value(state[2])));
    Val empty = sum == 0.0;
    Val inverse = b.select(empty, b.constant(sum.getType(), 0.0), 1.0 / sum);
    Val lse = b.select(empty, b.constant(sum.getType(), -INFINITY), (maximum + b.log2(sum)) * M_LN2);
    acc = acc * broadcast(inverse, acc.getType());
    tile::StoreTileOp::create(b, Value(acc), Value(b.argument(kernel, 3)), Value(batch), Value(head), Value(firstRow));
    tile::StoreRowsOp::create(b, Value(lse), Value(b.argument(kernel, 4)), Value(batch), Value(head), Value(firstRow));
  }

  AttendOp op;
  const KernelRequest &request;
  KernelBuilder &b;
  RankedTensorType qType, kType, vType;
  Type element;
  int64_t queries, keys, headDim, valueDim, tileM, tileN, stages;
  bool causal;
  int64_t window, sinks;
  tile::KernelOp kernel;
  Val batch, head, kvHead, firstRow, firstPosition, firstBlock, sinkBlocks, count;
  Val qTile, kRing, vRing, qLhs;
};

} // namespace

LogicalResult fresnel::lowerAttend(AttendOp op, const KernelRequest &request, KernelBuilder &builder) {
  if (request.schedule.getFamily() != Family::Portable)
    return op.emitOpError() << "has no lowering for schedule " << request.schedule;
  Type element = op.getQ().getType().getElementType();
  if (!element.isBF16() && !element.isF16())
    return op.emitOpError() << "has GPU kernels for bf16 and f16, but `q` holds " << element
                            << "; convert the inputs or run with --device cpu";
  AttendKernel(op, request, builder).write();
  return success();
}
