// RUN: fresnel-opt %s | fresnel-opt | FileCheck %s

!x = tensor<1x4x100x32xbf16>
!k = tensor<1x2x100x32xbf16>
!s = tensor<1x4x132xf32>
!t = tensor<1x2x132xf32>

// CHECK-LABEL: fresnel.program @syntax
fresnel.program @syntax(%x: !x, %k: !k, %s: !s, %t: !t, %l: tensor<1x4x100xf32>) {
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
  // CHECK: fresnel.scatter_grad_by_slots %{{.*}}, %{{.*}}, %{{.*}} {factor = 4 : i64, levels = 3 : i64}
  %z = fresnel.scatter_grad_by_slots %y, %i, %slots {levels = 3, factor = 4} : !x, tensor<1x4x39xi32>, tensor<1x4x132xi32>
  // One selection for the query heads of a key head.
  // CHECK: %{{.*}}, %{{.*}} = fresnel.select_cascade {{.*}}per_key_head = true{{.*}} : tensor<1x4x132xf32>, tensor<1x2x132xf32>
  %j, %shared = fresnel.select_cascade %n, %t {seq_len = 100, levels = 3, factor = 4, topk = 4, with_slots = true, per_key_head = true} : !s, !t
  // CHECK: fresnel.gather_levels %x tails %{{.*}} at %{{.*}} : tensor<1x4x100x32xbf16> tails tensor<1x4x32x32xbf16> at tensor<1x2x39xi32>
  %g = fresnel.gather_levels %x tails %r at %j : !x tails tensor<1x4x32x32xbf16> at tensor<1x2x39xi32>
  // CHECK: fresnel.scatter_by_slots {{.*}} : tensor<1x4x39x32xbf16>, tensor<1x2x132xi32>
  %h = fresnel.scatter_by_slots %g, %shared {seq_len = 100, levels = 3, factor = 4} : tensor<1x4x39x32xbf16>, tensor<1x2x132xi32>
  // CHECK: fresnel.select_scored %x, %k {causal = true, key_block = 8 : i64, key_stride = 8 : i64, key_window = 8 : i64, topk = 3 : i64} : tensor<1x4x100x32xbf16>, tensor<1x2x100x32xbf16>
  %e = fresnel.select_scored %x, %k {topk = 3, causal = true, key_window = 8, key_stride = 8, key_block = 8} : !x, !k
  // CHECK: %[[BOUNDS:.*]] = fresnel.document_bounds {documents = array<i64: 300, 500>, seq_len = 800 : i64}
  %bounds = fresnel.document_bounds {documents = array<i64: 300, 500>, seq_len = 800}
  // CHECK: fresnel.select_scored %x, %k documents(%[[BOUNDS]] : tensor<1x2x800xi32>) {
  %within = fresnel.select_scored %x, %k documents(%bounds : tensor<1x2x800xi32>)
      {topk = 3, key_window = 8, key_stride = 8, query_stride = 8, key_block = 8} : !x, !k
  // CHECK: fresnel.transpose_blocks %{{.*}} {blocks = 13 : i64} : tensor<1x4x100x3xi32>
  %f = fresnel.transpose_blocks %e {blocks = 13} : tensor<1x4x100x3xi32>
  // CHECK: fresnel.count_rows %{{.*}} : tensor<1x4x13x4xi32>
  %count = fresnel.count_rows %f : tensor<1x4x13x4xi32>
  // CHECK: fresnel.regroup_scored %x, %k lse %l {block = 4 : i64, causal = true, seq_len = 101 : i64, stride = 1 : i64, window = 2 : i64} : tensor<1x4x100x32xbf16>, tensor<1x2x100x32xbf16>, tensor<1x4x100xf32>
  %summed = fresnel.regroup_scored %x, %k lse %l {causal = true, window = 2, stride = 1, block = 4, seq_len = 101} : !x, !k, tensor<1x4x100xf32>
  fresnel.return %y, %d, %summed {names = ["y", "d", "j"]} : !x, !k, tensor<1x2x100x26xf32>
}

