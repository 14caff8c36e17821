//===- Movement.h - gather, scatter, fold, unfold ---------------------------===//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
#ifndef FRESNEL_REFERENCE_MOVEMENT_H
#define FRESNEL_REFERENCE_MOVEMENT_H

#include "fresnel/Reference/Tensor.h"
#include <algorithm>

namespace fresnel::ref {

/// x [B, Hx, P, D], indices [B, H, S] -> [B, H, S, D]; head h reads head
/// h / (H / Hx), index -1 gives zeros.
Tensor gather(const Tensor &x, const IndexTensor &indices);

/// x [B, H, T, ...] -> [B, H, S, ...]: row s is row `from[0, 0, s]` of x, of zeros where that is -1.
template <typename T>
BasicTensor<T> move(const BasicTensor<T> &x, const IndexTensor &from) {
  std::vector<int64_t> shape = x.shape;
  shape[2] = from.dim(2);
  BasicTensor<T> out(shape);
  int64_t width = x.planeSize() / x.dim(2);
  for (int64_t plane = 0; plane < x.dim(0) * x.dim(1); ++plane)
    for (int64_t s = 0; s < from.dim(2); ++s)
      if (int64_t row = from.data[size_t(s)]; row >= 0)
        std::copy_n(x.plane(0, plane) + row * width, width, out.plane(0, plane) + s * width);
  return out;
}

struct ScatterOptions {
  int64_t seqLen = 1;
  int64_t levels = 1;
  int64_t factor = 2;
  /// Lengths of the documents of the sequence; none for a whole.
  std::vector<int64_t> documents = {};
};

/// x [B, H, S, D], pyramid indices [B, H, S] -> [B, H, seqLen, D]: row j is the
/// sum, over the levels with j >= F - 1, F = factor^l, of the row of the entry
/// (l, (j - F + 1) div F) where it was selected; 0 where none was. Rows of documents are
/// counted from the first of theirs on.
Tensor scatter(const Tensor &x, const IndexTensor &indices, const ScatterOptions &options);

/// x [B, H, N, D] or [B, H, N] -> [B, factor H, ceil(N / factor), D] or without D:
/// row n goes to row n div factor of head (n mod factor) H + h; the rest is 0. With
/// `repeat` every head stands that often beside itself.
Tensor fold(const Tensor &x, int64_t factor, int64_t repeat);
/// The inverse for `seqLen` rows: x [B, factor H, ceil(seqLen / factor), D] or
/// without D -> [B, H, seqLen, D] or without D. With `repeat` the copies are summed.
Tensor unfold(const Tensor &x, int64_t factor, int64_t seqLen, int64_t repeat);

} // namespace fresnel::ref

#endif // FRESNEL_REFERENCE_MOVEMENT_H
