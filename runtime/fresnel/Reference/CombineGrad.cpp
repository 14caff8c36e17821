//===- CombineGrad.cpp - Gradients of merge and gate, sums ----------------===//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//

#include "fresnel/Reference/Gradients.h"
#include "fresnel/Reference/Parallel.h"
#include <cmath>
#include <limits>

using namespace fresnel;
using namespace fresnel::ref;

Tensor ref::add(const std::vector<Tensor> &terms) {
  Tensor sum(terms[0].shape);
  parallelFor(sum.dim(0) * sum.dim(1), [&](int64_t plane) {
    for (int64_t i = plane * sum.planeSize(); i < (plane + 1) * sum.planeSize(); ++i) {
      double value = 0;
      for (const Tensor &term : terms)
        value += term.data[size_t(i)];
      sum.data[size_t(i)] = float(value);
    }
  });
  return sum;
}

GateGradients ref::gateGrad(const std::vector<Tensor> &branches, const Tensor &gates, const Tensor &dy,
                            const GateOptions &options) {
  GateGradients result{std::vector<Tensor>(branches.size(), Tensor(dy.shape)), Tensor(gates.shape)};
  int64_t depth = dy.dim(3), count = int64_t(branches.size());
  parallelFor(dy.elements() / depth, [&](int64_t row) {
    for (int64_t i = 0; i < count; ++i) {
      double weight = gates.data[size_t(row * count + i)], slope = 1, sum = 0;
      if (options.activation == Activation::Sigmoid) {
        weight = 1.0 / (1.0 + std::exp(-weight));
        slope = weight * (1 - weight);
      }
      for (int64_t at = row * depth; at < (row + 1) * depth; ++at) {
        result.branches[size_t(i)].data[size_t(at)] = float(weight * dy.data[size_t(at)]);
        sum += double(branches[size_t(i)].data[size_t(at)]) * dy.data[size_t(at)];
      }
      result.gates.data[size_t(row * count + i)] = float(slope * sum);
    }
  });
  return result;
}

GateDeltas ref::gateDelta(const std::vector<Tensor> &branches, const Tensor &gates, const Tensor &dy,
                          const std::vector<const Tensor *> &lses) {
  constexpr double infinity = std::numeric_limits<double>::infinity();
  std::vector<Tensor> scores(branches.size(), Tensor({dy.dim(0), dy.dim(1), dy.dim(2)}));
  GateDeltas result{scores, scores};
  int64_t count = int64_t(branches.size());
  for (int64_t i = 0; i < count; ++i) {
    result.deltas[size_t(i)] = attendDelta(branches[size_t(i)], dy, nullptr);
    for (int64_t row = 0; lses[size_t(i)] && row < scores[0].elements(); ++row) {
      double gate = gates.data[size_t(row * count + i)], lse = lses[size_t(i)]->data[size_t(row)];
      double softplus = std::fmax(-gate, 0.0) + std::log1p(std::exp(-std::abs(gate)));
      result.lses[size_t(i)].data[size_t(row)] = float(lse == -infinity ? lse : lse + softplus);
    }
  }
  return result;
}

std::vector<AttendResult> ref::mergeGrad(const std::vector<AttendResult> &parts, const AttendResult &merged,
                                         const Tensor &dout, const Tensor *dlse) {
  std::vector<AttendResult> result(parts.size(), {Tensor(dout.shape), Tensor(merged.lse.shape)});
  int64_t depth = dout.dim(3);
  parallelFor(merged.lse.elements(), [&](int64_t row) {
    double lse = merged.lse.data[size_t(row)];
    if (lse == -std::numeric_limits<double>::infinity())
      return;
    for (size_t i = 0; i < parts.size(); ++i) {
      double weight = std::exp(parts[i].lse.data[size_t(row)] - lse), sum = dlse ? dlse->data[size_t(row)] : 0.0;
      for (int64_t at = row * depth; at < (row + 1) * depth; ++at) {
        double gradient = dout.data[size_t(at)];
        result[i].out.data[size_t(at)] = float(weight * gradient);
        sum += gradient * (double(parts[i].out.data[size_t(at)]) - merged.out.data[size_t(at)]);
      }
      result[i].lse.data[size_t(row)] = float(weight * sum);
    }
  });
  return result;
}
