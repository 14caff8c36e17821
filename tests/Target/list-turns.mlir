// With tile_m = 64 the consumers of the gradient of keys and values take turns at the steps of one block's walk, and what
// is cut are pieces in order.
// RUN: %fresnel compile %s --grad --grad-of a,b --gradient-schedule tile_m=64:stages=4 -o %t.fkb --json | FileCheck %s --check-prefix=SPILLS
// RUN: %fresnel compile %s --grad --grad-of a,b --gradient-schedule tile_m=64:stages=4 --emit tile | FileCheck %s

// SPILLS: "spill_bytes": 0
// SPILLS-NOT: "spill_bytes": {{[1-9]}}

// Lists of tokens, cut: the first pieces of the 33 blocks come first, and then those that follow.
// CHECK-LABEL: tile.kernel @attend_grad_kv_{{[0-9]+}}(
// CHECK-SAME: grid = array<i32: 65, 1, 1>
// CHECK: consumer(2)
// CHECK: tile.semaphore_wait
// CHECK: tile.load_fragment
// CHECK: tile.store_fragment
// CHECK: tile.semaphore_post

// Lists of blocks of queries: the sums of steps overlap, two steps ahead.
// CHECK-LABEL: tile.kernel @attend_grad_kv_{{[0-9]+}}(
// CHECK: tile.alloc reuse
// Each slot is one consumer's.
// CHECK: tile.mbarrier_init %{{.*}} arrivals(4)
// CHECK: consumer(2)
// Each consumer stores what it has summed for the other one, and adds what that has.
// CHECK: tile.barrier id(%{{.*}}) threads(256)
// CHECK-COUNT-2: tile.store_fragment
// CHECK: tile.barrier id(%{{.*}}) threads(256)
// CHECK-COUNT-2: tile.lookup
// CHECK: tile.tma_store
!q = tensor<1x4x1000x128xbf16>
!k = tensor<1x2x1000x128xbf16>
!l = tensor<1x4x16x5xi32>
!p = tensor<1x64x2100x128xbf16>
!m = tensor<1x1x2100x128xbf16>
!t = tensor<1x1x2100x4xi32>
fresnel.program @turns(%q: !q, %k: !k, %l: !l, %p: !p, %m: !m, %t: !t) {
  %a, %la = fresnel.attend %q, %k, %k blocks(%l : !l) {query_block = 64, key_block = 64} : !q, !k, !k
  %b, %lb = fresnel.attend %p, %m, %m blocks(%t : !t) {key_block = 64, causal = true} : !p, !m, !m
  fresnel.return %a, %b {names = ["a", "b"]} : !q, !p
}
