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

#include "fresnel/Conversion/PortableProducts.h"
#include "fresnel/Conversion/ToTile.h"

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
      : request(request), b(builder), shape(op), tileM(request.schedule.getTileM()), tileN(request.schedule.getTileN()),
        stages(request.schedule.getStages()), outArgument(shape.documents ? 4 : 3), math(builder, shape, tileM, tileN) {
  }

  void write() {
    int64_t blocks = llvm::divideCeil(shape.queries, tileM);
    int64_t threads = tileM / 16 * 32;
    kernel =
        b.beginKernel(request.getName(), request.getArgumentTypes(), threads, {blocks, shape.heads, shape.batches});
    locate(blocks);
    allocate();
    loadQueries();
    prefetch();
    SmallVector<Val> result = b.forRange(b.i32(0), visited.count, b.i32(1), beginSoftmax(b, tileM, shape.valueDim),
                                         [&](Val i, ArrayRef<Val> state) { return iterate(i, state); });
    finish(result);
  }

private:
  // Where this thread block works.
  void locate(int64_t blocks) {
    batch = b.id(tile::Id::BlockZ);
    head = b.id(tile::Id::BlockY);
    kvHead = head / double(shape.heads / shape.kvHeads);
    Val x = b.id(tile::Id::BlockX);
    // Under a causal mask the last rows have the most work: start them first.
    Val block = shape.causal ? double(blocks - 1) - x : x;
    firstRow = block * double(tileM);
    firstPosition = firstRow + double(shape.getOffset());
    if (!shape.documents) {
      visited = math.visit(firstPosition, tileM);
      return;
    }
    Val bounds = b.argument(kernel, 3);
    DocumentSide side = shape.causal ? DocumentSide::Starts : DocumentSide::Both;
    edges = loadDocumentEdges(b, bounds, firstRow, tileM, shape.getDocumentSteps());
    documents = loadDocumentRows(b, bounds, firstRow, tileM, side, /*group=*/1, shape.getDocumentSteps());
    visited = math.visit(firstPosition, tileM, &edges);
  }

  /// First key of the i-th block that is visited: the sinks, then the window.
  Val blockStart(Val i) {
    Val block = visited.first + (i - visited.sinks);
    if (shape.window > 0 && shape.sinks > 0)
      block = b.select(i < visited.sinks, i, block);
    return block * double(tileN);
  }

  void allocate() {
    qTile = b.alloc({tileM, shape.headDim}, shape.element, tile::Layout::Padded);
    kRing = b.alloc({stages, tileN, shape.headDim}, shape.element, tile::Layout::Padded);
    vRing = b.alloc({stages, tileN, shape.valueDim}, shape.element, tile::Layout::Padded);
  }

  void loadQueries() {
    Val q = b.argument(kernel, 0);
    tile::CopyAsyncOp::create(b, Value(q), Value(batch), Value(head), Value(firstRow), Value(qTile));
    tile::CopyCommitOp::create(b);
    if (shape.headDim > kMaxResidentHeadDim)
      return;
    tile::CopyWaitOp::create(b, 0);
    b.barrier();
    qLhs = b.wrap(tile::LoadLhsOp::create(b, tile::getLhsType(tileM, shape.headDim, shape.element), Value(qTile), 0));
  }

  void copyBlock(Val i, Val slot) {
    b.ifThen(i < visited.count, [&] {
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

  SmallVector<Val> iterate(Val i, ArrayRef<Val> state) {
    Val ahead = i + double(stages - 1);
    copyBlock(ahead, ahead % double(stages));
    tile::CopyWaitOp::create(b, stages - 1);
    b.barrier();
    Val slot = i % double(stages);
    Val scores = mask(math.cap(multiplyQueries(b.slice(kRing, slot))), blockStart(i));
    SmallVector<Val> next = continueSoftmax(b, math, scores, state, b.slice(vRing, slot));
    // The next iteration overwrites the slot that was just read.
    b.barrier();
    return next;
  }

  Val multiplyQueries(Val kTile) {
    if (!qLhs)
      return multiplyRows(b, math.getScoresType(), qTile, kTile, kLhsColumns);
    Val scores = b.constant(math.getScoresType(), 0.0);
    return b.wrap(tile::MmaOp::create(b, scores.getType(), Value(qLhs), Value(kTile), Value(scores),
                                      /*transposed=*/true, /*column=*/0));
  }

  /// Hides the shape.keys that a row must not see; blocks without any are left alone.
  Val mask(Val scores, Val start) {
    Val end = start + double(tileN);
    Val needed = end > b.i32(shape.keys);
    if (shape.causal)
      needed = needed | (getLastToken(shape, end - 1.0) > firstPosition);
    if (shape.window > 0)
      needed = needed | (start < firstPosition + double(tileM - shape.window));
    if (shape.documents)
      needed = needed | (start < edges.lastStart) | (end > edges.firstEnd);
    auto hide = [&] {
      return shape.documents ? math.hide(scores, start, firstPosition, documents)
                             : math.hide(scores, start, firstPosition);
    };
    return b.ifElse(needed, [&] { return SmallVector<Val>{hide()}; }, [&] { return SmallVector<Val>{scores}; })[0];
  }

  void finish(ArrayRef<Val> state) {
    auto [inverse, lse] = math.finish(state[1], state[2]);
    Val acc = state[0] * math.broadcast(inverse, state[0].getType());
    tile::StoreTileOp::create(b, Value(acc), Value(b.argument(kernel, outArgument)), Value(batch), Value(head),
                              Value(firstRow));
    tile::StoreRowsOp::create(b, Value(lse), Value(b.argument(kernel, outArgument + 1)), Value(batch), Value(head),
                              Value(firstRow));
  }

  const KernelRequest &request;
  KernelBuilder &b;
  AttendShape shape;
  int64_t tileM, tileN, stages;
  /// The output's position among the arguments; the LSE follows it.
  unsigned outArgument;
  AttendMath math;
  tile::KernelOp kernel;
  Val batch, head, kvHead, firstRow, firstPosition;
  KeyBlocks visited;
  // With documents only.
  DocumentEdges edges;
  DocumentRows documents;
  Val qTile, kRing, vRing, qLhs;
};

} // namespace

LogicalResult fresnel::lowerAttend(AttendOp op, const KernelRequest &request, KernelBuilder &builder) {
  if (request.schedule.getFamily() == Family::Simt)
    return op.emitOpError() << "has no lowering for schedule " << request.schedule;
  Type element = op.getQ().getType().getElementType();
  if (!element.isBF16() && !element.isF16())
    return op.emitOpError() << "has GPU kernels for bf16 and f16, but `q` holds " << element
                            << "; convert the inputs or run with --device cpu";
  if (request.schedule.getFamily() == Family::Hopper)
    lowerHopperAttend(op, request, builder);
  else if (op.getBlocks())
    lowerAttendBlocks(op, request, builder);
  else
    AttendKernel(op, request, builder).write();
  return success();
}
