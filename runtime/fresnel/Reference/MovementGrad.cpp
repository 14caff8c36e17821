//===- MovementGrad.cpp - Gradients of gather and scatter -----------------===//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//

#include "fresnel/Reference/Gradients.h"
#include "fresnel/Reference/Parallel.h"
#include <algorithm>

using namespace fresnel;
using namespace fresnel::ref;

Tensor ref::gatherGrad(const Tensor &dy, const IndexTensor &indices, int64_t heads, int64_t rows) {
  int64_t slots = dy.dim(2), depth = dy.dim(3), group = dy.dim(1) / heads, sharing = dy.dim(1) / indices.dim(1);
  Tensor dx({dy.dim(0), heads, rows, depth});
  parallelFor(dy.dim(0) * heads, [&](int64_t plane) {
    std::vector<double> sums(size_t(rows * depth), 0.0);
    int64_t b = plane / heads, first = plane % heads * group;
    for (int64_t h = first; h < first + group; ++h)
      for (int64_t s = 0; s < slots; ++s)
        if (int64_t row = indices.plane(b, h / sharing)[s]; row >= 0)
          for (int64_t d = 0; d < depth; ++d)
            sums[size_t(row * depth + d)] += dy.plane(b, h)[s * depth + d];
    std::copy(sums.begin(), sums.end(), dx.plane(0, plane));
  });
  return dx;
}

Tensor ref::scatterGrad(const Tensor &dy, const IndexTensor &indices, const ScatterOptions &options) {
  int64_t slots = indices.dim(2), length = dy.dim(2), depth = dy.dim(3), sharing = dy.dim(1) / indices.dim(1);
  std::vector<std::vector<LevelPart>> parts = pyramidParts(length, options.levels, options.factor, options.documents);
  std::vector<int64_t> offsets = pyramidOffsets(length, options.levels, options.factor, options.documents);
  Tensor dx({dy.dim(0), dy.dim(1), slots, depth});
  parallelFor(dy.dim(0) * dy.dim(1) * slots, [&](int64_t index) {
    int64_t entry = indices.plane(0, index / slots / sharing)[index % slots], window = 1;
    if (entry < 0)
      return;
    size_t level = 0;
    for (; entry >= offsets[level + 1]; ++level)
      window *= options.factor;
    auto part = std::find_if(parts.begin(), parts.end(), [&](const std::vector<LevelPart> &document) {
      return entry < document[level].first + document[level].count;
    });
    int64_t start = (*part)[0].first, end = start + (*part)[0].count;
    int64_t first = start + (entry - (*part)[level].first) * window + window - 1;
    for (int64_t d = 0; d < depth; ++d) {
      double sum = 0;
      for (int64_t j = first; j < std::min(first + window, end); ++j)
        sum += dy.plane(0, index / slots)[j * depth + d];
      dx.data[size_t(index * depth + d)] = float(sum);
    }
  });
  return dx;
}
