//===- PassTarget.h - The GPU that a pass compiles for ----------*- C++ -*-===//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
#ifndef FRESNEL_TRANSFORMS_PASSTARGET_H
#define FRESNEL_TRANSFORMS_PASSTARGET_H

#include "fresnel/Target/TargetInfo.h"
#include "mlir/IR/BuiltinOps.h"

namespace fresnel {

/// The target that a pass option names, or an error at the module.
inline mlir::FailureOr<TargetInfo> requireTarget(mlir::ModuleOp module, llvm::StringRef name) {
  llvm::Expected<TargetInfo> info = findTarget(name);
  if (info)
    return *info;
  return module.emitError() << llvm::toString(info.takeError());
}

} // namespace fresnel

#endif // FRESNEL_TRANSFORMS_PASSTARGET_H
