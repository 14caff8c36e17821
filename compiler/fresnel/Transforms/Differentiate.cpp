//===- Differentiate.cpp - Adds the gradients of a program's inputs -------===//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//

#include "fresnel/Transforms/Passes.h"
#include "mlir/IR/TypeUtilities.h"

using namespace mlir;

namespace fresnel {
#define GEN_PASS_DEF_DIFFERENTIATEPASS
#include "fresnel/Transforms/Passes.h.inc"

namespace {

/// Writes the reverse of one program at its end.
class Reverse {
public:
  explicit Reverse(ProgramOp program) : program(program), builder(program.getReturn()) {
    // What is new behind these is the gradients: fresnel-split-gradient cuts there.
    program->setAttr(kForwardInputsAttr, builder.getI64IntegerAttr(program.getNumInputs()));
    program->setAttr(kForwardOutputsAttr, builder.getI64IntegerAttr(program.getReturn().getNumOperands()));
  }

  LogicalResult seed(ArrayRef<std::string> outputs) {
    ReturnOp results = program.getReturn();
    std::vector<std::string> names = outputs;
    if (names.empty() && results.getNumOperands() > 0)
      names.push_back(results.getName(0).str());
    for (StringRef name : names)
      if (failed(seedOne(results, name)))
        return failure();
    return success();
  }

  LogicalResult run() {
    // The gradients are written behind these operations.
    SmallVector<Operation *> forward;
    for (Operation &op : program.getBody().front().without_terminator())
      forward.push_back(&op);
    for (Operation *op : llvm::reverse(forward))
      if (failed(visit(op)))
        return failure();
    return finish();
  }

private:
  LogicalResult seedOne(ReturnOp results, StringRef name) {
    for (unsigned i = 0; i < results.getNumOperands(); ++i) {
      if (results.getName(i) != name)
        continue;
      Value output = results.getOperand(i);
      if (!isa<FloatType>(getElementTypeOrSelf(output)))
        return results.emitOpError() << "output `" << name << "` holds " << getElementTypeOrSelf(output)
                                     << " and has no gradient";
      gradients[output].push_back(program.getBody().addArgument(output.getType(), results.getLoc()));
      return addName("d" + name.str());
    }
    return results.emitOpError() << "has no output `" << name << "` to differentiate";
  }

  /// Names the argument that was added last.
  LogicalResult addName(const std::string &name) {
    SmallVector<Attribute> names(program.getArgNames().getValue());
    if (llvm::is_contained(names, builder.getStringAttr(name)))
      return program.emitOpError() << "has an input `" << name << "` already, the name of a gradient";
    names.push_back(builder.getStringAttr(name));
    program.setArgNamesAttr(builder.getArrayAttr(names));
    return success();
  }

  /// The sum of what came in for `value`, null if nothing did.
  Value take(Value value) {
    auto found = gradients.find(value);
    if (found == gradients.end())
      return {};
    SmallVector<Value> &terms = found->second;
    if (terms.size() > 1)
      terms = {AddOp::create(builder, value.getLoc(), terms)};
    return terms.front();
  }

  LogicalResult visit(Operation *op) {
    SmallVector<Value> results = llvm::map_to_vector(op->getResults(), [&](Value result) { return take(result); });
    if (llvm::none_of(results, [](Value gradient) { return bool(gradient); }))
      return success();
    auto differentiable = dyn_cast<DifferentiableOpInterface>(op);
    if (!differentiable)
      return op->emitOpError() << "has no gradient, but an output that is differentiated depends on it";
    SmallVector<Value> operands;
    if (failed(differentiable.buildGradients(builder, results, operands)))
      return failure();
    for (auto [operand, gradient] : llvm::zip_equal(op->getOperands(), operands))
      if (gradient)
        gradients[operand].push_back(gradient);
    return success();
  }

  LogicalResult finish() {
    ReturnOp results = program.getReturn();
    SmallVector<Value> values(results.getOperands());
    SmallVector<Attribute> names(results.getNames().getValue());
    size_t outputs = values.size();
    for (auto [index, argument] : llvm::enumerate(program.getBody().getArguments()))
      if (Value gradient = take(argument)) {
        values.push_back(gradient);
        names.push_back(builder.getStringAttr("d" + program.getInputName(index)));
      }
    if (values.size() == outputs)
      return program.emitOpError() << "has no input with a gradient";
    ReturnOp::create(builder, results.getLoc(), values, builder.getArrayAttr(names));
    results.erase();
    return success();
  }

  ProgramOp program;
  OpBuilder builder;
  DenseMap<Value, SmallVector<Value>> gradients;
};

struct DifferentiatePass final : impl::DifferentiatePassBase<DifferentiatePass> {
  using Base::Base;

  void runOnOperation() override {
    ProgramOp program = requireMainProgram(getOperation());
    if (!program)
      return signalPassFailure();
    Reverse reverse(program);
    if (failed(reverse.seed(std::vector<std::string>(outputs.begin(), outputs.end()))) || failed(reverse.run()))
      signalPassFailure();
  }
};

} // namespace
} // namespace fresnel
