//===- Grouped.cpp - queries grouped by the blocks that they list -----------===//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//

#include "fresnel/Reference/Grouped.h"
#include "fresnel/Reference/Parallel.h"
#include <algorithm>
#include <cmath>
#include <limits>

using namespace fresnel;
using namespace fresnel::ref;

SplitBlocks ref::splitBlocks(const IndexTensor &list, int64_t keyBlock, int64_t keys, const IndexTensor *documents) {
  int64_t rows = list.dim(2), count = list.dim(3);
  SplitBlocks result{IndexTensor(list.shape, -1), IndexTensor({list.dim(0), list.dim(1), rows, 1}, -1)};
  parallelFor(list.dim(0) * list.dim(1) * rows, [&](int64_t at) {
    int64_t position = at % rows + keys - rows, first = documents ? documents->data[size_t(at % rows)] : 0;
    const int32_t *entries = list.data.data() + at * count;
    for (int64_t k = 0; k < count && position >= 0; ++k) {
      int64_t block = entries[k], own = position / keyBlock;
      if (block == own)
        result.diagonal.data[size_t(at)] = entries[k];
      if (block >= 0 && block < own && (block + 1) * keyBlock > first &&
          std::find(entries, entries + k, entries[k]) == entries + k)
        result.past.data[size_t(at * count + k)] = entries[k];
    }
  });
  return result;
}

BlockBounds ref::blockBounds(const IndexTensor &bounds, int64_t keyBlock) {
  int64_t tokens = bounds.dim(2), blocks = (tokens + keyBlock - 1) / keyBlock;
  BlockBounds result{IndexTensor(bounds.shape), IndexTensor({1, 1, blocks, 1})};
  for (int64_t t = 0; t < tokens; ++t) {
    int64_t block = t / keyBlock;
    int32_t *start = &result.own.data[size_t(t)];
    *start = int32_t(std::max<int64_t>(bounds.data[size_t(t)], block * keyBlock));
    result.own.data[size_t(tokens + t)] =
        int32_t(std::min<int64_t>(bounds.data[size_t(tokens + t)], (block + 1) * keyBlock));
    // The last token of the block comes last.
    result.starts.data[size_t(block)] = *start;
  }
  return result;
}

GroupedRows ref::groupRows(const IndexTensor &list, int64_t blocks, int64_t length, int64_t tile) {
  int64_t batch = list.dim(0), heads = list.dim(1), rows = list.dim(2), count = list.dim(3);
  GroupedRows result{IndexTensor({batch, heads, length}, -1), IndexTensor({batch, heads, length / tile, 1}, -1),
                     IndexTensor(list.shape, -1)};
  parallelFor(batch * heads, [&](int64_t plane) {
    const int32_t *entries = list.plane(0, plane);
    int64_t place = 0;
    for (int64_t block = 0; block < blocks; ++block) {
      int64_t first = place;
      for (int64_t at = 0; at < rows * count; ++at) {
        if (entries[at] != block)
          continue;
        if (place < length) {
          result.rows.plane(0, plane)[place] = int32_t(at / count);
          result.slots.plane(0, plane)[at] = int32_t(place);
        }
        ++place;
      }
      place = (place + tile - 1) / tile * tile;
      for (int64_t at = first / tile; at < std::min(place, length) / tile; ++at)
        result.tiles.plane(0, plane)[at] = int32_t(block);
    }
  });
  return result;
}

Tensor ref::gatherScores(const Tensor &x, const IndexTensor &rows) {
  int64_t length = rows.dim(2), shared = x.dim(1) / rows.dim(1);
  Tensor result({x.dim(0), x.dim(1), length});
  for (int64_t at = 0; at < result.elements(); ++at) {
    int64_t plane = at / length, row = rows.data[size_t(plane / shared * length + at % length)];
    if (row >= 0)
      result.data[size_t(at)] = x.plane(0, plane)[row];
  }
  return result;
}

/// Calls `visit(plane, row, places)` for each row of `whole`, on several threads.
template <typename Visit>
static void forPlaces(const IndexTensor &slots, const Tensor &whole, Visit visit) {
  int64_t heads = whole.dim(1), rows = whole.dim(2), count = slots.dim(3), shared = heads / slots.dim(1);
  parallelFor(whole.dim(0) * heads * rows, [&](int64_t at) {
    int64_t plane = at / rows, row = at % rows;
    const int32_t *first = slots.plane(0, plane / shared) + row * count;
    std::vector<int64_t> places;
    std::copy_if(first, first + count, std::back_inserter(places), [](int32_t place) { return place >= 0; });
    visit(plane, row, places);
  });
}

AttendResult ref::mergeRows(const AttendResult &part, const IndexTensor &slots, const AttendResult &whole) {
  constexpr double masked = -std::numeric_limits<double>::infinity();
  AttendResult result{Tensor(whole.out.shape), Tensor(whole.lse.shape)};
  int64_t depth = whole.out.dim(3);
  forPlaces(slots, whole.out, [&](int64_t plane, int64_t row, const std::vector<int64_t> &places) {
    const float *lses = part.lse.plane(0, plane), own = whole.lse.plane(0, plane)[row];
    double top = own, sum = 0;
    for (int64_t place : places)
      top = std::max<double>(top, lses[place]);
    if (top != masked) {
      sum = std::exp(own - top);
      for (int64_t place : places)
        sum += std::exp(lses[place] - top);
    }
    double lse = top == masked ? masked : top + std::log(sum);
    result.lse.plane(0, plane)[row] = float(lse);
    for (int64_t d = 0; d < depth && lse != masked; ++d) {
      double value = std::exp(own - lse) * whole.out.plane(0, plane)[row * depth + d];
      for (int64_t place : places)
        value += std::exp(lses[place] - lse) * part.out.plane(0, plane)[place * depth + d];
      result.out.plane(0, plane)[row * depth + d] = float(value);
    }
  });
  return result;
}

Tensor ref::sumRows(const Tensor &part, const IndexTensor &slots, const Tensor &x) {
  Tensor result = x;
  int64_t depth = x.dim(3);
  forPlaces(slots, x, [&](int64_t plane, int64_t row, const std::vector<int64_t> &places) {
    for (int64_t d = 0; d < depth; ++d) {
      double value = x.plane(0, plane)[row * depth + d];
      for (int64_t place : places)
        value += part.plane(0, plane)[place * depth + d];
      result.plane(0, plane)[row * depth + d] = float(value);
    }
  });
  return result;
}
