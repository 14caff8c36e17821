// Keys of 192 with values of 128: each consumer owns 64 of 128 keys, and computes the scores of 32 queries at a time.
// RUN: fresnel-opt %s --fresnel-lower-to-tile=gradient-schedule=ordered=true | FileCheck %s

// CHECK-LABEL: tile.kernel @attend_grad_2(
// CHECK-SAME: !tile.tensor_map<64, 64, bf16>
// CHECK-SAME: !tile.tensor_map<128, 64, bf16>
// CHECK: consumer(2)
// CHECK: scf.if
// CHECK: scf.for
// CHECK: tile.wgmma {{.*}} transposed rows({{.*}}) {{.*}} -> tensor<64x32xf32, #tile.acc>
// CHECK: tile.wgmma {{.*}} transposed rows({{.*}}) {{.*}} -> tensor<64x32xf32, #tile.acc>
// CHECK: tile.store_matrix {{.*}} tensor<64x32xbf16, #tile.lhs>
// CHECK: tile.wgmma {{.*}} rows({{.*}} -> tensor<64x128xf32, #tile.acc>
// CHECK: tile.wgmma {{.*}} rows({{.*}} -> tensor<64x192xf32, #tile.acc>
// CHECK: tile.wgmma {{.*}} transposed rows({{.*}}) {{.*}} -> tensor<64x32xf32, #tile.acc>
// CHECK: tile.fence_async
// The first one has two squares, and the other a body of its own.
// CHECK: tile.wgmma {{.*}} -> tensor<64x64xf32, #tile.acc>
// CHECK: tile.store_fragment
// CHECK: tile.wgmma {{.*}} -> tensor<64x64xf32, #tile.acc>
// CHECK: tile.store_fragment
// CHECK: else
// CHECK: scf.for
// CHECK: tile.store_fragment
// CHECK-NOT: tile.store_fragment
// CHECK: tile.return
!q = tensor<1x2x1000x192xbf16>
!v = tensor<1x2x1000x128xbf16>
!l = tensor<1x2x1000xf32>
fresnel.program @main(%q: !q, %v: !v, %g: !v) {
  %o, %l = fresnel.attend %q, %q, %v {causal = true} : !q, !q, !v
  %d = fresnel.attend_delta %o, %g : !v
  %a = fresnel.attend_grad_q %q, %q, %v lse %l delta %d dout %g {causal = true} : !q, !q, !v, !l, !l, !v
  %b, %c = fresnel.attend_grad_kv %q, %q, %v lse %l delta %d dout %g {causal = true} : !q, !q, !v, !l, !l, !v
  fresnel.return %a, %b, %c {names = ["dq", "dk", "dv"]} : !q, !q, !v
}
