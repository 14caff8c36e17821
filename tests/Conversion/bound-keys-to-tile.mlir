// How large keys and values are, a warp for each chunk of 128 rows; and the factors that make integers of dQ's sums.
// RUN: fresnel-opt %s --fresnel-lower-to-tile | FileCheck %s

// CHECK-LABEL: tile.kernel @bound_keys_0(
// CHECK-SAME: !tile.global<1x2x2x3xf32>
// Three chunks, eight warps in a block.
// CHECK-SAME: grid = array<i32: 1, 2, 1>
// Magnitudes of keys.
// CHECK: scf.for
// CHECK: arith.andi
// CHECK: arith.maxsi
// Norms of values, which take four lanes.
// CHECK: scf.for
// CHECK-COUNT-8: tile.shuffle xor
// CHECK: math.sqrt
// CHECK-COUNT-2: tile.store

// CHECK-LABEL: tile.kernel @attend_stats_1(
// CHECK-SAME: %[[BOUNDS:[^:]*]]: !tile.global<1x2x2x3xf32>, %{{.*}}: !tile.global<1x4x3x384xf32, strided>
// CHECK: tile.load %[[BOUNDS]]
// CHECK: tile.load %[[BOUNDS]]
// CHECK: math.sqrt
// CHECK: arith.divf
!q = tensor<1x4x300x32xbf16>
!k = tensor<1x2x300x32xbf16>
!l = tensor<1x4x300xf32>
fresnel.program @main(%q: !q, %k: !k, %l: !l) {
  %b = fresnel.bound_keys %k, %k : !k, !k
  %s = fresnel.attend_stats %q, %q of %l more(%b : tensor<1x2x2x3xf32>) : !q, !l
  fresnel.return %s {names = ["stats"]} : tensor<1x4x3x384xf32>
}
