//===- GroupQueries.cpp - Attention block by block of keys ----------------===//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//

#include "fresnel/Dialect/Grouped.h"
#include "fresnel/Schedule/Hopper.h"
#include "fresnel/Schedule/Schedule.h"
#include "fresnel/Transforms/PassTarget.h"
#include "fresnel/Transforms/Passes.h"
#include "llvm/Support/MathExtras.h"

using namespace mlir;

namespace fresnel {
#define GEN_PASS_DEF_GROUPQUERIESPASS
#include "fresnel/Transforms/Passes.h.inc"

namespace {

/// Keys of a step of the kernels over such lists.
constexpr int64_t kStepKeys = 128;
/// Rows of a tile of queries that walks the union of their lists.
constexpr int64_t kUnionRows = 64;
/// Entries of a list at most: each is a copy of the queries.
constexpr int64_t kMostEntries = 8;
/// Keys that could be attended to while a place's row is gathered, stored and merged: ten times its bytes at 4 TB/s
/// beside 600 TFLOP/s.
constexpr int64_t kPlaceKeys = 384;
/// As many documents as a sequence may have.
constexpr int64_t kMostBlocks = 65535;
/// How much faster places must seem than unions, which lists of neighbours that agree make smaller.
constexpr int64_t kGain = 2;

int64_t getLength(Value value) { return cast<RankedTensorType>(value.getType()).getDimSize(2); }
int64_t getHeads(Value value) { return cast<RankedTensorType>(value.getType()).getDimSize(1); }

/// A selection that takes each query's own block: within documents if these hold their tokens.
template <typename Op>
bool takesOwnBlock(Op select, int64_t queryBlock, int64_t keyBlock) {
  return select.getCausal() && select.getLocal() > 0 && queryBlock == 1 && int64_t(select.getKeyBlock()) == keyBlock &&
         (!select.getDocuments() || areInOrder(select.getDocuments()));
}

bool listsOwnBlock(AttendOp op) {
  if (getLength(op.getQ()) != getLength(op.getK()))
    return false;
  int64_t keyBlock = op.getKeyBlock();
  if (auto select = op.getBlocks().getDefiningOp<SelectBlocksOp>())
    return takesOwnBlock(select, select.getQueryBlock(), keyBlock);
  if (auto select = op.getBlocks().getDefiningOp<SelectScoredOp>())
    return takesOwnBlock(select, select.getQueryStride(), keyBlock);
  return false;
}

/// Blocks that a query could list on average, half of those of its document. Where lengths are not known one document
/// may have all tokens.
int64_t countSeenBlocks(AttendOp op) {
  int64_t tokens = getLength(op.getK()), keyBlock = op.getKeyBlock(), sum = 0;
  auto bounds = op.getDocuments() ? op.getDocuments().getDefiningOp<DocumentBoundsOp>() : DocumentBoundsOp();
  if (!bounds || bounds.getDocuments().empty())
    return llvm::divideCeil(tokens, 2 * keyBlock);
  for (int64_t length : bounds.getDocuments())
    sum += length * int64_t(llvm::divideCeil(length, 2 * keyBlock));
  return llvm::divideCeil(sum, tokens);
}

/// How attention is grouped.
struct Grouping {
  explicit Grouping(AttendOp op)
      : queries(getLength(op.getQ())), keyBlock(op.getKeyBlock()),
        blocks(llvm::divideCeil(getLength(op.getK()), keyBlock)), seen(countSeenBlocks(op)),
        entries(cast<RankedTensorType>(op.getBlocks().getType()).getDimSize(3) - listsOwnBlock(op)) {}

  /// Room for all entries, whatever they are: each block's places are rounded up.
  int64_t countPlaces() const { return llvm::alignTo(queries * entries + (kTilePlaces - 1) * blocks, kTilePlaces); }

  /// Keys for each query: of the union of what the rows of a tile list where each takes any blocks of its past, and of
  /// its places.
  bool pays(int64_t tileQueries) const {
    int64_t walked = std::min<int64_t>(seen, tileQueries * entries) * keyBlock;
    return walked >= kGain * entries * (keyBlock + kPlaceKeys);
  }

