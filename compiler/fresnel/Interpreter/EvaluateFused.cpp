//===- EvaluateFused.cpp - What fusion writes ---===//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//

#include "fresnel/Dialect/Grouped.h"
#include "fresnel/Interpreter/Evaluation.h"
#include "llvm/ADT/TypeSwitch.h"

using namespace mlir;
using namespace fresnel;

ref::Tensor Evaluation::evaluateSettle(SettleTilesOp op) {
  ref::AttendResult stats = ref::splitStats(get(op.getStats()), get(op.getQ()).dim(2));
  ref::AttendGradInputs in{get(op.getQ()), get(op.getK()), get(op.getV()), stats.lse, stats.out, get(op.getDout())};
  return ref::settleTiles(getIndices(op.getTiles()), get(op.getStats()), in, getAttendOptions(op));
}

ref::Tensor Evaluation::evaluateRegroupScored(RegroupScoredOp op) {
  int64_t window = op.getWindow(), stride = op.getStride();
  ref::BlockScoreOptions score{op.getScaleOrDefault(),  op.getCausal(),    window,       stride, 1,
                               ref::Normalize::Softmax, /*groupSum=*/true, getBounds(op)};
  return ref::regroup(ref::blockScore(get(op.getQ()), get(op.getK()), score, &get(op.getLse())),
                      {window, stride, int64_t(op.getBlock()), int64_t(op.getSeqLen())});
}

ref::IndexTensor Evaluation::evaluateSelectScored(SelectScoredOp op) {
  ref::BlockScoreOptions score{op.getScaleOrDefault(), op.getCausal(), int64_t(op.getKeyWindow()),
                               int64_t(op.getKeyStride()), int64_t(op.getQueryStride())};
  return ref::selectBlocks(ref::blockScore(get(op.getQ()), get(op.getK()), score),
                           {int64_t(op.getTopk()), int64_t(op.getLocal()), int64_t(op.getSinks()), op.getCausal(),
                            int64_t(op.getQueryStride()), int64_t(op.getKeyBlock()), getBounds(op)});
}

template <typename Op>
static ref::ScatterOptions getScatterOptions(Op op) {
  return {int64_t(op.getSeqLen()), int64_t(op.getLevels()), int64_t(op.getFactor()), getDocuments(op)};
}

ref::Tensor Evaluation::evaluateGatherGradTiles(GatherGradTilesOp op) {
  const ref::Tensor &tiles = get(op.getTiles());
  int64_t columns = op.getDx().getType().getDimSize(3), tileRows = tiles.dim(3) / columns;
  // All rows: no slot names one of the last tile that does not exist.
  ref::Tensor rows = ref::fromTiles(tiles, tileRows * tiles.dim(2), columns, op.getScale().convertToDouble());
  return ref::gatherGradBySlots(rows, getIndices(op.getSlots()), op.getHeads(), getScatterOptions(op));
}

