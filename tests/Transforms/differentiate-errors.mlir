// RUN: fresnel-opt %s --split-input-file --verify-diagnostics --fresnel-differentiate

!x = tensor<1x2x64x32xbf16>

fresnel.program @score(%x: !x) {
  // expected-error @+1 {{'fresnel.norm' op has no gradient, but an output that is differentiated depends on it}}
  %n = fresnel.norm %x : !x
  fresnel.return %n {names = ["n"]} : tensor<1x2x64xf32>
}

// -----

!x = tensor<1x2x64x32xbf16>

fresnel.program @lse_only(%q: !x, %k: !x, %v: !x) {
  // expected-error @+1 {{has a gradient through its LSE only}}
  %out, %lse = fresnel.attend %q, %k, %v : !x, !x, !x
  fresnel.return %lse, %out {names = ["lse", "out"]} : tensor<1x2x64xf32>, !x
}

// -----

!s = tensor<1x2x4x8xf32>

fresnel.program @indices(%s: !s) {
  %i = fresnel.select_blocks %s {topk = 2, key_block = 4} : !s
  // expected-error @+1 {{output `picked` holds 'i32' and has no gradient}}
  fresnel.return %i {names = ["picked"]} : tensor<1x2x4x2xi32>
}

// -----

!x = tensor<1x2x64x32xbf16>

// expected-error @+1 {{has an input `dout` already, the name of a gradient}}
fresnel.program @taken(%dout: !x) {
  %out = fresnel.pool mean %dout {window = 4} : !x
  fresnel.return %out {names = ["out"]} : tensor<1x2x16x32xbf16>
}

// -----

// expected-error @+1 {{has no input with a gradient}}
fresnel.program @nothing(%x: tensor<1x2x64x32xbf16>) {
  fresnel.return {names = []}
}
