//===- Documents.cpp - Packed documents -----------------------------------===//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//

#include "fresnel/Reference/Documents.h"
#include <algorithm>
#include <set>

using namespace fresnel;
using namespace fresnel::ref;

IndexTensor ref::documentBounds(const IndexTensor &cu, int64_t seqLen) {
  // Every entry inside cuts the sequence, wherever it stands in the list.
  std::set<int32_t> cuts{0, int32_t(seqLen)};
  for (int32_t entry : cu.data)
    if (entry > 0 && entry < seqLen)
      cuts.insert(entry);
  IndexTensor bounds({1, 2, seqLen});
  for (auto cut = cuts.begin(), next = std::next(cut); next != cuts.end(); ++cut, ++next) {
    std::fill(&bounds.data[size_t(*cut)], bounds.data.data() + *next, *cut);
    std::fill(&bounds.data[size_t(seqLen + *cut)], bounds.data.data() + seqLen + *next, *next);
  }
  return bounds;
}

/// The cumulative lengths.
static IndexTensor accumulate(const std::vector<int64_t> &lengths) {
  IndexTensor cu({1, 1, int64_t(lengths.size()) + 1}, 0);
  for (size_t document = 0; document < lengths.size(); ++document)
    cu.data[document + 1] = cu.data[document] + int32_t(lengths[document]);
  return cu;
}

IndexTensor ref::documentBounds(const std::vector<int64_t> &lengths) {
  IndexTensor cu = accumulate(lengths);
  return documentBounds(cu, cu.data.back());
}

/// In `blocks` blocks.
static AlignedDocuments align(const IndexTensor &cu, int64_t seqLen, int64_t block, int64_t blocks) {
  int64_t places = blocks * block;
  AlignedDocuments aligned{IndexTensor({1, 2, places}), IndexTensor({1, 2, blocks}), IndexTensor({1, 2, places}),
                           IndexTensor({1, 1, places}, -1), IndexTensor({1, 1, seqLen})};
  auto set = [](IndexTensor &bounds, int64_t i, int64_t start, int64_t end) {
    bounds.data[size_t(i)] = int32_t(start);
    bounds.data[size_t(bounds.dim(2) + i)] = int32_t(end);
  };
  std::vector<int64_t> ends(cu.data.begin(), cu.data.end());
  ends.push_back(seqLen);
  auto entry = ends.begin();
  for (int64_t token = 0, place = 0; place < places;) {
    int64_t length = 0;
    while (entry != ends.end() && length <= 0)
      length = std::min(*entry++, seqLen) - token;
    length = std::max<int64_t>(length, 0);
    // Behind all documents every block is one.
    int64_t next = place + std::max<int64_t>((length + block - 1) / block, 1) * block;
    for (int64_t i = place; i < next; ++i) {
      set(aligned.bounds, i, place, next);
      set(aligned.tokens, i, place, place + length);
    }
    for (int64_t i = place / block; i < next / block; ++i)
      set(aligned.blocks, i, place / block, next / block);
    for (int64_t i = 0; i < length; ++i) {
      aligned.from.data[size_t(place + i)] = int32_t(token + i);
      aligned.to.data[size_t(token + i)] = int32_t(place + i);
    }
    token += length;
    place = next;
  }
  return aligned;
}

AlignedDocuments ref::alignDocuments(const IndexTensor &cu, int64_t seqLen, int64_t block) {
  return align(cu, seqLen, block, (seqLen + std::min(cu.dim(2) + 1, seqLen) * (block - 1)) / block);
}

AlignedDocuments ref::alignDocuments(const std::vector<int64_t> &lengths, int64_t block) {
  int64_t blocks = 0;
  for (int64_t tokens : lengths)
    blocks += (tokens + block - 1) / block;
  IndexTensor cu = accumulate(lengths);
  return align(cu, cu.data.back(), block, blocks);
}

IndexTensor ref::narrowBounds(const IndexTensor &bounds, int64_t window) {
  IndexTensor narrow(bounds.shape);
  int64_t tokens = bounds.dim(2);
  // No window reaches over more than all tokens.
  window = std::min(window, tokens);
  for (int64_t t = 0; t < tokens; ++t) {
    narrow.data[size_t(t)] = int32_t(std::max<int64_t>(bounds.data[size_t(t)], t - window + 1));
    narrow.data[size_t(tokens + t)] = int32_t(std::min<int64_t>(bounds.data[size_t(tokens + t)], t + window));
  }
  return narrow;
}
