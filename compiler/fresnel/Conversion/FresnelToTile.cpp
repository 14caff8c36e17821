//===- FresnelToTile.cpp - Writes the kernel of every outlined program ----===//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//

#include "fresnel/Conversion/Passes.h"
#include "fresnel/Conversion/ToTile.h"
#include "fresnel/Schedule/Cost.h"
#include "fresnel/Target/TargetInfo.h"
#include "llvm/ADT/TypeSwitch.h"

using namespace mlir;

namespace fresnel {
#define GEN_PASS_DEF_FRESNELTOTILEPASS
#include "fresnel/Conversion/Passes.h.inc"

llvm::StringRef KernelRequest::getName() const { return ProgramOp(program).getSymName(); }

namespace {

/// The view that a launch has of a tensor. Rank-4 inputs and outputs of the whole
/// program keep the caller's strides, also where another launch reads an output.
static tile::GlobalType getView(Value tensor) {
  auto type = cast<RankedTensorType>(tensor.getType());
  bool external = isa<BlockArgument>(tensor) || llvm::any_of(tensor.getUsers(), llvm::IsaPred<ReturnOp>);
  return getGlobalType(type, external && type.getRank() == 4);
}

/// The kernel's views: its operands, then its results.
static SmallVector<tile::GlobalType> getViews(LaunchOp launch) {
  SmallVector<tile::GlobalType> views = llvm::map_to_vector(launch.getOperands(), getView);
  llvm::append_range(views, llvm::map_range(launch.getResults(), getView));
  return views;
}

static LogicalResult lower(const KernelRequest &request, KernelBuilder &builder) {
  return TypeSwitch<Operation *, LogicalResult>(request.op)
      .Case([&](AttendOp op) { return lowerAttend(op, request, builder); })
      .Case([&](PyramidOp op) { return lowerPyramid(op, request, builder); })
      .Case([&](NormOp op) { return lowerNorm(op, request, builder); })
      .Case([&](SelectCascadeOp op) { return lowerSelectCascade(op, request, builder); })
      .Case([&](GatherOp op) { return lowerGather(op, request, builder); })
      .Case([&](ScatterOp op) { return lowerScatter(op, request, builder); })
      .Case([&](FoldOp op) { return lowerFold(op, request, builder); })
      .Case([&](UnfoldOp op) { return lowerUnfold(op, request, builder); })
      .Case([&](AttendDeltaOp op) { return lowerAttendDelta(op, request, builder); })
      .Case([&](BoundKeysOp op) { return lowerBoundKeys(op, request, builder); })
      .Case([&](AttendStatsOp op) { return lowerAttendStats(op, request, builder); })
      .Case([&](AttendGradOp op) { return lowerAttendGrad(op, request, builder); })
      .Case([&](RoundTilesOp op) { return lowerRoundTiles(op, request, builder); })
      .Case([&](SettleTilesOp op) { return lowerSettleTiles(op, request, builder); })
      .Case([&](AttendGradQOp op) { return lowerAttendGradQ(op, request, builder); })
      .Case([&](AttendGradKvOp op) { return lowerAttendGradKv(op, request, builder); })
      .Case([&](AddOp op) { return lowerAdd(op, request, builder); })
      .Case([&](PyramidGradOp op) { return lowerPyramidGrad(op, request, builder); })
      .Case([&](GatherGradOp op) { return lowerGatherGrad(op, request, builder); })
      .Case([&](ScatterGradOp op) { return lowerScatterGrad(op, request, builder); })
      .Case([&](PoolOp op) { return lowerPool(op, request, builder); })
      .Case([&](PoolGradOp op) { return lowerPoolGrad(op, request, builder); })
      .Case([&](UnpoolOp op) { return lowerUnpool(op, request, builder); })
      .Case([&](UnpoolGradOp op) { return lowerUnpoolGrad(op, request, builder); })
      .Case([&](GateOp op) { return lowerGate(op, request, builder); })
      .Case([&](GateGradOp op) { return lowerGateGrad(op, request, builder); })
      .Case([&](GateDeltaOp op) { return lowerGateDelta(op, request, builder); })
      .Case([&](MergeOp op) { return lowerMerge(op, request, builder); })
      .Case([&](MergeGradOp op) { return lowerMergeGrad(op, request, builder); })
      .Case([&](BlockScoreOp op) { return lowerBlockScore(op, request, builder); })
      .Case([&](BlocksFromMaskOp op) { return lowerBlocksFromMask(op, request, builder); })
      .Case([&](RegroupOp op) { return lowerRegroup(op, request, builder); })
      .Case([&](RegroupScoredOp op) { return lowerRegroupScored(op, request, builder); })
      .Case([&](SelectBlocksOp op) { return lowerSelectBlocks(op, request, builder); })
      .Case([&](SelectScoredOp op) { return lowerSelectScored(op, request, builder); })
      .Case([&](PoolLevelsOp op) { return lowerPoolLevels(op, request, builder); })
      .Case([&](GatherLevelsOp op) { return lowerGatherLevels(op, request, builder); })
      .Case([&](ScatterBySlotsOp op) { return lowerScatterBySlots(op, request, builder); })
      .Case([&](GatherGradBySlotsOp op) { return lowerGatherGradBySlots(op, request, builder); })
      .Case([&](GatherGradTilesOp op) { return lowerGatherGradTiles(op, request, builder); })
      .Case([&](ScatterGradBySlotsOp op) { return lowerScatterGradBySlots(op, request, builder); })
      .Case([&](DocumentBoundsOp op) { return lowerDocumentBounds(op, request, builder); })
      .Case([&](NarrowBoundsOp op) { return lowerNarrowBounds(op, request, builder); })
      .Case([&](AlignDocumentsOp op) { return lowerAlignDocuments(op, request, builder); })
      .Case([&](MoveOp op) { return lowerMove(op, request, builder); })
      .Case([&](TransposeBlocksOp op) { return lowerTransposeBlocks(op, request, builder); })
      .Case([&](CountRowsOp op) { return lowerCountRows(op, request, builder); })
      .Case([&](BlockBoundsOp op) { return lowerBlockBounds(op, request, builder); })
      .Case([&](SplitBlocksOp op) { return lowerSplitBlocks(op, request, builder); })
      .Case([&](GroupRowsOp op) { return lowerGroupRows(op, request, builder); })
      .Case([&](GatherScoresOp op) { return lowerGatherScores(op, request, builder); })
      .Case([&](MergeRowsOp op) { return lowerMergeRows(op, request, builder); })
      .Case([&](SumRowsOp op) { return lowerSumRows(op, request, builder); })
      .Default([](Operation *op) {
        return op->emitOpError() << "has no GPU kernel yet; run the program with the interpreter (--device cpu)";
      });
}

struct FresnelToTilePass final : impl::FresnelToTilePassBase<FresnelToTilePass> {
  using Base::Base;

