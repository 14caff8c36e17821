//===- TuneCandidate.h - Kernels of a plan, cut out for the tuner -----------===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
#ifndef FRESNEL_TOOLS_TUNECANDIDATE_H
#define FRESNEL_TOOLS_TUNECANDIDATE_H

#include "Method.h"
#include "fresnel/Artifact/Bundle.h"
#include "fresnel/Tuning/Record.h"

namespace fresnel::tool {

/// A bundle with launch `launch` of `plan` only: what it reads are inputs, what
/// it writes are outputs, both by their names in the plan.
rt::Bundle cutKernel(const rt::Bundle &plan, size_t launch);

/// A bundle with the launches before `launch` that return what that one reads;
/// nothing if it reads the plan's inputs only.
std::optional<rt::Bundle> cutPrefix(const rt::Bundle &plan, size_t launch);

/// Compiles a program with one kernel's schedule given. PTX is made for that
/// kernel only; fails with ExitUnsupported and the compiler's reason.
CompiledBundle compileKernel(const std::string &program, const std::string &target, const std::string &kernel,
                             const std::string &schedule);

} // namespace fresnel::tool

#endif // FRESNEL_TOOLS_TUNECANDIDATE_H
