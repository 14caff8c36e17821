//===- Cost.cpp - What an operation takes on any machine ------------------===//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//

#include "fresnel/Schedule/Cost.h"
#include "fresnel/Schedule/KnownBounds.h"
#include "fresnel/Schedule/Schedule.h"
#include "llvm/ADT/TypeSwitch.h"
#include "llvm/Support/MathExtras.h"

using namespace mlir;
using namespace fresnel;

static RankedTensorType getTensor(Value value) { return cast<RankedTensorType>(value.getType()); }

static int64_t getBytes(Value value) {
  RankedTensorType type = getTensor(value);
  return type.getNumElements() * (type.getElementTypeBitWidth() / 8);
}

static int64_t getElements(Value value) { return getTensor(value).getNumElements(); }

//===----------------------------------------------------------------------===//
// Attention
//===----------------------------------------------------------------------===//

/// Where the document of a row begins and ends.
static std::pair<int64_t, int64_t> getDocument(const ref::IndexTensor &bounds, int64_t row) {
  return {bounds.data[size_t(row)], bounds.data[size_t(bounds.dim(2) + row)]};
}

namespace {
/// The masks of an attention operation.
struct Masks {
  explicit Masks(Operation *op)
      : queries(getTensor(op->getOperand(0)).getDimSize(2)), keys(getTensor(op->getOperand(1)).getDimSize(2)),
        window(integer(op, "window", 0)), sinks(integer(op, "sinks", 0)), keyWindow(integer(op, "key_window", 1)),
        keyStride(integer(op, "key_stride", 1)) {
    auto flag = op->getAttrOfType<BoolAttr>("causal");
    causal = flag && flag.getValue();
    if (Value blocks = getBlockList(op))
      selected = std::min(keys, countListed(op, getTensor(blocks)) * integer(op, "key_block", 1));
    if (Value documents = getDocumentBounds(op)) {
      bounds = findKnownBounds(documents);
      unknown = !bounds;
    }
  }

  int64_t countKeys(int64_t row) const {
    bool pooled = keyWindow > 1 || keyStride > 1;
    int64_t position = pooled ? row : row + keys - queries, end = keys;
    if (causal && pooled)
      end = position < keyWindow - 1 ? 0 : std::min(keys, (position - keyWindow + 1) / keyStride + 1);
    else if (causal)
      end = std::clamp<int64_t>(position + 1, 0, keys);
    int64_t first = window > 0 ? std::clamp<int64_t>(position - window + 1, 0, end) : 0;
    if (bounds) {
      auto [begin, limit] = getDocument(*bounds, row);
      first = std::max(first, int64_t(llvm::divideCeil(begin, keyStride)));
      end = std::max(first, pooled ? end : std::min(end, limit));
    }
    int64_t count = end - first + std::min(sinks, first);
    return selected ? std::min(count, *selected) : count;
  }

  /// Blocks in a row of the list; if only its transpose is known, all there are.
  int64_t countListed(Operation *op, RankedTensorType blocks) const {
    auto gradient = dyn_cast<AttendGradKvOp>(op);
    if (!gradient || !gradient.getTransposed())
      return blocks.getDimSize(3);
    return int64_t(gradient.getListed().value_or(uint64_t(blocks.getDimSize(2))));
  }

  bool isDataDependent() const { return selected.has_value() || unknown; }
  int64_t queries, keys;

private:
  static int64_t integer(Operation *op, StringRef name, int64_t otherwise) {
    auto value = op->getAttrOfType<IntegerAttr>(name);
    return value ? value.getInt() : otherwise;
  }

  int64_t window, sinks, keyWindow, keyStride;
  /// `unknown`: the data say where documents end, so that there may be one.
  bool causal = false, unknown = false;
  /// Keys that a row of `blocks` opens at most.
  std::optional<int64_t> selected;
  std::optional<ref::IndexTensor> bounds;
};
} // namespace

int64_t fresnel::countVisiblePairs(Operation *op) {
  Masks masks(op);
  int64_t pairs = 0;
  for (int64_t row = 0; row < masks.queries; ++row)
    pairs += masks.countKeys(row);
  return pairs;
}

