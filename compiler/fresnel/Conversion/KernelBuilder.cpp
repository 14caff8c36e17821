//===- KernelBuilder.cpp - Writes tile kernels like arithmetic ------------===//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//

#include "fresnel/Conversion/KernelBuilder.h"
#include "mlir/Dialect/Math/IR/Math.h"
#include "mlir/Dialect/Vector/IR/VectorOps.h"

using namespace mlir;
using namespace fresnel;

// Contraction into fused multiply-adds is what every kernel wants; nothing else
// is relaxed, so that results do not depend on the optimiser.
static arith::FastMathFlags contract() { return arith::FastMathFlags::contract; }

static bool isFloat(Type type) { return isa<FloatType>(getElementTypeOrSelf(type)); }

//===----------------------------------------------------------------------===//
// Operators
//===----------------------------------------------------------------------===//

/// Splats a scalar that meets a fragment.
static void unify(Val &lhs, Val &rhs) {
  KernelBuilder &b = lhs.getBuilder();
  if (tile::isFragment(lhs.getType()) && !tile::isFragment(rhs.getType()))
    rhs = b.wrap(tile::SplatOp::create(b, lhs.getType(), rhs));
  else if (tile::isFragment(rhs.getType()) && !tile::isFragment(lhs.getType()))
    lhs = b.wrap(tile::SplatOp::create(b, rhs.getType(), lhs));
}

template <typename FloatOp, typename IntOp>
static Val arithmetic(Val lhs, Val rhs) {
  unify(lhs, rhs);
  KernelBuilder &b = lhs.getBuilder();
  if (isFloat(lhs.getType()))
    return b.wrap(FloatOp::create(b, Value(lhs), Value(rhs), contract()));
  return b.wrap(IntOp::create(b, Value(lhs), Value(rhs)));
}

template <typename IntOp>
static Val bitwise(Val lhs, Val rhs) {
  unify(lhs, rhs);
  KernelBuilder &b = lhs.getBuilder();
  return b.wrap(IntOp::create(b, Value(lhs), Value(rhs)));
}

static Val compare(Val lhs, Val rhs, arith::CmpFPredicate floatPredicate, arith::CmpIPredicate intPredicate) {
  unify(lhs, rhs);
  KernelBuilder &b = lhs.getBuilder();
  if (isFloat(lhs.getType()))
    return b.wrap(arith::CmpFOp::create(b, floatPredicate, lhs, rhs));
  return b.wrap(arith::CmpIOp::create(b, intPredicate, lhs, rhs));
}

#define FRESNEL_VAL_OPERATOR(op, expression)                                                                           \
  Val fresnel::operator op(Val lhs, Val rhs) { return expression; }                                                    \
  Val fresnel::operator op(Val lhs, double rhs) { return lhs op lhs.getBuilder().constant(lhs.getType(), rhs); }       \
  Val fresnel::operator op(double lhs, Val rhs) { return rhs.getBuilder().constant(rhs.getType(), lhs) op rhs; }
