// Blocks fetch keys in pairs where a head's keys are more than L2 holds and neighbouring tiles of queries want the same.
// RUN: fresnel-opt %s --fresnel-outline-kernels --fresnel-assign-schedules=target=sm_90a | FileCheck %s

!n = tensor<1x2x131072x128xbf16>
!m = tensor<1x2x131056x128xbf16>
// CHECK: @attend_0({{.*}}<family = hopper, tile_m = 128, tile_n = 192, cluster = 2>
// CHECK: @attend_1({{.*}}<family = hopper, tile_m = 128, tile_n = 192, cluster = 2>
// A window, and fewer keys.
// CHECK: @attend_2({{.*}}<family = hopper, tile_m = 128, tile_n = 128, persistent = true, early = 16>
// CHECK: @attend_3({{.*}}<family = hopper, tile_m = 128, tile_n = 192>
fresnel.program @main(%q: !n, %k: !m) {
  %a, %la = fresnel.attend %q, %q, %q {causal = true} : !n, !n, !n
  %b, %lb = fresnel.attend %a, %a, %a : !n, !n, !n
  %c, %lc = fresnel.attend %b, %b, %b {causal = true, window = 4096} : !n, !n, !n
  %d, %ld = fresnel.attend %c, %k, %k : !n, !m, !m
  fresnel.return %d {names = ["out"]} : !n
}
