//===- Lowering.cpp - What the tile-to-NVVM patterns share ----------------===//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//

#include "fresnel/Conversion/TileToNVVM/Lowering.h"

using namespace mlir;
using namespace fresnel::tile;

TileTypeConverter::TileTypeConverter(MLIRContext *context) : LLVMTypeConverter(context) {
  addConversion([context](GlobalType type) -> Type {
    SmallVector<Type> members{LLVM::LLVMPointerType::get(context, kGlobalSpace)};
    members.append(type.getRank() - 1, IntegerType::get(context, 64));
    return LLVM::LLVMStructType::getLiteral(context, members);
  });
  addConversion([context](SharedType) -> Type { return LLVM::LLVMPointerType::get(context, kSharedSpace); });
  addConversion([context](BarriersType) -> Type { return LLVM::LLVMPointerType::get(context, kSharedSpace); });
  addConversion([context](TensorMapType) -> Type { return LLVM::LLVMPointerType::get(context); });
  addConversion([context](RankedTensorType type) -> std::optional<Type> {
    if (!isFragment(type))
      return std::nullopt;
    Type element = isa<LhsAttr>(type.getEncoding()) ? IntegerType::get(context, 32) : type.getElementType();
    return LLVM::LLVMStructType::getLiteral(context, SmallVector<Type>(getElementsPerThread(type), element));
  });
}

Value Emitter::i32(int64_t value) { return LLVM::ConstantOp::create(*this, getI32IntegerAttr(value)); }
Value Emitter::i64(int64_t value) { return LLVM::ConstantOp::create(*this, getI64IntegerAttr(value)); }

Value Emitter::less(Value a, Value b) { return LLVM::ICmpOp::create(*this, LLVM::ICmpPredicate::slt, a, b); }

Value Emitter::offset(Value pointer, Value bytes) {
  return LLVM::GEPOp::create(*this, pointer.getType(), getI8Type(), pointer, ArrayRef<LLVM::GEPArg>{bytes});
}

Value Emitter::offset(Value pointer, int64_t bytes) {
  if (bytes == 0)
    return pointer;
  return LLVM::GEPOp::create(*this, pointer.getType(), getI8Type(), pointer,
                             ArrayRef<LLVM::GEPArg>{static_cast<int32_t>(bytes)});
}

SmallVector<Value> Emitter::unpack(Value aggregate) {
  SmallVector<Value> values;
  auto type = cast<LLVM::LLVMStructType>(aggregate.getType());
  for (int64_t i = 0, e = type.getBody().size(); i < e; ++i)
    values.push_back(LLVM::ExtractValueOp::create(*this, aggregate, i));
  return values;
}

Value Emitter::pack(Type aggregate, ArrayRef<Value> values) {
  Value result = LLVM::PoisonOp::create(*this, aggregate);
  for (auto [i, value] : llvm::enumerate(values))
    result = LLVM::InsertValueOp::create(*this, result, value, static_cast<int64_t>(i));
  return result;
}

SmallVector<Value> Emitter::ptx(StringRef text, StringRef constraints, ValueRange operands, ArrayRef<Type> results) {
  Type type;
  if (results.size() == 1)
    type = results.front();
  else if (!results.empty())
    type = LLVM::LLVMStructType::getLiteral(getContext(), results);
  auto op =
      LLVM::InlineAsmOp::create(*this, type, operands, getStringAttr(text), getStringAttr(constraints), getUnitAttr(),
                                UnitAttr(), LLVM::TailCallKindAttr::get(getContext(), LLVM::TailCallKind::None),
                                LLVM::AsmDialectAttr::get(getContext(), LLVM::AsmDialect::AD_ATT), ArrayAttr());
  if (results.empty())
    return {};
  if (results.size() == 1)
    return {op.getRes()};
  return unpack(op.getRes());
}

Value Emitter::fragmentRow(int64_t rows) {
  Value thread = threadId();
  Value quad = bitAnd(shr(thread, 2), 7);
  int64_t warps = rows / 16;
  if (warps == 1)
    return quad;
  Value warp = shr(thread, 5);
  warp = llvm::isPowerOf2_64(warps) ? bitAnd(warp, warps - 1) : Value(LLVM::URemOp::create(*this, warp, i32(warps)));
  return add(shl(warp, 4), quad);
}

Value Emitter::shuffleXor(Value value, int64_t mask) {
  return NVVM::ShflOp::create(*this, value.getType(), i32(-1), value, i32(mask), i32(31),
                              NVVM::ShflKindAttr::get(getContext(), NVVM::ShflKind::bfly), UnitAttr());
}

std::pair<Value, Value> Emitter::place(Value head, Value position, Value row, int64_t group) {
  if (group == 1)
    return {head, add(position, row)};
  // Rows are not negative; unsigned division by a power of two is a shift.
  return {add(head, LLVM::URemOp::create(*this, row, i32(group))),
          add(position, LLVM::UDivOp::create(*this, row, i32(group)))};
}

Value Emitter::sharedOffset(SharedType tile, Value row, Value col) {
  int64_t bytes = tile.getElementBytes();
  if (!tile.isSwizzled())
    return add(mul(row, i32(tile.getRowBytes())), mul(col, i32(bytes)));
  // Panels of 128 or 64 bytes; the 16-byte chunk is exchanged with low bits of the row, of two rows where they
  // share 128 bytes.
  bool wide = tile.getPanelBytes() == 128;
  Value byte = mul(col, i32(bytes));
  Value panel = mul(shr(byte, wide ? 7 : 6), i32(tile.getRows() * tile.getPanelBytes()));
  Value chunk =
      wide ? bitXor(bitAnd(shr(byte, 4), 7), bitAnd(row, 7)) : bitXor(bitAnd(shr(byte, 4), 3), bitAnd(shr(row, 1), 3));
  return add(add(panel, panelRow(tile, row)), add(shl(chunk, 4), bitAnd(byte, 15)));
}

Value Emitter::globalAddress(GlobalType view, Value descriptor, ValueRange indices) {
  SmallVector<Value> members = unpack(descriptor);
  Value element = toI64(indices.back());
  for (auto [index, stride] : llvm::zip(indices.drop_back(), ArrayRef(members).drop_front()))
    element = add(element, mul(toI64(index), stride));
  return LLVM::GEPOp::create(*this, members[0].getType(), view.getElementType(), members[0],
                             ArrayRef<LLVM::GEPArg>{element});
}
