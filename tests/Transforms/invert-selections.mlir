// RUN: fresnel-opt %s --split-input-file --fresnel-invert-selections | FileCheck %s

!s = tensor<1x2x132xf32>
!i = tensor<1x2x39xi32>
!g = tensor<1x2x39x32xbf16>
!x = tensor<1x2x100x32xbf16>
!p = tensor<1x2x132x32xbf16>

// CHECK-LABEL: fresnel.program @inverted
// CHECK-NEXT: %result, %slots = fresnel.select_cascade %s, %s {{.*}}with_slots = true
// CHECK-NEXT: %[[Y:.*]] = fresnel.scatter_by_slots %g, %slots {factor = 4 : i64, levels = 3 : i64, seq_len = 100 : i64}
// The pyramid's gradient goes into the gather's; where it is read twice, only the gather looks up.
// CHECK-NEXT: %[[D:.*]] = fresnel.gather_grad_by_slots %g, %slots {factor = 4 : i64, heads = 2 : i64, levels = 3 : i64, seq_len = 100 : i64}
// CHECK-NEXT: %[[P:.*]] = fresnel.gather_grad_by_slots %g, %slots {factor = 4 : i64, heads = 2 : i64, levels = 1 : i64, seq_len = 132 : i64}
// CHECK-NEXT: %[[E:.*]] = fresnel.pyramid_grad mean %[[P]]
// CHECK-NEXT: %[[S:.*]] = fresnel.scatter_grad_by_slots %x, %result, %slots {factor = 4 : i64, levels = 3 : i64}
// CHECK-NEXT: fresnel.return %[[Y]], %[[D]], %[[P]], %[[E]], %[[S]], %result
fresnel.program @inverted(%s: !s, %g: !g, %x: !x) {
  %i = fresnel.select_cascade %s, %s {seq_len = 100, levels = 3, factor = 4, topk = 4} : !s, !s
  %y = fresnel.scatter %g, %i {seq_len = 100, levels = 3, factor = 4} : !g, !i
  %p = fresnel.gather_grad %g, %i {heads = 2, rows = 132} : !g, !i
  %d = fresnel.pyramid_grad mean %p {seq_len = 100, levels = 3, factor = 4} : !p
  %q = fresnel.gather_grad %g, %i {heads = 2, rows = 132} : !g, !i
  %e = fresnel.pyramid_grad mean %q {seq_len = 100, levels = 3, factor = 4} : !p
  %t = fresnel.scatter_grad %x, %i {levels = 3, factor = 4} : !x, !i
  fresnel.return %y, %d, %q, %e, %t, %i {names = ["y", "d", "q", "e", "t", "i"]} : !x, !x, !p, !x, !g, !i
}

// -----

// Other pyramids, and indices that no cascade gave, stay as they are.
!s = tensor<1x2x132xf32>
!i = tensor<1x2x39xi32>
!g = tensor<1x2x39x32xbf16>
// CHECK-LABEL: fresnel.program @stays
// CHECK-NOT: slots
// CHECK: fresnel.scatter %g
// CHECK: fresnel.gather_grad %g
// CHECK: fresnel.gather_grad %g
fresnel.program @stays(%s: !s, %g: !g, %j: !i) {
  %i = fresnel.select_cascade %s, %s {seq_len = 100, levels = 3, factor = 4, topk = 4} : !s, !s
  %y = fresnel.scatter %g, %i {seq_len = 100, levels = 2, factor = 4} : !g, !i
  %p = fresnel.gather_grad %g, %i {heads = 2, rows = 140} : !g, !i
  %q = fresnel.gather_grad %g, %j {heads = 2, rows = 132} : !g, !i
  fresnel.return %y, %p, %q {names = ["y", "p", "q"]} : tensor<1x2x100x32xbf16>, tensor<1x2x140x32xbf16>, tensor<1x2x132x32xbf16>
}

// -----

// A coarsest window of 512 tokens is too much for one thread; what looks up one entry a level does not mind.
!s = tensor<1x1x2340xf32>
!i = tensor<1x1x52xi32>
!g = tensor<1x1x52x32xbf16>
// CHECK-LABEL: fresnel.program @wide
// CHECK: fresnel.scatter_by_slots %g
// CHECK: fresnel.scatter_grad %x
fresnel.program @wide(%s: !s, %g: !g, %x: tensor<1x1x2048x32xbf16>) {
  %i = fresnel.select_cascade %s, %s {seq_len = 2048, levels = 4, factor = 8, topk = 2} : !s, !s
  %y = fresnel.scatter %g, %i {seq_len = 2048, levels = 4, factor = 8} : !g, !i
  %t = fresnel.scatter_grad %x, %i {levels = 4, factor = 8} : tensor<1x1x2048x32xbf16>, !i
  fresnel.return %y, %t {names = ["y", "t"]} : tensor<1x1x2048x32xbf16>, !g
}

// -----

// Documents are those of the cascade; a scatter of one sequence stays.
!s = tensor<1x2x133xf32>
!i = tensor<1x2x67xi32>
!g = tensor<1x2x67x32xbf16>
!x = tensor<1x2x100x32xbf16>
!p = tensor<1x2x133x32xbf16>
// CHECK-LABEL: fresnel.program @packed
// CHECK-NEXT: %result, %slots = fresnel.select_cascade %s, %s {documents = array<i64: 41, 59>, {{.*}}with_slots = true
// CHECK-NEXT: fresnel.scatter_by_slots %g, %slots {documents = array<i64: 41, 59>, factor
// CHECK-NEXT: fresnel.gather_grad_by_slots %g, %slots {documents = array<i64: 41, 59>, factor
// CHECK-NEXT: fresnel.scatter_grad_by_slots %x, %result, %slots {documents = array<i64: 41, 59>, factor
// CHECK-NEXT: fresnel.scatter %g, %result {factor
fresnel.program @packed(%s: !s, %g: !g, %x: !x) {
  %i = fresnel.select_cascade %s, %s {seq_len = 100, levels = 3, factor = 4, topk = 4, documents = array<i64: 41, 59>} : !s, !s
  %y = fresnel.scatter %g, %i {seq_len = 100, levels = 3, factor = 4, documents = array<i64: 41, 59>} : !g, !i
  %p = fresnel.gather_grad %g, %i {heads = 2, rows = 133} : !g, !i
  %d = fresnel.pyramid_grad mean %p {seq_len = 100, levels = 3, factor = 4, documents = array<i64: 41, 59>} : !p
  %t = fresnel.scatter_grad %x, %i {levels = 3, factor = 4, documents = array<i64: 41, 59>} : !x, !i
  %z = fresnel.scatter %g, %i {seq_len = 100, levels = 3, factor = 4} : !g, !i
  fresnel.return %y, %d, %t, %z {names = ["y", "d", "t", "z"]} : !x, !x, !g, !x
}
