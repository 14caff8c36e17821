//===- Evaluation.h - Evaluates the operations of a program -----*- C++ -*-===//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
#ifndef FRESNEL_INTERPRETER_EVALUATION_H
#define FRESNEL_INTERPRETER_EVALUATION_H

#include "fresnel/Interpreter/Interpreter.h"
#include "llvm/ADT/DenseMap.h"

namespace fresnel {

inline ref::Activation toActivation(Activation activation) {
  return activation == Activation::Sigmoid ? ref::Activation::Sigmoid : ref::Activation::None;
}

/// The lengths of the documents of an operation on pyramids.
template <typename Op>
std::vector<int64_t> getDocuments(Op op) {
  return op.getDocuments().vec();
}

inline ref::PoolKind toPool(PoolKind kind) { return kind == PoolKind::Max ? ref::PoolKind::Max : ref::PoolKind::Mean; }

using Storage = std::variant<ref::Tensor, ref::IndexTensor>;

/// Evaluates one program; values are dropped after their last use.
class Evaluation {
public:
  Evaluation(ProgramOp program, const InterpreterOptions &options) : program(program), options(options) {}

  void bind(unsigned input, const Storage &value) { values[program.getBody().getArgument(input)] = value; }

  llvm::Error run();
  std::vector<NamedValue> takeResults();

private:
  const ref::Tensor &get(mlir::Value value) { return std::get<ref::Tensor>(values[value]); }
  const ref::IndexTensor &getIndices(mlir::Value value) { return std::get<ref::IndexTensor>(values[value]); }

  /// The bounds of an operation's documents, or null.
  template <typename Op>
  const ref::IndexTensor *getBounds(Op op) {
    return op.getDocuments() ? &getIndices(op.getDocuments()) : nullptr;
  }

  std::vector<ref::Tensor> getAll(mlir::ValueRange range) {
    std::vector<ref::Tensor> tensors;
    for (mlir::Value value : range)
      tensors.push_back(get(value));
    return tensors;
  }

  /// The reference computes in f32; a value of a 16-bit type holds what that type
  /// can hold. Selections would else be made from scores that no GPU sees.
  void roundToType(mlir::Value result);

  void setPair(mlir::Operation *op, ref::AttendResult result) {
    values[op->getResult(0)] = std::move(result.out);
    values[op->getResult(1)] = std::move(result.lse);
  }

  llvm::Error evaluate(mlir::Operation *op);
  void evaluateAlign(AlignDocumentsOp op);
  Storage evaluateMove(MoveOp op);

  /// Options of pooling or of its gradient, which share the attributes.
  template <typename Op>
  ref::PoolOptions getPoolOptions(Op op) {
    return {toPool(op.getKind()), int64_t(op.getWindow()), int64_t(op.getStride()),
            op.getTail() == Tail::Keep ? ref::Tail::Keep : ref::Tail::Drop, getBounds(op)};
  }

  /// Operations with one result.
  std::optional<Storage> evaluateSingle(mlir::Operation *op);
  Storage evaluateBlockScore(BlockScoreOp op);

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
    attend.starts = op.getStarts() ? &getIndices(op.getStarts()) : nullptr;
    return attend;
  }

  void evaluateAttend(AttendOp op);

  /// What differentiation writes; false for other operations.
  bool evaluateGradients(mlir::Operation *op);
  void evaluateGateDelta(GateDeltaOp op);
  ref::Tensor evaluateSettle(SettleTilesOp op);
  ref::Tensor evaluateGatherGradTiles(GatherGradTilesOp op);
  ref::Tensor evaluateRegroupScored(RegroupScoredOp op);
  ref::IndexTensor evaluateSelectScored(SelectScoredOp op);

  /// What fusion writes; false for other operations.
  bool evaluateFused(mlir::Operation *op);

  /// Of either operation, with and without a slot map.
  template <typename Op>
  ref::Tensor evaluateScatterGrad(Op op) {
    const ref::Tensor &dy = get(op.getDy());
    return ref::scatterGrad(dy, getIndices(op.getIndices()),
                            {dy.dim(2), int64_t(op.getLevels()), int64_t(op.getFactor()), getDocuments(op)});
  }
  void evaluateAttendGrad(AttendGradOp op);
  llvm::Error call(LaunchOp launch);
  ProgramOp program;
  InterpreterOptions options;
  llvm::DenseMap<mlir::Value, Storage> values;
};

} // namespace fresnel

#endif // FRESNEL_INTERPRETER_EVALUATION_H
