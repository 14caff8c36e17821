// Scores of blocks in one walk: keys in registers, queries of four heads side by side, sums of heads through shared memory.
// RUN: fresnel-opt %s --split-input-file --fresnel-lower-to-tile | FileCheck %s

// CHECK-LABEL: tile.kernel @regroup_scored_0(
// CHECK-SAME: !tile.tensor_map<32, 64, bf16, heads = 4>, %{{.*}}: !tile.tensor_map<64, 64, bf16>
// 32 tiles of tokens for each of two key heads, one thread block each.
// CHECK-SAME: grid = array<i32: 64, 1, 1>
// CHECK: tile.alloc : !tile.shared<4x128x128xbf16, swizzled>
// CHECK: tile.mbarrier_init %{{.*}} arrivals(4)
// CHECK: tile.mbarrier_init %{{.*}} arrivals(12)
// CHECK: tile.mbarrier_init %{{.*}} arrivals(96)
// CHECK: tile.warp_specialize producer registers(32)
// The first keys, the queries of each product as soon as their place is free, and the other keys.
// CHECK: scf.for
// CHECK: tile.tma_load {{.*}} evict_last
// CHECK: tile.mbarrier_wait
// CHECK-NEXT: tile.mbarrier_expect %{{.*}} bytes(131072)
// CHECK: tile.tma_load
// CHECK: tile.mbarrier_wait
// CHECK-NOT: tile.mbarrier_expect
// CHECK-COUNT-3: tile.tma_load
// CHECK: tile.tma_load {{.*}} evict_last
// Helpers bring the LSE.
// CHECK: tile.load {{.*}} -> f32
// CHECK: tile.store
// CHECK: tile.mbarrier_arrive
// CHECK: consumer(3) registers(160)
// CHECK: tile.load_lhs
// CHECK: tile.wgmma %{{.*}} transposed
// CHECK: tile.wgmma_wait 0
// The keys go back, and behind their last tile the queries.
// CHECK-COUNT-2: tile.mbarrier_arrive
// CHECK: math.exp2
// CHECK: tile.columns %{{.*}} from 96
// CHECK: tile.wgmma %{{.*}} transposed
// CHECK: tile.store_shared %{{.*}} transposed
// What reaches into the next tile's blocks is left for its consumer, once that of the tile before has come.
// CHECK: tile.mbarrier_wait
// CHECK: tile.store {{.*}} : f32, !tile.shared<3x32x1xf32, linear>
// Four blocks of a token at a time; where all windows are seen none is asked about.
// CHECK: scf.if
// CHECK: tile.load {{.*}} : !tile.shared<3x32x1xf32, linear> -> f32
// CHECK: tile.load %{{.*}} : !tile.shared<3x32x64xf32, padded> -> vector<4xf32>
// CHECK-NOT: arith.cmpi sgt
// CHECK: tile.store {{.*}} : vector<4xf32>, !tile.global<1x2x1000x16xf32, strided>
// CHECK: } else {
// CHECK: tile.load %{{.*}} : !tile.shared<3x32x64xf32, padded> -> vector<4xf32>
// CHECK: arith.cmpi sgt
// CHECK: tile.store {{.*}} : vector<4xf32>, !tile.global<1x2x1000x16xf32, strided>
// CHECK: tile.mbarrier_arrive
!q = tensor<1x32x1000x128xbf16>
!k = tensor<1x2x61x128xbf16>
!l = tensor<1x32x1000xf32>
fresnel.program @main(%q: !q, %k: !k, %l: !l) {
  %y = fresnel.regroup_scored %q, %k lse %l {causal = true, window = 32, stride = 16, block = 64, seq_len = 1000} : !q, !k, !l
  fresnel.return %y {names = ["y"]} : tensor<1x2x1000x16xf32>
}

// -----

// One head, products of its own; windows that do not overlap, so that no tile waits for another's.
// CHECK-LABEL: tile.kernel @regroup_scored_0(
// CHECK-SAME: !tile.tensor_map<32, 64, f16>, %{{.*}}: !tile.tensor_map<64, 64, f16>
// CHECK-NOT: tile.columns
// CHECK: tile.store_shared
// CHECK-NOT: tile.mbarrier_wait
// CHECK: tile.load %{{.*}} : !tile.shared<3x32x64xf32, padded> -> 
// 63 blocks: rows of which not every one begins at 16 bytes.
// CHECK-NOT: vector<4xf32>, !tile.global
!q = tensor<1x2x1000x64xf16>
!k = tensor<1x2x62x64xf16>
!l = tensor<1x2x1000xf32>
fresnel.program @main(%q: !q, %k: !k, %l: !l) {
  %y = fresnel.regroup_scored %q, %k lse %l {window = 16, stride = 16, block = 16, seq_len = 1000} : !q, !k, !l
  fresnel.return %y {names = ["y"]} : tensor<1x2x1000x63xf32>
}

// -----

// More tiles than multiprocessors: 132 blocks of threads take 15 or 16 each, every other round backwards.
// CHECK-LABEL: tile.kernel @regroup_scored_0(
// CHECK-SAME: grid = array<i32: 132, 1, 1>
// CHECK: arith.constant 2048 : i32
// CHECK: %[[EVEN:.*]] = arith.cmpi eq
// CHECK: arith.subi %c131_i32, %[[X:[^ ]*]]
// CHECK: arith.select %{{.*}}, %{{.*}}, %{{.*}} : i32
!q = tensor<1x64x16384x128xbf16>
!k = tensor<1x4x1023x128xbf16>
!l = tensor<1x64x16384xf32>
fresnel.program @main(%q: !q, %k: !k, %l: !l) {
  %y = fresnel.regroup_scored %q, %k lse %l {causal = true, window = 32, stride = 16, block = 64, seq_len = 16384} : !q, !k, !l
  fresnel.return %y {names = ["y"]} : tensor<1x4x16384x256xf32>
}
