//===- Attend.cpp - Softmax attention
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//

#include "fresnel/Reference/Attend.h"
#include "fresnel/Reference/AttendRow.h"
#include "fresnel/Reference/Parallel.h"
#include <algorithm>
#include <cmath>

namespace fresnel::ref {

namespace {

void computeRow(const AttendRow &row, const Tensor &v, float *out, float *lse) {
  // A score that is not a number makes the row none, as on a GPU: zeros would hide it.
  double top = -INFINITY;
  for (double score : row.scores)
    top = std::isnan(score) ? score : std::max(top, score);
  std::vector<double> sum(size_t(v.dim(3)), 0.0);
  double total = 0;
  for (size_t n = 0; top != -INFINITY && n < row.scores.size(); ++n) {
    double weight = std::exp(row.scores[n] - top);
    total += weight;
    const float *value = v.plane(0, row.getKeyPlane()) + row.visible[n] * v.dim(3);
    for (size_t d = 0; d < sum.size(); ++d)
      sum[d] += weight * double(value[d]);
  }
  for (size_t d = 0; d < sum.size(); ++d)
    out[d] = float(total == 0 ? 0.0 : sum[d] / total);
  *lse = float(total == 0 ? -INFINITY : top + std::log(total));
}

} // namespace

AttendResult attend(const Tensor &q, const Tensor &k, const Tensor &v, const AttendOptions &options) {
  int64_t heads = q.dim(1), rows = q.dim(2), width = v.dim(3), lanes = q.dim(0) * heads;
  AttendResult result{Tensor({q.dim(0), heads, rows, width}), Tensor({q.dim(0), heads, rows})};
  parallelFor(lanes * rows, [&](int64_t index) {
    // Long causal rows first, so that the cores finish together.
    int64_t i = rows - 1 - index / lanes, lane = index % lanes, at = lane * rows + i;
    computeRow(AttendRow(q, k, options, lane / heads, lane % heads, i), v, &result.out.data[size_t(at * width)],
               &result.lse.data[size_t(at)]);
  });
  return result;
}

} // namespace fresnel::ref
