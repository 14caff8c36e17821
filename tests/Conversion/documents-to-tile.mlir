// Attention over packed documents, forward and backward.
// RUN: fresnel-opt %s --split-input-file --fresnel-lower-to-tile=target=sm_80 | FileCheck %s --check-prefixes=CHECK,PORTABLE
// RUN: fresnel-opt %s --split-input-file --fresnel-lower-to-tile=target=sm_90a | FileCheck %s --check-prefixes=CHECK,HOPPER

!q = tensor<1x4x1000x128xbf16>
!k = tensor<1x2x1000x128xbf16>
!l = tensor<1x4x1000xf32>
!d = tensor<1x2x1000xi32>

// A thread per token. Together they read the entries: those at the block's tokens become bits, of the others the nearest
// ones are kept.
// CHECK-LABEL: tile.kernel @document_bounds_0(%{{.*}}: !tile.global<1x1x9xi32>, %{{.*}}: !tile.global<1x2x1000xi32>)
// CHECK-SAME: grid = array<i32: 4, 1, 1>
// CHECK: %[[C9:.*]] = arith.constant 9 : i32
// CHECK: tile.barrier
// CHECK: scf.for {{.*}} to %[[C9]] step %c256_i32
// CHECK: tile.atomic or
// CHECK: arith.maxsi
// CHECK: arith.minsi
// CHECK-COUNT-2: tile.atomic max
// CHECK: tile.barrier
// CHECK: math.ctpop

// Under a causal mask a tile begins at the document of its first row, and rows compare keys
// with the starts alone.
// CHECK-LABEL: tile.kernel @attend_1(
// PORTABLE-SAME: !tile.global<1x2x1000xi32>
// PORTABLE-COUNT-2: tile.load %{{.*}} : !tile.global<1x2x1000xi32> -> i32
// PORTABLE-COUNT-1: tile.lookup
// PORTABLE-NOT: tile.lookup
// PORTABLE: scf.for
// PORTABLE: tile.col_index
// PORTABLE: tile.broadcast %{{.*}} : tensor<64xi32, #tile.rows> -> tensor<64x64xi32, #tile.acc>
// PORTABLE: tile.store_tile
// HOPPER-SAME: !tile.global<1x2x1000xi32>
// HOPPER: tile.warp_specialize
// HOPPER: tile.load %{{.*}} : !tile.global<1x2x1000xi32> -> i32
// HOPPER: tile.tma_load
// HOPPER: tile.lookup
// The block of the diagonal, plain blocks, and those that begin before the document of a row.
// HOPPER: tile.col_index
// HOPPER: arith.cmpi sge
// HOPPER: scf.for {{.*}} iter_args
// HOPPER-NOT: tile.col_index
// HOPPER: scf.for {{.*}} iter_args
// HOPPER: tile.col_index
// HOPPER: tile.store_matrix
fresnel.program @causal(%q: !q, %k: !k, %cu: tensor<1x1x9xi32>) {
  %d = fresnel.document_bounds %cu {seq_len = 1000} : tensor<1x1x9xi32>
  %o, %l = fresnel.attend %q, %k, %k documents(%d : !d) {causal = true} : !q, !k, !k
  fresnel.return %o, %l {names = ["out", "lse"]} : !q, !l
}

// -----

!q = tensor<1x4x1000x128xbf16>
!k = tensor<1x2x1000x128xbf16>
!l = tensor<1x4x1000xf32>
!d = tensor<1x2x1000xi32>

// Without one, rows compare with both bounds: of queries in the one gradient, of keys in the other.
// CHECK-LABEL: tile.kernel @attend_0(
// CHECK-COUNT-2: tile.lookup
// CHECK-LABEL: tile.kernel @attend_grad_q_2(
// CHECK-SAME: !tile.global<1x2x1000xi32>
// CHECK-COUNT-2: tile.lookup
// CHECK: scf.for
// CHECK-LABEL: tile.kernel @attend_grad_kv_3(
// CHECK-SAME: !tile.global<1x2x1000xi32>
// CHECK-COUNT-2: tile.lookup
// CHECK: scf.for
fresnel.program @full(%q: !q, %k: !k, %d: !d, %g: !q) {
  %o, %l = fresnel.attend %q, %k, %k documents(%d : !d) : !q, !k, !k
  %delta = fresnel.attend_delta %o, %g : !q
  %dq = fresnel.attend_grad_q %q, %k, %k lse %l delta %delta dout %g documents(%d : !d) : !q, !k, !k, !l, !l, !q
  %dk, %dv = fresnel.attend_grad_kv %q, %k, %k lse %l delta %delta dout %g documents(%d : !d) : !q, !k, !k, !l, !l, !q
  fresnel.return %o, %dq, %dk, %dv {names = ["out", "dq", "dk", "dv"]} : !q, !q, !k, !k
}

// -----

!q = tensor<1x32x1000x128xbf16>
!k = tensor<1x2x1000x128xbf16>
!l = tensor<1x32x1000xf32>
!d = tensor<1x2x1000xi32>
!b = tensor<1x2x1000x4xi32>

