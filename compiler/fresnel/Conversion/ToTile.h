//===- ToTile.h - From one scheduled kernel program to tile -----*- C++ -*-===//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
#ifndef FRESNEL_CONVERSION_TOTILE_H
#define FRESNEL_CONVERSION_TOTILE_H

#include "fresnel/Conversion/KernelBuilder.h"
#include "fresnel/Dialect/Fresnel.h"

namespace fresnel {

/// What a lowering gets: the outlined program, its one compute operation, the
/// schedule and the argument types (inputs, then results) of the kernel to write.
struct KernelRequest {
  ProgramOp program;
  mlir::Operation *op;
  ScheduleAttr schedule;
  llvm::SmallVector<tile::GlobalType> views;

  llvm::StringRef getName() const;
  llvm::SmallVector<mlir::Type> getArgumentTypes() const {
    return llvm::SmallVector<mlir::Type>(views.begin(), views.end());
  }
};

/// Each writes the tile kernel of one operation at the builder's insertion
/// point, or reports at the user's operation which limit was hit and fails.
mlir::LogicalResult lowerAttend(AttendOp op, const KernelRequest &request, KernelBuilder &builder);
/// Attention under a schedule of the hopper family, which its verifier accepted.
void lowerHopperAttend(AttendOp op, const KernelRequest &request, KernelBuilder &builder);
/// Attention over block lists under a schedule of the portable family.
void lowerAttendBlocks(AttendOp op, const KernelRequest &request, KernelBuilder &builder);
mlir::LogicalResult lowerTransposeBlocks(TransposeBlocksOp op, const KernelRequest &request, KernelBuilder &builder);
mlir::LogicalResult lowerCountRows(CountRowsOp op, const KernelRequest &request, KernelBuilder &builder);
mlir::LogicalResult lowerBlockBounds(BlockBoundsOp op, const KernelRequest &request, KernelBuilder &builder);
mlir::LogicalResult lowerSplitBlocks(SplitBlocksOp op, const KernelRequest &request, KernelBuilder &builder);
mlir::LogicalResult lowerGroupRows(GroupRowsOp op, const KernelRequest &request, KernelBuilder &builder);
mlir::LogicalResult lowerGatherScores(GatherScoresOp op, const KernelRequest &request, KernelBuilder &builder);
mlir::LogicalResult lowerMergeRows(MergeRowsOp op, const KernelRequest &request, KernelBuilder &builder);
mlir::LogicalResult lowerSumRows(SumRowsOp op, const KernelRequest &request, KernelBuilder &builder);
/// The gradients over block lists.
void lowerAttendGradBlocks(AttendGradQOp op, const KernelRequest &request, KernelBuilder &builder);
void lowerAttendGradBlocks(AttendGradKvOp op, const KernelRequest &request, KernelBuilder &builder);
/// The same under schedules of the hopper family.
void lowerHopperListGrad(AttendGradQOp op, const KernelRequest &request, KernelBuilder &builder);
void lowerHopperListGrad(AttendGradKvOp op, const KernelRequest &request, KernelBuilder &builder);
mlir::LogicalResult lowerAttendGrad(AttendGradOp op, const KernelRequest &request, KernelBuilder &builder);
mlir::LogicalResult lowerRoundTiles(RoundTilesOp op, const KernelRequest &request, KernelBuilder &builder);
mlir::LogicalResult lowerSettleTiles(SettleTilesOp op, const KernelRequest &request, KernelBuilder &builder);
mlir::LogicalResult lowerBoundKeys(BoundKeysOp op, const KernelRequest &request, KernelBuilder &builder);
mlir::LogicalResult lowerAttendStats(AttendStatsOp op, const KernelRequest &request, KernelBuilder &builder);
mlir::LogicalResult lowerAttendDelta(AttendDeltaOp op, const KernelRequest &request, KernelBuilder &builder);
mlir::LogicalResult lowerAttendGradQ(AttendGradQOp op, const KernelRequest &request, KernelBuilder &builder);
mlir::LogicalResult lowerAttendGradKv(AttendGradKvOp op, const KernelRequest &request, KernelBuilder &builder);
mlir::LogicalResult lowerAdd(AddOp op, const KernelRequest &request, KernelBuilder &builder);
mlir::LogicalResult lowerDocumentBounds(DocumentBoundsOp op, const KernelRequest &request, KernelBuilder &builder);
mlir::LogicalResult lowerNarrowBounds(NarrowBoundsOp op, const KernelRequest &request, KernelBuilder &builder);
mlir::LogicalResult lowerAlignDocuments(AlignDocumentsOp op, const KernelRequest &request, KernelBuilder &builder);
mlir::LogicalResult lowerMove(MoveOp op, const KernelRequest &request, KernelBuilder &builder);
mlir::LogicalResult lowerPyramid(PyramidOp op, const KernelRequest &request, KernelBuilder &builder);
mlir::LogicalResult lowerNorm(NormOp op, const KernelRequest &request, KernelBuilder &builder);
mlir::LogicalResult lowerSelectCascade(SelectCascadeOp op, const KernelRequest &request, KernelBuilder &builder);
mlir::LogicalResult lowerGather(GatherOp op, const KernelRequest &request, KernelBuilder &builder);
mlir::LogicalResult lowerScatter(ScatterOp op, const KernelRequest &request, KernelBuilder &builder);
mlir::LogicalResult lowerFold(FoldOp op, const KernelRequest &request, KernelBuilder &builder);
mlir::LogicalResult lowerUnfold(UnfoldOp op, const KernelRequest &request, KernelBuilder &builder);
mlir::LogicalResult lowerPyramidGrad(PyramidGradOp op, const KernelRequest &request, KernelBuilder &builder);
mlir::LogicalResult lowerGatherGrad(GatherGradOp op, const KernelRequest &request, KernelBuilder &builder);
mlir::LogicalResult lowerScatterGrad(ScatterGradOp op, const KernelRequest &request, KernelBuilder &builder);
mlir::LogicalResult lowerPool(PoolOp op, const KernelRequest &request, KernelBuilder &builder);
mlir::LogicalResult lowerPoolGrad(PoolGradOp op, const KernelRequest &request, KernelBuilder &builder);
mlir::LogicalResult lowerUnpool(UnpoolOp op, const KernelRequest &request, KernelBuilder &builder);
mlir::LogicalResult lowerUnpoolGrad(UnpoolGradOp op, const KernelRequest &request, KernelBuilder &builder);
mlir::LogicalResult lowerGate(GateOp op, const KernelRequest &request, KernelBuilder &builder);
mlir::LogicalResult lowerGateGrad(GateGradOp op, const KernelRequest &request, KernelBuilder &builder);
mlir::LogicalResult lowerGateDelta(GateDeltaOp op, const KernelRequest &request, KernelBuilder &builder);
mlir::LogicalResult lowerMerge(MergeOp op, const KernelRequest &request, KernelBuilder &builder);
mlir::LogicalResult lowerMergeGrad(MergeGradOp op, const KernelRequest &request, KernelBuilder &builder);
mlir::LogicalResult lowerBlockScore(BlockScoreOp op, const KernelRequest &request, KernelBuilder &builder);
mlir::LogicalResult lowerBlocksFromMask(BlocksFromMaskOp op, const KernelRequest &request, KernelBuilder &builder);
mlir::LogicalResult lowerRegroup(RegroupOp op, const KernelRequest &request, KernelBuilder &builder);
mlir::LogicalResult lowerRegroupScored(RegroupScoredOp op, const KernelRequest &request, KernelBuilder &builder);
mlir::LogicalResult lowerSelectBlocks(SelectBlocksOp op, const KernelRequest &request, KernelBuilder &builder);
mlir::LogicalResult lowerSelectScored(SelectScoredOp op, const KernelRequest &request, KernelBuilder &builder);
mlir::LogicalResult lowerPoolLevels(PoolLevelsOp op, const KernelRequest &request, KernelBuilder &builder);
mlir::LogicalResult lowerGatherLevels(GatherLevelsOp op, const KernelRequest &request, KernelBuilder &builder);
mlir::LogicalResult lowerScatterBySlots(ScatterBySlotsOp op, const KernelRequest &request, KernelBuilder &builder);
mlir::LogicalResult lowerGatherGradBySlots(GatherGradBySlotsOp op, const KernelRequest &request,
                                           KernelBuilder &builder);
mlir::LogicalResult lowerGatherGradTiles(GatherGradTilesOp op, const KernelRequest &request, KernelBuilder &builder);
mlir::LogicalResult lowerScatterGradBySlots(ScatterGradBySlotsOp op, const KernelRequest &request,
                                            KernelBuilder &builder);

} // namespace fresnel

#endif // FRESNEL_CONVERSION_TOTILE_H
