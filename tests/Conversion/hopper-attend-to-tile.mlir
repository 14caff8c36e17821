// The hopper family: TMA and mbarrier rings, a producer and two consumers that take turns.
// RUN: fresnel-opt %s --fresnel-lower-to-tile --split-input-file | FileCheck %s

// Rows of 96 columns fill panels of 32.
// CHECK-LABEL: tile.kernel @attend_0(
// CHECK-SAME: !tile.tensor_map<128, 32, bf16>
// CHECK-SAME: !tile.tensor_map<64, 32, bf16>
// CHECK-SAME: !tile.global<1x4x1000xf32>
// CHECK-SAME: block = array<i32: 384, 1, 1>
// CHECK: tile.alloc : !tile.shared<1x128x96xbf16, swizzled64>
// CHECK: tile.alloc : !tile.shared<2x160x96xbf16, swizzled64>
// CHECK: tile.mbarrier_init
// CHECK: tile.warp_specialize producer registers(24)
// CHECK: tile.tma_load
// CHECK: consumer(2) registers(240)
// CHECK: tile.wgmma %{{.*}} row
// CHECK: tile.reduce max
// A first loop hides keys of the diagonal, a second one leaves the scores alone.
// CHECK: scf.for
// CHECK: tile.barrier id
// CHECK: tile.wgmma %{{.*}} transposed
// CHECK: tile.wgmma_wait 1
// CHECK: tile.col_index
// CHECK: scf.for
// CHECK-NOT: tile.col_index
// CHECK: tile.store_matrix
// CHECK: tile.tma_store
fresnel.program @main(%q: tensor<1x4x1000x96xbf16>, %k: tensor<1x2x1100x96xbf16>) {
  %o, %l = fresnel.attend %q, %k, %k {causal = true} : tensor<1x4x1000x96xbf16>, tensor<1x2x1100x96xbf16>, tensor<1x2x1100x96xbf16>
  fresnel.return %o, %l {names = ["out", "lse"]} : tensor<1x4x1000x96xbf16>, tensor<1x4x1000xf32>
}

// -----

// The output takes the queries' place, and is laid out as they are, whatever the values are: else a consumer's rows of the
// one would not lie in its own of the other, which it alone no longer needs.
// CHECK-LABEL: tile.kernel @attend_0(
// CHECK-SAME: !tile.tensor_map<128, 64, bf16>, %{{.*}}: !tile.tensor_map<{{[0-9]+}}, 64, bf16>, %{{.*}}: !tile.tensor_map<{{[0-9]+}}, 32, bf16>, %{{.*}}: !tile.tensor_map<64, 64, bf16>
// CHECK: %[[QUERIES:.*]] = tile.alloc : !tile.shared<1x128x128xbf16, swizzled>
// CHECK: tile.alloc reuse %[[QUERIES]] {{.*}} : !tile.shared<128x96xbf16, swizzled>
// CHECK: tile.alloc : !tile.shared<2x{{[0-9]+}}x96xbf16, swizzled64>
fresnel.program @main(%q: tensor<1x4x1000x128xbf16>, %v: tensor<1x4x1000x96xbf16>) {
  %o, %l = fresnel.attend %q, %q, %v {causal = true} : tensor<1x4x1000x128xbf16>, tensor<1x4x1000x128xbf16>, tensor<1x4x1000x96xbf16>
  fresnel.return %o, %l {names = ["out", "lse"]} : tensor<1x4x1000x96xbf16>, tensor<1x4x1000xf32>
}

// -----

// A cluster: each block loads half of a block of keys for both, and a consumer gives slots back to both.
// Three tiles of queries a head and an empty one.
// CHECK-LABEL: tile.kernel @attend_0(
// CHECK-SAME: !tile.tensor_map<128, 64, bf16>, %{{.*}}: !tile.tensor_map<96, 64, bf16>
// CHECK-SAME: fresnel.cluster = 2 : i32
// CHECK-SAME: grid = array<i32: 16, 1, 1>
// CHECK: tile.mbarrier_init %{{.*}} arrivals(4)
// CHECK: tile.cluster_barrier
// CHECK: tile.tma_load {{.*}} row(%{{.*}}) {{.*}} multicast
// CHECK: tile.tma_load {{.*}} : <128, 64, bf16>
// What only the later tile sees is given back unread.
// CHECK: consumer(2)
// CHECK: scf.for
// CHECK: tile.mbarrier_wait
// CHECK: tile.mbarrier_arrive %{{.*}} of %{{.*}} if
// CHECK: tile.mbarrier_wait
// CHECK: tile.mbarrier_arrive %{{.*}} of %{{.*}} if
// CHECK: tile.wgmma
// CHECK: tile.cluster_barrier
// CHECK-NEXT: tile.return
!q = tensor<1x4x300x128xbf16>
!k = tensor<1x2x300x128xbf16>
fresnel.program @attend_0(%q: !q, %k: !k, %v: !k) attributes {fresnel.kernel,
    fresnel.schedule = #fresnel.schedule<family = hopper, tile_m = 128, tile_n = 192, cluster = 2>} {
  %o, %l = fresnel.attend %q, %k, %v {causal = true} : !q, !k, !k
  fresnel.return %o, %l {names = ["out", "lse"]} : !q, tensor<1x4x300xf32>
}
fresnel.program @main(%q: !q, %k: !k, %v: !k) {
  %o, %l = fresnel.launch @attend_0(%q, %k, %v) : (!q, !k, !k) -> (!q, tensor<1x4x300xf32>)
  fresnel.return %o, %l {names = ["out", "lse"]} : !q, tensor<1x4x300xf32>
}

