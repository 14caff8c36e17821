//===- Passes.td - The lowering ladder ---------------------*- tablegen -*-===//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//

#ifndef FRESNEL_CONVERSION_PASSES
#define FRESNEL_CONVERSION_PASSES

include "mlir/Pass/PassBase.td"

def FresnelToTilePass : Pass<"fresnel-to-tile", "::mlir::ModuleOp"> {
  let summary = "writes the tile kernel of every scheduled kernel program";
  let description = [{
    Precondition: kernels are outlined and carry a schedule
    (`fresnel-outline-kernels`, `fresnel-assign-schedules`). Each
    `fresnel.program` with the attribute `fresnel.kernel` becomes a
    `tile.kernel` of the same name, in destination style. Rank-4 tensors that
    are inputs or outputs of the whole program are passed with strides. The
    main program and its launches stay.
  }];
  let dependentDialects = ["::fresnel::tile::TileDialect", "::mlir::arith::ArithDialect", "::mlir::scf::SCFDialect",
                           "::mlir::math::MathDialect", "::mlir::vector::VectorDialect"];
}

def ConvertTileToNVVMPass : Pass<"convert-tile-to-nvvm", "::mlir::ModuleOp"> {
  let summary = "lowers tile kernels to the LLVM and NVVM dialects";
  let description = [{
    Each `tile.kernel` becomes an `llvm.func` with `nvvm.kernel`. Fragments
    become structs of what one thread holds, views become pointers with their
    strides, shared memory is laid out in one dynamic allocation. What the
    launch needs is left in attributes: `fresnel.block`, `fresnel.grid`,
    `fresnel.shared_bytes` and `fresnel.params`. Scalar arithmetic and
    structured control flow stay; upstream passes lower them afterwards.
  }];
  let dependentDialects = ["::mlir::LLVM::LLVMDialect", "::mlir::NVVM::NVVMDialect", "::mlir::arith::ArithDialect",
                           "::mlir::scf::SCFDialect"];
}

#endif // FRESNEL_CONVERSION_PASSES
