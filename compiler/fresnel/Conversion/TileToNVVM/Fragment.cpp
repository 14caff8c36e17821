//===- Fragment.cpp - Coordinates, reductions, conversions and stores -----===//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//

#include "fresnel/Conversion/TileToNVVM/Lowering.h"

using namespace mlir;
using namespace fresnel::tile;

namespace {

/// Calls `visit(element, row half, column offset)` for each value of an
/// accumulator: element 4j + 2r + i is row half r, column 8j + 2(lane % 4) + i.
static void forEachElement(RankedTensorType acc, function_ref<void(int64_t, int64_t, int64_t)> visit) {
  for (int64_t j = 0, groups = acc.getShape()[1] / 8; j < groups; ++j)
    for (int64_t r = 0; r < 2; ++r)
      for (int64_t i = 0; i < 2; ++i)
        visit(4 * j + 2 * r + i, r, 8 * j + i);
}

struct SplatLowering final : TilePattern<SplatOp> {
  using TilePattern::TilePattern;
  LogicalResult matchAndRewrite(SplatOp op, OpAdaptor adaptor, ConversionPatternRewriter &rewriter) const override {
    Emitter emitter(op.getLoc(), rewriter);
    auto fragment = cast<RankedTensorType>(op.getResult().getType());
    SmallVector<Value> values(getElementsPerThread(fragment), adaptor.getValue());
    rewriter.replaceOp(op, emitter.pack(getTypeConverter()->convertType(fragment), values));
    return success();
  }
};

struct RowIndexLowering final : TilePattern<RowIndexOp> {
  using TilePattern::TilePattern;
  LogicalResult matchAndRewrite(RowIndexOp op, OpAdaptor adaptor, ConversionPatternRewriter &rewriter) const override {
    Emitter emitter(op.getLoc(), rewriter);
    auto fragment = cast<RankedTensorType>(op.getResult().getType());
    Value first = emitter.add(adaptor.getBase(), emitter.fragmentRow(fragment.getShape()[0]));
    Value rows[] = {first, emitter.add(first, emitter.i32(8))};
    SmallVector<Value> values(getElementsPerThread(fragment));
    if (values.size() == 2 && fragment.getRank() == 1)
      values.assign({rows[0], rows[1]});
    else
      forEachElement(fragment, [&](int64_t element, int64_t r, int64_t) { values[element] = rows[r]; });
    rewriter.replaceOp(op, emitter.pack(getTypeConverter()->convertType(fragment), values));
    return success();
  }
};

struct ColIndexLowering final : TilePattern<ColIndexOp> {
  using TilePattern::TilePattern;
  LogicalResult matchAndRewrite(ColIndexOp op, OpAdaptor adaptor, ConversionPatternRewriter &rewriter) const override {
    Emitter emitter(op.getLoc(), rewriter);
    auto fragment = op.getResult().getType();
    Value first = emitter.add(adaptor.getBase(), emitter.fragmentColumn());
    SmallVector<Value> values(getElementsPerThread(fragment));
    forEachElement(fragment, [&](int64_t element, int64_t, int64_t col) {
      values[element] = emitter.add(first, emitter.i32(col));
    });
    rewriter.replaceOp(op, emitter.pack(getTypeConverter()->convertType(fragment), values));
    return success();
  }
};

struct TriangleLowering final : TilePattern<TriangleOp> {
  using TilePattern::TilePattern;
  LogicalResult matchAndRewrite(TriangleOp op, OpAdaptor adaptor, ConversionPatternRewriter &rewriter) const override {
    Emitter emitter(op.getLoc(), rewriter);
    auto fragment = op.getResult().getType();
    // What the column must reach, counted from this thread's first column.
    Value first =
        LLVM::SubOp::create(emitter, emitter.add(adaptor.getOffset(), emitter.fragmentRow(fragment.getShape()[0])),
                            emitter.fragmentColumn());
    Value limits[] = {first, emitter.add(first, emitter.i32(8))};
    SmallVector<Value> values(getElementsPerThread(fragment));
    forEachElement(fragment, [&](int64_t element, int64_t r, int64_t col) {
      values[element] = LLVM::ICmpOp::create(emitter, LLVM::ICmpPredicate::sle, limits[r], emitter.i32(col));
    });
    rewriter.replaceOp(op, emitter.pack(getTypeConverter()->convertType(fragment), values));
    return success();
  }
};

static Value combine(Emitter &emitter, Combine kind, Value a, Value b) {
  if (kind == Combine::Max)
    return arith::MaxNumFOp::create(emitter, a, b);
  return arith::AddFOp::create(emitter, a, b, arith::FastMathFlags::contract);
}

static Value quadReduce(Emitter &emitter, Combine kind, Value value) {
  for (int64_t mask : {1, 2})
    value = combine(emitter, kind, value, emitter.shuffleXor(value, mask));
  return value;
}

struct ReduceLowering final : TilePattern<ReduceOp> {
  using TilePattern::TilePattern;
  LogicalResult matchAndRewrite(ReduceOp op, OpAdaptor adaptor, ConversionPatternRewriter &rewriter) const override {
    Emitter emitter(op.getLoc(), rewriter);
    SmallVector<Value> values = emitter.unpack(adaptor.getValue());
    // Four independent chains per row shorten the dependency.
    SmallVector<Value> chains[2];
    unsigned turn[2] = {0, 0};
    forEachElement(op.getValue().getType(), [&](int64_t element, int64_t r, int64_t) {
      if (chains[r].size() < 4) {
        chains[r].push_back(values[element]);
        return;
      }
      Value &chain = chains[r][turn[r]++ % 4];
      chain = combine(emitter, op.getKind(), chain, values[element]);
    });
    SmallVector<Value> rows;
    for (ArrayRef<Value> chain : chains) {
      Value row = chain.front();
      for (Value value : chain.drop_front())
        row = combine(emitter, op.getKind(), row, value);
      rows.push_back(op.getPartial() ? row : quadReduce(emitter, op.getKind(), row));
    }
    rewriter.replaceOp(op, emitter.pack(getTypeConverter()->convertType(op.getResult().getType()), rows));
    return success();
  }
};

struct QuadReduceLowering final : TilePattern<QuadReduceOp> {
  using TilePattern::TilePattern;
  LogicalResult matchAndRewrite(QuadReduceOp op, OpAdaptor adaptor,
                                ConversionPatternRewriter &rewriter) const override {
    Emitter emitter(op.getLoc(), rewriter);
    SmallVector<Value> rows;
    for (Value row : emitter.unpack(adaptor.getValue()))
      rows.push_back(quadReduce(emitter, op.getKind(), row));
    rewriter.replaceOp(op, emitter.pack(adaptor.getValue().getType(), rows));
    return success();
  }
};

struct AnyLowering final : TilePattern<AnyOp> {
  using TilePattern::TilePattern;
  LogicalResult matchAndRewrite(AnyOp op, OpAdaptor adaptor, ConversionPatternRewriter &rewriter) const override {
    Emitter emitter(op.getLoc(), rewriter);
    SmallVector<Value> rows = emitter.unpack(adaptor.getValue());
    Value either = rows.front();
    for (Value row : ArrayRef(rows).drop_front())
      either = LLVM::OrOp::create(emitter, either, row);
    rewriter.replaceOpWithNewOp<NVVM::VoteSyncOp>(op, emitter.getI1Type(), emitter.i32(-1), either,
                                                  NVVM::VoteSyncKind::any);
    return success();
  }
};

struct BroadcastLowering final : TilePattern<BroadcastOp> {
  using TilePattern::TilePattern;
  LogicalResult matchAndRewrite(BroadcastOp op, OpAdaptor adaptor, ConversionPatternRewriter &rewriter) const override {
    Emitter emitter(op.getLoc(), rewriter);
    SmallVector<Value> rows = emitter.unpack(adaptor.getValue());
    auto fragment = op.getResult().getType();
    SmallVector<Value> values(getElementsPerThread(fragment));
    forEachElement(fragment, [&](int64_t element, int64_t r, int64_t) { values[element] = rows[r]; });
    rewriter.replaceOp(op, emitter.pack(getTypeConverter()->convertType(fragment), values));
    return success();
  }
};

struct ColumnsLowering final : TilePattern<ColumnsOp> {
  using TilePattern::TilePattern;
  LogicalResult matchAndRewrite(ColumnsOp op, OpAdaptor adaptor, ConversionPatternRewriter &rewriter) const override {
    Emitter emitter(op.getLoc(), rewriter);
    auto fragment = op.getResult().getType();
    SmallVector<Value> values = emitter.unpack(adaptor.getValue());
    // The values of eight columns are neighbours; one thread's are as many as it has of the whole, per column.
    int64_t perEight = int64_t(values.size()) / (op.getValue().getType().getShape()[1] / 8);
    ArrayRef<Value> part = ArrayRef(values).slice(op.getFirst() / 8 * perEight, getElementsPerThread(fragment));
    rewriter.replaceOp(op, emitter.pack(getTypeConverter()->convertType(fragment), part));
    return success();
  }
};

/// The element at `outer` and `row`, or `outside` where `row` lies beyond the view's innermost dimension.
static Value loadInside(Emitter &emitter, GlobalType view, Value descriptor, ArrayRef<Value> outer, Value row,
                        Value outside) {
  // One unsigned comparison also catches negative positions.
  Value inside = LLVM::ICmpOp::create(emitter, LLVM::ICmpPredicate::ult, row, emitter.i32(view.getShape().back()));
  // Rows outside read the first one and drop it.
  SmallVector<Value> indices(outer);
  indices.push_back(LLVM::SelectOp::create(emitter, inside, row, emitter.i32(0)));
  Value address = emitter.globalAddress(view, descriptor, indices);
  Value loaded = LLVM::LoadOp::create(emitter, view.getElementType(), address, /*alignment=*/4);
  return LLVM::SelectOp::create(emitter, inside, loaded, outside);
}

struct LoadRowsLowering final : TilePattern<LoadRowsOp> {
  using TilePattern::TilePattern;
  LogicalResult matchAndRewrite(LoadRowsOp op, OpAdaptor adaptor, ConversionPatternRewriter &rewriter) const override {
    Emitter emitter(op.getLoc(), rewriter);
    auto source = cast<GlobalType>(op.getSource().getType());
    auto fragment = op.getResult().getType();
    Value outside = LLVM::ConstantOp::create(emitter, op.getOutsideAttr());
    Value first = emitter.fragmentRow(fragment.getShape()[0]);
    SmallVector<Value> rows;
    for (int64_t r = 0; r < 2; ++r) {
      auto [head, row] =
          emitter.place(adaptor.getHead(), adaptor.getRow(), emitter.add(first, emitter.i32(8 * r)), op.getGroup());
      rows.push_back(loadInside(emitter, source, adaptor.getSource(), {adaptor.getBatch(), head}, row, outside));
    }
    rewriter.replaceOp(op, emitter.pack(getTypeConverter()->convertType(fragment), rows));
    return success();
  }
};

struct LoadColsLowering final : TilePattern<LoadColsOp> {
  using TilePattern::TilePattern;
  LogicalResult matchAndRewrite(LoadColsOp op, OpAdaptor adaptor, ConversionPatternRewriter &rewriter) const override {
    Emitter emitter(op.getLoc(), rewriter);
    auto fragment = op.getResult().getType();
    int64_t groups = fragment.getShape()[1] / 8;
    SmallVector<Value> values(getElementsPerThread(fragment));
    for (int64_t j = 0; j < groups; ++j) {
      auto [low, high] = loadPair(op, adaptor, emitter, emitter.add(emitter.fragmentColumn(), emitter.i32(8 * j)));
      for (int64_t r = 0; r < 2; ++r) {
        values[4 * j + 2 * r] = low;
        values[4 * j + 2 * r + 1] = high;
      }
    }
    rewriter.replaceOp(op, emitter.pack(getTypeConverter()->convertType(fragment), values));
    return success();
  }

