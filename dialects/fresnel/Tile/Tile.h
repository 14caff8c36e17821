//===- Tile.h - The tile dialect: the one header users include --*- C++ -*-===//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
#ifndef FRESNEL_TILE_TILE_H
#define FRESNEL_TILE_TILE_H

#include "mlir/Bytecode/BytecodeOpInterface.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/SCF/IR/SCF.h"
#include "mlir/IR/Builders.h"
#include "mlir/IR/BuiltinTypes.h"
#include "mlir/IR/Dialect.h"
#include "mlir/IR/OpDefinition.h"
#include "mlir/IR/OpImplementation.h"
#include "mlir/IR/SymbolTable.h"
#include "mlir/Interfaces/ControlFlowInterfaces.h"
#include "mlir/Interfaces/FunctionInterfaces.h"
#include "mlir/Interfaces/SideEffectInterfaces.h"

#include "fresnel/Tile/TileDialect.h.inc"
#include "fresnel/Tile/TileEnums.h.inc"
#define GET_ATTRDEF_CLASSES
#include "fresnel/Tile/TileAttrs.h.inc"
#define GET_TYPEDEF_CLASSES
#include "fresnel/Tile/TileTypes.h.inc"
#define GET_OP_CLASSES
#include "fresnel/Tile/TileOps.h.inc"

namespace fresnel::tile {

/// On a `tile.kernel` with roles: how many of its blocks a multiprocessor shall hold, 1 if absent.
constexpr llvm::StringLiteral kMinBlocksAttr = "fresnel.min_blocks";
/// On a `tile.kernel`: consecutive blocks in x that run at the same time and reach each other's shared memory, 1 if
/// absent.
constexpr llvm::StringLiteral kClusterAttr = "fresnel.cluster";
/// The cluster of the kernel around an operation.
int64_t getCluster(mlir::Operation *op);

/// True for a tensor type that carries one of the fragment encodings.
bool isFragment(mlir::Type type);

/// The fragment types: an accumulator [rows, cols], a left operand [rows, cols]
/// and a vector of one value per row.
mlir::RankedTensorType getAccType(int64_t rows, int64_t cols, mlir::Type element);
mlir::RankedTensorType getLhsType(int64_t rows, int64_t cols, mlir::Type element);
mlir::RankedTensorType getRowsType(int64_t rows, mlir::Type element);

/// Scalars (32-bit registers for a left operand) that one thread holds of a fragment.
int64_t getElementsPerThread(mlir::RankedTensorType fragment);

} // namespace fresnel::tile

#endif // FRESNEL_TILE_TILE_H
