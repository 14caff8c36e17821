//===- SplitGradient.cpp - Forward and backward halves of a program -------===//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//

#include "fresnel/Transforms/Passes.h"
#include "mlir/IR/IRMapping.h"
#include "llvm/ADT/SetVector.h"
#include "llvm/ADT/StringExtras.h"
#include "llvm/ADT/StringSet.h"

using namespace mlir;

namespace fresnel {
#define GEN_PASS_DEF_SPLITGRADIENTPASS
#include "fresnel/Transforms/Passes.h.inc"

namespace {

constexpr int64_t kAlignment = 256;

int64_t getBytes(Type type) {
  auto tensor = cast<RankedTensorType>(type);
  return tensor.getNumElements() * tensor.getElementTypeBitWidth() / 8;
}

/// Cuts one differentiated program.
class Splitter {
public:
  Splitter(ProgramOp program, ArrayRef<std::string> recompute) : program(program), builder(program) {
    for (const std::string &name : recompute)
      this->recompute.insert(name);
  }

  LogicalResult run() {
    if (failed(readCounts()))
      return failure();
    ReturnOp results = program.getReturn();
    for (auto [index, output] : llvm::enumerate(results.getOperands().take_front(forwardOutputs)))
      outputNames.try_emplace(output, results.getName(index));
    collectBackward();
    for (auto [index, output] : llvm::enumerate(results.getOperands().take_front(forwardOutputs)))
      if (Operation *op = output.getDefiningOp(); op && backward.contains(op))
        return results.emitOpError() << "output `" << results.getName(index)
                                     << "` depends on the gradient of an output and cannot be of the forward half";
    for (Operation *op : backward)
      for (Value operand : op->getOperands())
        need(operand);
    // Gradients that are values of the forward half, too.
    for (Value gradient : results.getOperands().drop_front(forwardOutputs))
      need(gradient);
    // In the program's order, whatever order they were met in.
    llvm::sort(saved, [](Value a, Value b) {
      Operation *first = a.getDefiningOp(), *second = b.getDefiningOp();
      return first == second ? cast<OpResult>(a).getResultNumber() < cast<OpResult>(b).getResultNumber()
                             : first->isBeforeInBlock(second);
    });
    buildBackward();
    reduceForward();
    return success();
  }

  size_t countSaved() const { return saved.size(); }

private:
  LogicalResult readCounts() {
    auto inputs = program->getAttrOfType<IntegerAttr>(kForwardInputsAttr);
    auto outputs = program->getAttrOfType<IntegerAttr>(kForwardOutputsAttr);
    int64_t hasInputs = program.getNumInputs(), hasOutputs = program.getReturn().getNumOperands();
    if (!inputs || inputs.getInt() < 0 || inputs.getInt() > hasInputs)
      return program.emitOpError() << "`" << kForwardInputsAttr << "` must be a number from 0 to " << hasInputs
                                   << ", the inputs that there are";
    if (!outputs || outputs.getInt() < 0 || outputs.getInt() > hasOutputs)
      return program.emitOpError() << "`" << kForwardOutputsAttr << "` must be a number from 0 to " << hasOutputs
                                   << ", the outputs that there are";
    forwardInputs = inputs.getInt();
    forwardOutputs = outputs.getInt();
    return success();
  }

  /// What depends on the gradient of an output, in order, and what only that needs.
  void collectBackward() {
    Block &body = program.getBody().front();
    llvm::DenseSet<Operation *> forward;
    for (Operation &op : llvm::reverse(body.without_terminator())) {
      bool needed = llvm::any_of(op.getUsers(), [&](Operation *user) { return forward.contains(user); }) ||
                    llvm::any_of(op.getResults(), [&](Value result) { return outputNames.contains(result); });
      if (needed)
        forward.insert(&op);
    }
    for (Operation &op : body.without_terminator()) {
      bool dependent = llvm::any_of(op.getOperands(), [&](Value operand) {
        auto argument = dyn_cast<BlockArgument>(operand);
        return argument ? argument.getArgNumber() >= forwardInputs : backward.contains(operand.getDefiningOp());
      });
      if (dependent || !forward.contains(&op))
        backward.insert(&op);
    }
  }

