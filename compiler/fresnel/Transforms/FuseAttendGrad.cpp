//===- FuseAttendGrad.cpp - All gradients of attention in one pass --------===//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//

#include "fresnel/Schedule/HopperGrad.h"
#include "fresnel/Schedule/HopperLists.h"
#include "fresnel/Schedule/Schedule.h"
#include "fresnel/Transforms/PassTarget.h"
#include "fresnel/Transforms/Passes.h"

using namespace mlir;

namespace fresnel {
#define GEN_PASS_DEF_FUSEATTENDGRADPASS
#include "fresnel/Transforms/Passes.h.inc"

namespace {

/// The gradient of the keys and values that belongs to that of the queries, or null.
AttendGradKvOp findPartner(AttendGradQOp queries) {
  for (Operation *user : queries.getDelta().getUsers()) {
    auto partner = dyn_cast<AttendGradKvOp>(user);
    if (partner && partner->getBlock() == queries->getBlock() &&
        llvm::equal(partner->getOperands(), queries->getOperands()) &&
        partner.getScaleOrDefault() == queries.getScaleOrDefault() && partner.getCausal() == queries.getCausal() &&
        partner.getWindow() == queries.getWindow() && partner.getSinks() == queries.getSinks() &&
        partner.getSoftcap() == queries.getSoftcap() && partner.getKeyWindow() == queries.getKeyWindow() &&
        partner.getKeyStride() == queries.getKeyStride() && partner.getQueryBlock() == queries.getQueryBlock() &&
        partner.getKeyBlock() == queries.getKeyBlock())
      return partner;
  }
  return {};
}

/// Whether blocks of keys can take turns at a tile of queries: with documents only if these are in order.
bool hasOrder(AttendGradQOp op) { return !op.getDocuments() || areInOrder(op.getDocuments()); }

bool isPooled(AttendGradQOp op) { return op.getKeyWindow() > 1 || op.getKeyStride() > 1; }

/// Whether nothing may add to the tiles of some rows: those whose lists are empty, and those in
/// front of the last token of the first key.
bool mayBeEmpty(AttendGradQOp op) {
  auto getRows = [](Value value) { return cast<RankedTensorType>(value.getType()).getDimSize(2); };
  return op.getBlocks() || (op.getCausal() && (isPooled(op) || getRows(op.getQ()) > getRows(op.getK())));
}

int64_t countKeyBlocks(AttendGradQOp op) {
  return llvm::divideCeil(cast<RankedTensorType>(op.getK().getType()).getDimSize(2), int64_t(op.getKeyBlock()));
}

/// Whether the LSE is that of the scores, so that the weights of a row add up to one.
bool hasOwnLse(AttendGradQOp op) {
  auto attend = op.getLse().getDefiningOp<AttendOp>();
  return attend && op.getLse() == attend.getLse() && attend.getQ() == op.getQ() && attend.getK() == op.getK() &&
         attend.getV() == op.getV() && llvm::equal(attend.getMasks(), op.getMasks()) &&
         attend.getScaleOrDefault() == op.getScaleOrDefault() && attend.getCausal() == op.getCausal() &&
         attend.getWindow() == op.getWindow() && attend.getSinks() == op.getSinks() &&
         attend.getSoftcap() == op.getSoftcap() && attend.getKeyWindow() == op.getKeyWindow() &&
         attend.getKeyStride() == op.getKeyStride();
}

struct FuseAttendGradPass final : impl::FuseAttendGradPassBase<FuseAttendGradPass> {
  using Base::Base;

