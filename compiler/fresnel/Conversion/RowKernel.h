//===- RowKernel.h - What the kernels that move rows share
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
#ifndef FRESNEL_CONVERSION_ROWKERNEL_H
#define FRESNEL_CONVERSION_ROWKERNEL_H

#include "fresnel/Conversion/KernelBuilder.h"

namespace fresnel {

/// Threads of a block of the row kernels.
constexpr int64_t kRowThreads = 256;

/// Elements that one 16-byte access holds.
inline int64_t getVectorWidth(mlir::Type element) { return 128 / element.getIntOrFloatBitWidth(); }

/// A grid over [batch, head, sequence, head_dim] in which each thread owns one
/// 16-byte chunk of one row. The body gets the batch, head, row and first column
/// of a chunk that exists.
struct RowGrid {
  RowGrid(llvm::ArrayRef<int64_t> shape, mlir::Type element) : RowGrid(shape, getVectorWidth(element)) {}
  /// With chunks of `width` elements.
  RowGrid(llvm::ArrayRef<int64_t> shape, int64_t width)
      : rows(shape[2]), width(width), chunks(shape[3] / width), heads(shape[1]), batch(shape[0]) {}

  int64_t rowsPerBlock() const { return std::max<int64_t>(1, kRowThreads / chunks); }
  int64_t threads() const { return llvm::alignTo(rowsPerBlock() * chunks, 32); }
  std::array<int64_t, 3> grid() const { return {int64_t(llvm::divideCeil(rows, rowsPerBlock())), heads, batch}; }

  /// Where a thread works; `inside` says whether the row exists.
  struct Place {
    Val batch, head, row, column, inside;
  };
  Place locate(KernelBuilder &b) const {
    Val thread = b.id(tile::Id::Thread);
    Val local = thread / double(chunks);
    Val row = b.id(tile::Id::BlockX) * double(rowsPerBlock()) + local;
    Val inside = (row < b.i32(rows)) & (local < b.i32(rowsPerBlock()));
    return {b.id(tile::Id::BlockZ), b.id(tile::Id::BlockY), row, thread % double(chunks) * double(width), inside};
  }

  int64_t rows, width, chunks, heads, batch;
};

/// As RowGrid, but each thread owns one chunk of `perThread` rows, whose loads can
/// be in flight together, and neighbouring blocks work on the heads of the same
/// rows, which [B, N, H, D] memory holds side by side.
struct RowBatch {
  RowBatch(llvm::ArrayRef<int64_t> shape, mlir::Type element, int64_t perThread)
      : one(shape, element), perThread(perThread) {}
  RowBatch(llvm::ArrayRef<int64_t> shape, int64_t width, int64_t perThread) : one(shape, width), perThread(perThread) {}

  int64_t rowsPerBlock() const { return one.rowsPerBlock() * perThread; }
  int64_t threads() const { return one.threads(); }
  std::array<int64_t, 3> grid() const {
    return {int64_t(llvm::divideCeil(one.rows, rowsPerBlock())) * one.heads, 1, one.batch};
  }

  /// Whether every thread's rows exist.
  bool isComplete() const { return one.rows % rowsPerBlock() == 0 && one.rowsPerBlock() * one.chunks == one.threads(); }

  /// Where a thread works. A row that does not exist is not `inside` and stands
  /// for the last one, so that it can be read.
  struct Place {
    Val batch, head, column;
    llvm::SmallVector<Val> rows, inside;
  };
  Place locate(KernelBuilder &b) const {
    Val thread = b.id(tile::Id::Thread), block = b.id(tile::Id::BlockX);
    Val local = thread / double(one.chunks);
    Place place{
        b.id(tile::Id::BlockZ), block % double(one.heads), thread % double(one.chunks) * double(one.width), {}, {}};
    Val first = block / double(one.heads) * double(rowsPerBlock()) + local;
    for (int64_t i = 0; i < perThread; ++i) {
      Val row = first + double(i * one.rowsPerBlock());
      place.rows.push_back(b.min(row, b.i32(one.rows - 1)));
      place.inside.push_back((row < b.i32(one.rows)) & (local < b.i32(one.rowsPerBlock())));
    }
    return place;
  }

  /// Runs `write` for row `i` of a place if it exists.
  void ifInside(KernelBuilder &b, const Place &place, size_t i, llvm::function_ref<void()> write) const {
    isComplete() ? write() : b.ifThen(place.inside[i], write);
  }

  RowGrid one;
  int64_t perThread;
};

/// The head of `few` that head `head` of `many`, which has a multiple of its heads, shares.
inline Val getSharedHead(Val head, mlir::Value many, mlir::Value few) {
  auto count = [](mlir::Value value) { return llvm::cast<mlir::RankedTensorType>(value.getType()).getDimSize(1); };
  return head / double(count(many) / count(few));
}

/// The f64 with these words.
inline Val joinWide(KernelBuilder &b, Val low, Val high) {
  mlir::Type i64 = b.getI64Type();
  auto extend = [&](Val word) { return b.wrap(mlir::arith::ExtUIOp::create(b, i64, mlir::Value(word))); };
  return b.bitcast(extend(low) | (extend(high) << b.constant(i64, 32)), b.getF64Type());
}

/// Exchanges an f64 with another lane, word by word.
inline Val shuffleXorWide(KernelBuilder &b, Val value, int64_t mask) {
  mlir::Type i64 = b.getI64Type(), i32 = b.getI32Type();
  Val bits = b.bitcast(value, i64);
  Val low = b.cast(bits, i32), high = b.cast(bits >> b.constant(i64, 32), i32);
  return joinWide(b, b.shuffleXor(low, mask), b.shuffleXor(high, mask));
}

/// The elements of a 16-byte vector as f32, and back, rounded.
inline llvm::SmallVector<Val> widen(KernelBuilder &b, Val vector, int64_t width) {
  llvm::SmallVector<Val> values;
  for (int64_t i = 0; i < width; ++i)
    values.push_back(b.cast(b.extract(vector, i), b.getF32Type()));
  return values;
}

inline Val narrow(KernelBuilder &b, llvm::ArrayRef<Val> values, mlir::Type element) {
  llvm::SmallVector<Val> rounded;
  for (Val value : values)
    rounded.push_back(b.cast(value, element));
  return b.vector(rounded);
}

} // namespace fresnel

#endif // FRESNEL_CONVERSION_ROWKERNEL_H