  int64_t queries, keyBlock, blocks, seen;
  /// Those in front of a query's own block.
  int64_t entries;
};

bool canGroup(AttendOp op, const TargetInfo &target) {
  if (cast<RankedTensorType>(op.getQ().getType()).getElementTypeBitWidth() != 16)
    return false;
  if (!op.getBlocks() || !op.getCausal() || op.getWindow() > 0 || op.getQueryBlock() != 1 ||
      op.getKeyBlock() % kStepKeys || !explainHopper(op, target).empty())
    return false;
  // What the places of a block see of it begins where the document of its last key does: those of other documents see
  // nothing of it, if these are in order.
  if (op.getDocuments() && !areInOrder(op.getDocuments()))
    return false;
  Grouping grouping(op);
  int64_t group = getHeads(op.getQ()) / getHeads(op.getBlocks());
  return grouping.entries > 0 && grouping.entries <= kMostEntries && grouping.countPlaces() <= INT32_MAX &&
         grouping.blocks <= kMostBlocks && grouping.pays(llvm::divideCeil(kUnionRows, group));
}

/// Whether a gradient is that of this attention.
template <typename Op>
bool belongsTo(Op gradient, AttendOp op) {
  return gradient.getLse() == op.getLse() && gradient.getQ() == op.getQ() && gradient.getK() == op.getK() &&
         gradient.getV() == op.getV() && llvm::equal(gradient.getMasks(), op.getMasks()) &&
         gradient.getScaleOrDefault() == op.getScaleOrDefault() && gradient.getCausal() == op.getCausal() &&
         gradient.getSoftcap() == op.getSoftcap() && gradient.getQueryBlock() == op.getQueryBlock() &&
         gradient.getKeyBlock() == op.getKeyBlock() && gradient.getWindow() == op.getWindow();
}

/// One attention over lists of single queries, and its gradients.
class Grouper {
public:
  explicit Grouper(AttendOp op) : op(op), loc(op.getLoc()), builder(op) {
    for (Operation *user : op.getLse().getUsers()) {
      auto queries = dyn_cast<AttendGradQOp>(user);
      auto keys = dyn_cast<AttendGradKvOp>(user);
      if ((queries && belongsTo(queries, op)) || (keys && belongsTo(keys, op)))
        gradients.push_back(user);
    }
    llvm::sort(gradients, [](Operation *a, Operation *b) { return a->isBeforeInBlock(b); });
  }

  void run() {
    Grouping grouping(op);
    auto split =
        SplitBlocksOp::create(builder, loc, op.getBlocks(), op.getDocuments(), grouping.keyBlock, getLength(op.getK()));
    Value bits = TransposeBlocksOp::create(builder, loc, split.getPast(), grouping.blocks);
    Value counts = CountRowsOp::create(builder, loc, bits);
    auto grouped = GroupRowsOp::create(builder, loc, split.getPast(), bits, counts, grouping.countPlaces());
    rows = grouped.getRows();
    tiles = {grouped.getTiles()};
    slots = grouped.getSlots();
    // A soft cap within documents has no gradient in one pass with every head dim.
    bounded = listsOwnBlock(op) && op.getSoftcap().isZero();
    own = {split.getDiagonal()};
    if (Value documents = op.getDocuments()) {
      auto cut = BlockBoundsOp::create(builder, loc, documents, grouping.keyBlock);
      tiles.push_back(cut.getStarts());
      own.push_back(documents);
      if (bounded)
        own = {cut.getOwn()};
    } else if (bounded) {
      own = {makeBounds(grouping)};
    }
    attend();
    if (gradients.empty())
      return;
    // Both stand behind the operands of either. What is gathered dies before the gradients of the queries' own blocks,
    // which need memory of their own, begin.
    builder.setInsertionPoint(gradients.front());
    SmallVector<Operation *> parts = llvm::map_to_vector(gradients, [&](Operation *gradient) {
      auto queries = dyn_cast<AttendGradQOp>(gradient);
      return queries ? makePartGradient(queries) : makePartGradient(cast<AttendGradKvOp>(gradient));
    });
    for (auto [gradient, part] : llvm::zip(gradients, parts)) {
      builder.setInsertionPoint(gradient);
      if (auto queries = dyn_cast<AttendGradQOp>(gradient))
        join(queries, cast<AttendGradQOp>(part));
      else
        join(cast<AttendGradKvOp>(gradient), cast<AttendGradKvOp>(part));
      gradient->erase();
    }
  }

private:
  /// Blocks that every query of theirs lists are documents, for which there are faster kernels than for lists.
  Value makeBounds(const Grouping &grouping) {
    SmallVector<int64_t> lengths(grouping.blocks, grouping.keyBlock);
    lengths.back() = grouping.queries - (grouping.blocks - 1) * grouping.keyBlock;
    return DocumentBoundsOp::create(builder, loc, Value(), grouping.queries, lengths);
  }

