//===- HopperListGradKv.cpp - Gradients of keys and values over block lists -===//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
//
// A thread block owns 128 keys, 64 for each consumer: of one block, which the consumers walk together, or of two, which
// each walks alone. A walk, or a piece of one (HopperListWalks.h), visits the queries that list the block, in steps of
// 64 rows: tokens of one head, or fewer tokens of several heads that share their lists, neighbours or gathered ones
// (HopperListBits.h). A warp of the producer scans the block's row of the transposed lists, fetches a step's queries
// and gradients of the output with bulk copies, and puts LSE and delta of each row beside them (HopperListSums.h): the
// consumers know no lists.
//
//===----------------------------------------------------------------------===//

#include "fresnel/Conversion/BlockLists.h"
#include "fresnel/Conversion/HopperListBits.h"
#include "fresnel/Conversion/HopperListSums.h"

using namespace mlir;
using namespace fresnel;

namespace {

class HopperListGradKv : HopperListSums {
  /// The named barrier of all consumers.
  static constexpr int64_t kAllBarrier = kOwnBarrier + kConsumers;
  /// That of the warp that produces the first walk; the other's follows.
  static constexpr int64_t kWalkBarrier = kAllBarrier + 1;

public:
  HopperListGradKv(AttendGradKvOp op, const KernelRequest &request, KernelBuilder &builder)
      : HopperListSums(op, request, builder), keyRows(getListKeys(op)), walkKeys(getWalkKeys(op)),
        walks(keyRows / walkKeys), blocks(getWalkBlocks(op)), wide(keyRows < kConsumers * kGroupRows),
        pieces(builder, shape, op.getCounts() ? getListCuts(op) : ListCuts(), walkKeys, walks, getSection(), kThreads),
        bits(builder, shape, steps, pieces, walkKeys, cast<RankedTensorType>(op.getBlocks().getType()).getDimSize(3)) {}

  void write() {
    kernel = b.beginKernel(request.getName(), getArgumentTypes(), kThreads, {pieces.countThreadBlocks(), 1, 1});
    if (pieces.hasCuts()) {
      kernel->setAttr(kScratchAttr, b.getI64IntegerAttr(ShapedType::getNumElements(getSumsType().getShape())));
      kernel->setAttr(kCountersAttr, b.getI64IntegerAttr(ShapedType::getNumElements(getTurnsType().getShape())));
    }
    allocate();
    initialise();
    writeRoles(kConsumers, kRegisters, [&] { produce(); }, [&] { consume(); });
  }

private:
  /// One head after the other by default: its queries, which walks of many blocks read, come through L2.
  int64_t getSection() const {
    return std::clamp<int64_t>(request.schedule.getSection(), 1, shape.kvHeads * shape.batches);
  }

  Val argument(Argument which) override {
    return b.argument(kernel, which - (which > kDocuments && !shape.documents && !shape.starts) -
                                  (which > kCounts && !pieces.hasCuts()));
  }

  /// dK and dV of each consumer of a walk that is cut, and whose turn it is to add to them.
  tile::GlobalType getSumsType() {
    return tile::GlobalType::get(b.getContext(),
                                 {pieces.countSums(), kConsumers / walks, wide ? 1 : 2, kGroupRows * shape.headDim},
                                 b.getF32Type(), /*strided=*/false);
  }
  tile::GlobalType getTurnsType() {
    return tile::GlobalType::get(b.getContext(), {pieces.countSums(), kConsumers / walks}, b.getI32Type(),
                                 /*strided=*/false);
  }

  SmallVector<Type> getArgumentTypes() {
    SmallVector<Type> types = getMappedTypes();
    if (pieces.hasCuts())
      types.append({getSumsType(), getTurnsType()});
    return types;
  }

  void allocate() {
    // The slots of each walk, one after the other.
    allocateTiles(keyRows, walks * stages, blocks);
    counters = b.alloc({bits.getCounters(walks)}, b.getI32Type());
    if (steps.gathered)
      waiting = b.alloc({walks, kListWindow + steps.rows}, b.getI32Type());
    keysFull = allocBarriers(walks);
    pieces.allocate();
  }

  void initialise() {
    thread = b.id(tile::Id::Thread);
    b.ifThen(thread == b.i32(0), [&] {
      prefetchMaps();
      // The copies, and each lane that writes values of rows.
      initBarriers(queries.full, 1 + kLanes);
      // Each thread, which reads values by itself.
      initBarriers(queries.empty, 128 * kConsumers / walks);
      initBarriers(keysFull, 1, /*fence=*/true);
    });
    b.forRange(thread, b.i32(bits.getCounters(walks)), b.i32(kThreads),
               [&](Val i) { b.store(b.i32(0), counters, {i}); });
    b.barrier();
    locate();
    bits.countSteps(counters, thread, kThreads);
  }

  void locate() {
    Val head = pieces.locate(pieces.hasCuts() ? argument(kCounts) : Val(), thread);
    batch = head / double(shape.kvHeads);
    kvHead = head % double(shape.kvHeads);
    bits.setTensor(argument(kBits), batch, kvHead);
  }

