// The gradient of the queries out of integers: the errors of a tile's rows beside their sums, then one of the two.
// RUN: fresnel-opt %s --fresnel-lower-to-tile | FileCheck %s

// CHECK-LABEL: tile.kernel @settle_tiles_0(
// CHECK-SAME: !tile.global<1x2x3x256xf32, strided>
// CHECK-SAME: !tile.global<1x2x4x12288xi32, strided>
// CHECK-SAME: family = portable
// The largest unit, then the squares of the integers.
// CHECK: tile.load {{.*}} : !tile.global<1x2x3x256xf32, strided> -> f32
// CHECK: arith.minnumf
// CHECK: tile.load {{.*}} : !tile.global<1x2x4x12288xi32, strided> -> vector<4xi32>
// CHECK: arith.sitofp
// CHECK: math.fma
// What is fine enough is converted; everything else, NaN too, is computed.
// CHECK: %[[FINE:.*]] = arith.cmpf ole
// CHECK: scf.if %[[FINE]]
// CHECK: tile.load_fragment
// CHECK: tile.store_tile
// CHECK: else
// CHECK: tile.mma
// CHECK: tile.store_tile
!q = tensor<1x2x200x192xbf16>
!k = tensor<1x1x300x192xbf16>
!t = tensor<1x2x4x12288xi32>
!s = tensor<1x2x3x256xf32>
fresnel.program @main(%t: !t, %q: !q, %k: !k, %s: !s) {
  %a = fresnel.settle_tiles %t of %q, %k, %k stats %s dout %q {causal = true} : !t, !q, !k, !k, !s, !q
  fresnel.return %a {names = ["dq"]} : !q
}
