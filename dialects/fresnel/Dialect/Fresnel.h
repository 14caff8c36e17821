//===- Fresnel.h - The fresnel dialect: the one header users include ------===//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
#ifndef FRESNEL_DIALECT_FRESNEL_H
#define FRESNEL_DIALECT_FRESNEL_H

#include "mlir/Bytecode/BytecodeOpInterface.h"
#include "mlir/IR/Builders.h"
#include "mlir/IR/BuiltinTypes.h"
#include "mlir/IR/Dialect.h"
#include "mlir/IR/OpDefinition.h"
#include "mlir/IR/OpImplementation.h"
#include "mlir/IR/SymbolTable.h"
#include "mlir/Interfaces/InferTypeOpInterface.h"
#include "mlir/Interfaces/SideEffectInterfaces.h"

namespace fresnel {
class ReturnOp;

/// What masks attention or a gradient has, null where it has none.
struct AttendMasks {
  mlir::TypedValue<mlir::RankedTensorType> blocks, documents, starts, counts;
};
/// Behind `blocks`, a tensor of rank 4 is `starts`; `counts`, which go with a gradient only, are one of rank 3 that has
/// no bounds for each row of `q`.
AttendMasks splitMasks(mlir::ValueRange masks, mlir::Value q);

/// The first of `values` that holds indices, or that does not; null if there is none.
mlir::TypedValue<mlir::RankedTensorType> findOperand(mlir::ValueRange values, bool indices);
} // namespace fresnel

#include "fresnel/Dialect/FresnelDialect.h.inc"
#include "fresnel/Dialect/FresnelEnums.h.inc"
#define GET_ATTRDEF_CLASSES
#include "fresnel/Dialect/FresnelAttrs.h.inc"
#include "fresnel/Dialect/FresnelInterfaces.h.inc"
#define GET_OP_CLASSES
#include "fresnel/Dialect/FresnelOps.h.inc"

namespace fresnel {

/// Names of the attributes that the plan passes leave on a module's programs.
constexpr llvm::StringLiteral kKernelAttr = "fresnel.kernel";
constexpr llvm::StringLiteral kScheduleAttr = "fresnel.schedule";
/// On a kernel that has an array of f32 for itself behind its results: how many.
constexpr llvm::StringLiteral kScratchAttr = "fresnel.scratch";
/// On a kernel whose last argument is an array of i32 counters, zero when the plan starts: how many.
constexpr llvm::StringLiteral kCountersAttr = "fresnel.counters";
/// On a kernel that adds to results: the numbers of those that must be zero when the plan starts.
constexpr llvm::StringLiteral kZeroedAttr = "fresnel.zeroed";
/// Bytes of workspace, on the main program.
constexpr llvm::StringLiteral kWorkspaceAttr = "fresnel.workspace_bytes";
/// On a differentiated program: how many of its inputs and outputs it had before.
constexpr llvm::StringLiteral kForwardInputsAttr = "fresnel.forward_inputs";
constexpr llvm::StringLiteral kForwardOutputsAttr = "fresnel.forward_outputs";
/// On the backward half of a program that was split.
constexpr llvm::StringLiteral kBackwardAttr = "fresnel.backward";
/// On both halves: the tensors that the forward half leaves for the backward half,
/// a list of {name, offset}; on the forward half the size of the buffer of them.
constexpr llvm::StringLiteral kSavedAttr = "fresnel.saved";
constexpr llvm::StringLiteral kSavedBytesAttr = "fresnel.saved_bytes";
/// On a program that computes one slice of batch and heads, and runs once for each: into how many each of the two is
/// cut, and the same for each input, 1 for what every slice reads whole.
constexpr llvm::StringLiteral kSlicesAttr = "fresnel.slices";
constexpr llvm::StringLiteral kInputSlicesAttr = "fresnel.input_slices";

/// The main program of a module: the one that is neither an outlined kernel nor a
/// backward half. Null when there is none or more than one.
ProgramOp findMainProgram(mlir::Operation *module);
/// The backward half that `fresnel-split-gradient` left, null if there is none.
ProgramOp findBackwardProgram(mlir::Operation *module);
/// The same for passes: emits an error at the module where it is null.
ProgramOp requireMainProgram(mlir::Operation *module);

} // namespace fresnel

#endif // FRESNEL_DIALECT_FRESNEL_H
