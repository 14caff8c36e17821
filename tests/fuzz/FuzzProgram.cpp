//===- FuzzProgram.cpp - Any bytes as a program in the dialect
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
//
// What parses and verifies must compile up to its kernels' schedules, or be refused
// with a diagnostic; so must its gradient.
//
//===----------------------------------------------------------------------===//

#include "Fuzz.h"
#include "fresnel/Compiler/Compiler.h"
#include "fresnel/InitAll.h"
#include "mlir/IR/MLIRContext.h"

using namespace fresnel;

/// Runs the stages that see what a user wrote; the later ones see schedules that were checked.
static void compile(mlir::ModuleOp program, const std::string &target) {
  mlir::OwningOpRef<mlir::ModuleOp> copy = program.clone();
  CompileOptions options;
  options.target = target;
  options.stopAfter = Stage::Scheduled;
  llvm::Expected<CompileResult> result = runStages(copy, options);
  if (!result)
    expect(!llvm::toString(result.takeError()).empty(), "a program is refused without a reason");
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  std::unique_ptr<mlir::MLIRContext> context = makeContext();
  context->disableMultithreading();
  auto module = parseProgramText({reinterpret_cast<const char *>(data), size}, "fuzz.mlir", *context);
  if (!module) {
    expect(!llvm::toString(module.takeError()).empty(), "a text is refused without a reason");
    return 0;
  }
  mlir::OwningOpRef<mlir::ModuleOp> program = std::move(*module);
  compile(*program, "sm_80");
  compile(*program, "sm_90a");
  if (llvm::Error error = differentiateProgram(*program, {}))
    expect(!llvm::toString(std::move(error)).empty(), "a gradient is refused without a reason");
  else
    compile(*program, "sm_80");
  return 0;
}
