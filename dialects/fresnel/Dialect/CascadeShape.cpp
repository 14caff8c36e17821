//===- CascadeShape.cpp - Static sizes of pyramids and cascades -----------===//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//

#include "fresnel/Dialect/CascadeShape.h"
#include "llvm/Support/MathExtras.h"
#include <algorithm>

using namespace fresnel;

/// Tokens to which the paper's chunking gives one tile of selected windows.
static constexpr int64_t kChunkBudget = 128;

PyramidShape::PyramidShape(int64_t seqLen, int64_t levels, int64_t factor, llvm::ArrayRef<int64_t> lengths) {
  if (lengths.empty())
    lengths = seqLen;
  int64_t window = 1;
  for (int64_t tokens : lengths)
    if (tokens > 0)
      documents.emplace_back();
  for (int64_t level = 0; level < levels; ++level, window *= factor) {
    windows.push_back(window);
    offsets.push_back(length);
    int64_t size = 0;
    DocumentShape *document = documents.begin();
    for (int64_t tokens : lengths) {
      if (tokens == 0)
        continue;
      document->firsts.push_back(size);
      document->sizes.push_back(llvm::divideCeil(tokens, window));
      size += document++->sizes.back();
    }
    sizes.push_back(size);
    length += size;
  }
}

CascadeShape::CascadeShape(int64_t seqLen, int64_t levels, int64_t factor, int64_t topk,
                           llvm::ArrayRef<int64_t> documents)
    : pyramid(seqLen, levels, factor, documents) {
  for (size_t document = 0; document < pyramid.documents.size(); ++document)
    addDocument(document, factor, topk);
}

void CascadeShape::addDocument(int64_t document, int64_t factor, int64_t topk) {
  int64_t levels = pyramid.windows.size(), coarsest = pyramid.documents[document].sizes.back();
  int64_t count = std::max<int64_t>(1, std::min<int64_t>(llvm::divideCeil(topk, kChunkBudget), coarsest));
  for (int64_t t = 0; t < count; ++t) {
    CascadeChunk chunk;
    chunk.document = document;
    chunk.first = t * coarsest / count;
    chunk.end = (t + 1) * coarsest / count;
    // (t + 1) * topk / count - t * topk / count, whose products may leave 64 bits; of twice what may be taken of a
    // level each half is enough for all of it.
    int64_t share = topk / count, rest = topk % count, most = 2 * (chunk.end - chunk.first) * pyramid.windows.back();
    int64_t budget = std::min(share + (t + 1) * rest / count - t * rest / count, most);
    chunk.queryBudget = budget - budget / 2;
    chunk.keyBudget = budget / 2;
    chunk.candidates.assign(levels, 0);
    chunk.kept.assign(levels, 0);
    chunk.slot = length;
    int64_t candidates = chunk.end - chunk.first;
    for (int64_t level = levels - 1; level >= 0; --level) {
      chunk.candidates[level] = candidates;
      length += candidates;
      if (level == 0)
        break;
      chunk.kept[level] = std::min(budget, candidates);
      candidates = chunk.kept[level] * factor;
    }
    chunk.slots = length - chunk.slot;
    chunks.push_back(chunk);
  }
}
