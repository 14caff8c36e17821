//===- HopperWideGrad.h - Attention's gradients for wide heads --*- C++ -*-===//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
#ifndef FRESNEL_CONVERSION_HOPPERWIDEGRAD_H
#define FRESNEL_CONVERSION_HOPPERWIDEGRAD_H

#include "fresnel/Conversion/ToTile.h"

namespace fresnel {

/// The gradients in one pass where `isHopperGradWide`.
void lowerHopperWideGrad(AttendGradOp op, const KernelRequest &request, KernelBuilder &builder);

} // namespace fresnel

#endif // FRESNEL_CONVERSION_HOPPERWIDEGRAD_H