  /// The values of columns `col` and `col` + 1.
  static std::pair<Value, Value> loadPair(LoadColsOp op, OpAdaptor adaptor, Emitter &emitter, Value col) {
    ValueRange indices = adaptor.getIndices();
    Value position = emitter.add(indices.back(), col);
    if (auto global = dyn_cast<GlobalType>(op.getSource().getType())) {
      Value outside = LLVM::ConstantOp::create(emitter, op.getOutsideAttr());
      auto load = [&](Value row) {
        return loadInside(emitter, global, adaptor.getSource(), {indices[0], indices[1]}, row, outside);
      };
      return {load(position), load(emitter.add(position, emitter.i32(1)))};
    }
    auto shared = cast<SharedType>(op.getSource().getType());
    Value row = indices.size() == 2 ? indices[0] : emitter.i32(0);
    Value address = emitter.offset(adaptor.getSource(), emitter.sharedOffset(shared, row, position));
    Value pair = LLVM::LoadOp::create(emitter, VectorType::get(2, emitter.getF32Type()), address, /*alignment=*/8);
    return {LLVM::ExtractElementOp::create(emitter, pair, emitter.i32(0)),
            LLVM::ExtractElementOp::create(emitter, pair, emitter.i32(1))};
  }
};

struct LookupLowering final : TilePattern<LookupOp> {
  using TilePattern::TilePattern;
  LogicalResult matchAndRewrite(LookupOp op, OpAdaptor adaptor, ConversionPatternRewriter &rewriter) const override {
    Emitter emitter(op.getLoc(), rewriter);
    auto global = dyn_cast<GlobalType>(op.getSource().getType());
    Type element = cast<RankedTensorType>(op.getResult().getType()).getElementType();
    Value outside = LLVM::ConstantOp::create(emitter, op.getOutsideAttr());
    SmallVector<Value> outer(adaptor.getIndices()), values;
    for (Value index : emitter.unpack(adaptor.getElements()))
      values.push_back(global ? loadInside(emitter, global, adaptor.getSource(), outer, index, outside)
                              : Value(LLVM::LoadOp::create(emitter, element, address(op, adaptor, emitter, index),
                                                           /*alignment=*/4)));
    rewriter.replaceOp(op, emitter.pack(getTypeConverter()->convertType(op.getResult().getType()), values));
    return success();
  }

