//===- Interpreter.cpp - Runs programs on the reference library
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//

#include "fresnel/Artifact/DType.h"
#include "fresnel/Interpreter/Evaluation.h"
#include "mlir/IR/BuiltinOps.h"
#include "llvm/ADT/STLExtras.h"
#include "llvm/ADT/StringExtras.h"
#include "llvm/ADT/TypeSwitch.h"

using namespace mlir;
using namespace fresnel;

llvm::Error Evaluation::run() {
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
      if (llvm::all_of(operand.getUsers(), [&](Operation *user) { return user == &op || user->isBeforeInBlock(&op); }))
        values.erase(operand);
  }
  return llvm::Error::success();
}

std::vector<NamedValue> Evaluation::takeResults() {
  std::vector<NamedValue> results;
  ReturnOp terminator = program.getReturn();
  for (auto [index, value] : llvm::enumerate(terminator.getOperands()))
    results.push_back({terminator.getName(index).str(), values[value]});
  return results;
}

void Evaluation::roundToType(Value result) {
  Type element = cast<RankedTensorType>(result.getType()).getElementType();
  if (!element.isBF16() && !element.isF16())
    return;
  std::vector<float> &data = std::get<ref::Tensor>(values[result]).data;
  for (float &value : data)
    value = element.isBF16() ? rt::fromBf16(rt::toBf16(value)) : rt::fromF16(rt::toF16(value));
}

llvm::Error Evaluation::evaluate(Operation *op) {
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

void Evaluation::evaluateAlign(AlignDocumentsOp op) {
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

Storage Evaluation::evaluateMove(MoveOp op) {
  const ref::IndexTensor &from = getIndices(op.getFrom());
  if (op.getX().getType().getElementType().isInteger())
    return ref::move(getIndices(op.getX()), from);
  return ref::move(get(op.getX()), from);
}

std::optional<Storage> Evaluation::evaluateSingle(Operation *op) {
  using Result = std::optional<Storage>;
  return TypeSwitch<Operation *, Result>(op)
      .Case([&](PoolOp op) -> Result { return ref::pool(get(op.getX()), getPoolOptions(op)); })
      .Case([&](PyramidOp op) -> Result {
        return ref::pyramid(get(op.getX()),
                            {toPool(op.getKind()), int64_t(op.getLevels()), int64_t(op.getFactor()), getDocuments(op)});
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
        ref::IndexTensor selected =
            ref::selectCascade(get(op.getQueryScores()), get(op.getKeyScores()),
                               {int64_t(op.getSeqLen()), int64_t(op.getLevels()), int64_t(op.getFactor()),
                                int64_t(op.getTopk()), op.getOpenFirstWindow(), op.getPerKeyHead(), getDocuments(op)});
        if (op.getSlots())
          values[op.getSlots()] = ref::invertSelection(selected, get(op.getQueryScores()).dim(2));
        return selected;
      })
      .Case([&](SelectBlocksOp op) -> Result {
        return ref::selectBlocks(get(op.getScores()),
                                 {int64_t(op.getTopk()), int64_t(op.getLocal()), int64_t(op.getSinks()), op.getCausal(),
                                  int64_t(op.getQueryBlock()), int64_t(op.getKeyBlock()), getBounds(op)});
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

Storage Evaluation::evaluateBlockScore(BlockScoreOp op) {
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

void Evaluation::evaluateAttend(AttendOp op) {
  setPair(op, ref::attend(get(op.getQ()), get(op.getK()), get(op.getV()), getAttendOptions(op)));
}

llvm::Error Evaluation::call(LaunchOp launch) {
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

static std::string formatShape(llvm::ArrayRef<int64_t> shape) {
  return "[" + llvm::join(llvm::map_range(shape, [](int64_t size) { return std::to_string(size); }), ", ") + "]";
}

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
