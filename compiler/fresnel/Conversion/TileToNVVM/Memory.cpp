//===- Memory.cpp - Views, scalar accesses, warp exchange, barriers -------===//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//

#include "fresnel/Conversion/TileToNVVM/Lowering.h"

using namespace mlir;
using namespace fresnel::tile;

namespace {

struct AllocLowering final : TilePattern<AllocOp> {
  using TilePattern::TilePattern;
  LogicalResult matchAndRewrite(AllocOp op, OpAdaptor, ConversionPatternRewriter &rewriter) const override {
    Emitter emitter(op.getLoc(), rewriter);
    auto pointer = LLVM::LLVMPointerType::get(op.getContext(), kSharedSpace);
    Value base = LLVM::AddressOfOp::create(emitter, pointer, kSharedSymbol);
    rewriter.replaceOp(op, emitter.offset(base, op->getAttrOfType<IntegerAttr>("offset").getInt()));
    return success();
  }
};

struct TableLowering final : TilePattern<TableOp> {
  using TilePattern::TilePattern;
  LogicalResult matchAndRewrite(TableOp op, OpAdaptor, ConversionPatternRewriter &rewriter) const override {
    Emitter emitter(op.getLoc(), rewriter);
    auto view = cast<GlobalType>(op.getResult().getType());
    auto pointer = LLVM::LLVMPointerType::get(op.getContext(), kGlobalSpace);
    StringRef symbol = op->getAttrOfType<FlatSymbolRefAttr>(kTableAttr).getValue();
    Value base = LLVM::AddressOfOp::create(emitter, pointer, symbol);
    Type converted = getTypeConverter()->convertType(view);
    rewriter.replaceOp(op, emitter.pack(converted, {base, emitter.i64(view.getShape()[1])}));
    return success();
  }
};

struct SliceLowering final : TilePattern<SliceOp> {
  using TilePattern::TilePattern;
  LogicalResult matchAndRewrite(SliceOp op, OpAdaptor adaptor, ConversionPatternRewriter &rewriter) const override {
    Emitter emitter(op.getLoc(), rewriter);
    int64_t bytes = cast<SharedType>(op.getResult().getType()).getBytes();
    rewriter.replaceOp(op, emitter.offset(adaptor.getRing(), emitter.mul(adaptor.getStage(), emitter.i32(bytes))));
    return success();
  }
};

struct PanelLowering final : TilePattern<PanelOp> {
  using TilePattern::TilePattern;
  LogicalResult matchAndRewrite(PanelOp op, OpAdaptor adaptor, ConversionPatternRewriter &rewriter) const override {
    Emitter emitter(op.getLoc(), rewriter);
    int64_t panelBytes = cast<SharedType>(op.getTile().getType()).getRows() * 128;
    rewriter.replaceOp(op, emitter.offset(adaptor.getTile(), emitter.mul(adaptor.getPanel(), emitter.i32(panelBytes))));
    return success();
  }
};

struct IdLowering final : TilePattern<IdOp> {
  using TilePattern::TilePattern;
  LogicalResult matchAndRewrite(IdOp op, OpAdaptor, ConversionPatternRewriter &rewriter) const override {
    Emitter emitter(op.getLoc(), rewriter);
    rewriter.replaceOp(op, read(op.getWhich(), emitter));
    return success();
  }

