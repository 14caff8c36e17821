// Persistent kernels over packed documents: tiles start in the order of their work, and are chained.
// RUN: fresnel-opt %s --fresnel-lower-to-tile --split-input-file | FileCheck %s

// All threads number the work of each tile in memory of the keys, and put the tiles in order by counting how many have
// more; every role looks up which tile is next. The queries of two tiles are in shared memory.
// CHECK-LABEL: tile.kernel @attend_0(
// CHECK: tile.alloc : !tile.shared<4x64x128xbf16, swizzled>
// CHECK: %[[KEYS:.*]] = tile.alloc : !tile.shared<2x128x128xbf16, swizzled>
// CHECK: %[[ORDER:.*]] = tile.alloc : !tile.shared<32xi16, linear>
// CHECK: %[[WORK:.*]] = tile.alloc reuse %[[KEYS]] : {{.*}} : !tile.shared<36xi32, linear>
// CHECK: tile.barrier
// CHECK: scf.for %[[TILE:.*]] = %{{.*}} to %c32_i32 step %c384_i32
// CHECK: tile.load %arg3
// CHECK: tile.store %{{.*}}, %[[WORK]][%[[TILE]]]
// CHECK: tile.barrier
// CHECK: scf.for %[[TILE:.*]] = %{{.*}} to %c32_i32 step %c384_i32
// CHECK: %[[MINE:.*]] = tile.load %[[WORK]][%[[TILE]]]
// CHECK: %[[PLACE:.*]] = scf.for
// CHECK: %[[OTHERS:.*]] = tile.load %[[WORK]]{{.*}} -> vector<4xi32>
// CHECK-COUNT-4: arith.cmpi sgt, %{{.*}}, %[[MINE]]
// CHECK: %[[SHORT:.*]] = arith.trunci %[[TILE]]
// CHECK: tile.store %[[SHORT]], %[[ORDER]][%[[PLACE]]]
// CHECK: tile.fence_async
// CHECK-NEXT: tile.barrier
// CHECK: tile.warp_specialize producer
// CHECK: tile.load %[[ORDER]]
// CHECK: tile.atomic
// CHECK: consumer(2)
// CHECK: tile.load %[[ORDER]]
// CHECK: tile.load_lhs
// CHECK: } do {
// CHECK: tile.load %[[ORDER]]
// CHECK: tile.load_lhs
!t = tensor<1x2x4096x128xbf16>
!d = tensor<1x2x4096xi32>
!l = tensor<1x2x4096xf32>
fresnel.program @attend_0(%q: !t, %k: !t, %v: !t, %m: !d) attributes {fresnel.kernel,
    fresnel.schedule = #fresnel.schedule<family = hopper, tile_m = 128, tile_n = 128, persistent = true>} {
  %o, %l = fresnel.attend %q, %k, %v documents(%m : !d) {causal = true} : !t, !t, !t
  fresnel.return %o, %l {names = ["out", "lse"]} : !t, !l
}
fresnel.program @main(%q: !t, %k: !t, %v: !t, %m: !d) {
  %o, %l = fresnel.launch @attend_0(%q, %k, %v, %m) : (!t, !t, !t, !d) -> (!t, !l)
  fresnel.return %o, %l {names = ["out", "lse"]} : !t, !l
}

// -----

// More tiles than are put in order: from the last one to the first.
// CHECK-LABEL: tile.kernel @attend_0(
// CHECK: tile.alloc : !tile.shared<4x64x128xbf16, swizzled>
// CHECK-NOT: tile.fence_async
// CHECK: tile.warp_specialize producer
// CHECK: arith.subi %c256_i32
!t = tensor<1x1x32896x128xbf16>
!d = tensor<1x2x32896xi32>
!l = tensor<1x1x32896xf32>
fresnel.program @attend_0(%q: !t, %k: !t, %v: !t, %m: !d) attributes {fresnel.kernel,
    fresnel.schedule = #fresnel.schedule<family = hopper, tile_m = 128, tile_n = 128, persistent = true>} {
  %o, %l = fresnel.attend %q, %k, %v documents(%m : !d) {causal = true} : !t, !t, !t
  fresnel.return %o, %l {names = ["out", "lse"]} : !t, !l
}
fresnel.program @main(%q: !t, %k: !t, %v: !t, %m: !d) {
  %o, %l = fresnel.launch @attend_0(%q, %k, %v, %m) : (!t, !t, !t, !d) -> (!t, !l)
  fresnel.return %o, %l {names = ["out", "lse"]} : !t, !l
}

// -----

// Three consumers have no registers for both bounds of the rows beside the sums of two tiles: the tiles are not chained.
// CHECK-LABEL: tile.kernel @attend_0(
// CHECK: tile.alloc : !tile.shared<1x192x64xbf16, swizzled>
// CHECK: tile.fence_async
// CHECK: tile.warp_specialize producer
!t = tensor<1x2x4096x64xbf16>
!d = tensor<1x2x4096xi32>
!l = tensor<1x2x4096xf32>
fresnel.program @attend_0(%q: !t, %k: !t, %v: !t, %m: !d) attributes {fresnel.kernel,
    fresnel.schedule = #fresnel.schedule<family = hopper, tile_m = 192, tile_n = 128, persistent = true>} {
  %o, %l = fresnel.attend %q, %k, %v documents(%m : !d) : !t, !t, !t
  fresnel.return %o, %l {names = ["out", "lse"]} : !t, !l
}
fresnel.program @main(%q: !t, %k: !t, %v: !t, %m: !d) {
  %o, %l = fresnel.launch @attend_0(%q, %k, %v, %m) : (!t, !t, !t, !d) -> (!t, !l)
  fresnel.return %o, %l {names = ["out", "lse"]} : !t, !l
}
