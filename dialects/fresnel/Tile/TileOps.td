//===- TileOps.td - All operations of the tile dialect -----*- tablegen -*-===//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//

#ifndef FRESNEL_TILE_OPS
#define FRESNEL_TILE_OPS

include "fresnel/Tile/TileKernelOps.td"
include "fresnel/Tile/TileMemoryOps.td"
include "fresnel/Tile/TileFragmentOps.td"
include "fresnel/Tile/TileAsyncOps.td"

#endif // FRESNEL_TILE_OPS
