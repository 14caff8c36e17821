//===- FresnelInterfaces.td - What operations promise ------*- tablegen -*-===//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//

#ifndef FRESNEL_INTERFACES
#define FRESNEL_INTERFACES

include "mlir/IR/OpBase.td"

def Fresnel_DifferentiableOpInterface : OpInterface<"DifferentiableOpInterface"> {
  let cppNamespace = "::fresnel";
  let description = [{
    An operation that writes its own vector-Jacobian product in the dialect.
    Operations without it (scores, selections) carry no gradient.
  }];
  let methods = [InterfaceMethod<[{
      Writes, at the builder's place, the gradient of each operand, given those
      of the results. A null value stands for no gradient: a result that nothing
      depends on (at least one is there), or an operand that carries none. Fails
      with a diagnostic where no gradient exists for these attributes.
    }],
    "::llvm::LogicalResult", "buildGradients",
    (ins "::mlir::OpBuilder &":$builder, "::mlir::ValueRange":$results,
         "::llvm::SmallVectorImpl<::mlir::Value> &":$operands)>];
}

def Fresnel_Differentiable : DeclareOpInterfaceMethods<Fresnel_DifferentiableOpInterface>;

#endif // FRESNEL_INTERFACES
