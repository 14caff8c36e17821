//===- GateMath.h - What gate values become ---------------------*- C++ -*-===//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
#ifndef FRESNEL_CONVERSION_GATEMATH_H
#define FRESNEL_CONVERSION_GATEMATH_H

#include "fresnel/Conversion/KernelBuilder.h"
#include "fresnel/Dialect/Fresnel.h"
#include <cmath>

namespace fresnel {

/// e^x; infinity where that is too large.
inline Val exponential(KernelBuilder &b, Val x) { return b.exp2(x * M_LOG2E); }

/// What a gate value weighs its branch with.
inline Val activate(KernelBuilder &b, Activation activation, Val gate) {
  // Large negative gates give infinity here, and 0 then.
  return activation == Activation::Sigmoid ? b.reciprocal(1.0 + exponential(b, b.f32(0) - gate)) : gate;
}

/// -ln of the logistic function of a gate value, also where that is 0: ln(1 + e^-gate). NaN of NaN.
inline Val negativeLogSigmoid(KernelBuilder &b, Val gate) {
  Val negative = b.f32(0) - gate, magnitude = b.max(gate, negative);
  return b.max(negative, b.f32(0)) + b.log2(1.0 + exponential(b, b.f32(0) - magnitude)) * M_LN2;
}

} // namespace fresnel

#endif // FRESNEL_CONVERSION_GATEMATH_H
