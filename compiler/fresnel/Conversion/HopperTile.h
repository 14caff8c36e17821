//===- HopperTile.h - Tiles of queries in the hopper family -----*- C++ -*-===//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
#ifndef FRESNEL_CONVERSION_HOPPERTILE_H
#define FRESNEL_CONVERSION_HOPPERTILE_H

#include "fresnel/Conversion/HopperBlocks.h"

namespace fresnel {

/// Rows of a warpgroup's fragments.
constexpr int64_t kGroupRows = 64;

/// The tile of queries that a role of the kernel is at, and the keys that it visits.
class HopperTile {
public:
  HopperTile(KernelBuilder &builder, const AttendShape &shape, ScheduleAttr schedule, const BlockTiles &rows,
             AttendMath &math);

  /// How many tiles there are. Those of a cluster follow each other and belong to one head, so that with an odd number
  /// of them an empty one is added to each head.
  int64_t getCount() const { return getTokenTiles() * (shape.heads / rows.group) * shape.batches; }
  /// Query heads whose rows stand side by side: row r is one of token r div group.
  int64_t getGroup() const { return rows.group; }
  /// With block lists: reads those of the thread block's one tile; all threads together, which do before it what
  /// `meanwhile` writes, once the tile is located.
  void readLists(Val tensor, llvm::function_ref<void()> meanwhile = {});
  /// With documents: their bounds, before the first tile is located.
  void setDocuments(Val bounds) { documents = bounds; }
  /// Where blocks start, or null, before their lists are read.
  void setStarts(Val tensor) { starts = tensor; }
  /// With documents: puts the tiles of a head in the order of their work, the most first, which `locate` follows from
  /// then on. All `threads` together; `keys` is memory for four numbers more than tiles. Ends with a barrier.
  void sortTiles(Val keys, Val order, int64_t threads);
  /// Where tile `index` lies and what it visits. With documents, `bounds` are those that are known of the tile.
  void locate(Val index, llvm::ArrayRef<Val> bounds = {});
  /// In a cluster, once the tile is located: visits what any of its tiles does.
  void joinCluster();
  /// First key of the i-th block that is visited.
  Val getStart(Val i);

  /// In a consumer, once the tile is located: its rows are those from `groupRow` of the tile on.
  void locateGroup(Val groupRow, llvm::ArrayRef<Val> bounds = {});
  /// Once both are: the bounds of documents that have been loaded for it; none without documents, or with block lists.
  llvm::SmallVector<Val> getBounds() const;
  /// Whether keys, a fragment, lie in the documents of the group's rows, or behind the start of the tile's block; null
  /// without either.
  Val isWithin(Val keys);
  /// Without block lists: hides keys of the i-th block from the group's rows.
  Val hide(Val scores, Val i);
  /// How many blocks, counted from the first key on, end before the right edge of the group's first row: the
  /// diagonal, or the end of its document.
  Val countPlain();
  /// Blocks that start before this key cross the left edge of the group's last row, where there is a window
  /// or documents.
  Val getLeftEdge();

  Val batch, head, kvHead, firstRow, position, groupPosition;
  KeyBlocks visited;
  /// Blocks that other tiles of the cluster visit before this one's first.
  Val skipped;
  std::optional<HopperBlocks> lists;

private:
  int64_t getTokenTiles() const {
    return llvm::alignTo(llvm::divideCeil(shape.queries, rows.tokens), schedule.getCluster());
  }

  /// What the tile of queries from `row` on visits; with documents, those of its first and of its last row.
  KeyBlocks visitFrom(Val row, const DocumentEdges &edges);
  DocumentEdges loadEdges(Val row, int64_t count);

  KernelBuilder &b;
  const AttendShape &shape;
  ScheduleAttr schedule;
  AttendMath &math;
  BlockTiles rows;
  /// The bounds of all documents, and the group's.
  Val documents, starts;
  /// A head's tiles in the order in which those of the last section start, if they are sorted.
  Val order;
  DocumentEdges edges, groupEdges;
  DocumentRows groupDocuments;
};

} // namespace fresnel

#endif // FRESNEL_CONVERSION_HOPPERTILE_H
