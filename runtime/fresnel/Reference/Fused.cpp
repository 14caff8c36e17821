//===- Fused.cpp - What fusion makes of pyramids and selections -----------===//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//

#include "fresnel/Reference/Fused.h"
#include "fresnel/Reference/Parallel.h"
#include <algorithm>

using namespace fresnel;
using namespace fresnel::ref;

IndexTensor ref::invertSelection(const IndexTensor &indices, int64_t rows) {
  IndexTensor slots({indices.dim(0), indices.dim(1), rows}, -1);
  parallelFor(indices.dim(0) * indices.dim(1), [&](int64_t plane) {
    for (int64_t s = 0; s < indices.dim(2); ++s)
      if (int64_t row = indices.plane(0, plane)[s]; row >= 0)
        slots.plane(0, plane)[row] = int32_t(s);
  });
  return slots;
}

Tensor ref::poolLevels(const Tensor &x, const PyramidOptions &options) {
  Tensor all = pyramid(x, options);
  int64_t skipped = x.planeSize(), kept = all.planeSize() - skipped;
  Tensor out({x.dim(0), x.dim(1), kept / x.dim(3), x.dim(3)});
  for (int64_t plane = 0; plane < x.dim(0) * x.dim(1); ++plane)
    std::copy_n(all.plane(0, plane) + skipped, kept, out.plane(0, plane));
  return out;
}

Tensor ref::gatherLevels(const Tensor &base, const Tensor &tail, const IndexTensor &indices) {
  int64_t heads = std::max(base.dim(1), indices.dim(1)), slots = indices.dim(2), depth = base.dim(3);
  int64_t group = heads / base.dim(1), sharing = heads / indices.dim(1);
  Tensor out({indices.dim(0), heads, slots, depth});
  parallelFor(indices.dim(0) * heads, [&](int64_t plane) {
    int64_t b = plane / heads, h = plane % heads / group;
    for (int64_t s = 0; s < slots; ++s) {
      int64_t row = indices.plane(0, plane / sharing)[s], below = row - base.dim(2);
      if (row >= 0)
        std::copy_n(below < 0 ? base.plane(b, h) + row * depth : tail.plane(b, h) + below * depth, depth,
                    out.plane(0, plane) + s * depth);
    }
  });
  return out;
}

Tensor ref::scatterBySlots(const Tensor &x, const IndexTensor &slots, const ScatterOptions &options) {
  int64_t depth = x.dim(3), sharing = x.dim(1) / slots.dim(1);
  std::vector<std::vector<LevelPart>> parts =
      pyramidParts(options.seqLen, options.levels, options.factor, options.documents);
  Tensor out({x.dim(0), x.dim(1), options.seqLen, depth});
  parallelFor(x.dim(0) * x.dim(1), [&](int64_t plane) {
    std::vector<double> sum(size_t(depth), 0.0);
    const int32_t *slotOf = slots.plane(0, plane / sharing);
    for (const std::vector<LevelPart> &part : parts)
      for (int64_t j = 0; j < part[0].count; ++j) {
        std::fill(sum.begin(), sum.end(), 0.0);
        for (int64_t l = 0, window = 1; l < options.levels && j >= window - 1; ++l, window *= options.factor)
          if (int64_t slot = slotOf[part[size_t(l)].first + (j - window + 1) / window]; slot >= 0)
            for (int64_t d = 0; d < depth; ++d)
              sum[size_t(d)] += x.plane(0, plane)[slot * depth + d];
        std::copy(sum.begin(), sum.end(), out.plane(0, plane) + (part[0].first + j) * depth);
      }
  });
  return out;
}

Tensor ref::gatherGradBySlots(const Tensor &dy, const IndexTensor &slots, int64_t heads,
                              const ScatterOptions &options) {
  int64_t depth = dy.dim(3), group = dy.dim(1) / heads, sharing = dy.dim(1) / slots.dim(1);
  std::vector<std::vector<LevelPart>> parts =
      pyramidParts(options.seqLen, options.levels, options.factor, options.documents);
  Tensor dx({dy.dim(0), heads, options.seqLen, depth});
  parallelFor(dy.dim(0) * heads, [&](int64_t plane) {
    int64_t b = plane / heads, first = plane % heads * group;
    std::vector<double> sum(size_t(depth), 0.0);
    for (const std::vector<LevelPart> &part : parts)
      for (int64_t j = 0; j < part[0].count; ++j) {
        std::fill(sum.begin(), sum.end(), 0.0);
        for (int64_t h = first; h < first + group; ++h)
          for (int64_t l = 0, window = 1; l < options.levels; ++l, window *= options.factor) {
            int64_t index = j / window, count = std::min(window, part[0].count - index * window);
            if (int64_t slot = slots.plane(b, h / sharing)[part[size_t(l)].first + index]; slot >= 0)
              for (int64_t d = 0; d < depth; ++d)
                sum[size_t(d)] += dy.plane(b, h)[slot * depth + d] / double(count);
          }
        std::copy(sum.begin(), sum.end(), dx.plane(0, plane) + (part[0].first + j) * depth);
      }
  });
  return dx;
}