  static Value read(Id which, Emitter &emitter) {
    Type type = emitter.getI32Type();
    switch (which) {
    case Id::BlockX:
      return NVVM::BlockIdXOp::create(emitter, type);
    case Id::BlockY:
      return NVVM::BlockIdYOp::create(emitter, type);
    case Id::BlockZ:
      return NVVM::BlockIdZOp::create(emitter, type);
    case Id::Thread:
      return emitter.threadId();
    case Id::Lane:
      return emitter.laneId();
    case Id::Warp:
    case Id::Warpgroup: {
      // The broadcast tells the backend that the value is uniform in a warp.
      Value warp = NVVM::ShflOp::create(emitter, type, emitter.i32(-1), emitter.shr(emitter.threadId(), 5),
                                        emitter.i32(0), emitter.i32(31),
                                        NVVM::ShflKindAttr::get(emitter.getContext(), NVVM::ShflKind::idx), UnitAttr());
      return which == Id::Warp ? warp : emitter.shr(warp, 2);
    }
    }
    llvm_unreachable("unknown index");
  }
};

/// Address and alignment of an access.
static Value getAddress(Emitter &emitter, Value view, Value converted, ValueRange indices) {
  if (auto global = dyn_cast<GlobalType>(view.getType()))
    return emitter.globalAddress(global, converted, indices);
  auto shared = cast<SharedType>(view.getType());
  Value zero = emitter.i32(0);
  Value row = indices.size() > 1 ? indices[indices.size() - 2] : zero;
  Value bytes = emitter.sharedOffset(shared, row, indices.back());
  if (indices.size() == 3)
    bytes = emitter.add(bytes, emitter.mul(indices[0], emitter.i32(shared.getTileBytes())));
  return emitter.offset(converted, bytes);
}

static unsigned getAccessAlignment(Type type) {
  unsigned bits = getElementTypeOrSelf(type).getIntOrFloatBitWidth();
  if (auto vector = dyn_cast<VectorType>(type))
    bits *= vector.getNumElements();
  return std::min(bits / 8, 16u);
}

struct LoadLowering final : TilePattern<LoadOp> {
  using TilePattern::TilePattern;
  LogicalResult matchAndRewrite(LoadOp op, OpAdaptor adaptor, ConversionPatternRewriter &rewriter) const override {
    Emitter emitter(op.getLoc(), rewriter);
    Value address = getAddress(emitter, op.getView(), adaptor.getView(), adaptor.getIndices());
    Type type = op.getResult().getType();
    rewriter.replaceOpWithNewOp<LLVM::LoadOp>(op, type, address, getAccessAlignment(type));
    return success();
  }
};

struct StoreLowering final : TilePattern<StoreOp> {
  using TilePattern::TilePattern;
  LogicalResult matchAndRewrite(StoreOp op, OpAdaptor adaptor, ConversionPatternRewriter &rewriter) const override {
    Emitter emitter(op.getLoc(), rewriter);
    Value address = getAddress(emitter, op.getView(), adaptor.getView(), adaptor.getIndices());
    rewriter.replaceOpWithNewOp<LLVM::StoreOp>(op, adaptor.getValue(), address,
                                               getAccessAlignment(op.getValue().getType()));
    return success();
  }
};

struct AtomicLowering final : TilePattern<AtomicOp> {
  using TilePattern::TilePattern;
  LogicalResult matchAndRewrite(AtomicOp op, OpAdaptor adaptor, ConversionPatternRewriter &rewriter) const override {
    Emitter emitter(op.getLoc(), rewriter);
    Value address = getAddress(emitter, op.getView(), adaptor.getView(), adaptor.getIndices());
    LLVM::AtomicBinOp kind = op.getKind() == Combine::Add   ? LLVM::AtomicBinOp::add
                             : op.getKind() == Combine::Max ? LLVM::AtomicBinOp::max
                                                            : LLVM::AtomicBinOp::_or;
    rewriter.replaceOpWithNewOp<LLVM::AtomicRMWOp>(op, kind, address, adaptor.getValue(),
                                                   LLVM::AtomicOrdering::monotonic,
                                                   isa<GlobalType>(op.getView().getType()) ? "device" : "block");
    return success();
  }
};

struct ShuffleLowering final : TilePattern<ShuffleOp> {
  using TilePattern::TilePattern;
  LogicalResult matchAndRewrite(ShuffleOp op, OpAdaptor adaptor, ConversionPatternRewriter &rewriter) const override {
    Emitter emitter(op.getLoc(), rewriter);
    auto [kind, clamp] = op.getKind() == Shuffle::Xor     ? std::pair(NVVM::ShflKind::bfly, 31)
                         : op.getKind() == Shuffle::Index ? std::pair(NVVM::ShflKind::idx, 31)
                                                          : std::pair(NVVM::ShflKind::up, 0);
    rewriter.replaceOpWithNewOp<NVVM::ShflOp>(op, op.getResult().getType(), emitter.i32(-1), adaptor.getValue(),
                                              adaptor.getLane(), emitter.i32(clamp),
                                              NVVM::ShflKindAttr::get(op.getContext(), kind), UnitAttr());
    return success();
  }
};

struct BallotLowering final : TilePattern<BallotOp> {
  using TilePattern::TilePattern;
  LogicalResult matchAndRewrite(BallotOp op, OpAdaptor adaptor, ConversionPatternRewriter &rewriter) const override {
    Emitter emitter(op.getLoc(), rewriter);
    rewriter.replaceOpWithNewOp<NVVM::VoteSyncOp>(
        op, emitter.getI32Type(), emitter.i32(-1), adaptor.getPredicate(),
        NVVM::VoteSyncKindAttr::get(op.getContext(), NVVM::VoteSyncKind::ballot));
    return success();
  }
};

struct BarrierLowering final : TilePattern<BarrierOp> {
  using TilePattern::TilePattern;
  LogicalResult matchAndRewrite(BarrierOp op, OpAdaptor adaptor, ConversionPatternRewriter &rewriter) const override {
    Emitter emitter(op.getLoc(), rewriter);
    if (op.getArrive()) {
      // Not nvvm.barrier.arrive: its inline assembly is not convergent, and
      // LLVM may duplicate it into branches, which miscounts the arrivals.
      Value threads = emitter.i32(*op.getThreads());
      LLVM::CallIntrinsicOp::create(emitter, emitter.getStringAttr("llvm.nvvm.barrier.cta.arrive.aligned.count"),
                                    ValueRange{adaptor.getId(), threads});
      rewriter.eraseOp(op);
      return success();
    }
    Value threads = op.getThreads() ? emitter.i32(*op.getThreads()) : Value();
    rewriter.replaceOpWithNewOp<NVVM::BarrierOp>(op, TypeRange(), adaptor.getId(), threads,
                                                 NVVM::BarrierReductionAttr(), Value());
    return success();
  }
};

struct ClusterBarrierLowering final : TilePattern<ClusterBarrierOp> {
  using TilePattern::TilePattern;
  LogicalResult matchAndRewrite(ClusterBarrierOp op, OpAdaptor, ConversionPatternRewriter &rewriter) const override {
    // Not the aligned forms: a role's warps may come one lane at a time.
    NVVM::ClusterArriveOp::create(rewriter, op.getLoc(), UnitAttr());
    rewriter.replaceOpWithNewOp<NVVM::ClusterWaitOp>(op, UnitAttr());
    return success();
  }
};

struct ReturnLowering final : TilePattern<ReturnOp> {
  using TilePattern::TilePattern;
  LogicalResult matchAndRewrite(ReturnOp op, OpAdaptor, ConversionPatternRewriter &rewriter) const override {
    rewriter.replaceOpWithNewOp<LLVM::ReturnOp>(op, ValueRange());
    return success();
  }
};

} // namespace

