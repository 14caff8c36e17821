// One negative test per numbered constraint of the tile dialect.
// RUN: fresnel-opt %s --split-input-file --verify-diagnostics

// expected-error @+1 {{'tile.kernel' op `block` must have three positive entries, but got [64, 1]}}
tile.kernel @kernel_c1() attributes {block = array<i32: 64, 1>, grid = array<i32: 1, 1, 1>} {
  tile.return
}

// -----

// expected-error @+1 {{'tile.kernel' op `fresnel.cluster` must be in [1, 8] and divide the grid's 3 blocks in x, but is 2}}
tile.kernel @kernel_c3() attributes {block = array<i32: 32, 1, 1>, grid = array<i32: 3, 1, 1>, fresnel.cluster = 2 : i32} {
  tile.return
}

// -----

// expected-error @+1 {{'tile.kernel' op `block` must hold a multiple of 32 and at most 1024 threads, but got 33}}
tile.kernel @kernel_c2() attributes {block = array<i32: 33, 1, 1>, grid = array<i32: 1, 1, 1>} {
  tile.return
}

// -----

tile.kernel @warp_specialize_c1() attributes {block = array<i32: 384, 1, 1>, grid = array<i32: 1, 1, 1>} {
  // expected-error @+1 {{register counts must be multiples of 8 in [24, 240], but got 20}}
  tile.warp_specialize producer registers(20) {
    tile.yield
  } consumer(2) registers(240) {
    tile.yield
  }
  tile.return
}

// -----

tile.kernel @warp_specialize_c2() attributes {block = array<i32: 384, 1, 1>, grid = array<i32: 1, 1, 1>} {
  // expected-error @+1 {{the roles need 520 registers per four lanes, but a block of 3 warpgroups has 504}}
  tile.warp_specialize producer registers(40) {
    tile.yield
  } consumer(2) registers(240) {
    tile.yield
  }
  tile.return
}

// -----

tile.kernel @warp_specialize_c3() attributes {block = array<i32: 256, 1, 1>, grid = array<i32: 1, 1, 1>} {
  // expected-error @+1 {{2 consumers and a producer need a block of 384 threads, but it has 256}}
  tile.warp_specialize producer registers(24) {
    tile.yield
  } consumer(2) registers(240) {
    tile.yield
  }
  tile.return
}

// -----

func.func @barrier_c1() {
  %c16 = arith.constant 16 : i32
  // expected-error @+1 {{`id` must be in [1, 15], but got 16}}
  tile.barrier id(%c16) threads(128)
  return
}

// -----

func.func @barrier_c2() {
  %c1 = arith.constant 1 : i32
  // expected-error @+1 {{`threads` must be a positive multiple of 32, but got 100}}
  tile.barrier id(%c1) threads(100)
  return
}

// -----

func.func @load_c1(%x: !tile.global<8x8xf32>, %i: i32) {
  // expected-error @+1 {{needs 2 indices, but got 1}}
  %0 = tile.load %x[%i] : !tile.global<8x8xf32> -> f32
  return
}

// -----

func.func @load_c2(%x: !tile.global<8xf32>, %i: i32) {
  // expected-error @+1 {{the view holds 'f32', but the value is 'bf16'}}
  %0 = tile.load %x[%i] : !tile.global<8xf32> -> bf16
  return
}

// -----

func.func @store_c1(%x: !tile.global<8x8xf32>, %v: f32) {
  // expected-error @+1 {{needs 2 indices, but got 0}}
  tile.store %v, %x[] : f32, !tile.global<8x8xf32>
  return
}

// -----

func.func @store_c2(%x: !tile.global<8xf32>, %v: i32) {
  // expected-error @+1 {{the view holds 'f32', but the value is 'i32'}}
  tile.store %v, %x[%v] : i32, !tile.global<8xf32>
  return
}

// -----

func.func @copy_async_c1(%x: !tile.global<1x1x8x64xbf16>, %t: !tile.shared<8x128xbf16, padded>, %i: i32) {
  // expected-error @+1 {{cannot copy rows of}}
  tile.copy_async %x[%i, %i, %i] to %t : !tile.global<1x1x8x64xbf16>, !tile.shared<8x128xbf16, padded>
  return
}

