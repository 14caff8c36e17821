//===- Wgmma.cpp - Warpgroup matrix products ------------------------------===//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
//
// NVVM 22 has no wgmma with the left operand in registers and no start from
// zero without clearing the accumulators, so both come as inline PTX: one
// statement per product, with its fence and its commit, so that nothing can be
// scheduled into the group.
//
//===----------------------------------------------------------------------===//

#include "fresnel/Conversion/TileToNVVM/Lowering.h"
#include "llvm/ADT/StringExtras.h"
#include "llvm/Support/FormatVariadic.h"

using namespace mlir;
using namespace fresnel::tile;

namespace {

/// Matrix descriptor fields (PTX ISA, "Matrix Descriptor Format"): address in
/// bits 0-13, leading byte offset 16-29, stride byte offset 32-45, each in
/// 16-byte units, and the swizzle in bits 62-63: 1 for 128 bytes, 2 for 64.
/// The stride leads to the next 8 rows.
static uint64_t getDescriptorConstant(SharedType tile, int64_t leadingBytes) {
  uint64_t swizzle = tile.getPanelBytes() == 128 ? 1 : 2;
  return swizzle << 62 | uint64_t(8 * tile.getPanelBytes() / 16) << 32 | uint64_t(leadingBytes / 16) << 16;
}

/// How a swizzled tile is walked along K: its descriptor constant and the
/// increment, in 16-byte units, of each k16 step.
struct OperandWalk {
  uint64_t constant;
  SmallVector<int64_t> steps;
};

static OperandWalk walkOperand(SharedType tile, bool kMajor) {
  int64_t panel = tile.getRows() * tile.getPanelBytes(), perPanel = tile.getPanelCols() / 16;
  OperandWalk walk;
  if (kMajor) {
    // Columns are K: steps of 32 bytes in a panel, then the next panel.
    walk.constant = getDescriptorConstant(tile, /*leadingBytes=*/16);
    for (int64_t step = 0; step < tile.getCols() / 16; ++step)
      walk.steps.push_back(step / perPanel * (panel / 16) + step % perPanel * 2);
    return walk;
  }
  // Rows are K: 16 rows of a panel a step; the leading offset leads to the next panel.
  walk.constant = getDescriptorConstant(tile, panel);
  for (int64_t step = 0; step < tile.getRows() / 16; ++step)
    walk.steps.push_back(step * tile.getPanelBytes());
  return walk;
}

static Value buildDescriptor(Emitter &emitter, Value pointer, uint64_t constant) {
  Value address = LLVM::PtrToIntOp::create(emitter, emitter.getI32Type(), pointer);
  Value field = emitter.bitAnd(emitter.shr(address, 4), 0x3FFF);
  Value wide = LLVM::ZExtOp::create(emitter, emitter.getI64Type(), field);
  return LLVM::OrOp::create(emitter, wide, emitter.i64(static_cast<int64_t>(constant)));
}

static std::string join(int64_t first, int64_t count) {
  std::string text = "{";
  for (int64_t i = 0; i < count; ++i)
    text += (i ? ", $" : "$") + std::to_string(first + i);
  return text + "}";
}

struct WgmmaLowering final : TilePattern<WgmmaOp> {
  using TilePattern::TilePattern;

  LogicalResult matchAndRewrite(WgmmaOp op, OpAdaptor adaptor, ConversionPatternRewriter &rewriter) const override {
    Emitter emitter(op.getLoc(), rewriter);
    auto result = op.getResult().getType();
    int64_t values = getElementsPerThread(result);
    SmallVector<Value> operands;
    std::string constraints = llvm::join(SmallVector<StringRef>(values, "=f"), ",");
    auto bind = [&](Value value, const Twine &constraint) {
      operands.push_back(value);
      constraints += ("," + constraint).str();
      return values + int64_t(operands.size()) - 1;
    };
    if (adaptor.getAcc())
      for (auto [i, value] : llvm::enumerate(emitter.unpack(adaptor.getAcc())))
        bind(value, Twine(i));
    auto rhsType = cast<SharedType>(op.getRhs().getType());
    OperandWalk rhs = walkOperand(rhsType, op.getTransposed());
    // Rows of K from `rhs_row` on are as many as the left operand has columns.
    if (auto columns = dyn_cast<RankedTensorType>(op.getLhs().getType()))
      rhs.steps.truncate(columns.getShape()[1] / 16);
    OperandWalk lhs;
    int64_t lhsFirst = bindLhs(op, adaptor, emitter, lhs, bind);
    Value rhsTile = adaptor.getRhs();
    if (adaptor.getRhsRow())
      rhsTile = emitter.offset(rhsTile, emitter.panelRow(rhsType, adaptor.getRhsRow()));
    int64_t rhsIndex = bind(buildDescriptor(emitter, rhsTile, rhs.constant), "l");

    std::string text = "{\n.reg .pred zero, one;\n.reg .b64 da, db;\nsetp.ne.b32 zero, 0, 0;\n"
                       "setp.eq.b32 one, 0, 0;\nwgmma.fence.sync.aligned;\n";
    for (auto [step, advance] : llvm::enumerate(rhs.steps)) {
      std::string a = lhs.steps.empty() ? join(lhsFirst + 4 * step, 4) : "da";
      if (!lhs.steps.empty())
        text += llvm::formatv("add.s64 da, ${0}, {1};\n", lhsFirst, lhs.steps[step]);
      text += llvm::formatv("add.s64 db, ${0}, {1};\n", rhsIndex, advance);
      text += getInstruction(op, join(0, values), a, step == 0 && !adaptor.getAcc());
    }
    text += "wgmma.commit_group.sync.aligned;\n}";
    SmallVector<Type> types(values, emitter.getF32Type());
    SmallVector<Value> products = emitter.ptx(text, constraints, operands, types);
    rewriter.replaceOp(op, emitter.pack(getTypeConverter()->convertType(result), products));
    return success();
  }

