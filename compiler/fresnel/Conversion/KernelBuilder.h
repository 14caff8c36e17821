//===- KernelBuilder.h - Writes tile kernels like arithmetic ----*- C++ -*-===//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
//
// A thin layer over OpBuilder with which the fresnel-to-tile lowerings write
// kernels: `Val` gives SSA values C++ operators, `KernelBuilder` gives loops and
// conditions that take lambdas. It creates operations and holds no state of its
// own; one builder serves one kernel and one thread.
//
//===----------------------------------------------------------------------===//
#ifndef FRESNEL_CONVERSION_KERNELBUILDER_H
#define FRESNEL_CONVERSION_KERNELBUILDER_H

#include "fresnel/Tile/Tile.h"
#include "mlir/IR/ImplicitLocOpBuilder.h"
#include "llvm/ADT/STLFunctionalExtras.h"

namespace fresnel {

class KernelBuilder;

/// An SSA value with operators. Operands of one operator have one type; a plain
/// number takes the other operand's type, and a scalar meeting a fragment is
/// splat. Integers are signed; comparisons give i1.
class Val {
public:
  Val() = default;
  Val(KernelBuilder &builder, mlir::Value value) : builder(&builder), value(value) {}
  operator mlir::Value() const { return value; }
  mlir::Type getType() const { return value.getType(); }
  explicit operator bool() const { return static_cast<bool>(value); }
  KernelBuilder &getBuilder() const { return *builder; }

private:
  KernelBuilder *builder = nullptr;
  mlir::Value value;
};

#define FRESNEL_VAL_OPERATOR(op)                                                                                       \
  Val operator op(Val lhs, Val rhs);                                                                                   \
  Val operator op(Val lhs, double rhs);                                                                                \
  Val operator op(double lhs, Val rhs);
FRESNEL_VAL_OPERATOR(+)
FRESNEL_VAL_OPERATOR(-)
FRESNEL_VAL_OPERATOR(*)
FRESNEL_VAL_OPERATOR(/)
FRESNEL_VAL_OPERATOR(%)
FRESNEL_VAL_OPERATOR(&)
FRESNEL_VAL_OPERATOR(|)
FRESNEL_VAL_OPERATOR(^)
FRESNEL_VAL_OPERATOR(<<)
FRESNEL_VAL_OPERATOR(>>) // logical
FRESNEL_VAL_OPERATOR(<)
FRESNEL_VAL_OPERATOR(<=)
FRESNEL_VAL_OPERATOR(>)
FRESNEL_VAL_OPERATOR(>=)
FRESNEL_VAL_OPERATOR(==)
FRESNEL_VAL_OPERATOR(!=)
#undef FRESNEL_VAL_OPERATOR

class KernelBuilder : public mlir::ImplicitLocOpBuilder {
public:
  using ImplicitLocOpBuilder::ImplicitLocOpBuilder;

  /// Creates `tile.kernel @name` at the insertion point with a `tile.return`
  /// and moves the insertion point into it. `block` counts threads.
  tile::KernelOp beginKernel(llvm::StringRef name, llvm::ArrayRef<mlir::Type> arguments, int64_t block,
                             std::array<int64_t, 3> grid);
  Val argument(tile::KernelOp kernel, unsigned index) { return wrap(kernel.getBody().getArgument(index)); }

  Val wrap(mlir::Value value) { return Val(*this, value); }
  Val i32(int64_t value);
  Val f32(double value);
  /// A constant of any integer or float type, or a splat of a fragment or vector type.
  Val constant(mlir::Type type, double value);
  Val id(tile::Id which) { return wrap(tile::IdOp::create(*this, which)); }

  Val min(Val a, Val b);
  Val max(Val a, Val b);
  Val select(Val condition, Val a, Val b);
  Val exp2(Val x);
  Val log2(Val x);
  Val sqrt(Val x);
  /// 1 / x within two units in the last place, by the reciprocal's own instruction.
  Val reciprocal(Val x);
  /// a * b + c, rounded once.
  Val fma(Val a, Val b, Val c);
  Val popcount(Val x);
  Val bitcast(Val x, mlir::Type type);
  /// Widens or narrows between integer or between float types (sign-extending; i1 zero-extends).
  Val cast(Val x, mlir::Type type);
  /// Signed integer to float.
  Val toFloat(Val x, mlir::Type type);
  /// Element `index` of a vector, and a vector of the given elements.
  Val extract(Val vector, int64_t index);
  Val vector(llvm::ArrayRef<Val> elements);

  Val alloc(llvm::ArrayRef<int64_t> shape, mlir::Type element, tile::Layout layout = tile::Layout::Linear);
  Val allocReusing(Val earlier, llvm::ArrayRef<int64_t> shape, mlir::Type element, tile::Layout layout);
  Val slice(Val ring, Val stage) { return wrap(tile::SliceOp::create(*this, ring, stage)); }
  /// Constants, row by row, of which `load` reads one.
  Val table(llvm::ArrayRef<int32_t> values, int64_t columns);
  /// Loads a scalar, or with `width` > 1 a vector of that many consecutive elements.
  Val load(Val view, llvm::ArrayRef<Val> indices, int64_t width = 1);
  void store(Val value, Val view, llvm::ArrayRef<Val> indices);
  Val atomic(tile::Combine kind, Val value, Val view, llvm::ArrayRef<Val> indices);
  Val shuffle(tile::Shuffle kind, Val value, Val lane) {
    return wrap(tile::ShuffleOp::create(*this, kind, value, lane));
  }
  Val shuffleXor(Val value, int64_t mask) { return shuffle(tile::Shuffle::Xor, value, i32(mask)); }
  Val ballot(Val predicate) { return wrap(tile::BallotOp::create(*this, getI32Type(), predicate)); }
  void barrier() { tile::BarrierOp::create(*this, mlir::Value(), mlir::IntegerAttr(), false); }

  /// `for (i = lower; i < upper; i += step)` over i32 with loop-carried values:
  /// the body gets the induction variable and the carried values and returns the next ones.
  using LoopBody = llvm::function_ref<llvm::SmallVector<Val>(Val, llvm::ArrayRef<Val>)>;
  llvm::SmallVector<Val> forRange(Val lower, Val upper, Val step, llvm::ArrayRef<Val> init, LoopBody body);
  void forRange(Val lower, Val upper, Val step, llvm::function_ref<void(Val)> body);
  /// `while (condition(carried)) carried = body(carried)`.
  llvm::SmallVector<Val> whileLoop(llvm::ArrayRef<Val> init, llvm::function_ref<Val(llvm::ArrayRef<Val>)> condition,
                                   llvm::function_ref<llvm::SmallVector<Val>(llvm::ArrayRef<Val>)> body);
  void ifThen(Val condition, llvm::function_ref<void()> then);
  llvm::SmallVector<Val> ifElse(Val condition, llvm::function_ref<llvm::SmallVector<Val>()> then,
                                llvm::function_ref<llvm::SmallVector<Val>()> otherwise);
};

/// The view a kernel argument has of a tensor.
tile::GlobalType getGlobalType(mlir::RankedTensorType tensor, bool strided);

} // namespace fresnel

#endif // FRESNEL_CONVERSION_KERNELBUILDER_H
