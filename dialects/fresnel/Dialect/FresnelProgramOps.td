//===- FresnelProgramOps.td - Programs and launches --------*- tablegen -*-===//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//

#ifndef FRESNEL_PROGRAM_OPS
#define FRESNEL_PROGRAM_OPS

include "fresnel/Dialect/FresnelDialect.td"

def Fresnel_ProgramOp : Fresnel_Op<"program", [
    Symbol, IsolatedFromAbove, SingleBlock,
    DeclareOpInterfaceMethods<OpAsmOpInterface, ["getAsmBlockArgumentNames"]>]> {
  let summary = "a method: named tensors in, named tensors out";
  let description = [{
    The names of the inputs are those of the arguments as written. The results
    are what `fresnel.return` names.

    Constraints:
    - C1: the inputs are ranked tensors of static shape with bf16, f16, f32, i32 or i8 elements and no empty
      dimension.
    - C2: the input names are distinct, one per argument.
    - C3: the body ends with `fresnel.return`.

    Example:
    ```mlir
    fresnel.program @dense(%q: tensor<1x2x64x32xbf16>, %k: tensor<1x2x64x32xbf16>, %v: tensor<1x2x64x32xbf16>) {
      %out, %lse = fresnel.attend %q, %k, %v {causal = true}
          : tensor<1x2x64x32xbf16>, tensor<1x2x64x32xbf16>, tensor<1x2x64x32xbf16>
      fresnel.return %out, %lse {names = ["out", "lse"]} : tensor<1x2x64x32xbf16>, tensor<1x2x64xf32>
    }
    ```
  }];
  let arguments = (ins SymbolNameAttr:$sym_name, StrArrayAttr:$arg_names);
  let regions = (region SizedRegion<1>:$body);
  let hasCustomAssemblyFormat = 1;
  let hasVerifier = 1;
  let hasRegionVerifier = 1;
  let extraClassDeclaration = [{
    /// The terminator, whose operands are the results.
    ::fresnel::ReturnOp getReturn();
    /// Name of input `index`.
    ::llvm::StringRef getInputName(unsigned index) {
      return ::llvm::cast<::mlir::StringAttr>(getArgNames()[index]).getValue();
    }
    ::mlir::RankedTensorType getInputType(unsigned index) {
      return ::llvm::cast<::mlir::RankedTensorType>(getBody().getArgument(index).getType());
    }
    unsigned getNumInputs() { return getBody().getNumArguments(); }
  }];
}

def Fresnel_ReturnOp : Fresnel_Op<"return", [Pure, Terminator, HasParent<"ProgramOp">]> {
  let summary = "the named results of a program";
  let description = [{
    Constraints:
    - C1: one name per result, distinct.
    - C2: no result is an input of the program.
  }];
  let arguments = (ins Variadic<Fresnel_Tensor>:$results, StrArrayAttr:$names);
  let assemblyFormat = "($results^)? attr-dict (`:` type($results)^)?";
  let hasVerifier = 1;
  let extraClassDeclaration = [{
    ::llvm::StringRef getName(unsigned index) {
      return ::llvm::cast<::mlir::StringAttr>(getNames()[index]).getValue();
    }
  }];
}

def Fresnel_LaunchOp : Fresnel_Op<"launch", [Pure]> {
  let summary = "runs an outlined kernel program";
  let description = [{
    What `fresnel-outline-kernels` leaves in the place of an operation. Launches
    run in their order. `offsets`, set by `fresnel-assign-buffers`, gives each
    result its place in the workspace in bytes, or -1 for a result of the program.

    Constraints:
    - C1: `offsets`, when present, has one entry per result.

    Example: `%1 = fresnel.launch @norm_0(%q) : (tensor<1x2x64x32xbf16>) -> tensor<1x2x64xf32>`
  }];
  let arguments = (ins FlatSymbolRefAttr:$callee, Variadic<Fresnel_Tensor>:$inputs,
                       OptionalAttr<DenseI64ArrayAttr>:$offsets);
  let results = (outs Variadic<Fresnel_Tensor>:$outputs);
  let assemblyFormat = "$callee `(` $inputs `)` attr-dict `:` functional-type($inputs, $outputs)";
  let hasVerifier = 1;
}

#endif // FRESNEL_PROGRAM_OPS
