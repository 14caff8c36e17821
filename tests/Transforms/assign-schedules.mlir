// RUN: fresnel-opt %s --fresnel-outline-kernels --fresnel-assign-schedules=target=sm_90a | FileCheck %s --check-prefixes=CHECK,HOPPER
// RUN: fresnel-opt %s --fresnel-outline-kernels --fresnel-assign-schedules=target=sm_90 | FileCheck %s --check-prefixes=CHECK,PORTABLE

// Matrix work gets the hopper family where there is wgmma and portable elsewhere, the rest simt; wide heads get narrower key blocks.
// CHECK: @norm_0{{.*}}fresnel.schedule = #fresnel.schedule<family = simt, stages = 1>
// HOPPER: @attend_1{{.*}}fresnel.schedule = #fresnel.schedule<family = hopper, tile_m = 128, tile_n = 80{{.*}}>
// PORTABLE: @attend_1{{.*}}fresnel.schedule = #fresnel.schedule<family = portable, tile_n = 32>
fresnel.program @main(%q: tensor<1x2x1000x256xbf16>) {
  %n = fresnel.norm %q : tensor<1x2x1000x256xbf16>
  %o, %l = fresnel.attend %q, %q, %q {causal = true} : tensor<1x2x1000x256xbf16>, tensor<1x2x1000x256xbf16>, tensor<1x2x1000x256xbf16>
  fresnel.return %o, %n {names = ["out", "norms"]} : tensor<1x2x1000x256xbf16>, tensor<1x2x1000xf32>
}
