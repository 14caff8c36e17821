//===- Infer.h - What the shape inference files share -----------*- C++ -*-===//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
#ifndef FRESNEL_DIALECT_INFER_H
#define FRESNEL_DIALECT_INFER_H

#include "fresnel/Dialect/Fresnel.h"
#include "llvm/Support/MathExtras.h"
#include <cmath>

namespace fresnel {

/// No dimension is larger; sums of such sizes do not overflow.
constexpr int64_t kMaxSize = int64_t(1) << 40;

/// Collects one error of an operation whose types are being inferred; without a
/// location (speculative inference) nothing is printed.
template <typename Op>
struct Inference {
  std::optional<mlir::Location> location;

  template <typename... Args>
  mlir::LogicalResult fail(Args &&...args) const {
    return mlir::emitOptionalError(location, "'", Op::getOperationName(), "' op ", std::forward<Args>(args)...);
  }

  /// Types are inferred while parsing, before anything has checked that the
  /// mandatory attributes, all 64-bit integers, are there.
  mlir::LogicalResult require(mlir::DictionaryAttr attributes, llvm::ArrayRef<llvm::StringRef> names) const {
    for (llvm::StringRef name : names) {
      auto value = attributes.getAs<mlir::IntegerAttr>(name);
      if (!value || !value.getType().isSignlessInteger(64))
        return fail("needs the attribute `", name, "`, a 64-bit integer");
    }
    return mlir::success();
  }

