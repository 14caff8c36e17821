// Documents that begin with blocks: their places, rows that go there and back, and what ends with a document.
// RUN: fresnel-opt %s --split-input-file --fresnel-lower-to-tile=target=sm_80 | FileCheck %s

!x = tensor<1x2x100x64xbf16>
!m = tensor<1x2x320x64xbf16>
!p = tensor<1x2x5x64xbf16>
!f = tensor<1x1x320xi32>
!t = tensor<1x1x100xi32>
!d = tensor<1x2x320xi32>

// A thread for each place walks the entries, whose greatest so far ends a document.
// CHECK-LABEL: tile.kernel @align_documents_0(%{{.*}}: !tile.global<1x1x3xi32>, %{{.*}}: !tile.global<1x2x320xi32>, %{{.*}}: !tile.global<1x2x5xi32>
// CHECK-SAME: grid = array<i32: 2, 1, 1>
// CHECK: %[[C3:.*]] = arith.constant 3 : i32
// CHECK: scf.for {{.*}} to %[[C3]]
// CHECK: tile.load %{{.*}} : !tile.global<1x1x3xi32> -> i32
// CHECK-NEXT: arith.minsi
// CHECK-NEXT: arith.maxsi
// CHECK-COUNT-4: tile.store %{{.*}} : i32, !tile.global<1x2x320xi32>
// CHECK: tile.store %{{.*}} : i32, !tile.global<1x1x320xi32>
// The token that stands there gets its place; the first place of a block its bounds.
// CHECK: scf.if
// CHECK-NEXT: tile.store %{{.*}} : i32, !tile.global<1x1x100xi32>
// CHECK: scf.if
// CHECK-COUNT-2: tile.store %{{.*}} : i32, !tile.global<1x2x5xi32>

// Two rows for each thread, 16 bytes at a time.
// CHECK-LABEL: tile.kernel @move_1(
// CHECK-COUNT-2: tile.load %{{.*}} -> vector<8xbf16>
// CHECK-NOT: tile.load
// CHECK: tile.store

// Windows end where the document of their first token does.
// CHECK-LABEL: tile.kernel @pool_2(
// CHECK: tile.load %{{.*}} : !tile.global<1x2x320xi32> -> i32
// CHECK-NEXT: arith.minsi
// CHECK-NEXT: arith.maxsi
// CHECK-LABEL: tile.kernel @pool_grad_3(
// CHECK: scf.for
// CHECK: tile.load %{{.*}} : !tile.global<1x2x320xi32> -> i32
// CHECK-NEXT: arith.minsi
// CHECK-NEXT: arith.maxsi

// CHECK-LABEL: tile.kernel @narrow_bounds_4(
// CHECK: arith.maxsi
// CHECK: arith.minsi
fresnel.program @aligned(%x: !x, %cu: tensor<1x1x3xi32>) {
  %b, %c, %n, %f, %t = fresnel.align_documents %cu {seq_len = 100, block = 64} : tensor<1x1x3xi32>
  %m = fresnel.move %x from %f to %t : !x, !f, !t
  %p = fresnel.pool mean %m documents(%n : !d) {window = 64} : !m
  %g = fresnel.pool_grad mean %p documents(%n : !d) {window = 64, seq_len = 320} : !p
  %w = fresnel.narrow_bounds %b {window = 9} : !d
  fresnel.return %g, %w {names = ["g", "w"]} : !m, !d
}

// -----

!x = tensor<1x2x100x3xbf16>
!s = tensor<1x2x100xf32>
!f = tensor<1x1x112xi32>
!t = tensor<1x1x100xi32>

// Documents of known lengths are found in a table.
// CHECK-LABEL: tile.kernel @align_documents_0(%{{.*}}: !tile.global<1x2x112xi32>
// CHECK: tile.table
// CHECK-NOT: scf.for
// CHECK: tile.return
// Rows of no multiple of 16 bytes go one element at a time.
// CHECK-LABEL: tile.kernel @move_1(
// CHECK: tile.load %{{.*}} : !tile.global<1x2x100x3xbf16, strided> -> bf16
// CHECK-LABEL: tile.kernel @move_2(
// CHECK: tile.load %{{.*}} : !tile.global<1x2x100xf32> -> f32
fresnel.program @known(%x: !x, %s: !s) {
  %b, %c, %n, %f, %t = fresnel.align_documents {seq_len = 100, block = 16, documents = array<i64: 60, 0, 40>}
  %y = fresnel.move %x from %f to %t : !x, !f, !t
  %z = fresnel.move %s from %f to %t : !s, !f, !t
  fresnel.return %y, %z {names = ["y", "z"]} : tensor<1x2x112x3xbf16>, tensor<1x2x112xf32>
}
