//===- Async.cpp - mbarriers, bulk tensor copies and stmatrix -------------===//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//

#include "fresnel/Conversion/TileToNVVM/Lowering.h"
#include "llvm/Support/FormatVariadic.h"

using namespace mlir;
using namespace fresnel::tile;

namespace {

static Value getBarrier(Emitter &emitter, Value barriers, Value stage) {
  return emitter.offset(barriers, emitter.shl(stage, 3));
}

struct ElectLowering final : TilePattern<ElectOp> {
  using TilePattern::TilePattern;
  LogicalResult matchAndRewrite(ElectOp op, OpAdaptor, ConversionPatternRewriter &rewriter) const override {
    rewriter.replaceOpWithNewOp<NVVM::ElectSyncOp>(op, rewriter.getI1Type(), Value());
    return success();
  }
};

struct InitLowering final : TilePattern<BarrierInitOp> {
  using TilePattern::TilePattern;
  LogicalResult matchAndRewrite(BarrierInitOp op, OpAdaptor adaptor,
                                ConversionPatternRewriter &rewriter) const override {
    Emitter emitter(op.getLoc(), rewriter);
    Value arrivals = emitter.i32(op.getArrivals());
    for (int64_t i = 0, e = cast<BarriersType>(op.getBarriers().getType()).getCount(); i < e; ++i)
      NVVM::MBarrierInitOp::create(emitter, emitter.offset(adaptor.getBarriers(), 8 * i), arrivals, Value());
    if (op.getFence())
      NVVM::FenceMbarrierInitOp::create(emitter);
    rewriter.eraseOp(op);
    return success();
  }
};

struct ExpectLowering final : TilePattern<BarrierExpectOp> {
  using TilePattern::TilePattern;
  LogicalResult matchAndRewrite(BarrierExpectOp op, OpAdaptor adaptor,
                                ConversionPatternRewriter &rewriter) const override {
    Emitter emitter(op.getLoc(), rewriter);
    Value barrier = getBarrier(emitter, adaptor.getBarriers(), adaptor.getStage());
    emitter.ptx("mbarrier.arrive.expect_tx.shared::cta.b64 _, [$0], $1;", "r,r", {barrier, emitter.i32(op.getBytes())});
    rewriter.eraseOp(op);
    return success();
  }
};

struct ArriveLowering final : TilePattern<BarrierArriveOp> {
  using TilePattern::TilePattern;
  LogicalResult matchAndRewrite(BarrierArriveOp op, OpAdaptor adaptor,
                                ConversionPatternRewriter &rewriter) const override {
    Emitter emitter(op.getLoc(), rewriter);
    // Predicated rather than branched around: a divergent branch between a
    // wgmma and its wait would serialise the matrix unit.
    Value barrier = getBarrier(emitter, adaptor.getBarriers(), adaptor.getStage());
    if (op.getPeer()) {
      barrier = emitter.ptx("mapa.shared::cluster.u32 $0, $1, $2;", "=r,r,r", {barrier, adaptor.getPeer()},
                            emitter.getI32Type())[0];
      // Released to the block alone: what is given back was read by wgmma, which has ended, and the scope of the
      // cluster costs a fence of the whole device.
      emitter.ptx("@$1 mbarrier.arrive.shared::cluster.b64 _, [$0];", "r,b", {barrier, adaptor.getPredicate()});
    } else {
      emitter.ptx("@$1 mbarrier.arrive.shared::cta.b64 _, [$0];", "r,b", {barrier, adaptor.getPredicate()});
    }
    rewriter.eraseOp(op);
    return success();
  }
};

struct WaitLowering final : TilePattern<BarrierWaitOp> {
  using TilePattern::TilePattern;
  LogicalResult matchAndRewrite(BarrierWaitOp op, OpAdaptor adaptor,
                                ConversionPatternRewriter &rewriter) const override {
    Emitter emitter(op.getLoc(), rewriter);
    Value barrier = getBarrier(emitter, adaptor.getBarriers(), adaptor.getStage());
    auto loop = scf::WhileOp::create(emitter, TypeRange(), ValueRange());
    OpBuilder::InsertionGuard restore(emitter);
    emitter.createBlock(&loop.getBefore());
    Value done = NVVM::MBarrierTryWaitOp::create(emitter, emitter.getI1Type(), barrier, adaptor.getParity(), Value(),
                                                 NVVM::MemScopeKind::CTA);
    Value isTrue = LLVM::ConstantOp::create(emitter, emitter.getBoolAttr(true));
    Value again = LLVM::XOrOp::create(emitter, done, isTrue);
    scf::ConditionOp::create(emitter, again, ValueRange());
    emitter.createBlock(&loop.getAfter());
    scf::YieldOp::create(emitter);
    rewriter.eraseOp(op);
    return success();
  }
};

struct TmaLoadLowering final : TilePattern<TmaLoadOp> {
  using TilePattern::TilePattern;
  LogicalResult matchAndRewrite(TmaLoadOp op, OpAdaptor adaptor, ConversionPatternRewriter &rewriter) const override {
    Emitter emitter(op.getLoc(), rewriter);
    auto target = cast<SharedType>(op.getTarget().getType());
    Value barrier = getBarrier(emitter, adaptor.getBarriers(), adaptor.getStage());
    Value policy;
    if (op.getEvictLast() || op.getEvictFirst()) {
      std::string priority = op.getEvictLast() ? "evict_last" : "evict_first";
      policy =
          emitter.ptx("createpolicy.fractional.L2::" + priority + ".b64 $0, 1.0;", "=l", {}, emitter.getI64Type())[0];
    }
    for (int64_t panel = 0; panel < target.getPanels(); ++panel) {
      Value to = emitter.offset(adaptor.getTarget(), panel * target.getRows() * target.getPanelBytes());
      if (adaptor.getTileRow())
        to = emitter.offset(to, emitter.panelRow(target, adaptor.getTileRow()));
      Value column = emitter.i32(target.getPanelCols() * panel);
      SmallVector<Value> operands{
          to, adaptor.getMap(), column, adaptor.getRow(), adaptor.getHead(), adaptor.getBatch(), barrier};
      std::string text = "cp.async.bulk.tensor.4d.shared::cluster.global.tile.mbarrier::complete_tx::bytes";
      std::string types = "r,l,r,r,r,r,r", last;
      auto append = [&](Value operand, StringRef type) {
        last += ", $" + std::to_string(operands.size());
        types += type;
        operands.push_back(operand);
      };
      if (op.getMulticast()) {
        text += ".multicast::cluster";
        append(LLVM::ConstantOp::create(emitter, emitter.getI16IntegerAttr((1 << getCluster(op)) - 1)), ",h");
      }
      if (policy) {
        text += ".L2::cache_hint";
        append(policy, ",l");
      }
      emitter.ptx(text + " [$0], [$1, {$2, $3, $4, $5}], [$6]" + last + ";", types, operands);
    }
    rewriter.eraseOp(op);
    return success();
  }
};

struct TmaStoreLowering final : TilePattern<TmaStoreOp> {
  using TilePattern::TilePattern;
  LogicalResult matchAndRewrite(TmaStoreOp op, OpAdaptor adaptor, ConversionPatternRewriter &rewriter) const override {
    Emitter emitter(op.getLoc(), rewriter);
    auto source = cast<SharedType>(op.getSource().getType());
    Value rows = emitter.offset(adaptor.getSource(), emitter.panelRow(source, adaptor.getTileRow()));
    for (int64_t panel = 0; panel < source.getPanels(); ++panel)
      emitter.ptx("cp.async.bulk.tensor.4d.global.shared::cta.tile.bulk_group [$0, {$1, $2, $3, $4}], [$5];",
                  "l,r,r,r,r,r",
                  {adaptor.getMap(), emitter.i32(source.getPanelCols() * panel), adaptor.getRow(), adaptor.getHead(),
                   adaptor.getBatch(), emitter.offset(rows, panel * source.getRows() * source.getPanelBytes())});
    NVVM::CpAsyncBulkCommitGroupOp::create(emitter);
    rewriter.eraseOp(op);
    return success();
  }
};

struct TmaStoreWaitLowering final : TilePattern<TmaStoreWaitOp> {
  using TilePattern::TilePattern;
  LogicalResult matchAndRewrite(TmaStoreWaitOp op, OpAdaptor, ConversionPatternRewriter &rewriter) const override {
    rewriter.replaceOpWithNewOp<NVVM::CpAsyncBulkWaitGroupOp>(op, op.getPendingAttr(),
                                                              op.getComplete() ? UnitAttr() : rewriter.getUnitAttr());
    return success();
  }
};

struct BulkLoadLowering final : TilePattern<BulkLoadOp> {
  using TilePattern::TilePattern;
  LogicalResult matchAndRewrite(BulkLoadOp op, OpAdaptor adaptor, ConversionPatternRewriter &rewriter) const override {
    Emitter emitter(op.getLoc(), rewriter);
    Value from =
        emitter.globalAddress(cast<GlobalType>(op.getSource().getType()), adaptor.getSource(), adaptor.getIndices());
    emitter.ptx("cp.async.bulk.shared::cluster.global.mbarrier::complete_tx::bytes [$0], [$1], $2, [$3];", "r,l,r,r",
                {adaptor.getTarget(), from, emitter.i32(cast<SharedType>(op.getTarget().getType()).getBytes()),
                 getBarrier(emitter, adaptor.getBarriers(), adaptor.getStage())});
    rewriter.eraseOp(op);
    return success();
  }
};

struct BulkStoreLowering final : TilePattern<BulkStoreOp> {
  using TilePattern::TilePattern;
  LogicalResult matchAndRewrite(BulkStoreOp op, OpAdaptor adaptor, ConversionPatternRewriter &rewriter) const override {
    Emitter emitter(op.getLoc(), rewriter);
    Value to =
        emitter.globalAddress(cast<GlobalType>(op.getTarget().getType()), adaptor.getTarget(), adaptor.getIndices());
    // Predicated with its commit, so that the warp never diverges around named barriers.
    std::string copy = "@$3 cp.async.bulk.global.shared::cta.bulk_group [$0], [$1], $2;";
    if (op.getAdd()) {
      bool integers = cast<SharedType>(op.getSource().getType()).getElementType().isInteger(32);
      copy = "@$3 cp.reduce.async.bulk.global.shared::cta.bulk_group.add." + std::string(integers ? "s32" : "f32") +
             " [$0], [$1], $2;";
    }
    emitter.ptx(copy + "\n\t@$3 cp.async.bulk.commit_group;", "l,r,r,b",
                {to, adaptor.getSource(), emitter.i32(cast<SharedType>(op.getSource().getType()).getBytes()),
                 adaptor.getPredicate()});
    rewriter.eraseOp(op);
    return success();
  }
};

struct SemaphoreWaitLowering final : TilePattern<SemaphoreWaitOp> {
  using TilePattern::TilePattern;
  LogicalResult matchAndRewrite(SemaphoreWaitOp op, OpAdaptor adaptor,
                                ConversionPatternRewriter &rewriter) const override {
    Emitter emitter(op.getLoc(), rewriter);
    Value address =
        emitter.globalAddress(cast<GlobalType>(op.getView().getType()), adaptor.getView(), adaptor.getIndices());
    auto loop = scf::WhileOp::create(emitter, TypeRange(), ValueRange());
    {
      OpBuilder::InsertionGuard restore(emitter);
      emitter.createBlock(&loop.getBefore());
      Value seen =
          emitter.ptx("ld.acquire.gpu.global.b32 $0, [$1];", "=r,l,~{memory}", address, emitter.getI32Type())[0];
      Value again = LLVM::ICmpOp::create(emitter, LLVM::ICmpPredicate::ne, seen, adaptor.getValue());
      scf::ConditionOp::create(emitter, again, ValueRange());
      emitter.createBlock(&loop.getAfter());
      scf::YieldOp::create(emitter);
    }
    // The bulk copies that follow belong to another proxy.
    emitter.ptx("fence.proxy.async.global;", "~{memory}", {});
    rewriter.eraseOp(op);
    return success();
  }
};

struct SemaphorePostLowering final : TilePattern<SemaphorePostOp> {
  using TilePattern::TilePattern;
  LogicalResult matchAndRewrite(SemaphorePostOp op, OpAdaptor adaptor,
                                ConversionPatternRewriter &rewriter) const override {
    Emitter emitter(op.getLoc(), rewriter);
    Value address =
        emitter.globalAddress(cast<GlobalType>(op.getView().getType()), adaptor.getView(), adaptor.getIndices());
    emitter.ptx("fence.proxy.async.global;\n\t@$2 st.release.gpu.global.b32 [$0], $1;", "l,r,b,~{memory}",
                {address, adaptor.getValue(), adaptor.getPredicate()});
    rewriter.eraseOp(op);
    return success();
  }
};

struct StoreMatrixLowering final : TilePattern<StoreMatrixOp> {
  using TilePattern::TilePattern;
  LogicalResult matchAndRewrite(StoreMatrixOp op, OpAdaptor adaptor,
                                ConversionPatternRewriter &rewriter) const override {
    Emitter emitter(op.getLoc(), rewriter);
    auto target = cast<SharedType>(op.getTarget().getType());
    SmallVector<Value> registers = getRegisters(op, adaptor, emitter);
    // Blocks at the same place of their panels lie a constant apart, which the instruction adds to one register. Not so
    // for outputs in few panels: there registers abound, and with fewer instructions between them ptxas takes all
    // exponentials of the step that follows before a wait (tests/Target/early-weights.mlir).
    bool isLhs = isa<LhsAttr>(cast<RankedTensorType>(op.getValue().getType()).getEncoding());
    bool fixed = !op.getTransposed() && !op.getColumn() && (isLhs || target.getPanelCols() == 32);
    int64_t perPanel = target.getPanelCols() / 16, panelBytes = target.getRows() * target.getPanelBytes();
    SmallVector<Value> places;
    for (int64_t block = 0, blocks = registers.size() / 4; block < blocks; ++block) {
      if (!fixed || block < perPanel) {
        auto [row, col] = getPlace(op, adaptor, emitter, block);
        places.push_back(emitter.offset(adaptor.getTarget(), emitter.sharedOffset(target, row, col)));
      }
      SmallVector<Value> operands{fixed ? places[block % perPanel] : places[block]};
      operands.append(registers.begin() + 4 * block, registers.begin() + 4 * block + 4);
      std::string text = llvm::formatv("stmatrix.sync.aligned.m8n8.x4{0}.shared::cta.b16 [$0+{1}], {{$1, $2, $3, $4};",
                                       op.getTransposed() ? ".trans" : "", fixed ? block / perPanel * panelBytes : 0);
      emitter.ptx(text, "r,r,r,r,r", operands);
    }
    rewriter.eraseOp(op);
    return success();
  }

