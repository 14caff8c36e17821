// Every operation of the tile dialect round-trips.
// RUN: fresnel-opt %s | fresnel-opt | FileCheck %s
// RUN: fresnel-opt %s --mlir-print-op-generic | fresnel-opt | FileCheck %s

!tile = !tile.shared<64x128xbf16, padded>
!swz = !tile.shared<128x128xbf16, swizzled>
!acc = tensor<64x128xf32, #tile.acc>
!scores = tensor<64x64xf32, #tile.acc>
!rows = tensor<64xf32, #tile.rows>

// CHECK-LABEL: tile.kernel @copy
// CHECK-SAME: !tile.global<64x8xbf16>
tile.kernel @copy(%in: !tile.global<64x8xbf16>, %out: !tile.global<64x8xbf16>)
    attributes {block = array<i32: 64, 1, 1>, grid = array<i32: 1, 1, 1>} {
  // CHECK: tile.id thread
  %t = tile.id thread
  %c0 = arith.constant 0 : i32
  // CHECK: tile.load %{{.*}}[%{{.*}}, %{{.*}}] : !tile.global<64x8xbf16> -> vector<8xbf16>
  %x = tile.load %in[%t, %c0] : !tile.global<64x8xbf16> -> vector<8xbf16>
  // CHECK: tile.store
  tile.store %x, %out[%t, %c0] : vector<8xbf16>, !tile.global<64x8xbf16>
  tile.return
}

