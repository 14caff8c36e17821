//===- Gradients.cpp - Vector-Jacobian products, written in the dialect ---===//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//

#include "fresnel/Dialect/Infer.h"

using namespace mlir;
using namespace fresnel;

/// Rows and LSE go together: kernels start from the gradient of the rows.
static LogicalResult requireRows(Operation *op, ValueRange results) {
  if (results[0])
    return success();
  return op->emitOpError() << "has a gradient through its LSE only; let an output that is differentiated depend on "
                              "its rows too";
}

LogicalResult AttendOp::buildGradients(OpBuilder &builder, ValueRange results, SmallVectorImpl<Value> &operands) {
  if (failed(requireRows(*this, results)))
    return failure();
  Value delta = AttendDeltaOp::create(builder, getLoc(), getOut(), results[0], results[1]);
  SmallVector<Value> inputs{getQ(), getK(), getV(), getLse(), delta, results[0]};
  inputs.append(getMasks().begin(), getMasks().end());
  auto dq = AttendGradQOp::create(builder, getLoc(), inputs, (*this)->getAttrs());
  auto dkv = AttendGradKvOp::create(builder, getLoc(), inputs, (*this)->getAttrs());
  operands.append({dq.getDq(), dkv.getDk(), dkv.getDv()});
  operands.resize(getNumOperands());
  return success();
}

LogicalResult MergeOp::buildGradients(OpBuilder &builder, ValueRange results, SmallVectorImpl<Value> &operands) {
  if (failed(requireRows(*this, results)))
    return failure();
  SmallVector<Value> lses;
  for (auto [part, lse] : llvm::zip(getOuts(), getLses())) {
    auto gradient = MergeGradOp::create(builder, getLoc(), part, lse, getOut(), getLse(), results[0], results[1]);
    operands.push_back(gradient.getDpart());
    lses.push_back(gradient.getDpartLse());
  }
  operands.append(lses);
  return success();
}

LogicalResult GateOp::buildGradients(OpBuilder &builder, ValueRange results, SmallVectorImpl<Value> &operands) {
  auto gradient = GateGradOp::create(builder, getLoc(), getBranches(), getGates(), results[0], getActivation());
  operands.append(gradient->result_begin(), gradient->result_end());
  return success();
}

/// What a maximum reads again, null for a mean.
template <typename Op>
static Value getPooled(Op op) {
  return op.getKind() == PoolKind::Max ? op.getX() : Value();
}

LogicalResult PoolOp::buildGradients(OpBuilder &builder, ValueRange results, SmallVectorImpl<Value> &operands) {
  SmallVector<Value> more;
  for (Value value : {getPooled(*this), Value(getDocuments())})
    if (value)
      more.push_back(value);
  operands.push_back(PoolGradOp::create(builder, getLoc(), getKind(), results[0], more, getTensor(getX()).getDimSize(2),
                                        getWindow(), getStride(), getTail()));
  operands.resize(getNumOperands());
  return success();
}

LogicalResult PyramidOp::buildGradients(OpBuilder &builder, ValueRange results, SmallVectorImpl<Value> &operands) {
  operands.push_back(PyramidGradOp::create(builder, getLoc(), getKind(), results[0], getPooled(*this),
                                           getTensor(getX()).getDimSize(2), getLevels(), getFactor(), getDocuments()));
  return success();
}

LogicalResult UnpoolOp::buildGradients(OpBuilder &builder, ValueRange results, SmallVectorImpl<Value> &operands) {
  operands.push_back(UnpoolGradOp::create(builder, getLoc(), results[0], getWindow()));
  return success();
}

LogicalResult FoldOp::buildGradients(OpBuilder &builder, ValueRange results, SmallVectorImpl<Value> &operands) {
  operands.push_back(
      UnfoldOp::create(builder, getLoc(), results[0], getFactor(), getTensor(getX()).getDimSize(2), getRepeat()));
  return success();
}

LogicalResult UnfoldOp::buildGradients(OpBuilder &builder, ValueRange results, SmallVectorImpl<Value> &operands) {
  operands.push_back(FoldOp::create(builder, getLoc(), results[0], getFactor(), getRepeat()));
  return success();
}

LogicalResult GatherOp::buildGradients(OpBuilder &builder, ValueRange results, SmallVectorImpl<Value> &operands) {
  RankedTensorType x = getTensor(getX());
  operands.append(
      {GatherGradOp::create(builder, getLoc(), results[0], getIndices(), x.getDimSize(1), x.getDimSize(2)), Value()});
  return success();
}

LogicalResult MoveOp::buildGradients(OpBuilder &builder, ValueRange results, SmallVectorImpl<Value> &operands) {
  operands.append({MoveOp::create(builder, getLoc(), results[0], getTo(), getFrom()), Value(), Value()});
  return success();
}

LogicalResult ScatterOp::buildGradients(OpBuilder &builder, ValueRange results, SmallVectorImpl<Value> &operands) {
  operands.append(
      {ScatterGradOp::create(builder, getLoc(), results[0], getIndices(), getLevels(), getFactor(), getDocuments()),
       Value()});
  return success();
}
