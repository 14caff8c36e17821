// RUN: fresnel-opt %s --split-input-file --fresnel-differentiate | FileCheck %s

!q = tensor<1x4x64x32xbf16>
!kv = tensor<1x2x64x32xbf16>

// The forward half stays; a value that is used twice gets the sum of its gradients.
// CHECK-LABEL: fresnel.program @dense
// CHECK-SAME: %dout: tensor<1x4x64x32xbf16>
// CHECK: %[[OUT:.*]], %[[LSE:.*]] = fresnel.attend
// CHECK: %[[DELTA:.*]] = fresnel.attend_delta %[[OUT]], %dout :
// CHECK: %[[DQ:.*]] = fresnel.attend_grad_q %q, %k, %k lse %[[LSE]] delta %[[DELTA]] dout %dout {causal = true
// CHECK: %[[DK:.*]], %[[DV:.*]] = fresnel.attend_grad_kv
// CHECK: %[[SUM:.*]] = fresnel.add %[[DK]], %[[DV]]
// CHECK: fresnel.return %[[OUT]], %[[LSE]], %[[DQ]], %[[SUM]] {names = ["out", "lse", "dq", "dk"]}
fresnel.program @dense(%q: !q, %k: !kv) {
  %out, %lse = fresnel.attend %q, %k, %k {causal = true} : !q, !kv, !kv
  fresnel.return %out, %lse {names = ["out", "lse"]} : !q, tensor<1x4x64xf32>
}

// -----

!x = tensor<1x2x10x32xbf16>
!f = tensor<1x8x3x32xbf16>

// Folding and unfolding are each other's gradient.
// CHECK-LABEL: fresnel.program @dilation
// CHECK: %[[A:.*]] = fresnel.fold %dout {factor = 4 : i64} : tensor<1x2x10x32xbf16>
// CHECK: %[[B:.*]] = fresnel.pyramid_grad mean %[[A]]
// CHECK: %[[C:.*]] = fresnel.unfold %[[B]] {factor = 4 : i64, seq_len = 10 : i64} : tensor<1x8x3x32xbf16>
// CHECK: fresnel.return %{{.*}}, %[[C]] {names = ["out", "dx"]}
fresnel.program @dilation(%x: !x) {
  %f = fresnel.fold %x {factor = 4} : !x
  %p = fresnel.pyramid mean %f {levels = 1, factor = 2} : !f
  %out = fresnel.unfold %p {factor = 4, seq_len = 10} : !f
  fresnel.return %out {names = ["out"]} : !x
}

// -----

!x = tensor<1x2x10x32xbf16>
!p = tensor<1x2x13x32xbf16>
!i = tensor<1x2x5xi32>
!r = tensor<1x2x5x32xbf16>

// Indices carry no gradient; a maximum reads its operand again.
// CHECK-LABEL: fresnel.program @movement
// CHECK: %[[S:.*]] = fresnel.scatter_grad %dout, %i {factor = 4 : i64, levels = 2 : i64}
// CHECK: %[[G:.*]] = fresnel.gather_grad %[[S]], %i {heads = 2 : i64, rows = 13 : i64}
// CHECK: %[[P:.*]] = fresnel.pyramid_grad max %[[G]] of(%x : tensor<1x2x10x32xbf16>) {factor = 4 : i64, levels = 2 : i64, seq_len = 10 : i64}
// CHECK: fresnel.return %{{.*}}, %{{.*}}, %[[P]] {names = ["out", "unused", "dx"]}
fresnel.program @movement(%x: !x, %i: !i) {
  %p = fresnel.pyramid max %x {levels = 2, factor = 4} : !x
  %r = fresnel.gather %p, %i : !p, !i
  %out = fresnel.scatter %r, %i {seq_len = 10, levels = 2, factor = 4} : !r, !i
  %lse = fresnel.norm %out : !x
  fresnel.return %out, %lse {names = ["out", "unused"]} : !x, tensor<1x2x10xf32>
}
