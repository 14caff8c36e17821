//===- Pipelines.cpp - The lowering ladder as pass pipelines --------------===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//

#include "fresnel/Pipelines/Pipelines.h"
#include "fresnel/Conversion/Passes.h"
#include "fresnel/Transforms/Passes.h"
#include "mlir/Conversion/Passes.h"
#include "mlir/Pass/PassRegistry.h"
#include "mlir/Transforms/Passes.h"

using namespace mlir;

namespace fresnel {

void populatePlanPipeline(OpPassManager &pm, const TargetPipelineOptions &options,
                          llvm::ArrayRef<std::string> recompute) {
  // First: what is fused, and which kernel an operation has, depends on the heads that there are.
  if (options.headSlices > 1) {
    SliceHeadsPassOptions slices;
    slices.slices = options.headSlices;
    pm.addPass(createSliceHeadsPass(slices));
  }
  pm.addPass(createCanonicalizerPass());
  pm.addPass(createCSEPass());
  pm.addPass(createFusePyramidsPass());
  pm.addPass(createMergeGathersPass());
  pm.addPass(createInvertSelectionsPass());
  pm.addPass(createReuseLsePass());
  FuseSelectionsPassOptions selections;
  selections.target = options.target;
  pm.addPass(createFuseSelectionsPass(selections));
  if (options.groupQueries) {
    GroupQueriesPassOptions grouping;
    grouping.target = options.target;
    grouping.schedule = options.schedule;
    pm.addPass(createGroupQueriesPass(grouping));
  }
  FuseAttendGradPassOptions gradients;
  gradients.target = options.target;
  gradients.schedule = options.gradientSchedule;
  pm.addPass(createFuseAttendGradPass(gradients));
  pm.addPass(createFuseGateGradientsPass());
  TransposeBlocksPassOptions lists;
  lists.target = options.target;
  lists.schedule = options.gradientSchedule;
  pm.addPass(createTransposeBlocksPass(lists));
  pm.addPass(createFoldSumsPass());
  pm.addPass(createGatherTilesPass());
  // Last before the kernels: whatever fuses or shares work sees both halves.
  SplitGradientPassOptions split;
  split.recompute.append(recompute.begin(), recompute.end());
  pm.addPass(createSplitGradientPass(split));
  pm.addPass(createOutlineKernelsPass());
}

void populateSchedulePipeline(OpPassManager &pm, const TargetPipelineOptions &options) {
  AssignSchedulesPassOptions schedules;
  schedules.target = options.target;
  schedules.schedule = options.schedule;
  schedules.gradientSchedule = options.gradientSchedule;
  schedules.dependentLaunch = options.dependentLaunch;
  pm.addPass(createAssignSchedulesPass(schedules));
  pm.addPass(createOverlapLaunchesPass());
  pm.addPass(createAssignBuffersPass());
}

void populateTilePipeline(OpPassManager &pm) {
  pm.addPass(createFresnelToTilePass());
  OpPassManager &kernels = pm.nest<tile::KernelOp>();
  kernels.addPass(createCanonicalizerPass());
  kernels.addPass(createCSEPass());
}

void populateNVVMPipeline(OpPassManager &pm) { pm.addPass(createConvertTileToNVVMPass()); }

void populateLLVMPipeline(OpPassManager &pm) {
  {
    OpPassManager &kernels = pm.nest<LLVM::LLVMFuncOp>();
    kernels.addPass(createCanonicalizerPass());
    kernels.addPass(createCSEPass());
    kernels.addPass(createSCFToControlFlowPass());
  }
  pm.addPass(createConvertVectorToLLVMPass());
  pm.addPass(createConvertMathToLLVMPass());
  pm.addPass(createArithToLLVMConversionPass());
  pm.addPass(createConvertControlFlowToLLVMPass());
  pm.addPass(createConvertNVVMToLLVMPass());
  pm.addPass(createReconcileUnrealizedCastsPass());
  OpPassManager &kernels = pm.nest<LLVM::LLVMFuncOp>();
  kernels.addPass(createCanonicalizerPass());
  kernels.addPass(createCSEPass());
}

/// Registers `--fresnel-lower-to-<name>`, which runs the first `stages` stages.
static void registerLowering(StringRef name, StringRef description, int stages) {
  PassPipelineRegistration<TargetPipelineOptions>(("fresnel-lower-to-" + name).str(), description,
                                                  [stages](OpPassManager &pm, const TargetPipelineOptions &options) {
                                                    populatePlanPipeline(pm, options);
                                                    if (stages >= 2)
                                                      populateSchedulePipeline(pm, options);
                                                    if (stages >= 3)
                                                      populateTilePipeline(pm);
                                                    if (stages >= 4)
                                                      populateNVVMPipeline(pm);
                                                    if (stages >= 5)
                                                      populateLLVMPipeline(pm);
                                                  });
}

void registerPipelines() {
  registerLowering("plan", "outline the kernels of a program", 1);
  registerLowering("scheduled", "plan, then schedules and workspace offsets", 2);
  registerLowering("tile", "down to one tile kernel per launch", 3);
  registerLowering("nvvm", "down to llvm.func kernels with structured control flow", 4);
  registerLowering("llvm", "down to the LLVM dialect, ready for PTX", 5);
}

} // namespace fresnel