  std::pair<Val, Val> getSlot(Val i) override {
    auto [slot, parity] = slotOf(queries, i);
    return {walks == 1 ? slot : slot + walk * double(stages), parity};
  }

  //===--------------------------------------------------------------------===//
  // Producer
  //===--------------------------------------------------------------------===//

  /// The keys and values of a walk's consumers.
  void loadOwned() {
    int64_t groups = walkKeys / kGroupRows;
    expect(keysFull, walk, 2 * cast<tile::SharedType>(keyTile.getType()).getBytes() / walks);
    for (int64_t group = 0; group < groups; ++group) {
      Val row = own.tile * double(kGroupRows * groups) + double(group * kGroupRows);
      Val tileRow = walk * double(kGroupRows) + double(group * kGroupRows);
      load(kK, kvHead, row, keyTile, keysFull, walk, tileRow);
      load(kV, kvHead, row, valueTile, keysFull, walk, tileRow);
    }
  }

  /// The slot of a step's LSE for a block of the walk.
  Val getLseRow(Val slot, Val block) { return b.slice(lses, blocks > 1 ? slot * double(blocks) + block : slot); }
  /// Each warp's keys lie in one block.
  Val getOwnLseRow(Val slot) override { return getLseRow(slot, blocks > 1 ? (thread >> 6.0) & 1.0 : Val()); }

  /// `listed` are bits of the step's list rows, block by block: those of its first and of its second half.
  void produceStep(Val i, Val head, Val token, ArrayRef<Val> listed) {
    std::pair<Val, Val> place = getSlot(i);
    // These loads are on their way while the slot is waited for.
    SmallVector<RowValues> values;
    for (int64_t half = 0; half < kRows / kLanes; ++half) {
      // Rows are in the order of the boxes: head by head.
      Val row = lane + double(half * kLanes), local = moduloBy(row, steps.tokens);
      values.push_back(loadValues(row, head + divideBy(row, steps.tokens), token + local, blocks, [&](int64_t block) {
        // What is walked for one block lists that.
        if (steps.rows == 1 && blocks == 1)
          return Val();
        Val bit = steps.rows > 32 ? lane : divideBy(local, shape.queryBlock);
        return ((listed[2 * block + half] >> bit) & 1.0) != 0.0;
      }));
    }
    auto loadRows = [&](Val slot) {
      loadTiles(head, token, slot);
      b.store(token, tokens, {slot});
    };
    fillSlot(place, values, loadRows, [&](int64_t block) { return getLseRow(place.first, b.i32(block)); });
  }

  /// The rows that wait from `first` on, of which there are some up to `end`.
  void produceGathered(Val i, Val head, Val first, Val end) {
    std::pair<Val, Val> place = getSlot(i);
    int64_t boxRows = kRows / steps.rows;
    auto getToken = [&](Val at) { return b.load(waitingRows, {b.min(at, end - 1.0)}) * double(shape.queryBlock); };
    SmallVector<RowValues> values;
    for (int64_t half = 0; half < kRows / kLanes; ++half) {
      Val row = lane + double(half * kLanes), local = moduloBy(row, boxRows), at = first + divideBy(row, boxRows);
      values.push_back(loadValues(row, head + divideBy(local, shape.queryBlock),
                                  getToken(at) + moduloBy(local, shape.queryBlock), /*blocks=*/1,
                                  [&](int64_t) { return at < end; }));
    }
    auto loadRows = [&](Val slot) {
      for (int64_t box = 0; box < steps.rows; ++box) {
        Val token = getToken(first + double(box));
        loadTiles(head, token, slot, b.i32(box * boxRows));
        b.store(token, b.slice(tokens, slot), {b.i32(box)});
      }
    };
    fillSlot(place, values, loadRows, [&](int64_t) { return getLseRow(place.first, Val()); });
  }

  void produce() {
    // A warp for each walk.
    walk = b.id(tile::Id::Warp);
    b.ifThen(walk < double(walks), [&] {
      lane = b.id(tile::Id::Lane);
      elected = b.wrap(tile::ElectOp::create(b, b.getI1Type()));
      own = pieces.getPiece(walk);
      b.ifThen(elected, [&] { loadOwned(); });
      if (steps.gathered) {
        waitingRows = b.slice(waiting, walk);
        bits.forGathered(own, lane, waitingRows, walk + double(kWalkBarrier),
                         [&](Val i, Val head, Val first, Val end) { produceGathered(i, head, first, end); });
        return;
      }
      bits.forSteps(own, lane,
                    [&](Val i, Val head, Val token, ArrayRef<Val> listed) { produceStep(i, head, token, listed); });
    });
  }

  //===--------------------------------------------------------------------===//
  // Consumers
  //===--------------------------------------------------------------------===//

