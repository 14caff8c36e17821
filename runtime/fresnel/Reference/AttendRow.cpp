//===- AttendRow.cpp - One query row against its keys ---------------------===//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//

#include "fresnel/Reference/AttendRow.h"
#include <algorithm>
#include <cmath>

using namespace fresnel;
using namespace fresnel::ref;

#if defined(__x86_64__) && defined(__GNUC__) && !defined(__clang__)
__attribute__((target_clones("avx2", "default")))
#endif
double ref::dot(const double *a, const float *b, int64_t count) {
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

AttendRow::AttendRow(const Tensor &q, const Tensor &k, const AttendOptions &options, int64_t b, int64_t head, int64_t i)
    : k(k), options(options), b(b), head(head), i(i), heads(q.dim(1)), keys(k.dim(2)), width(q.dim(3)) {
  keyPlane = b * k.dim(1) + head / (heads / k.dim(1));
  const float *row = &q.data[size_t(((b * heads + head) * q.dim(2) + i) * width)];
  query.assign(row, row + width);
  bool pooled = options.keyWindow > 1 || options.keyStride > 1;
  position = pooled ? i : i + keys - q.dim(2);
  if (options.documents) {
    int64_t first = options.documents->data[size_t(i)], last = options.documents->data[size_t(q.dim(2) + i)];
    // Of pooled keys those that begin in the document; the diagonal is their other end.
    begin = first > 0 ? (first - 1) / options.keyStride + 1 : 0;
    end = pooled ? keys : std::min(last, keys);
  }
  scale = options.scale.value_or(1.0 / std::sqrt(double(width)));
  collect();
}

bool AttendRow::isVisible(int64_t j) const {
  if (!options.causal)
    return true;
  if (j * options.keyStride + options.keyWindow - 1 > position)
    return false;
  return options.window == 0 || position - j < options.window || j < options.sinks;
}

void AttendRow::add(int64_t j) {
  if (!isVisible(j))
    return;
  double score = scale * dot(query.data(), &k.data[size_t((keyPlane * keys + j) * width)], width);
  if (options.softcap > 0)
    score = options.softcap * std::tanh(score / options.softcap);
  visible.push_back(j);
  scores.push_back(score);
}

void AttendRow::collect() {
  if (!options.blocks) {
    for (int64_t j = begin; j < end; ++j)
      add(j);
    return;
  }
  const IndexTensor &blocks = *options.blocks;
  int64_t listHead = b * blocks.dim(1) + head / (heads / blocks.dim(1)), count = blocks.dim(3);
  const int32_t *list = &blocks.data[size_t((listHead * blocks.dim(2) + i / options.queryBlock) * count)];
  // The row is a set: neither order nor repetition matters.
  std::vector<int64_t> listed(list, list + count);
  std::sort(listed.begin(), listed.end());
  listed.erase(std::unique(listed.begin(), listed.end()), listed.end());
  for (int64_t block : listed) {
    if (block < 0 || block * options.keyBlock >= keys)
      continue;
    int64_t first = std::max(block * options.keyBlock, begin);
    if (options.starts)
      first = std::max<int64_t>(first, options.starts->data[size_t(block)]);
    for (int64_t j = first; j < std::min((block + 1) * options.keyBlock, end); ++j)
      add(j);
  }
}
