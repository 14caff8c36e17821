// RUN: fresnel-opt %s --split-input-file --fresnel-outline-kernels --fresnel-assign-schedules=target=sm_90a | FileCheck %s

// With head dim 96 three consumers leave their weights in shared memory. Persistent tiles have room to be chained.
// CHECK: #fresnel.schedule<family = hopper, tile_m = 192, tile_n = 128, persistent = true, shared_weights = true>}
!q = tensor<2x16x8192x96xbf16>
fresnel.program @chained(%q: !q) {
  %o, %l = fresnel.attend %q, %q, %q {causal = true} : !q, !q, !q
  fresnel.return %o {names = ["out"]} : !q
}

// -----

// CHECK: #fresnel.schedule<family = hopper, tile_m = 192, tile_n = 144, shared_weights = true>}
// CHECK: #fresnel.schedule<family = hopper, tile_m = 192, tile_n = 128, shared_weights = true>}
!q = tensor<1x16x16384x96xbf16>
fresnel.program @long(%q: !q) {
  %a, %la = fresnel.attend %q, %q, %q : !q, !q, !q
  %b, %lb = fresnel.attend %q, %q, %q {causal = true, window = 4096} : !q, !q, !q
  fresnel.return %a, %b {names = ["a", "b"]} : !q, !q
}

// -----

// Short rows, and few tiles, are faster in tiles of 128 queries.
// CHECK: #fresnel.schedule<family = hopper, tile_m = 128, tile_n = 192, persistent = true>}
// CHECK: #fresnel.schedule<family = hopper, tile_m = 128, tile_n = 192, persistent = true>}
!q = tensor<16x16x1024x96xbf16>
!few = tensor<1x8x4096x96xbf16>
fresnel.program @short(%q: !q, %f: !few) {
  %a, %la = fresnel.attend %q, %q, %q {causal = true} : !q, !q, !q
  %b, %lb = fresnel.attend %f, %f, %f {causal = true} : !few, !few, !few
  fresnel.return %a, %b {names = ["a", "b"]} : !q, !few
}

// -----

// What was not measured: values of another head dim, pooled keys.
// CHECK-NOT: shared_weights
!q = tensor<1x16x16384x96xbf16>
!v = tensor<1x16x16384x64xbf16>
!p = tensor<1x16x4096x96xbf16>
fresnel.program @others(%q: !q, %v: !v, %p: !p) {
  %a, %la = fresnel.attend %q, %q, %v {causal = true} : !q, !q, !v
  %b, %lb = fresnel.attend %q, %p, %p {causal = true, key_window = 4, key_stride = 4} : !q, !p, !p
  fresnel.return %a, %b {names = ["a", "b"]} : !v, !q
}
