//===- Sm100.cpp - Blackwell targets ------------------------------------------===//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//

#include "fresnel/Target/TargetInfo.h"

using namespace fresnel;

// Served by the portable schedules; tcgen05 has no schedule.
static constexpr TargetInfo kTargets[] = {
    {"sm_100", 10, 0, /*archSpecific=*/false, /*ptxVersion=*/86, /*minDriverCuda=*/12080, 227 * 1024, 65536, 255,
     /*hasCpAsync=*/true, /*hasTma=*/true, /*hasWgmma=*/false, /*hasDependentLaunch=*/true, /*matrixOpsPerCycle=*/8192},
    {"sm_120", 12, 0, /*archSpecific=*/false, /*ptxVersion=*/87, /*minDriverCuda=*/12080, 99 * 1024, 65536, 255,
     /*hasCpAsync=*/true, /*hasTma=*/true, /*hasWgmma=*/false, /*hasDependentLaunch=*/true, /*matrixOpsPerCycle=*/1024},
};

llvm::ArrayRef<TargetInfo> fresnel::getSm100Targets() { return kTargets; }
