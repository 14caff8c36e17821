//===- PortableProducts.h - Products of the portable family -----*- C++ -*-===//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
//
// What the portable kernels of attention and of its gradients multiply, dense or over
// block lists: tiles in shared memory with `tile.mma`, whose left operand comes through
// registers.
//
//===----------------------------------------------------------------------===//
#ifndef FRESNEL_CONVERSION_PORTABLEPRODUCTS_H
#define FRESNEL_CONVERSION_PORTABLEPRODUCTS_H

#include "fresnel/Conversion/AttendGradMath.h"

namespace fresnel {

/// left * right^T of two tiles of rows, a fragment of type `product`; `chunk` columns of the left one are in registers
/// at a time.
Val multiplyRows(KernelBuilder &b, mlir::Type product, Val left, Val right, int64_t chunk);

/// What a tile of queries carries from block to block: the sum of weighed values, and of each row the maximum of its
/// scores and the sum of its weights.
llvm::SmallVector<Val> beginSoftmax(KernelBuilder &b, int64_t rows, int64_t valueDim);
/// The next of these, with the scores of a block and its tile of values.
llvm::SmallVector<Val> continueSoftmax(KernelBuilder &b, AttendMath &math, Val scores, llvm::ArrayRef<Val> state,
                                       Val values);

/// The gradients that a thread block sums: those of its queries, or of its keys and values, `parts` thread blocks
/// sharing the columns of a tile of rows.
struct GradientSums {
  int64_t parts;
  /// Which of them this thread block is.
  Val part;

  llvm::SmallVector<Val> begin(KernelBuilder &b, const AttendShape &shape, Owner owner, int64_t rows) const;
  /// sum + left * right, of the columns that this thread block owns; `right` is a tile of shared memory.
  Val add(KernelBuilder &b, Val sum, Val left, Val right) const;
};

} // namespace fresnel

#endif // FRESNEL_CONVERSION_PORTABLEPRODUCTS_H