// CHECK-LABEL: tile.kernel @portable
// CHECK-SAME: !tile.global<1x8x8192x128xbf16, strided>
tile.kernel @portable(%q: !tile.global<1x8x8192x128xbf16, strided>, %o: !tile.global<1x8x8192x128xbf16>,
                      %lse: !tile.global<1x8x8192xf32>)
    attributes {block = array<i32: 128, 1, 1>, grid = array<i32: 128, 8, 1>} {
  %c0 = arith.constant 0 : i32
  %true = arith.constant true
  // CHECK: tile.alloc : !tile.shared<64x128xbf16, padded>
  %tile = tile.alloc : !tile
  // CHECK: tile.alloc reuse
  %again = tile.alloc reuse %tile : !tile : !tile
  // CHECK: tile.alloc : !tile.shared<2x64x128xbf16, padded>
  %ring = tile.alloc : !tile.shared<2x64x128xbf16, padded>
  // CHECK: tile.table [0, 24, 24, 40] : <2x2xi32>
  %table = tile.table [0, 24, 24, 40] : !tile.global<2x2xi32>
  // CHECK: tile.slice
  %slice = tile.slice %ring[%c0] : !tile.shared<2x64x128xbf16, padded> -> !tile
  // CHECK: tile.copy_async
  tile.copy_async %q[%c0, %c0, %c0] to %tile : !tile.global<1x8x8192x128xbf16, strided>, !tile
  %list = tile.alloc : !tile.shared<9xi32, linear>
  // CHECK: tile.copy_async %{{.*}} of(%{{.*}} : !tile.shared<9xi32, linear>) to %{{.*}} {block = 16 : i32}
  tile.copy_async %q[%c0, %c0, %c0] of(%list : !tile.shared<9xi32, linear>) to %tile {block = 16 : i32}
    : !tile.global<1x8x8192x128xbf16, strided>, !tile
  // CHECK: tile.copy_async %{{.*}} {group = 4 : i32}
  tile.copy_async %q[%c0, %c0, %c0] to %tile {group = 4 : i32} : !tile.global<1x8x8192x128xbf16, strided>, !tile
  // CHECK: tile.copy_commit
  tile.copy_commit
  // CHECK: tile.copy_wait 1
  tile.copy_wait 1
  // CHECK: tile.barrier
  tile.barrier
  // CHECK: tile.load_lhs
  %lhs = tile.load_lhs %tile : !tile -> tensor<64x128xbf16, #tile.lhs>
  %zero = arith.constant dense<0.0> : !scores
  // CHECK: tile.mma %{{.*}}, %{{.*}} transposed, %{{.*}}
  %s = tile.mma %lhs, %slice transposed, %zero : tensor<64x128xbf16, #tile.lhs>, !tile, !scores
  // CHECK: tile.row_index
  %row = tile.row_index %c0 : tensor<64x64xi32, #tile.acc>
  // CHECK: tile.col_index
  %col = tile.col_index %c0 : tensor<64x64xi32, #tile.acc>
  %visible = arith.cmpi sle, %col, %row : tensor<64x64xi32, #tile.acc>
  %hidden = arith.constant dense<0xFF800000> : !scores
  // CHECK: arith.select %{{.*}}, %{{.*}}, %{{.*}} : tensor<64x64xi1, #tile.acc>, tensor<64x64xf32, #tile.acc>
  %masked = arith.select %visible, %s, %hidden : tensor<64x64xi1, #tile.acc>, !scores
  // CHECK: tile.reduce max %
  %m = tile.reduce max %masked : !scores -> !rows
  // CHECK: tile.broadcast
  %mb = tile.broadcast %m : !rows -> !scores
  %d = arith.subf %masked, %mb : !scores
  %p = math.exp2 %d : !scores
  // CHECK: tile.reduce add partial
  %partial = tile.reduce add partial %p : !scores -> !rows
  %buffer = tile.alloc : !tile.shared<64x64xf32, padded>
  // CHECK: tile.store_shared %{{[^ ]*}}, %{{[^ ]*}} :
  tile.store_shared %p, %buffer : !scores, !tile.shared<64x64xf32, padded>
  // CHECK: tile.store_shared %{{[^ ]*}}, %{{[^ ]*}} transposed
  tile.store_shared %p, %buffer transposed : !scores, !tile.shared<64x64xf32, padded>
  // CHECK: tile.any
  %positive = arith.cmpf ogt, %partial, %partial : !rows
  %any = tile.any %positive : tensor<64xi1, #tile.rows>
  // CHECK: tile.columns %{{.*}} from 16 : tensor<64x64xf32, #tile.acc> -> tensor<64x32xf32, #tile.acc>
  %columns = tile.columns %p from 16 : !scores -> tensor<64x32xf32, #tile.acc>
  // CHECK: tile.anchor %{{.*}}, %{{.*}} : tensor<64xf32, #tile.rows>, <256xf32, linear>
  %scratch = tile.alloc : !tile.shared<256xf32, linear>
  tile.anchor %partial, %scratch : !rows, !tile.shared<256xf32, linear>
  // CHECK: tile.quad_reduce add
  %l = tile.quad_reduce add %partial : !rows
  // CHECK: tile.to_lhs
  %weights = tile.to_lhs %p : !scores -> tensor<64x64xbf16, #tile.lhs>
  // CHECK: tile.splat
  %f = arith.constant 0.0 : f32
  %acc = tile.splat %f : f32 -> !acc
  // CHECK: tile.mma
  %out = tile.mma %weights, %slice, %acc : tensor<64x64xbf16, #tile.lhs>, !tile, !acc
  // CHECK: tile.store_tile
  tile.store_tile %out, %o[%c0, %c0, %c0] : !acc, !tile.global<1x8x8192x128xbf16>
  // CHECK: tile.store_rows
  tile.store_rows %l, %lse[%c0, %c0, %c0] : !rows, !tile.global<1x8x8192xf32>
  // CHECK: tile.load_rows %{{.*}} outside(0.000000e+00)
  %read = tile.load_rows %lse[%c0, %c0, %c0] outside(0.0) : !tile.global<1x8x8192xf32> -> !rows
  // CHECK: tile.load_rows %{{.*}} outside(0.000000e+00) {group = 4 : i32}
  %grouped = tile.load_rows %lse[%c0, %c0, %c0] outside(0.0) {group = 4 : i32} : !tile.global<1x8x8192xf32> -> !rows
  // CHECK: tile.lookup %{{[^[]*}}[] [%{{.*}}] outside(-1 : i32)
  %entry = tile.lookup %list[] [%row] outside(-1 : i32)
    : !tile.shared<9xi32, linear>, tensor<64x64xi32, #tile.acc> -> tensor<64x64xi32, #tile.acc>
  // CHECK: tile.lookup %{{[^[]*}}[%{{.*}}, %{{.*}}] [%{{.*}}] outside(0.000000e+00 : f32)
  %found = tile.lookup %lse[%c0, %c0] [%entry] outside(0.0 : f32)
    : !tile.global<1x8x8192xf32>, tensor<64x64xi32, #tile.acc> -> !scores
  // CHECK: tile.load_cols %{{.*}} outside(0xFF800000)
  %cols = tile.load_cols %lse[%c0, %c0, %c0] outside(0xFF800000) : !tile.global<1x8x8192xf32> -> !acc
  // CHECK: tile.store_tile %{{.*}} column(
  tile.store_tile %cols, %o[%c0, %c0, %c0] column(%c0) : !acc, !tile.global<1x8x8192x128xbf16>
  // CHECK: tile.store_tile %{{.*}} limit(%{{.*}}) {group = 4 : i32}
  tile.store_tile %cols, %o[%c0, %c0, %c0] limit(%c0) {group = 4 : i32} : !acc, !tile.global<1x8x8192x128xbf16>
  // CHECK: tile.store_rows %{{.*}} {group = 4 : i32}
  tile.store_rows %l, %lse[%c0, %c0, %c0] {group = 4 : i32} : !rows, !tile.global<1x8x8192xf32>
  // CHECK: tile.shuffle xor
  %sh = tile.shuffle xor %f, %c0 : f32 -> f32
  // CHECK: tile.ballot
  %mask = tile.ballot %true
  %bins = tile.alloc : !tile.shared<256xi32, linear>
  // CHECK: tile.atomic add
  %old = tile.atomic add %mask, %bins[%c0] : !tile.shared<256xi32, linear>
  tile.return
}

