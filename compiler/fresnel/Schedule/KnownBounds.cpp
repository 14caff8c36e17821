//===- KnownBounds.cpp - Documents whose lengths a program says -----------===//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//

#include "fresnel/Schedule/KnownBounds.h"
#include "fresnel/Reference/Documents.h"
#include "mlir/IR/BuiltinOps.h"

using namespace mlir;
using namespace fresnel;

/// What the only launch of a kernel passes for its input.
static Value findPassed(ModuleOp module, ProgramOp kernel, unsigned input) {
  Value passed;
  auto visited = module.walk([&](LaunchOp launch) {
    if (launch.getCallee() != kernel.getSymName())
      return WalkResult::advance();
    if (passed)
      return WalkResult::interrupt();
    passed = launch.getInputs()[input];
    return WalkResult::advance();
  });
  return visited.wasInterrupted() ? Value() : passed;
}

/// What another half of the method returns by the name of an input.
static Value findReturned(ModuleOp module, ProgramOp half, unsigned input) {
  for (auto other : module.getOps<ProgramOp>())
    if (other != half && !other->hasAttr(kKernelAttr))
      for (auto [index, value] : llvm::enumerate(other.getReturn().getOperands()))
        if (other.getReturn().getName(index) == half.getInputName(input))
          return value;
  return Value();
}

static Value findPassedOrReturned(BlockArgument argument) {
  auto program = dyn_cast<ProgramOp>(argument.getOwner()->getParentOp());
  auto module = program ? program->getParentOfType<ModuleOp>() : ModuleOp();
  if (!module)
    return Value();
  return program->hasAttr(kKernelAttr) ? findPassed(module, program, argument.getArgNumber())
                                       : findReturned(module, program, argument.getArgNumber());
}

static Value findReturnedByKernel(LaunchOp launch, unsigned result) {
  auto module = launch->getParentOfType<ModuleOp>();
  for (auto kernel : module.getOps<ProgramOp>())
    if (kernel.getSymName() == launch.getCallee())
      return kernel.getReturn().getOperand(result);
  return Value();
}

/// What computes a value, also where that is in another program; null if it is an input of the method.
static OpResult findProducer(Value value) {
  while (value) {
    auto result = dyn_cast<OpResult>(value);
    auto launch = result ? dyn_cast<LaunchOp>(result.getOwner()) : LaunchOp();
    if (result && !launch)
      return result;
    value = launch ? findReturnedByKernel(launch, result.getResultNumber())
                   : findPassedOrReturned(cast<BlockArgument>(value));
  }
  return OpResult();
}

std::optional<ref::IndexTensor> fresnel::findKnownBounds(Value value) {
  OpResult result = findProducer(value);
  if (!result)
    return std::nullopt;
  Operation *op = result.getOwner();
  if (auto narrow = dyn_cast<NarrowBoundsOp>(op)) {
    std::optional<ref::IndexTensor> bounds = findKnownBounds(narrow.getBounds());
    return bounds ? std::optional(ref::narrowBounds(*bounds, int64_t(narrow.getWindow()))) : std::nullopt;
  }
  if (auto bounds = dyn_cast<DocumentBoundsOp>(op); bounds && !bounds.getCu())
    return ref::documentBounds(bounds.getDocuments().vec());
  auto align = dyn_cast<AlignDocumentsOp>(op);
  if (!align || align.getCu())
    return std::nullopt;
  ref::AlignedDocuments aligned = ref::alignDocuments(align.getDocuments().vec(), int64_t(align.getBlock()));
  return result == align.getBlocks() ? aligned.blocks : result == align.getTokens() ? aligned.tokens : aligned.bounds;
}