/// Two per pair and column of each matrix product: as many over the head dim as
/// `overKeys` says, and over the value dim as `overValues` says.
static int64_t countAttention(Operation *op, int64_t overKeys, int64_t overValues) {
  RankedTensorType q = getTensor(op->getOperand(0)), v = getTensor(op->getOperand(2));
  return 2 * q.getDimSize(0) * q.getDimSize(1) * countVisiblePairs(op) *
         (overKeys * q.getDimSize(3) + overValues * v.getDimSize(3));
}

//===----------------------------------------------------------------------===//
// Everything else
//===----------------------------------------------------------------------===//

/// The bounds of the documents of scores, or null.
static Value getScoreDocuments(Operation *op) {
  return llvm::TypeSwitch<Operation *, Value>(op)
      .Case<BlockScoreOp, RegroupScoredOp>([](auto score) { return score.getDocuments(); })
      .Default([](Operation *) { return Value(); });
}

/// Two per column of each query row and each pooled key of its head that it sees: key j stands for `window` tokens from
/// j `stride` on, row m for the tokens before (m + 1) `queryStride`.
template <typename Op>
static int64_t countScores(Op op, int64_t window, int64_t stride, int64_t queryStride) {
  RankedTensorType q = getTensor(op.getQ());
  int64_t rows = q.getDimSize(2), keys = getTensor(op.getK()).getDimSize(2), pairs = rows * keys;
  Value documents = getScoreDocuments(op);
  std::optional<ref::IndexTensor> bounds = documents ? findKnownBounds(documents) : std::nullopt;
  if (op.getCausal()) {
    pairs = 0;
    for (int64_t row = 0; row < rows; ++row) {
      int64_t position = (row + 1) * queryStride;
      int64_t end = position < window ? 0 : std::min(keys, (position - window) / stride + 1);
      int64_t first = bounds ? int64_t(llvm::divideCeil(getDocument(*bounds, row).first, stride)) : 0;
      pairs += std::max<int64_t>(0, end - first);
    }
  }
  return 2 * q.getDimSize(0) * q.getDimSize(1) * pairs * q.getDimSize(3);
}

static int64_t countFlops(Operation *op) {
  auto first = [op] { return getElements(op->getOperand(0)); };
  return llvm::TypeSwitch<Operation *, int64_t>(op)
      .Case([&](AttendOp) { return countAttention(op, 1, 1); })
      // Scores and their gradient are computed again by each of the two.
      .Case([&](AttendGradQOp) { return countAttention(op, 2, 1); })
      .Case([&](AttendGradKvOp) { return countAttention(op, 2, 2); })
      .Case([&](AttendGradOp) { return countAttention(op, 3, 2); })
      .Case<BlockScoreOp, SelectScoredOp>([&](auto score) {
        return countScores(score, score.getKeyWindow(), score.getKeyStride(), score.getQueryStride());
      })
      .Case([&](RegroupScoredOp score) { return countScores(score, score.getWindow(), score.getStride(), 1); })
      .Case([&](AttendStatsOp stats) { return (stats.getBounds() ? 4 : 2) * first(); })
      .Case([&](BoundKeysOp bound) { return 2 * getElements(bound.getV()); })
      .Case<AttendDeltaOp, NormOp>([&](auto) { return 2 * first(); })
      // Level by level from the tokens, as the definition has it.
      .Case([&](PyramidOp pyramid) { return (int64_t(pyramid.getLevels()) - 1) * first(); })
      .Case([&](PoolLevelsOp pool) { return (int64_t(pool.getLevels()) - 1 + (pool.getNorms() ? 2 : 0)) * first(); })
      .Case([&](PyramidGradOp grad) { return 2 * int64_t(grad.getLevels()) * getElements(grad.getDx()); })
      .Case([&](ScatterOp scatter) { return int64_t(scatter.getLevels()) * getElements(scatter.getResult()); })
      .Case([&](ScatterBySlotsOp scatter) { return int64_t(scatter.getLevels()) * getElements(scatter.getResult()); })
      .Case<ScatterGradOp, ScatterGradBySlotsOp>([&](auto grad) { return int64_t(grad.getLevels()) * first(); })
      .Case<GatherGradBySlotsOp, GatherGradTilesOp>([&](auto grad) {
        int64_t group = getTensor(grad->getOperand(0)).getDimSize(1) / int64_t(grad.getHeads());
        return 2 * int64_t(grad.getLevels()) * group * getElements(grad.getDx());
      })
      .Case<GatherGradOp, PoolOp, PoolGradOp, UnpoolGradOp>([&](auto) { return first(); })
      .Case([&](RoundTilesOp round) { return (round.getAddend() ? 2 : 1) * first(); })
      .Case([&](SettleTilesOp settle) { return 4 * getElements(settle.getTiles()); })
      .Case([&](AddOp add) { return int64_t(add.getTerms().size()) * first(); })
      .Case([&](GateOp gate) { return 2 * int64_t(gate.getBranches().size()) * first(); })
      .Case([&](GateGradOp gate) { return 4 * int64_t(gate.getBranches().size()) * first(); })
      .Case([&](GateDeltaOp gate) { return 2 * int64_t(gate.getNumBranches()) * getElements(gate.getDy()); })
      .Case([&](MergeOp merge) { return 2 * int64_t(merge.getOuts().size()) * first(); })
      .Case([&](MergeGradOp) { return 4 * first(); })
      .Case([&](MergeRowsOp merge) {
        return 2 * (getTensor(merge.getSlots()).getDimSize(3) + 1) * getElements(merge.getOut());
      })
      .Case([&](SumRowsOp sum) { return getTensor(sum.getSlots()).getDimSize(3) * getElements(sum.getX()); })
      // Movement and selection.
      .Default([](Operation *) { return int64_t(0); });
}