// -----

func.func @copy_async_c2(%x: !tile.global<1x1x8x4xbf16>, %t: !tile.shared<8x4xbf16, linear>, %i: i32) {
  // expected-error @+1 {{rows must be a multiple of 16 bytes, but have 8}}
  tile.copy_async %x[%i, %i, %i] to %t : !tile.global<1x1x8x4xbf16>, !tile.shared<8x4xbf16, linear>
  return
}

// -----

func.func @to_lhs_c1(%x: tensor<64x24xf32, #tile.acc>) {
  // expected-error @+1 {{shapes must agree with a multiple of 16 columns}}
  %0 = tile.to_lhs %x : tensor<64x24xf32, #tile.acc> -> tensor<64x24xbf16, #tile.lhs>
  return
}

// -----

func.func @to_lhs_c2(%x: tensor<64x32xf32, #tile.acc>) {
  // expected-error @+1 {{converts f32 to bf16 or f16, but got 'f32' and 'f32'}}
  %0 = tile.to_lhs %x : tensor<64x32xf32, #tile.acc> -> tensor<64x32xf32, #tile.lhs>
  return
}

// -----

func.func @load_lhs_c1(%x: !tile.shared<64x128xbf16, padded>) {
  // expected-error @+1 {{at column 96 of}}
  %0 = tile.load_lhs %x {column = 96 : i32} : !tile.shared<64x128xbf16, padded> -> tensor<64x64xbf16, #tile.lhs>
  return
}

// -----

func.func @mma_c1(%a: tensor<64x64xbf16, #tile.lhs>, %b: !tile.shared<32x64xbf16, padded>, %c: tensor<64x64xf32, #tile.acc>) {
  // expected-error @+1 {{shapes do not fit}}
  %0 = tile.mma %a, %b, %c : tensor<64x64xbf16, #tile.lhs>, !tile.shared<32x64xbf16, padded>, tensor<64x64xf32, #tile.acc>
  return
}

// -----

func.func @mma_c2(%a: tensor<64x64xbf16, #tile.lhs>, %b: !tile.shared<64x8xbf16, padded>, %c: tensor<64x8xf32, #tile.acc>) {
  // expected-error @+1 {{N and K must be multiples of 16, but got N = 8 and K = 64}}
  %0 = tile.mma %a, %b, %c : tensor<64x64xbf16, #tile.lhs>, !tile.shared<64x8xbf16, padded>, tensor<64x8xf32, #tile.acc>
  return
}

// -----

func.func @mma_c3(%a: tensor<64x64xbf16, #tile.lhs>, %b: !tile.shared<64x64xf16, padded>, %c: tensor<64x64xf32, #tile.acc>) {
  // expected-error @+1 {{operands must both be bf16 or f16 and the accumulator f32}}
  %0 = tile.mma %a, %b, %c : tensor<64x64xbf16, #tile.lhs>, !tile.shared<64x64xf16, padded>, tensor<64x64xf32, #tile.acc>
  return
}

// -----

func.func @store_tile_c1(%a: tensor<64x64xf32, #tile.acc>, %o: !tile.global<1x1x64x32xbf16>, %i: i32) {
  // expected-error @+1 {{cannot store}}
  tile.store_tile %a, %o[%i, %i, %i] : tensor<64x64xf32, #tile.acc>, !tile.global<1x1x64x32xbf16>
  return
}

// -----

func.func @store_shared_c1(%a: tensor<64x32xf32, #tile.acc>, %o: !tile.shared<64x32xf32, linear>) {
  // expected-error @+1 {{cannot store 'tensor<64x32xf32, #tile.acc>' transposed to '!tile.shared<64x32xf32, linear>'}}
  tile.store_shared %a, %o transposed : tensor<64x32xf32, #tile.acc>, !tile.shared<64x32xf32, linear>
  return
}

// -----

func.func @store_rows_c1(%a: tensor<64xf32, #tile.rows>, %o: !tile.global<1x1x64xbf16>, %i: i32) {
  // expected-error @+1 {{cannot store}}
  tile.store_rows %a, %o[%i, %i, %i] : tensor<64xf32, #tile.rows>, !tile.global<1x1x64xbf16>
  return
}

