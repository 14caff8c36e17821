// RUN: fresnel-opt %s --split-input-file --fresnel-outline-kernels --fresnel-assign-schedules=target=sm_90a | FileCheck %s

// A kernel whose tiles do not follow each other has nothing to gain from persistence, and pays for its counter.
// CHECK: #fresnel.schedule<family = hopper, tile_m = 128, tile_n = 128>}
fresnel.program @few(%q: tensor<1x8x4096x128xbf16>) {
  %o, %l = fresnel.attend %q, %q, %q {causal = true} : tensor<1x8x4096x128xbf16>, tensor<1x8x4096x128xbf16>, tensor<1x8x4096x128xbf16>
  fresnel.return %o {names = ["out"]} : tensor<1x8x4096x128xbf16>
}

// -----

// CHECK: #fresnel.schedule<family = hopper, {{.*}}, persistent = true, early = 16>}
fresnel.program @more(%q: tensor<1x16x4096x128xbf16>) {
  %o, %l = fresnel.attend %q, %q, %q {causal = true} : tensor<1x16x4096x128xbf16>, tensor<1x16x4096x128xbf16>, tensor<1x16x4096x128xbf16>
  fresnel.return %o {names = ["out"]} : tensor<1x16x4096x128xbf16>
}

// -----

// CHECK: #fresnel.schedule<family = hopper, {{.*}}, persistent = true, early = 16>}
fresnel.program @longer(%q: tensor<1x2x8192x128xbf16>) {
  %o, %l = fresnel.attend %q, %q, %q {causal = true} : tensor<1x2x8192x128xbf16>, tensor<1x2x8192x128xbf16>, tensor<1x2x8192x128xbf16>
  fresnel.return %o {names = ["out"]} : tensor<1x2x8192x128xbf16>
}

// -----

// Dense causal attention with head dim 128 chains its tiles up to 16384 keys, and weighs a part of each block early.
// CHECK: #fresnel.schedule<family = hopper, tile_m = 128, tile_n = 128, persistent = true, early = 16>}
// CHECK: #fresnel.schedule<family = hopper, tile_m = 128, tile_n = 192>}
fresnel.program @chained(%q: tensor<1x2x16384x128xbf16>, %k: tensor<1x2x16400x128xbf16>) {
  %a, %la = fresnel.attend %q, %q, %q {causal = true} : tensor<1x2x16384x128xbf16>, tensor<1x2x16384x128xbf16>, tensor<1x2x16384x128xbf16>
  %b, %lb = fresnel.attend %a, %k, %k {causal = true} : tensor<1x2x16384x128xbf16>, tensor<1x2x16400x128xbf16>, tensor<1x2x16400x128xbf16>
  fresnel.return %b {names = ["out"]} : tensor<1x2x16384x128xbf16>
}

// -----

// What counts of a window is what a row sees.
// CHECK: #fresnel.schedule<family = hopper, tile_m = 128, tile_n = 128, persistent = true, early = 16>}
// CHECK: #fresnel.schedule<family = hopper, tile_m = 128, tile_n = 192>}
fresnel.program @windows(%q: tensor<1x2x65536x128xbf16>) {
  %a, %la = fresnel.attend %q, %q, %q {causal = true, window = 4096} : tensor<1x2x65536x128xbf16>, tensor<1x2x65536x128xbf16>, tensor<1x2x65536x128xbf16>
  %b, %lb = fresnel.attend %a, %a, %a {causal = true, window = 32768} : tensor<1x2x65536x128xbf16>, tensor<1x2x65536x128xbf16>, tensor<1x2x65536x128xbf16>
  fresnel.return %b {names = ["out"]} : tensor<1x2x65536x128xbf16>
}

// -----

// Documents cut the rows of any number of keys short. Without a mask there are no queries in registers.
// CHECK: #fresnel.schedule<family = hopper, tile_m = 128, tile_n = 128, persistent = true, early = 16>}
// CHECK: #fresnel.schedule<family = hopper, tile_m = 128, tile_n = 128, persistent = true>}
!q = tensor<1x2x131072x128xbf16>
!d = tensor<1x2x131072xi32>
fresnel.program @documents(%q: !q, %m: !d) {
  %a, %la = fresnel.attend %q, %q, %q documents(%m : !d) {causal = true} : !q, !q, !q
  %b, %lb = fresnel.attend %a, %a, %a documents(%m : !d) : !q, !q, !q
  fresnel.return %b {names = ["out"]} : !q
}
