//===- Ptx.h - From NVVM kernels to PTX text --------------------*- C++ -*-===//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
#ifndef FRESNEL_TARGET_PTX_H
#define FRESNEL_TARGET_PTX_H

#include "fresnel/Target/TargetInfo.h"
#include "mlir/Dialect/LLVMIR/LLVMDialect.h"
#include "mlir/IR/DialectRegistry.h"

namespace fresnel {

struct PtxOutput {
  /// Optimised LLVM IR and the PTX made of it.
  std::string llvmIr, ptx;
};

/// Registers the translations that `emitPtx` needs.
void registerPtxTranslations(mlir::DialectRegistry &registry);

/// Compiles one `llvm.func` kernel, with the globals of its module, to PTX.
/// Thread-safe for modules of different contexts.
llvm::Expected<PtxOutput> emitPtx(mlir::LLVM::LLVMFuncOp kernel, const TargetInfo &target);

} // namespace fresnel

#endif // FRESNEL_TARGET_PTX_H
