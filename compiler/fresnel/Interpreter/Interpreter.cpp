//===- Interpreter.cpp - Runs programs on the reference library
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//

#include "fresnel/Interpreter/Interpreter.h"
#include "fresnel/Artifact/DType.h"
#include "mlir/IR/BuiltinOps.h"
#include "llvm/ADT/DenseMap.h"
#include "llvm/ADT/STLExtras.h"
#include "llvm/ADT/StringExtras.h"
#include "llvm/ADT/TypeSwitch.h"

using namespace mlir;
using namespace fresnel;

namespace {

using Storage = std::variant<ref::Tensor, ref::IndexTensor>;

ref::PoolKind toPool(PoolKind kind) { return kind == PoolKind::Max ? ref::PoolKind::Max : ref::PoolKind::Mean; }

ref::Activation toActivation(Activation activation) {
  return activation == Activation::Sigmoid ? ref::Activation::Sigmoid : ref::Activation::None;
}

/// The lengths of the documents of an operation on pyramids.
template <typename Op>
std::vector<int64_t> getDocuments(Op op) {
  return op.getDocuments().vec();
}

/// Evaluates one program; values are dropped after their last use.
class Evaluation {
public:
  Evaluation(ProgramOp program, const InterpreterOptions &options) : program(program), options(options) {}

  void bind(unsigned input, const Storage &value) { values[program.getBody().getArgument(input)] = value; }

  llvm::Error run() {
    auto ops = program.getBody().front().without_terminator();
    int64_t index = 0, total = std::distance(ops.begin(), ops.end());
    for (Operation &op : ops) {
      if (options.progress)
        options.progress(index++, total, op.getName().getStringRef());
      if (llvm::Error error = evaluate(&op))
        return error;
      for (Value result : op.getResults())
        roundToType(result);
      for (Value operand : op.getOperands())
        if (llvm::all_of(operand.getUsers(),
                         [&](Operation *user) { return user == &op || user->isBeforeInBlock(&op); }))
          values.erase(operand);
    }
    return llvm::Error::success();
  }

  std::vector<NamedValue> takeResults() {
    std::vector<NamedValue> results;
    ReturnOp terminator = program.getReturn();
    for (auto [index, value] : llvm::enumerate(terminator.getOperands()))
      results.push_back({terminator.getName(index).str(), values[value]});
    return results;
  }

private:
  const ref::Tensor &get(Value value) { return std::get<ref::Tensor>(values[value]); }
  const ref::IndexTensor &getIndices(Value value) { return std::get<ref::IndexTensor>(values[value]); }

  /// The bounds of an operation's documents, or null.
  template <typename Op>
  const ref::IndexTensor *getBounds(Op op) {
    return op.getDocuments() ? &getIndices(op.getDocuments()) : nullptr;
  }

  std::vector<ref::Tensor> getAll(ValueRange range) {
    std::vector<ref::Tensor> tensors;
    for (Value value : range)
      tensors.push_back(get(value));
    return tensors;
  }

  /// The reference computes in f32; a value of a 16-bit type holds what that type
  /// can hold. Selections would else be made from scores that no GPU sees.
  void roundToType(Value result) {
    Type element = cast<RankedTensorType>(result.getType()).getElementType();
    if (!element.isBF16() && !element.isF16())
      return;
    std::vector<float> &data = std::get<ref::Tensor>(values[result]).data;
    for (float &value : data)
      value = element.isBF16() ? rt::fromBf16(rt::toBf16(value)) : rt::fromF16(rt::toF16(value));
  }

  void setPair(Operation *op, ref::AttendResult result) {
    values[op->getResult(0)] = std::move(result.out);
    values[op->getResult(1)] = std::move(result.lse);
  }

  llvm::Error evaluate(Operation *op) {
    if (auto launch = dyn_cast<LaunchOp>(op))
      return call(launch);
    if (auto attend = dyn_cast<AttendOp>(op)) {
      evaluateAttend(attend);
      return llvm::Error::success();
    }
    if (auto merge = dyn_cast<MergeOp>(op)) {
      std::vector<ref::AttendResult> parts;
      for (auto [out, lse] : llvm::zip(merge.getOuts(), merge.getLses()))
        parts.push_back({get(out), get(lse)});
      setPair(op, ref::merge(parts));
      return llvm::Error::success();
    }
    if (auto align = dyn_cast<AlignDocumentsOp>(op)) {
      evaluateAlign(align);
      return llvm::Error::success();
    }
    if (evaluateGradients(op) || evaluateFused(op))
      return llvm::Error::success();
    std::optional<Storage> result = evaluateSingle(op);
    if (!result)
      return llvm::createStringError("the interpreter has no case for '" + op->getName().getStringRef().str() + "'");
    values[op->getResult(0)] = std::move(*result);
    return llvm::Error::success();
  }

