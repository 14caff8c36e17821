//===- TargetInfo.h - What a GPU generation offers --------------*- C++ -*-===//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
//
// A target is data: one file per SM family registers its entries, and nothing
// else in the compiler asks which SM it compiles for.
//
//===----------------------------------------------------------------------===//
#ifndef FRESNEL_TARGET_TARGETINFO_H
#define FRESNEL_TARGET_TARGETINFO_H

#include "llvm/ADT/ArrayRef.h"
#include "llvm/ADT/StringRef.h"
#include "llvm/Support/Error.h"
#include <string>

namespace fresnel {

/// On kernels that wait by themselves for the launch before them.
constexpr llvm::StringLiteral kDependentLaunchAttr = "fresnel.dependent_launch";

/// Where such a kernel waits, if not at its start after letting the next kernel start: at its start before it lets the
/// next one start, or in its last block's end, for a kernel that needs nothing of what may still run.
constexpr llvm::StringLiteral kWaitAttr = "fresnel.wait";
constexpr llvm::StringLiteral kWaitBeforeNext = "before_next", kWaitAtEnd = "end";

/// On a kernel whose result lies in the place of an operand.
constexpr llvm::StringLiteral kInPlaceAttr = "fresnel.in_place";

struct TargetInfo {
  /// LLVM's and ptxas's name, e.g. `sm_90a`.
  llvm::StringRef name;
  /// Compute capability of the devices that can run the code.
  int computeMajor, computeMinor;
  /// Code for this one generation only (`sm_90a`), not for later ones.
  bool archSpecific;
  /// The lowest PTX ISA that has the target's instructions, times ten, and the
  /// CUDA version (major * 1000 + minor * 10) of the first driver that reads it.
  int ptxVersion, minDriverCuda;
  /// Shared memory that one block can opt in to, in bytes.
  int64_t maxSharedBytes;
  /// 32-bit registers of a multiprocessor, and the most that one thread can have.
  int64_t registers, maxRegistersPerThread;
  /// Asynchronous copies, bf16 mma.sync; TMA with mbarriers; wgmma with setmaxnreg.
  bool hasCpAsync, hasTma, hasWgmma;
  /// A kernel may be launched before the one that it depends on has ended, and wait by itself.
  bool hasDependentLaunch;
  /// Operations of the matrix units per multiprocessor and cycle at most: 16-bit
  /// inputs, f32 sums, an addition and a multiplication counted as two.
  int64_t matrixOpsPerCycle;
};

/// All targets, in ascending order of capability. Thread-safe.
llvm::ArrayRef<TargetInfo> getTargets();

/// The target of that name; the error lists the known ones.
llvm::Expected<TargetInfo> findTarget(llvm::StringRef name);

/// True if a GPU of compute capability `compute` (major * 10 + minor) runs the code.
bool runsOn(const TargetInfo &target, int compute);

/// The target whose code is best on a GPU of compute capability `compute`: its own
/// architecture's, or the newest that is not newer; null before 8.0.
const TargetInfo *bestTarget(int compute);

/// The entries of one SM family each.
llvm::ArrayRef<TargetInfo> getSm80Targets();
llvm::ArrayRef<TargetInfo> getSm90Targets();
llvm::ArrayRef<TargetInfo> getSm100Targets();

} // namespace fresnel

#endif // FRESNEL_TARGET_TARGETINFO_H