// -----

func.func @load_rows_c1(%o: !tile.global<1x1x64xbf16>, %i: i32) {
  // expected-error @+1 {{cannot load}}
  %0 = tile.load_rows %o[%i, %i, %i] outside(0.0) : !tile.global<1x1x64xbf16> -> tensor<64xf32, #tile.rows>
  return
}

// -----

func.func @load_cols_c1(%o: !tile.shared<2x64xf32, linear>, %i: i32) {
  // expected-error @+1 {{with 1 indices}}
  %0 = tile.load_cols %o[%i] outside(0.0) : !tile.shared<2x64xf32, linear> -> tensor<64x32xf32, #tile.acc>
  return
}

// -----

func.func @wgmma_c1(%a: tensor<128x64xbf16, #tile.lhs>, %b: !tile.shared<64x64xbf16, swizzled>) {
  // expected-error @+1 {{shapes do not fit}}
  %0 = tile.wgmma %a, %b : tensor<128x64xbf16, #tile.lhs>, !tile.shared<64x64xbf16, swizzled> -> tensor<128x64xf32, #tile.acc>
  return
}

// -----

func.func @wgmma_c2(%a: tensor<64x64xbf16, #tile.lhs>, %b: !tile.shared<64x64xbf16, padded>) {
  // expected-error @+1 {{shared operands must be swizzled 16-bit tiles}}
  %0 = tile.wgmma %a, %b : tensor<64x64xbf16, #tile.lhs>, !tile.shared<64x64xbf16, padded> -> tensor<64x64xf32, #tile.acc>
  return
}

// -----

func.func @wgmma_c2_panels(%a: !tile.shared<64x64xbf16, swizzled64>, %b: !tile.shared<64x64xbf16, swizzled>) {
  // expected-error @+1 {{shared operands must be swizzled 16-bit tiles, with panels of 64 columns if transposed on the left, but got}}
  %0 = tile.wgmma %a lhs_transposed, %b : !tile.shared<64x64xbf16, swizzled64>, !tile.shared<64x64xbf16, swizzled> -> tensor<64x64xf32, #tile.acc>
  return
}

// -----

func.func @wgmma_c3(%a: !tile.shared<64x64xbf16, swizzled>) {
  // expected-error @+1 {{`row` accompanies a shared left operand that is not transposed, and only that}}
  %0 = tile.wgmma %a, %a : !tile.shared<64x64xbf16, swizzled>, !tile.shared<64x64xbf16, swizzled> -> tensor<64x64xf32, #tile.acc>
  return
}

// -----

func.func @tma_load_c1(%m: !tile.tensor_map<64, 64, bf16>, %t: !tile.shared<128x64xbf16, swizzled>, %b: !tile.barriers<1>, %i: i32) {
  // expected-error @+1 {{the boxes of}}
  tile.tma_load %m[%i, %i, %i] to %t on %b[%i] : !tile.tensor_map<64, 64, bf16>, !tile.shared<128x64xbf16, swizzled>, !tile.barriers<1>
  return
}

// -----

func.func @tma_load_c1_row(%m: !tile.tensor_map<48, 64, bf16>, %t: !tile.shared<128x64xbf16, swizzled>, %b: !tile.barriers<1>, %i: i32) {
  // expected-error @+1 {{the boxes of}}
  tile.tma_load %m[%i, %i, %i] to %t row(%i) on %b[%i] : !tile.tensor_map<48, 64, bf16>, !tile.shared<128x64xbf16, swizzled>, !tile.barriers<1>
  return
}

// -----

func.func @tma_load_c1_heads(%m: !tile.tensor_map<4, 64, bf16, heads = 8>, %t: !tile.shared<64x64xbf16, swizzled>, %b: !tile.barriers<1>, %i: i32) {
  // expected-error @+1 {{the boxes of}}
  tile.tma_load %m[%i, %i, %i] to %t on %b[%i] : !tile.tensor_map<4, 64, bf16, heads = 8>, !tile.shared<64x64xbf16, swizzled>, !tile.barriers<1>
  return
}

// -----

