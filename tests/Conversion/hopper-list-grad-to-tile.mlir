// Gradients over block lists: one kernel for the queries, one for keys and values; or one for all.
// RUN: fresnel-opt %s --split-input-file --fresnel-lower-to-tile | FileCheck %s

// Lists of blocks of queries. The queries' side walks keys and values in boxes of 64, and has its left operands in registers.
// The sum of a step stands behind the products of the next one.
// CHECK-LABEL: tile.kernel @attend_grad_q_1(
// CHECK-SAME: !tile.tensor_map<64, 64, bf16>, %{{.*}}: !tile.tensor_map<64, 64, bf16>, %{{.*}}: !tile.tensor_map<64, 64, bf16>
// CHECK: tile.warp_specialize
// CHECK: tile.tma_load {{.*}} evict_last
// CHECK: consumer(2) registers(240)
// CHECK: tile.load_rows
// CHECK-COUNT-2: tile.load_lhs
// CHECK: scf.for
// CHECK-COUNT-2: tile.wgmma {{.*}} transposed
// CHECK: tile.to_lhs
// CHECK: tile.wgmma
// CHECK: tile.to_lhs
// CHECK: scf.for
// CHECK-COUNT-2: tile.wgmma {{.*}} transposed
// CHECK: tile.wgmma
// CHECK: tile.wgmma_wait 2,
// CHECK: tile.to_lhs
// CHECK: tile.store_tile
// The keys' side counts its steps, bit by bit; then a warp walks them, and both consumers take the same.
// CHECK-LABEL: tile.kernel @attend_grad_kv_3(
// CHECK-SAME: %arg0: !tile.tensor_map<64, 64, bf16>, %arg1: !tile.tensor_map<64, 64, bf16>
// CHECK-SAME: %[[BITS:[^:]*]]: !tile.global<1x4x20x2xi32>
// CHECK: tile.mbarrier_init %{{.*}} arrivals(33)
// CHECK: tile.mbarrier_init %{{.*}} arrivals(256)
// CHECK: tile.load %[[BITS]]
// CHECK: math.ctpop
// CHECK: tile.atomic add
// CHECK: tile.warp_specialize producer registers(40)
// CHECK: tile.ballot
// CHECK: tile.shuffle index
// CHECK: tile.tma_load
// CHECK: consumer(2) registers(232)
// The scores of a step come before the sums of the one before, and the gradients of its weights behind them.
// CHECK: scf.for
// CHECK: tile.wgmma %{{.*}} row(
// CHECK-COUNT-2: tile.wgmma %
// CHECK: tile.load_cols
// CHECK: tile.wgmma %{{.*}} row(
// Every thread says that it has read what lies beside the step's queries.
// CHECK: tile.mbarrier_arrive %{{.*}} if %true
// CHECK: tile.tma_store
!q = tensor<1x4x5000x128xbf16>
!k = tensor<1x2x5000x128xbf16>
!l = tensor<1x4x5000xf32>
!b = tensor<1x4x40x3xi32>
fresnel.program @main(%q: !q, %k: !k, %l: !l, %g: !q, %b: !b) {
  %d = fresnel.attend_delta %q, %g : !q
  %a = fresnel.attend_grad_q %q, %k, %k lse %l delta %d dout %g blocks(%b : !b) {query_block = 128, key_block = 256} : !q, !k, !k, !l, !l, !q
  %c, %e = fresnel.attend_grad_kv %q, %k, %k lse %l delta %d dout %g blocks(%b : !b) {query_block = 128, key_block = 256} : !q, !k, !k, !l, !l, !q
  fresnel.return %a, %c, %e {names = ["dq", "dk", "dv"]} : !q, !k, !k
}

// -----

