// Query heads that share a key head: two thread blocks, which own neighbouring keys, load each tile of queries for both.
// RUN: fresnel-opt %s --fresnel-lower-to-tile | FileCheck %s

// 16 blocks of 64 keys become 8 clusters, of which the last has a block beyond the keys; boxes are half a tile.
// CHECK-LABEL: tile.kernel @attend_grad_3(
// CHECK-SAME: !tile.tensor_map<32, 64, bf16>
// CHECK-SAME: !tile.tensor_map<64, 64, bf16>
// CHECK-SAME: fresnel.cluster = 2
// CHECK-SAME: grid = array<i32: 32, 1, 1>
// CHECK: tile.mbarrier_init {{.*}} arrivals(258)
// CHECK: tile.cluster_barrier
// The owned keys are each block's own.
// CHECK: tile.tma_load %arg1
// CHECK-NOT: multicast
// CHECK-SAME: <64, 64, bf16>
// CHECK: tile.tma_load %arg2
// CHECK: tile.tma_load {{.*}} row({{.*}}) {{.*}} multicast
// CHECK: tile.bulk_load
// CHECK: consumer(2)
// Every thread says that it has read a slot, and one of each consumer tells the other block.
// CHECK: tile.mbarrier_arrive {{.*}}] if %true
// CHECK: tile.mbarrier_arrive {{.*}} of %{{.*}} if
// CHECK: tile.cluster_barrier
// CHECK-NEXT: tile.return
!q = tensor<1x4x1000x256xbf16>
!k = tensor<1x2x940x256xbf16>
!l = tensor<1x4x1000xf32>
fresnel.program @main(%q: !q, %k: !k, %g: !q) {
  %o, %l = fresnel.attend %q, %k, %k : !q, !k, !k
  %d = fresnel.attend_delta %o, %g : !q
  %a = fresnel.attend_grad_q %q, %k, %k lse %l delta %d dout %g : !q, !k, !k, !l, !l, !q
  %b, %c = fresnel.attend_grad_kv %q, %k, %k lse %l delta %d dout %g : !q, !k, !k, !l, !l, !q
  fresnel.return %a, %b, %c {names = ["dq", "dk", "dv"]} : !q, !k, !k
}
