// RUN: fresnel-opt %s --split-input-file --fresnel-outline-kernels --fresnel-assign-schedules=target=sm_90a | FileCheck %s

// A kernel whose tiles do not follow each other has nothing to gain from persistence, and pays for its counter.
// CHECK: #fresnel.schedule<family = hopper, tile_m = 128, tile_n = 128>}
fresnel.program @few(%q: tensor<1x8x4096x128xbf16>) {
  %o, %l = fresnel.attend %q, %q, %q {causal = true} : tensor<1x8x4096x128xbf16>, tensor<1x8x4096x128xbf16>, tensor<1x8x4096x128xbf16>
  fresnel.return %o {names = ["out"]} : tensor<1x8x4096x128xbf16>
}

// -----

// CHECK: #fresnel.schedule<family = hopper, {{.*}}, persistent = true>}
fresnel.program @more(%q: tensor<1x16x4096x128xbf16>) {
  %o, %l = fresnel.attend %q, %q, %q {causal = true} : tensor<1x16x4096x128xbf16>, tensor<1x16x4096x128xbf16>, tensor<1x16x4096x128xbf16>
  fresnel.return %o {names = ["out"]} : tensor<1x16x4096x128xbf16>
}

// -----

// CHECK: #fresnel.schedule<family = hopper, {{.*}}, persistent = true>}
fresnel.program @longer(%q: tensor<1x2x8192x128xbf16>) {
  %o, %l = fresnel.attend %q, %q, %q {causal = true} : tensor<1x2x8192x128xbf16>, tensor<1x2x8192x128xbf16>, tensor<1x2x8192x128xbf16>
  fresnel.return %o {names = ["out"]} : tensor<1x2x8192x128xbf16>
}
