//===- Pipelines.h - The lowering ladder as pass pipelines ------*- C++ -*-===//
//
// One function per stage of the compiler; the facade (Compiler.h) runs them one
// after another and fresnel-opt offers them as flags. Every stage starts from
// what the stage before it left.
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
#ifndef FRESNEL_PIPELINES_PIPELINES_H
#define FRESNEL_PIPELINES_PIPELINES_H

#include "mlir/Pass/PassManager.h"
#include "mlir/Pass/PassOptions.h"

#include <string>

namespace fresnel {

/// Options of the stages that depend on the GPU.
struct TargetPipelineOptions : mlir::PassPipelineOptions<TargetPipelineOptions> {
  Option<std::string> target{*this, "target", llvm::cl::desc("GPU to compile for, for example sm_90a"),
                             llvm::cl::init("sm_90a")};
  Option<std::string> schedule{
      *this, "schedule", llvm::cl::desc("fields of the attention kernels' schedules: name=value, separated by ':'")};
  Option<std::string> gradientSchedule{
      *this, "gradient-schedule",
      llvm::cl::desc("fields of the attention gradients' schedules: name=value, separated by ':'")};
  Option<bool> groupQueries{
      *this, "group-queries",
      llvm::cl::desc("attend block by block of keys where each query has a list of its own and that seems faster"),
      llvm::cl::init(true)};
  Option<int64_t> headSlices{*this, "head-slices", llvm::cl::desc("slices of the heads, computed one after the other"),
                             llvm::cl::init(1)};
  Option<bool> dependentLaunch{*this, "dependent-launch",
                               llvm::cl::desc("let kernels wait by themselves for the launch before them"),
                               llvm::cl::init(true)};
};

/// program -> plan: canonical form, one outlined program per kernel, launches in
/// order. A differentiated program becomes two, forward and backward; operations
/// that `recompute` names run again in the backward one rather than being saved.
/// The target and the gradients' schedule say which operations have a kernel together.
void populatePlanPipeline(mlir::OpPassManager &pm, const TargetPipelineOptions &options,
                          llvm::ArrayRef<std::string> recompute = {});

/// plan -> scheduled: a schedule per kernel, workspace offsets for temporaries.
void populateSchedulePipeline(mlir::OpPassManager &pm, const TargetPipelineOptions &options);

/// scheduled -> tile: one `tile.kernel` per kernel program.
void populateTilePipeline(mlir::OpPassManager &pm);

/// tile -> nvvm: `llvm.func` kernels; scalar arithmetic and loops are still structured.
void populateNVVMPipeline(mlir::OpPassManager &pm);

/// nvvm -> llvm: only the LLVM and NVVM dialects are left in the kernels.
void populateLLVMPipeline(mlir::OpPassManager &pm);

/// Registers --fresnel-lower-to-{plan,scheduled,tile,nvvm,llvm}: each runs every
/// stage up to the named one. Call once per process.
void registerPipelines();

} // namespace fresnel

#endif // FRESNEL_PIPELINES_PIPELINES_H
