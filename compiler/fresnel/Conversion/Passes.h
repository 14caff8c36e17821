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

#define GEN_PASS_DECL
#define GEN_PASS_REGISTRATION
#include "fresnel/Conversion/Passes.h.inc"

} // namespace fresnel

#endif // FRESNEL_CONVERSION_PASSES_H