FRESNEL_VAL_OPERATOR(+, (arithmetic<arith::AddFOp, arith::AddIOp>(lhs, rhs)))
FRESNEL_VAL_OPERATOR(-, (arithmetic<arith::SubFOp, arith::SubIOp>(lhs, rhs)))
FRESNEL_VAL_OPERATOR(*, (arithmetic<arith::MulFOp, arith::MulIOp>(lhs, rhs)))
FRESNEL_VAL_OPERATOR(/, (arithmetic<arith::DivFOp, arith::DivSIOp>(lhs, rhs)))
FRESNEL_VAL_OPERATOR(%, (arithmetic<arith::RemFOp, arith::RemSIOp>(lhs, rhs)))
FRESNEL_VAL_OPERATOR(&, bitwise<arith::AndIOp>(lhs, rhs))
FRESNEL_VAL_OPERATOR(|, bitwise<arith::OrIOp>(lhs, rhs))
FRESNEL_VAL_OPERATOR(^, bitwise<arith::XOrIOp>(lhs, rhs))
FRESNEL_VAL_OPERATOR(<<, bitwise<arith::ShLIOp>(lhs, rhs))
FRESNEL_VAL_OPERATOR(>>, bitwise<arith::ShRUIOp>(lhs, rhs))
FRESNEL_VAL_OPERATOR(<, compare(lhs, rhs, arith::CmpFPredicate::OLT, arith::CmpIPredicate::slt))
FRESNEL_VAL_OPERATOR(<=, compare(lhs, rhs, arith::CmpFPredicate::OLE, arith::CmpIPredicate::sle))
FRESNEL_VAL_OPERATOR(>, compare(lhs, rhs, arith::CmpFPredicate::OGT, arith::CmpIPredicate::sgt))
FRESNEL_VAL_OPERATOR(>=, compare(lhs, rhs, arith::CmpFPredicate::OGE, arith::CmpIPredicate::sge))
FRESNEL_VAL_OPERATOR(==, compare(lhs, rhs, arith::CmpFPredicate::OEQ, arith::CmpIPredicate::eq))
FRESNEL_VAL_OPERATOR(!=, compare(lhs, rhs, arith::CmpFPredicate::UNE, arith::CmpIPredicate::ne))
#undef FRESNEL_VAL_OPERATOR

//===----------------------------------------------------------------------===//
// Kernels and constants
//===----------------------------------------------------------------------===//

tile::KernelOp KernelBuilder::beginKernel(StringRef name, ArrayRef<Type> arguments, int64_t block,
                                          std::array<int64_t, 3> grid) {
  int32_t threads[] = {int32_t(block), 1, 1};
  // Saturated, which `fresnel-to-tile` refuses.
  auto clamp = [](int64_t count) { return int32_t(std::min<int64_t>(count, INT32_MAX)); };
  int32_t blocks[] = {clamp(grid[0]), clamp(grid[1]), clamp(grid[2])};
  auto kernel = tile::KernelOp::create(*this, name, getFunctionType(arguments, {}), getDenseI32ArrayAttr(threads),
                                       getDenseI32ArrayAttr(blocks), /*arg_attrs=*/ArrayAttr(),
                                       /*res_attrs=*/ArrayAttr());
  Block *body = createBlock(&kernel.getBody());
  for (Type type : arguments)
    body->addArgument(type, getLoc());
  tile::ReturnOp::create(*this);
  setInsertionPointToStart(body);
  return kernel;
}

Val KernelBuilder::i32(int64_t value) { return constant(getI32Type(), double(value)); }
Val KernelBuilder::f32(double value) { return constant(getF32Type(), value); }

Val KernelBuilder::constant(Type type, double value) {
  Type element = getElementTypeOrSelf(type);
  TypedAttr attr;
  if (auto floatType = dyn_cast<FloatType>(element))
    attr = getFloatAttr(floatType, value);
  else
    attr = getIntegerAttr(element, int64_t(value));
  if (auto shaped = dyn_cast<ShapedType>(type))
    attr = DenseElementsAttr::get(shaped, attr);
  return wrap(arith::ConstantOp::create(*this, attr));
}

//===----------------------------------------------------------------------===//
// Arithmetic
//===----------------------------------------------------------------------===//

// maxnum semantics (max.f32) rather than maximum's NaN propagation: one instruction.
Val KernelBuilder::min(Val a, Val b) { return arithmetic<arith::MinNumFOp, arith::MinSIOp>(a, b); }
Val KernelBuilder::max(Val a, Val b) { return arithmetic<arith::MaxNumFOp, arith::MaxSIOp>(a, b); }

Val KernelBuilder::select(Val condition, Val a, Val b) {
  unify(a, b);
  return wrap(arith::SelectOp::create(*this, condition, a, b));
}

