// All gradients of attention in one kernel: a producer warp that loads, one that adds the dQ of each of two consumers.
// RUN: fresnel-opt %s --split-input-file --fresnel-lower-to-tile | FileCheck %s
// RUN: fresnel-opt %s --split-input-file --fresnel-lower-to-tile=gradient-schedule=ordered=false | FileCheck %s --check-prefix=ANY

// CHECK-LABEL: tile.kernel @attend_stats_0
// With a window steps are of 64 queries. A row of 128 takes 16 lanes: four steps of a butterfly for each of four rows.
// CHECK-COUNT-16: tile.shuffle xor
// CHECK-LABEL: tile.kernel @attend_grad_1(
// CHECK-SAME: %{{.*}}: !tile.tensor_map<64, 64, bf16>, %{{.*}}: !tile.tensor_map<128, 64, bf16>
// CHECK-SAME: !tile.global<1x4x2x1024xf32>
// CHECK-SAME: !tile.global<128xi32>
// CHECK-SAME: fresnel.counters = 128
// CHECK-SAME: grid = array<i32: 18, 1, 1>
// Each thread of the consumers reads values of a slot, and gives it back.
// CHECK: tile.mbarrier_init %{{.*}} arrivals(256)
// CHECK: tile.warp_specialize producer registers(24)
// CHECK: tile.tma_load
// CHECK: tile.bulk_load
// The first block stores, the others add, each after the one before it, which the warp asks for before it waits for
// the square.
// CHECK: tile.semaphore_wait
// CHECK: tile.barrier
// CHECK: tile.bulk_store %
// CHECK: tile.bulk_store add
// CHECK: tile.tma_store_wait complete
// CHECK: tile.semaphore_post
// CHECK: consumer(2) registers(240)
// CHECK: scf.for
// CHECK: tile.wgmma %{{.*}} row(%{{.*}}), %{{.*}} transposed
// CHECK: tile.wgmma %{{.*}} row(%{{.*}}), %{{.*}} transposed
// CHECK: tile.wgmma_wait 1
// CHECK: tile.triangle
// CHECK: tile.wgmma_wait 0
// CHECK: tile.store_matrix {{.*}} transposed
// CHECK: tile.wgmma
// CHECK: tile.fence_async
// CHECK: tile.barrier id(%{{.*}}) threads(256)
// CHECK: tile.panel
// CHECK: tile.wgmma
// CHECK: tile.store_fragment
// CHECK: tile.tma_store
// CHECK-LABEL: tile.kernel @round_tiles_2
// CHECK-COUNT-8: tile.load {{.*}} -> vector<4xf32>
// CHECK: tile.barrier

// ANY-LABEL: tile.kernel @attend_grad_1(
// ANY-SAME: fresnel.zeroed = array<i64: 0>
// ANY-NOT: tile.semaphore
!q = tensor<1x4x1000x128xbf16>
!k = tensor<1x2x1100x128xbf16>
!l = tensor<1x4x1000xf32>
fresnel.program @main(%q: !q, %k: !k, %l: !l, %g: !q) {
  %d = fresnel.attend_delta %q, %g : !q
  %a = fresnel.attend_grad_q %q, %k, %k lse %l delta %d dout %g {causal = true, window = 900} : !q, !k, !k, !l, !l, !q
  %b, %c = fresnel.attend_grad_kv %q, %k, %k lse %l delta %d dout %g {causal = true, window = 900} : !q, !k, !k, !l, !l, !q
  fresnel.return %a, %b, %c {names = ["dq", "dk", "dv"]} : !q, !k, !k
}

// -----

// 64 columns are one panel: the consumers' squares lie one below the other, in steps of 128 queries. All pairs of
// whole blocks are visible.
// CHECK-LABEL: tile.kernel @attend_grad_1(
// CHECK-SAME: %{{.*}}: !tile.tensor_map<128, 64, f16>, %{{.*}}: !tile.tensor_map<128, 64, f16>
// CHECK-SAME: fresnel.counters = 32
// CHECK-NOT: tile.triangle
// CHECK-NOT: tile.row_index
// CHECK: tile.return
!q = tensor<1x2x1000x64xf16>
!k = tensor<1x2x512x64xf16>
!l = tensor<1x2x1000xf32>
fresnel.program @main(%q: !q, %k: !k, %l: !l, %g: !q) {
  %d = fresnel.attend_delta %q, %g : !q
  %a = fresnel.attend_grad_q %q, %k, %k lse %l delta %d dout %g : !q, !k, !k, !l, !l, !q
  %b, %c = fresnel.attend_grad_kv %q, %k, %k lse %l delta %d dout %g : !q, !k, !k, !l, !l, !q
  fresnel.return %a, %b, %c {names = ["dq", "dk", "dv"]} : !q, !k, !k
}

