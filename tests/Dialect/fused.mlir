// RUN: fresnel-opt %s | fresnel-opt | FileCheck %s

!x = tensor<1x4x100x32xbf16>
!k = tensor<1x2x100x32xbf16>
!s = tensor<1x4x132xf32>
!t = tensor<1x2x132xf32>

// CHECK-LABEL: fresnel.program @syntax
fresnel.program @syntax(%x: !x, %k: !k, %s: !s, %t: !t) {
  // CHECK: %rows, %scores = fresnel.pool_levels %x {factor = 4 : i64, levels = 3 : i64, norms = true} : tensor<1x4x100x32xbf16>
  %r, %n = fresnel.pool_levels %x {levels = 3, factor = 4, norms = true} : !x
  // CHECK: %{{.*}} = fresnel.pool_levels %k {factor = 4 : i64, levels = 3 : i64} : tensor<1x2x100x32xbf16>
  %p = fresnel.pool_levels %k {levels = 3, factor = 4} : !k
  // CHECK: %{{.*}}, %slots = fresnel.select_cascade %{{.*}}, %t {factor = 4 : i64, levels = 3 : i64, seq_len = 100 : i64, topk = 4 : i64, with_slots = true}
  %i, %slots = fresnel.select_cascade %n, %t {seq_len = 100, levels = 3, factor = 4, topk = 4, with_slots = true} : !s, !t
  // CHECK: %{{.*}}:2 = fresnel.gather_levels %x, %k tails %{{.*}}, %{{.*}} at %{{.*}} : tensor<1x4x100x32xbf16>, tensor<1x2x100x32xbf16> tails tensor<1x4x32x32xbf16>, tensor<1x2x32x32xbf16> at tensor<1x4x39xi32>
  %a, %b = fresnel.gather_levels %x, %k tails %r, %p at %i
      : !x, !k tails tensor<1x4x32x32xbf16>, tensor<1x2x32x32xbf16> at tensor<1x4x39xi32>
  // CHECK: fresnel.scatter_by_slots %{{.*}}, %{{.*}} {factor = 4 : i64, levels = 3 : i64, seq_len = 100 : i64}
  %y = fresnel.scatter_by_slots %a, %slots {seq_len = 100, levels = 3, factor = 4} : tensor<1x4x39x32xbf16>, tensor<1x4x132xi32>
  // CHECK: fresnel.gather_grad_by_slots %{{.*}}, %{{.*}} {factor = 4 : i64, heads = 2 : i64, levels = 3 : i64, seq_len = 100 : i64}
  %d = fresnel.gather_grad_by_slots %b, %slots {heads = 2, seq_len = 100, levels = 3, factor = 4} : tensor<1x4x39x32xbf16>, tensor<1x4x132xi32>
  // CHECK: fresnel.select_scored %x, %k {causal = true, key_block = 8 : i64, key_stride = 8 : i64, key_window = 8 : i64, topk = 3 : i64} : tensor<1x4x100x32xbf16>, tensor<1x2x100x32xbf16>
  %e = fresnel.select_scored %x, %k {topk = 3, causal = true, key_window = 8, key_stride = 8, key_block = 8} : !x, !k
  // CHECK: fresnel.transpose_blocks %{{.*}} {blocks = 13 : i64} : tensor<1x4x100x3xi32>
  %f = fresnel.transpose_blocks %e {blocks = 13} : tensor<1x4x100x3xi32>
  fresnel.return %y, %d {names = ["y", "d"]} : !x, !k
}
