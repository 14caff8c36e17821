// RUN: fresnel-opt %s --split-input-file --fresnel-merge-gathers | FileCheck %s

!x = tensor<1x4x100x32xbf16>
!k = tensor<1x2x100x32xbf16>
!tx = tensor<1x4x32x32xbf16>
!tk = tensor<1x2x32x32xbf16>
!i = tensor<1x4x9xi32>
!y = tensor<1x4x9x32xbf16>

// CHECK-LABEL: fresnel.program @merged
// CHECK-NEXT: %[[G:.*]]:2 = fresnel.gather_levels %x, %k tails %tx, %tk at %i
// CHECK-NEXT: %[[O:.*]] = fresnel.gather_levels %x tails %tx at %j
// CHECK-NEXT: fresnel.return %[[G]]#0, %[[G]]#1, %[[O]]
fresnel.program @merged(%x: !x, %k: !k, %tx: !tx, %tk: !tk, %i: !i, %j: !i) {
  %a = fresnel.gather_levels %x tails %tx at %i : !x tails !tx at !i
  %b = fresnel.gather_levels %k tails %tk at %i : !k tails !tk at !i
  %c = fresnel.gather_levels %x tails %tx at %j : !x tails !tx at !i
  fresnel.return %a, %b, %c {names = ["a", "b", "c"]} : !y, !y, !y
}

// -----

// What is read before the last gather stays.
!x = tensor<1x4x100x32xbf16>
!tx = tensor<1x4x32x32xbf16>
!i = tensor<1x4x9xi32>
!y = tensor<1x4x9x32xbf16>
// CHECK-LABEL: fresnel.program @read_early
// CHECK-COUNT-2: fresnel.gather_levels %x tails
fresnel.program @read_early(%x: !x, %tx: !tx, %i: !i) {
  %a = fresnel.gather_levels %x tails %tx at %i : !x tails !tx at !i
  %n = fresnel.norm %a : !y
  %b = fresnel.gather_levels %x tails %tx at %i : !x tails !tx at !i
  fresnel.return %n, %b {names = ["n", "b"]} : tensor<1x4x9xf32>, !y
}

// -----

// Queries that share the selection of their key head have more rows than keys and values, which go together.
!q = tensor<1x4x100x32xbf16>
!tq = tensor<1x4x32x32xbf16>
!k = tensor<1x2x100x32xbf16>
!tk = tensor<1x2x32x32xbf16>
!i = tensor<1x2x9xi32>
// CHECK-LABEL: fresnel.program @shared
// CHECK-NEXT: %[[Q:.*]] = fresnel.gather_levels %q tails %tq at %i
// CHECK-NEXT: %[[G:.*]]:2 = fresnel.gather_levels %k, %k tails %tk, %tk at %i
// CHECK-NEXT: fresnel.return %[[Q]], %[[G]]#0, %[[G]]#1
fresnel.program @shared(%q: !q, %k: !k, %tq: !tq, %tk: !tk, %i: !i) {
  %a = fresnel.gather_levels %q tails %tq at %i : !q tails !tq at !i
  %b = fresnel.gather_levels %k tails %tk at %i : !k tails !tk at !i
  %c = fresnel.gather_levels %k tails %tk at %i : !k tails !tk at !i
  fresnel.return %a, %b, %c {names = ["a", "b", "c"]} : tensor<1x4x9x32xbf16>, tensor<1x2x9x32xbf16>, tensor<1x2x9x32xbf16>
}
