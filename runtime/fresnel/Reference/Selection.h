//===- Selection.h - block scores and block selection -----------------------===//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
#ifndef FRESNEL_REFERENCE_SELECTION_H
#define FRESNEL_REFERENCE_SELECTION_H

#include "fresnel/Reference/Tensor.h"
#include <optional>

namespace fresnel::ref {

enum class Normalize { None, Softmax };

struct BlockScoreOptions {
  /// 1 / sqrt(D) when absent.
  std::optional<double> scale;
  bool causal = false;
  /// Key j stands for the tokens [j keyStride, j keyStride + keyWindow).
  int64_t keyWindow = 1, keyStride = 1;
  /// Query m stands for the tokens [m queryStride, (m + 1) queryStride).
  int64_t queryStride = 1;
  Normalize normalize = Normalize::None;
  /// Sums over the query heads that share a key head.
  bool groupSum = false;
  /// What `documentBounds` makes, or null: keys that begin in front of the query's document are masked.
  const IndexTensor *documents = nullptr;
};

/// q [B, Hq, M, D], k [B, Hk, Nb, D] -> [B, Hq or Hk, M, Nb]. Masked scores are
/// -inf, or 0 after the softmax, which takes the logarithms of its sums from `lse`
/// [B, Hq, M] where it is given.
Tensor blockScore(const Tensor &q, const Tensor &k, const BlockScoreOptions &options, const Tensor *lse = nullptr);

struct RegroupOptions {
  /// `stride` divides `window` and `block`.
  int64_t window = 1, stride = 1, block = 1, seqLen = 1;
};

/// NSA eq. 9: scores [B, H, M, Nc] of overlapping windows -> [B, H, M, ceil(seqLen / block)].
Tensor regroup(const Tensor &scores, const RegroupOptions &options);

struct SelectBlocksOptions {
  int64_t topk = 1;
  /// Forced inside the budget; `local` + `sinks` <= `topk`.
  int64_t local = 0, sinks = 0;
  bool causal = false;
  int64_t queryBlock = 1, keyBlock = 1;
  /// What `documentBounds` makes, or null: a row's blocks are those of the documents of its tokens.
  const IndexTensor *documents = nullptr;
};

/// scores [B, H, M, Nb] -> [B, H, M, min(topk, Nb)]: ascending block indices, -1 at the end.
IndexTensor selectBlocks(const Tensor &scores, const SelectBlocksOptions &options);

/// A mask [B, H, M, Nb] -> lists of that shape: ascending, the blocks whose element is not 0, -1 at the end.
IndexTensor blocksFromMask(const IndexTensor &mask);

/// Lists [B, H, M, K] over `blocks` blocks -> [B, H, blocks, ceil(M / 32)]: bit m mod 32
/// of word m div 32 of a block's row is set if row m lists the block.
IndexTensor transposeBlocks(const IndexTensor &lists, int64_t blocks);

/// Set bits in each row of such words: [B, H, blocks].
IndexTensor countRows(const IndexTensor &bits);

/// Lists [B, H, `rows`, blocks] from such bits, with -1 behind the entries of a row.
IndexTensor listBlocks(const IndexTensor &bits, int64_t rows);

} // namespace fresnel::ref

#endif // FRESNEL_REFERENCE_SELECTION_H
