// RUN: fresnel-opt %s --convert-tile-to-nvvm | FileCheck %s

// CHECK: llvm.mlir.global external @fresnel_shared() {addr_space = 3 : i32, alignment = 1024 : i64}
// A strided view is a pointer and its strides; what a launch needs is left in attributes.
// CHECK-LABEL: llvm.func @scores
// CHECK-SAME: !llvm.ptr<1> {{.*}}, %{{.*}}: i64, %{{.*}}: i64, %{{.*}}: i64, %{{.*}}: !llvm.ptr<1>
// CHECK-SAME: fresnel.params = [{kind = "pointer", operand = 0 : i64}, {dim = 0 : i64, kind = "stride", operand = 0 : i64}
// CHECK-SAME: fresnel.shared_bytes = 2560 : i32
// CHECK-SAME: nvvm.kernel
// CHECK: nvvm.cp.async.shared.global
// CHECK: nvvm.ldmatrix
// CHECK: nvvm.mma.sync
// CHECK: nvvm.shfl.sync bfly
// CHECK-NOT: tile.
tile.kernel @scores(%q: !tile.global<1x1x32x32xbf16, strided>, %m: !tile.global<1x1x32xf32>)
    attributes {block = array<i32: 64, 1, 1>, grid = array<i32: 1, 1, 1>} {
  %c0 = arith.constant 0 : i32
  %tile = tile.alloc : !tile.shared<32x32xbf16, padded>
  tile.copy_async %q[%c0, %c0, %c0] to %tile : !tile.global<1x1x32x32xbf16, strided>, !tile.shared<32x32xbf16, padded>
  tile.copy_commit
  tile.copy_wait 0
  tile.barrier
  %lhs = tile.load_lhs %tile : !tile.shared<32x32xbf16, padded> -> tensor<32x32xbf16, #tile.lhs>
  %zero = arith.constant dense<0.0> : tensor<32x32xf32, #tile.acc>
  %s = tile.mma %lhs, %tile transposed, %zero
    : tensor<32x32xbf16, #tile.lhs>, !tile.shared<32x32xbf16, padded>, tensor<32x32xf32, #tile.acc>
  %max = tile.reduce max %s : tensor<32x32xf32, #tile.acc> -> tensor<32xf32, #tile.rows>
  tile.store_rows %max, %m[%c0, %c0, %c0] : tensor<32xf32, #tile.rows>, !tile.global<1x1x32xf32>
  tile.return
}
