//===- Stage.h - The stages of a compilation and their files ----*- C++ -*-===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
#ifndef FRESNEL_COMPILER_STAGE_H
#define FRESNEL_COMPILER_STAGE_H

#include "llvm/ADT/StringRef.h"
#include "llvm/Support/Error.h"

#include <optional>
#include <string>

namespace fresnel {

/// What a compilation passes through, in order. Program to LLVM are MLIR text;
/// PTX is one text per kernel; Manifest is JSON.
enum class Stage { Program, Plan, Scheduled, Tile, NVVM, LLVM, PTX, Manifest };

/// "program", "plan", "scheduled", "tile", "nvvm", "llvm", "ptx", "manifest".
llvm::StringRef stringifyStage(Stage stage);
std::optional<Stage> parseStage(llvm::StringRef name);

/// Writes `text` to DIR/NN-STAGE[-KERNEL].{mlir,ll,ptx,json}, NN counting the
/// stages from 0 (.ll: the optimised LLVM IR of one kernel); creates DIR. The
/// error names the file.
llvm::Error dumpStage(llvm::StringRef dir, Stage stage, llvm::StringRef kernel, llvm::StringRef text);

} // namespace fresnel

#endif // FRESNEL_COMPILER_STAGE_H
