//===- Cascade.h - Lighthouse's coarse-to-fine selection --------------------===//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
#ifndef FRESNEL_REFERENCE_CASCADE_H
#define FRESNEL_REFERENCE_CASCADE_H

#include "fresnel/Reference/Tensor.h"

namespace fresnel::ref {

struct CascadeOptions {
  int64_t seqLen = 1;
  int64_t levels = 1;
  int64_t factor = 2;
  int64_t topk = 128;
  /// Window 0 of every level >= 1 counts as the best query score.
  bool openFirstWindow = false;
  /// One selection for each key head, whose query scores are the largest of its query heads'.
  bool perKeyHead = false;
  /// Lengths of the documents of the sequence, each selected from by itself; none for a whole.
  std::vector<int64_t> documents = {};
};

/// Number of entries S that a selection holds, the -1 at its end included.
int64_t cascadeLength(const CascadeOptions &options);

/// Pyramid scores sq [B, Hq, P], sk [B, Hk, P] -> pyramid indices [B, Hq, S], or [B, Hk, S]
/// with `perKeyHead`, in attention order (post-order of the selection tree), -1 at the end where the
/// last windows miss children. Head h reads the key scores of head h / (Hq / Hk). The selections of
/// documents lie one behind the other, each with its -1.
IndexTensor selectCascade(const Tensor &sq, const Tensor &sk, const CascadeOptions &options);

} // namespace fresnel::ref

#endif // FRESNEL_REFERENCE_CASCADE_H