  void evaluateAlign(AlignDocumentsOp op) {
    int64_t block = op.getBlock();
    ref::AlignedDocuments aligned = op.getCu()
                                        ? ref::alignDocuments(getIndices(op.getCu()), int64_t(op.getSeqLen()), block)
                                        : ref::alignDocuments(getDocuments(op), block);
    values[op.getBounds()] = std::move(aligned.bounds);
    values[op.getBlocks()] = std::move(aligned.blocks);
    values[op.getTokens()] = std::move(aligned.tokens);
    values[op.getFrom()] = std::move(aligned.from);
    values[op.getTo()] = std::move(aligned.to);
  }

  Storage evaluateMove(MoveOp op) {
    const ref::IndexTensor &from = getIndices(op.getFrom());
    if (op.getX().getType().getElementType().isInteger())
      return ref::move(getIndices(op.getX()), from);
    return ref::move(get(op.getX()), from);
  }

  /// Options of pooling or of its gradient, which share the attributes.
  template <typename Op>
  ref::PoolOptions getPoolOptions(Op op) {
    return {toPool(op.getKind()), int64_t(op.getWindow()), int64_t(op.getStride()),
            op.getTail() == Tail::Keep ? ref::Tail::Keep : ref::Tail::Drop, getBounds(op)};
  }

  /// Operations with one result.
  std::optional<Storage> evaluateSingle(Operation *op) {
    using Result = std::optional<Storage>;
    return TypeSwitch<Operation *, Result>(op)
        .Case([&](PoolOp op) -> Result { return ref::pool(get(op.getX()), getPoolOptions(op)); })
        .Case([&](PyramidOp op) -> Result {
          return ref::pyramid(get(op.getX()), {toPool(op.getKind()), int64_t(op.getLevels()), int64_t(op.getFactor()),
                                               getDocuments(op)});
        })
        .Case([&](NormOp op) -> Result { return ref::norm(get(op.getX())); })
        .Case([&](UnpoolOp op) -> Result {
          return ref::unpool(get(op.getX()), {int64_t(op.getWindow()), int64_t(op.getSeqLen())});
        })
        .Case([&](BlockScoreOp op) -> Result { return evaluateBlockScore(op); })
        .Case([&](RegroupOp op) -> Result {
          return ref::regroup(get(op.getScores()), {int64_t(op.getWindow()), int64_t(op.getStride()),
                                                    int64_t(op.getBlock()), int64_t(op.getSeqLen())});
        })
        .Case([&](SelectCascadeOp op) -> Result {
          ref::IndexTensor selected = ref::selectCascade(
              get(op.getQueryScores()), get(op.getKeyScores()),
              {int64_t(op.getSeqLen()), int64_t(op.getLevels()), int64_t(op.getFactor()), int64_t(op.getTopk()),
               op.getOpenFirstWindow(), op.getPerKeyHead(), getDocuments(op)});
          if (op.getSlots())
            values[op.getSlots()] = ref::invertSelection(selected, get(op.getQueryScores()).dim(2));
          return selected;
        })
        .Case([&](SelectBlocksOp op) -> Result {
          return ref::selectBlocks(get(op.getScores()),
                                   {int64_t(op.getTopk()), int64_t(op.getLocal()), int64_t(op.getSinks()),
                                    op.getCausal(), int64_t(op.getQueryBlock()), int64_t(op.getKeyBlock()),
                                    getBounds(op)});
        })
        .Case([&](BlocksFromMaskOp op) -> Result { return ref::blocksFromMask(getIndices(op.getMask())); })
        .Case([&](GatherOp op) -> Result { return ref::gather(get(op.getX()), getIndices(op.getIndices())); })
        .Case([&](ScatterOp op) -> Result {
          return ref::scatter(
              get(op.getX()), getIndices(op.getIndices()),
              {int64_t(op.getSeqLen()), int64_t(op.getLevels()), int64_t(op.getFactor()), getDocuments(op)});
        })
        .Case([&](DocumentBoundsOp op) -> Result {
          return op.getCu() ? ref::documentBounds(getIndices(op.getCu()), int64_t(op.getSeqLen()))
                            : ref::documentBounds(getDocuments(op));
        })
        .Case([&](NarrowBoundsOp op) -> Result {
          return ref::narrowBounds(getIndices(op.getBounds()), int64_t(op.getWindow()));
        })
        .Case([&](MoveOp op) -> Result { return evaluateMove(op); })
        .Case([&](FoldOp op) -> Result { return ref::fold(get(op.getX()), op.getFactor(), op.getRepeat()); })
        .Case([&](UnfoldOp op) -> Result {
          return ref::unfold(get(op.getX()), op.getFactor(), op.getSeqLen(), op.getRepeat());
        })
        .Case([&](GateOp op) -> Result {
          return ref::gate(getAll(op.getBranches()), get(op.getGates()), {toActivation(op.getActivation())});
        })
        .Default([](Operation *) -> Result { return std::nullopt; });
  }