!g = tensor<1x4x100x96xbf16>
!h = tensor<1x2x130x96xbf16>
!l = tensor<1x4x100xf32>
!w = tensor<1x4x100x3xbf16>
// CHECK-LABEL: fresnel.program @gradients
fresnel.program @gradients(%q: !g, %k: !h, %l: !l, %weights: !w, %slots: tensor<1x2x263xi32>) {
  // CHECK: %[[S:.*]] = fresnel.attend_stats %q, %q of %l : tensor<1x4x100x96xbf16>, tensor<1x4x100xf32>
  %s = fresnel.attend_stats %q, %q of %l : !g, !l
  // CHECK: fresnel.attend_stats %q, %q of %l more(%l : tensor<1x4x100xf32>)
  %t = fresnel.attend_stats %q, %q of %l more(%l : !l) : !g, !l
  // CHECK: %[[BOUNDS:.*]] = fresnel.bound_keys %k, %k : tensor<1x2x130x96xbf16>, tensor<1x2x130x96xbf16>
  %bounds = fresnel.bound_keys %k, %k : !h, !h
  // CHECK: fresnel.attend_stats %q, %q of %l more(%l, %[[BOUNDS]] : tensor<1x4x100xf32>, tensor<1x2x2x2xf32>)
  %three = fresnel.attend_stats %q, %q of %l more(%l, %bounds : !l, tensor<1x2x2x2xf32>) : !g, !l
  // With three rows of stats sums are integers.
  // CHECK: fresnel.attend_grad {{.*}} tensor<1x4x3x128xf32>
  %i, %j, %m = fresnel.attend_grad %q, %k, %k stats %three dout %q : !g, !h, !h, tensor<1x4x3x128xf32>, !g
  // CHECK: fresnel.settle_tiles %{{.*}} of %q, %k, %k stats %{{.*}} dout %q : tensor<1x4x2x6144xi32>, tensor<1x4x100x96xbf16>
  %n = fresnel.settle_tiles %i of %q, %k, %k stats %three dout %q : tensor<1x4x2x6144xi32>, !g, !h, !h, tensor<1x4x3x128xf32>, !g
  // Two tiles of 64 rows.
  // CHECK: %[[DQ:.*]], %{{.*}}, %{{.*}} = fresnel.attend_grad %q, %k, %k stats %[[S]] dout %q {causal = true}
  // CHECK-SAME: tensor<1x4x2x128xf32>, tensor<1x4x100x96xbf16>
  %a, %b, %c = fresnel.attend_grad %q, %k, %k stats %s dout %q {causal = true} : !g, !h, !h, tensor<1x4x2x128xf32>, !g
  // CHECK: fresnel.round_tiles %[[DQ]] {element = bf16, head_dim = 96 : i64, scale = 2.500000e-01 : f64, seq_len = 100 : i64} : tensor<1x4x2x6144xf32>
  %d = fresnel.round_tiles %a {seq_len = 100, head_dim = 96, scale = 0.25, element = bf16} : tensor<1x4x2x6144xf32>
  // CHECK: fresnel.gate_delta %weights dout %q of %q, %q, %q, %l, %l {activation = #fresnel<activation sigmoid>, deltas = array<i64: 2>, stats = array<i64: 0>}
  // CHECK-SAME: : tensor<1x4x100x3xbf16>, tensor<1x4x100x96xbf16> of tensor<1x4x100x96xbf16>, {{.*}}, tensor<1x4x100xf32>, tensor<1x4x100xf32>
  %dw, %s0, %d1, %l2, %d2 = fresnel.gate_delta %weights dout %q of %q, %q, %q, %l, %l
      {activation = #fresnel<activation sigmoid>, deltas = array<i64: 2>, stats = array<i64: 0>} : !w, !g of !g, !g, !g, !l, !l
  // CHECK: fresnel.round_tiles %[[DQ]] more(%[[S]] : tensor<1x4x2x128xf32>)
  %o = fresnel.round_tiles %a more(%s : tensor<1x4x2x128xf32>) {seq_len = 100, head_dim = 96, scale = 0.25, element = bf16} : tensor<1x4x2x6144xf32>
  // CHECK: fresnel.round_tiles %[[DQ]] more(%q : tensor<1x4x100x96xbf16>)
  %p = fresnel.round_tiles %a more(%q : !g) {seq_len = 100, head_dim = 96, scale = 0.25, element = bf16} : tensor<1x4x2x6144xf32>
  // CHECK: fresnel.round_tiles %[[DQ]] more(%[[S]], %q : tensor<1x4x2x128xf32>, tensor<1x4x100x96xbf16>)
  %r = fresnel.round_tiles %a more(%s, %q : tensor<1x4x2x128xf32>, !g) {seq_len = 100, head_dim = 96, scale = 0.25, element = bf16} : tensor<1x4x2x6144xf32>
  // CHECK: fresnel.gather_grad_tiles %[[DQ]], %slots {element = bf16, factor = 4 : i64, heads = 4 : i64, levels = 3 : i64, scale = 2.500000e-01 : f64, seq_len = 200 : i64} : tensor<1x4x2x6144xf32>, tensor<1x2x263xi32>
  %u = fresnel.gather_grad_tiles %a, %slots {heads = 4, seq_len = 200, levels = 3, factor = 4, scale = 0.25, element = bf16} : tensor<1x4x2x6144xf32>, tensor<1x2x263xi32>
  fresnel.return %d, %b, %c, %dw, %s0, %d1, %l2, %d2 {names = ["dq", "dk", "dv", "dw", "s0", "d1", "l2", "d2"]}
      : !g, !h, !h, !w, tensor<1x4x2x128xf32>, !g, !l, !l
}
