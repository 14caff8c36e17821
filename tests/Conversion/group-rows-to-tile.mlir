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
