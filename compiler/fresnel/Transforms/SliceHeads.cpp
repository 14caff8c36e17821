//===- SliceHeads.cpp - A program for some of its heads at a time
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//

#include "fresnel/Transforms/Passes.h"
#include "llvm/ADT/TypeSwitch.h"

using namespace mlir;

namespace fresnel {
#define GEN_PASS_DEF_SLICEHEADSPASS
#include "fresnel/Transforms/Passes.h.inc"

namespace {

/// Into how many slices batch and heads, dimensions 0 and 1 of tensors of rank 3 and 4, are cut.
using Slices = std::array<int64_t, 2>;
constexpr const char *kNames[] = {"batch", "heads"};

/// What one slice has of the tensor; null if a dimension does not divide.
RankedTensorType sliceOf(RankedTensorType tensor, Slices slices) {
  SmallVector<int64_t> shape(tensor.getShape());
  for (auto [dim, count] : llvm::enumerate(slices)) {
    if (shape[dim] % count)
      return {};
    shape[dim] /= count;
  }
  return tensor.clone(shape);
}

/// Makes the types of one program those of a slice.
class Slicer {
public:
  Slicer(ProgramOp program, int64_t count) : program(program), count(count) {}

  LogicalResult run() {
    if (failed(cut()) || failed(sliceInputs()))
      return failure();
    for (Operation &op : program.getBody().front().without_terminator())
      if (failed(sliceResults(op)))
        return failure();
    ReturnOp results = program.getReturn();
    for (auto [index, value] : llvm::enumerate(results.getOperands()))
      if (getSlices(value) != all)
        return results.emitOpError() << "result `" << results.getName(index) << "` is not computed head by head, so "
                                     << "that it has no slices; compute all heads at once";
    return success();
  }

private:
  /// Whole batches as long as there are some.
  LogicalResult cut() {
    int64_t batch = 1;
    for (Type type : program.getBody().getArgumentTypes())
      if (auto tensor = cast<RankedTensorType>(type); tensor.getRank() > 2)
        batch = std::max(batch, tensor.getDimSize(0));
    if (std::max(batch, count) % std::min(batch, count))
      return program.emitOpError() << "cannot be cut into " << count << " slices with a batch of " << batch
                                   << "; take a number that divides it, or a multiple of it";
    all = {std::min(batch, count), std::max<int64_t>(count / batch, 1)};
    return success();
  }

  LogicalResult sliceInputs() {
    Builder builder(program);
    SmallVector<Attribute> inputs;
    for (auto [index, input] : llvm::enumerate(program.getBody().getArguments())) {
      RankedTensorType type = program.getInputType(index);
      Slices slices = {1, 1};
      for (size_t dim = 0; dim < slices.size(); ++dim)
        if (type.getRank() > 2 && type.getDimSize(dim) > 1)
          slices[dim] = all[dim];
      RankedTensorType slice = type.getRank() > 2 ? sliceOf(type, slices) : type;
      if (!slice) {
        size_t dim = type.getDimSize(0) % slices[0] ? 0 : 1;
        return program.emitOpError() << "input `" << program.getInputName(index) << "` of type " << type
                                     << " cannot be cut into " << slices[dim] << " slices of its " << kNames[dim]
                                     << "; take a number that divides " << type.getDimSize(dim);
      }
      input.setType(slice);
      ofValue[input] = slices;
      inputs.push_back(builder.getDenseI64ArrayAttr(slices));
    }
    program->setAttr(kSlicesAttr, builder.getDenseI64ArrayAttr(all));
    program->setAttr(kInputSlicesAttr, builder.getArrayAttr(inputs));
    return success();
  }

  LogicalResult sliceResults(Operation &op) {
    Slices slices = {1, 1};
    for (Value operand : op.getOperands())
      for (auto [dim, of] : llvm::enumerate(getSlices(operand)))
        slices[dim] = std::max(slices[dim], of);
    if (slices == Slices{1, 1})
      return success();
    if (failed(sliceHeadsAttribute(op, slices)))
      return failure();
    auto inference = dyn_cast<InferTypeOpInterface>(op);
    SmallVector<Type> types;
    if (!inference ||
        failed(inference.inferReturnTypes(op.getContext(), op.getLoc(), op.getOperands(), op.getAttrDictionary(),
                                          op.getPropertiesStorage(), op.getRegions(), types)))
      return op.emitOpError() << "cannot be computed for one of " << count << " slices of the heads";
    for (auto [result, type] : llvm::zip(op.getResults(), types)) {
      auto before = cast<RankedTensorType>(result.getType());
      if (type != sliceOf(before, slices))
        return refuse(op, before);
      result.setType(type);
      ofValue[result] = slices;
    }
    return success();
  }

  InFlightDiagnostic refuse(Operation &op, Type result) const {
    return op.emitOpError() << "computes " << result << " from all heads together, which " << count
                            << " slices cannot; compute all heads at once";
  }

  /// Gradients of gathers say how many heads the result has, which their operands do not.
  LogicalResult sliceHeadsAttribute(Operation &op, Slices slices) const {
    return llvm::TypeSwitch<Operation *, LogicalResult>(&op)
        .Case<GatherGradOp, GatherGradBySlotsOp>([&](auto gradient) -> LogicalResult {
          if (gradient.getHeads() % slices[1])
            return refuse(op, op.getResult(0).getType());
          gradient.setHeads(gradient.getHeads() / slices[1]);
          return success();
        })
        .Default(success());
  }

  Slices getSlices(Value value) const {
    auto found = ofValue.find(value);
    return found == ofValue.end() ? Slices{1, 1} : found->second;
  }

  ProgramOp program;
  int64_t count;
  /// Of a tensor with batch and heads.
  Slices all = {1, 1};
  DenseMap<Value, Slices> ofValue;
};

struct SliceHeadsPass final : impl::SliceHeadsPassBase<SliceHeadsPass> {
  using Base::Base;

  void runOnOperation() override {
    ProgramOp program = requireMainProgram(getOperation());
    if (!program)
      return signalPassFailure();
    if (slices < 1) {
      program.emitOpError() << "cannot be computed in " << int64_t(slices) << " slices of its heads; take 1 or more";
      return signalPassFailure();
    }
    if (slices > 1 && failed(Slicer(program, slices).run()))
      signalPassFailure();
  }
};

} // namespace
} // namespace fresnel
