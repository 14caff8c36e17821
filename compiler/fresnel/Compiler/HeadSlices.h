//===- HeadSlices.h - How many heads a plan computes at a time --*- C++ -*-===//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
#ifndef FRESNEL_COMPILER_HEADSLICES_H
#define FRESNEL_COMPILER_HEADSLICES_H

#include "fresnel/Compiler/Compiler.h"
#include "fresnel/Dialect/Fresnel.h"

namespace fresnel {

/// The numbers of slices that `fresnel-slice-heads` takes for the inputs of the program, ascending: divisors of the
/// batch, then the batch times divisors of the heads.
llvm::SmallVector<int64_t> listHeadSlices(ProgramOp program);

/// `options.headSlices`; if that is 0 and there is a limit the fewest with which both plans of the program stay below
/// `options.workspaceLimit`, or an error that says how many bytes it takes at least. Without either 1, unless a step of
/// training takes over an eighth more memory than FlashAttention's of dense attention: then the fewest with which it
/// takes no more, of those that leave a slice so many rows that it takes as long as before; if none suffices the most
/// of those. Lowers a copy of the module to tiles for each number that is tried.
llvm::Expected<int64_t> chooseHeadSlices(mlir::ModuleOp module, const CompileOptions &options);

} // namespace fresnel

#endif // FRESNEL_COMPILER_HEADSLICES_H