  /// Nor has anything checked the operands: tensors [B, H, N, D], [B, H, N], or
  /// either of them. Optional operands that are absent pass.
  mlir::LogicalResult requireRows(mlir::ValueRange values) const { return requireRank(values, 4, 4); }
  mlir::LogicalResult requireScores(mlir::ValueRange values) const { return requireRank(values, 3, 3); }
  mlir::LogicalResult requireRowsOrScores(mlir::ValueRange values) const { return requireRank(values, 3, 4); }

private:
  mlir::LogicalResult requireRank(mlir::ValueRange values, int64_t lowest, int64_t highest) const {
    auto fits = [&](mlir::Type type) {
      auto tensor = llvm::dyn_cast<mlir::RankedTensorType>(type);
      return tensor && tensor.getRank() >= lowest && tensor.getRank() <= highest &&
             llvm::all_of(tensor.getShape(), [](int64_t size) { return size >= 1 && size <= kMaxSize; });
    };
    for (mlir::Value value : values)
      if (value && !fits(value.getType()))
        return fail("takes tensors of rank ", lowest, lowest < highest ? " or 4" : "",
                    " there with static sizes from 1 to 2^40, but got ", value.getType());
    return mlir::success();
  }
};

inline mlir::RankedTensorType getTensor(mlir::Value value) {
  return llvm::cast<mlir::RankedTensorType>(value.getType());
}

/// The mask of attention that has that rank, or null.
template <typename Adaptor>
mlir::Value getMaskOfRank(Adaptor adaptor, int64_t rank) {
  for (mlir::Value mask : adaptor.getMasks())
    if (getTensor(mask).getRank() == rank)
      return mask;
  return {};
}

/// The type with dimension 2 replaced.
inline mlir::RankedTensorType withLength(mlir::RankedTensorType type, int64_t length) {
  llvm::SmallVector<int64_t> shape(type.getShape());
  shape[2] = length;
  return mlir::RankedTensorType::get(shape, type.getElementType());
}

/// Whether batches agree and the heads of `many` are a multiple of those of `few`.
inline bool sharesHeads(mlir::RankedTensorType many, mlir::RankedTensorType few) {
  return many.getDimSize(0) == few.getDimSize(0) && many.getDimSize(1) % few.getDimSize(1) == 0;
}

/// Checks the attributes of a pyramid over `length` rows.
template <typename Op>
mlir::LogicalResult checkPyramid(Inference<Op> infer, int64_t length, int64_t levels, int64_t factor) {
  if (levels < 1 || levels > 16)
    return infer.fail("`levels` must be in [1, 16], but got ", levels);
  if (factor < 2)
    return infer.fail("`factor` must be at least 2, but got ", factor);
  if (length <= 0 || length > kMaxSize)
    return infer.fail("`seq_len` must be positive and at most 2^40, but got ", length);
  if (std::pow(double(factor), double(levels - 1)) > INT32_MAX)
    return infer.fail("the coarsest window of `factor` ", factor, " and `levels` ", levels,
                      " must hold at most 2147483647 tokens");
  return mlir::success();
}

/// The most documents that a sequence has: kernels hold a table of them.
constexpr size_t kMaxDocuments = 65535;

/// Checks the lengths of the documents, if there are any, of a sequence of `length` tokens.
template <typename Op>
mlir::LogicalResult checkDocuments(Inference<Op> infer, int64_t length, llvm::ArrayRef<int64_t> documents) {
  if (documents.empty())
    return mlir::success();
  if (documents.size() > kMaxDocuments)
    return infer.fail("`documents` must be at most ", kMaxDocuments, ", but there are ", documents.size());
  int64_t sum = 0;
  for (int64_t tokens : documents) {
    if (tokens < 0 || tokens > length)
      return infer.fail("each of `documents` must be in [0, ", length, "], but got ", tokens);
    sum += tokens;
  }
  if (sum != length)
    return infer.fail("`documents` must sum to the ", length, " tokens, but they sum to ", sum);
  return mlir::success();
}

/// Whether `documents` are bounds, [1, 2, N], of so many tokens.
inline bool areBoundsOf(mlir::Value documents, int64_t tokens) {
  return getTensor(documents).getShape() == llvm::ArrayRef<int64_t>{1, 2, tokens};
}

/// Checks the documents of a selection, if there are any: of tokens in so many rows and blocks.
template <typename Op>
mlir::LogicalResult checkSelectedDocuments(Inference<Op> infer, mlir::Value documents, int64_t queryBlock,
                                           int64_t keyBlock, int64_t rows, int64_t blocks) {
  if (!documents)
    return mlir::success();
  int64_t tokens = getTensor(documents).getDimSize(2);
  if (!areBoundsOf(documents, tokens) || int64_t(llvm::divideCeil(tokens, queryBlock)) != rows ||
      int64_t(llvm::divideCeil(tokens, keyBlock)) != blocks)
    return infer.fail("`documents` must be [1, 2, N] of N tokens in ", rows, " rows and ", blocks, " blocks, but got ",
                      documents.getType());
  return mlir::success();
}

/// Checks where blocks of `keyBlock` of the keys start, if that is given.
template <typename Op>
mlir::LogicalResult checkStarts(Inference<Op> infer, mlir::Value starts, mlir::Value k, int64_t keyBlock) {
  if (!starts)
    return mlir::success();
  int64_t blocks = llvm::divideCeil(getTensor(k).getDimSize(2), keyBlock);
  if (getTensor(starts).getShape() != llvm::ArrayRef<int64_t>{1, 1, blocks, 1})
    return infer.fail("`starts` must be [1, 1, ", blocks, ", 1], but got ", starts.getType());
  return mlir::success();
}

/// The scale of scores: 1/sqrt(D) of the queries when absent.
inline double resolveScale(std::optional<llvm::APFloat> scale, mlir::Value q) {
  return scale ? scale->convertToDouble() : 1.0 / std::sqrt(double(getTensor(q).getDimSize(3)));
}

/// Rows of a sequence of `length` rows after pooling; the sequence holds a window.
inline int64_t getPooledLength(int64_t length, int64_t window, int64_t stride, Tail tail) {
  if (length <= window)
    return 1;
  return (tail == Tail::Drop ? (length - window) / stride : llvm::divideCeil(length - window, stride)) + 1;
}

/// Whether operands are one without indices and one with, either or both, in this order.
inline bool areOneOfEach(mlir::ValueRange values) {
  return values.size() < 2 ||
         (values.size() == 2 && findOperand(values, false) == values[0] && findOperand(values, true) == values[1]);
}

/// Checks the documents of a pooling of `length` tokens, if there are any.
template <typename Op>
mlir::LogicalResult checkPoolDocuments(Inference<Op> infer, typename Op::Adaptor adaptor, mlir::Value documents,
                                       int64_t length) {
  if (!documents)
    return mlir::success();
  if (!areBoundsOf(documents, length))
    return infer.fail("`documents` must be [1, 2, ", length, "], but got ", documents.getType());
  bool overlaps = adaptor.getStride() != 0 && adaptor.getStride() != adaptor.getWindow();
  if (adaptor.getKind() != PoolKind::Mean || adaptor.getTail() != Tail::Keep || overlaps)
    return infer.fail("`documents` needs `mean`, `tail = keep` and a `stride` of 0 or `window`; pool with overlaps or "
                      "`tail = drop` without documents, and mask windows that reach beyond");
  return mlir::success();
}

} // namespace fresnel

#endif // FRESNEL_DIALECT_INFER_H