Val KernelBuilder::exp2(Val x) { return wrap(math::Exp2Op::create(*this, Value(x))); }
Val KernelBuilder::log2(Val x) { return wrap(math::Log2Op::create(*this, Value(x))); }
Val KernelBuilder::reciprocal(Val x) {
  return wrap(arith::DivFOp::create(*this, Value(constant(x.getType(), 1.0)), Value(x), arith::FastMathFlags::afn));
}
Val KernelBuilder::sqrt(Val x) { return wrap(math::SqrtOp::create(*this, Value(x))); }
Val KernelBuilder::fma(Val a, Val b, Val c) { return wrap(math::FmaOp::create(*this, Value(a), Value(b), Value(c))); }
Val KernelBuilder::popcount(Val x) { return wrap(math::CtPopOp::create(*this, Value(x))); }
Val KernelBuilder::bitcast(Val x, Type type) { return wrap(arith::BitcastOp::create(*this, type, Value(x))); }

Val KernelBuilder::cast(Val x, Type type) {
  unsigned from = getElementTypeOrSelf(x.getType()).getIntOrFloatBitWidth();
  unsigned to = getElementTypeOrSelf(type).getIntOrFloatBitWidth();
  if (from == to)
    return x;
  if (isFloat(type))
    return from < to ? wrap(arith::ExtFOp::create(*this, type, Value(x)))
                     : wrap(arith::TruncFOp::create(*this, type, Value(x)));
  if (from > to)
    return wrap(arith::TruncIOp::create(*this, type, Value(x)));
  return from == 1 ? wrap(arith::ExtUIOp::create(*this, type, Value(x)))
                   : wrap(arith::ExtSIOp::create(*this, type, Value(x)));
}

Val KernelBuilder::toFloat(Val x, Type type) { return wrap(arith::SIToFPOp::create(*this, type, Value(x))); }

Val KernelBuilder::extract(Val vector, int64_t index) {
  return wrap(vector::ExtractOp::create(*this, Value(vector), index));
}

Val KernelBuilder::vector(ArrayRef<Val> elements) {
  auto type = VectorType::get(int64_t(elements.size()), elements.front().getType());
  SmallVector<Value> values(elements.begin(), elements.end());
  return wrap(vector::FromElementsOp::create(*this, type, values));
}

//===----------------------------------------------------------------------===//
// Memory
//===----------------------------------------------------------------------===//

Val KernelBuilder::alloc(ArrayRef<int64_t> shape, Type element, tile::Layout layout) {
  auto type = tile::SharedType::get(getContext(), shape, element, layout);
  return wrap(tile::AllocOp::create(*this, type, Value()));
}

Val KernelBuilder::allocReusing(Val earlier, ArrayRef<int64_t> shape, Type element, tile::Layout layout) {
  auto type = tile::SharedType::get(getContext(), shape, element, layout);
  return wrap(tile::AllocOp::create(*this, type, Value(earlier)));
}

Val KernelBuilder::table(ArrayRef<int32_t> values, int64_t columns) {
  int64_t shape[] = {int64_t(values.size()) / columns, columns};
  auto type = tile::GlobalType::get(getContext(), shape, getI32Type(), /*strided=*/false);
  return wrap(tile::TableOp::create(*this, type, values));
}

static Type getViewElement(Type view) {
  if (auto global = dyn_cast<tile::GlobalType>(view))
    return global.getElementType();
  return cast<tile::SharedType>(view).getElementType();
}

Val KernelBuilder::load(Val view, ArrayRef<Val> indices, int64_t width) {
  Type type = getViewElement(view.getType());
  if (width > 1)
    type = VectorType::get(width, type);
  SmallVector<Value> values(indices.begin(), indices.end());
  return wrap(tile::LoadOp::create(*this, type, Value(view), values));
}

void KernelBuilder::store(Val value, Val view, ArrayRef<Val> indices) {
  SmallVector<Value> values(indices.begin(), indices.end());
  tile::StoreOp::create(*this, Value(value), Value(view), values);
}

Val KernelBuilder::atomic(tile::Combine kind, Val value, Val view, ArrayRef<Val> indices) {
  SmallVector<Value> values(indices.begin(), indices.end());
  return wrap(tile::AtomicOp::create(*this, getI32Type(), kind, Value(value), Value(view), values));
}

tile::GlobalType fresnel::getGlobalType(RankedTensorType tensor, bool strided) {
  return tile::GlobalType::get(tensor.getContext(), tensor.getShape(), tensor.getElementType(), strided);
}

