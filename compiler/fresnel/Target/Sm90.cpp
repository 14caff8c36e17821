//===- Sm90.cpp - Hopper targets ------------------------------------------===//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//

#include "fresnel/Target/TargetInfo.h"

using namespace fresnel;

// sm_90 code also runs on later generations but has no wgmma and no setmaxnreg.
static constexpr TargetInfo kTargets[] = {
    {"sm_90", 9, 0, /*archSpecific=*/false, /*ptxVersion=*/78, /*minDriverCuda=*/11080, 227 * 1024, 65536, 255,
     /*hasCpAsync=*/true, /*hasTma=*/true, /*hasWgmma=*/false, /*hasDependentLaunch=*/true, /*matrixOpsPerCycle=*/4096},
    {"sm_90a", 9, 0, /*archSpecific=*/true, /*ptxVersion=*/80, /*minDriverCuda=*/12000, 227 * 1024, 65536, 255,
     /*hasCpAsync=*/true, /*hasTma=*/true, /*hasWgmma=*/true, /*hasDependentLaunch=*/true, /*matrixOpsPerCycle=*/4096},
};

llvm::ArrayRef<TargetInfo> fresnel::getSm90Targets() { return kTargets; }
