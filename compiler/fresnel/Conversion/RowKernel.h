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
  RowGrid(llvm::ArrayRef<int64_t> shape, mlir::Type element)
      : rows(shape[2]), width(getVectorWidth(element)), chunks(shape[3] / width), heads(shape[1]), batch(shape[0]) {}

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