  /// Binds the left operand and returns the number of its first register or of its descriptor.
  static int64_t bindLhs(WgmmaOp op, OpAdaptor adaptor, Emitter &emitter, OperandWalk &walk,
                         function_ref<int64_t(Value, const Twine &)> bind) {
    auto tile = dyn_cast<SharedType>(op.getLhs().getType());
    if (!tile) {
      int64_t first = -1;
      for (Value value : emitter.unpack(adaptor.getLhs())) {
        int64_t index = bind(value, "r");
        first = first < 0 ? index : first;
      }
      return first;
    }
    walk = walkOperand(tile, /*kMajor=*/!op.getLhsTransposed());
    Value rows = adaptor.getLhs();
    if (adaptor.getLhsRow())
      rows = emitter.offset(rows, emitter.panelRow(tile, adaptor.getLhsRow()));
    return bind(buildDescriptor(emitter, rows, walk.constant), "l");
  }

  static std::string getInstruction(WgmmaOp op, StringRef acc, StringRef lhs, bool fromZero) {
    bool registers = isa<RankedTensorType>(op.getLhs().getType());
    StringRef type = cast<SharedType>(op.getRhs().getType()).getElementType().isBF16() ? "bf16" : "f16";
    return llvm::formatv("wgmma.mma_async.sync.aligned.m64n{0}k16.f32.{1}.{1} {2}, {3}, db, {4}, 1, 1{5}, {6};\n",
                         op.getResult().getType().getShape()[1], type, acc, lhs, fromZero ? "zero" : "one",
                         registers               ? ""
                         : op.getLhsTransposed() ? ", 1"
                                                 : ", 0",
                         op.getTransposed() ? 0 : 1);
  }
};

struct WgmmaWaitLowering final : TilePattern<WgmmaWaitOp> {
  using TilePattern::TilePattern;
  LogicalResult matchAndRewrite(WgmmaWaitOp op, OpAdaptor adaptor, ConversionPatternRewriter &rewriter) const override {
    Emitter emitter(op.getLoc(), rewriter);
    SmallVector<Value> values = emitter.unpack(adaptor.getValue());
    // The accumulators pass through the wait, so that nothing reads them earlier.
    std::string constraints = llvm::join(SmallVector<StringRef>(values.size(), "=f"), ",");
    for (size_t i = 0; i < values.size(); ++i)
      constraints += "," + std::to_string(i);
    std::string text = llvm::formatv("wgmma.wait_group.sync.aligned {0};", op.getPending());
    SmallVector<Type> types(values.size(), emitter.getF32Type());
    SmallVector<Value> waited = emitter.ptx(text, constraints, values, types);
    rewriter.replaceOp(op, emitter.pack(adaptor.getValue().getType(), waited));
    return success();
  }
};

/// Of what ptxas leaves in front of a wait this does most of what it is asked for: an arrival at an mbarrier under a
/// predicate of the value is slower, and other instructions take all exponentials with them, or none.
struct AnchorLowering final : TilePattern<AnchorOp> {
  using TilePattern::TilePattern;
  LogicalResult matchAndRewrite(AnchorOp op, OpAdaptor adaptor, ConversionPatternRewriter &rewriter) const override {
    Emitter emitter(op.getLoc(), rewriter);
    SmallVector<Value> rows = emitter.unpack(adaptor.getValue());
    Value thread = emitter.bitAnd(emitter.threadId(), 127);
    Value place = LLVM::PtrToIntOp::create(emitter, emitter.getI32Type(),
                                           emitter.offset(adaptor.getScratch(), emitter.shl(thread, 3)));
    emitter.ptx("st.volatile.shared.v2.f32 [$0], {$1, $2};", "r,f,f", {place, rows[0], rows[1]});
    rewriter.eraseOp(op);
    return success();
  }
};

} // namespace

void fresnel::tile::populateWgmmaPatterns(const TileTypeConverter &converter, RewritePatternSet &patterns) {
  patterns.add<WgmmaLowering, WgmmaWaitLowering, AnchorLowering>(converter);
}
