//===- Attend.cpp - Softmax attention
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//

#include "fresnel/Reference/Attend.h"
#include "fresnel/Reference/Parallel.h"
#include <algorithm>
#include <cmath>

namespace fresnel::ref {

namespace {

/// Sum of products in f64, in eight partial sums that vectorise; their order is
/// fixed, so that every machine gets the same bits.
#if defined(__x86_64__) && defined(__GNUC__) && !defined(__clang__)
__attribute__((target_clones("avx2", "default")))
#endif
double dot(const double *a, const float *b, int64_t count) {
  double partial[8] = {};
  int64_t i = 0;
  for (; i + 8 <= count; i += 8)
    for (int64_t lane = 0; lane < 8; ++lane)
      partial[lane] += a[i + lane] * double(b[i + lane]);
  double sum = 0;
  for (; i < count; ++i)
    sum += a[i] * double(b[i]);
  for (double value : partial)
    sum += value;
  return sum;
}

/// One query row against its keys.
class Row {
public:
  Row(const Tensor &q, const Tensor &k, const Tensor &v, const AttendOptions &options, int64_t b, int64_t head,
      int64_t i)
      : k(k), v(v), options(options), b(b), head(head), i(i), heads(q.dim(1)), keys(k.dim(2)), width(q.dim(3)) {
    keyHead = b * k.dim(1) + head / (heads / k.dim(1));
    const float *row = &q.data[size_t(((b * heads + head) * q.dim(2) + i) * width)];
    query.assign(row, row + width);
    bool pooled = options.keyWindow > 1 || options.keyStride > 1;
    position = pooled ? i : i + keys - q.dim(2);
    scale = options.scale.value_or(1.0 / std::sqrt(double(width)));
  }

  void compute(float *out, float *lse) {
    collect();
    double top = -INFINITY;
    for (double score : scores)
      top = std::max(top, score);
    std::vector<double> sum(size_t(v.dim(3)), 0.0);
    double total = 0;
    for (size_t n = 0; top != -INFINITY && n < scores.size(); ++n) {
      double weight = std::exp(scores[n] - top);
      total += weight;
      const float *value = &v.data[size_t((keyHead * keys + visible[n]) * v.dim(3))];
      for (size_t d = 0; d < sum.size(); ++d)
        sum[d] += weight * double(value[d]);
    }
    for (size_t d = 0; d < sum.size(); ++d)
      out[d] = float(total > 0 ? sum[d] / total : 0.0);
    *lse = float(total > 0 ? top + std::log(total) : -INFINITY);
  }

private:
  bool isVisible(int64_t j) const {
    if (!options.causal)
      return true;
    if (j * options.keyStride + options.keyWindow - 1 > position)
      return false;
    return options.window == 0 || position - j < options.window || j < options.sinks;
  }

  void add(int64_t j) {
    if (!isVisible(j))
      return;
    double score = scale * dot(query.data(), &k.data[size_t((keyHead * keys + j) * width)], width);
    if (options.softcap > 0)
      score = options.softcap * std::tanh(score / options.softcap);
    visible.push_back(j);
    scores.push_back(score);
  }

  void collect() {
    if (!options.blocks) {
      for (int64_t j = 0; j < keys; ++j)
        add(j);
      return;
    }
    const IndexTensor &blocks = *options.blocks;
    int64_t listHead = b * blocks.dim(1) + head / (heads / blocks.dim(1)), count = blocks.dim(3);
    const int32_t *list = &blocks.data[size_t((listHead * blocks.dim(2) + i / options.queryBlock) * count)];
    for (int64_t n = 0; n < count; ++n)
      if (list[n] >= 0)
        for (int64_t j = list[n] * options.keyBlock; j < std::min((list[n] + 1) * options.keyBlock, keys); ++j)
          add(j);
  }

  const Tensor &k, &v;
  const AttendOptions &options;
  int64_t b, head, i, heads, keys, width, keyHead, position;
  double scale;
  std::vector<double> query, scores;
  std::vector<int64_t> visible;
};

} // namespace

AttendResult attend(const Tensor &q, const Tensor &k, const Tensor &v, const AttendOptions &options) {
  int64_t heads = q.dim(1), rows = q.dim(2), width = v.dim(3), lanes = q.dim(0) * heads;
  AttendResult result{Tensor({q.dim(0), heads, rows, width}), Tensor({q.dim(0), heads, rows})};
  parallelFor(lanes * rows, [&](int64_t index) {
    // Long causal rows first, so that the cores finish together.
    int64_t i = rows - 1 - index / lanes, lane = index % lanes, at = lane * rows + i;
    Row(q, k, v, options, lane / heads, lane % heads, i)
        .compute(&result.out.data[size_t(at * width)], &result.lse.data[size_t(at)]);
  });
  return result;
}

} // namespace fresnel::ref
