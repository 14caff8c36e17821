// What fresnel-to-tile refuses: programs that the passes in front of it would not have made.
// RUN: fresnel-opt %s --fresnel-to-tile --split-input-file --verify-diagnostics

!q = tensor<1x2x64x64xbf16>
// expected-error @+1 {{has no schedule; run fresnel-assign-schedules first}}
fresnel.program @no_schedule(%a: !q) attributes {fresnel.kernel} {
  %n = fresnel.norm %a : !q
  fresnel.return %n {names = ["n"]} : tensor<1x2x64xf32>
}
fresnel.program @main(%q: !q) {
  %n = fresnel.launch @no_schedule(%q) : (!q) -> tensor<1x2x64xf32>
  fresnel.return %n {names = ["n"]} : tensor<1x2x64xf32>
}

// -----

!q = tensor<1x2x64x64xbf16>
// expected-error @+1 {{must hold one operation, but holds 2}}
fresnel.program @two(%a: !q) attributes {fresnel.kernel, fresnel.schedule = #fresnel.schedule<family = simt>} {
  %m = fresnel.norm %a : !q
  %n = fresnel.norm %a : !q
  fresnel.return %n {names = ["n"]} : tensor<1x2x64xf32>
}
fresnel.program @main(%q: !q) {
  %n = fresnel.launch @two(%q) : (!q) -> tensor<1x2x64xf32>
  fresnel.return %n {names = ["n"]} : tensor<1x2x64xf32>
}

// -----

!q = tensor<1x2x64x64xbf16>
// expected-error @+1 {{must hand its arguments to its operation and return the results, each once and in order}}
fresnel.program @shared(%a: !q, %b: !q) attributes {fresnel.kernel, fresnel.schedule = #fresnel.schedule<family = hopper, tile_m = 128>} {
  %o, %l = fresnel.attend %a, %b, %b : !q, !q, !q
  fresnel.return %o, %l {names = ["o", "l"]} : !q, tensor<1x2x64xf32>
}
fresnel.program @main(%q: !q, %k: !q) {
  %o, %l = fresnel.launch @shared(%q, %k) : (!q, !q) -> (!q, tensor<1x2x64xf32>)
  fresnel.return %o, %l {names = ["o", "l"]} : !q, tensor<1x2x64xf32>
}

// -----

!q = tensor<1x2x1099511627776x64xbf16>
fresnel.program @long(%a: !q) attributes {fresnel.kernel, fresnel.schedule = #fresnel.schedule<family = simt>} {
  // expected-error @+1 {{needs more than 2147483646 thread blocks, the most that a launch takes; split the batch or the heads}}
  %n = fresnel.norm %a : !q
  fresnel.return %n {names = ["n"]} : tensor<1x2x1099511627776xf32>
}
fresnel.program @main(%q: !q) {
  %n = fresnel.launch @long(%q) : (!q) -> tensor<1x2x1099511627776xf32>
  fresnel.return %n {names = ["n"]} : tensor<1x2x1099511627776xf32>
}