  void runOnOperation() override {
    FailureOr<ProgramForTarget> input = requireProgramForTarget(getOperation(), target);
    if (failed(input))
      return signalPassFailure();
    auto [main, info] = *input;
    // Another family has separate kernels.
    if (excludesHopper(schedule))
      return;
    SmallVector<StringRef> fields;
    StringRef(schedule).split(fields, ':');
    bool unordered = llvm::is_contained(fields, "ordered=false");
    askedFor = llvm::is_contained(fields, "integers=true");
    refused = llvm::any_of(fields,
                           [](StringRef field) { return field == "integers=false" || field.starts_with("ordered="); });
    for (auto queries : llvm::make_early_inc_range(main.getBody().getOps<AttendGradQOp>())) {
      auto delta = queries.getDelta().getDefiningOp<AttendDeltaOp>();
      AttendGradKvOp partner = findPartner(queries);
      // Over lists an order costs more than the two products that one pass saves.
      bool apart =
          queries.getStarts() || (queries.getBlocks() && !unordered && explainHopperLists(queries, info).empty());
      if (delta && partner && !apart && hasOrder(queries) && explainHopperGrad(queries, info).empty())
        fuse(delta, queries, partner);
    }
  }

  void fuse(AttendDeltaOp delta, AttendGradQOp queries, AttendGradKvOp keys) {
    // The first of the two stands behind all operands of both.
    OpBuilder builder(queries->isBeforeInBlock(keys) ? queries.getOperation() : keys.getOperation());
    Value bounds;
    if (wantsIntegers(queries))
      bounds = BoundKeysOp::create(builder, queries.getLoc(), queries.getK(), queries.getV());
    SmallVector<Value> more;
    for (Value value : {Value(delta.getDlse()), bounds})
      if (value)
        more.push_back(value);
    Value stats =
        AttendStatsOp::create(builder, delta.getLoc(), delta.getOut(), delta.getDout(), queries.getLse(), more);
    double scale = queries.getScaleOrDefault();
    int64_t window = queries.getWindow();
    SmallVector<Value> mask;
    if (Value list = queries.getBlocks())
      mask = {list, TransposeBlocksOp::create(builder, queries.getLoc(), list, countKeyBlocks(queries))};
    else if (Value documents = queries.getDocuments())
      mask = {window > 0 ? Value(NarrowBoundsOp::create(builder, queries.getLoc(), documents, window)) : documents};
    auto gradient = AttendGradOp::create(builder, queries.getLoc(), queries.getQ(), queries.getK(), queries.getV(),
                                         stats, queries.getDout(), mask, builder.getF64FloatAttr(scale),
                                         queries.getCausal(), queries.getDocuments() ? 0 : window, queries.getSinks(),
                                         queries.getSoftcap(), queries.getKeyWindow(), queries.getKeyStride(),
                                         queries.getQueryBlock(), queries.getKeyBlock());
    auto q = cast<RankedTensorType>(queries.getQ().getType());
    Value rows;
    if (bounds)
      rows = SettleTilesOp::create(builder, queries.getLoc(), queries.getQ(), queries.getK(), queries.getV(), stats,
                                   queries.getDout(), gradient.getDq(), builder.getF64FloatAttr(scale),
                                   queries.getCausal(), queries.getWindow(), queries.getSinks(), queries.getSoftcap());
    else
      rows = RoundTilesOp::create(builder, queries.getLoc(), gradient.getDq(),
                                  mayBeEmpty(queries) ? ValueRange(stats) : ValueRange(), q.getDimSize(2),
                                  q.getDimSize(3), APFloat(scale), q.getElementType());
    queries.getDq().replaceAllUsesWith(rows);
    keys.getDk().replaceAllUsesWith(gradient.getDk());
    keys.getDv().replaceAllUsesWith(gradient.getDv());
    keys.erase();
    queries.erase();
    if (delta.use_empty())
      delta.erase();
    ++numFused;
  }

  /// Whether dQ is summed in integers.
  bool wantsIntegers(AttendGradQOp queries) {
    return queries.getMasks().empty() && !isPooled(queries) && hasOwnLse(queries) &&
           (askedFor ? allowsIntegerSums(queries) : !refused && prefersIntegerSums(queries));
  }

  /// What the schedule says of integers.
  bool askedFor = false, refused = false;
};

} // namespace
} // namespace fresnel
