//===- Pooling.h - pool, pyramid, norm, unpool ------------------------------===//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
#ifndef FRESNEL_REFERENCE_POOLING_H
#define FRESNEL_REFERENCE_POOLING_H

#include "fresnel/Reference/Tensor.h"
#include <utility>

namespace fresnel::ref {

enum class PoolKind { Mean, Max };
enum class Tail { Keep, Drop };

struct PoolOptions {
  PoolKind kind = PoolKind::Mean;
  int64_t window = 1;
  /// 0 stands for `window`.
  int64_t stride = 0;
  Tail tail = Tail::Keep;
  /// The tokens of `alignDocuments`, or null: windows end with the document of their first token.
  const IndexTensor *documents = nullptr;
};

/// The tokens [first, end) of window m of a sequence of `length` tokens; none where they are equal.
std::pair<int64_t, int64_t> poolWindow(const PoolOptions &options, int64_t m, int64_t length);

/// x [B, H, N, D] or [B, H, N] -> M windows along dimension 2: window m pools
/// [m stride, min(m stride + window, N)). With Tail::Drop, N >= window.
Tensor pool(const Tensor &x, const PoolOptions &options);

struct PyramidOptions {
  PoolKind kind = PoolKind::Mean;
  int64_t levels = 1;
  int64_t factor = 2;
  /// Lengths of the documents of the sequence, each of which has a pyramid of its own; none for a whole.
  std::vector<int64_t> documents = {};
};

/// x [B, H, N, D] or [B, H, N] -> the levels 0 (x itself) .. levels-1 along
/// dimension 2; entry i of level l pools the base rows [i F, min((i+1) F, N)), F = factor^l.
/// A level of a sequence of documents holds those of the documents, one behind the other.
Tensor pyramid(const Tensor &x, const PyramidOptions &options);

/// First entry of each level of a pyramid, and its length P at the end: levels + 1 values.
std::vector<int64_t> pyramidOffsets(int64_t seqLen, int64_t levels, int64_t factor,
                                    const std::vector<int64_t> &documents = {});

/// A document's entries of one level of a pyramid: the first, among all of the pyramid, and how many.
struct LevelPart {
  int64_t first, count;
};
/// The parts of every document, level by level: of all of `seqLen` tokens where `documents` is empty.
/// Level 0 is the document's tokens.
std::vector<std::vector<LevelPart>> pyramidParts(int64_t seqLen, int64_t levels, int64_t factor,
                                                 const std::vector<int64_t> &documents);

/// x [B, H, N, D] -> [B, H, N]: square root in f32 of the f64 sum of squares rounded to f32.
Tensor norm(const Tensor &x);

struct UnpoolOptions {
  int64_t window = 1;
  int64_t seqLen = 1;
};

/// x [B, H, ceil(seqLen / window), D] -> [B, H, seqLen, D]: row j is x[j div window].
Tensor unpool(const Tensor &x, const UnpoolOptions &options);

} // namespace fresnel::ref

#endif // FRESNEL_REFERENCE_POOLING_H
