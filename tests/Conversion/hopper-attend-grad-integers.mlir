// Sums in integers, in any order: the queries' factors come with them, and each square is rounded.
// RUN: fresnel-opt %s --fresnel-lower-to-tile | FileCheck %s

// CHECK-LABEL: tile.kernel @attend_grad_3(
// CHECK-SAME: !tile.global<1x2x3x1024xf32>
// CHECK-SAME: !tile.global<1x2x16x12288xi32>
// CHECK-SAME: fresnel.zeroed = array<i64: 0>
// CHECK-NOT: tile.semaphore
// CHECK: tile.bulk_store add {{.*}} : <4096xi32, linear>
// CHECK: tile.lookup
// CHECK: tile.broadcast
// CHECK: math.fma
// CHECK: tile.round
// CHECK: tile.store_fragment %{{.*}} tensor<64x64xi32, #tile.acc>
!q = tensor<1x2x1000x192xbf16>
!l = tensor<1x2x1000xf32>
fresnel.program @main(%q: !q, %g: !q) {
  %o, %l = fresnel.attend %q, %q, %q : !q, !q, !q
  %d = fresnel.attend_delta %o, %g : !q
  %a = fresnel.attend_grad_q %q, %q, %q lse %l delta %d dout %g : !q, !q, !q, !l, !l, !q
  %b, %c = fresnel.attend_grad_kv %q, %q, %q lse %l delta %d dout %g : !q, !q, !q, !l, !l, !q
  fresnel.return %a, %b, %c {names = ["dq", "dk", "dv"]} : !q, !q, !q
}
