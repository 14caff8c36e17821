// Rows out of f32 tiles: a tile is sorted in shared memory; addends are read ahead of that, and before any result is written.
// RUN: fresnel-opt %s --split-input-file --fresnel-lower-to-tile | FileCheck %s
// RUN: fresnel-opt %s --split-input-file --fresnel-lower-to-nvvm | FileCheck %s --check-prefix=NVVM

// CHECK-LABEL: tile.kernel @round_tiles_1(
// CHECK-SAME: %[[TILES:[^:]*]]: !tile.global<1x2x4x6144xf32, strided>, %[[STATS:[^:]*]]: !tile.global<1x2x2x256xf32, strided>, %[[ADDEND:[^:]*]]: !tile.global<1x2x200x96xbf16>, %[[ROWS:[^:]*]]: !tile.global<1x2x200x96xbf16>
// CHECK-SAME: fresnel.in_place
// CHECK-COUNT-6: tile.load %[[TILES]]
// CHECK-COUNT-3: tile.load %[[ADDEND]]{{.*}} -> vector<8xbf16>
// CHECK: tile.barrier
// CHECK-NOT: tile.load %[[ADDEND]]
// CHECK: scf.if
// CHECK: tile.load %[[STATS]]
// CHECK: arith.select
// CHECK: arith.addf
// CHECK: tile.store %{{.*}}, %[[ROWS]]
// CHECK-COUNT-2: tile.store {{.*}} vector<8xbf16>
// CHECK-NOT: tile.store
// CHECK-LABEL: tile.kernel @pool_2

// What lies in the place of an operand may be the same memory.
// NVVM-LABEL: llvm.func @pool_0(
// NVVM-SAME: llvm.noalias
// NVVM-LABEL: llvm.func @round_tiles_1(
// NVVM-NOT: llvm.noalias
// NVVM: llvm.func @pool_2(
!x = tensor<1x2x400x96xbf16>
!s = tensor<1x2x2x256xf32>
!r = tensor<1x2x200x96xbf16>
fresnel.program @main(%x: !x, %t: tensor<1x2x4x6144xf32>, %s: !s) {
  %a = fresnel.pool mean %x {window = 2} : !x
  %b = fresnel.round_tiles %t more(%s, %a : !s, !r) {seq_len = 200, head_dim = 96, scale = 0.5, element = bf16} : tensor<1x2x4x6144xf32>
  %c = fresnel.pool mean %b {window = 2} : !r
  fresnel.return %c {names = ["y"]} : tensor<1x2x100x96xbf16>
}

// -----

// Chunks of a tile that are no multiple of the threads: the last step checks that its row is of the tile.
// CHECK-LABEL: tile.kernel @round_tiles_0(
// CHECK: %[[PART:.*]] = arith.cmpi slt, %{{.*}}, %c64
// CHECK: arith.andi %{{.*}}, %[[PART]]
fresnel.program @main(%t: tensor<1x1x2x5120xf32>, %a: tensor<1x1x100x80xf16>) {
  %b = fresnel.round_tiles %t more(%a : tensor<1x1x100x80xf16>) {seq_len = 100, head_dim = 80, scale = 0.5, element = f16} : tensor<1x1x2x5120xf32>
  fresnel.return %b {names = ["y"]} : tensor<1x1x100x80xf16>
}
