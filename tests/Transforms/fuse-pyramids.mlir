// RUN: fresnel-opt %s --split-input-file --fresnel-fuse-pyramids | FileCheck %s

!x = tensor<1x2x100x32xbf16>
!p = tensor<1x2x132x32xbf16>
!i = tensor<1x2x9xi32>
!y = tensor<1x2x9x32xbf16>

// The norms come out of the same pass, at the place of the first reader.
// CHECK-LABEL: fresnel.program @fused
// CHECK-NEXT: %rows, %scores = fresnel.pool_levels %x {factor = 4 : i64, levels = 3 : i64, norms = true}
// CHECK-NEXT: %[[Y:.*]] = fresnel.gather_levels %x tails %rows at %i
// CHECK-NEXT: fresnel.return %[[Y]], %scores
fresnel.program @fused(%x: !x, %i: !i) {
  %n = fresnel.norm %x : !x
  %s = fresnel.pyramid max %n {levels = 3, factor = 4} : tensor<1x2x100xf32>
  %p = fresnel.pyramid mean %x {levels = 3, factor = 4} : !x
  %y = fresnel.gather %p, %i : !p, !i
  fresnel.return %y, %s {names = ["y", "s"]} : !y, tensor<1x2x132xf32>
}

// -----

// Norms that something else reads, or of other levels, stay.
!x = tensor<1x2x100x32xbf16>
!p = tensor<1x2x132x32xbf16>
!i = tensor<1x2x9xi32>
!y = tensor<1x2x9x32xbf16>
// CHECK-LABEL: fresnel.program @norms_are_read
// CHECK: fresnel.norm %x
// CHECK: fresnel.pyramid max
// CHECK: fresnel.pool_levels %x {factor = 4 : i64, levels = 3 : i64}
fresnel.program @norms_are_read(%x: !x, %i: !i) {
  %n = fresnel.norm %x : !x
  %s = fresnel.pyramid max %n {levels = 3, factor = 4} : tensor<1x2x100xf32>
  %p = fresnel.pyramid mean %x {levels = 3, factor = 4} : !x
  %y = fresnel.gather %p, %i : !p, !i
  fresnel.return %y, %s, %n {names = ["y", "s", "n"]} : !y, tensor<1x2x132xf32>, tensor<1x2x100xf32>
}

// -----

// A pyramid that is returned, a maximum, and one of too wide windows stay.
!x = tensor<1x2x100x32xbf16>
!p = tensor<1x2x132x32xbf16>
!q = tensor<1x2x105x32xbf16>
!i = tensor<1x2x9xi32>
!y = tensor<1x2x9x32xbf16>
// CHECK-LABEL: fresnel.program @stays
// CHECK-COUNT-3: fresnel.pyramid
// CHECK-NOT: pool_levels
fresnel.program @stays(%x: !x, %i: !i) {
  %p = fresnel.pyramid mean %x {levels = 3, factor = 4} : !x
  %a = fresnel.gather %p, %i : !p, !i
  %m = fresnel.pyramid max %x {levels = 3, factor = 4} : !x
  %b = fresnel.gather %m, %i : !p, !i
  %w = fresnel.pyramid mean %x {levels = 2, factor = 20} : !x
  %c = fresnel.gather %w, %i : !q, !i
  fresnel.return %p, %a, %b, %c {names = ["p", "a", "b", "c"]} : !p, !y, !y, !y
}

// -----

// Norms of other documents are not those of the rows.
!x = tensor<1x2x100x32xbf16>
!p = tensor<1x2x133x32xbf16>
!i = tensor<1x2x9xi32>
!y = tensor<1x2x9x32xbf16>
// CHECK-LABEL: fresnel.program @packed
// CHECK: %rows, %scores = fresnel.pool_levels %k {documents = array<i64: 41, 59>, factor = 4 : i64, levels = 3 : i64, norms = true}
// CHECK: fresnel.norm %x
// CHECK: fresnel.pyramid max
// CHECK: fresnel.pool_levels %x {documents = array<i64: 41, 59>, factor = 4 : i64, levels = 3 : i64} :
fresnel.program @packed(%k: !x, %x: !x, %i: !i) {
  %m = fresnel.norm %k : !x
  %t = fresnel.pyramid max %m {levels = 3, factor = 4, documents = array<i64: 41, 59>} : tensor<1x2x100xf32>
  %r = fresnel.pyramid mean %k {levels = 3, factor = 4, documents = array<i64: 41, 59>} : !x
  %n = fresnel.norm %x : !x
  %s = fresnel.pyramid max %n {levels = 3, factor = 4} : tensor<1x2x100xf32>
  %p = fresnel.pyramid mean %x {levels = 3, factor = 4, documents = array<i64: 41, 59>} : !x
  %z = fresnel.gather %r, %i : !p, !i
  %y = fresnel.gather %p, %i : !p, !i
  fresnel.return %y, %z, %s, %t {names = ["y", "z", "s", "t"]} : !y, !y, tensor<1x2x132xf32>, tensor<1x2x133xf32>
}
