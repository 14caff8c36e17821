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

IndexTensor ref::documentBounds(const std::vector<int64_t> &lengths) {
  IndexTensor cu({1, 1, int64_t(lengths.size()) + 1}, 0);
  for (size_t document = 0; document < lengths.size(); ++document)
    cu.data[document + 1] = cu.data[document] + int32_t(lengths[document]);
  return documentBounds(cu, cu.data.back());
}
