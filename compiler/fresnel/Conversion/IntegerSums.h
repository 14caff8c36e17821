//===- IntegerSums.h - Gradients of queries summed in integers --*- C++ -*-===//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
//
// Sums of dQ have the same bits in any order if they are of integers: what a block of keys
// adds to a row, times a factor of the row, rounded. The factor is known before: an element
// of the sum is at most K (|dout| V + |delta|), see `fresnel.attend_stats`. How coarse the
// integers are for a tile of rows is known when they have been summed.
//
//===----------------------------------------------------------------------===//
#ifndef FRESNEL_CONVERSION_INTEGERSUMS_H
#define FRESNEL_CONVERSION_INTEGERSUMS_H

#include "fresnel/Conversion/KernelBuilder.h"

namespace fresnel {

/// What the bound of a sum becomes: near 2^31, less what the rounding of the weights, of their gradients and of the
/// terms may add. A smaller bound than the second counts as that.
constexpr double kIntegerBound = 0x1.e6p30, kLeastBound = 0x1p-90;

/// Keys whose share of a sum is rounded together.
constexpr int64_t kTermKeys = 64;

/// What is added to the terms of the `block`-th block of keys before they are rounded: in [-0.5, 0.5), and spread
/// evenly over any run of blocks, so that blocks which add the same are not all rounded the same way.
Val getDither(KernelBuilder &b, Val block);

/// Whether integers are too coarse for the 64 rows of a tile (`fresnel.settle_tiles`), for a block of 128 threads, all
/// of which get the answer. `at` are batch, head and tile; of `length` rows of `columns` columns and `keys` keys.
Val areTooCoarse(KernelBuilder &b, Val tiles, Val stats, llvm::ArrayRef<Val> at, int64_t length, int64_t columns,
                 int64_t keys);

} // namespace fresnel

#endif // FRESNEL_CONVERSION_INTEGERSUMS_H