  /// The place of an element of a linear shared array.
  static Value address(LookupOp op, OpAdaptor adaptor, Emitter &emitter, Value index) {
    auto shared = cast<SharedType>(op.getSource().getType());
    Value row = adaptor.getIndices().empty() ? emitter.i32(0) : adaptor.getIndices().back();
    return emitter.offset(adaptor.getSource(), emitter.sharedOffset(shared, row, index));
  }
};

static Value makePair(Emitter &emitter, Value low, Value high) {
  Value pair = LLVM::PoisonOp::create(emitter, VectorType::get(2, low.getType()));
  pair = LLVM::InsertElementOp::create(emitter, pair, low, emitter.i32(0));
  return LLVM::InsertElementOp::create(emitter, pair, high, emitter.i32(1));
}

/// Two f32 rounded to one 32-bit register of a 16-bit type, `low` first.
static Value roundPair(Emitter &emitter, Type element, Value low, Value high) {
  return LLVM::FPTruncOp::create(emitter, VectorType::get(2, element), makePair(emitter, low, high));
}

struct ToLhsLowering final : TilePattern<ToLhsOp> {
  using TilePattern::TilePattern;
  LogicalResult matchAndRewrite(ToLhsOp op, OpAdaptor adaptor, ConversionPatternRewriter &rewriter) const override {
    Emitter emitter(op.getLoc(), rewriter);
    SmallVector<Value> values = emitter.unpack(adaptor.getValue());
    Type element = op.getResult().getType().getElementType();
    SmallVector<Value> registers;
    for (size_t i = 0; i < values.size(); i += 2) {
      Value pair = roundPair(emitter, element, values[i], values[i + 1]);
      registers.push_back(LLVM::BitcastOp::create(emitter, emitter.getI32Type(), pair));
    }
    rewriter.replaceOp(op, emitter.pack(getTypeConverter()->convertType(op.getResult().getType()), registers));
    return success();
  }
};

struct RoundLowering final : TilePattern<RoundOp> {
  using TilePattern::TilePattern;
  LogicalResult matchAndRewrite(RoundOp op, OpAdaptor adaptor, ConversionPatternRewriter &rewriter) const override {
    Emitter emitter(op.getLoc(), rewriter);
    SmallVector<Value> values;
    for (Value value : emitter.unpack(adaptor.getValue()))
      values.push_back(
          LLVM::CallIntrinsicOp::create(emitter, emitter.getI32Type(), emitter.getStringAttr("llvm.nvvm.f2i.rn"), value)
              .getResult(0));
    rewriter.replaceOp(op, emitter.pack(getTypeConverter()->convertType(op.getResult().getType()), values));
    return success();
  }
};

struct StoreTileLowering final : TilePattern<StoreTileOp> {
  using TilePattern::TilePattern;
  LogicalResult matchAndRewrite(StoreTileOp op, OpAdaptor adaptor, ConversionPatternRewriter &rewriter) const override {
    Emitter emitter(op.getLoc(), rewriter);
    auto target = cast<GlobalType>(op.getTarget().getType());
    auto fragment = op.getValue().getType();
    SmallVector<Value> values = emitter.unpack(adaptor.getValue());
    Value first = emitter.fragmentRow(fragment.getShape()[0]);
    Value col = emitter.fragmentColumn();
    if (adaptor.getColumn())
      col = emitter.add(col, adaptor.getColumn());
    for (int64_t r = 0; r < 2; ++r) {
      auto [head, row] =
          emitter.place(adaptor.getHead(), adaptor.getRow(), emitter.add(first, emitter.i32(8 * r)), op.getGroup());
      Value inside = emitter.less(row, emitter.i32(target.getShape()[2]));
      if (adaptor.getLimit())
        inside = LLVM::AndOp::create(emitter, inside, emitter.less(row, adaptor.getLimit()));
      auto guard = scf::IfOp::create(emitter, TypeRange(), inside, /*withElseRegion=*/false);
      OpBuilder::InsertionGuard restore(emitter);
      emitter.setInsertionPointToStart(guard.thenBlock());
      Value base = emitter.globalAddress(target, adaptor.getTarget(), {adaptor.getBatch(), head, row, col});
      storeRow(emitter, target.getElementType(), base, values, r);
    }
    rewriter.eraseOp(op);
    return success();
  }