// Lists of tokens that 16 heads share: a step is 4 tokens of 16 heads, any that list the block, and each consumer walks
// its own block of 64 keys.
// CHECK-LABEL: tile.kernel @attend_grad_q_1(
// CHECK-SAME: min_blocks = 2 : i32
// CHECK: tile.copy_async {{.*}} {group = 16 : i32}
// CHECK: tile.warp_specialize
// Queries stay in shared memory, so that the sum of a step may run beside the next one.
// CHECK-COUNT-1: tile.load_lhs
// CHECK: tile.wgmma %{{.*}} row(
// CHECK: tile.wgmma_wait 2,
// CHECK: tile.store_tile
// CHECK-LABEL: tile.kernel @attend_grad_kv_3(
// CHECK-SAME: !tile.tensor_map<1, 64, bf16, heads = 16>
// CHECK: tile.alloc : !tile.shared<4x4xi32, linear>
// Rows of each walk, and those that need no mask.
// CHECK: tile.alloc : !tile.shared<4xi32, linear>
// CHECK: %[[WAITING:.*]] = tile.alloc : !tile.shared<2x1028xi32, linear>
// CHECK: tile.mbarrier_init %{{.*}} arrivals(128)
// CHECK-COUNT-2: tile.atomic add
// The rows of a window wait, and are taken four at a time, each by copies of its own.
// CHECK: tile.warp_specialize
// CHECK: %[[MINE:.*]] = tile.slice %[[WAITING]]
// CHECK: tile.ballot
// CHECK: tile.store %{{.*}}, %[[MINE]]
// CHECK: tile.barrier
// CHECK-COUNT-4: tile.tma_load %arg0
// CHECK: tile.barrier
// CHECK: tile.store %{{.*}}, %[[MINE]]
// CHECK: consumer(2)
// Steps without a mask, and those with one: four tokens.
// CHECK: scf.for
// CHECK-NOT: tile.lookup
// CHECK: tile.mbarrier_arrive %{{.*}} if %true
// CHECK: scf.for
// CHECK: tile.lookup
// CHECK: tile.mbarrier_arrive %{{.*}} if %true
!q = tensor<1x32x1000x128xbf16>
!k = tensor<1x2x1000x128xbf16>
!l = tensor<1x32x1000xf32>
!b = tensor<1x2x1000x5xi32>
fresnel.program @main(%q: !q, %k: !k, %l: !l, %g: !q, %b: !b) {
  %d = fresnel.attend_delta %q, %g : !q
  %a = fresnel.attend_grad_q %q, %k, %k lse %l delta %d dout %g blocks(%b : !b) {key_block = 64, causal = true} : !q, !k, !k, !l, !l, !q
  %c, %e = fresnel.attend_grad_kv %q, %k, %k lse %l delta %d dout %g blocks(%b : !b) {key_block = 64, causal = true} : !q, !k, !k, !l, !l, !q
  fresnel.return %a, %c, %e {names = ["dq", "dk", "dv"]} : !q, !k, !k
}

// -----

// A block that so many rows list that its walk may be cut: further blocks of threads, the counts of rows that say who
// takes which piece, and sums that the pieces hand on in turns.
// CHECK-LABEL: tile.kernel @count_rows_3(
// CHECK: math.ctpop
// CHECK-COUNT-5: tile.shuffle xor
// CHECK-LABEL: tile.kernel @attend_grad_kv_4(
// CHECK-SAME: %[[COUNTS:[^:]*]]: !tile.global<1x2x4xi32>
// CHECK-SAME: %[[SUMS:[^:]*]]: !tile.global<16x1x2x8192xf32>, %[[TURNS:[^:]*]]: !tile.global<16x1xi32>
// CHECK-SAME: fresnel.counters = 16 : i64
// CHECK-SAME: fresnel.scratch = 262144 : i64
// 8 further ones, of two walks, for each head beside its 2.
// CHECK-SAME: grid = array<i32: 20, 1, 1>
// CHECK: tile.load %[[COUNTS]]
// CHECK-COUNT-10: tile.shuffle up
// CHECK: consumer(2)
// CHECK: tile.semaphore_wait %[[TURNS]]
// CHECK-COUNT-2: tile.load_fragment %[[SUMS]]
// CHECK-COUNT-2: tile.store_fragment %{{.*}}, %[[SUMS]]
// CHECK: tile.semaphore_post %{{.*}}, %[[TURNS]]
!q = tensor<1x128x4096x128xbf16>
!k = tensor<1x2x250x128xbf16>
!l = tensor<1x128x4096xf32>
!b = tensor<1x2x4096x4xi32>
fresnel.program @main(%q: !q, %k: !k, %l: !l, %g: !q, %b: !b) {
  %d = fresnel.attend_delta %q, %g : !q
  %a = fresnel.attend_grad_q %q, %k, %k lse %l delta %d dout %g blocks(%b : !b) {key_block = 64} : !q, !k, !k, !l, !l, !q
  %c, %e = fresnel.attend_grad_kv %q, %k, %k lse %l delta %d dout %g blocks(%b : !b) {key_block = 64} : !q, !k, !k, !l, !l, !q
  fresnel.return %a, %c, %e {names = ["dq", "dk", "dv"]} : !q, !k, !k
}

// -----

// There is room for the sums of 16 blocks of a key head, however many may be listed often.
// CHECK-LABEL: tile.kernel @attend_grad_kv_4(
// CHECK-SAME: !tile.global<32x1x2x8192xf32>
// CHECK-SAME: fresnel.scratch = 524288 : i64
!q = tensor<1x32x16384x128xbf16>
!k = tensor<1x2x16384x128xbf16>
!l = tensor<1x32x16384xf32>
!b = tensor<1x2x16384x64xi32>
fresnel.program @main(%q: !q, %k: !k, %l: !l, %g: !q, %b: !b) {
  %d = fresnel.attend_delta %q, %g : !q
  %a = fresnel.attend_grad_q %q, %k, %k lse %l delta %d dout %g blocks(%b : !b) {key_block = 64} : !q, !k, !k, !l, !l, !q
  %c, %e = fresnel.attend_grad_kv %q, %k, %k lse %l delta %d dout %g blocks(%b : !b) {key_block = 64} : !q, !k, !k, !l, !l, !q
  fresnel.return %a, %c, %e {names = ["dq", "dk", "dv"]} : !q, !k, !k
}

// -----