// -----

// Chained tiles: the queries of two.
// CHECK-LABEL: tile.kernel @attend_0(
// CHECK: tile.alloc : !tile.shared<2x128x128xbf16, swizzled>
// CHECK: consumer(2)
// CHECK: scf.for
// The first scores of the next tile, and behind them the last product of this one, whose output is stored.
// CHECK: scf.condition
// CHECK: } do {
// CHECK: tile.wgmma %{{.*}} transposed
// CHECK-NEXT: tile.mbarrier_wait
// CHECK: tile.wgmma
// CHECK: tile.wgmma_wait 1
// CHECK: tile.wgmma_wait 0
// CHECK: tile.store_matrix
// CHECK: tile.tma_store
// CHECK: scf.yield
!long = tensor<1x4x1024x128xbf16>
fresnel.program @attend_0(%q: !long, %k: !long, %v: !long) attributes {fresnel.kernel,
    fresnel.schedule = #fresnel.schedule<family = hopper, tile_m = 128, tile_n = 128, persistent = true>} {
  %o, %l = fresnel.attend %q, %k, %v : !long, !long, !long
  fresnel.return %o, %l {names = ["out", "lse"]} : !long, tensor<1x4x1024xf32>
}
fresnel.program @main(%q: !long, %k: !long, %v: !long) {
  %o, %l = fresnel.launch @attend_0(%q, %k, %v) : (!long, !long, !long) -> (!long, tensor<1x4x1024xf32>)
  fresnel.return %o, %l {names = ["out", "lse"]} : !long, tensor<1x4x1024xf32>
}

// -----

// A chained kernel under a causal mask: each consumer holds its 64 queries in registers, and loads those of the next
// tile before its first scores.
// CHECK-LABEL: tile.kernel @attend_0(
// CHECK-SAME: !tile.tensor_map<64, 64, bf16>, %{{.*}}: !tile.tensor_map<128, 64, bf16>
// CHECK: tile.alloc : !tile.shared<4x64x128xbf16, swizzled>
// CHECK: tile.mbarrier_expect {{.*}} bytes(32768)
// CHECK-COUNT-2: tile.tma_load {{.*}} : <64, 64, bf16>, <64x128xbf16, swizzled>
// CHECK: consumer(2)
// CHECK: %[[FIRST:.*]] = tile.load_lhs
// CHECK: tile.wgmma %[[FIRST]], %{{.*}} transposed
// CHECK: } do {
// CHECK: %[[NEXT:.*]] = tile.load_lhs
// CHECK: tile.wgmma %[[NEXT]], %{{.*}} transposed
// CHECK: scf.yield {{.*}}%[[NEXT]]
!long = tensor<1x4x1024x128xbf16>
fresnel.program @attend_0(%q: !long, %k: !long, %v: !long) attributes {fresnel.kernel,
    fresnel.schedule = #fresnel.schedule<family = hopper, tile_m = 128, tile_n = 128, persistent = true>} {
  %o, %l = fresnel.attend %q, %k, %v {causal = true} : !long, !long, !long
  fresnel.return %o, %l {names = ["out", "lse"]} : !long, tensor<1x4x1024xf32>
}
fresnel.program @main(%q: !long, %k: !long, %v: !long) {
  %o, %l = fresnel.launch @attend_0(%q, %k, %v) : (!long, !long, !long) -> (!long, tensor<1x4x1024xf32>)
  fresnel.return %o, %l {names = ["out", "lse"]} : !long, tensor<1x4x1024xf32>
}

// -----

