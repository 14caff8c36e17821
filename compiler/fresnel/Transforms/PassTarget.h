//===- PassTarget.h - What a pass works on, and for which GPU ---*- C++ -*-===//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
#ifndef FRESNEL_TRANSFORMS_PASSTARGET_H
#define FRESNEL_TRANSFORMS_PASSTARGET_H

#include "fresnel/Dialect/Fresnel.h"
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

/// The program that a module is about, and the target.
struct ProgramForTarget {
  ProgramOp program;
  TargetInfo target;
};

/// Both, or an error.
inline mlir::FailureOr<ProgramForTarget> requireProgramForTarget(mlir::ModuleOp module, llvm::StringRef name) {
  ProgramOp program = requireMainProgram(module);
  if (!program)
    return mlir::failure();
  mlir::FailureOr<TargetInfo> target = requireTarget(module, name);
  if (failed(target))
    return mlir::failure();
  return ProgramForTarget{program, *target};
}

} // namespace fresnel

#endif // FRESNEL_TRANSFORMS_PASSTARGET_H