  Storage evaluateBlockScore(BlockScoreOp op) {
    ref::BlockScoreOptions score;
    score.scale = op.getScaleOrDefault();
    score.causal = op.getCausal();
    score.normalize = op.getNormalize() == Normalize::Softmax ? ref::Normalize::Softmax : ref::Normalize::None;
    score.groupSum = op.getGroupSum();
    score.keyWindow = op.getKeyWindow();
    score.keyStride = op.getKeyStride();
    score.queryStride = op.getQueryStride();
    score.documents = getBounds(op);
    return ref::blockScore(get(op.getQ()), get(op.getK()), score, op.getLse() ? &get(op.getLse()) : nullptr);
  }

  /// Options of attention or of one of its gradients, which share the attributes.
  template <typename Op>
  ref::AttendOptions getAttendOptions(Op op) {
    ref::AttendOptions attend;
    attend.scale = op.getScaleOrDefault();
    attend.softcap = op.getSoftcap().convertToDouble();
    attend.causal = op.getCausal();
    attend.window = op.getWindow();
    attend.sinks = op.getSinks();
    attend.keyWindow = op.getKeyWindow();
    attend.keyStride = op.getKeyStride();
    attend.queryBlock = op.getQueryBlock();
    attend.keyBlock = op.getKeyBlock();
    attend.blocks = op.getBlocks() ? &getIndices(op.getBlocks()) : nullptr;
    attend.documents = getBounds(op);
    return attend;
  }

  void evaluateAttend(AttendOp op) {
    setPair(op, ref::attend(get(op.getQ()), get(op.getK()), get(op.getV()), getAttendOptions(op)));
  }

  /// What differentiation writes; false for other operations.
  bool evaluateGradients(Operation *op) {
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
          return set(0, ref::gatherGrad(get(op.getDy()), getIndices(op.getIndices()), op.getHeads(), op.getRows())),
                 true;
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

  void evaluateGateDelta(GateDeltaOp op) {
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

  ref::Tensor evaluateSettle(SettleTilesOp op) {
    ref::AttendResult stats = ref::splitStats(get(op.getStats()), get(op.getQ()).dim(2));
    ref::AttendGradInputs in{get(op.getQ()), get(op.getK()), get(op.getV()), stats.lse, stats.out, get(op.getDout())};
    return ref::settleTiles(getIndices(op.getTiles()), get(op.getStats()), in, getAttendOptions(op));
  }

  ref::Tensor evaluateRegroupScored(RegroupScoredOp op) {
    int64_t window = op.getWindow(), stride = op.getStride();
    ref::BlockScoreOptions score{op.getScaleOrDefault(),  op.getCausal(),    window,       stride, 1,
                                 ref::Normalize::Softmax, /*groupSum=*/true, getBounds(op)};
    return ref::regroup(ref::blockScore(get(op.getQ()), get(op.getK()), score, &get(op.getLse())),
                        {window, stride, int64_t(op.getBlock()), int64_t(op.getSeqLen())});
  }

  ref::IndexTensor evaluateSelectScored(SelectScoredOp op) {
    ref::BlockScoreOptions score{op.getScaleOrDefault(), op.getCausal(), int64_t(op.getKeyWindow()),
                                 int64_t(op.getKeyStride()), int64_t(op.getQueryStride())};
    return ref::selectBlocks(ref::blockScore(get(op.getQ()), get(op.getK()), score),
                             {int64_t(op.getTopk()), int64_t(op.getLocal()), int64_t(op.getSinks()), op.getCausal(),
                              int64_t(op.getQueryStride()), int64_t(op.getKeyBlock())});
  }

  /// What fusion writes; false for other operations.
  bool evaluateFused(Operation *op) {
    auto set = [&](unsigned result, ref::Tensor value) { values[op->getResult(result)] = std::move(value); };
    auto getOptions = [](auto op) {
      return ref::ScatterOptions{int64_t(op.getSeqLen()), int64_t(op.getLevels()), int64_t(op.getFactor()),
                                 getDocuments(op)};
    };
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
          return set(0, ref::scatterBySlots(get(op.getX()), getIndices(op.getSlots()), getOptions(op))), true;
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
          ref::SplitBlocks split = ref::splitBlocks(getIndices(op.getList()), op.getKeyBlock(), op.getKeys());
          values[op.getPast()] = std::move(split.past);
          values[op.getDiagonal()] = std::move(split.diagonal);
          return true;
        })
        .Case([&](GroupRowsOp op) {
          ref::GroupedRows grouped =
              ref::groupRows(getIndices(op.getList()), getIndices(op.getCounts()).dim(2), op.getLength());
          values[op.getRows()] = std::move(grouped.rows);
          values[op.getTiles()] = std::move(grouped.tiles);
          values[op.getSlots()] = std::move(grouped.slots);
          return true;
        })
        .Case([&](GatherScoresOp op) {
          return set(0, ref::gatherScores(get(op.getX()), getIndices(op.getRows()))), true;
        })
        .Case([&](MergeRowsOp op) {
          setPair(op, ref::mergeRows({get(op.getPart()), get(op.getPartLse())}, getIndices(op.getSlots()),
                                     {get(op.getOut()), get(op.getLse())}));
          return true;
        })
        .Case([&](SumRowsOp op) {
          return set(0, ref::sumRows(get(op.getPart()), getIndices(op.getSlots()), get(op.getX()))), true;
        })
        .Case([&](GatherGradBySlotsOp op) {
          return set(0,
                     ref::gatherGradBySlots(get(op.getDy()), getIndices(op.getSlots()), op.getHeads(), getOptions(op))),
                 true;
        })
        .Case([&](ScatterGradBySlotsOp op) { return set(0, evaluateScatterGrad(op)), true; })
        .Case([&](RegroupScoredOp op) { return set(0, evaluateRegroupScored(op)), true; })
        .Case([&](SelectScoredOp op) {
          values[op.getResult()] = evaluateSelectScored(op);
          return true;
        })
        .Default([](Operation *) { return false; });
  }

