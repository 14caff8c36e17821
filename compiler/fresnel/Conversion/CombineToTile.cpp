//===- CombineToTile.cpp - Branches and parts put together, and back ------===//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
//
// `gate` and `merge`: each thread owns 16-byte chunks and adds the weighted
// branches in f32. Their gradients have a product of rows, too: a team of lanes
// owns a row and sums across its lanes in a butterfly.
//
//===----------------------------------------------------------------------===//

#include "fresnel/Conversion/GateMath.h"
#include "fresnel/Conversion/RowKernel.h"
#include "fresnel/Conversion/ToTile.h"
#include <cmath>

using namespace mlir;
using namespace fresnel;

namespace {

using Values = SmallVector<Val>;

/// exp(part - lse), 0 where the sum is empty.
Val weigh(KernelBuilder &b, Val part, Val lse) {
  return b.select(lse == -INFINITY, b.f32(0), exponential(b, part - lse));
}

/// A team of lanes owns each row of a [batch, head, sequence, head_dim] tensor.
class TeamRows {
public:
  TeamRows(ArrayRef<int64_t> shape, Type element)
      : shape(shape), element(element), width(getVectorWidth(element)), chunks(shape[3] / width),
        lanes(std::min<int64_t>(32, llvm::PowerOf2Ceil(chunks))), parts(llvm::divideCeil(chunks, lanes)) {}

  tile::KernelOp begin(KernelBuilder &b, const KernelRequest &request) {
    int64_t perBlock = kRowThreads / lanes;
    auto kernel = b.beginKernel(request.getName(), request.getArgumentTypes(), kRowThreads,
                                {int64_t(llvm::divideCeil(shape[2], perBlock)) * shape[1], 1, shape[0]});
    Val thread = b.id(tile::Id::Thread), block = b.id(tile::Id::BlockX);
    lane = thread % double(lanes);
    batch = b.id(tile::Id::BlockZ);
    head = block % double(shape[1]);
    Val place = block / double(shape[1]) * double(perBlock) + thread / double(lanes);
    // Lanes without a row do the last one's work, as all take part in shuffles, and store nothing.
    exists = place < b.i32(shape[2]);
    row = b.min(place, b.i32(shape[2] - 1));
    leads = exists & (lane == 0.0);
    return kernel;
  }

  /// The chunks of a lane, one after the other; zeros where there is none.
  SmallVector<Values> load(KernelBuilder &b, Val source) {
    SmallVector<Values> rows;
    for (int64_t part = 0; part < parts; ++part) {
      Val chunk = lane + double(part * lanes);
      Values values =
          widen(b, b.load(source, {batch, head, row, b.min(chunk, b.i32(chunks - 1)) * double(width)}, width), width);
      if (chunks % lanes)
        for (Val &value : values)
          value = b.select(chunk < double(chunks), value, b.f32(0));
      rows.push_back(values);
    }
    return rows;
  }

  /// Stores the chunks times `weight`.
  void storeScaled(KernelBuilder &b, ArrayRef<Values> rows, Val weight, Val target) {
    for (auto [part, values] : llvm::enumerate(rows)) {
      Val chunk = lane + double(int64_t(part) * lanes);
      Values scaled;
      for (Val value : values)
        scaled.push_back(value * weight);
      b.ifThen(exists & (chunk < double(chunks)),
               [&] { b.store(narrow(b, scaled, element), target, {batch, head, row, chunk * double(width)}); });
    }
  }

  /// The sum over the row of `x` times `y`, in all lanes of the team.
  Val multiply(KernelBuilder &b, ArrayRef<Values> x, ArrayRef<Values> y) {
    Val sum = b.f32(0);
    for (auto [left, right] : llvm::zip(x, y))
      for (auto [a, c] : llvm::zip(left, right))
        sum = b.fma(a, c, sum);
    for (int64_t mask = lanes / 2; mask > 0; mask /= 2)
      sum = sum + b.shuffleXor(sum, mask);
    return sum;
  }

  Val batch, head, row, lane, exists, leads;

private:
  ArrayRef<int64_t> shape;
  Type element;
  int64_t width, chunks, lanes, parts;
};

/// A grid whose threads add weighted chunks of operands 0 .. count - 1; `weigh`
/// gives a row's weights and may store what belongs to the row.
void writeWeightedSum(KernelBuilder &b, const KernelRequest &request, unsigned count, unsigned result,
                      function_ref<Values(tile::KernelOp, const RowBatch::Place &, size_t)> weigh) {
  auto type = cast<RankedTensorType>(request.op->getResult(0).getType());
  RowBatch grid(type.getShape(), type.getElementType(), /*perThread=*/2);
  auto kernel = b.beginKernel(request.getName(), request.getArgumentTypes(), grid.threads(), grid.grid());
  RowBatch::Place place = grid.locate(b);
  int64_t width = grid.one.width;
  auto at = [&](size_t i) { return Values{place.batch, place.head, place.rows[i], place.column}; };
  SmallVector<Values> raw(place.rows.size());
  for (size_t i = 0; i < raw.size(); ++i)
    for (unsigned branch = 0; branch < count; ++branch)
      raw[i].push_back(b.load(b.argument(kernel, branch), at(i), width));
  for (size_t i = 0; i < raw.size(); ++i) {
    Values weights = weigh(kernel, place, i), sum(width, b.f32(0));
    for (auto [weight, row] : llvm::zip(weights, raw[i]))
      for (auto [total, value] : llvm::zip(sum, widen(b, row, width)))
        total = b.fma(weight, value, total);
    grid.ifInside(b, place, i,
                  [&] { b.store(narrow(b, sum, type.getElementType()), b.argument(kernel, result), at(i)); });
  }
}

} // namespace

