//===- Cascade.cpp - Lighthouse's coarse-to-fine selection ------------------===//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//

#include "fresnel/Reference/Cascade.h"
#include "fresnel/Reference/Parallel.h"
#include "fresnel/Reference/Pooling.h"
#include <algorithm>
#include <limits>
#include <numeric>

using namespace fresnel;
using namespace fresnel::ref;

namespace {

/// Coarsest windows [first, last) of one chunk, and how many of a level it keeps.
struct Chunk {
  int64_t first, last, budget;
};

/// One head's selection from one document, `parts` of the pyramid.
class Cascade {
public:
  Cascade(const float *sq, const float *sk, const CascadeOptions &options, const std::vector<LevelPart> &parts)
      : sq(sq), sk(sk), options(options), parts(parts) {}

  std::vector<int32_t> select(const std::vector<Chunk> &chunks) {
    for (const Chunk &chunk : chunks) {
      keepBest(chunk);
      for (int64_t i = chunk.first; i < chunk.last; ++i)
        emit(options.levels - 1, i);
    }
    return std::move(entries);
  }

private:
  int64_t levelSize(int64_t level) const { return parts[level].count; }

  /// Fills `kept` (ascending windows of each level) from the coarsest level down to 1.
  void keepBest(const Chunk &chunk) {
    kept.assign(options.levels, {});
    std::vector<int64_t> candidates(chunk.last - chunk.first);
    std::iota(candidates.begin(), candidates.end(), chunk.first);
    for (int64_t level = options.levels - 1; level > 0; --level) {
      kept[level] = keepOfLevel(level, candidates, chunk.budget);
      candidates.clear();
      for (int64_t i : kept[level])
        for (int64_t c = i * options.factor; c < std::min((i + 1) * options.factor, levelSize(level - 1)); ++c)
          candidates.push_back(c);
    }
  }

  std::vector<int64_t> keepOfLevel(int64_t level, std::vector<int64_t> order, int64_t budget) const {
    int64_t count = static_cast<int64_t>(order.size());
    auto byQuery = std::min((budget + 1) / 2, count), both = std::min(byQuery + budget / 2, count);
    // `order` is ascending, so a stable sort leaves ties at the lower index.
    std::stable_sort(order.begin(), order.end(),
                     [&](int64_t a, int64_t b) { return queryScore(level, a) > queryScore(level, b); });
    std::sort(order.begin() + byQuery, order.end());
    std::stable_sort(order.begin() + byQuery, order.end(),
                     [&](int64_t a, int64_t b) { return sk[parts[level].first + a] > sk[parts[level].first + b]; });
    order.resize(both);
    std::sort(order.begin(), order.end());
    return order;
  }

  float queryScore(int64_t level, int64_t i) const {
    return options.openFirstWindow && i == 0 ? std::numeric_limits<float>::infinity() : sq[parts[level].first + i];
  }

  /// Appends candidate (level, i) after its descendants.
  void emit(int64_t level, int64_t i) {
    if (level > 0 && std::binary_search(kept[level].begin(), kept[level].end(), i))
      for (int64_t c = i * options.factor; c < std::min((i + 1) * options.factor, levelSize(level - 1)); ++c)
        emit(level - 1, c);
    entries.push_back(static_cast<int32_t>(parts[level].first + i));
  }

  const float *sq, *sk;
  const CascadeOptions &options;
  const std::vector<LevelPart> &parts;
  std::vector<std::vector<int64_t>> kept;
  std::vector<int32_t> entries;
};

} // namespace

/// The chunks of the coarsest level of a document.
static std::vector<Chunk> chunksOf(const CascadeOptions &options, const std::vector<LevelPart> &parts) {
  int64_t coarsest = parts.back().count, topk = options.topk, window = 1;
  for (int64_t level = 1; level < options.levels; ++level)
    window *= options.factor;
  int64_t count = std::max<int64_t>(1, std::min(topk / 128 + (topk % 128 != 0), coarsest));
  std::vector<Chunk> chunks;
  for (int64_t t = 0; t < count; ++t) {
    int64_t first = t * coarsest / count, last = (t + 1) * coarsest / count, rest = topk % count;
    // (t + 1) * topk / count - t * topk / count, whose products may leave 64 bits; of twice what may be taken of a
    // level each half is enough for all of it.
    int64_t budget = topk / count + (t + 1) * rest / count - t * rest / count;
    chunks.push_back({first, last, std::min(budget, 2 * (last - first) * window)});
  }
  return chunks;
}

/// Entries that the selection from a document holds.
static int64_t lengthOf(const CascadeOptions &options, const std::vector<Chunk> &chunks) {
  int64_t total = 0;
  for (const Chunk &chunk : chunks) {
    int64_t candidates = chunk.last - chunk.first;
    total += candidates;
    for (int64_t level = options.levels - 1; level > 0; --level) {
      candidates = options.factor * std::min(chunk.budget, candidates);
      total += candidates;
    }
  }
  return total;
}

static std::vector<std::vector<LevelPart>> partsOf(const CascadeOptions &options) {
  return pyramidParts(options.seqLen, options.levels, options.factor, options.documents);
}

int64_t ref::cascadeLength(const CascadeOptions &options) {
  int64_t total = 0;
  for (const std::vector<LevelPart> &parts : partsOf(options))
    total += lengthOf(options, chunksOf(options, parts));
  return total;
}

/// The largest score of each group of neighbouring heads.
static Tensor maxOfHeads(const Tensor &scores, int64_t heads) {
  int64_t group = scores.dim(1) / heads, length = scores.dim(2);
  Tensor out({scores.dim(0), heads, length});
  for (int64_t plane = 0; plane < scores.dim(0) * heads; ++plane)
    for (int64_t i = 0; i < length; ++i) {
      float largest = scores.plane(0, plane * group)[i];
      for (int64_t member = 1; member < group; ++member)
        largest = std::max(largest, scores.plane(0, plane * group + member)[i]);
      out.plane(0, plane)[i] = largest;
    }
  return out;
}

IndexTensor ref::selectCascade(const Tensor &queryScores, const Tensor &sk, const CascadeOptions &options) {
  const Tensor &sq = options.perKeyHead ? maxOfHeads(queryScores, sk.dim(1)) : queryScores;
  int64_t length = cascadeLength(options), group = sq.dim(1) / sk.dim(1);
  std::vector<std::vector<LevelPart>> documents = partsOf(options);
  IndexTensor out({sq.dim(0), sq.dim(1), length}, -1);
  parallelFor(sq.dim(0) * sq.dim(1), [&](int64_t bh) {
    int64_t b = bh / sq.dim(1), h = bh % sq.dim(1);
    int32_t *slot = out.plane(b, h);
    for (const std::vector<LevelPart> &parts : documents) {
      std::vector<Chunk> chunks = chunksOf(options, parts);
      std::vector<int32_t> entries = Cascade(sq.plane(b, h), sk.plane(b, h / group), options, parts).select(chunks);
      std::copy(entries.begin(), entries.end(), slot);
      slot += lengthOf(options, chunks);
    }
  });
  return out;
}
