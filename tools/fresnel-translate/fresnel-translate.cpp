//===- fresnel-translate.cpp - Tile kernels to PTX on the command line ----===//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//

#include "fresnel/Conversion/Passes.h"
#include "fresnel/Pipelines/Pipelines.h"
#include "fresnel/Target/Ptx.h"
#include "mlir/Dialect/ControlFlow/IR/ControlFlow.h"
#include "mlir/Pass/PassManager.h"
#include "mlir/Tools/mlir-translate/MlirTranslateMain.h"
#include "mlir/Tools/mlir-translate/Translation.h"
#include "llvm/Support/CommandLine.h"

using namespace mlir;

static llvm::cl::opt<std::string> targetName("target", llvm::cl::desc("target of --tile-to-ptx"),
                                             llvm::cl::init("sm_90a"));

/// Lowers the tile kernels of a module and prints the PTX of each.
static LogicalResult translateToPtx(ModuleOp module, llvm::raw_ostream &os) {
  PassManager pm(module->getContext());
  fresnel::populateNVVMPipeline(pm);
  fresnel::populateLLVMPipeline(pm);
  if (failed(pm.run(module)))
    return failure();
  llvm::Expected<fresnel::TargetInfo> target = fresnel::findTarget(targetName);
  if (!target)
    return module.emitError() << llvm::toString(target.takeError());
  for (auto kernel : module.getOps<LLVM::LLVMFuncOp>()) {
    llvm::Expected<fresnel::PtxOutput> output = fresnel::emitPtx(kernel, *target);
    if (!output)
      return kernel.emitError() << llvm::toString(output.takeError());
    os << output->ptx;
  }
  return success();
}

static void registerDialects(DialectRegistry &registry) {
  registry.insert<fresnel::tile::TileDialect, arith::ArithDialect, cf::ControlFlowDialect, LLVM::LLVMDialect,
                  math::MathDialect, NVVM::NVVMDialect, scf::SCFDialect, vector::VectorDialect>();
  fresnel::registerPtxTranslations(registry);
}

int main(int argc, char **argv) {
  TranslateFromMLIRRegistration registration("tile-to-ptx", "lower tile kernels to PTX", translateToPtx,
                                             registerDialects);
  return failed(mlirTranslateMain(argc, argv, "Fresnel translation driver\n")) ? 1 : 0;
}
