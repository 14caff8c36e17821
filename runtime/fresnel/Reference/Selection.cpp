//===- Selection.cpp - block scores and block selection ---------------------===//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//

#include "fresnel/Reference/Selection.h"
#include "fresnel/Reference/Parallel.h"
#include <algorithm>
#include <bitset>
#include <cmath>
#include <limits>
#include <numeric>

using namespace fresnel;
using namespace fresnel::ref;

static constexpr double kMasked = -std::numeric_limits<double>::infinity();

/// f64 dot product in eight fixed partial sums, which the compiler can vectorise.
static double dot(const float *a, const float *b, int64_t n) {
  double part[8] = {};
  int64_t d = 0;
  for (; d + 8 <= n; d += 8)
    for (int64_t i = 0; i < 8; ++i)
      part[i] += static_cast<double>(a[d + i]) * b[d + i];
  for (; d < n; ++d)
    part[0] += static_cast<double>(a[d]) * b[d];
  return ((part[0] + part[1]) + (part[2] + part[3])) + ((part[4] + part[5]) + (part[6] + part[7]));
}

/// Probabilities of the scores that are not masked; all 0 where every score is.
static void softmax(std::vector<double> &s, const float *lse) {
  if (lse) {
    for (double &x : s)
      x = x == kMasked ? 0.0 : std::exp(x - double(*lse));
    return;
  }
  double top = *std::max_element(s.begin(), s.end()), sum = 0;
  for (double &x : s)
    sum += x = top == kMasked ? 0.0 : std::exp(x - top);
  for (double &x : s)
    x = sum > 0 ? x / sum : 0.0;
}

Tensor ref::blockScore(const Tensor &q, const Tensor &k, const BlockScoreOptions &options, const Tensor *lse) {
  int64_t batch = q.dim(0), heads = q.dim(1), rows = q.dim(2), depth = q.dim(3), keys = k.dim(2);
  int64_t group = heads / k.dim(1), summed = options.groupSum ? group : 1;
  double scale = options.scale.value_or(1.0 / std::sqrt(static_cast<double>(depth)));
  Tensor out({batch, heads / summed, rows, keys});
  parallelFor(batch * (heads / summed) * rows, [&](int64_t index) {
    int64_t m = index % rows, h = index / rows % (heads / summed), b = index / rows / (heads / summed);
    int64_t lastToken = (m + 1) * options.queryStride - 1;
    std::vector<double> total(keys, 0.0), s(keys);
    for (int64_t head = h * summed; head < (h + 1) * summed; ++head) {
      const float *query = q.plane(b, head) + m * depth, *key = k.plane(b, head / group);
      for (int64_t j = 0; j < keys; ++j) {
        bool visible = !options.causal || j * options.keyStride + options.keyWindow - 1 <= lastToken;
        if (options.documents)
          visible = visible && j * options.keyStride >= options.documents->data[size_t(m)];
        s[j] = visible ? scale * dot(query, key + j * depth, depth) : kMasked;
      }
      if (options.normalize == Normalize::Softmax)
        softmax(s, lse ? lse->plane(b, head) + m : nullptr);
      for (int64_t j = 0; j < keys; ++j)
        total[j] += s[j];
    }
    float *row = out.plane(b, h) + m * keys;
    for (int64_t j = 0; j < keys; ++j)
      row[j] = static_cast<float>(total[j]);
  });
  return out;
}

Tensor ref::regroup(const Tensor &scores, const RegroupOptions &options) {
  int64_t rows = scores.dim(2), windows = scores.dim(3);
  int64_t blocks = (options.seqLen + options.block - 1) / options.block;
  int64_t cellsPerBlock = options.block / options.stride, cellsPerWindow = options.window / options.stride;
  Tensor out({scores.dim(0), scores.dim(1), rows, blocks});
  parallelFor(scores.dim(0) * scores.dim(1) * rows, [&](int64_t row) {
    const float *s = scores.data.data() + row * windows;
    for (int64_t j = 0; j < blocks; ++j) {
      double sum = 0;
      for (int64_t cell = j * cellsPerBlock; cell < (j + 1) * cellsPerBlock; ++cell)
        for (int64_t i = std::max<int64_t>(0, cell - cellsPerWindow + 1); i <= std::min(cell, windows - 1); ++i)
          sum += s[i];
      out.data[row * blocks + j] = static_cast<float>(sum);
    }
  });
  return out;
}

