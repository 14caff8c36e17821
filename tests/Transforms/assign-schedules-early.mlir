// Keys that the default weighs early give way to tiles that have no place for them; those that are asked for do not.
// RUN: fresnel-opt %s --fresnel-outline-kernels --fresnel-assign-schedules="target=sm_90a schedule=tile_n=32" | FileCheck %s
// RUN: fresnel-opt %s --fresnel-outline-kernels --fresnel-assign-schedules="target=sm_90a schedule=tile_n=16" | FileCheck %s --check-prefix=NARROW
// RUN: not fresnel-opt %s --fresnel-outline-kernels --fresnel-assign-schedules="target=sm_90a schedule=tile_n=16:early=16" 2>&1 | FileCheck %s --check-prefix=ASKED
// RUN: not fresnel-opt %s --fresnel-outline-kernels --fresnel-assign-schedules="target=sm_90a schedule=tile_n=24" 2>&1 | FileCheck %s --check-prefix=TILE

// CHECK: #fresnel.schedule<family = hopper, tile_m = 128, tile_n = 32, persistent = true, early = 16>
// NARROW: #fresnel.schedule<family = hopper, tile_m = 128, tile_n = 16, persistent = true>
// ASKED: early must be a multiple of 8, less than tile_n 16, but is 16; set early = 0 for none
// TILE: tile_n must be a multiple of 16 in [16, 256], but is 24
fresnel.program @main(%q: tensor<1x16x8192x128xbf16>) {
  %o, %l = fresnel.attend %q, %q, %q {causal = true} : tensor<1x16x8192x128xbf16>, tensor<1x16x8192x128xbf16>, tensor<1x16x8192x128xbf16>
  fresnel.return %o {names = ["out"]} : tensor<1x16x8192x128xbf16>
}
