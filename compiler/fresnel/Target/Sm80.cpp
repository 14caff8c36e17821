//===- Sm80.cpp - Ampere and Ada targets ------------------------------------------===//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//

#include "fresnel/Target/TargetInfo.h"

using namespace fresnel;

// Shared memory per block: CUDA C++ programming guide, "Technical Specifications per Compute Capability".
static constexpr TargetInfo kTargets[] = {
    {"sm_80", 8, 0, /*archSpecific=*/false, /*ptxVersion=*/70, /*minDriverCuda=*/11000, 163 * 1024, 65536, 255,
     /*hasCpAsync=*/true, /*hasTma=*/false, /*hasWgmma=*/false, /*hasDependentLaunch=*/false,
     /*matrixOpsPerCycle=*/2048},
    {"sm_86", 8, 6, /*archSpecific=*/false, /*ptxVersion=*/71, /*minDriverCuda=*/11010, 99 * 1024, 65536, 255,
     /*hasCpAsync=*/true, /*hasTma=*/false, /*hasWgmma=*/false, /*hasDependentLaunch=*/false,
     /*matrixOpsPerCycle=*/1024},
    {"sm_89", 8, 9, /*archSpecific=*/false, /*ptxVersion=*/78, /*minDriverCuda=*/11080, 99 * 1024, 65536, 255,
     /*hasCpAsync=*/true, /*hasTma=*/false, /*hasWgmma=*/false, /*hasDependentLaunch=*/false,
     /*matrixOpsPerCycle=*/1024},
};

llvm::ArrayRef<TargetInfo> fresnel::getSm80Targets() { return kTargets; }