// CHECK-LABEL: tile.kernel @hopper
tile.kernel @hopper(%map: !tile.tensor_map<128, 64, bf16>, %box: !tile.tensor_map<32, 64, bf16>,
                     %heads: !tile.tensor_map<8, 64, bf16, heads = 16>)
    attributes {block = array<i32: 384, 1, 1>, grid = array<i32: 1, 1, 1>} {
  %c0 = arith.constant 0 : i32
  %c1 = arith.constant 1 : i32
  %tile = tile.alloc : !swz
  %full = tile.alloc : !tile.barriers<2>
  // CHECK: tile.prefetch_map
  tile.prefetch_map %map : !tile.tensor_map<128, 64, bf16>
  // CHECK: tile.mbarrier_init %{{.*}} arrivals(1) fence
  tile.mbarrier_init %full arrivals(1) fence : !tile.barriers<2>
  // CHECK: tile.warp_specialize producer registers(24)
  tile.warp_specialize producer registers(24) {
    // CHECK: tile.mbarrier_expect %{{.*}}[%{{.*}}] bytes(32768)
    tile.mbarrier_expect %full[%c0] bytes(32768) : !tile.barriers<2>
    // CHECK: tile.tma_load {{.*}} evict_last
    tile.tma_load %map[%c0, %c0, %c0] to %tile on %full[%c0] evict_last
      : !tile.tensor_map<128, 64, bf16>, !swz, !tile.barriers<2>
    // CHECK: tile.tma_load {{.*}} row(%{{.*}}) on
    tile.tma_load %box[%c0, %c0, %c0] to %tile row(%c0) on %full[%c0]
      : !tile.tensor_map<32, 64, bf16>, !swz, !tile.barriers<2>
    // CHECK: tile.tma_load {{.*}} evict_last multicast :
    tile.tma_load %box[%c0, %c0, %c0] to %tile row(%c0) on %full[%c0] evict_last multicast
      : !tile.tensor_map<32, 64, bf16>, !swz, !tile.barriers<2>
    // CHECK: tile.tma_load {{.*}} evict_first : {{.*}}<8, 64, bf16, heads = 16>
    tile.tma_load %heads[%c0, %c0, %c0] to %tile on %full[%c0] evict_first
      : !tile.tensor_map<8, 64, bf16, heads = 16>, !swz, !tile.barriers<2>
    tile.yield
  // CHECK: } consumer(2) registers(240) {
  } consumer(2) registers(240) {
    // CHECK: tile.elect
    %one = tile.elect
    // CHECK: tile.mbarrier_wait
    tile.mbarrier_wait %full[%c0] parity(%c0) : !tile.barriers<2>
    // CHECK: tile.wgmma %{{.*}} row(%{{.*}}), %{{.*}} transposed
    %s = tile.wgmma %tile row(%c0), %tile transposed : !swz, !swz -> !acc
    // CHECK: tile.wgmma_wait 0
    %w = tile.wgmma_wait 0, %s : !acc
    %p = tile.to_lhs %w : !acc -> tensor<64x128xbf16, #tile.lhs>
    // CHECK: tile.wgmma %{{.*}}, %{{.*}}, %{{.*}} : tensor<64x128xf32, #tile.acc>
    %o = tile.wgmma %p, %tile, %w : !acc : tensor<64x128xbf16, #tile.lhs>, !swz -> !acc
    // CHECK: tile.mbarrier_arrive
    tile.mbarrier_arrive %full[%c0] if %one : !tile.barriers<2>
    // CHECK: tile.store_matrix
    tile.store_matrix %o, %tile row(%c0) : !acc, !swz
    // CHECK: tile.fence_async
    tile.fence_async
    // CHECK: tile.barrier id(%{{.*}}) threads(256) arrive
    tile.barrier id(%c1) threads(256) arrive
    // CHECK: tile.tma_store
    tile.tma_store %tile row(%c0) to %map[%c0, %c0, %c0] : !swz, !tile.tensor_map<128, 64, bf16>
    // CHECK: tile.tma_store_wait{{$}}
    tile.tma_store_wait
    // CHECK: tile.tma_store_wait pending(1) complete
    tile.tma_store_wait pending(1) complete
    tile.yield
  }
  tile.return
}