// The weights of a block's first 32 keys stand before the wait for the product in front, where the tile changes, too.
// CHECK-LABEL: tile.kernel @attend_0(
// CHECK: tile.alloc : !tile.shared<2x256xf32, linear>
// CHECK: consumer(2)
// CHECK: tile.reduce add partial %{{.*}} : tensor<64x128xf32, #tile.acc>
// CHECK: scf.for
// CHECK: tile.wgmma_wait 1
// CHECK: %[[FIRST:.*]] = tile.columns %[[WEIGHTS:.*]] from 0 : {{.*}} -> tensor<64x32xf32, #tile.acc>
// CHECK: %[[SUM:.*]] = tile.reduce add partial %[[FIRST]]
// CHECK: %[[OTHERS:.*]] = tile.columns %[[WEIGHTS]] from 32 : {{.*}} -> tensor<64x96xf32, #tile.acc>
// CHECK: tile.reduce add partial %[[OTHERS]]
// CHECK: tile.anchor %[[SUM]]
// CHECK-NEXT: tile.wgmma_wait 0
// CHECK: } do {
// CHECK: tile.wgmma_wait 1
// CHECK: tile.anchor
// CHECK-NEXT: tile.wgmma_wait 0
// CHECK: tile.store_matrix
!long = tensor<1x4x1024x128xbf16>
fresnel.program @attend_0(%q: !long, %k: !long, %v: !long) attributes {fresnel.kernel,
    fresnel.schedule = #fresnel.schedule<family = hopper, tile_m = 128, tile_n = 128, persistent = true, early = 32>} {
  %o, %l = fresnel.attend %q, %k, %v : !long, !long, !long
  fresnel.return %o, %l {names = ["out", "lse"]} : !long, tensor<1x4x1024xf32>
}
fresnel.program @main(%q: !long, %k: !long, %v: !long) {
  %o, %l = fresnel.launch @attend_0(%q, %k, %v) : (!long, !long, !long) -> (!long, tensor<1x4x1024xf32>)
  fresnel.return %o, %l {names = ["out", "lse"]} : !long, tensor<1x4x1024xf32>
}

// -----

// Without turns they meet in every step.
// CHECK-LABEL: tile.kernel @attend_0(
// CHECK: tile.store_matrix
// CHECK-NEXT: tile.fence_async
// CHECK: tile.barrier id(%{{.*}}) threads(128)
// CHECK: scf.for
// CHECK: tile.store_matrix
// CHECK-NEXT: tile.fence_async
// CHECK: tile.barrier id(%{{.*}}) threads(128)
!long = tensor<1x4x1024x96xbf16>
fresnel.program @attend_0(%q: !long, %k: !long, %v: !long) attributes {fresnel.kernel,
    fresnel.schedule = #fresnel.schedule<family = hopper, tile_m = 192, tile_n = 144, ping_pong = false, shared_weights = true>} {
  %o, %l = fresnel.attend %q, %k, %v : !long, !long, !long
  fresnel.return %o, %l {names = ["out", "lse"]} : !long, tensor<1x4x1024xf32>
}
fresnel.program @main(%q: !long, %k: !long, %v: !long) {
  %o, %l = fresnel.launch @attend_0(%q, %k, %v) : (!long, !long, !long) -> (!long, tensor<1x4x1024xf32>)
  fresnel.return %o, %l {names = ["out", "lse"]} : !long, tensor<1x4x1024xf32>
}

// -----

// L2 holds keys and values of five of these heads: sixteen are cut into four sections of four, 128 tiles a head.
// CHECK-LABEL: tile.kernel @attend_0(
// CHECK: %[[INDEX:.*]] = arith.remsi %{{.*}}, %c512_i32
// CHECK: arith.remsi %[[INDEX]], %c4_i32
!heads = tensor<1x16x16384x96xbf16>
fresnel.program @attend_0(%q: !heads, %k: !heads, %v: !heads) attributes {fresnel.kernel,
    fresnel.schedule = #fresnel.schedule<family = hopper, tile_m = 128, tile_n = 192>} {
  %o, %l = fresnel.attend %q, %k, %v {causal = true} : !heads, !heads, !heads
  fresnel.return %o, %l {names = ["out", "lse"]} : !heads, tensor<1x16x16384xf32>
}
fresnel.program @main(%q: !heads, %k: !heads, %v: !heads) {
  %o, %l = fresnel.launch @attend_0(%q, %k, %v) : (!heads, !heads, !heads) -> (!heads, tensor<1x16x16384xf32>)
  fresnel.return %o, %l {names = ["out", "lse"]} : !heads, tensor<1x16x16384xf32>
}

// -----