  /// Not with two walks, which wait for memory; and a mask or a soft cap has no registers left.
  bool overlaps() const {
    return stages > 1 && walks == 1 && !wide && !shape.causal && !shape.documents && shape.softcap <= 0;
  }

  /// Adds the sums of the pieces of the walk before this one, and leaves the new ones to the piece behind.
  SmallVector<Val> joinPieces(Val consumer, SmallVector<Val> sums) {
    Val group = walks == 1 ? consumer : b.i32(0);
    auto place = [&](int64_t which) { return SmallVector<Value>{own.sums, group, b.i32(which), b.i32(0)}; };
    SharedSums shared{argument(kSums), argument(kTurns), {own.sums, group}, place, own.piece, own.pieces};
    return addInTurn(shared, std::move(sums), leader, [&] { meetOwn(consumer); });
  }

  void store(Val consumer, SmallVector<Val> sums) {
    for (Val &sum : sums)
      sum = clearHidden(sum);
    if (wide)
      return storeOne(consumer, sums[0]);
    storeGradients(consumer, sums);
  }

  /// The gradient of the keys, which the first consumer has, or that of the values.
  void storeOne(Val consumer, Val sum) {
    Val target = b.slice(owned, consumer);
    // The other consumer has read the keys.
    meet(b.i32(kAllBarrier), 128 * kConsumers);
    tile::StoreMatrixOp::create(b, Value(sum), Value(target), Value(groupRow));
    tile::FenceAsyncOp::create(b);
    meetOwn(consumer);
    b.ifThen(leader & (consumer == 0.0), [&] { storeTile(target, kDk); });
    b.ifThen(leader & (consumer != 0.0), [&] { storeTile(target, kDv); });
    b.ifThen(leader, [&] { tile::TmaStoreWaitOp::create(b); });
  }

  SmallVector<Val> sumWalk(Val consumer, Val total) {
    Val zero = getZero(), none = b.i32(0);
    auto loop = [&](bool keys, bool values) {
      auto walkFrom = [&](Val first, Val end, bool masked, ArrayRef<Val> init) {
        return b.forRange(first, end, b.i32(1), init,
                          [&](Val i, ArrayRef<Val> carried) { return iterate(keys, values, masked, i, carried); });
      };
      SmallVector<Val> init(int(keys) + int(values), zero);
      if (!bits.hasOpen())
        return walkFrom(none, total, /*masked=*/true, init);
      Val open = bits.getOpenSteps(counters, walk) * double(bits.getRepeats());
      return walkFrom(open, total, /*masked=*/true, walkFrom(none, open, /*masked=*/false, init));
    };
    if (overlaps())
      return b.ifElse(
          total > 0.0, [&] { return walkOverlapped(none, total, {zero, zero}); },
          [&] { return SmallVector<Val>{zero, zero}; });
    if (!wide)
      return loop(/*keys=*/true, /*values=*/true);
    return b.ifElse(
        consumer == 0.0, [&] { return SmallVector<Val>{loop(/*keys=*/true, /*values=*/false)[0] * shape.scale}; },
        [&] { return loop(/*keys=*/false, /*values=*/true); });
  }

  void consume() {
    Val consumer = b.id(tile::Id::Warpgroup) - 1.0;
    walk = walks == 1 ? b.i32(0) : consumer;
    own = pieces.getPiece(walk);
    Val total = bits.getSteps(counters, walk) * double(bits.getRepeats());
    groupRow = wide ? b.i32(0) : consumer * double(kGroupRows);
    firstKey = own.tile * double(walkKeys);
    if (walks == 1)
      firstKey = firstKey + groupRow;
    leader = (thread & 127.0) == 0.0;
    if (shape.documents)
      documents = loadDocumentRows(b, argument(kDocuments), firstKey, kGroupRows, math.getDocumentSide());
    wait(keysFull, walk, b.i32(0));
    SmallVector<Val> sums = sumWalk(consumer, total);
    if (!pieces.hasCuts())
      return store(consumer, sums);
    // A thread block may have a place for a piece and no piece.
    b.ifThen(own.piece < own.pieces, [&] {
      SmallVector<Val> joined =
          b.ifElse(own.pieces > 1.0, [&] { return joinPieces(consumer, sums); }, [&] { return sums; });
      b.ifThen(own.piece == own.pieces - 1.0, [&] { store(consumer, joined); });
    });
  }

  /// Keys of the thread block and of a walk; walks, one of both consumers or one for each; blocks of a walk.
  int64_t keyRows, walkKeys, walks, blocks;
  /// Whether both consumers own the same keys, one for each gradient.
  bool wide;
  HopperListWalks pieces;
  HopperListBits bits;
  /// Rows that wait to be gathered, for each walk.
  Val counters, waiting, keysFull;
  // In the roles.
  Val walk, waitingRows;
  ListWalkPiece own;
};

} // namespace

void fresnel::lowerHopperListGrad(AttendGradKvOp op, const KernelRequest &request, KernelBuilder &builder) {
  HopperListGradKv(op, request, builder).write();
}
