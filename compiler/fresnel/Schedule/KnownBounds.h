//===- KnownBounds.h - Documents whose lengths a program says ---*- C++ -*-===//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
#ifndef FRESNEL_SCHEDULE_KNOWNBOUNDS_H
#define FRESNEL_SCHEDULE_KNOWNBOUNDS_H

#include "fresnel/Dialect/Fresnel.h"
#include "fresnel/Reference/Tensor.h"

namespace fresnel {

/// What the bounds of documents `value` hold, [1, 2, N], if the operation that makes them has their lengths. It may
/// stand in another kernel than the one that reads `value`, or in the forward half of the method.
std::optional<ref::IndexTensor> findKnownBounds(mlir::Value value);

} // namespace fresnel

#endif // FRESNEL_SCHEDULE_KNOWNBOUNDS_H
