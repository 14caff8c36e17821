//===- CompilerId.h - Which compiler this is
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
#ifndef FRESNEL_JIT_COMPILERID_H
#define FRESNEL_JIT_COMPILERID_H

#include <string>

namespace fresnel {

/// Versions of Fresnel and LLVM, and the build id that the linker gave the file
/// this code is in (without one its size and time of change): a compiler that was
/// built anew is another one, whatever its version says. Thread-safe.
const std::string &getCompilerId();

} // namespace fresnel

#endif // FRESNEL_JIT_COMPILERID_H
