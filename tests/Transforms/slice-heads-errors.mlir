// RUN: fresnel-opt %s --split-input-file --verify-diagnostics --fresnel-slice-heads=slices=4
// RUN: not fresnel-opt %s --split-input-file --fresnel-slice-heads=slices=0 2>&1 | FileCheck %s

!q = tensor<1x6x64x32xbf16>

// CHECK: cannot be computed in 0 slices of its heads; take 1 or more
// expected-error@+1 {{input `q` of type 'tensor<1x6x64x32xbf16>' cannot be cut into 4 slices of its heads; take a number that divides 6}}
fresnel.program @heads(%q: !q) {
  %n = fresnel.norm %q : !q
  fresnel.return %n {names = ["n"]} : tensor<1x6x64xf32>
}

// -----

!q = tensor<3x8x64x32xbf16>

// expected-error@+1 {{cannot be cut into 4 slices with a batch of 3; take a number that divides it, or a multiple of it}}
fresnel.program @batch(%q: !q) {
  %n = fresnel.norm %q : !q
  fresnel.return %n {names = ["n"]} : tensor<3x8x64xf32>
}

// -----

!q = tensor<1x8x64x32xbf16>
!k = tensor<1x1x64x32xbf16>
!l = tensor<1x8x64xf32>

fresnel.program @shared_keys(%q: !q, %k: !k, %l: !l) {
  // expected-error@+1 {{computes 'tensor<1x1x64x32xbf16>' from all heads together, which 4 slices cannot; compute all heads at once}}
  %dk, %dv = fresnel.attend_grad_kv %q, %k, %k lse %l delta %l dout %q : !q, !k, !k, !l, !l, !q
  fresnel.return %dk, %dv {names = ["dk", "dv"]} : !k, !k
}

// -----

!q = tensor<1x8x64x32xbf16>
!k = tensor<1x1x64x32xbf16>

fresnel.program @same(%q: !q, %k: !k) {
  %n = fresnel.norm %q : !q
  %m = fresnel.norm %k : !k
  // expected-error@+1 {{result `m` is not computed head by head, so that it has no slices; compute all heads at once}}
  fresnel.return %n, %m {names = ["n", "m"]} : tensor<1x8x64xf32>, tensor<1x1x64xf32>
}

// -----

!y = tensor<1x8x5x32xbf16>
!i = tensor<1x8x5xi32>

fresnel.program @gathered_for_all(%dy: !y, %i: !i) {
  // expected-error@+1 {{computes 'tensor<1x2x64x32xbf16>' from all heads together, which 4 slices cannot; compute all heads at once}}
  %dx = fresnel.gather_grad %dy, %i {heads = 2, rows = 64} : !y, !i
  fresnel.return %dx {names = ["dx"]} : tensor<1x2x64x32xbf16>
}