func.func @tma_load_c1_panels(%m: !tile.tensor_map<64, 64, bf16>, %t: !tile.shared<64x96xbf16, swizzled64>, %b: !tile.barriers<1>, %i: i32) {
  // expected-error @+1 {{the boxes of '!tile.tensor_map<64, 64, bf16>' do not fill '!tile.shared<64x96xbf16, swizzled64>'}}
  tile.tma_load %m[%i, %i, %i] to %t on %b[%i] : !tile.tensor_map<64, 64, bf16>, !tile.shared<64x96xbf16, swizzled64>, !tile.barriers<1>
  return
}

// -----

func.func @tma_store_c1(%m: !tile.tensor_map<64, 64, bf16>, %t: !tile.shared<64x96xbf16, swizzled64>, %i: i32) {
  // expected-error @+1 {{the boxes of '!tile.tensor_map<64, 64, bf16>' are not as wide as the panels of '!tile.shared<64x96xbf16, swizzled64>'}}
  tile.tma_store %t row(%i) to %m[%i, %i, %i] : !tile.shared<64x96xbf16, swizzled64>, !tile.tensor_map<64, 64, bf16>
  return
}

// -----

func.func @tma_load_c2(%m: !tile.tensor_map<64, 64, bf16>, %t: !tile.shared<64x64xbf16, swizzled>, %b: !tile.barriers<1>, %i: i32) {
  // expected-error @+1 {{cannot both keep lines and give them up first}}
  tile.tma_load %m[%i, %i, %i] to %t on %b[%i] evict_last evict_first : !tile.tensor_map<64, 64, bf16>, !tile.shared<64x64xbf16, swizzled>, !tile.barriers<1>
  return
}

// -----

func.func @copy_async_c3(%q: !tile.global<1x8x64x64xbf16>, %t: !tile.shared<64x64xbf16, padded>, %i: i32) {
  // expected-error @+1 {{needs positive `group` and `block`, and a list that is a linear array of i32, without a `group`}}
  tile.copy_async %q[%i, %i, %i] to %t {group = 0 : i32} : !tile.global<1x8x64x64xbf16>, !tile.shared<64x64xbf16, padded>
  return
}

// -----

func.func @copy_async_c3_list(%q: !tile.global<1x8x64x64xbf16>, %t: !tile.shared<64x64xbf16, padded>, %l: !tile.shared<9xi32, linear>, %i: i32) {
  // expected-error @+1 {{without a `group`}}
  tile.copy_async %q[%i, %i, %i] of(%l : !tile.shared<9xi32, linear>) to %t {group = 2 : i32} : !tile.global<1x8x64x64xbf16>, !tile.shared<64x64xbf16, padded>
  return
}

// -----

func.func @lookup_c1(%l: !tile.shared<9xi32, linear>, %e: tensor<64x64xi32, #tile.acc>) {
  // expected-error @+1 {{cannot look}}
  %0 = tile.lookup %l[] [%e] outside(0.0 : f32) : !tile.shared<9xi32, linear>, tensor<64x64xi32, #tile.acc> -> tensor<64x64xf32, #tile.acc>
  return
}

// -----

func.func @lookup_c2(%l: !tile.global<1x8x64xf32>, %e: tensor<64x64xi32, #tile.acc>, %i: i32) {
  // expected-error @+1 {{needs 2 indices beside the elements, and a tensor or a linear array, but got 1}}
  %0 = tile.lookup %l[%i] [%e] outside(0.0 : f32) : !tile.global<1x8x64xf32>, tensor<64x64xi32, #tile.acc> -> tensor<64x64xf32, #tile.acc>
  return
}

// -----

func.func @load_rows_c1_group(%o: !tile.global<1x1x64xf32>, %i: i32) {
  // expected-error @+1 {{in groups of 0}}
  %0 = tile.load_rows %o[%i, %i, %i] outside(0.0) {group = 0 : i32} : !tile.global<1x1x64xf32> -> tensor<64xf32, #tile.rows>
  return
}

// -----

func.func @store_rows_c1_group(%o: !tile.global<1x1x64xf32>, %r: tensor<64xf32, #tile.rows>, %i: i32) {
  // expected-error @+1 {{in groups of -1}}
  tile.store_rows %r, %o[%i, %i, %i] {group = -1 : i32} : tensor<64xf32, #tile.rows>, !tile.global<1x1x64xf32>
  return
}