//===----------------------------------------------------------------------===//
// Control flow
//===----------------------------------------------------------------------===//

static SmallVector<Value> toValues(ArrayRef<Val> values) { return SmallVector<Value>(values.begin(), values.end()); }

template <typename Range>
static SmallVector<Val> wrapAll(KernelBuilder &builder, Range &&values) {
  SmallVector<Val> result;
  for (Value value : values)
    result.push_back(builder.wrap(value));
  return result;
}

SmallVector<Val> KernelBuilder::forRange(Val lower, Val upper, Val step, ArrayRef<Val> init, LoopBody body) {
  OpBuilder::InsertionGuard guard(*this);
  auto loop = scf::ForOp::create(*this, Value(lower), Value(upper), Value(step), toValues(init));
  setInsertionPointToStart(loop.getBody());
  SmallVector<Val> carried = wrapAll(*this, loop.getRegionIterArgs());
  SmallVector<Val> next = body(wrap(loop.getInductionVar()), carried);
  // Without carried values the loop was built with its terminator.
  if (!init.empty())
    scf::YieldOp::create(*this, toValues(next));
  return wrapAll(*this, loop.getResults());
}

void KernelBuilder::forRange(Val lower, Val upper, Val step, function_ref<void(Val)> body) {
  forRange(lower, upper, step, {}, [&](Val i, ArrayRef<Val>) {
    body(i);
    return SmallVector<Val>();
  });
}

SmallVector<Val> KernelBuilder::whileLoop(ArrayRef<Val> init, function_ref<Val(ArrayRef<Val>)> condition,
                                          function_ref<SmallVector<Val>(ArrayRef<Val>)> body) {
  OpBuilder::InsertionGuard guard(*this);
  SmallVector<Value> values = toValues(init);
  SmallVector<Type> types = llvm::map_to_vector(values, [](Value value) { return value.getType(); });
  SmallVector<Location> locs(types.size(), getLoc());
  auto loop = scf::WhileOp::create(*this, types, values);
  createBlock(&loop.getBefore(), {}, types, locs);
  SmallVector<Val> before = wrapAll(*this, loop.getBeforeArguments());
  Val again = condition(before);
  scf::ConditionOp::create(*this, Value(again), toValues(before));
  createBlock(&loop.getAfter(), {}, types, locs);
  SmallVector<Val> after = wrapAll(*this, loop.getAfterArguments());
  scf::YieldOp::create(*this, toValues(body(after)));
  return wrapAll(*this, loop.getResults());
}

void KernelBuilder::ifThen(Val condition, function_ref<void()> then) {
  OpBuilder::InsertionGuard guard(*this);
  auto branch = scf::IfOp::create(*this, TypeRange(), Value(condition), /*withElseRegion=*/false);
  setInsertionPointToStart(branch.thenBlock());
  then();
}

SmallVector<Val> KernelBuilder::ifElse(Val condition, function_ref<SmallVector<Val>()> then,
                                       function_ref<SmallVector<Val>()> otherwise) {
  // The result types are known only once the first branch is written, so the
  // branches are built in a detached region and moved into the operation.
  OpBuilder::InsertionGuard guard(*this);
  Block *before = getInsertionBlock();
  Block::iterator point = getInsertionPoint();
  Region detached[2];
  SmallVector<Value> yielded;
  for (auto [region, write] : llvm::zip(detached, std::array{then, otherwise})) {
    createBlock(&region);
    yielded = toValues(write());
    scf::YieldOp::create(*this, yielded);
  }
  setInsertionPoint(before, point);
  SmallVector<Type> types = llvm::map_to_vector(yielded, [](Value value) { return value.getType(); });
  auto branch = scf::IfOp::create(*this, types, Value(condition), /*addThenBlock=*/false, /*addElseBlock=*/false);
  branch.getThenRegion().takeBody(detached[0]);
  branch.getElseRegion().takeBody(detached[1]);
  return wrapAll(*this, branch.getResults());
}
