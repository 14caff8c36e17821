//===- EvaluateGradients.cpp - What differentiation writes ---===//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//

#include "fresnel/Interpreter/Evaluation.h"
#include "llvm/ADT/TypeSwitch.h"

using namespace mlir;
using namespace fresnel;

bool Evaluation::evaluateGradients(Operation *op) {
  auto set = [&](unsigned result, ref::Tensor value) { values[op->getResult(result)] = std::move(value); };
  auto optional = [&](Value value) { return value ? &get(value) : nullptr; };
  auto gradInputs = [&](auto op) {
    return ref::AttendGradInputs{get(op.getQ()),   get(op.getK()),     get(op.getV()),
                                 get(op.getLse()), get(op.getDelta()), get(op.getDout())};
  };
  return TypeSwitch<Operation *, bool>(op)
      .Case([&](AddOp op) { return set(0, ref::add(getAll(op.getTerms()))), true; })
      .Case([&](AttendDeltaOp op) {
        return set(0, ref::attendDelta(get(op.getOut()), get(op.getDout()), optional(op.getDlse()))), true;
      })
      .Case([&](AttendGradQOp op) { return set(0, ref::attendGradQ(gradInputs(op), getAttendOptions(op))), true; })
      .Case([&](AttendGradKvOp op) {
        ref::AttendOptions attend = getAttendOptions(op);
        ref::IndexTensor lists;
        if (op.getTransposed()) {
          int64_t rows = llvm::divideCeil(get(op.getQ()).dim(2), attend.queryBlock);
          lists = ref::listBlocks(getIndices(op.getBlocks()), rows);
          attend.blocks = &lists;
        }
        ref::KvGradients gradients = ref::attendGradKv(gradInputs(op), attend);
        set(0, std::move(gradients.dk));
        set(1, std::move(gradients.dv));
        return true;
      })
      .Case([&](PoolGradOp op) {
        return set(0, ref::poolGrad(get(op.getDy()), optional(op.getX()), op.getSeqLen(), getPoolOptions(op))), true;
      })
      .Case([&](PyramidGradOp op) {
        ref::PyramidOptions pyramid{toPool(op.getKind()), int64_t(op.getLevels()), int64_t(op.getFactor()),
                                    getDocuments(op)};
        return set(0, ref::pyramidGrad(get(op.getDy()), optional(op.getX()), op.getSeqLen(), pyramid)), true;
      })
      .Case([&](UnpoolGradOp op) { return set(0, ref::unpoolGrad(get(op.getDy()), op.getWindow())), true; })
      .Case([&](GatherGradOp op) {
        return set(0, ref::gatherGrad(get(op.getDy()), getIndices(op.getIndices()), op.getHeads(), op.getRows())), true;
      })
      .Case([&](ScatterGradOp op) { return set(0, evaluateScatterGrad(op)), true; })
      .Case([&](GateGradOp op) {
        ref::GateGradients gradients = ref::gateGrad(getAll(op.getBranches()), get(op.getGates()), get(op.getDy()),
                                                     {toActivation(op.getActivation())});
        for (auto [index, branch] : llvm::enumerate(gradients.branches))
          set(index, std::move(branch));
        return set(op->getNumResults() - 1, std::move(gradients.gates)), true;
      })
      .Case([&](GateDeltaOp op) { return evaluateGateDelta(op), true; })
      .Case([&](MergeGradOp op) {
        setPair(op, ref::mergeGrad({{get(op.getPart()), get(op.getPartLse())}}, {get(op.getOut()), get(op.getLse())},
                                   get(op.getDout()), optional(op.getDlse()))[0]);
        return true;
      })
      .Default([](Operation *) { return false; });
}

void Evaluation::evaluateGateDelta(GateDeltaOp op) {
  std::vector<const ref::Tensor *> lses;
  auto lse = op.getLses().begin();
  for (unsigned i = 0; i < op.getNumBranches(); ++i)
    lses.push_back(op.getForm(i) == GateDeltaOp::Form::Gradient ? nullptr : &get(*lse++));
  std::vector<ref::Tensor> branches = getAll(op.getBranches());
  ref::GateOptions options{toActivation(op.getActivation())};
  ref::GateDeltas deltas = ref::gateDelta(branches, get(op.getGates()), get(op.getDy()), lses);
  ref::GateGradients gradients = ref::gateGrad(branches, get(op.getGates()), get(op.getDy()), options);
  auto result = op.getRows().begin();
  for (unsigned i = 0; i < op.getNumBranches(); ++i) {
    GateDeltaOp::Form form = op.getForm(i);
    if (form == GateDeltaOp::Form::Gradient) {
      values[*result++] = std::move(gradients.branches[i]);
    } else if (form == GateDeltaOp::Form::Stats) {
      values[*result++] = ref::joinStats(deltas.lses[i], deltas.deltas[i]);
    } else {
      values[*result++] = std::move(deltas.lses[i]);
      values[*result++] = std::move(deltas.deltas[i]);
    }
  }
  values[op.getDgates()] = std::move(gradients.gates);
}
