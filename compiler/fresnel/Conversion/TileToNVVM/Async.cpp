//===- Async.cpp - mbarriers, bulk tensor copies and stmatrix -------------===//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//

#include "fresnel/Conversion/TileToNVVM/Lowering.h"

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
    emitter.ptx("@$1 mbarrier.arrive.shared::cta.b64 _, [$0];", "r,b", {barrier, adaptor.getPredicate()});
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
    if (op.getEvictLast())
      policy = emitter.ptx("createpolicy.fractional.L2::evict_last.b64 $0, 1.0;", "=l", {}, emitter.getI64Type())[0];
    for (int64_t panel = 0; panel < llvm::divideCeilSigned(target.getCols(), 64); ++panel) {
      Value to = emitter.offset(adaptor.getTarget(), panel * target.getRows() * 128);
      if (adaptor.getTileRow())
        to = emitter.offset(to, emitter.shl(adaptor.getTileRow(), 7));
      SmallVector<Value> operands{
          to,     adaptor.getMap(), emitter.i32(64 * panel), adaptor.getRow(), adaptor.getHead(), adaptor.getBatch(),
          barrier};
      std::string text = "cp.async.bulk.tensor.4d.shared::cluster.global.tile.mbarrier::complete_tx::bytes";
      if (policy)
        operands.push_back(policy);
      text +=
          policy ? ".L2::cache_hint [$0], [$1, {$2, $3, $4, $5}], [$6], $7;" : " [$0], [$1, {$2, $3, $4, $5}], [$6];";
      emitter.ptx(text, policy ? "r,l,r,r,r,r,r,l" : "r,l,r,r,r,r,r", operands);
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
    Value rows = emitter.offset(adaptor.getSource(), emitter.shl(adaptor.getTileRow(), 7));
    for (int64_t panel = 0; panel < llvm::divideCeilSigned(source.getCols(), 64); ++panel)
      emitter.ptx("cp.async.bulk.tensor.4d.global.shared::cta.tile.bulk_group [$0, {$1, $2, $3, $4}], [$5];",
                  "l,r,r,r,r,r",
                  {adaptor.getMap(), emitter.i32(64 * panel), adaptor.getRow(), adaptor.getHead(), adaptor.getBatch(),
                   emitter.offset(rows, panel * source.getRows() * 128)});
    NVVM::CpAsyncBulkCommitGroupOp::create(emitter);
    rewriter.eraseOp(op);
    return success();
  }
};

struct TmaStoreWaitLowering final : TilePattern<TmaStoreWaitOp> {
  using TilePattern::TilePattern;
  LogicalResult matchAndRewrite(TmaStoreWaitOp op, OpAdaptor, ConversionPatternRewriter &rewriter) const override {
    rewriter.replaceOpWithNewOp<NVVM::CpAsyncBulkWaitGroupOp>(op, rewriter.getI32IntegerAttr(0),
                                                              rewriter.getUnitAttr());
    return success();
  }
};

struct StoreMatrixLowering final : TilePattern<StoreMatrixOp> {
  using TilePattern::TilePattern;
  LogicalResult matchAndRewrite(StoreMatrixOp op, OpAdaptor adaptor,
                                ConversionPatternRewriter &rewriter) const override {
    Emitter emitter(op.getLoc(), rewriter);
    auto target = cast<SharedType>(op.getTarget().getType());
    SmallVector<Value> values = emitter.unpack(adaptor.getValue());
    // Lane l addresses row l % 16, 16-byte chunk l / 16 of each 16x16 block.
    Value lane = emitter.laneId();
    Value warp = emitter.bitAnd(emitter.shr(emitter.threadId(), 5), 3);
    Value row = emitter.add(adaptor.getRow(), emitter.add(emitter.shl(warp, 4), emitter.bitAnd(lane, 15)));
    Value side = emitter.shl(emitter.shr(lane, 4), 3);
    for (int64_t block = 0, blocks = values.size() / 8; block < blocks; ++block) {
      SmallVector<Value> registers;
      for (int64_t i = 8 * block; i < 8 * block + 8; i += 2)
        registers.push_back(packPair(emitter, target.getElementType(), values[i], values[i + 1]));
      Value col = emitter.add(side, emitter.i32(16 * block));
      Value address = emitter.offset(adaptor.getTarget(), emitter.sharedOffset(target, row, col));
      emitter.ptx("stmatrix.sync.aligned.m8n8.x4.shared::cta.b16 [$0], {$1, $2, $3, $4};", "r,r,r,r,r",
                  {address, registers[0], registers[1], registers[2], registers[3]});
    }
    rewriter.eraseOp(op);
    return success();
  }

  static Value packPair(Emitter &emitter, Type element, Value low, Value high) {
    StringRef text = element.isBF16() ? "cvt.rn.bf16x2.f32 $0, $1, $2;" : "cvt.rn.f16x2.f32 $0, $1, $2;";
    return emitter.ptx(text, "=r,f,f", {high, low}, emitter.getI32Type())[0];
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
               TmaStoreLowering, TmaStoreWaitLowering, StoreMatrixLowering, FenceAsyncLowering, PrefetchMapLowering>(
      converter);
}
