// RUN: fresnel-opt %s --split-input-file --fresnel-lower-to-tile=target=sm_80 | FileCheck %s

// A window of 64 rows is read by eight groups of 16 threads, eight rows each; their sums meet in shared memory.
// CHECK-LABEL: tile.kernel @pool_0
// CHECK-SAME: block = array<i32: 256, 1, 1>
// CHECK-SAME: grid = array<i32: 64, 1, 1>
// CHECK: scf.for
// CHECK-COUNT-8: tile.load %{{.*}} -> vector<8xbf16>
// CHECK: tile.store %{{.*}} : vector<8xf32>, !tile.shared<17x128xf32, linear>
// CHECK: tile.barrier
// CHECK-COUNT-7: tile.load %{{.*}} !tile.shared<17x128xf32, linear> -> vector<8xf32>
// CHECK: tile.store %{{.*}} : vector<8xbf16>
// Scores leave through shared memory; few rows share out their keys.
// CHECK-LABEL: tile.kernel @block_score_1
// CHECK-SAME: block = array<i32: 128, 1, 1>
// CHECK-SAME: grid = array<i32: 64, 2, 1>
// CHECK: tile.mma %{{.*}} transposed
// CHECK: tile.store_shared
// CHECK: tile.load %{{.*}} !tile.shared<64x64xf32, padded> -> vector<4xf32>
// A warp per row: the lanes' largest scores are sorted, what the 16th of them lets through is ranked. Should that be more than
// lanes, the row goes past a list of one entry per lane.
// CHECK-LABEL: tile.kernel @select_blocks_2
// CHECK-SAME: grid = array<i32: 512, 2, 1>
// CHECK: arith.minsi
// CHECK-COUNT-4: tile.load
// Between the sinks' chunk and that of the last blocks scores are read as they are.
// CHECK: scf.for
// CHECK-NOT: arith.minsi
// CHECK-COUNT-4: tile.load
// CHECK: scf.for
// CHECK: arith.minsi
// CHECK-COUNT-4: tile.load
// CHECK-COUNT-15: tile.shuffle xor
// CHECK: tile.ballot
// CHECK: scf.while
// CHECK: tile.shuffle up
// CHECK-NOT: tile.barrier
// CHECK: tile.return
// Rows without 16-byte chunks keep the caller's strides, too.
// CHECK-LABEL: tile.kernel @gate_3
// CHECK-SAME: !tile.global<1x2x4096x2xbf16, strided>
// CHECK: tile.load %{{.*}} !tile.global<1x2x4096x2xbf16, strided> -> bf16
!x = tensor<1x2x4096x128xbf16>
!k = tensor<1x2x64x128xbf16>
fresnel.program @forward(%x: !x, %g: tensor<1x2x4096x2xbf16>) {
  %k = fresnel.pool mean %x {window = 64} : !x
  %s = fresnel.block_score %x, %k {causal = true, key_window = 64, key_stride = 64} : !x, !k
  %i = fresnel.select_blocks %s {topk = 16, local = 1, causal = true, key_block = 64} : tensor<1x2x4096x64xf32>
  %y = fresnel.gate %x, %x by %g {activation = #fresnel<activation sigmoid>} : !x, !x by tensor<1x2x4096x2xbf16>
  fresnel.return %i, %y {names = ["i", "y"]} : tensor<1x2x4096x16xi32>, !x
}

// -----

// Too many blocks for a bound: the row goes past the list at once.
// CHECK-LABEL: tile.kernel @select_blocks_0
// CHECK-SAME: grid = array<i32: 8, 2, 1>
// CHECK-NOT: tile.shuffle xor
// CHECK: scf.for
// CHECK-COUNT-4: tile.load
// CHECK: scf.while
// CHECK: tile.shuffle up
// CHECK-NOT: tile.load
// CHECK: tile.return
fresnel.program @many(%s: tensor<1x2x64x200xf32>) {
  %i = fresnel.select_blocks %s {topk = 21, causal = true, query_block = 64, key_block = 64} : tensor<1x2x64x200xf32>
  fresnel.return %i {names = ["i"]} : tensor<1x2x64x21xi32>
}

// -----

// More than 32 blocks: a thread block per row, by radix selection.
// CHECK-LABEL: tile.kernel @select_blocks_0
// CHECK-SAME: grid = array<i32: 10, 2, 1>
// CHECK: tile.atomic add
// CHECK: tile.barrier
// f32 has no matrix unit: a warp per row.
// CHECK-LABEL: tile.kernel @block_score_1
// CHECK-SAME: grid = array<i32: 2, 2, 1>
// CHECK-NOT: tile.mma
// CHECK: tile.return
// CHECK-LABEL: tile.kernel @regroup_2
// CHECK-COUNT-5: tile.load
fresnel.program @plain(%s: tensor<1x2x10x200xf32>, %q: tensor<1x2x10x64xf32>) {
  %i = fresnel.select_blocks %s {topk = 33, key_block = 1} : tensor<1x2x10x200xf32>
  %t = fresnel.block_score %q, %q : tensor<1x2x10x64xf32>, tensor<1x2x10x64xf32>
  %r = fresnel.regroup %s {window = 32, stride = 16, block = 64, seq_len = 3216} : tensor<1x2x10x200xf32>
  fresnel.return %i, %t, %r {names = ["i", "t", "r"]} : tensor<1x2x10x33xi32>, tensor<1x2x10x10xf32>, tensor<1x2x10x51xf32>
}

// -----

// Scores and selection in one kernel: nothing but the lists is written.
// CHECK-LABEL: tile.kernel @select_scored_0
// CHECK-SAME: grid = array<i32: 512, 2, 1>
// CHECK: tile.mma %{{.*}} transposed
// CHECK: tile.store_shared %{{.*}} <64x66xf32, linear>
// CHECK: tile.shuffle xor
// CHECK-COUNT-3: tile.store %{{.*}} : i32, !tile.global<1x2x32768x3xi32
// CHECK-NOT: tile.store
!q = tensor<1x2x32768x128xbf16>
!kb = tensor<1x2x64x128xbf16>
fresnel.program @fused(%q: !q, %k: !kb) {
  %s = fresnel.block_score %q, %k {causal = true, key_window = 512, key_stride = 512} : !q, !kb
  %i = fresnel.select_blocks %s {topk = 3, local = 1, causal = true, key_block = 512} : tensor<1x2x32768x64xf32>
  fresnel.return %i {names = ["i"]} : tensor<1x2x32768x3xi32>
}

// -----

// Within documents each row has the bounds of its own.
// CHECK-LABEL: tile.kernel @select_scored_0
// CHECK-SAME: %[[BOUNDS:[^:]*]]: !tile.global<1x2x32768xi32>
// CHECK: tile.load %[[BOUNDS]]
// CHECK: tile.mma
!q = tensor<1x2x32768x128xbf16>
!kb = tensor<1x2x64x128xbf16>
!d = tensor<1x2x32768xi32>
fresnel.program @within(%q: !q, %k: !kb, %d: !d) {
  %s = fresnel.block_score %q, %k {causal = true, key_window = 512, key_stride = 512} : !q, !kb
  %i = fresnel.select_blocks %s documents(%d : !d) {topk = 3, local = 1, causal = true, key_block = 512} : tensor<1x2x32768x64xf32>
  fresnel.return %i {names = ["i"]} : tensor<1x2x32768x3xi32>
}

// -----

// Gradients are gathers: no atomics.
// CHECK-LABEL: tile.kernel @pool_grad_0
// CHECK-NOT: tile.atomic
// CHECK-LABEL: tile.kernel @unpool_grad_1
// CHECK-LABEL: tile.kernel @gate_grad_2
// CHECK: tile.shuffle xor
// CHECK-LABEL: tile.kernel @merge_3
// CHECK-LABEL: tile.kernel @merge_grad_4
// CHECK: tile.shuffle xor
// CHECK-LABEL: tile.kernel @unpool_5
!d = tensor<1x2x16x32xbf16>
!y = tensor<1x2x1000x32xbf16>
!l = tensor<1x2x1000xf32>
!g = tensor<1x2x1000x2xbf16>
fresnel.program @backward(%d: !d, %y: !y, %l: !l, %g: !g) {
  %a = fresnel.pool_grad mean %d {window = 64, seq_len = 1000} : !d
  %b = fresnel.unpool_grad %y {window = 64} : !y
  %c, %e, %f = fresnel.gate_grad %a, %y by %g dout %y : !y, !y by !g, !y
  %o, %m = fresnel.merge %c, %e lse %l, %l : !y, !y lse !l, !l
  %p, %n = fresnel.merge_grad %c, %l merged %o, %m dout %y : !y, !l
  %u = fresnel.unpool %b {window = 64, seq_len = 1000} : !d
  fresnel.return %f, %p, %n, %u {names = ["f", "p", "n", "u"]} : !g, !y, !l, !y
}

// -----

// A lane for each block; votes say where its number goes.
// CHECK-LABEL: tile.kernel @blocks_from_mask_0(
// CHECK-SAME: %[[MASK:[^:]*]]: !tile.global<1x2x100x300xi8, strided>
// CHECK-SAME: grid = array<i32: 13, 2, 1>
// CHECK-COUNT-4: tile.load %[[MASK]]
// CHECK: tile.ballot
// CHECK: math.ctpop
// CHECK: tile.store %{{.*}} : i32
// CHECK-NOT: tile.atomic
fresnel.program @mask(%mask: tensor<1x2x100x300xi8>) {
  %list = fresnel.blocks_from_mask %mask : tensor<1x2x100x300xi8>
  fresnel.return %list {names = ["list"]} : tensor<1x2x100x300xi32>
}

// -----

// A given LSE saves a walk over the keys.
// CHECK-LABEL: tile.kernel @block_score_0(
// CHECK: tile.load_rows
// CHECK: tile.mma
// CHECK-NOT: tile.mma
!q = tensor<1x2x1000x64xbf16>
!k = tensor<1x2x61x64xbf16>
!l = tensor<1x2x1000xf32>
fresnel.program @known(%q: !q, %k: !k, %l: !l) {
  %s = fresnel.block_score %q, %k lse(%l : !l) {normalize = #fresnel<normalize softmax>} : !q, !k
  fresnel.return %s {names = ["s"]} : tensor<1x2x1000x61xf32>
}

// -----

// Of more blocks than 32 bits count all are forced.
// CHECK-LABEL: tile.kernel @select_blocks_0(
// CHECK: arith.cmpi slt, %[[BLOCK:.*]], %c20_i32
// CHECK-NEXT: arith.cmpi sge, %[[BLOCK]], %c0_i32
fresnel.program @forced(%s: tensor<1x2x64x20xf32>) {
  %i = fresnel.select_blocks %s {topk = 2199023255552, local = 1099511627775, sinks = 1099511627776, key_block = 8} : tensor<1x2x64x20xf32>
  fresnel.return %i {names = ["i"]} : tensor<1x2x64x20xi32>
}
