//===- ManifestBuilder.h - From a lowered module to the manifest
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
#ifndef FRESNEL_COMPILER_MANIFESTBUILDER_H
#define FRESNEL_COMPILER_MANIFESTBUILDER_H

#include "fresnel/Compiler/Compiler.h"
#include "fresnel/Target/TargetInfo.h"
#include "mlir/Dialect/LLVMIR/LLVMDialect.h"
#include "llvm/ADT/StringMap.h"

namespace fresnel {

/// The kernels of a lowered module, in its order.
llvm::SmallVector<mlir::LLVM::LLVMFuncOp> getKernels(mlir::ModuleOp module);

/// Reads the buffers and launches of the plans into a manifest, from a module whose kernels have been scheduled and
/// lowered to tiles at least; `kernels` numbers these by name.
llvm::Error readPlans(mlir::ModuleOp module, const llvm::StringMap<int64_t> &kernels, rt::Manifest &manifest);

/// Reads buffers and launches from the main program and the kernels' launch
/// attributes from their functions.
llvm::Expected<rt::Manifest> buildManifest(mlir::ModuleOp module, const TargetInfo &target,
                                           const CompileOptions &options, const std::string &program,
                                           llvm::ArrayRef<std::string> ptx);

} // namespace fresnel

#endif // FRESNEL_COMPILER_MANIFESTBUILDER_H
