// RUN: fresnel-opt %s --split-input-file --fresnel-lower-to-tile=target=sm_90a | FileCheck %s

// A thread reads a chunk of two rows of dy and of each branch before it sums any; lanes 0 and 1 write the rows' results.
// CHECK-LABEL: tile.kernel @gate_delta_0(
// CHECK-SAME: %[[G:[^:]*]]: !tile.global<1x4x1000x3xbf16, strided>, %[[DY:[^:]*]]: !tile.global<1x4x1000x128xbf16, strided>
// CHECK-SAME: grid = array<i32: 128, 1, 1>
// CHECK-COUNT-3: tile.load %[[G]]
// CHECK-COUNT-2: tile.load %{{.*}} : !tile.global<1x4x1000xf32> -> f32
// CHECK-COUNT-8: tile.load %{{.*}} -> vector<8xbf16>
// CHECK-NOT: tile.load
// Three sums of two rows, each over 16 lanes.
// CHECK-COUNT-24: tile.shuffle xor
// Stats have more rows than the tensors.
// CHECK: scf.if
// CHECK-COUNT-3: tile.store %{{.*}} : bf16, !tile.global<1x4x1000x3xbf16
// CHECK-COUNT-2: tile.store %{{.*}} : f32, !tile.global<1x4x1000xf32>
// CHECK: }
// CHECK-COUNT-2: tile.store %{{.*}} : f32, !tile.global<1x4x2x1024xf32
// The branch in the middle gets its gradient.
// CHECK-COUNT-2: tile.load %[[DY]]
// CHECK: tile.return
!r = tensor<1x4x1000x128xbf16>
!l = tensor<1x4x1000xf32>
!w = tensor<1x4x1000x3xbf16>
fresnel.program @gates(%g: !w, %dy: !r, %a: !r, %b: !r, %c: !r, %la: !l, %lc: !l) {
  %dg, %s, %db, %m, %d = fresnel.gate_delta %g dout %dy of %a, %b, %c, %la, %lc
      {activation = #fresnel<activation sigmoid>, deltas = array<i64: 2>, stats = array<i64: 0>} : !w, !r of !r, !r, !r, !l, !l
  fresnel.return %dg, %s, %db, %m, %d {names = ["dg", "s", "db", "m", "d"]} : !w, tensor<1x4x2x1024xf32>, !r, !l, !l
}

// -----

// A unit of 16 tokens: as many loads before the first sum, five means, norms by a transposing butterfly.
// CHECK-LABEL: tile.kernel @pool_levels_0
// CHECK-SAME: grid = array<i32: 512, 1, 1>
// CHECK-COUNT-16: tile.load %{{.*}} -> vector<8xbf16>
// CHECK: tile.store %{{.*}} : vector<8xbf16>
// CHECK-COUNT-30: tile.shuffle xor
// CHECK: tile.shuffle index
// CHECK-LABEL: tile.kernel @select_cascade_1
// CHECK-SAME: !tile.global<1x8x1568xi32>, %{{.*}}: !tile.global<1x8x10752xi32>
// CHECK-LABEL: tile.kernel @gather_levels_2
// CHECK-COUNT-4: tile.load %{{.*}} -> i32
// CHECK-LABEL: tile.kernel @scatter_by_slots_3
// No searches: one look-up for each of a unit's four rows, and one per level above for all of them.
// CHECK-COUNT-6: tile.load %{{.*}} -> i32
// CHECK-NOT: tile.load %{{.*}} -> i32
// CHECK-NOT: scf.while
// CHECK: tile.return
!x = tensor<1x8x8192x128xbf16>
!p = tensor<1x8x10752x128xbf16>
!s = tensor<1x8x10752xf32>
!i = tensor<1x8x1568xi32>
!y = tensor<1x8x1568x128xbf16>
fresnel.program @main(%x: !x) {
  %n = fresnel.norm %x : !x
  %s = fresnel.pyramid max %n {levels = 3, factor = 4} : tensor<1x8x8192xf32>
  %i = fresnel.select_cascade %s, %s {seq_len = 8192, levels = 3, factor = 4, topk = 132} : !s, !s
  %p = fresnel.pyramid mean %x {levels = 3, factor = 4} : !x
  %y = fresnel.gather %p, %i : !p, !i
  %o = fresnel.scatter %y, %i {seq_len = 8192, levels = 3, factor = 4} : !y, !i
  fresnel.return %o, %i {names = ["o", "i"]} : !x, !i
}

// -----

// Units of five rows in windows of ten tokens; the last one has rows that do not exist.
// CHECK-LABEL: tile.kernel @gather_grad_by_slots_0
// CHECK-SAME: grid = array<i32: 2, 1, 1>
// CHECK-COUNT-6: tile.load %{{.*}} -> i32
// CHECK-NOT: tile.load %{{.*}} -> i32
// CHECK-COUNT-5: tile.store %{{.*}} : vector<8xbf16>
fresnel.program @tens(%dy: tensor<1x2x40x64xbf16>, %s: tensor<1x2x169xi32>) {
  %dx = fresnel.gather_grad_by_slots %dy, %s {heads = 2, seq_len = 153, levels = 2, factor = 10} : tensor<1x2x40x64xbf16>, tensor<1x2x169xi32>
  fresnel.return %dx {names = ["dx"]} : tensor<1x2x153x64xbf16>
}

// -----

// Each token is read once: 16 loads of a unit, four units a coarsest window of 64, sums of one level carried.
// Slots: 16 tokens, four windows of 4, one of 16, and the one of 64 that holds the unit.
// CHECK-LABEL: tile.kernel @scatter_grad_by_slots_0
// CHECK-SAME: grid = array<i32: 17, 1, 1>
// Whether a thread's slot is empty is read first, and looked at last.
// CHECK: tile.load %{{.*}} -> i32
// CHECK: scf.for {{.*}} -> (f32, f32, f32, f32, f32, f32, f32, f32)
// CHECK-COUNT-22: tile.load %{{.*}} -> i32
// CHECK-COUNT-16: tile.load %{{.*}} -> vector<8xbf16>
// CHECK-NOT: tile.load
// CHECK: scf.for %{{.*}} = %{{.*}} to %c16_i32
// CHECK: tile.store
fresnel.program @transposed(%dy: tensor<1x4x2100x128xbf16>, %i: tensor<1x2x100xi32>, %s: tensor<1x2x2790xi32>) {
  %dx = fresnel.scatter_grad_by_slots %dy, %i, %s {levels = 4, factor = 4} : tensor<1x4x2100x128xbf16>, tensor<1x2x100xi32>, tensor<1x2x2790xi32>
  fresnel.return %dx {names = ["dx"]} : tensor<1x4x100x128xbf16>
}

// -----

// Rows in tiles: a thread has four pairs of columns of each row, 16 pairs of the row apart, and stores as many.
// CHECK-LABEL: tile.kernel @gather_grad_tiles_0
// CHECK-SAME: %[[T:[^:]*]]: !tile.global<1x8x16x8192xf32, strided>, %[[S:[^:]*]]: !tile.global<1x8x1344xi32>
// CHECK-COUNT-6: tile.load %[[S]]
// CHECK-COUNT-24: tile.load %[[T]]{{.*}} -> vector<2xf32>
// CHECK-NOT: tile.load
// The scale comes before the rounding.
// CHECK: arith.mulf
// CHECK: arith.truncf
// CHECK-COUNT-16: tile.store %{{.*}} : vector<2xbf16>
fresnel.program @tiles(%t: tensor<1x8x16x8192xf32>, %s: tensor<1x8x1344xi32>) {
  %dx = fresnel.gather_grad_tiles %t, %s {heads = 8, seq_len = 1024, levels = 3, factor = 4, scale = 0.1, element = bf16}
      : tensor<1x8x16x8192xf32>, tensor<1x8x1344xi32>
  fresnel.return %dx {names = ["dx"]} : tensor<1x8x1024x128xbf16>
}

// -----

// Four query heads of a key head: the slots of all, then their rows of the levels above the tokens, then in each head
// those of the unit's four tokens behind one branch.
// CHECK-LABEL: tile.kernel @gather_grad_by_slots_0
// CHECK-COUNT-24: tile.load %{{.*}} -> i32
// CHECK-NOT: tile.load %{{.*}} -> i32
// CHECK-COUNT-8: tile.load %{{.*}} -> vector<8xbf16>
// CHECK-NOT: tile.load
// CHECK: %[[FIRST:.*]] = arith.maxsi
// CHECK: %[[SECOND:.*]] = arith.maxsi %[[FIRST]]
// CHECK: %[[LAST:.*]] = arith.maxsi %[[SECOND]]
// CHECK: %[[ANY:.*]] = arith.cmpi sge, %[[LAST]]
// CHECK: scf.if %[[ANY]]
// CHECK-COUNT-4: tile.load %{{.*}} -> vector<8xbf16>
// CHECK: arith.maxsi
fresnel.program @grouped(%dy: tensor<1x8x500x64xbf16>, %s: tensor<1x8x1344xi32>) {
  %dx = fresnel.gather_grad_by_slots %dy, %s {heads = 2, seq_len = 1024, levels = 3, factor = 4} : tensor<1x8x500x64xbf16>, tensor<1x8x1344xi32>
  fresnel.return %dx {names = ["dx"]} : tensor<1x2x1024x64xbf16>
}