// CHECK-LABEL: tile.kernel @sums
tile.kernel @sums(%stats: !tile.global<1x8x2x1024xf32>, %sums: !tile.global<1x8x16x8192xf32>, %turns: !tile.global<128xi32>)
    attributes {block = array<i32: 128, 1, 1>, grid = array<i32: 1, 1, 1>} {
  %c0 = arith.constant 0 : i32
  %keys = tile.alloc : !swz
  %rows = tile.alloc : !tile.shared<2x64xf32, linear>
  %square = tile.alloc : !tile.shared<4096xf32, linear>
  %full = tile.alloc : !tile.barriers<2>
  %one = tile.elect
  // CHECK: tile.slice %{{.*}}[%{{.*}}] : <2x64xf32, linear> -> <64xf32, linear>
  %row = tile.slice %rows[%c0] : !tile.shared<2x64xf32, linear> -> !tile.shared<64xf32, linear>
  // CHECK: tile.bulk_load %{{.*}}[%{{.*}}, %{{.*}}, %{{.*}}, %{{.*}}] to %{{.*}} on %{{.*}}[%{{.*}}]
  tile.bulk_load %stats[%c0, %c0, %c0, %c0] to %row on %full[%c0]
    : !tile.global<1x8x2x1024xf32>, !tile.shared<64xf32, linear>, !tile.barriers<2>
  // CHECK: tile.mbarrier_arrive %{{.*}}[%{{.*}}] of %{{.*}} if %{{.*}} : <2>
  tile.mbarrier_arrive %full[%c0] of %c0 if %one : !tile.barriers<2>
  // CHECK: tile.cluster_barrier
  tile.cluster_barrier
  // CHECK: tile.panel %{{.*}}[%{{.*}}] : <128x128xbf16, swizzled> -> <128x64xbf16, swizzled>
  %panel = tile.panel %keys[%c0] : !swz -> !tile.shared<128x64xbf16, swizzled>
  // CHECK: tile.triangle %{{.*}} : tensor<64x64xi1, #tile.acc>
  %visible = tile.triangle %c0 : tensor<64x64xi1, #tile.acc>
  %zero = arith.constant dense<0.0> : tensor<64x64xf32, #tile.acc>
  %s = arith.select %visible, %zero, %zero : tensor<64x64xi1, #tile.acc>, tensor<64x64xf32, #tile.acc>
  %p = tile.to_lhs %s : tensor<64x64xf32, #tile.acc> -> tensor<64x64xbf16, #tile.lhs>
  // CHECK: tile.store_matrix %{{.*}}, %{{.*}} row(%{{.*}}) transposed : tensor<64x64xbf16, #tile.lhs>
  tile.store_matrix %p, %panel row(%c0) transposed : tensor<64x64xbf16, #tile.lhs>, !tile.shared<128x64xbf16, swizzled>
  // CHECK: tile.panel %{{.*}}[%{{.*}}] : <64x256xbf16, swizzled> -> <64x128xbf16, swizzled>
  %wide = tile.alloc : !tile.shared<64x256xbf16, swizzled>
  %half = tile.panel %wide[%c0] : !tile.shared<64x256xbf16, swizzled> -> !tile.shared<64x128xbf16, swizzled>
  // CHECK: tile.wgmma %{{.*}} row(%{{.*}}), %{{.*}} transposed rows(%{{.*}}) :
  %few = tile.wgmma %wide row(%c0), %wide transposed rows(%c0) : !tile.shared<64x256xbf16, swizzled>, !tile.shared<64x256xbf16, swizzled> -> tensor<64x32xf32, #tile.acc>
  // CHECK: tile.store_matrix %{{.*}}, %{{.*}} row(%{{.*}}) column(%{{.*}}) :
  tile.store_matrix %few, %half row(%c0) column(%c0) : tensor<64x32xf32, #tile.acc>, !tile.shared<64x128xbf16, swizzled>
  %pairs = tile.alloc : !tile.shared<64x64xbf16, swizzled>
  // CHECK: tile.wgmma %{{.*}} lhs_transposed, %{{.*}} : !tile.shared<64x64xbf16, swizzled>, <64x128xbf16, swizzled>
  %turned = tile.wgmma %pairs lhs_transposed, %half : !tile.shared<64x64xbf16, swizzled>, !tile.shared<64x128xbf16, swizzled> -> tensor<64x128xf32, #tile.acc>
  // CHECK: tile.wgmma %{{.*}} row(%{{.*}}), %{{.*}} : !tile.shared<64x80xbf16, swizzled64>, <80x96xbf16, swizzled64>
  %narrow = tile.alloc : !tile.shared<64x80xbf16, swizzled64>
  %values = tile.alloc : !tile.shared<80x96xbf16, swizzled64>
  %out = tile.wgmma %narrow row(%c0), %values : !tile.shared<64x80xbf16, swizzled64>, !tile.shared<80x96xbf16, swizzled64> -> tensor<64x96xf32, #tile.acc>
  // CHECK: tile.store_fragment
  tile.store_fragment %s, %square : tensor<64x64xf32, #tile.acc>, !tile.shared<4096xf32, linear>
  // CHECK: tile.store_fragment %{{.*}}, %{{.*}}[%{{.*}}, %{{.*}}, %{{.*}}, %{{.*}}] : tensor<64x64xf32, #tile.acc>, !tile.global<1x8x16x8192xf32>
  tile.store_fragment %s, %sums[%c0, %c0, %c0, %c0] : tensor<64x64xf32, #tile.acc>, !tile.global<1x8x16x8192xf32>
  // CHECK: tile.round %{{.*}} : tensor<64x64xf32, #tile.acc> -> tensor<64x64xi32, #tile.acc>
  %rounded = tile.round %s : tensor<64x64xf32, #tile.acc> -> tensor<64x64xi32, #tile.acc>
  // CHECK: tile.load_fragment %{{.*}}[%{{.*}}, %{{.*}}, %{{.*}}, %{{.*}}] : <1x8x16x8192xf32> -> tensor<64x64xf32, #tile.acc>
  %earlier = tile.load_fragment %sums[%c0, %c0, %c0, %c0] : !tile.global<1x8x16x8192xf32> -> tensor<64x64xf32, #tile.acc>
  // CHECK: tile.semaphore_wait %{{.*}}[%{{.*}}], %{{.*}} : <128xi32>
  tile.semaphore_wait %turns[%c0], %c0 : !tile.global<128xi32>
  // CHECK: tile.bulk_store add %{{.*}}, %{{.*}}[%{{.*}}, %{{.*}}, %{{.*}}, %{{.*}}] if %{{.*}}
  tile.bulk_store add %square, %sums[%c0, %c0, %c0, %c0] if %one : !tile.shared<4096xf32, linear>, !tile.global<1x8x16x8192xf32>
  // CHECK: tile.bulk_store %{{.*}}, %{{.*}}[
  tile.bulk_store %square, %sums[%c0, %c0, %c0, %c0] if %one : !tile.shared<4096xf32, linear>, !tile.global<1x8x16x8192xf32>
  // CHECK: tile.semaphore_post %{{.*}}, %{{.*}}[%{{.*}}] if %{{.*}} : <128xi32>
  tile.semaphore_post %c0, %turns[%c0] if %one : !tile.global<128xi32>
  tile.return
}
