//===- Pooling.cpp - pool, pyramid, norm, unpool ----------------------------===//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//

#include "fresnel/Reference/Pooling.h"
#include "fresnel/Reference/Parallel.h"
#include <algorithm>
#include <cmath>
#include <limits>

using namespace fresnel;
using namespace fresnel::ref;

static int64_t ceilDiv(int64_t a, int64_t b) { return (a + b - 1) / b; }

/// Row length: D of [B, H, N, D], 1 of [B, H, N].
static int64_t width(const Tensor &x) { return x.rank() == 4 ? x.dim(3) : 1; }

/// x with `count` instead of its dimension 2.
static std::vector<int64_t> withRows(const Tensor &x, int64_t count) {
  std::vector<int64_t> shape = x.shape;
  shape[2] = count;
  return shape;
}

/// Pools rows [first, last) of `width` values each.
static void poolRows(PoolKind kind, const float *x, int64_t first, int64_t last, int64_t width, float *out) {
  bool mean = kind == PoolKind::Mean;
  std::vector<double> acc(width, mean ? 0.0 : -std::numeric_limits<double>::infinity());
  for (int64_t row = first; row < last; ++row)
    for (int64_t d = 0; d < width; ++d)
      acc[d] = mean ? acc[d] + x[row * width + d] : std::max<double>(acc[d], x[row * width + d]);
  for (int64_t d = 0; d < width; ++d)
    out[d] = static_cast<float>(mean ? acc[d] / static_cast<double>(last - first) : acc[d]);
}

std::pair<int64_t, int64_t> ref::poolWindow(const PoolOptions &options, int64_t m, int64_t length) {
  int64_t first = m * (options.stride ? options.stride : options.window);
  int64_t end = std::min(first + options.window, length);
  if (options.documents)
    end = std::clamp<int64_t>(options.documents->data[size_t(length + first)], first, end);
  return {first, end};
}

Tensor ref::pool(const Tensor &x, const PoolOptions &options) {
  int64_t n = x.dim(2), cols = width(x), window = options.window;
  int64_t stride = options.stride ? options.stride : window;
  int64_t count = options.tail == Tail::Drop ? (n - window) / stride + 1
                  : n <= window              ? 1
                                             : ceilDiv(n - window, stride) + 1;
  Tensor out(withRows(x, count));
  parallelFor(x.dim(0) * x.dim(1), [&](int64_t bh) {
    for (int64_t m = 0; m < count; ++m)
      if (auto [first, end] = poolWindow(options, m, n); first < end)
        poolRows(options.kind, x.plane(0, bh), first, end, cols, out.plane(0, bh) + m * cols);
  });
  return out;
}

std::vector<std::vector<LevelPart>> ref::pyramidParts(int64_t seqLen, int64_t levels, int64_t factor,
                                                      const std::vector<int64_t> &documents) {
  std::vector<int64_t> lengths = documents.empty() ? std::vector<int64_t>{seqLen} : documents;
  std::vector<std::vector<LevelPart>> parts(lengths.size());
  int64_t next = 0;
  for (int64_t l = 0, window = 1; l < levels; ++l, window *= factor)
    for (size_t d = 0; d < lengths.size(); ++d) {
      parts[d].push_back({next, ceilDiv(lengths[d], window)});
      next += parts[d].back().count;
    }
  return parts;
}

std::vector<int64_t> ref::pyramidOffsets(int64_t seqLen, int64_t levels, int64_t factor,
                                         const std::vector<int64_t> &documents) {
  std::vector<std::vector<LevelPart>> parts = pyramidParts(seqLen, levels, factor, documents);
  std::vector<int64_t> offsets;
  for (const LevelPart &part : parts.front())
    offsets.push_back(part.first);
  offsets.push_back(parts.back().back().first + parts.back().back().count);
  return offsets;
}

Tensor ref::pyramid(const Tensor &x, const PyramidOptions &options) {
  int64_t n = x.dim(2), cols = width(x);
  std::vector<std::vector<LevelPart>> parts = pyramidParts(n, options.levels, options.factor, options.documents);
  Tensor out(withRows(x, parts.back().back().first + parts.back().back().count));
  parallelFor(x.dim(0) * x.dim(1), [&](int64_t bh) {
    const float *in = x.plane(0, bh);
    std::copy(in, in + n * cols, out.plane(0, bh));
    for (const std::vector<LevelPart> &part : parts)
      for (int64_t l = 1, window = options.factor; l < options.levels; ++l, window *= options.factor)
        for (int64_t i = 0; i < part[l].count; ++i)
          poolRows(options.kind, in + part[0].first * cols, i * window, std::min((i + 1) * window, part[0].count), cols,
                   out.plane(0, bh) + (part[l].first + i) * cols);
  });
  return out;
}

Tensor ref::norm(const Tensor &x) {
  int64_t n = x.dim(2), cols = x.dim(3);
  Tensor out({x.dim(0), x.dim(1), n});
  parallelFor(x.dim(0) * x.dim(1), [&](int64_t bh) {
    const float *in = x.plane(0, bh);
    for (int64_t row = 0; row < n; ++row) {
      double sum = 0;
      for (int64_t d = 0; d < cols; ++d)
        sum += static_cast<double>(in[row * cols + d]) * in[row * cols + d];
      out.plane(0, bh)[row] = std::sqrt(static_cast<float>(sum));
    }
  });
  return out;
}

Tensor ref::unpool(const Tensor &x, const UnpoolOptions &options) {
  int64_t cols = x.dim(3);
  Tensor out(withRows(x, options.seqLen));
  parallelFor(x.dim(0) * x.dim(1), [&](int64_t bh) {
    for (int64_t j = 0; j < options.seqLen; ++j)
      std::copy_n(x.plane(0, bh) + j / options.window * cols, cols, out.plane(0, bh) + j * cols);
  });
  return out;
}
