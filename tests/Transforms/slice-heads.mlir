// RUN: fresnel-opt %s --split-input-file --fresnel-slice-heads=slices=4 | FileCheck %s
// RUN: fresnel-opt %s --split-input-file --fresnel-slice-heads=slices=2 | FileCheck %s --check-prefix=BATCH
// RUN: fresnel-opt %s --split-input-file --fresnel-slice-heads | FileCheck %s --check-prefix=WHOLE

!q = tensor<2x8x64x32xbf16>
!k = tensor<2x2x64x32xbf16>
!c = tensor<1x1x3xi32>

// The batch is cut first, then the heads of each; what all heads share stays whole.
// CHECK-LABEL: fresnel.program @documents(
// CHECK-SAME: %q: tensor<1x4x64x32xbf16>, %k: tensor<1x1x64x32xbf16>, %cu: tensor<1x1x3xi32>)
// CHECK-SAME: attributes {fresnel.input_slices = [array<i64: 2, 2>, array<i64: 2, 2>, array<i64: 1, 1>], fresnel.slices = array<i64: 2, 2>}
// CHECK: fresnel.document_bounds {{.*}} : tensor<1x1x3xi32>
// CHECK: fresnel.attend {{.*}} : tensor<1x4x64x32xbf16>, tensor<1x1x64x32xbf16>
// CHECK: fresnel.return {{.*}} : tensor<1x4x64x32xbf16>, tensor<1x4x64xf32>

// BATCH-LABEL: fresnel.program @documents(
// BATCH-SAME: %q: tensor<1x8x64x32xbf16>, %k: tensor<1x2x64x32xbf16>, %cu: tensor<1x1x3xi32>)
// BATCH-SAME: fresnel.slices = array<i64: 2, 1>

// WHOLE-LABEL: fresnel.program @documents(
// WHOLE-SAME: %q: tensor<2x8x64x32xbf16>
// WHOLE-NOT: fresnel.slices
fresnel.program @documents(%q: !q, %k: !k, %cu: !c) {
  %b = fresnel.document_bounds %cu {seq_len = 64} : !c
  %out, %lse = fresnel.attend %q, %k, %k documents(%b : tensor<1x2x64xi32>) {causal = true} : !q, !k, !k
  fresnel.return %out, %lse {names = ["out", "lse"]} : !q, tensor<2x8x64xf32>
}

// -----

!y = tensor<1x8x5x32xbf16>
!i = tensor<1x8x5xi32>

// The heads of a gradient that only an attribute tells.
// CHECK-LABEL: fresnel.program @gathered(
// CHECK: fresnel.gather_grad {{.*}} {heads = 1 : i64, rows = 64 : i64} : tensor<1x2x5x32xbf16>, tensor<1x2x5xi32>
// CHECK: fresnel.return {{.*}} : tensor<1x1x64x32xbf16>
fresnel.program @gathered(%dy: !y, %i: !i) {
  %dx = fresnel.gather_grad %dy, %i {heads = 4, rows = 64} : !y, !i
  fresnel.return %dx {names = ["dx"]} : tensor<1x4x64x32xbf16>
}