// Beside lists: blocks outside of the tile's documents are not walked, and rows compare with the bounds of their tokens.
// The gradient of keys and values compares those of keys.
// CHECK-LABEL: tile.kernel @attend_0(
// CHECK-SAME: !tile.global<1x2x1000x4xi32{{.*}}!tile.global<1x2x1000xi32>
// PORTABLE: tile.load %{{.*}} : !tile.global<1x2x1000xi32> -> i32
// HOPPER: tile.load %{{.*}} : !tile.global<1x2x1000xi32> -> i32
// HOPPER: tile.atomic or
// HOPPER: consumer(1)
// CHECK: tile.lookup %{{.*}}!tile.global<1x2x1000xi32>
// CHECK-LABEL: tile.kernel @attend_grad_q_2(
// CHECK-SAME: !tile.global<1x2x1000x4xi32{{.*}}!tile.global<1x2x1000xi32>
// HOPPER: consumer(1)
// CHECK: tile.lookup %{{.*}}!tile.global<1x2x1000xi32>
// CHECK-LABEL: tile.kernel @attend_grad_kv_4(
// CHECK-SAME: !tile.global<1x2x16x32xi32>, %{{.*}}: !tile.global<1x2x1000xi32>
// HOPPER: consumer(2)
// CHECK: tile.lookup %{{.*}}!tile.global<1x2x1000xi32>
fresnel.program @lists(%q: !q, %k: !k, %b: !b, %d: !d, %g: !q) {
  %o, %l = fresnel.attend %q, %k, %k blocks(%b : !b) documents(%d : !d) {causal = true, key_block = 64} : !q, !k, !k
  %delta = fresnel.attend_delta %o, %g : !q
  %dq = fresnel.attend_grad_q %q, %k, %k lse %l delta %delta dout %g blocks(%b : !b) documents(%d : !d) {causal = true, key_block = 64} : !q, !k, !k, !l, !l, !q
  %dk, %dv = fresnel.attend_grad_kv %q, %k, %k lse %l delta %delta dout %g blocks(%b : !b) documents(%d : !d) {causal = true, key_block = 64} : !q, !k, !k, !l, !l, !q
  fresnel.return %o, %dq, %dk, %dv {names = ["out", "dq", "dk", "dv"]} : !q, !q, !k, !k
}

// -----

!q = tensor<1x4x1000x64xbf16>
!k = tensor<1x2x61x64xbf16>
!l = tensor<1x4x1000xf32>
!d = tensor<1x2x1000xi32>

// Of pooled keys, bounds of queries are counted in strides, and a key has those of its first token.
// CHECK-LABEL: tile.kernel @attend_0(
// PORTABLE: tile.lookup %{{.*}} -> tensor<64xi32, #tile.rows>
// PORTABLE: arith.divsi %{{.*}} : tensor<64xi32, #tile.rows>
// HOPPER: tile.warp_specialize
// HOPPER: tile.lookup %{{.*}} -> tensor<64xi32, #tile.rows>
// HOPPER: arith.divsi %{{.*}} : tensor<64xi32, #tile.rows>
// CHECK-LABEL: tile.kernel @attend_grad_q_2(
// CHECK: tile.lookup
// CHECK: arith.divsi %{{.*}} : tensor<64xi32, #tile.rows>
// CHECK-LABEL: tile.kernel @attend_grad_kv_3(
// CHECK: arith.muli %{{.*}} : tensor<64xi32, #tile.rows>
// CHECK: tile.lookup
// CHECK-NOT: arith.divsi %{{.*}} : tensor<64xi32, #tile.rows>
// CHECK: tile.return
// Scores skip tiles of keys in front of the document of a tile's first query, and hide keys from single ones.
// PORTABLE-LABEL: tile.kernel @block_score_4(
// PORTABLE-SAME: !tile.global<1x4x1000xf32>, %{{.*}}: !tile.global<1x2x1000xi32>
// PORTABLE: tile.load %{{.*}} : !tile.global<1x2x1000xi32> -> i32
// PORTABLE: tile.lookup %{{.*}} -> tensor<64x64xi32, #tile.acc>
// HOPPER-LABEL: tile.kernel @regroup_scored_4(
// HOPPER-SAME: !tile.global<1x4x1000xf32>, %{{.*}}: !tile.global<1x2x1000xi32>
// HOPPER: tile.warp_specialize
// HOPPER: tile.load %{{.*}} : !tile.global<1x2x1000xi32> -> i32
// HOPPER: tile.tma_load
// HOPPER: consumer(3)
// HOPPER: tile.load %{{.*}} : !tile.global<1x2x1000xi32> -> i32
fresnel.program @pooled(%q: !q, %k: !k, %d: !d, %g: !q) {
  %o, %l = fresnel.attend %q, %k, %k documents(%d : !d) {causal = true, key_window = 32, key_stride = 16} : !q, !k, !k
  %delta = fresnel.attend_delta %o, %g : !q
  %dq = fresnel.attend_grad_q %q, %k, %k lse %l delta %delta dout %g documents(%d : !d) {causal = true, key_window = 32, key_stride = 16} : !q, !k, !k, !l, !l, !q
  %dk, %dv = fresnel.attend_grad_kv %q, %k, %k lse %l delta %delta dout %g documents(%d : !d) {causal = true, key_window = 32, key_stride = 16} : !q, !k, !k, !l, !l, !q
  %p = fresnel.block_score %q, %k documents(%d : !d) {causal = true, key_window = 32, key_stride = 16, normalize = #fresnel<normalize softmax>, group_sum = true} : !q, !k
  %y = fresnel.regroup %p {window = 32, stride = 16, block = 64, seq_len = 1000} : tensor<1x2x1000x61xf32>
  fresnel.return %o, %dq, %dk, %dv, %y {names = ["out", "dq", "dk", "dv", "y"]} : !q, !q, !k, !k, tensor<1x2x1000x16xf32>
}
