// RUN: fresnel-opt %s --fresnel-lower-to-tile=target=sm_80 | FileCheck %s

// Inputs and outputs keep the caller's strides; intermediate tensors are contiguous.
// CHECK-LABEL: tile.kernel @attend_0
// CHECK-SAME: !tile.global<1x4x1000x128xbf16, strided>, %{{.*}}: !tile.global<1x2x1000x128xbf16, strided>
// CHECK-SAME: !tile.global<1x4x1000xf32>
// CHECK-SAME: block = array<i32: 128, 1, 1>
// CHECK-SAME: grid = array<i32: 16, 4, 1>
// CHECK: tile.alloc : !tile.shared<64x128xbf16, padded>
// CHECK: tile.alloc : !tile.shared<2x64x128xbf16, padded>
// CHECK: tile.copy_async
// CHECK: scf.for
// CHECK: tile.copy_wait 1
// CHECK: tile.mma %{{.*}}, %{{.*}} transposed
// CHECK: tile.reduce max
// CHECK: math.exp2
// CHECK: tile.to_lhs
// CHECK: tile.mma
// CHECK: tile.store_tile
// CHECK: tile.store_rows
// CHECK: fresnel.launch @attend_0
fresnel.program @main(%q: tensor<1x4x1000x128xbf16>, %k: tensor<1x2x1000x128xbf16>) {
  %o, %l = fresnel.attend %q, %k, %k {causal = true} : tensor<1x4x1000x128xbf16>, tensor<1x2x1000x128xbf16>, tensor<1x2x1000x128xbf16>
  fresnel.return %o, %l {names = ["out", "lse"]} : tensor<1x4x1000x128xbf16>, tensor<1x4x1000xf32>
}
