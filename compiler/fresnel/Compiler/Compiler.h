//===- Compiler.h - From a program in the dialect to PTX --------*- C++ -*-===//
//
// The facade of the compiler. It keeps no global state: one call compiles one
// module, several threads may compile in several contexts.
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
#ifndef FRESNEL_COMPILER_COMPILER_H
#define FRESNEL_COMPILER_COMPILER_H

#include "fresnel/Artifact/Manifest.h"
#include "fresnel/Compiler/Stage.h"
#include "mlir/IR/BuiltinOps.h"
#include "mlir/IR/OwningOpRef.h"

#include <functional>
#include <map>
#include <string>
#include <vector>

namespace fresnel {

struct CompileOptions {
  /// GPU to compile for: a name known to TargetInfo, for example "sm_90a".
  std::string target = "sm_90a";
  /// Fields of the attention kernels' schedules that differ from the default:
  /// `name=value`, separated by `:`.
  std::string schedule;
  /// The same for the gradients of attention, whose `ordered=false` trades equal bits in
  /// every run for speed, and whose `family=portable` separates them.
  std::string gradientSchedule;
  /// Operations of a differentiated program (without the dialect, e.g. "gather")
  /// that the backward half repeats rather than having their results saved.
  std::vector<std::string> recompute;
  /// Attends block by block of keys where each query has a list of its own and that seems faster, with a copy of the
  /// queries for each entry of a list.
  bool groupQueries = true;
  /// Into how many slices batch and heads are cut, one computed after the other in the same workspace
  /// (`fresnel-slice-heads`); 0: chosen by memory (chooseHeadSlices).
  int64_t headSlices = 0;
  /// Bytes that no workspace may exceed; 0 for no limit.
  int64_t workspaceLimit = 0;
  /// Kernels wait by themselves for the launch before them, where the target can.
  bool dependentLaunch = true;
  /// The stage whose result the module already is: those up to it are not run.
  Stage startAfter = Stage::Program;
  /// Last stage to run; the texts of the stages before it stay available through `dumpDir`.
  Stage stopAfter = Stage::Manifest;
  /// If not empty, every stage is written to a numbered file in this folder.
  std::string dumpDir;
  /// File that replaces the result of a stage, before the next one starts. A
  /// PTX file replaces the kernel whose `.entry` it defines; the manifest
  /// cannot be replaced.
  std::map<Stage, std::string> overrides;
  /// Called with the result of the plan stage: may give kernel programs a
  /// schedule (`fresnel.schedule`), which the next stage then checks and keeps.
  std::function<void(mlir::ModuleOp)> afterPlan;
  /// If not empty, PTX is emitted for the kernel of this name only; the texts of
  /// the others stay empty, and the result is no complete bundle.
  std::string onlyKernel;
  /// Recorded in the manifest: the method's name and its preset's parameters
  /// (a JSON object).
  std::string name = "program";
  std::string parameters = "{}";
};

/// What goes into a bundle: the manifest and one PTX text per kernel, in the
/// order of `manifest.kernels`.
struct CompiledBundle {
  rt::Manifest manifest;
  std::vector<std::string> ptx;
};

/// The result of a compilation that may have stopped early: `text` is the
/// result of `CompileOptions::stopAfter` (kernels of the PTX stage one after
/// another), `bundle` is filled only if that was Manifest.
struct CompileResult {
  std::string text;
  CompiledBundle bundle;
};

/// Parses and verifies a file; the error holds the diagnostics with their lines.
llvm::Expected<mlir::OwningOpRef<mlir::ModuleOp>> parseProgramFile(const std::string &path, mlir::MLIRContext &context);
/// The same for text in memory; `name` appears in diagnostics.
llvm::Expected<mlir::OwningOpRef<mlir::ModuleOp>> parseProgramText(llvm::StringRef text, const std::string &name,
                                                                   mlir::MLIRContext &context);

/// Adds the gradients of the main program's inputs with respect to `outputs`, the
/// first one if the list is empty: inputs dX for outputs X, results dY for inputs Y.
llvm::Error differentiateProgram(mlir::ModuleOp module, const std::vector<std::string> &outputs);

/// Runs the stages on `module`, which is changed. Diagnostics end up in the
/// error, with their locations; a construct that no schedule supports is refused
/// with a message that names it.
llvm::Expected<CompileResult> runStages(mlir::OwningOpRef<mlir::ModuleOp> &module, const CompileOptions &options);

/// Compiles a copy of `module` to a bundle.
llvm::Expected<CompiledBundle> compileProgram(mlir::ModuleOp module, const CompileOptions &options);

} // namespace fresnel

#endif // FRESNEL_COMPILER_COMPILER_H