// Weights in shared memory: they are stored once the product that reads those of the block in front has ended, for the
// matrix unit to see. That all of the warpgroup have done so shows where they meet for their turn, or behind the last block.
// CHECK-LABEL: tile.kernel @attend_0(
// CHECK-SAME: block = array<i32: 512, 1, 1>
// CHECK: %[[WEIGHTS:.*]] = tile.alloc : !tile.shared<192x144xbf16, swizzled64>
// CHECK: consumer(3) registers(160)
// CHECK: tile.wgmma_wait 0
// CHECK: tile.store_matrix %{{.*}}, %[[WEIGHTS]] row(%[[ROW:.*]]) : tensor<64x144xbf16, #tile.lhs>
// CHECK-NEXT: tile.fence_async
// CHECK-NOT: threads(128)
// CHECK: scf.for
// CHECK: tile.barrier id(%{{.*}}) threads(256)
// CHECK: tile.wgmma %{{.*}} row(%[[ROW]]), %{{.*}} transposed
// CHECK: tile.wgmma %{{.*}} row(%[[ROW]]), %{{.*}} : !tile.shared<192x144xbf16, swizzled64>, <144x96xbf16, swizzled64> -> tensor<64x96xf32, #tile.acc>
// CHECK: tile.wgmma_wait 1
// CHECK: tile.wgmma_wait 0
// CHECK-NOT: threads(128)
// CHECK: tile.store_matrix %{{.*}}, %[[WEIGHTS]] row(%[[ROW]])
// CHECK-NEXT: tile.fence_async
// CHECK: tile.mbarrier_wait
// CHECK: tile.barrier id(%{{.*}}) threads(128)
// CHECK: tile.wgmma %{{.*}} row(%[[ROW]]), %{{.*}} : !tile.shared<192x144xbf16, swizzled64>
!long = tensor<1x4x1024x96xbf16>
fresnel.program @attend_0(%q: !long, %k: !long, %v: !long) attributes {fresnel.kernel,
    fresnel.schedule = #fresnel.schedule<family = hopper, tile_m = 192, tile_n = 144, shared_weights = true>} {
  %o, %l = fresnel.attend %q, %k, %v : !long, !long, !long
  fresnel.return %o, %l {names = ["out", "lse"]} : !long, tensor<1x4x1024xf32>
}
fresnel.program @main(%q: !long, %k: !long, %v: !long) {
  %o, %l = fresnel.launch @attend_0(%q, %k, %v) : (!long, !long, !long) -> (!long, tensor<1x4x1024xf32>)
  fresnel.return %o, %l {names = ["out", "lse"]} : !long, tensor<1x4x1024xf32>
}

// -----

// Of a persistent kernel that has no shared memory for both, the output goes where the weights were, and those of the next
// tile wait until it has been copied. The queries of the next tile arrive meanwhile.
// CHECK-LABEL: tile.kernel @attend_0(
// CHECK: %[[WEIGHTS:.*]] = tile.alloc : !tile.shared<192x144xbf16, swizzled64>
// CHECK: %[[OUT:.*]] = tile.alloc reuse %[[WEIGHTS]] {{.*}} : !tile.shared<192x96xbf16, swizzled64>
// CHECK: consumer(3)
// CHECK: tile.wgmma_wait 0
// CHECK: scf.if
// CHECK-NEXT: tile.tma_store_wait
// CHECK: tile.barrier id(%{{.*}}) threads(128)
// CHECK: tile.store_matrix %{{.*}}, %[[WEIGHTS]]
// CHECK: scf.for
// CHECK: tile.store_matrix %{{.*}}, %[[WEIGHTS]]
// CHECK: tile.mbarrier_arrive
// CHECK: tile.wgmma
// CHECK: tile.store_matrix %{{.*}}, %[[OUT]]
!long = tensor<1x4x1024x96xbf16>
fresnel.program @attend_0(%q: !long, %k: !long, %v: !long) attributes {fresnel.kernel,
    fresnel.schedule = #fresnel.schedule<family = hopper, tile_m = 192, tile_n = 144, persistent = true, shared_weights = true>} {
  %o, %l = fresnel.attend %q, %k, %v : !long, !long, !long
  fresnel.return %o, %l {names = ["out", "lse"]} : !long, tensor<1x4x1024xf32>
}
fresnel.program @main(%q: !long, %k: !long, %v: !long) {
  %o, %l = fresnel.launch @attend_0(%q, %k, %v) : (!long, !long, !long) -> (!long, tensor<1x4x1024xf32>)
  fresnel.return %o, %l {names = ["out", "lse"]} : !long, tensor<1x4x1024xf32>
}