  /// Sees to it that the backward half has `value`.
  void need(Value value) {
    if (auto argument = dyn_cast<BlockArgument>(value)) {
      if (argument.getArgNumber() < forwardInputs)
        usedInputs.insert(value);
      return;
    }
    Operation *op = value.getDefiningOp();
    if (backward.contains(op) || repeated.contains(op))
      return;
    if (outputNames.contains(value)) {
      usedOutputs.insert(value);
      return;
    }
    if (!recompute.contains(op->getName().stripDialect())) {
      if (!llvm::is_contained(saved, value))
        saved.push_back(value);
      return;
    }
    repeated.insert(op);
    for (Value operand : op->getOperands())
      need(operand);
  }

  std::string getSavedName(unsigned index) {
    return ("saved" + Twine(index) + "_" + saved[index].getDefiningOp()->getName().stripDialect()).str();
  }

  void buildBackward() {
    ReturnOp results = program.getReturn();
    SmallVector<Value> arguments;
    SmallVector<Attribute> names;
    auto take = [&](Value value, StringRef name) {
      arguments.push_back(value);
      names.push_back(builder.getStringAttr(name));
    };
    for (auto [index, argument] : llvm::enumerate(program.getBody().getArguments()))
      if (index < forwardInputs && usedInputs.contains(argument))
        take(argument, program.getInputName(index));
    for (auto [index, output] : llvm::enumerate(results.getOperands().take_front(forwardOutputs)))
      if (usedOutputs.contains(output) && outputNames.lookup(output) == results.getName(index))
        take(output, results.getName(index));
    for (unsigned i = forwardInputs; i < program.getNumInputs(); ++i)
      take(program.getBody().getArgument(i), program.getInputName(i));
    for (unsigned i = 0; i < saved.size(); ++i)
      take(saved[i], getSavedName(i));

    builder.setInsertionPointAfter(program);
    auto half = ProgramOp::create(builder, program.getLoc(), (program.getSymName() + "_backward").str(),
                                  builder.getArrayAttr(names));
    half->setAttr(kBackwardAttr, builder.getUnitAttr());
    half->setAttr(kSavedAttr, describeSaved());
    describeSlices(half, arguments);
    Block *body = builder.createBlock(&half.getBody());
    IRMapping mapping;
    for (Value argument : arguments)
      mapping.map(argument, body->addArgument(argument.getType(), argument.getLoc()));
    for (Operation &op : program.getBody().front().without_terminator())
      if (backward.contains(&op) || repeated.contains(&op))
        builder.clone(op, mapping);
    SmallVector<Value> gradients = llvm::map_to_vector(results.getOperands().drop_front(forwardOutputs),
                                                       [&](Value value) { return mapping.lookup(value); });
    ReturnOp::create(builder, results.getLoc(), gradients,
                     builder.getArrayAttr(results.getNames().getValue().drop_front(forwardOutputs)));
  }

  /// The backward half of a slice is that of the same slice.
  void describeSlices(ProgramOp half, ArrayRef<Value> arguments) {
    auto slices = program->getAttrOfType<DenseI64ArrayAttr>(kSlicesAttr);
    auto ofInputs = program->getAttrOfType<ArrayAttr>(kInputSlicesAttr);
    if (!slices || !ofInputs)
      return;
    half->setAttr(kSlicesAttr, slices);
    half->setAttr(kInputSlicesAttr, builder.getArrayAttr(llvm::map_to_vector(arguments, [&](Value value) -> Attribute {
      auto input = dyn_cast<BlockArgument>(value);
      return input ? ofInputs[input.getArgNumber()] : slices;
    })));
  }

