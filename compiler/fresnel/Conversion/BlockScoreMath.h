//===- BlockScoreMath.h - Scores of pooled keys on fragments ----*- C++ -*-===//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
#ifndef FRESNEL_CONVERSION_BLOCKSCOREMATH_H
#define FRESNEL_CONVERSION_BLOCKSCOREMATH_H

#include "fresnel/Conversion/Documents.h"
#include "fresnel/Dialect/Fresnel.h"

namespace fresnel {

/// Whether mma.sync serves scores of these queries; other types and head dims have a plain kernel.
bool hasMatrixScores(mlir::RankedTensorType q);

/// Tiles of pooled keys against tiles of queries: sizes, masks and products.
/// Key j is visible to query m if `j key_stride + key_window <= (m + 1) query_stride`, or always.
struct ScoreShape {
  template <typename Op>
  explicit ScoreShape(Op op)
      : q(mlir::cast<mlir::RankedTensorType>(op.getQ().getType())),
        k(mlir::cast<mlir::RankedTensorType>(op.getK().getType())), scale(op.getScaleOrDefault()),
        causal(op.getCausal()), keyWindow(op.getKeyWindow()), keyStride(op.getKeyStride()),
        queryStride(op.getQueryStride()) {
    if constexpr (std::is_same_v<Op, BlockScoreOp>)
      documents = bool(op.getDocuments());
  }

  mlir::RankedTensorType q, k;
  double scale;
  bool causal;
  int64_t keyWindow, keyStride, queryStride;
  /// Whether keys that begin in front of a query's document are hidden from it.
  bool documents = false;

  int64_t getRows() const { return q.getDimSize(2); }
  int64_t getKeys() const { return k.getDimSize(2); }
  int64_t getDepth() const { return q.getDimSize(3); }
  int64_t getGroup() const { return q.getDimSize(1) / k.getDimSize(1); }

  /// For scalars or for index fragments of one type.
  Val isVisible(Val row, Val key) const {
    return key * double(keyStride) + double(keyWindow) <= (row + 1.0) * double(queryStride);
  }
  /// Bounds of documents count tokens.
  DocumentSteps getDocumentSteps() const { return {1, keyStride}; }
  /// How many keys, from the first on, query `row` sees.
  Val countVisible(KernelBuilder &b, Val row) const;
};

/// Tiles of `tileM` queries and `tileN` keys of a head: 16 queries per warp, keys
/// in a ring of shared-memory tiles.
class ScoreTiles {
public:
  ScoreTiles(KernelBuilder &builder, const ScoreShape &shape, int64_t tileM, int64_t tileN);

  /// Reserves shared memory; `q` and `k` are views of the tensors.
  void allocate(Val q, Val k);
  /// With documents: their bounds, before queries are loaded.
  void setDocuments(Val bounds) { this->bounds = bounds; }
  /// Loads the queries from `row` on; all threads call it.
  void loadQueries(Val batch, Val head, Val row);
  /// Calls `use(scores, first key)` for the tiles `first` .. `end` - 1 of keys, in
  /// order, with values that go from one to the next. Scores are q . k times
  /// `factor`; what a query does not see is -inf.
  llvm::SmallVector<Val> walk(Val batch, Val keyHead, Val first, Val end, double factor, llvm::ArrayRef<Val> init,
                              llvm::function_ref<llvm::SmallVector<Val>(Val, Val, llvm::ArrayRef<Val>)> use);
  /// Tiles with a key that a query of the tile sees.
  Val countTiles(Val row);
  /// The first of them, at most `end`: with documents that in which those of the tile's first query begin.
  Val getFirstTile(Val row, Val end);
  /// With documents: the first key of those of the tile's last query.
  Val getLastStart(Val row) { return loadDocumentEdges(b, bounds, row, tileM, shape.getDocumentSteps()).lastStart; }
  mlir::Type getType(mlir::Type element) { return tile::getAccType(tileM, tileN, element); }
  /// Whether the queries stay in registers. Their tile is free between two loads then.
  bool isResident() const;
  Val getQueryTile() const { return qTile; }
  Val getKeyRing() const { return kRing; }

private:
  void copyKeys(Val batch, Val keyHead, Val tile, Val end);
  Val multiply(Val keys);
  Val mask(Val scores, Val firstKey);

  KernelBuilder &b;
  const ScoreShape &shape;
  int64_t tileM, tileN, stages;
  Val q, k, qTile, kRing, qLhs, firstRow;
  // With documents only: of all, and of the tile's queries.
  Val bounds;
  DocumentEdges edges;
  DocumentRows documents;
};

/// Writes tiles of scores to [batch, head, row, key] memory in full lines, 16 bytes
/// at a time where rows allow it.
struct ScoreOutput {
  KernelBuilder &b;
  const ScoreShape &shape;
  int64_t tileM, tileN, threads;
  Val target, batch, head, firstRow;

  /// `read(row, column, width)` gives the values of the tile whose first key is `firstKey`.
  /// Where `adds` is given and true they are added to what is there.
  void write(Val firstKey, llvm::function_ref<Val(Val, Val, int64_t)> read, Val adds = Val());
  /// One value for all of a tile.
  void fill(Val firstKey, double value);
};

} // namespace fresnel

#endif // FRESNEL_CONVERSION_BLOCKSCOREMATH_H
