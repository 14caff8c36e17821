// RUN: fresnel-opt %s --convert-tile-to-nvvm | FileCheck %s

// CHECK: llvm.mlir.global external @fresnel_shared() {addr_space = 3 : i32, alignment = 1024 : i64}
// Constants become a global in front of their kernel, one for each list of values.
// CHECK: llvm.mlir.global internal constant @look_up_table_0(dense<[0, 24, 24, 40]> : tensor<4xi32>) {addr_space = 1 : i32, alignment = 16 : i64} : !llvm.array<4 x i32>
// CHECK-NOT: llvm.mlir.global
// CHECK-LABEL: llvm.func @look_up
// CHECK: llvm.mlir.addressof @look_up_table_0 : !llvm.ptr<1>
// CHECK-NOT: tile.
tile.kernel @look_up(%m: !tile.global<2x2xi32>)
    attributes {block = array<i32: 32, 1, 1>, grid = array<i32: 1, 1, 1>} {
  %c0 = arith.constant 0 : i32
  %c1 = arith.constant 1 : i32
  %t = tile.table [0, 24, 24, 40] : !tile.global<2x2xi32>
  %u = tile.table [0, 24, 24, 40] : !tile.global<2x2xi32>
  %x = tile.load %t[%c1, %c0] : !tile.global<2x2xi32> -> i32
  %y = tile.load %u[%c0, %c1] : !tile.global<2x2xi32> -> i32
  tile.store %x, %m[%c0, %c0] : i32, !tile.global<2x2xi32>
  tile.store %y, %m[%c0, %c1] : i32, !tile.global<2x2xi32>
  tile.return
}

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

// An anchor stores what a thread holds of both rows, and nothing removes or moves the store.
// CHECK-LABEL: llvm.func @anchored
// CHECK-SAME: fresnel.shared_bytes = 1024 : i32
// CHECK: llvm.inline_asm has_side_effects {{.*}}"st.volatile.shared.v2.f32 [$0], {$1, $2};", "r,f,f"
// CHECK-NOT: tile.
tile.kernel @anchored(%m: !tile.global<1x1x64xf32>) attributes {block = array<i32: 128, 1, 1>, grid = array<i32: 1, 1, 1>} {
  %c0 = arith.constant 0 : i32
  %rows = tile.load_rows %m[%c0, %c0, %c0] outside(0.0) : !tile.global<1x1x64xf32> -> tensor<64xf32, #tile.rows>
  %scratch = tile.alloc : !tile.shared<256xf32, linear>
  tile.anchor %rows, %scratch : tensor<64xf32, #tile.rows>, !tile.shared<256xf32, linear>
  tile.return
}

// Panels of 32 columns: as many copies, the map's swizzle, chunks exchanged with the number of a pair of rows, operands
// that step through two k16 in a panel, and stores to the next panel that add its distance to the address.
// CHECK-LABEL: llvm.func @narrow
// CHECK-SAME: {cols = 32 : i64, {{.*}}kind = "tensor_map", {{.*}}swizzle = 64 : i64}
// CHECK-SAME: fresnel.shared_bytes = 29704 : i32
// CHECK-COUNT-3: cp.async.bulk.tensor.4d.shared::cluster.global
// CHECK-DAG: %[[ROW:.*]] = llvm.lshr %{{.*}}, %{{.*}} : i32
// CHECK-COUNT-2: stmatrix.sync.aligned.m8n8.x4.shared::cta.b16 [$0+0]
// CHECK: stmatrix.sync.aligned.m8n8.x4.shared::cta.b16 [$0+4096]
// CHECK-DAG: llvm.mlir.constant(-9223371899415756800 : i64)
// CHECK-DAG: llvm.mlir.constant(-9223371899403239424 : i64)
// CHECK: add.s64 da, $48, 0;\0Aadd.s64 db, $49, 0;{{.*}}add.s64 da, $48, 2;\0Aadd.s64 db, $49, 64;{{.*}}add.s64 da, $48, 256;\0Aadd.s64 db, $49, 128;
// CHECK-COUNT-3: cp.async.bulk.tensor.4d.global.shared::cta
// CHECK-NOT: {{ }}tile.
tile.kernel @narrow(%m: !tile.tensor_map<48, 32, bf16>, %o: !tile.tensor_map<64, 32, bf16>)
    attributes {block = array<i32: 128, 1, 1>, grid = array<i32: 1, 1, 1>} {
  %c0 = arith.constant 0 : i32
  %values = tile.alloc : !tile.shared<48x96xbf16, swizzled64>
  %weights = tile.alloc : !tile.shared<64x48xbf16, swizzled64>
  %out = tile.alloc : !tile.shared<64x96xbf16, swizzled64>
  %full = tile.alloc : !tile.barriers<1>
  tile.tma_load %m[%c0, %c0, %c0] to %values on %full[%c0] : !tile.tensor_map<48, 32, bf16>, !tile.shared<48x96xbf16, swizzled64>, !tile.barriers<1>
  %zero = arith.constant dense<0.0> : tensor<64x48xf32, #tile.acc>
  tile.store_matrix %zero, %weights row(%c0) : tensor<64x48xf32, #tile.acc>, !tile.shared<64x48xbf16, swizzled64>
  %p = tile.wgmma %weights row(%c0), %values : !tile.shared<64x48xbf16, swizzled64>, !tile.shared<48x96xbf16, swizzled64> -> tensor<64x96xf32, #tile.acc>
  %s = tile.wgmma_wait 0, %p : tensor<64x96xf32, #tile.acc>
  tile.store_matrix %s, %out row(%c0) : tensor<64x96xf32, #tile.acc>, !tile.shared<64x96xbf16, swizzled64>
  tile.tma_store %out row(%c0) to %o[%c0, %c0, %c0] : !tile.shared<64x96xbf16, swizzled64>, !tile.tensor_map<64, 32, bf16>
  tile.return
}