  /// All saved tensors are alive at once, so they lie one behind the other.
  ArrayAttr describeSaved() {
    SmallVector<Attribute> entries;
    savedBytes = 0;
    for (auto [index, value] : llvm::enumerate(saved)) {
      entries.push_back(
          builder.getDictionaryAttr({builder.getNamedAttr("name", builder.getStringAttr(getSavedName(index))),
                                     builder.getNamedAttr("offset", builder.getI64IntegerAttr(savedBytes))}));
      savedBytes = llvm::alignTo(savedBytes + getBytes(value.getType()), kAlignment);
    }
    return builder.getArrayAttr(entries);
  }

  /// Takes the backward half out of the program and lets it return what is saved.
  void reduceForward() {
    ReturnOp results = program.getReturn();
    SmallVector<Value> values(results.getOperands().take_front(forwardOutputs));
    SmallVector<Attribute> names(results.getNames().getValue().take_front(forwardOutputs));
    for (unsigned i = 0; i < saved.size(); ++i) {
      values.push_back(saved[i]);
      names.push_back(builder.getStringAttr(getSavedName(i)));
    }
    program->setAttr(kSavedAttr, describeSaved());
    program->setAttr(kSavedBytesAttr, builder.getI64IntegerAttr(savedBytes));
    program->removeAttr(kForwardInputsAttr);
    program->removeAttr(kForwardOutputsAttr);
    builder.setInsertionPoint(results);
    ReturnOp::create(builder, results.getLoc(), values, builder.getArrayAttr(names));
    results.erase();
    for (Operation *op : llvm::reverse(backward))
      op->erase();
    Block &body = program.getBody().front();
    body.eraseArguments(forwardInputs, body.getNumArguments() - forwardInputs);
    program.setArgNamesAttr(builder.getArrayAttr(program.getArgNames().getValue().take_front(forwardInputs)));
    if (auto slices = program->getAttrOfType<ArrayAttr>(kInputSlicesAttr))
      program->setAttr(kInputSlicesAttr, builder.getArrayAttr(slices.getValue().take_front(forwardInputs)));
  }

  ProgramOp program;
  OpBuilder builder;
  llvm::StringSet<> recompute;
  unsigned forwardInputs = 0, forwardOutputs = 0;
  int64_t savedBytes = 0;
  llvm::DenseMap<Value, StringRef> outputNames;
  llvm::SetVector<Operation *> backward;
  llvm::DenseSet<Operation *> repeated;
  llvm::DenseSet<Value> usedInputs, usedOutputs;
  SmallVector<Value> saved;
};

struct SplitGradientPass final : impl::SplitGradientPassBase<SplitGradientPass> {
  using Base::Base;

  void runOnOperation() override {
    ProgramOp program = requireMainProgram(getOperation());
    if (!program)
      return signalPassFailure();
    if (!program->hasAttr(kForwardInputsAttr) && !program->hasAttr(kForwardOutputsAttr))
      return;
    if (failed(checkNames(program)))
      return signalPassFailure();
    Splitter splitter(program, std::vector<std::string>(recompute.begin(), recompute.end()));
    if (failed(splitter.run()))
      return signalPassFailure();
    numSaved += splitter.countSaved();
  }

  /// An option that names nothing would silently save what it meant to repeat.
  LogicalResult checkNames(ProgramOp program) {
    llvm::SetVector<llvm::StringRef> names;
    for (Operation &op : program.getBody().getOps())
      if (!op.hasTrait<OpTrait::IsTerminator>())
        names.insert(op.getName().stripDialect());
    for (const std::string &name : recompute)
      if (!names.contains(name))
        return program.emitOpError() << "has no operation `" << name << "` to recompute; there are "
                                     << llvm::join(names, ", ");
    SymbolTable symbols(getOperation());
    std::string half = (program.getSymName() + "_backward").str();
    if (Operation *taken = symbols.lookup(half))
      return taken->emitOpError() << "takes the name `" << half << "` of the backward half; rename it";
    return success();
  }
};

} // namespace
} // namespace fresnel
