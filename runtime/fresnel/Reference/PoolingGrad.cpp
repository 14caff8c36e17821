//===- PoolingGrad.cpp - Gradients of pooling -----------------------------===//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//

#include "fresnel/Reference/Gradients.h"
#include "fresnel/Reference/Parallel.h"
#include <algorithm>

using namespace fresnel;
using namespace fresnel::ref;

namespace {

/// Sums in f64 over one plane of [B, H, N, D] or [B, H, N].
class Plane {
public:
  Plane(const Tensor &like, int64_t rows)
      : width(like.rank() == 4 ? like.dim(3) : 1), sums(size_t(rows * width), 0.0) {}

  /// Hands the gradient of a window over the rows [first, last) to them; `x` is that of row 0.
  void spread(PoolKind kind, const float *dy, const float *x, int64_t first, int64_t last) {
    for (int64_t d = 0; d < width; ++d) {
      if (kind == PoolKind::Mean) {
        for (int64_t row = first; row < last; ++row)
          sums[size_t(row * width + d)] += dy[d] / double(last - first);
        continue;
      }
      int64_t best = first;
      for (int64_t row = first + 1; row < last; ++row)
        if (x[row * width + d] > x[best * width + d])
          best = row;
      sums[size_t(best * width + d)] += dy[d];
    }
  }

  void write(float *out) const { std::copy(sums.begin(), sums.end(), out); }

  const int64_t width;

private:
  std::vector<double> sums;
};

} // namespace

static std::vector<int64_t> withRows(const Tensor &like, int64_t rows) {
  std::vector<int64_t> shape = like.shape;
  shape[2] = rows;
  return shape;
}

Tensor ref::poolGrad(const Tensor &dy, const Tensor *x, int64_t seqLen, const PoolOptions &options) {
  Tensor dx(withRows(dy, seqLen));
  parallelFor(dy.dim(0) * dy.dim(1), [&](int64_t plane) {
    Plane sums(dy, seqLen);
    for (int64_t m = 0; m < dy.dim(2); ++m)
      if (auto [first, end] = poolWindow(options, m, seqLen); first < end)
        sums.spread(options.kind, dy.plane(0, plane) + m * sums.width, x ? x->plane(0, plane) : nullptr, first, end);
    sums.write(dx.plane(0, plane));
  });
  return dx;
}

Tensor ref::pyramidGrad(const Tensor &dy, const Tensor *x, int64_t seqLen, const PyramidOptions &options) {
  std::vector<std::vector<LevelPart>> parts = pyramidParts(seqLen, options.levels, options.factor, options.documents);
  Tensor dx(withRows(dy, seqLen));
  parallelFor(dy.dim(0) * dy.dim(1), [&](int64_t plane) {
    Plane sums(dy, seqLen);
    for (const std::vector<LevelPart> &part : parts) {
      int64_t start = part[0].first, end = start + part[0].count;
      for (int64_t l = 0, window = 1; l < options.levels; ++l, window *= options.factor)
        for (int64_t i = 0; i < part[size_t(l)].count; ++i)
          sums.spread(options.kind, dy.plane(0, plane) + (part[size_t(l)].first + i) * sums.width,
                      x ? x->plane(0, plane) : nullptr, start + i * window, std::min(start + (i + 1) * window, end));
    }
    sums.write(dx.plane(0, plane));
  });
  return dx;
}

Tensor ref::unpoolGrad(const Tensor &dy, int64_t window) {
  int64_t length = dy.dim(2), depth = dy.dim(3), rows = (length + window - 1) / window;
  Tensor dx(withRows(dy, rows));
  parallelFor(dy.dim(0) * dy.dim(1) * rows, [&](int64_t index) {
    int64_t plane = index / rows, first = index % rows * window;
    for (int64_t d = 0; d < depth; ++d) {
      double sum = 0;
      for (int64_t j = first; j < std::min(first + window, length); ++j)
        sum += dy.plane(0, plane)[j * depth + d];
      dx.data[size_t(index * depth + d)] = float(sum);
    }
  });
  return dx;
}
