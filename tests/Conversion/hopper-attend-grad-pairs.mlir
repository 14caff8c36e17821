// Steps of two tiles of 64 queries: each consumer computes all columns of the dQ of one of them.
// RUN: fresnel-opt %s --fresnel-lower-to-tile=gradient-schedule=tile_n=128 | FileCheck %s
// The default under a causal mask, in one order and in any, unless something else is asked for or there is no room.
// RUN: fresnel-opt %s --fresnel-lower-to-tile | FileCheck %s
// RUN: fresnel-opt %s --fresnel-lower-to-tile=gradient-schedule=ordered=false | FileCheck %s --check-prefix=ANY
// RUN: fresnel-opt %s --fresnel-lower-to-tile=gradient-schedule=stages=1 | FileCheck %s --check-prefix=SHORT
// RUN: fresnel-opt %s --fresnel-lower-to-tile=gradient-schedule=ordered=false:tile_n=64 | FileCheck %s --check-prefix=SHORT

// ANY: tile.store_fragment {{.*}} tensor<64x128xf32, #tile.acc>
// SHORT: tile.store_fragment {{.*}} tensor<64x64xf32, #tile.acc>

// CHECK-LABEL: tile.kernel @attend_grad_2(
// CHECK-SAME: !tile.tensor_map<64, 64, bf16>
// CHECK-SAME: !tile.tensor_map<128, 64, bf16>
// A turn at the dQ of 128 queries for each consumer.
// CHECK-SAME: fresnel.counters = 32
// CHECK: tile.warp_specialize producer
// CHECK: scf.for
// CHECK-COUNT-4: tile.tma_load
// CHECK: tile.semaphore_wait
// CHECK: tile.bulk_store add {{.*}} <8192xf32, linear>
// CHECK: consumer(2)
// CHECK: scf.for
// CHECK: tile.wgmma {{.*}} transposed {{.*}} -> tensor<64x64xf32, #tile.acc>
// CHECK: tile.wgmma {{.*}} transposed {{.*}} -> tensor<64x64xf32, #tile.acc>
// The other consumer has read the scores of the last step before these take their place.
// CHECK: tile.barrier id(%{{.*}}) threads(256)
// CHECK: tile.store_matrix {{.*}} transposed
// CHECK: tile.wgmma {{.*}} -> tensor<64x128xf32, #tile.acc>
// CHECK: tile.wgmma {{.*}} -> tensor<64x128xf32, #tile.acc>
// CHECK: tile.wgmma {{.*}} transposed {{.*}} -> tensor<64x64xf32, #tile.acc>
// CHECK: tile.wgmma_wait 1
// CHECK: tile.wgmma {{.*}} transposed {{.*}} -> tensor<64x64xf32, #tile.acc>
// CHECK: tile.store_matrix {{.*}} transposed
// CHECK: tile.fence_async
// CHECK: tile.barrier id(%{{.*}}) threads(256)
// CHECK: tile.wgmma_wait 1
// CHECK: tile.wgmma %{{.*}} row(%{{.*}}), %{{.*}} -> tensor<64x128xf32, #tile.acc>
// CHECK: tile.barrier id(%{{.*}}) threads(256) arrive
// CHECK: tile.store_fragment {{.*}} tensor<64x128xf32, #tile.acc>
!q = tensor<1x2x1000x128xbf16>
fresnel.program @main(%q: !q, %k: !q, %v: !q, %g: !q) {
  %o, %l = fresnel.attend %q, %k, %v {causal = true} : !q, !q, !q
  %d = fresnel.attend_delta %o, %g : !q
  %a = fresnel.attend_grad_q %q, %k, %v lse %l delta %d dout %g {causal = true} : !q, !q, !q, tensor<1x2x1000xf32>, tensor<1x2x1000xf32>, !q
  %b, %c = fresnel.attend_grad_kv %q, %k, %v lse %l delta %d dout %g {causal = true} : !q, !q, !q, tensor<1x2x1000xf32>, tensor<1x2x1000xf32>, !q
  fresnel.return %a, %b, %c {names = ["dq", "dk", "dv"]} : !q, !q, !q
}
