//===- FresnelOps.td - All operations of the dialect -------*- tablegen -*-===//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//

#ifndef FRESNEL_OPS
#define FRESNEL_OPS

include "fresnel/Dialect/FresnelProgramOps.td"
include "fresnel/Dialect/FresnelPoolingOps.td"
include "fresnel/Dialect/FresnelSelectionOps.td"
include "fresnel/Dialect/FresnelAttentionOps.td"
include "fresnel/Dialect/FresnelGradientOps.td"
include "fresnel/Dialect/FresnelFusedOps.td"
include "fresnel/Dialect/FresnelFusedGradientOps.td"
include "fresnel/Dialect/FresnelGroupedOps.td"

#endif // FRESNEL_OPS
