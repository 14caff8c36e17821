//===- Grouped.h - queries grouped by the blocks that they list -------------===//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
#ifndef FRESNEL_REFERENCE_GROUPED_H
#define FRESNEL_REFERENCE_GROUPED_H

#include "fresnel/Reference/Attend.h"

namespace fresnel::ref {

struct SplitBlocks {
  /// [B, H, M, K] and [B, H, M, 1].
  IndexTensor past, diagonal;
};

/// Lists [B, H, M, K] of M queries, the last of which stands at the last of `keys` keys: the blocks of
/// `keyBlock` keys in front of the query's own, each once, and its own; -1 for none. With `documents`, what
/// `documentBounds` makes, or null, blocks that end before the query's document begins are left out.
SplitBlocks splitBlocks(const IndexTensor &list, int64_t keyBlock, int64_t keys,
                        const IndexTensor *documents = nullptr);

struct BlockBounds {
  /// [1, 2, N] and [1, 1, blocks, 1].
  IndexTensor own, starts;
};

/// Bounds [1, 2, N] cut where blocks of `keyBlock` tokens begin, and where the last token of each block has its
/// document begin then.
BlockBounds blockBounds(const IndexTensor &bounds, int64_t keyBlock);

struct GroupedRows {
  /// [B, H, length], [B, H, length / tile, 1] and [B, H, M, K].
  IndexTensor rows, tiles, slots;
};

/// Lists [B, H, M, K] over `blocks` blocks, none twice in a row: the rows that list each block, one block after the
/// other, each from a multiple of `tile` on; the block of each `tile` places; the place of each entry's row. -1 for
/// none.
GroupedRows groupRows(const IndexTensor &list, int64_t blocks, int64_t length, int64_t tile);

/// x [B, H, N] at `rows` [B, Hr, S] -> [B, H, S]; 0 where that is -1.
Tensor gatherScores(const Tensor &x, const IndexTensor &rows);

/// `whole` ([B, H, M, D] and [B, H, M]) merged by LSE with the rows `slots` [B, Hs, M, K] of `part`, [B, H, S, D] and
/// [B, H, S].
AttendResult mergeRows(const AttendResult &part, const IndexTensor &slots, const AttendResult &whole);

/// x [B, H, M, D] plus the rows `slots` [B, Hs, M, K] of `part` [B, H, S, D].
Tensor sumRows(const Tensor &part, const IndexTensor &slots, const Tensor &x);

} // namespace fresnel::ref

#endif // FRESNEL_REFERENCE_GROUPED_H
