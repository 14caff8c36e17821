//===- ConvertTileToNVVM.cpp - The rung from tile to NVVM -----------------===//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//

#include "fresnel/Conversion/Passes.h"
#include "fresnel/Conversion/TileToNVVM/Lowering.h"
#include "mlir/Dialect/SCF/Transforms/Patterns.h"

using namespace mlir;

namespace fresnel {
#define GEN_PASS_DEF_CONVERTTILETONVVMPASS
#include "fresnel/Conversion/Passes.h.inc"

namespace {

static bool usesFragments(Operation *op) {
  return llvm::any_of(op->getOperandTypes(), tile::isFragment) || llvm::any_of(op->getResultTypes(), tile::isFragment);
}

struct ConvertTileToNVVMPass final : impl::ConvertTileToNVVMPassBase<ConvertTileToNVVMPass> {
  using Base::Base;

  void runOnOperation() override {
    tile::TileTypeConverter converter(&getContext());
    SmallVector<tile::KernelOp> kernels(getOperation().getOps<tile::KernelOp>());
    if (kernels.empty())
      return;
    declareSharedMemory();
    for (tile::KernelOp kernel : kernels)
      if (failed(convert(kernel, converter)))
        return signalPassFailure();
  }

  void declareSharedMemory() {
    OpBuilder builder = OpBuilder::atBlockBegin(getOperation().getBody());
    auto type = LLVM::LLVMArrayType::get(builder.getI8Type(), 0);
    LLVM::GlobalOp::create(builder, getOperation().getLoc(), type, /*isConstant=*/false, LLVM::Linkage::External,
                           tile::kSharedSymbol, Attribute(), /*alignment=*/1024, tile::kSharedSpace);
  }

  LogicalResult convert(tile::KernelOp kernel, const tile::TileTypeConverter &converter) {
    FailureOr<LLVM::LLVMFuncOp> function = tile::lowerKernelSignature(kernel, converter);
    if (failed(function))
      return failure();
    tile::declareTables(*function);
    tile::lowerWarpRoles(*function);

    RewritePatternSet patterns(&getContext());
    tile::populateMemoryPatterns(converter, patterns);
    tile::populateCopyPatterns(converter, patterns);
    tile::populateFragmentPatterns(converter, patterns);
    tile::populateElementwisePatterns(converter, patterns);
    tile::populateMmaPatterns(converter, patterns);
    tile::populateWgmmaPatterns(converter, patterns);
    tile::populateAsyncPatterns(converter, patterns);
    ConversionTarget target(getContext());
    target.addIllegalDialect<tile::TileDialect>();
    target.addLegalDialect<LLVM::LLVMDialect, NVVM::NVVMDialect, vector::VectorDialect>();
    target.addLegalOp<UnrealizedConversionCastOp>();
    target.addDynamicallyLegalDialect<arith::ArithDialect, math::MathDialect>(
        [](Operation *op) { return !usesFragments(op) && !isa<math::Log2Op, math::Exp2Op>(op); });
    scf::populateSCFStructuralTypeConversionsAndLegality(converter, patterns, target);
    return applyPartialConversion(*function, target, std::move(patterns));
  }
};

} // namespace
} // namespace fresnel
