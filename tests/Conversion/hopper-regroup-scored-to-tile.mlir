// Scores of blocks in one walk: keys in registers, queries of two heads side by side, sums of heads through shared memory.
// RUN: fresnel-opt %s --split-input-file --fresnel-lower-to-tile | FileCheck %s

// CHECK-LABEL: tile.kernel @regroup_scored_0(
// CHECK-SAME: !tile.tensor_map<32, 64, bf16, heads = 2>, %{{.*}}: !tile.tensor_map<64, 64, bf16>
// 32 tiles of tokens for each of two key heads.
// CHECK-SAME: grid = array<i32: 32, 2, 1>
// CHECK: tile.alloc : !tile.shared<8x64x128xbf16, swizzled>
// CHECK: tile.mbarrier_init %{{.*}} arrivals(4)
// CHECK: tile.warp_specialize producer registers(32)
// The queries once, the keys tile by tile.
// CHECK-COUNT-9: tile.tma_load
// CHECK: consumer(3) registers(160)
// CHECK: tile.load_lhs
// Two products are under way at a time.
// CHECK: tile.wgmma %{{.*}} transposed
// CHECK: tile.wgmma %{{.*}} transposed
// CHECK: tile.wgmma_wait 1
// CHECK: tile.mbarrier_arrive
// CHECK: math.exp2
// CHECK: tile.columns %{{.*}} from 32
// CHECK: tile.wgmma_wait 0
// CHECK: tile.store_shared %{{.*}} transposed
// CHECK: tile.load %{{.*}} : !tile.shared<32x64xf32, padded> -> vector<4xf32>
// CHECK: tile.store
!q = tensor<1x32x1000x128xbf16>
!k = tensor<1x2x61x128xbf16>
!l = tensor<1x32x1000xf32>
fresnel.program @main(%q: !q, %k: !k, %l: !l) {
  %y = fresnel.regroup_scored %q, %k lse %l {causal = true, window = 32, stride = 16, block = 64, seq_len = 1000} : !q, !k, !l
  fresnel.return %y {names = ["y"]} : tensor<1x2x1000x16xf32>
}

// -----

// One head, products of its own; windows that do not overlap, so that tiles do not either.
// CHECK-LABEL: tile.kernel @regroup_scored_0(
// CHECK-SAME: !tile.tensor_map<32, 64, f16>, %{{.*}}: !tile.tensor_map<64, 64, f16>
// CHECK-NOT: tile.columns
!q = tensor<1x2x1000x64xf16>
!k = tensor<1x2x62x64xf16>
!l = tensor<1x2x1000xf32>
fresnel.program @main(%q: !q, %k: !k, %l: !l) {
  %y = fresnel.regroup_scored %q, %k lse %l {window = 16, stride = 16, block = 16, seq_len = 1000} : !q, !k, !l
  fresnel.return %y {names = ["y"]} : tensor<1x2x1000x63xf32>
}
