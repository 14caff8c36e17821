//===- Lowering.h - What the tile-to-NVVM patterns share --------*- C++ -*-===//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
#ifndef FRESNEL_CONVERSION_TILETONVVM_LOWERING_H
#define FRESNEL_CONVERSION_TILETONVVM_LOWERING_H

#include "fresnel/Tile/Tile.h"
#include "mlir/Conversion/LLVMCommon/Pattern.h"
#include "mlir/Conversion/LLVMCommon/TypeConverter.h"
#include "mlir/Dialect/LLVMIR/LLVMDialect.h"
#include "mlir/Dialect/LLVMIR/NVVMDialect.h"
#include "mlir/IR/ImplicitLocOpBuilder.h"
#include "mlir/Transforms/DialectConversion.h"

namespace fresnel::tile {

constexpr unsigned kGlobalSpace = 1;
constexpr unsigned kSharedSpace = 3;
/// The one dynamic shared-memory allocation of a module's kernels.
constexpr llvm::StringLiteral kSharedSymbol = "fresnel_shared";
/// On a `tile.table`: the global that holds its values.
constexpr llvm::StringLiteral kTableAttr = "global";

/// Converts fragments to structs of one thread's values, `!tile.global` to
/// {pointer, strides...}, shared views and barriers to shared pointers.
class TileTypeConverter : public mlir::LLVMTypeConverter {
public:
  explicit TileTypeConverter(mlir::MLIRContext *context);
};

/// An LLVM-dialect builder with the few idioms the patterns repeat.
class Emitter : public mlir::ImplicitLocOpBuilder {
public:
  using ImplicitLocOpBuilder::ImplicitLocOpBuilder;

  mlir::Value i32(int64_t value);
  mlir::Value i64(int64_t value);
  mlir::Value add(mlir::Value a, mlir::Value b) { return mlir::LLVM::AddOp::create(*this, a, b); }
  mlir::Value mul(mlir::Value a, mlir::Value b) { return mlir::LLVM::MulOp::create(*this, a, b); }
  mlir::Value bitAnd(mlir::Value a, int64_t b) { return mlir::LLVM::AndOp::create(*this, a, i32(b)); }
  mlir::Value bitXor(mlir::Value a, mlir::Value b) { return mlir::LLVM::XOrOp::create(*this, a, b); }
  mlir::Value shl(mlir::Value a, int64_t b) { return mlir::LLVM::ShlOp::create(*this, a, i32(b)); }
  mlir::Value shr(mlir::Value a, int64_t b) { return mlir::LLVM::LShrOp::create(*this, a, i32(b)); }
  mlir::Value less(mlir::Value a, mlir::Value b);
  mlir::Value toI64(mlir::Value a) { return mlir::LLVM::SExtOp::create(*this, getI64Type(), a); }
  /// `pointer` + `bytes`, with a value of either width or a constant.
  mlir::Value offset(mlir::Value pointer, mlir::Value bytes);
  mlir::Value offset(mlir::Value pointer, int64_t bytes);

  llvm::SmallVector<mlir::Value> unpack(mlir::Value aggregate);
  mlir::Value pack(mlir::Type aggregate, llvm::ArrayRef<mlir::Value> values);

  /// Inline PTX with side effects; several results come back as a struct's members.
  llvm::SmallVector<mlir::Value> ptx(llvm::StringRef text, llvm::StringRef constraints, mlir::ValueRange operands,
                                     llvm::ArrayRef<mlir::Type> results = {});

  mlir::Value threadId() { return mlir::NVVM::ThreadIdXOp::create(*this, getI32Type()); }
  mlir::Value laneId() { return bitAnd(threadId(), 31); }
  /// First of the two rows that this thread holds of a fragment: 16 * warp + lane / 4.
  mlir::Value fragmentRow(int64_t rows);
  /// 2 * (lane % 4): this thread's first column in each group of eight.
  mlir::Value fragmentColumn() { return shl(bitAnd(threadId(), 3), 1); }
  mlir::Value shuffleXor(mlir::Value value, int64_t mask);
  /// Row `row` of a tile in groups: `head` + row mod group, and `position` + row div group.
  std::pair<mlir::Value, mlir::Value> place(mlir::Value head, mlir::Value position, mlir::Value row, int64_t group);

  /// Byte offset of a row in a panel of a swizzled tile.
  mlir::Value panelRow(SharedType tile, mlir::Value row) { return shl(row, tile.getPanelBytes() == 128 ? 7 : 6); }
  /// Byte offset of element (row, col) in a tile; col counts elements.
  mlir::Value sharedOffset(SharedType tile, mlir::Value row, mlir::Value col);
  /// Address of row `indices[rank-2]` of [batch, head, ...] in a global view: the innermost index is given in elements.
  mlir::Value globalAddress(GlobalType view, mlir::Value descriptor, mlir::ValueRange indices);
};

/// The base of the lowering patterns of this folder.
template <typename Op>
struct TilePattern : mlir::ConvertOpToLLVMPattern<Op> {
  using mlir::ConvertOpToLLVMPattern<Op>::ConvertOpToLLVMPattern;
};

void populateMemoryPatterns(const TileTypeConverter &converter, mlir::RewritePatternSet &patterns);
void populateCopyPatterns(const TileTypeConverter &converter, mlir::RewritePatternSet &patterns);
void populateFragmentPatterns(const TileTypeConverter &converter, mlir::RewritePatternSet &patterns);
void populateElementwisePatterns(const TileTypeConverter &converter, mlir::RewritePatternSet &patterns);
void populateMmaPatterns(const TileTypeConverter &converter, mlir::RewritePatternSet &patterns);
void populateWgmmaPatterns(const TileTypeConverter &converter, mlir::RewritePatternSet &patterns);
void populateAsyncPatterns(const TileTypeConverter &converter, mlir::RewritePatternSet &patterns);

/// Lays out shared memory and replaces the kernel by an `llvm.func` whose body
/// still holds tile operations; leaves the launch attributes on it.
mlir::FailureOr<mlir::LLVM::LLVMFuncOp> lowerKernelSignature(KernelOp kernel, const TileTypeConverter &converter);

/// Makes a global of the values of every `tile.table`, in front of the function.
void declareTables(mlir::LLVM::LLVMFuncOp function);

/// Turns every `tile.warp_specialize` into a branch with register reallocation.
void lowerWarpRoles(mlir::LLVM::LLVMFuncOp function);

} // namespace fresnel::tile

#endif // FRESNEL_CONVERSION_TILETONVVM_LOWERING_H
