// Queries grouped by the blocks that they list.
// RUN: fresnel-opt %s --split-input-file --fresnel-lower-to-tile | FileCheck %s

// A thread for each row.
// CHECK-LABEL: tile.kernel @split_blocks_0(
// CHECK-SAME: grid = array<i32: 4, 2, 1>
// CHECK: tile.store
fresnel.program @split(%b: tensor<1x2x1000x3xi32>) {
  %p, %d = fresnel.split_blocks %b {key_block = 64, keys = 1000} : tensor<1x2x1000x3xi32>
  fresnel.return %p, %d {names = ["p", "d"]} : tensor<1x2x1000x3xi32>, tensor<1x2x1000x1xi32>
}

// -----

// Bounds are cut where blocks begin; the last token of each block has its start.
// CHECK-LABEL: tile.kernel @block_bounds_0(
// CHECK-SAME: %[[BOUNDS:[^:]*]]: !tile.global<1x2x1000xi32>, %[[OWN:[^:]*]]: !tile.global<1x2x1000xi32>, %[[STARTS:[^:]*]]: !tile.global<1x1x16x1xi32
// CHECK-COUNT-2: tile.load %[[BOUNDS]]
// CHECK-COUNT-2: tile.store %{{.*}}, %[[OWN]]
// CHECK: scf.if
// CHECK: tile.store %{{.*}}, %[[STARTS]]
// CHECK-LABEL: tile.kernel @split_blocks_1(
// CHECK-SAME: %[[BOUNDS:[^:]*]]: !tile.global<1x2x1000xi32>
// CHECK: tile.load %[[BOUNDS]]
fresnel.program @within(%b: tensor<1x2x1000x3xi32>, %d: tensor<1x2x1000xi32>) {
  %o, %s = fresnel.block_bounds %d {key_block = 64} : tensor<1x2x1000xi32>
  %p, %e = fresnel.split_blocks %b documents(%d : tensor<1x2x1000xi32>) {key_block = 64, keys = 1000} : tensor<1x2x1000x3xi32>
  fresnel.return %o, %s, %p {names = ["o", "s", "p"]} : tensor<1x2x1000xi32>, tensor<1x1x16x1xi32>, tensor<1x2x1000x3xi32>
}

// -----

// Of a block whose first keys are hidden the first step alone is masked, and the gradients of these keys are cleared at the end.
// CHECK-LABEL: tile.kernel @attend_0(
// CHECK-SAME: %[[STARTS:[^:]*]]: !tile.global<1x1x8x1xi32
// CHECK: tile.load %[[STARTS]]
// CHECK: tile.warp_specialize
// CHECK: consumer(2)
// CHECK-COUNT-1: tile.col_index
// CHECK-NOT: tile.col_index
// CHECK-LABEL: tile.kernel @attend_grad_q_1(
// CHECK-SAME: %[[STARTS:[^:]*]]: !tile.global<1x1x8x1xi32
// CHECK: tile.load %[[STARTS]]
// CHECK: consumer(2)
// CHECK-COUNT-1: tile.col_index
// CHECK-NOT: tile.col_index
// CHECK-LABEL: tile.kernel @attend_grad_kv_{{[0-9]}}(
// CHECK-SAME: %[[STARTS:[^:]*]]: !tile.global<1x1x8x1xi32
// CHECK: consumer(2)
// CHECK-NOT: tile.row_index
// CHECK: scf.for
// CHECK: tile.load %[[STARTS]]
// CHECK: tile.row_index
// CHECK-COUNT-2: arith.select
// CHECK: tile.tma_store
!q = tensor<1x2x1280x128xbf16>
!k = tensor<1x2x4096x128xbf16>
!l = tensor<1x2x1280xf32>
!b = tensor<1x2x10x1xi32>
!s = tensor<1x1x8x1xi32>
fresnel.program @starts(%q: !q, %k: !k, %b: !b, %s: !s, %d: !l) {
  %o, %l = fresnel.attend %q, %k, %k blocks(%b : !b) starts(%s : !s) {query_block = 128, key_block = 512} : !q, !k, !k
  %a = fresnel.attend_grad_q %q, %k, %k lse %l delta %d dout %q blocks(%b : !b) starts(%s : !s) {query_block = 128, key_block = 512} : !q, !k, !k, !l, !l, !q
  %c, %e = fresnel.attend_grad_kv %q, %k, %k lse %l delta %d dout %q blocks(%b : !b) starts(%s : !s) {query_block = 128, key_block = 512} : !q, !k, !k, !l, !l, !q
  fresnel.return %o, %a, %c, %e {names = ["o", "a", "c", "e"]} : !q, !q, !k, !k
}

// -----

// A thread block for each block of keys; places come from counts, so that nothing is added atomically.
// CHECK-LABEL: tile.kernel @group_rows_0(
// CHECK-SAME: grid = array<i32: 16, 2, 1>
// CHECK-NOT: tile.atomic
// CHECK: math.ctpop
// CHECK: scf.while
// CHECK: tile.return
fresnel.program @group(%b: tensor<1x2x1000x3xi32>, %t: tensor<1x2x16x32xi32>, %c: tensor<1x2x16xi32>) {
  %r, %s, %u = fresnel.group_rows %b, %t, %c {length = 5120} : tensor<1x2x1000x3xi32>, tensor<1x2x16x32xi32>, tensor<1x2x16xi32>
  fresnel.return %r, %s, %u {names = ["r", "s", "u"]} : tensor<1x2x5120xi32>, tensor<1x2x40x1xi32>, tensor<1x2x1000x3xi32>
}

// -----

// All chunks of a row's places are loaded before any is used.
// CHECK-LABEL: tile.kernel @merge_rows_0(
// CHECK-COUNT-4: tile.load {{.*}} vector<8xbf16>
// CHECK: math.exp2
// CHECK: tile.return
// CHECK-LABEL: tile.kernel @sum_rows_1(
// CHECK-COUNT-4: tile.load {{.*}} vector<8xbf16>
// CHECK: tile.store {{.*}} vector<8xbf16>
// CHECK-LABEL: tile.kernel @gather_scores_2(
// CHECK-SAME: grid = array<i32: 20, 4, 1>
!p = tensor<1x4x5120x64xbf16>
!x = tensor<1x4x1000x64xbf16>
!l = tensor<1x4x1000xf32>
!s = tensor<1x2x1000x3xi32>
fresnel.program @rows(%p: !p, %pl: tensor<1x4x5120xf32>, %s: !s, %x: !x, %l: !l, %r: tensor<1x2x5120xi32>) {
  %o, %m = fresnel.merge_rows %p, %pl at %s into %x, %l : !p, tensor<1x4x5120xf32>, !s, !x, !l
  %y = fresnel.sum_rows %p at %s into %x : !p, !s, !x
  %g = fresnel.gather_scores %l, %r : !l, tensor<1x2x5120xi32>
  fresnel.return %o, %m, %y, %g {names = ["o", "m", "y", "g"]} : !x, !l, !x, tensor<1x4x5120xf32>
}
