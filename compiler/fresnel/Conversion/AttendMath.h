//===- AttendMath.h - What every attention kernel computes ------*- C++ -*-===//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
//
// The arithmetic of attention on fragments, apart from how tiles travel: which
// blocks of keys a tile of queries visits, which scores are visible, and the
// online softmax (Milakov and Gimelshein, arXiv 1805.02867; Dao, arXiv
// 2307.08691). Shared by the schedule families.
//
//===----------------------------------------------------------------------===//
#ifndef FRESNEL_CONVERSION_ATTENDMATH_H
#define FRESNEL_CONVERSION_ATTENDMATH_H

#include "fresnel/Conversion/Documents.h"
#include "fresnel/Dialect/Fresnel.h"

namespace fresnel {

/// Sizes and mask of one attention operation, from its types and attributes.
struct AttendShape {
  /// From `fresnel.attend` or one of its gradients, which share its operands and attributes.
  template <typename Op>
  explicit AttendShape(Op op) : AttendShape(op.getQ().getType(), op.getK().getType(), op.getV().getType()) {
    causal = op.getCausal();
    window = op.getWindow();
    sinks = op.getSinks();
    scale = op.getScaleOrDefault();
    softcap = op.getSoftcap().convertToDouble();
    keyWindow = op.getKeyWindow();
    keyStride = op.getKeyStride();
    if (op.getBlocks())
      setBlocks(op.getBlocks().getType(), op.getQueryBlock(), op.getKeyBlock());
    documents = bool(op.getDocuments());
    starts = bool(op.getStarts());
  }

  mlir::Type element;
  int64_t batches, heads, kvHeads, queries, keys, headDim, valueDim;
  bool causal;
  int64_t window, sinks;
  double scale, softcap;

  /// Key j stands for the tokens [j keyStride, j keyStride + keyWindow).
  int64_t keyWindow, keyStride;
  /// With block lists: their heads, the tokens of a row, the keys of a block; else 0 heads.
  int64_t listHeads = 0, queryBlock = 1, keyBlock = 1;
  /// Whether a query sees keys of its own document alone.
  bool documents = false;
  /// Whether of each block of the lists the first keys may be hidden. There is no causal mask then, and lists have one
  /// entry.
  bool starts = false;

  bool isPooled() const { return keyWindow > 1 || keyStride > 1; }
  /// Bounds of documents are those of queries' tokens, or of the tokens with which keys begin.
  DocumentSteps getDocumentSteps(bool ownsKeys = false) const {
    return ownsKeys ? DocumentSteps{keyStride, 1} : DocumentSteps{1, keyStride};
  }
  bool hasBlocks() const { return listHeads > 0; }
  int64_t getListRows() const { return llvm::divideCeil(queries, queryBlock); }
  int64_t getKeyBlocks() const { return llvm::divideCeil(keys, keyBlock); }
  /// Query i stands at position i + offset: bottom-right alignment, and 0 beside pooled keys.
  int64_t getOffset() const { return isPooled() ? 0 : keys - queries; }
  /// Under a causal mask some rows may see no key.
  bool mayBeEmpty() const { return getOffset() < 0 || isPooled(); }

private:
  void setBlocks(mlir::RankedTensorType blocks, int64_t queryBlock, int64_t keyBlock);
  AttendShape(mlir::RankedTensorType q, mlir::RankedTensorType k, mlir::RankedTensorType v);
};

/// How many keys end at or before `position`, the sequence's end apart.
Val countKeysUpTo(const AttendShape &shape, Val position);

/// The last token that a key stands for.
Val getLastToken(const AttendShape &shape, Val key);

/// Whether the query at `position` sees `key`, for index fragments of one type; block lists apart.
Val isVisible(const AttendShape &shape, Val key, Val position);

/// The blocks of keys that a tile of queries visits: first .. end - 1, and
/// 0 .. sinks - 1, which are apart from them.
struct KeyBlocks {
  Val first, end, sinks;
  /// How many there are in all.
  Val count;
};

/// The softmax of one block of scores, with the running state of the rows.
struct SoftmaxStep {
  /// exp2(score - maximum), [rows, tile_n].
  Val weights;
  /// Per row: what earlier sums must be multiplied with; absent in the first block.
  Val correction;
  Val maximum, sum;
  /// With `early`: the rows' sums over the first columns.
  Val early;
  /// With `lazy`: true if a correction in this warp is not 1; absent in the first block.
  Val corrects;
};

/// Writes arithmetic for fragments of `rows` queries and blocks of `tileN` keys.
class AttendMath {
public:
  AttendMath(KernelBuilder &builder, const AttendShape &shape, int64_t rows, int64_t tileN);

  /// What the queries at positions `position` .. position + queries - 1 visit; with the edges
  /// of their documents if they have any.
  KeyBlocks visit(Val position, int64_t queries, const DocumentEdges *documents = nullptr);
  /// Through the soft cap, where there is one. Scores that come out are in units
  /// that `softmax` expects.
  Val cap(Val scores);
  /// Hides the keys that a row must not see. `start` is the position of the
  /// block's first key, `position` that of the fragment's first row.
  Val hide(Val scores, Val start, Val position);
  /// The same with the documents of the rows.
  Val hide(Val scores, Val start, Val position, const DocumentRows &documents);
  /// The same for keys that a fragment names, and perhaps further pairs that are hidden where `listed` is false.
  Val hide(Val scores, Val keys, Val position, Val listed);
  /// One step of the online softmax; `maximum` and `sum` are absent in the first.
  /// `mayBeEmpty` guards rows that have seen no key yet. With `lazy`, `maximum`
  /// follows the scores only when weights would exceed 2^8: the result is the
  /// same, and nearly all corrections are 1. Rows that are not `listed`, if that is
  /// given, see nothing of the block. The first `early` columns are summed apart from the others.
  SoftmaxStep softmax(Val scores, Val maximum, Val sum, bool mayBeEmpty, bool lazy = false, Val listed = Val(),
                      int64_t early = 0);
  /// After the last block: what the accumulators must be multiplied with, and
  /// the rows' LSE. Rows without keys get 0 and -inf.
  std::pair<Val, Val> finish(Val maximum, Val sum);

  Val broadcast(Val rows, mlir::Type like) { return b.wrap(tile::BroadcastOp::create(b, like, mlir::Value(rows))); }
  mlir::Type getScoresType() { return tile::getAccType(rows, tileN, b.getF32Type()); }

private:
  /// Of `count` columns from `first` on, in each lane for itself.
  Val sumColumns(Val weights, int64_t first, int64_t count);

  KernelBuilder &b;
  const AttendShape &shape;
  int64_t rows, tileN;
  /// Scores times this are in the base-2 domain.
  double factor;
};

} // namespace fresnel

#endif // FRESNEL_CONVERSION_ATTENDMATH_H