LogicalResult fresnel::lowerGate(GateOp op, const KernelRequest &request, KernelBuilder &b) {
  unsigned count = op.getBranches().size();
  writeWeightedSum(b, request, count, count + 1, [&](tile::KernelOp kernel, const RowBatch::Place &place, size_t i) {
    Values weights;
    for (unsigned branch = 0; branch < count; ++branch) {
      Val gate = b.load(b.argument(kernel, count), {place.batch, place.head, place.rows[i], b.i32(branch)});
      weights.push_back(activate(b, op.getActivation(), b.cast(gate, b.getF32Type())));
    }
    return weights;
  });
  return success();
}

LogicalResult fresnel::lowerMerge(MergeOp op, const KernelRequest &request, KernelBuilder &b) {
  unsigned count = op.getOuts().size();
  writeWeightedSum(b, request, count, 2 * count, [&](tile::KernelOp kernel, const RowBatch::Place &place, size_t i) {
    Values lses;
    for (unsigned part = 0; part < count; ++part)
      lses.push_back(b.load(b.argument(kernel, count + part), {place.batch, place.head, place.rows[i]}));
    Val top = lses.front(), sum = b.f32(0);
    for (Val lse : ArrayRef(lses).drop_front())
      top = b.max(top, lse);
    Val empty = top == -INFINITY, reference = b.select(empty, b.f32(0), top);
    for (Val lse : lses)
      sum = sum + exponential(b, lse - reference);
    Val lse = b.select(empty, b.f32(-INFINITY), reference + b.log2(sum) * M_LN2);
    b.ifThen(place.inside[i] & (place.column == 0.0),
             [&] { b.store(lse, b.argument(kernel, 2 * count + 1), {place.batch, place.head, place.rows[i]}); });
    Values weights;
    for (Val part : lses)
      weights.push_back(weigh(b, part, lse));
    return weights;
  });
  return success();
}

LogicalResult fresnel::lowerGateGrad(GateGradOp op, const KernelRequest &request, KernelBuilder &b) {
  auto dy = cast<RankedTensorType>(op.getDy().getType());
  Type gateType = cast<RankedTensorType>(op.getGates().getType()).getElementType();
  unsigned count = op.getBranches().size();
  TeamRows team(dy.getShape(), dy.getElementType());
  tile::KernelOp kernel = team.begin(b, request);
  SmallVector<Values> gradient = team.load(b, b.argument(kernel, count + 1));
  for (unsigned branch = 0; branch < count; ++branch) {
    SmallVector<Val> place{team.batch, team.head, team.row, b.i32(branch)};
    Val gate = b.cast(b.load(b.argument(kernel, count), place), b.getF32Type());
    Val weight = activate(b, op.getActivation(), gate);
    Val product = team.multiply(b, team.load(b, b.argument(kernel, branch)), gradient);
    if (op.getActivation() == Activation::Sigmoid)
      product = product * (weight * (1.0 - weight));
    team.storeScaled(b, gradient, weight, b.argument(kernel, count + 2 + branch));
    b.ifThen(team.leads, [&] { b.store(b.cast(product, gateType), b.argument(kernel, 2 * count + 2), place); });
  }
  return success();
}

LogicalResult fresnel::lowerMergeGrad(MergeGradOp op, const KernelRequest &request, KernelBuilder &b) {
  auto dout = cast<RankedTensorType>(op.getDout().getType());
  TeamRows team(dout.getShape(), dout.getElementType());
  tile::KernelOp kernel = team.begin(b, request);
  auto argument = [&](unsigned index) { return b.argument(kernel, index); };
  unsigned results = op.getDlse() ? 6 : 5;
  SmallVector<Val> place{team.batch, team.head, team.row};
  Val lse = b.load(argument(3), place), weight = weigh(b, b.load(argument(1), place), lse);
  SmallVector<Values> gradient = team.load(b, argument(4)), difference = team.load(b, argument(0));
  for (auto [part, merged] : llvm::zip(difference, team.load(b, argument(2))))
    for (auto [value, other] : llvm::zip(part, merged))
      value = value - other;
  Val sum = team.multiply(b, gradient, difference);
  if (op.getDlse())
    sum = sum + b.load(argument(5), place);
  // Nothing flows where the row is empty, whatever the gradient holds.
  sum = b.select(lse == -INFINITY, b.f32(0), sum * weight);
  team.storeScaled(b, gradient, weight, argument(results));
  b.ifThen(team.leads, [&] { b.store(sum, argument(results + 1), place); });
  return success();
}
