// RUN: fresnel-opt %s --split-input-file --fresnel-lower-to-tile=target=sm_80 | FileCheck %s

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

// -----

// An output that another kernel reads keeps the caller's strides there, too.
// CHECK-LABEL: tile.kernel @attend_delta_1
// CHECK-SAME: !tile.global<1x2x64x32xbf16, strided>, %{{.*}}: !tile.global<1x2x64x32xbf16, strided>, %{{.*}}: !tile.global<1x2x64xf32>
// The gradient of the queries owns queries; what is walked comes in a ring.
// CHECK-LABEL: tile.kernel @attend_grad_q_2
// CHECK: tile.load_rows %{{.*}} outside(0xFF800000)
// CHECK: scf.for
// CHECK: tile.mma %{{.*}}, %{{.*}} transposed
// CHECK: tile.mma %{{.*}}, %{{.*}} transposed
// CHECK: math.exp2
// CHECK: tile.mma
// CHECK: tile.store_tile
// The gradient of keys and values walks the queries of both heads that share a key head.
// CHECK-LABEL: tile.kernel @attend_grad_kv_3
// CHECK-SAME: grid = array<i32: 1, 1, 1>
// CHECK: tile.load_cols %{{.*}} outside(0xFF800000)
// CHECK: tile.store_tile
// CHECK: tile.store_tile
fresnel.program @backward(%q: tensor<1x2x64x32xbf16>, %k: tensor<1x1x64x32xbf16>, %g: tensor<1x2x64x32xbf16>) {
  %o, %l = fresnel.attend %q, %k, %k {causal = true} : tensor<1x2x64x32xbf16>, tensor<1x1x64x32xbf16>, tensor<1x1x64x32xbf16>
  %d = fresnel.attend_delta %o, %g : tensor<1x2x64x32xbf16>
  %dq = fresnel.attend_grad_q %q, %k, %k lse %l delta %d dout %g {causal = true}
      : tensor<1x2x64x32xbf16>, tensor<1x1x64x32xbf16>, tensor<1x1x64x32xbf16>, tensor<1x2x64xf32>, tensor<1x2x64xf32>, tensor<1x2x64x32xbf16>
  %dk, %dv = fresnel.attend_grad_kv %q, %k, %k lse %l delta %d dout %g {causal = true}
      : tensor<1x2x64x32xbf16>, tensor<1x1x64x32xbf16>, tensor<1x1x64x32xbf16>, tensor<1x2x64xf32>, tensor<1x2x64xf32>, tensor<1x2x64x32xbf16>
  fresnel.return %o, %dq, %dk, %dv {names = ["out", "dq", "dk", "dv"]}
      : tensor<1x2x64x32xbf16>, tensor<1x2x64x32xbf16>, tensor<1x1x64x32xbf16>, tensor<1x1x64x32xbf16>
}