  static void storeRow(Emitter &emitter, Type element, Value base, ArrayRef<Value> values, int64_t r) {
    int64_t bytes = element.getIntOrFloatBitWidth() / 8;
    for (int64_t j = 0, groups = values.size() / 4; j < groups; ++j) {
      Value low = values[4 * j + 2 * r], high = values[4 * j + 2 * r + 1];
      Value address = emitter.offset(base, 8 * j * bytes);
      if (!element.isF32()) {
        LLVM::StoreOp::create(emitter, roundPair(emitter, element, low, high), address, /*alignment=*/4);
        continue;
      }
      LLVM::StoreOp::create(emitter, low, address, /*alignment=*/4);
      LLVM::StoreOp::create(emitter, high, emitter.offset(address, 4), /*alignment=*/4);
    }
  }
};

struct StoreSharedLowering final : TilePattern<StoreSharedOp> {
  using TilePattern::TilePattern;
  LogicalResult matchAndRewrite(StoreSharedOp op, OpAdaptor adaptor,
                                ConversionPatternRewriter &rewriter) const override {
    Emitter emitter(op.getLoc(), rewriter);
    auto target = cast<SharedType>(op.getTarget().getType());
    auto fragment = op.getValue().getType();
    SmallVector<Value> values = emitter.unpack(adaptor.getValue());
    Value row = emitter.fragmentRow(fragment.getShape()[0]), col = emitter.fragmentColumn();
    Value first = op.getTransposed() ? emitter.sharedOffset(target, col, row) : emitter.sharedOffset(target, row, col);
    Value base = emitter.offset(adaptor.getTarget(), first);
    int64_t bytes = target.getElementBytes(), stride = target.getRowBytes();
    // Two neighbouring columns are one access where rows keep pairs aligned.
    bool pairs = !op.getTransposed() && stride % (2 * bytes) == 0;
    forEachElement(fragment, [&](int64_t element, int64_t r, int64_t c) {
      int64_t offset = op.getTransposed() ? c * stride + 8 * r * bytes : 8 * r * stride + c * bytes;
      Value address = emitter.offset(base, offset);
      if (!pairs)
        LLVM::StoreOp::create(emitter, values[element], address, bytes);
      else if (c % 2 == 0)
        LLVM::StoreOp::create(emitter, makePair(emitter, values[element], values[element + 1]), address, 2 * bytes);
    });
    rewriter.eraseOp(op);
    return success();
  }
};

/// Where the thread's first four elements lie, the next 128 * 16 bytes behind.
Value getFragmentBase(Emitter &emitter, Type memory, Value view, ValueRange indices, int64_t bytes) {
  Value base = view;
  if (auto tensor = dyn_cast<GlobalType>(memory))
    base = emitter.globalAddress(tensor, view, indices);
  return emitter.offset(base, emitter.mul(emitter.bitAnd(emitter.threadId(), 127), emitter.i32(bytes)));
}

struct StoreFragmentLowering final : TilePattern<StoreFragmentOp> {
  using TilePattern::TilePattern;
  LogicalResult matchAndRewrite(StoreFragmentOp op, OpAdaptor adaptor,
                                ConversionPatternRewriter &rewriter) const override {
    Emitter emitter(op.getLoc(), rewriter);
    SmallVector<Value> values = emitter.unpack(adaptor.getValue());
    Type element = op.getValue().getType().getElementType();
    int64_t bytes = element.getIntOrFloatBitWidth() / 2;
    Value base = getFragmentBase(emitter, op.getTarget().getType(), adaptor.getTarget(), adaptor.getIndices(), bytes);
    for (size_t j = 0; j < values.size() / 4; ++j) {
      Value four = LLVM::PoisonOp::create(emitter, VectorType::get(4, element));
      for (size_t k = 0; k < 4; ++k)
        four = LLVM::InsertElementOp::create(emitter, four, values[4 * j + k], emitter.i32(int64_t(k)));
      LLVM::StoreOp::create(emitter, four, emitter.offset(base, int64_t(j) * 128 * bytes), unsigned(bytes));
    }
    rewriter.eraseOp(op);
    return success();
  }
};

struct LoadFragmentLowering final : TilePattern<LoadFragmentOp> {
  using TilePattern::TilePattern;
  LogicalResult matchAndRewrite(LoadFragmentOp op, OpAdaptor adaptor,
                                ConversionPatternRewriter &rewriter) const override {
    Emitter emitter(op.getLoc(), rewriter);
    auto type = op.getResult().getType();
    int64_t bytes = type.getElementType().getIntOrFloatBitWidth() / 2;
    Value base = getFragmentBase(emitter, op.getSource().getType(), adaptor.getSource(), adaptor.getIndices(), bytes);
    SmallVector<Value> values;
    for (int64_t j = 0; j < type.getNumElements() / (4 * 128); ++j) {
      Value four = LLVM::LoadOp::create(emitter, VectorType::get(4, type.getElementType()),
                                        emitter.offset(base, j * 128 * bytes), unsigned(bytes));
      for (int64_t k = 0; k < 4; ++k)
        values.push_back(LLVM::ExtractElementOp::create(emitter, four, emitter.i32(k)));
    }
    rewriter.replaceOp(op, emitter.pack(getTypeConverter()->convertType(type), values));
    return success();
  }
};

struct StoreRowsLowering final : TilePattern<StoreRowsOp> {
  using TilePattern::TilePattern;
  LogicalResult matchAndRewrite(StoreRowsOp op, OpAdaptor adaptor, ConversionPatternRewriter &rewriter) const override {
    Emitter emitter(op.getLoc(), rewriter);
    auto target = cast<GlobalType>(op.getTarget().getType());
    SmallVector<Value> values = emitter.unpack(adaptor.getValue());
    Value first = emitter.fragmentRow(op.getValue().getType().getShape()[0]);
    Value isQuadLeader =
        LLVM::ICmpOp::create(emitter, LLVM::ICmpPredicate::eq, emitter.fragmentColumn(), emitter.i32(0));
    for (auto [r, value] : llvm::enumerate(values)) {
      auto [head, row] = emitter.place(adaptor.getHead(), adaptor.getRow(),
                                       emitter.add(first, emitter.i32(8 * int64_t(r))), op.getGroup());
      Value inside = emitter.less(row, emitter.i32(target.getShape()[2]));
      Value stores = LLVM::AndOp::create(emitter, isQuadLeader, inside);
      auto guard = scf::IfOp::create(emitter, TypeRange(), stores, /*withElseRegion=*/false);
      OpBuilder::InsertionGuard restore(emitter);
      emitter.setInsertionPointToStart(guard.thenBlock());
      Value address = emitter.globalAddress(target, adaptor.getTarget(), {adaptor.getBatch(), head, row});
      LLVM::StoreOp::create(emitter, value, address, /*alignment=*/4);
    }
    rewriter.eraseOp(op);
    return success();
  }
};

} // namespace

void fresnel::tile::populateFragmentPatterns(const TileTypeConverter &converter, RewritePatternSet &patterns) {
  patterns.add<SplatLowering, RowIndexLowering, ColIndexLowering, ReduceLowering, QuadReduceLowering, AnyLowering,
               BroadcastLowering, LoadRowsLowering, LoadColsLowering, LookupLowering, ToLhsLowering, StoreTileLowering,
               StoreSharedLowering, StoreFragmentLowering, LoadFragmentLowering, StoreRowsLowering, TriangleLowering,
               ColumnsLowering, RoundLowering>(converter);
}