/// Bytes of the rows of `sources` that a gather of `rows` reads at most.
static int64_t countGathered(ValueRange sources, Value rows) {
  int64_t all = 0;
  for (Value source : sources)
    all += getBytes(source);
  return std::min(all, getBytes(rows));
}

OperationCost fresnel::getCost(Operation *op) {
  OperationCost cost;
  for (Value operand : op->getOperands())
    cost.bytesRead += getBytes(operand);
  for (Value result : op->getResults())
    cost.bytesWritten += getBytes(result);
  cost.flops = countFlops(op);
  if (auto gather = dyn_cast<GatherOp>(op)) {
    cost.bytesRead = getBytes(gather.getIndices()) + countGathered(op->getOperand(0), op->getResult(0));
    cost.exact = false;
  }
  if (auto gather = dyn_cast<GatherLevelsOp>(op)) {
    cost.bytesRead = getBytes(gather.getIndices());
    for (auto [base, tail, rows] : llvm::zip(gather.getBases(), gather.getTails(), gather.getRows()))
      cost.bytesRead += countGathered({base, tail}, rows);
    cost.exact = false;
  }
  // Places that no row has are not read.
  if (isa<GatherScoresOp, MergeRowsOp, SumRowsOp>(op))
    cost.exact = false;
  // Without the tiles that are computed again.
  if (auto settle = dyn_cast<SettleTilesOp>(op)) {
    cost.bytesRead = getBytes(settle.getTiles()) + getBytes(settle.getStats());
    cost.exact = false;
  }
  // What the gradient reads is not read, and padding comes from nowhere.
  if (auto move = dyn_cast<MoveOp>(op)) {
    cost.bytesRead = getBytes(move.getFrom()) + std::min(getBytes(move.getX()), getBytes(move.getResult()));
    cost.exact = false;
  }
  // Padding is not read.
  if (isa<UnfoldOp>(op))
    cost.bytesRead = cost.bytesWritten;
  // Sums of a level that few tokens have, and slots that are empty, are counted in full.
  if (isa<ScatterOp, ScatterBySlotsOp, ScatterGradOp, ScatterGradBySlotsOp, GatherGradOp, GatherGradBySlotsOp,
          GatherGradTilesOp>(op))
    cost.exact = false;
  if (isAttention(op) && Masks(op).isDataDependent())
    cost.exact = false;
  if (Value documents = getScoreDocuments(op); documents && !findKnownBounds(documents))
    cost.exact = false;
  return cost;
}