  /// Where this lane's row of the `block`-th 16x16 block lies in the tile. The four 8x8
  /// matrices of a block are its quarters, upper left, lower left, upper right, lower right;
  /// lane l addresses row l % 8 of matrix l / 8.
  static std::pair<Value, Value> getPlace(StoreMatrixOp op, OpAdaptor adaptor, Emitter &emitter, int64_t block) {
    Value lane = emitter.laneId();
    Value warp = emitter.shl(emitter.bitAnd(emitter.shr(emitter.threadId(), 5), 3), 4);
    Value right = emitter.shl(emitter.shr(lane, 4), 3), across = emitter.i32(16 * block);
    if (!op.getTransposed()) {
      Value column = emitter.add(right, across);
      if (adaptor.getColumn())
        column = emitter.add(column, adaptor.getColumn());
      return {emitter.add(adaptor.getRow(), emitter.add(warp, emitter.bitAnd(lane, 15))), column};
    }
    // Columns become rows; a row of a matrix becomes a column of the tile.
    Value lower = emitter.bitAnd(lane, 8), column = emitter.add(emitter.bitAnd(lane, 7), right);
    return {emitter.add(adaptor.getRow(), emitter.add(column, across)), emitter.add(warp, lower)};
  }

  /// Pairs of neighbouring columns as 32-bit registers.
  static SmallVector<Value> getRegisters(StoreMatrixOp op, OpAdaptor adaptor, Emitter &emitter) {
    SmallVector<Value> values = emitter.unpack(adaptor.getValue());
    if (isa<LhsAttr>(cast<RankedTensorType>(op.getValue().getType()).getEncoding()))
      return values;
    bool isBf16 = cast<SharedType>(op.getTarget().getType()).getElementType().isBF16();
    StringRef text = isBf16 ? "cvt.rn.bf16x2.f32 $0, $1, $2;" : "cvt.rn.f16x2.f32 $0, $1, $2;";
    SmallVector<Value> registers;
    for (size_t i = 0; i < values.size(); i += 2)
      registers.push_back(emitter.ptx(text, "=r,f,f", {values[i + 1], values[i]}, emitter.getI32Type())[0]);
    return registers;
  }
};

struct FenceAsyncLowering final : TilePattern<FenceAsyncOp> {
  using TilePattern::TilePattern;
  LogicalResult matchAndRewrite(FenceAsyncOp op, OpAdaptor, ConversionPatternRewriter &rewriter) const override {
    auto context = op.getContext();
    rewriter.replaceOpWithNewOp<NVVM::FenceProxyOp>(op,
                                                    NVVM::ProxyKindAttr::get(context, NVVM::ProxyKind::async_shared),
                                                    NVVM::SharedSpaceAttr::get(context, NVVM::SharedSpace::shared_cta));
    return success();
  }
};

struct PrefetchMapLowering final : TilePattern<PrefetchMapOp> {
  using TilePattern::TilePattern;
  LogicalResult matchAndRewrite(PrefetchMapOp op, OpAdaptor adaptor,
                                ConversionPatternRewriter &rewriter) const override {
    Emitter emitter(op.getLoc(), rewriter);
    emitter.ptx("prefetch.tensormap [$0];", "l", adaptor.getMap());
    rewriter.eraseOp(op);
    return success();
  }
};

} // namespace

void fresnel::tile::populateAsyncPatterns(const TileTypeConverter &converter, RewritePatternSet &patterns) {
  patterns.add<ElectLowering, InitLowering, ExpectLowering, ArriveLowering, WaitLowering, TmaLoadLowering,
               TmaStoreLowering, TmaStoreWaitLowering, BulkLoadLowering, BulkStoreLowering, SemaphoreWaitLowering,
               SemaphorePostLowering, StoreMatrixLowering, FenceAsyncLowering, PrefetchMapLowering>(converter);
}
