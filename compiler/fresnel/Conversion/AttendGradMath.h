//===- AttendGradMath.h - What every attention gradient computes -*- C++ -*-===//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
//
// The arithmetic of attention's gradients on fragments, apart from how tiles
// travel (Dao, FlashAttention-2, arXiv 2307.08691, algorithm 2). Weights are
// recomputed from the scores and the LSE. Shared by the schedule families.
//
// The gradient of the queries owns rows of queries and walks blocks of keys; that
// of the keys and values owns rows of keys and walks blocks of queries, with
// every fragment transposed.
//
//===----------------------------------------------------------------------===//
#ifndef FRESNEL_CONVERSION_ATTENDGRADMATH_H
#define FRESNEL_CONVERSION_ATTENDGRADMATH_H

#include "fresnel/Conversion/AttendMath.h"

namespace fresnel {

/// Which operand's rows a kernel owns.
enum class Owner { Queries, Keys };

/// The blocks that are walked: 0 .. sinks - 1, which are apart from the others,
/// then `first` and those that follow it; `count` in all.
struct WalkedBlocks {
  Val first, sinks, count;
};

/// Weights and the gradient of the scores, apart from the factor `scale`.
struct ScoreGradient {
  Val weights, dscores;
};

/// Writes arithmetic for fragments of `rows` owned rows and blocks of `columns` walked ones.
/// The documents, if there are any, are those of the owned rows.
class AttendGradMath {
public:
  AttendGradMath(KernelBuilder &builder, const AttendShape &shape, Owner owner, int64_t rows, int64_t columns)
      : b(builder), shape(shape), owner(owner), rows(rows), columns(columns) {}

  /// Which bounds of the documents of owned rows the walked rows are compared with.
  DocumentSide getDocumentSide() const {
    return !shape.causal ? DocumentSide::Both : owner == Owner::Queries ? DocumentSide::Starts : DocumentSide::Ends;
  }

  /// The blocks that `owned` rows from `first` on meet. Rows are counted in their own tensor.
  WalkedBlocks walk(Val first, int64_t owned, const DocumentEdges *documents = nullptr);
  /// The first row of the i-th block.
  Val blockStart(const WalkedBlocks &blocks, Val i);
  /// True if some pair of `owned` rows from `first` on and the block at `start` is hidden.
  Val needsMask(Val first, int64_t owned, Val start, const DocumentEdges *documents = nullptr);

  /// The LSE as `differentiate` takes it: in the base-2 domain, and +inf for rows without keys.
  Val prepare(Val lse);
  /// `lse` and `delta` are fragments like `scores`; `first` and `start` are the fragment's first row and column.
  ScoreGradient differentiate(Val scores, Val dweights, Val lse, Val delta, Val first, Val start, bool masked,
                              const DocumentRows *documents = nullptr);
  /// The same where the pairs that are visible are given, or all are.
  ScoreGradient differentiate(Val scores, Val dweights, Val lse, Val delta, Val visible);

  /// The two halves of it, for kernels in which the products arrive one after the other: the
  /// weights, and these times the slope of the soft cap, if there is one; and the gradient of the scores.
  struct Weights {
    Val weights, sloped;
  };
  Weights weigh(Val scores, Val lse, Val visible);
  Val differentiate(const Weights &weights, Val dweights, Val delta);

  mlir::Type getScoresType() { return tile::getAccType(rows, columns, b.getF32Type()); }

private:
  bool hasSinkBlocks() const { return owner == Owner::Queries && shape.window > 0 && shape.sinks > 0; }
  /// The position at which a query stands.
  Val toPosition(Val query) { return query + double(shape.getOffset()); }

  KernelBuilder &b;
  const AttendShape &shape;
  Owner owner;
  int64_t rows, columns;
};

} // namespace fresnel

#endif // FRESNEL_CONVERSION_ATTENDGRADMATH_H
