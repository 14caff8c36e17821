//===- OutlineKernels.cpp - One kernel program per operation
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//

#include "fresnel/Transforms/Passes.h"

using namespace mlir;

namespace fresnel {
#define GEN_PASS_DEF_OUTLINEKERNELSPASS
#include "fresnel/Transforms/Passes.h.inc"

namespace {

struct OutlineKernelsPass final : impl::OutlineKernelsPassBase<OutlineKernelsPass> {
  using Base::Base;

  void runOnOperation() override {
    ProgramOp main = requireMainProgram(getOperation());
    if (!main)
      return signalPassFailure();
    SymbolTable symbols(getOperation());
    unsigned index = 0;
    for (ProgramOp program : {main, findBackwardProgram(getOperation())}) {
      if (!program)
        continue;
      for (Operation &op : llvm::make_early_inc_range(program.getBody().front().without_terminator()))
        if (!isa<LaunchOp>(op))
          outline(&op, program, symbols, index++);
    }
  }

  void outline(Operation *op, ProgramOp main, SymbolTable &symbols, unsigned index) {
    OpBuilder builder(main);
    // One argument per operand, also where one tensor comes twice: kernels find
    // their operands by position.
    SmallVector<Value> inputs(op->getOperands());
    SmallVector<Attribute> inputNames, resultNames;
    for (unsigned i = 0; i < inputs.size(); ++i)
      inputNames.push_back(builder.getStringAttr("in" + Twine(i)));
    for (unsigned i = 0; i < op->getNumResults(); ++i)
      resultNames.push_back(builder.getStringAttr("out" + Twine(i)));
    std::string name = (op->getName().stripDialect() + "_" + Twine(index)).str();
    ++numKernels;
    auto program = ProgramOp::create(builder, op->getLoc(), name, builder.getArrayAttr(inputNames));
    program->setAttr(kKernelAttr, builder.getUnitAttr());

    Block *body = builder.createBlock(&program.getBody());
    for (Value input : inputs)
      body->addArgument(input.getType(), input.getLoc());
    Operation *copy = builder.clone(*op);
    copy->setOperands(body->getArguments());
    ReturnOp::create(builder, op->getLoc(), copy->getResults(), builder.getArrayAttr(resultNames));
    symbols.insert(program);

    builder.setInsertionPoint(op);
    auto launch = LaunchOp::create(builder, op->getLoc(), op->getResultTypes(), program.getSymName(), inputs,
                                   DenseI64ArrayAttr());
    op->replaceAllUsesWith(launch.getResults());
    op->erase();
  }
};

} // namespace
} // namespace fresnel
