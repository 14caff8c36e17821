// RUN: fresnel-opt %s --split-input-file --fresnel-lower-to-tile=target=sm_90a | FileCheck %s

// Folding drives the copy by the result: four chunks of 16 bytes in flight, rows beyond the end read the last one and
// become zero. Blocks next to each other work on the heads of the same rows: 8 folded heads, 251 rows in 4 blocks.
// CHECK-LABEL: tile.kernel @fold_0
// CHECK-SAME: !tile.global<1x2x1001x128xbf16, strided>, %{{.*}}: !tile.global<1x8x251x128xbf16>
// CHECK-SAME: block = array<i32: 256, 1, 1>
// CHECK-SAME: grid = array<i32: 32, 1, 1>
// CHECK-COUNT-4: tile.load %{{.*}} !tile.global<1x2x1001x128xbf16, strided> -> vector<8xbf16>
// CHECK: arith.select
// CHECK-COUNT-4: tile.store %{{.*}} : vector<8xbf16>, !tile.global<1x8x251x128xbf16>
// CHECK-NOT: tile.store
// CHECK-LABEL: tile.kernel @norm_1
// CHECK-LABEL: tile.kernel @unfold_2
// CHECK-SAME: !tile.global<1x8x251xf32>, %{{.*}}: !tile.global<1x2x1001xf32>
// CHECK-SAME: grid = array<i32: 8, 1, 1>
// CHECK: tile.load %{{.*}} !tile.global<1x8x251xf32> -> f32
// CHECK: tile.store %{{.*}} : f32, !tile.global<1x2x1001xf32>
fresnel.program @tail(%x: tensor<1x2x1001x128xbf16>) {
  %f = fresnel.fold %x {factor = 4} : tensor<1x2x1001x128xbf16>
  %n = fresnel.norm %f : tensor<1x8x251x128xbf16>
  %s = fresnel.unfold %n {factor = 4, seq_len = 1001} : tensor<1x8x251xf32>
  fresnel.return %s {names = ["s"]} : tensor<1x2x1001xf32>
}

// -----

// Where the factor divides the length nothing is missing; scores fold and rows unfold, too.
// CHECK-LABEL: tile.kernel @fold_0
// CHECK-NOT: arith.select
// CHECK: tile.return
// CHECK-LABEL: tile.kernel @unfold_1
// CHECK: tile.load %{{.*}} -> vector<4xf32>
// CHECK-NOT: arith.select
// CHECK: tile.return
// CHECK-LABEL: tile.kernel @fold_2
// CHECK: tile.load %{{.*}} -> bf16
// CHECK: arith.select
// CHECK: tile.store %{{.*}} : bf16, !tile.global<1x6x334xbf16>
fresnel.program @even(%x: tensor<1x2x1000x32xf32>, %s: tensor<1x2x1000xbf16>) {
  %f = fresnel.fold %x {factor = 4} : tensor<1x2x1000x32xf32>
  %y = fresnel.unfold %f {factor = 4, seq_len = 1000} : tensor<1x8x250x32xf32>
  %t = fresnel.fold %s {factor = 3} : tensor<1x2x1000xbf16>
  fresnel.return %y, %t {names = ["y", "t"]} : tensor<1x2x1000x32xf32>, tensor<1x6x334xbf16>
}

// -----

// Each head three times; on the way back the copies are summed in f32.
// CHECK-LABEL: tile.kernel @fold_0
// CHECK-COUNT-4: tile.load
// CHECK-NOT: tile.load
// CHECK-LABEL: tile.kernel @unfold_1
// CHECK-COUNT-12: tile.load %{{.*}} !tile.global<1x24x250x32xbf16> -> vector<8xbf16>
// CHECK-LABEL: tile.kernel @unfold_2
// CHECK: arith.extf
// CHECK: arith.truncf
// CHECK: tile.store %{{.*}} : bf16
fresnel.program @repeated(%x: tensor<1x2x1000x32xbf16>, %s: tensor<1x6x500xbf16>) {
  %f = fresnel.fold %x {factor = 4, repeat = 3} : tensor<1x2x1000x32xbf16>
  %y = fresnel.unfold %f {factor = 4, seq_len = 1000, repeat = 3} : tensor<1x24x250x32xbf16>
  %t = fresnel.unfold %s {factor = 2, seq_len = 1000, repeat = 3} : tensor<1x6x500xbf16>
  fresnel.return %y, %t {names = ["y", "t"]} : tensor<1x2x1000x32xbf16>, tensor<1x1x1000xbf16>
}