void fresnel::tile::declareTables(LLVM::LLVMFuncOp function) {
  OpBuilder builder(function);
  DenseMap<Attribute, FlatSymbolRefAttr> symbols;
  function.walk([&](TableOp op) {
    FlatSymbolRefAttr &symbol = symbols[op.getValuesAttr()];
    if (!symbol) {
      int64_t count = op.getValues().size();
      std::string name = (function.getSymName() + "_table_" + Twine(symbols.size() - 1)).str();
      auto type = RankedTensorType::get({count}, builder.getI32Type());
      LLVM::GlobalOp::create(builder, op.getLoc(), LLVM::LLVMArrayType::get(builder.getI32Type(), count),
                             /*isConstant=*/true, LLVM::Linkage::Internal, name,
                             DenseElementsAttr::get(type, op.getValues()), /*alignment=*/16, kGlobalSpace);
      symbol = FlatSymbolRefAttr::get(builder.getContext(), name);
    }
    op->setAttr(kTableAttr, symbol);
  });
}

void fresnel::tile::populateMemoryPatterns(const TileTypeConverter &converter, RewritePatternSet &patterns) {
  patterns
      .add<AllocLowering, TableLowering, SliceLowering, PanelLowering, IdLowering, LoadLowering, StoreLowering,
           AtomicLowering, ShuffleLowering, BallotLowering, BarrierLowering, ClusterBarrierLowering, ReturnLowering>(
          converter);
}