// -----

func.func @store_tile_c1_group(%o: !tile.global<1x1x64x64xbf16>, %r: tensor<64x64xf32, #tile.acc>, %i: i32) {
  // expected-error @+1 {{in groups of 0}}
  tile.store_tile %r, %o[%i, %i, %i] {group = 0 : i32} : tensor<64x64xf32, #tile.acc>, !tile.global<1x1x64x64xbf16>
  return
}

// -----

// expected-error @+1 {{a padded tile needs rows of a multiple of 16 bytes, but got 6}}
func.func private @shared_rows(!tile.shared<4x3xbf16, padded>)

// -----

// expected-error @+1 {{a swizzled tile needs a multiple of 8 rows, but got 4}}
func.func private @shared_swizzle(!tile.shared<4x32xbf16, swizzled>)

// -----

// expected-error @+1 {{a swizzled64 tile needs a multiple of 8 rows, but got 4}}
func.func private @shared_swizzle64(!tile.shared<4x32xbf16, swizzled64>)

// -----

func.func @bulk_load_c1(%src: !tile.global<1x8x64xf32>, %bars: !tile.barriers<1>) {
  %c0 = arith.constant 0 : i32
  %row = tile.alloc : !tile.shared<6xf32, linear>
  // expected-error @+1 {{(a linear array, a multiple of 16 bytes, one index per dimension)}}
  tile.bulk_load %src[%c0, %c0, %c0] to %row on %bars[%c0] : !tile.global<1x8x64xf32>, !tile.shared<6xf32, linear>, !tile.barriers<1>
  return
}

// -----

func.func @bulk_store_c1(%dst: !tile.global<1x8x64xf32>, %p: i1) {
  %c0 = arith.constant 0 : i32
  %row = tile.alloc : !tile.shared<8xf32, linear>
  // expected-error @+1 {{at 2 indices}}
  tile.bulk_store %row, %dst[%c0, %c0] if %p : !tile.shared<8xf32, linear>, !tile.global<1x8x64xf32>
  return
}

// -----

func.func @bulk_store_c2(%dst: !tile.global<64xbf16>, %p: i1) {
  %c0 = arith.constant 0 : i32
  %row = tile.alloc : !tile.shared<8xbf16, linear>
  // expected-error @+1 {{`add` takes f32 or i32, but got 'bf16'}}
  tile.bulk_store add %row, %dst[%c0] if %p : !tile.shared<8xbf16, linear>, !tile.global<64xbf16>
  return
}

// -----

func.func @store_matrix_c1(%s: tensor<64x64xf32, #tile.acc>) {
  %c0 = arith.constant 0 : i32
  %tile = tile.alloc : !tile.shared<32x64xbf16, swizzled>
  // expected-error @+1 {{cannot write 'tensor<64x64xf32, #tile.acc>' transposed to '!tile.shared<32x64xbf16, swizzled>'}}
  tile.store_matrix %s, %tile row(%c0) transposed : tensor<64x64xf32, #tile.acc>, !tile.shared<32x64xbf16, swizzled>
  return
}

// -----

func.func @store_matrix_c1_panels(%s: tensor<64x64xf32, #tile.acc>) {
  %c0 = arith.constant 0 : i32
  %tile = tile.alloc : !tile.shared<64x64xbf16, swizzled64>
  // expected-error @+1 {{cannot write 'tensor<64x64xf32, #tile.acc>' transposed to '!tile.shared<64x64xbf16, swizzled64>'}}
  tile.store_matrix %s, %tile row(%c0) transposed : tensor<64x64xf32, #tile.acc>, !tile.shared<64x64xbf16, swizzled64>
  return
}

// -----

func.func @store_matrix_c2(%s: tensor<64x64xf16, #tile.lhs>) {
  %c0 = arith.constant 0 : i32
  %tile = tile.alloc : !tile.shared<64x64xbf16, swizzled>
  // expected-error @+1 {{takes an f32 accumulator or a left operand of the tile's element type}}
  tile.store_matrix %s, %tile row(%c0) : tensor<64x64xf16, #tile.lhs>, !tile.shared<64x64xbf16, swizzled>
  return
}

