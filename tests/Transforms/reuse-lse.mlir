// RUN: fresnel-opt %s --split-input-file --fresnel-reuse-lse | FileCheck %s

!q = tensor<1x4x1000x64xbf16>
!k = tensor<1x2x61x64xbf16>
!s = tensor<1x2x1000x61xf32>

// CHECK-LABEL: fresnel.program @reused
// CHECK: %[[OUT:.*]], %[[LSE:.*]] = fresnel.attend
// CHECK: fresnel.block_score %q, %k lse(%[[LSE]] : tensor<1x4x1000xf32>)
fresnel.program @reused(%q: !q, %k: !k, %v: !k) {
  %o, %l = fresnel.attend %q, %k, %v {causal = true, key_window = 32, key_stride = 16} : !q, !k, !k
  %s = fresnel.block_score %q, %k {causal = true, key_window = 32, key_stride = 16, normalize = #fresnel<normalize softmax>, group_sum = true} : !q, !k
  fresnel.return %o, %s {names = ["o", "s"]} : !q, !s
}

// -----

!q = tensor<1x4x1000x64xbf16>
!k = tensor<1x2x61x64xbf16>
!s = tensor<1x4x1000x61xf32>

// Other windows, another scale, a soft cap, other keys: other sums. And scores that are no probabilities have none.
// CHECK-LABEL: fresnel.program @others
// CHECK-COUNT-5: fresnel.block_score %q, %k {
fresnel.program @others(%q: !q, %k: !k, %v: !k) {
  %a, %la = fresnel.attend %q, %k, %v {causal = true, key_window = 16, key_stride = 16} : !q, !k, !k
  %b, %lb = fresnel.attend %q, %k, %v {scale = 1.0, causal = true, key_window = 32, key_stride = 16} : !q, !k, !k
  %c, %lc = fresnel.attend %q, %k, %v {softcap = 9.0, causal = true, key_window = 32, key_stride = 16} : !q, !k, !k
  %d, %ld = fresnel.attend %q, %v, %k {causal = true, key_window = 32, key_stride = 16} : !q, !k, !k
  %e, %le = fresnel.attend %q, %k, %v {causal = true} : !q, !k, !k
  %s = fresnel.block_score %q, %k {causal = true, key_window = 32, key_stride = 16, normalize = #fresnel<normalize softmax>} : !q, !k
  %t = fresnel.block_score %q, %k {causal = true, key_window = 16, key_stride = 16} : !q, !k
  // Queries that stand for several tokens see more.
  %u = fresnel.block_score %q, %k {causal = true, key_window = 16, key_stride = 16, query_stride = 2, normalize = #fresnel<normalize softmax>} : !q, !k
  // Attention over keys that are tokens aligns the ends of both.
  %w = fresnel.block_score %q, %k {causal = true, normalize = #fresnel<normalize softmax>} : !q, !k
  %x = fresnel.block_score %q, %k {normalize = #fresnel<normalize softmax>} : !q, !k
  fresnel.return %a, %b, %c, %d, %e, %s, %t, %u, %w, %x {names = ["a", "b", "c", "d", "e", "s", "t", "u", "w", "x"]}
      : !q, !q, !q, !q, !q, !s, !s, !s, !s, !s
}

// -----

!q = tensor<1x4x1000x64xbf16>
!k = tensor<1x2x61x64xbf16>
!s = tensor<1x2x1000x61xf32>

// Attention that comes later is too late.
// CHECK-LABEL: fresnel.program @late
// CHECK: fresnel.block_score %q, %k {
fresnel.program @late(%q: !q, %k: !k, %v: !k) {
  %s = fresnel.block_score %q, %k {normalize = #fresnel<normalize softmax>, group_sum = true} : !q, !k
  %o, %l = fresnel.attend %q, %k, %v : !q, !k, !k
  fresnel.return %o, %s {names = ["o", "s"]} : !q, !s
}

// -----

!q = tensor<1x4x1000x64xbf16>
!k = tensor<1x2x61x64xbf16>
!s = tensor<1x2x1000x61xf32>
!d = tensor<1x2x1000xi32>

// Of the same documents only.
// CHECK-LABEL: fresnel.program @documents
// CHECK: %{{.*}}, %[[LSE:.*]] = fresnel.attend
// CHECK: fresnel.block_score %q, %k lse(%[[LSE]] : tensor<1x4x1000xf32>) documents(%d : tensor<1x2x1000xi32>) {
// CHECK: fresnel.block_score %q, %k documents(%e : tensor<1x2x1000xi32>) {
// CHECK: fresnel.block_score %q, %k {
fresnel.program @documents(%q: !q, %k: !k, %v: !k, %d: !d, %e: !d) {
  %o, %l = fresnel.attend %q, %k, %v documents(%d : !d) {causal = true, key_window = 32, key_stride = 16} : !q, !k, !k
  %s = fresnel.block_score %q, %k documents(%d : !d) {causal = true, key_window = 32, key_stride = 16, normalize = #fresnel<normalize softmax>, group_sum = true} : !q, !k
  %t = fresnel.block_score %q, %k documents(%e : !d) {causal = true, key_window = 32, key_stride = 16, normalize = #fresnel<normalize softmax>, group_sum = true} : !q, !k
  %u = fresnel.block_score %q, %k {causal = true, key_window = 32, key_stride = 16, normalize = #fresnel<normalize softmax>, group_sum = true} : !q, !k
  fresnel.return %o, %s, %t, %u {names = ["o", "s", "t", "u"]} : !q, !s, !s, !s
}
