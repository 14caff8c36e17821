//===- Passes.h - From a program to its plan
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
#ifndef FRESNEL_TRANSFORMS_PASSES_H
#define FRESNEL_TRANSFORMS_PASSES_H

#include "fresnel/Dialect/Fresnel.h"
#include "mlir/IR/BuiltinOps.h"
#include "mlir/Pass/Pass.h"

namespace fresnel {

#define GEN_PASS_DECL
#define GEN_PASS_REGISTRATION
#include "fresnel/Transforms/Passes.h.inc"

} // namespace fresnel

#endif // FRESNEL_TRANSFORMS_PASSES_H
