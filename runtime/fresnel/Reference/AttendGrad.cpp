//===- AttendGrad.cpp - Gradients of attention ----------------------------===//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//

#include "fresnel/Reference/AttendRow.h"
#include "fresnel/Reference/Gradients.h"
#include "fresnel/Reference/Parallel.h"
#include <cmath>

using namespace fresnel;
using namespace fresnel::ref;

Tensor ref::attendDelta(const Tensor &out, const Tensor &dout, const Tensor *dlse) {
  int64_t depth = out.dim(3);
  Tensor delta({out.dim(0), out.dim(1), out.dim(2)});
  parallelFor(delta.elements(), [&](int64_t row) {
    double sum = dlse ? -double(dlse->data[size_t(row)]) : 0.0;
    for (int64_t d = row * depth; d < (row + 1) * depth; ++d)
      sum += double(out.data[size_t(d)]) * dout.data[size_t(d)];
    delta.data[size_t(row)] = float(sum);
  });
  return delta;
}

/// Calls `visit(key, p, ds)` for every key that row i of (b, head) sees: its row
/// in k and v over all batches and heads, its weight, and the gradient of the
/// product of query and key.
template <typename Visit>
static void forEachKey(const AttendGradInputs &in, const AttendOptions &options, int64_t b, int64_t head, int64_t i,
                       Visit visit) {
  AttendRow row(in.q, in.k, options, b, head, i);
  int64_t at = (b * in.q.dim(1) + head) * in.q.dim(2) + i, depth = in.v.dim(3);
  const float *gradient = &in.dout.data[size_t(at * depth)];
  std::vector<double> dout(gradient, gradient + depth);
  for (size_t n = 0; n < row.visible.size(); ++n) {
    int64_t key = row.getKeyPlane() * in.k.dim(2) + row.visible[n];
    double p = std::exp(row.scores[n] - in.lse.data[size_t(at)]);
    double dp = dot(dout.data(), &in.v.data[size_t(key * depth)], depth);
    double ds = row.getScale() * p * (dp - in.delta.data[size_t(at)]);
    if (options.softcap > 0)
      ds *= 1 - std::pow(row.scores[n] / options.softcap, 2);
    visit(key, p, ds);
  }
}

/// target += factor * row
static void accumulate(double *target, double factor, const float *row, int64_t count) {
  for (int64_t d = 0; d < count; ++d)
    target[d] += factor * row[d];
}

Tensor ref::attendGradQ(const AttendGradInputs &in, const AttendOptions &options) {
  int64_t heads = in.q.dim(1), rows = in.q.dim(2), width = in.q.dim(3);
  Tensor dq(in.q.shape);
  parallelFor(in.q.dim(0) * heads * rows, [&](int64_t index) {
    int64_t plane = index / rows;
    std::vector<double> sum(size_t(width), 0.0);
    forEachKey(in, options, plane / heads, plane % heads, index % rows, [&](int64_t key, double, double ds) {
      accumulate(sum.data(), ds, &in.k.data[size_t(key * width)], width);
    });
    std::copy(sum.begin(), sum.end(), &dq.data[size_t(index * width)]);
  });
  return dq;
}

KvGradients ref::attendGradKv(const AttendGradInputs &in, const AttendOptions &options) {
  int64_t heads = in.q.dim(1), kvHeads = in.k.dim(1), group = heads / kvHeads, rows = in.q.dim(2);
  int64_t width = in.q.dim(3), depth = in.v.dim(3), keys = in.k.dim(2);
  KvGradients result{Tensor(in.k.shape), Tensor(in.v.shape)};
  parallelFor(in.k.dim(0) * kvHeads, [&](int64_t keyPlane) {
    std::vector<double> dk(size_t(keys * width), 0.0), dv(size_t(keys * depth), 0.0);
    int64_t b = keyPlane / kvHeads, first = keyPlane % kvHeads * group;
    for (int64_t head = first; head < first + group; ++head)
      for (int64_t i = 0; i < rows; ++i) {
        int64_t at = (b * heads + head) * rows + i;
        forEachKey(in, options, b, head, i, [&](int64_t key, double p, double ds) {
          key -= keyPlane * keys;
          accumulate(&dk[size_t(key * width)], ds, &in.q.data[size_t(at * width)], width);
          accumulate(&dv[size_t(key * depth)], p, &in.dout.data[size_t(at * depth)], depth);
        });
      }
    std::copy(dk.begin(), dk.end(), result.dk.plane(0, keyPlane));
    std::copy(dv.begin(), dv.end(), result.dv.plane(0, keyPlane));
  });
  return result;
}
