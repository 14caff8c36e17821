//===- GateDeltaToTile.cpp - What gradients of gated attention read -------===//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//

#include "fresnel/Conversion/GateMath.h"
#include "fresnel/Conversion/RowProducts.h"
#include "fresnel/Conversion/ToTile.h"

using namespace mlir;
using namespace fresnel;

namespace {

using Row = RowProducts::Row;
using Form = GateDeltaOp::Form;

/// Chunks of rows that a thread has in flight.
constexpr int64_t kLoads = 8;

class GateDelta {
public:
  GateDelta(GateDeltaOp op, KernelBuilder &builder)
      : b(builder), op(op), type(cast<RankedTensorType>(op.getDy().getType())), count(op.getNumBranches()),
        length(type.getDimSize(2)), padded(length),
        products(type, builder, std::max<int64_t>(1, llvm::bit_floor(uint64_t(kLoads / (count + 1)))),
                 /*headsFirst=*/true) {
    unsigned lse = 2 + count, first = op->getNumOperands(), result = first + 1;
    for (unsigned i = 0; i < count; ++i) {
      Form form = op.getForm(i);
      if (form == Form::Stats)
        padded = cast<RankedTensorType>(op->getResult(result - first).getType()).getDimSize(3);
      branches.push_back({form, form == Form::Gradient ? 0 : lse++, result});
      result += form == Form::Delta ? 2 : 1;
    }
  }

  void write(const KernelRequest &request) {
    kernel = b.beginKernel(request.getName(), request.getArgumentTypes(), kRowThreads, products.grid(padded));
    SmallVector<Val> outs;
    for (unsigned i = 0; i < count; ++i)
      outs.push_back(argument(2 + i));
    products.forEachRow(
        outs, argument(1), padded, [&](Row at) { return read(at); },
        [&](Row at, ArrayRef<Val> deltas, ArrayRef<Val> values) { writeRow(at, deltas, values); });
    for (unsigned i = 0; i < count; ++i)
      if (branches[i].form == Form::Gradient)
        writeGradient(i);
  }

private:
  struct Branch {
    Form form;
    /// Arguments.
    unsigned lse, result;
  };

  Val argument(unsigned index) { return b.argument(kernel, index); }

  Val loadGate(Row at, unsigned branch) {
    return b.cast(b.load(argument(0), {at.batch, at.head, at.near, b.i32(branch)}), b.getF32Type());
  }

  /// The gates of a row, then its LSEs; 0 for branches without.
  SmallVector<Val> read(Row at) {
    SmallVector<Val> values;
    for (unsigned i = 0; i < count; ++i)
      values.push_back(loadGate(at, i));
    for (const Branch &branch : branches)
      values.push_back(branch.lse ? b.load(argument(branch.lse), {at.batch, at.head, at.near}) : b.f32(0));
    return values;
  }

  void writeRow(Row at, ArrayRef<Val> deltas, ArrayRef<Val> values) {
    ArrayRef<Val> gates = values.take_front(count), lses = values.drop_front(count);
    auto writeInside = [&] {
      for (unsigned i = 0; i < count; ++i) {
        writeGate(at, i, gates[i], deltas[i]);
        if (branches[i].form == Form::Delta)
          writeDelta(at, branches[i].result, gates[i], lses[i], deltas[i]);
      }
    };
    Val inside = at.row < double(length);
    padded > length ? b.ifThen(inside, writeInside) : writeInside();
    for (unsigned i = 0; i < count; ++i)
      if (branches[i].form == Form::Stats)
        writeStats(at, inside, branches[i].result, gates[i], lses[i], deltas[i]);
  }

  void writeGate(Row at, unsigned branch, Val gate, Val delta) {
    Val weight = activate(b, op.getActivation(), gate);
    Type element = op.getGates().getType().getElementType();
    b.store(b.cast(delta * (weight * (1.0 - weight)), element), argument(op->getNumOperands()),
            {at.batch, at.head, at.row, b.i32(branch)});
  }

  void writeDelta(Row at, unsigned result, Val gate, Val lse, Val delta) {
    // An infinite gate would make NaN of the LSE of a row without keys.
    Val gated = b.select(lse == -INFINITY, lse, lse + negativeLogSigmoid(b, gate));
    b.store(gated, argument(result), {at.batch, at.head, at.row});
    b.store(delta, argument(result + 1), {at.batch, at.head, at.row});
  }

  void writeStats(Row at, Val inside, unsigned result, Val gate, Val lse, Val delta) {
    Val open = inside & (lse > -INFINITY), gated = (lse + negativeLogSigmoid(b, gate)) * M_LOG2E;
    b.store(b.select(open, gated, b.f32(INFINITY)), argument(result), {at.batch, at.head, b.i32(0), at.row});
    b.store(b.select(inside, delta, b.f32(0)), argument(result), {at.batch, at.head, b.i32(1), at.row});
  }

  /// The gradient of a branch that needs its own.
  void writeGradient(unsigned branch) {
    int64_t width = getVectorWidth(type.getElementType());
    products.forEachChunk([&](Row at, Val column) {
      Val weight = activate(b, op.getActivation(), loadGate(at, branch));
      SmallVector<Val> place{at.batch, at.head, at.row, column}, scaled;
      for (Val value : widen(b, b.load(argument(1), place, width), width))
        scaled.push_back(value * weight);
      b.store(narrow(b, scaled, type.getElementType()), argument(branches[branch].result), place);
    });
  }

  KernelBuilder &b;
  GateDeltaOp op;
  RankedTensorType type;
  unsigned count;
  /// Rows, and those that something is written for.
  int64_t length, padded;
  RowProducts products;
  SmallVector<Branch> branches;
  tile::KernelOp kernel;
};

} // namespace

LogicalResult fresnel::lowerGateDelta(GateDeltaOp op, const KernelRequest &request, KernelBuilder &b) {
  GateDelta(op, b).write(request);
  return success();
}
