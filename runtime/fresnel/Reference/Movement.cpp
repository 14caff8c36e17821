//===- Movement.cpp - gather, scatter, fold, unfold -------------------------===//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//

#include "fresnel/Reference/Movement.h"
#include "fresnel/Reference/Parallel.h"
#include "fresnel/Reference/Pooling.h"
#include <algorithm>
#include <functional>

using namespace fresnel;
using namespace fresnel::ref;

Tensor ref::gather(const Tensor &x, const IndexTensor &indices) {
  int64_t heads = std::max(x.dim(1), indices.dim(1)), slots = indices.dim(2), depth = x.dim(3);
  int64_t group = heads / x.dim(1), sharing = heads / indices.dim(1);
  Tensor out({indices.dim(0), heads, slots, depth});
  parallelFor(indices.dim(0) * heads, [&](int64_t bh) {
    int64_t b = bh / heads, h = bh % heads;
    for (int64_t s = 0; s < slots; ++s)
      if (int64_t row = indices.plane(b, h / sharing)[s]; row >= 0)
        std::copy_n(x.plane(b, h / group) + row * depth, depth, out.plane(b, h) + s * depth);
  });
  return out;
}

Tensor ref::scatter(const Tensor &x, const IndexTensor &indices, const ScatterOptions &options) {
  int64_t slots = x.dim(2), depth = x.dim(3), sharing = x.dim(1) / indices.dim(1);
  std::vector<std::vector<LevelPart>> parts =
      pyramidParts(options.seqLen, options.levels, options.factor, options.documents);
  Tensor out({x.dim(0), x.dim(1), options.seqLen, depth});
  parallelFor(x.dim(0) * x.dim(1), [&](int64_t bh) {
    std::vector<int64_t> slotOf(parts.back().back().first + parts.back().back().count, -1);
    for (int64_t s = 0; s < slots; ++s)
      if (int64_t entry = indices.plane(0, bh / sharing)[s]; entry >= 0)
        slotOf[entry] = s;
    std::vector<double> sum(depth);
    for (const std::vector<LevelPart> &part : parts)
      for (int64_t j = 0; j < part[0].count; ++j) {
        std::fill(sum.begin(), sum.end(), 0.0);
        for (int64_t l = 0, window = 1; l < options.levels && j >= window - 1; ++l, window *= options.factor)
          if (int64_t slot = slotOf[part[l].first + (j - window + 1) / window]; slot >= 0)
            for (int64_t d = 0; d < depth; ++d)
              sum[d] += x.plane(0, bh)[slot * depth + d];
        std::copy(sum.begin(), sum.end(), out.plane(0, bh) + (part[0].first + j) * depth);
      }
  });
  return out;
}

/// Calls `move(unfolded, folded, width)` with the places of every row, of `width` values, and of each of its copies.
static void forFoldedRows(const Tensor &plain, const Tensor &folded, int64_t factor, int64_t repeat,
                          const std::function<void(int64_t, int64_t, int64_t)> &move) {
  int64_t heads = plain.dim(1), length = plain.dim(2), rows = folded.dim(2), width = plain.planeSize() / length;
  parallelFor(plain.dim(0) * heads, [&](int64_t plane) {
    int64_t b = plane / heads, h = plane % heads;
    for (int64_t n = 0; n < length; ++n)
      for (int64_t copy = 0; copy < repeat; ++copy) {
        int64_t head = ((b * factor + n % factor) * heads + h) * repeat + copy;
        move((plane * length + n) * width, (head * rows + n / factor) * width, width);
      }
  });
}

Tensor ref::fold(const Tensor &x, int64_t factor, int64_t repeat) {
  std::vector<int64_t> shape = x.shape;
  shape[1] *= factor * repeat;
  shape[2] = (shape[2] + factor - 1) / factor;
  Tensor out(shape);
  forFoldedRows(x, out, factor, repeat, [&](int64_t from, int64_t to, int64_t width) {
    std::copy_n(x.data.data() + from, width, out.data.data() + to);
  });
  return out;
}

Tensor ref::unfold(const Tensor &x, int64_t factor, int64_t seqLen, int64_t repeat) {
  std::vector<int64_t> shape = x.shape;
  shape[1] /= factor * repeat;
  shape[2] = seqLen;
  Tensor out(shape);
  forFoldedRows(out, x, factor, repeat, [&](int64_t to, int64_t from, int64_t width) {
    for (int64_t i = 0; i < width; ++i)
      out.data[size_t(to + i)] += x.data[size_t(from + i)];
  });
  return out;
}