bool Evaluation::evaluateFused(Operation *op) {
  auto set = [&](unsigned result, ref::Tensor value) { values[op->getResult(result)] = std::move(value); };
  return TypeSwitch<Operation *, bool>(op)
      .Case([&](PoolLevelsOp op) {
        int64_t levels = op.getLevels(), factor = op.getFactor();
        if (op.getNorms())
          set(1, ref::pyramid(ref::norm(get(op.getX())), {ref::PoolKind::Max, levels, factor, getDocuments(op)}));
        return set(0, ref::poolLevels(get(op.getX()), {ref::PoolKind::Mean, levels, factor, getDocuments(op)})), true;
      })
      .Case([&](GatherLevelsOp op) {
        for (auto [index, base] : llvm::enumerate(op.getBases()))
          set(index, ref::gatherLevels(get(base), get(op.getTails()[index]), getIndices(op.getIndices())));
        return true;
      })
      .Case([&](ScatterBySlotsOp op) {
        return set(0, ref::scatterBySlots(get(op.getX()), getIndices(op.getSlots()), getScatterOptions(op))), true;
      })
      .Case([&](AttendStatsOp op) {
        const ref::Tensor *dlse = op.getDlse() ? &get(op.getDlse()) : nullptr;
        ref::Tensor stats = ref::attendStats(get(op.getOut()), get(op.getDout()), get(op.getLse()), dlse);
        if (op.getBounds())
          stats = ref::addFactors(stats, get(op.getDout()), get(op.getBounds()));
        return set(0, std::move(stats)), true;
      })
      .Case([&](BoundKeysOp op) { return set(0, ref::boundKeys(get(op.getK()), get(op.getV()))), true; })
      .Case([&](AttendGradOp op) { return evaluateAttendGrad(op), true; })
      .Case([&](RoundTilesOp op) {
        double scale = op.getScale().convertToDouble();
        ref::Tensor rows = ref::fromTiles(get(op.getTiles()), op.getSeqLen(), op.getHeadDim(), scale);
        return set(0, op.getAddend() ? ref::add({rows, get(op.getAddend())}) : std::move(rows)), true;
      })
      .Case([&](SettleTilesOp op) { return set(0, evaluateSettle(op)), true; })
      .Case([&](TransposeBlocksOp op) {
        values[op.getResult()] = ref::transposeBlocks(getIndices(op.getList()), op.getBlocks());
        return true;
      })
      .Case([&](CountRowsOp op) {
        values[op.getResult()] = ref::countRows(getIndices(op.getBits()));
        return true;
      })
      .Case([&](SplitBlocksOp op) {
        ref::SplitBlocks split =
            ref::splitBlocks(getIndices(op.getList()), op.getKeyBlock(), op.getKeys(), getBounds(op));
        values[op.getPast()] = std::move(split.past);
        values[op.getDiagonal()] = std::move(split.diagonal);
        return true;
      })
      .Case([&](BlockBoundsOp op) {
        ref::BlockBounds bounds = ref::blockBounds(getIndices(op.getBounds()), op.getKeyBlock());
        values[op.getOwn()] = std::move(bounds.own);
        values[op.getStarts()] = std::move(bounds.starts);
        return true;
      })
      .Case([&](GroupRowsOp op) {
        ref::GroupedRows grouped =
            ref::groupRows(getIndices(op.getList()), getIndices(op.getCounts()).dim(2), op.getLength(), kTilePlaces);
        values[op.getRows()] = std::move(grouped.rows);
        values[op.getTiles()] = std::move(grouped.tiles);
        values[op.getSlots()] = std::move(grouped.slots);
        return true;
      })
      .Case(
          [&](GatherScoresOp op) { return set(0, ref::gatherScores(get(op.getX()), getIndices(op.getRows()))), true; })
      .Case([&](MergeRowsOp op) {
        setPair(op, ref::mergeRows({get(op.getPart()), get(op.getPartLse())}, getIndices(op.getSlots()),
                                   {get(op.getOut()), get(op.getLse())}));
        return true;
      })
      .Case([&](SumRowsOp op) {
        return set(0, ref::sumRows(get(op.getPart()), getIndices(op.getSlots()), get(op.getX()))), true;
      })
      .Case([&](GatherGradBySlotsOp op) {
        return set(0, ref::gatherGradBySlots(get(op.getDy()), getIndices(op.getSlots()), op.getHeads(),
                                             getScatterOptions(op))),
               true;
      })
      .Case([&](GatherGradTilesOp op) { return set(0, evaluateGatherGradTiles(op)), true; })
      .Case([&](ScatterGradBySlotsOp op) { return set(0, evaluateScatterGrad(op)), true; })
      .Case([&](RegroupScoredOp op) { return set(0, evaluateRegroupScored(op)), true; })
      .Case([&](SelectScoredOp op) {
        values[op.getResult()] = evaluateSelectScored(op);
        return true;
      })
      .Default([](Operation *) { return false; });
}

void Evaluation::evaluateAttendGrad(AttendGradOp op) {
  ref::AttendResult stats = ref::splitStats(get(op.getStats()), get(op.getQ()).dim(2));
  ref::AttendGradInputs in{get(op.getQ()), get(op.getK()), get(op.getV()), stats.lse, stats.out, get(op.getDout())};
  ref::AttendOptions attend = getAttendOptions(op);
  ref::Tensor dq = ref::attendGradQ(in, attend);
  for (float &value : dq.data)
    value = float(value / op.getScaleOrDefault());
  ref::KvGradients gradients = ref::attendGradKv(in, attend);
  if (op.hasIntegerSums())
    values[op.getDq()] = ref::toIntegers(dq, get(op.getStats()));
  else
    values[op.getDq()] = ref::toTiles(dq);
  values[op.getDk()] = std::move(gradients.dk);
  values[op.getDv()] = std::move(gradients.dv);
}