  void runOnOperation() override {
    SymbolTable symbols(getOperation());
    lowered.clear();
    SmallVector<LaunchOp> launches;
    getOperation().walk([&](LaunchOp launch) { launches.push_back(launch); });
    for (LaunchOp launch : launches)
      if (failed(lowerLaunch(launch, symbols)))
        return signalPassFailure();
    // Not before: what one kernel costs may stand in another, such as the lengths of documents.
    for (ProgramOp program : lowered)
      symbols.erase(program);
  }

  LogicalResult lowerLaunch(LaunchOp launch, SymbolTable &symbols) {
    auto program = symbols.lookup<ProgramOp>(launch.getCallee());
    if (!program || llvm::is_contained(lowered, program))
      return launch.emitOpError() << "calls `" << launch.getCallee() << "`, which is not an outlined program";
    auto schedule = program->getAttrOfType<ScheduleAttr>(kScheduleAttr);
    if (!schedule)
      return program.emitOpError() << "has no schedule; run fresnel-assign-schedules first";
    Block &body = program.getBody().front();
    if (body.getOperations().size() != 2)
      return program.emitOpError() << "must hold one operation, but holds " << body.getOperations().size() - 1;
    // Operand i is what the i-th argument of the launch holds.
    if (!llvm::equal(body.front().getOperands(), body.getArguments()) ||
        !llvm::equal(body.back().getOperands(), body.front().getResults()))
      return program.emitOpError() << "must hand its arguments to its operation and return the results, each once and "
                                      "in order";

    KernelRequest request{program, &body.front(), schedule, getViews(launch)};
    KernelBuilder builder(request.op->getLoc(), program);
    if (failed(lower(request, builder)))
      return failure();
    auto kernel = cast<tile::KernelOp>(program->getPrevNode());
    if (llvm::is_contained(kernel.getGrid(), INT32_MAX))
      return request.op->emitOpError() << "needs more than " << INT32_MAX - 1
                                       << " thread blocks, the most that a launch takes; split the batch or the heads";
    kernel->setAttr("fresnel.op", builder.getStringAttr(request.op->getName().getStringRef()));
    kernel->setAttr(kScheduleAttr, schedule);
    OperationCost cost = getCost(request.op);
    kernel->setAttr(kCostAttr, builder.getDictionaryAttr(
                                   {builder.getNamedAttr("bytes_read", builder.getI64IntegerAttr(cost.bytesRead)),
                                    builder.getNamedAttr("bytes_written", builder.getI64IntegerAttr(cost.bytesWritten)),
                                    builder.getNamedAttr("flops", builder.getI64IntegerAttr(cost.flops)),
                                    builder.getNamedAttr("exact", builder.getBoolAttr(cost.exact))}));
    for (StringRef name :
         {StringRef(kDependentLaunchAttr), StringRef(kWaitAttr), StringRef(kZeroedAttr), StringRef(kInPlaceAttr)})
      if (Attribute attribute = program->getAttr(name))
        kernel->setAttr(name, attribute);
    lowered.push_back(program);
    return success();
  }

  /// Programs that kernels stand for.
  SmallVector<ProgramOp> lowered;
};

} // namespace
} // namespace fresnel