/// Selects for one row of scores, of which the blocks from `first` to `end` may be taken.
static std::vector<int32_t> selectRow(const float *s, int64_t first, int64_t end, int64_t budget,
                                      const SelectBlocksOptions &options) {
  std::vector<bool> forced(end, false);
  for (int64_t j = first; j < end; ++j)
    forced[j] = j - first < options.sinks || j >= end - options.local;
  std::vector<int32_t> order(std::max<int64_t>(end - first, 0));
  std::iota(order.begin(), order.end(), first);
  std::stable_sort(order.begin(), order.end(), [&](int32_t a, int32_t b) {
    if (forced[a] != forced[b])
      return static_cast<bool>(forced[a]);
    return !forced[a] && s[a] > s[b];
  });
  std::vector<int32_t> taken;
  for (int32_t j : order)
    if (static_cast<int64_t>(taken.size()) < budget && (forced[j] || s[j] != -std::numeric_limits<float>::infinity()))
      taken.push_back(j);
  std::sort(taken.begin(), taken.end());
  taken.resize(budget, -1);
  return taken;
}

IndexTensor ref::selectBlocks(const Tensor &scores, const SelectBlocksOptions &options) {
  int64_t rows = scores.dim(2), blocks = scores.dim(3), budget = std::min(options.topk, blocks);
  IndexTensor out({scores.dim(0), scores.dim(1), rows, budget});
  parallelFor(scores.dim(0) * scores.dim(1) * rows, [&](int64_t row) {
    int64_t lastToken = (row % rows + 1) * options.queryBlock - 1;
    int64_t first = 0, end = options.causal ? std::min(lastToken / options.keyBlock + 1, blocks) : blocks;
    if (options.documents) {
      int64_t tokens = options.documents->dim(2), firstToken = row % rows * options.queryBlock;
      const int32_t *starts = options.documents->data.data(), *ends = starts + tokens;
      first = std::max<int64_t>(starts[firstToken], 0) / options.keyBlock;
      int64_t last = std::min<int64_t>(ends[std::min(lastToken, tokens - 1)], tokens);
      end = std::min(end, (last + options.keyBlock - 1) / options.keyBlock);
    }
    std::vector<int32_t> taken = selectRow(scores.data.data() + row * blocks, first, end, budget, options);
    std::copy(taken.begin(), taken.end(), out.data.begin() + row * budget);
  });
  return out;
}

IndexTensor ref::blocksFromMask(const IndexTensor &mask) {
  IndexTensor lists(mask.shape, -1);
  int64_t blocks = mask.dim(3);
  parallelFor(mask.elements() / blocks, [&](int64_t row) {
    int64_t entry = row * blocks;
    for (int64_t block = 0; block < blocks; ++block)
      if (mask.data[size_t(row * blocks + block)] != 0)
        lists.data[size_t(entry++)] = int32_t(block);
  });
  return lists;
}

IndexTensor ref::transposeBlocks(const IndexTensor &lists, int64_t blocks) {
  int64_t planes = lists.dim(0) * lists.dim(1), rows = lists.dim(2), count = lists.dim(3), words = (rows + 31) / 32;
  IndexTensor bits({lists.dim(0), lists.dim(1), blocks, words});
  for (int64_t at = 0; at < planes * rows * count; ++at) {
    int64_t block = lists.data[size_t(at)], m = at / count % rows, plane = at / count / rows;
    if (block >= 0 && block < blocks)
      bits.data[size_t((plane * blocks + block) * words + m / 32)] |= int32_t(1u << (m % 32));
  }
  return bits;
}

IndexTensor ref::countRows(const IndexTensor &bits) {
  IndexTensor counts({bits.dim(0), bits.dim(1), bits.dim(2)});
  for (size_t at = 0; at < bits.data.size(); ++at)
    counts.data[at / size_t(bits.dim(3))] += int32_t(std::bitset<32>(uint32_t(bits.data[at])).count());
  return counts;
}

IndexTensor ref::listBlocks(const IndexTensor &bits, int64_t rows) {
  int64_t planes = bits.dim(0) * bits.dim(1), blocks = bits.dim(2), words = bits.dim(3);
  IndexTensor lists({bits.dim(0), bits.dim(1), rows, blocks});
  std::fill(lists.data.begin(), lists.data.end(), -1);
  for (int64_t row = 0; row < planes * rows; ++row) {
    int64_t plane = row / rows, m = row % rows, entry = row * blocks;
    for (int64_t block = 0; block < blocks; ++block)
      if (uint32_t(bits.data[size_t((plane * blocks + block) * words + m / 32)]) >> (m % 32) & 1)
        lists.data[size_t(entry++)] = int32_t(block);
  }
  return lists;
}
