//===- Passes.h - The lowering ladder ---------------------------*- C++ -*-===//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
#ifndef FRESNEL_CONVERSION_PASSES_H
#define FRESNEL_CONVERSION_PASSES_H

#include "fresnel/Tile/Tile.h"
#include "mlir/Dialect/LLVMIR/LLVMDialect.h"
#include "mlir/Dialect/LLVMIR/NVVMDialect.h"
#include "mlir/Dialect/Math/IR/Math.h"
#include "mlir/Dialect/Vector/IR/VectorOps.h"
#include "mlir/IR/BuiltinOps.h"
#include "mlir/Pass/Pass.h"

namespace fresnel {

/// On a tile kernel, an array: the operand of the launch that each argument is of, if they are not the same in number
/// and order. A tensor may be an argument twice, with boxes of two kinds.
constexpr llvm::StringLiteral kOperandsAttr = "fresnel.operands";

#define GEN_PASS_DECL
#define GEN_PASS_REGISTRATION
#include "fresnel/Conversion/Passes.h.inc"

} // namespace fresnel

#endif // FRESNEL_CONVERSION_PASSES_H
