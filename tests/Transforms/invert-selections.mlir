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
// CHECK-NEXT: fresnel.return %[[Y]], %[[D]], %[[P]], %[[E]], %result
fresnel.program @inverted(%s: !s, %g: !g) {
  %i = fresnel.select_cascade %s, %s {seq_len = 100, levels = 3, factor = 4, topk = 4} : !s, !s
  %y = fresnel.scatter %g, %i {seq_len = 100, levels = 3, factor = 4} : !g, !i
  %p = fresnel.gather_grad %g, %i {heads = 2, rows = 132} : !g, !i
  %d = fresnel.pyramid_grad mean %p {seq_len = 100, levels = 3, factor = 4} : !p
  %q = fresnel.gather_grad %g, %i {heads = 2, rows = 132} : !g, !i
  %e = fresnel.pyramid_grad mean %q {seq_len = 100, levels = 3, factor = 4} : !p
  fresnel.return %y, %d, %q, %e, %i {names = ["y", "d", "q", "e", "i"]} : !x, !x, !p, !x, !i
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
