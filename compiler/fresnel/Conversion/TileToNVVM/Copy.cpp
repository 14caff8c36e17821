//===- Copy.cpp - cp.async row copies -------------------------------------===//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//

#include "fresnel/Conversion/TileToNVVM/Lowering.h"

using namespace mlir;
using namespace fresnel::tile;

namespace {

struct CopyAsyncLowering final : TilePattern<CopyAsyncOp> {
  using TilePattern::TilePattern;

  LogicalResult matchAndRewrite(CopyAsyncOp op, OpAdaptor adaptor, ConversionPatternRewriter &rewriter) const override {
    Emitter emitter(op.getLoc(), rewriter);
    auto target = cast<SharedType>(op.getTarget().getType());
    auto function = op->getParentOfType<LLVM::LLVMFuncOp>();
    int64_t threads = function->getAttrOfType<DenseI32ArrayAttr>("fresnel.block").asArrayRef()[0];
    int64_t chunks = target.getRows() * target.getCols() * target.getElementBytes() / 16;
    Value thread = emitter.threadId();
    for (int64_t first = 0; first < chunks; first += threads) {
      Value chunk = emitter.add(thread, emitter.i32(first));
      if (first + threads <= chunks) {
        copyChunk(op, adaptor, emitter, chunk);
        continue;
      }
      auto guard = scf::IfOp::create(emitter, TypeRange(), emitter.less(chunk, emitter.i32(chunks)), false);
      OpBuilder::InsertionGuard restore(emitter);
      emitter.setInsertionPointToStart(guard.thenBlock());
      copyChunk(op, adaptor, emitter, chunk);
    }
    rewriter.eraseOp(op);
    return success();
  }

  /// The row that row `u` of the list's blocks, end to end, is in the tensor.
  static Value findListed(CopyAsyncOp op, OpAdaptor adaptor, Emitter &emitter, Value u) {
    Value block = emitter.i32(op.getBlock());
    Value entry = LLVM::UDivOp::create(emitter, u, block);
    Value address = emitter.offset(adaptor.getList(), emitter.shl(entry, 2));
    Value listed = LLVM::LoadOp::create(emitter, emitter.getI32Type(), address, /*alignment=*/4);
    return emitter.add(emitter.mul(listed, block), LLVM::URemOp::create(emitter, u, block));
  }

  /// Copies 16 bytes, or writes zeros where the row lies outside the sequence.
  static void copyChunk(CopyAsyncOp op, OpAdaptor adaptor, Emitter &emitter, Value chunk) {
    auto source = cast<GlobalType>(op.getSource().getType());
    auto target = cast<SharedType>(op.getTarget().getType());
    int64_t elements = 16 / target.getElementBytes();
    Value perRow = emitter.i32(target.getCols() / elements);
    Value row = LLVM::UDivOp::create(emitter, chunk, perRow);
    Value col = emitter.mul(LLVM::URemOp::create(emitter, chunk, perRow), emitter.i32(elements));
    auto [head, position] = emitter.place(adaptor.getHead(), adaptor.getRow(), row, op.getGroup());
    if (adaptor.getList())
      position = findListed(op, adaptor, emitter, position);
    // One unsigned comparison also catches negative positions.
    Value length = emitter.i32(source.getShape()[2]);
    Value valid = LLVM::ICmpOp::create(emitter, LLVM::ICmpPredicate::ult, position, length);
    Value bytes = LLVM::SelectOp::create(emitter, valid, emitter.i32(16), emitter.i32(0));
    Value clamped = LLVM::SelectOp::create(emitter, valid, position, emitter.i32(0));
    Value from = emitter.globalAddress(source, adaptor.getSource(), {adaptor.getBatch(), head, clamped, col});
    Value to = emitter.offset(adaptor.getTarget(), emitter.sharedOffset(target, row, col));
    NVVM::CpAsyncOp::create(emitter, to, from, emitter.getI32IntegerAttr(16),
                            NVVM::LoadCacheModifierKindAttr::get(op.getContext(), NVVM::LoadCacheModifierKind::CG),
                            bytes);
  }
};

struct CopyCommitLowering final : TilePattern<CopyCommitOp> {
  using TilePattern::TilePattern;
  LogicalResult matchAndRewrite(CopyCommitOp op, OpAdaptor, ConversionPatternRewriter &rewriter) const override {
    rewriter.replaceOpWithNewOp<NVVM::CpAsyncCommitGroupOp>(op);
    return success();
  }
};

struct CopyWaitLowering final : TilePattern<CopyWaitOp> {
  using TilePattern::TilePattern;
  LogicalResult matchAndRewrite(CopyWaitOp op, OpAdaptor, ConversionPatternRewriter &rewriter) const override {
    rewriter.replaceOpWithNewOp<NVVM::CpAsyncWaitGroupOp>(op, op.getPendingAttr());
    return success();
  }
};

} // namespace

void fresnel::tile::populateCopyPatterns(const TileTypeConverter &converter, RewritePatternSet &patterns) {
  patterns.add<CopyAsyncLowering, CopyCommitLowering, CopyWaitLowering>(converter);
}