  /// The operation over the block of each query's own position.
  template <typename Op>
  Op makeOwn(Op original) {
    auto part = cast<Op>(builder.clone(*original));
    part.getMasksMutable().assign(own);
    if (bounded)
      part.setKeyBlock(1);
    return part;
  }

  /// The operation over places, whose results have as many rows.
  template <typename Op>
  Op makePart(Op original, Value q) {
    auto part = cast<Op>(builder.clone(*original));
    part.getQMutable().assign(q);
    part.getMasksMutable().assign(tiles);
    part.setCausal(false);
    part.setQueryBlock(kTilePlaces);
    return part;
  }

  void setLength(Value value) {
    auto type = cast<RankedTensorType>(value.getType());
    SmallVector<int64_t> shape(type.getShape());
    shape[2] = getLength(rows);
    value.setType(RankedTensorType::get(shape, type.getElementType()));
  }

  void attend() {
    AttendOp part = makePart(op, GatherOp::create(builder, loc, op.getQ(), rows)), ownPart = makeOwn(op);
    setLength(part.getOut());
    setLength(part.getLse());
    auto merged =
        MergeRowsOp::create(builder, loc, part.getOut(), part.getLse(), slots, ownPart.getOut(), ownPart.getLse());
    op.getOut().replaceAllUsesWith(merged.getMerged());
    op.getLse().replaceAllUsesWith(merged.getMergedLse());
    op.erase();
  }

  /// A gradient at the places; what both gradients read is gathered once.
  template <typename Op>
  Operation *makePartGradient(Op original) {
    if (!gatheredQ) {
      gatheredQ = GatherOp::create(builder, loc, original.getQ(), rows);
      gatheredDout = GatherOp::create(builder, loc, original.getDout(), rows);
      gatheredLse = GatherScoresOp::create(builder, loc, original.getLse(), rows);
      gatheredDelta = GatherScoresOp::create(builder, loc, original.getDelta(), rows);
    }
    Op part = makePart(original, gatheredQ);
    part.getDoutMutable().assign(gatheredDout);
    part.getLseMutable().assign(gatheredLse);
    part.getDeltaMutable().assign(gatheredDelta);
    return part;
  }

  void join(AttendGradQOp gradient, AttendGradQOp part) {
    setLength(part.getDq());
    Value sum = SumRowsOp::create(builder, loc, part.getDq(), slots, makeOwn(gradient).getDq());
    gradient.getDq().replaceAllUsesWith(sum);
  }

  void join(AttendGradKvOp gradient, AttendGradKvOp part) {
    AttendGradKvOp ownPart = makeOwn(gradient);
    for (auto [total, first, second] : llvm::zip(gradient->getResults(), part->getResults(), ownPart->getResults()))
      total.replaceAllUsesWith(AddOp::create(builder, loc, ValueRange{first, second}));
  }

  AttendOp op;
  Location loc;
  OpBuilder builder;
  SmallVector<Operation *> gradients;
  Value rows, slots;
  /// The lists of places, perhaps with the starts of their blocks; and those or the bounds of the queries' own blocks.
  SmallVector<Value> tiles, own;
  bool bounded = false;
  Value gatheredQ, gatheredDout, gatheredLse, gatheredDelta;
};

struct GroupQueriesPass final : impl::GroupQueriesPassBase<GroupQueriesPass> {
  using Base::Base;

  void runOnOperation() override {
    FailureOr<ProgramForTarget> input = requireProgramForTarget(getOperation(), target);
    if (failed(input))
      return signalPassFailure();
    auto [main, info] = *input;
    if (excludesHopper(schedule))
      return;
    for (auto attend : llvm::make_early_inc_range(main.getBody().getOps<AttendOp>()))
      if (canGroup(attend, info)) {
        Grouper(attend).run();
        ++numGrouped;
      }
  }
};

} // namespace
} // namespace fresnel