// -----

func.func @panel_c1() {
  %c0 = arith.constant 0 : i32
  %tile = tile.alloc : !tile.shared<64x128xbf16, padded>
  // expected-error @+1 {{needs a swizzled 16-bit tile and gives its rows and a multiple of 64 columns}}
  %p = tile.panel %tile[%c0] : !tile.shared<64x128xbf16, padded> -> !tile.shared<64x64xbf16, padded>
  return
}

// -----

func.func @store_fragment_c1(%s: tensor<64x64xf32, #tile.acc>) {
  %square = tile.alloc : !tile.shared<2048xf32, linear>
  // expected-error @+1 {{(64 rows; a linear array of as many elements)}}
  tile.store_fragment %s, %square : tensor<64x64xf32, #tile.acc>, !tile.shared<2048xf32, linear>
  return
}

// -----

func.func @store_fragment_c2(%s: tensor<64x64xf32, #tile.acc>, %sums: !tile.global<8x6000xf32>) {
  %c0 = arith.constant 0 : i32
  // expected-error @+1 {{with 2 indices (64 rows; a multiple of as many elements in the innermost dimension)}}
  tile.store_fragment %s, %sums[%c0, %c0] : tensor<64x64xf32, #tile.acc>, !tile.global<8x6000xf32>
  return
}

// -----

func.func @store_fragment_c2_indices(%s: tensor<64x64xf32, #tile.acc>) {
  %c0 = arith.constant 0 : i32
  %square = tile.alloc : !tile.shared<4096xf32, linear>
  // expected-error @+1 {{takes no indices of a shared array, but got 1}}
  tile.store_fragment %s, %square[%c0] : tensor<64x64xf32, #tile.acc>, !tile.shared<4096xf32, linear>
  return
}

// -----

func.func @round_c1(%s: tensor<64x64xf32, #tile.acc>) {
  // expected-error @+1 {{rounds f32 to i32 of the same shape}}
  %n = tile.round %s : tensor<64x64xf32, #tile.acc> -> tensor<64x32xi32, #tile.acc>
  return
}

// -----

func.func @load_fragment_c1(%sums: !tile.global<8x8192xf32>) {
  %c0 = arith.constant 0 : i32
  // expected-error @+1 {{with 1 indices (64 rows; a multiple of as many elements in the innermost dimension)}}
  %s = tile.load_fragment %sums[%c0] : !tile.global<8x8192xf32> -> tensor<64x128xf32, #tile.acc>
  return
}

// -----

func.func @wgmma_c4(%l: tensor<64x64xbf16, #tile.lhs>) {
  %c8 = arith.constant 8 : i32
  %tile = tile.alloc : !tile.shared<128x64xbf16, swizzled>
  // expected-error @+1 {{`rows` must be a multiple of 16, but is 8}}
  %s = tile.wgmma %l, %tile rows(%c8) : tensor<64x64xbf16, #tile.lhs>, !tile.shared<128x64xbf16, swizzled> -> tensor<64x64xf32, #tile.acc>
  return
}

// -----

func.func @columns_c1(%s: tensor<64x64xf32, #tile.acc>) {
  // expected-error @+1 {{cannot take 'tensor<64x32xf32, #tile.acc>' from column 36 of 'tensor<64x64xf32, #tile.acc>' (multiples of 8, inside)}}
  %c = tile.columns %s from 36 : tensor<64x64xf32, #tile.acc> -> tensor<64x32xf32, #tile.acc>
  return
}

// -----

func.func @anchor_c1(%r: tensor<64xf32, #tile.rows>, %s: !tile.shared<128xf32, linear>) {
  // expected-error @+1 {{needs 64 rows of f32 and a linear array of 256 f32, but got 'tensor<64xf32, #tile.rows>' and '!tile.shared<128xf32, linear>'}}
  tile.anchor %r, %s : tensor<64xf32, #tile.rows>, !tile.shared<128xf32, linear>
  return
}

// -----

func.func @table_c1() {
  // expected-error @+1 {{needs a result of i32 and rank 2, not strided, of 3 elements, but got '!tile.global<2x2xi32>'}}
  %t = tile.table [1, 2, 3] : !tile.global<2x2xi32>
  return
}
