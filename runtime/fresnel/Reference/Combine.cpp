//===- Combine.cpp - merge and gate -----------------------------------------===//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//

#include "fresnel/Reference/Combine.h"
#include "fresnel/Reference/Parallel.h"
#include <algorithm>
#include <cmath>
#include <limits>

using namespace fresnel;
using namespace fresnel::ref;

AttendResult ref::merge(const std::vector<AttendResult> &parts) {
  constexpr double masked = -std::numeric_limits<double>::infinity();
  AttendResult result = {Tensor(parts[0].out.shape), Tensor(parts[0].lse.shape)};
  int64_t depth = result.out.dim(3);
  parallelFor(result.lse.elements(), [&](int64_t row) {
    double top = masked, sum = 0;
    for (const AttendResult &part : parts)
      top = std::isnan(part.lse.data[row]) ? part.lse.data[row] : std::max<double>(top, part.lse.data[row]);
    for (const AttendResult &part : parts)
      sum += top == masked ? 0.0 : std::exp(part.lse.data[row] - top);
    double lse = top == masked ? masked : top + std::log(sum);
    result.lse.data[row] = static_cast<float>(lse);
    for (int64_t d = 0; d < depth && lse != masked; ++d) {
      double value = 0;
      for (const AttendResult &part : parts)
        value += std::exp(part.lse.data[row] - lse) * part.out.data[row * depth + d];
      result.out.data[row * depth + d] = static_cast<float>(value);
    }
  });
  return result;
}

Tensor ref::gate(const std::vector<Tensor> &branches, const Tensor &gates, const GateOptions &options) {
  Tensor out(branches[0].shape);
  int64_t depth = out.dim(3), count = static_cast<int64_t>(branches.size());
  parallelFor(out.elements() / depth, [&](int64_t row) {
    std::vector<double> weights(count);
    for (int64_t i = 0; i < count; ++i) {
      double g = gates.data[row * count + i];
      weights[i] = options.activation == Activation::Sigmoid ? 1.0 / (1.0 + std::exp(-g)) : g;
    }
    for (int64_t d = 0; d < depth; ++d) {
      double value = 0;
      for (int64_t i = 0; i < count; ++i)
        value += weights[i] * branches[i].data[row * depth + d];
      out.data[row * depth + d] = static_cast<float>(value);
    }
  });
  return out;
}
