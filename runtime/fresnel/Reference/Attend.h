//===- Attend.h - Softmax attention -----------------------------*- C++ -*-===//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
#ifndef FRESNEL_REFERENCE_ATTEND_H
#define FRESNEL_REFERENCE_ATTEND_H

#include "fresnel/Reference/Tensor.h"
#include <optional>

namespace fresnel::ref {

struct AttendOptions {
  /// 1 / sqrt(D) when absent.
  std::optional<double> scale;
  /// 0 turns the cap off.
  double softcap = 0;
  /// Bottom-right aligned; pooled keys (keyWindow or keyStride above 1) are
  /// visible once their last token is.
  bool causal = false;
  int64_t keyWindow = 1, keyStride = 1;
  /// 0 for no window; needs `causal`.
  int64_t window = 0, sinks = 0;
  /// Block lists [B, Hs, M, K], or null; query i uses row i / queryBlock.
  const IndexTensor *blocks = nullptr;
  int64_t queryBlock = 1, keyBlock = 1;
  /// What `documentBounds` makes, or null; query i sees keys of its document alone.
  const IndexTensor *documents = nullptr;
  /// With block lists, or null: the first key of each block that is seen, [1, 1, blocks, 1].
  const IndexTensor *starts = nullptr;
};

struct AttendResult {
  /// [B, Hq, Nq, Dv] and [B, Hq, Nq], natural logarithm.
  Tensor out, lse;
};

/// q [B, Hq, Nq, D], k [B, Hk, Nk, D], v [B, Hk, Nk, Dv]. A row that sees no key
/// gives 0 and -inf.
AttendResult attend(const Tensor &q, const Tensor &k, const Tensor &v, const AttendOptions &options);

} // namespace fresnel::ref

#endif // FRESNEL_REFERENCE_ATTEND_H
