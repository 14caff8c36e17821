// RUN: fresnel-opt %s --fresnel-differentiate --fresnel-slice-heads=slices=4 --fresnel-split-gradient | FileCheck %s

!q = tensor<2x8x64x32xbf16>
!k = tensor<2x2x64x32xbf16>
!c = tensor<1x1x3xi32>

// Both halves have the slices; what the forward half gives the backward half is of one.
// CHECK-LABEL: fresnel.program @documents(
// CHECK-SAME: fresnel.input_slices = [array<i64: 2, 2>, array<i64: 2, 2>, array<i64: 1, 1>], fresnel.saved = [{name = "saved0_document_bounds", offset = 0 : i64}]
// CHECK-SAME: fresnel.slices = array<i64: 2, 2>
// CHECK: fresnel.program @documents_backward(%q: tensor<1x4x64x32xbf16>, %k: tensor<1x1x64x32xbf16>, %out: {{.*}}, %lse: {{.*}}, %dout: {{.*}}, %saved0_document_bounds: {{.*}})
// CHECK-SAME: fresnel.input_slices = [array<i64: 2, 2>, array<i64: 2, 2>, array<i64: 2, 2>, array<i64: 2, 2>, array<i64: 2, 2>, array<i64: 2, 2>]
// CHECK-SAME: fresnel.slices = array<i64: 2, 2>
fresnel.program @documents(%q: !q, %k: !k, %cu: !c) {
  %b = fresnel.document_bounds %cu {seq_len = 64} : !c
  %out, %lse = fresnel.attend %q, %k, %k documents(%b : tensor<1x2x64xi32>) {causal = true} : !q, !k, !k
  fresnel.return %out, %lse {names = ["out", "lse"]} : !q, tensor<2x8x64xf32>
}