// Blocks of 32 keys: two in a step of the queries, each with rows that list it; two in a walk of 64 keys, with an LSE for
// each block beside every step, of which a warp reads that of its own keys.
// CHECK-LABEL: tile.kernel @attend_grad_q_1(
// CHECK-SAME: !tile.tensor_map<32, 64, bf16>, %{{.*}}: !tile.tensor_map<32, 64, bf16>
// CHECK: tile.warp_specialize
// CHECK: tile.tma_load %{{.*}} row(%c0_i32)
// CHECK: tile.tma_load %{{.*}} row(%c32_i32)
// CHECK: consumer(1)
// CHECK-COUNT-2: tile.lookup
// CHECK-LABEL: tile.kernel @attend_grad_kv_3(
// CHECK-SAME: %[[BITS:[^:]*]]: !tile.global<1x2x32x32xi32>
// CHECK: tile.alloc : !tile.shared<8x64xf32, linear>
// CHECK-COUNT-2: tile.load %[[BITS]]
// CHECK: arith.ori
// CHECK: math.ctpop
// CHECK: consumer(2)
!q = tensor<1x32x1000x128xbf16>
!k = tensor<1x2x1000x128xbf16>
!l = tensor<1x32x1000xf32>
!b = tensor<1x2x1000x5xi32>
fresnel.program @main(%q: !q, %k: !k, %l: !l, %g: !q, %b: !b) {
  %d = fresnel.attend_delta %q, %g : !q
  %a = fresnel.attend_grad_q %q, %k, %k lse %l delta %d dout %g blocks(%b : !b) {key_block = 32, causal = true} : !q, !k, !k, !l, !l, !q
  %c, %e = fresnel.attend_grad_kv %q, %k, %k lse %l delta %d dout %g blocks(%b : !b) {key_block = 32, causal = true} : !q, !k, !k, !l, !l, !q
  fresnel.return %a, %c, %e {names = ["dq", "dk", "dv"]} : !q, !k, !k
}

// -----

// Wide heads: 64 keys, whose gradient one consumer sums, and the other that of the values; they meet before they store in
// the places of keys and values.
// CHECK-LABEL: tile.kernel @attend_grad_kv_3(
// CHECK-SAME: grid = array<i32: 32, 1, 1>
// CHECK: tile.alloc : !tile.shared<2x64x256xbf16, swizzled>
// CHECK: consumer(2) registers(232)
// CHECK: scf.if
// CHECK-COUNT-2: tile.wgmma %{{.*}} row(
// CHECK: tile.load_cols
// CHECK: tile.wgmma %{{.*}} -> tensor<64x256xf32
// CHECK: } else {
// CHECK: tile.wgmma %{{.*}} row(
// CHECK: tile.wgmma %{{.*}} -> tensor<64x256xf32
// CHECK: tile.barrier {{.*}} threads(256)
// CHECK: tile.store_matrix
// CHECK-COUNT-2: tile.tma_store
!q = tensor<1x32x1000x256xbf16>
!k = tensor<1x2x1000x256xbf16>
!l = tensor<1x32x1000xf32>
!b = tensor<1x2x1000x5xi32>
fresnel.program @main(%q: !q, %k: !k, %l: !l, %g: !q, %b: !b) {
  %d = fresnel.attend_delta %q, %g : !q
  %a = fresnel.attend_grad_q %q, %k, %k lse %l delta %d dout %g blocks(%b : !b) {key_block = 64} : !q, !k, !k, !l, !l, !q
  %c, %e = fresnel.attend_grad_kv %q, %k, %k lse %l delta %d dout %g blocks(%b : !b) {key_block = 64} : !q, !k, !k, !l, !l, !q
  fresnel.return %a, %c, %e {names = ["dq", "dk", "dv"]} : !q, !k, !k
}

// -----

// In one pass the blocks add in the order of their keys. The turn at a tile counts the row's entries.
// CHECK-LABEL: tile.kernel @attend_grad_2(
// CHECK-SAME: %[[LISTS:[^:]*]]: !tile.global<1x2x16x3xi32, strided>
// CHECK: tile.warp_specialize
// CHECK: tile.load %[[LISTS]]
// CHECK-COUNT-15: tile.shuffle xor
// CHECK: tile.semaphore_wait
// CHECK: tile.semaphore_post
// CHECK: tile.wgmma {{.*}} lhs_transposed
!q = tensor<1x2x1000x192xbf16>
!l = tensor<1x2x1000xf32>
!b = tensor<1x2x16x3xi32>
fresnel.program @main(%q: !q, %l: !l, %g: !q, %b: !b) {
  %s = fresnel.attend_stats %q, %g of %l : !q, !l
  %t = fresnel.transpose_blocks %b {blocks = 16} : !b
  %a, %c, %e = fresnel.attend_grad %q, %q, %q stats %s dout %g mask(%b, %t : !b, tensor<1x2x16x1xi32>) {query_block = 64, key_block = 64}
      : !q, !q, !q, tensor<1x2x2x1024xf32>, !q
  %r = fresnel.round_tiles %a {seq_len = 1000, head_dim = 192, scale = 1.0, element = bf16} : tensor<1x2x16x12288xf32>
  fresnel.return %r, %c, %e {names = ["dq", "dk", "dv"]} : !q, !q, !q
}
