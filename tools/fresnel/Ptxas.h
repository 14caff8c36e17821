//===- Ptxas.h - resource use of a kernel, from the CUDA assembler ---------===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
#ifndef FRESNEL_TOOLS_PTXAS_H
#define FRESNEL_TOOLS_PTXAS_H

#include <cstdint>
#include <optional>
#include <string>

namespace fresnel::tool {

/// What `ptxas -v` says about one kernel. `staticShared` and `spillBytes` are in bytes.
struct PtxasReport {
  int registers = 0;
  int64_t spillBytes = 0;
  int64_t staticShared = 0;
  /// Set if ptxas refused the code or warned that it gave up on what the
  /// schedule relies on (C75xx: serialised wgmma, ignored setmaxnreg).
  std::string error;
  /// Set if nothing can be said of the code: ptxas is too old for the target, or could not be given the text.
  std::string failure;
};

/// Path of ptxas: FRESNEL_PTXAS and nothing else if it is set, else PATH, then CUDA_HOME, then /usr/local/cuda.
std::optional<std::string> findPtxas();

/// Where findPtxas looked, after it has found none.
std::string whyNoPtxas();

/// First line of `ptxas --version` that names a release, "" if it cannot be run.
std::string ptxasVersion(const std::string &ptxas);

/// Assembles `ptx` for `target` (sm_XX) and throws the result away. Thread safe.
PtxasReport assemble(const std::string &ptxas, const std::string &ptx, const std::string &target);

} // namespace fresnel::tool

#endif // FRESNEL_TOOLS_PTXAS_H