// -----

// Over block lists in any order: a block compacts the rows that list its keys, three words for each of two lists of a key head.
// ANY-LABEL: tile.kernel @attend_grad_2(
// ANY-SAME: !tile.global<1x4x2x5120xf32>
// ANY-SAME: !tile.global<1x4x40x3xi32, strided>, %[[BITS:[^:]*]]: !tile.global<1x4x20x2xi32>
// ANY-SAME: fresnel.zeroed = array<i64: 0>
// ANY: tile.load %[[BITS]]
// ANY: math.ctpop
// ANY: tile.warp_specialize
// ANY: tile.tma_load {{.*}} evict_first
// ANY-LABEL: tile.kernel @round_tiles_3(
// ANY-SAME: !tile.global<1x4x80x8192xf32>, %[[STATS:[^:]*]]: !tile.global<1x4x2x5120xf32>
// ANY: tile.load %[[STATS]]
// ANY: arith.select
!q = tensor<1x4x5000x128xbf16>
!k = tensor<1x2x5000x128xbf16>
!l = tensor<1x4x5000xf32>
!b = tensor<1x4x40x3xi32>
fresnel.program @main(%q: !q, %k: !k, %l: !l, %g: !q, %b: !b) {
  %d = fresnel.attend_delta %q, %g : !q
  %a = fresnel.attend_grad_q %q, %k, %k lse %l delta %d dout %g blocks(%b : !b) {query_block = 128, key_block = 256} : !q, !k, !k, !l, !l, !q
  %c, %e = fresnel.attend_grad_kv %q, %k, %k lse %l delta %d dout %g blocks(%b : !b) {query_block = 128, key_block = 256} : !q, !k, !k, !l, !l, !q
  fresnel.return %a, %c, %e {names = ["dq", "dk", "dv"]} : !q, !k, !k
}

// -----

// Within documents a block walks from its own keys to the end of their last document; blocks begin their turns at that of
// the first document of a tile.
// CHECK-LABEL: tile.kernel @attend_grad_2(
// CHECK-SAME: %[[BOUNDS:[^:]*]]: !tile.global<1x2x1000xi32>
// CHECK: tile.load %[[BOUNDS]]
// CHECK: tile.warp_specialize
// CHECK: tile.load %[[BOUNDS]]
// CHECK: tile.semaphore_wait
// CHECK: consumer(2)
// CHECK: tile.lookup %[[BOUNDS]]
// CHECK: tile.triangle
!q = tensor<1x4x1000x128xbf16>
!l = tensor<1x4x1000xf32>
!c = tensor<1x1x9xi32>
!d = tensor<1x2x1000xi32>
fresnel.program @main(%q: !q, %l: !l, %g: !q, %cu: !c) {
  %m = fresnel.document_bounds %cu {seq_len = 1000} : !c
  %d = fresnel.attend_delta %q, %g : !q
  %a = fresnel.attend_grad_q %q, %q, %q lse %l delta %d dout %g documents(%m : !d) {causal = true} : !q, !q, !q, !l, !l, !q
  %b, %c = fresnel.attend_grad_kv %q, %q, %q lse %l delta %d dout %g documents(%m : !d) {causal = true} : !q, !q, !q, !l, !l, !q
  fresnel.return %a, %b, %c {names = ["dq", "dk", "dv"]} : !q, !q, !q
}

// -----

// Beside a soft cap steps are of 64 queries; with 64 columns one consumer has the only square.
// CHECK-LABEL: tile.kernel @attend_grad_1(
// CHECK-SAME: %{{.*}}: !tile.tensor_map<64, 64, bf16>, %{{.*}}: !tile.tensor_map<128, 64, bf16>
// CHECK-SAME: fresnel.counters = 32
// CHECK: consumer(2)
// CHECK: %[[CONSUMER:.*]] = arith.subi
// CHECK: %[[FIRST:.*]] = arith.cmpi eq, %[[CONSUMER]]
// CHECK: scf.if %[[FIRST]]
// CHECK: tile.store_fragment
!q = tensor<1x2x1000x64xbf16>
!l = tensor<1x2x1000xf32>
fresnel.program @main(%q: !q, %l: !l, %g: !q) {
  %d = fresnel.attend_delta %q, %g : !q
  %a = fresnel.attend_grad_q %q, %q, %q lse %l delta %d dout %g {softcap = 20.0} : !q, !q, !q, !l, !l, !q
  %b, %c = fresnel.attend_grad_kv %q, %q, %q lse %l delta %d dout %g {softcap = 20.0} : !q, !q, !q, !l, !l, !q
  fresnel.return %a, %b, %c {names = ["dq", "dk", "dv"]} : !q, !q, !q
}