  /// Of either operation, with and without a slot map.
  template <typename Op>
  ref::Tensor evaluateScatterGrad(Op op) {
    const ref::Tensor &dy = get(op.getDy());
    return ref::scatterGrad(dy, getIndices(op.getIndices()),
                            {dy.dim(2), int64_t(op.getLevels()), int64_t(op.getFactor()), getDocuments(op)});
  }

  void evaluateAttendGrad(AttendGradOp op) {
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

  llvm::Error call(LaunchOp launch) {
    auto callee = SymbolTable::lookupNearestSymbolFrom<ProgramOp>(launch, launch.getCalleeAttr());
    if (!callee || callee.getNumInputs() != launch.getInputs().size() ||
        callee.getReturn().getNumOperands() != launch.getNumResults())
      return llvm::createStringError("launch of '" + launch.getCallee().str() + "', which is no matching program");
    Evaluation evaluation(callee, {});
    for (auto [index, input] : llvm::enumerate(launch.getInputs()))
      evaluation.bind(index, values[input]);
    if (llvm::Error error = evaluation.run())
      return error;
    for (auto [result, value] : llvm::zip(launch.getResults(), evaluation.takeResults()))
      values[result] = std::move(value.value);
    return llvm::Error::success();
  }

  ProgramOp program;
  InterpreterOptions options;
  llvm::DenseMap<Value, Storage> values;
};

std::string formatShape(llvm::ArrayRef<int64_t> shape) {
  return "[" + llvm::join(llvm::map_range(shape, [](int64_t size) { return std::to_string(size); }), ", ") + "]";
}

} // namespace

/// Binds the inputs by name, or says what is wrong with them.
static llvm::Error bindInputs(ProgramOp program, llvm::ArrayRef<NamedValue> inputs, Evaluation &evaluation) {
  for (unsigned i = 0; i < program.getNumInputs(); ++i) {
    StringRef name = program.getInputName(i);
    RankedTensorType type = program.getInputType(i);
    const auto *input = llvm::find_if(inputs, [&](const NamedValue &value) { return value.name == name; });
    if (input == inputs.end())
      return llvm::createStringError("input '" + name.str() + "' is missing");
    if (llvm::ArrayRef<int64_t>(input->getShape()) != type.getShape())
      return llvm::createStringError("input '" + name.str() + "' has shape " + formatShape(input->getShape()) +
                                     ", but the program takes " + formatShape(type.getShape()));
    if (std::holds_alternative<ref::IndexTensor>(input->value) != type.getElementType().isInteger())
      return llvm::createStringError("input '" + name.str() + "' does not hold the program's element type");
    evaluation.bind(i, input->value);
  }
  for (const NamedValue &input : inputs)
    if (!llvm::is_contained(program.getArgNames().getAsValueRange<StringAttr>(), StringRef(input.name)))
      return llvm::createStringError("the program has no input '" + input.name + "'");
  return llvm::Error::success();
}

llvm::Expected<std::vector<NamedValue>> fresnel::interpret(ProgramOp program, llvm::ArrayRef<NamedValue> inputs,
                                                           const InterpreterOptions &options) {
  Evaluation evaluation(program, options);
  if (llvm::Error error = bindInputs(program, inputs, evaluation))
    return error;
  if (llvm::Error error = evaluation.run())
    return error;
  return evaluation.takeResults();
}
