//===- InitAll.h - Registers every dialect, pass and pipeline ---*- C++ -*-===//
//
// The only list of what a Fresnel tool knows; every tool calls these.
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
#ifndef FRESNEL_INITALL_H
#define FRESNEL_INITALL_H

#include "mlir/IR/DialectRegistry.h"
#include "mlir/IR/MLIRContext.h"
#include <memory>

namespace fresnel {

/// Adds the dialects of every stage, and their translations to LLVM IR.
void registerAllDialects(mlir::DialectRegistry &registry);

/// A context with every dialect loaded, whose diagnostics do not print the operation.
std::unique_ptr<mlir::MLIRContext> makeContext();

/// Registers Fresnel's passes and pipelines, and the upstream passes they use
/// (canonicalize, cse, convert-*). Call once per process.
void registerAllPasses();

} // namespace fresnel

#endif // FRESNEL_INITALL_H
