// One negative test per numbered constraint of the fused operations.
// RUN: fresnel-opt %s --split-input-file --verify-diagnostics

fresnel.program @pool_levels_c1(%x: tensor<1x2x100x32xbf16>) {
  // expected-error @+1 {{`levels` must be in [2, 16], but got 1}}
  %r = fresnel.pool_levels %x {levels = 1, factor = 4} : tensor<1x2x100x32xbf16>
  fresnel.return {names = []}
}

// -----

fresnel.program @gather_levels_c1(%x: tensor<1x2x100x32xbf16>, %t: tensor<1x2x32x32xbf16>, %i: tensor<1x2x9xi32>) {
  // expected-error @+1 {{needs as many tails as bases}}
  %y, %z = fresnel.gather_levels %x, %t tails %t, %t at %i : tensor<1x2x100x32xbf16>, tensor<1x2x32x32xbf16> tails tensor<1x2x32x32xbf16>, tensor<1x2x32x32xbf16> at tensor<1x2x9xi32>
  fresnel.return {names = []}
}

// -----

fresnel.program @gather_levels_c2(%x: tensor<1x2x100x32xbf16>, %t: tensor<1x1x32x32xbf16>, %i: tensor<1x2x9xi32>) {
  // expected-error @+1 {{a tail must agree with its base except in length}}
  %y = fresnel.gather_levels %x tails %t at %i : tensor<1x2x100x32xbf16> tails tensor<1x1x32x32xbf16> at tensor<1x2x9xi32>
  fresnel.return {names = []}
}

// -----

fresnel.program @gather_levels_c3(%x: tensor<1x2x100x32xbf16>, %t: tensor<1x2x32x32xbf16>, %i: tensor<1x3x9xi32>) {
  // expected-error @+1 {{of the heads of `indices` and a base one be a multiple of the other}}
  %y = fresnel.gather_levels %x tails %t at %i : tensor<1x2x100x32xbf16> tails tensor<1x2x32x32xbf16> at tensor<1x3x9xi32>
  fresnel.return {names = []}
}

// -----

fresnel.program @gather_levels_c4(%x: tensor<1x4x100x32xbf16>, %t: tensor<1x4x32x32xbf16>, %k: tensor<1x2x100x32xbf16>, %u: tensor<1x2x32x32xbf16>, %i: tensor<1x2x9xi32>) {
  // expected-error @+1 {{the results must agree in heads, but they are 'tensor<1x4x9x32xbf16>' and 'tensor<1x2x9x32xbf16>'}}
  %y, %z = fresnel.gather_levels %x, %k tails %t, %u at %i : tensor<1x4x100x32xbf16>, tensor<1x2x100x32xbf16> tails tensor<1x4x32x32xbf16>, tensor<1x2x32x32xbf16> at tensor<1x2x9xi32>
  fresnel.return {names = []}
}

// -----

fresnel.program @scatter_by_slots_c1(%x: tensor<1x2x9x32xbf16>, %s: tensor<1x4x132xi32>) {
  // expected-error @+1 {{the heads of the rows be a multiple of those of `slots`}}
  %y = fresnel.scatter_by_slots %x, %s {seq_len = 100, levels = 3, factor = 4} : tensor<1x2x9x32xbf16>, tensor<1x4x132xi32>
  fresnel.return {names = []}
}

// -----

fresnel.program @scatter_by_slots_c2(%x: tensor<1x2x9x32xbf16>, %s: tensor<1x2x132xi32>) {
  // expected-error @+1 {{`factor` must be at least 2, but got 1}}
  %y = fresnel.scatter_by_slots %x, %s {seq_len = 100, levels = 3, factor = 1} : tensor<1x2x9x32xbf16>, tensor<1x2x132xi32>
  fresnel.return {names = []}
}

// -----

fresnel.program @scatter_by_slots_c3(%x: tensor<1x2x9x32xbf16>, %s: tensor<1x2x131xi32>) {
  // expected-error @+1 {{has 132 entries, but `slots` has 131}}
  %y = fresnel.scatter_by_slots %x, %s {seq_len = 100, levels = 3, factor = 4} : tensor<1x2x9x32xbf16>, tensor<1x2x131xi32>
  fresnel.return {names = []}
}

// -----

fresnel.program @gather_grad_by_slots_c1(%x: tensor<1x2x9x32xbf16>, %s: tensor<2x2x132xi32>) {
  // expected-error @+1 {{the heads of the rows be a multiple of those of `slots`}}
  %y = fresnel.gather_grad_by_slots %x, %s {heads = 2, seq_len = 100, levels = 3, factor = 4} : tensor<1x2x9x32xbf16>, tensor<2x2x132xi32>
  fresnel.return {names = []}
}

// -----

fresnel.program @gather_grad_by_slots_c2(%x: tensor<1x2x9x32xbf16>, %s: tensor<1x2x132xi32>) {
  // expected-error @+1 {{`levels` must be in [1, 16], but got 17}}
  %y = fresnel.gather_grad_by_slots %x, %s {heads = 2, seq_len = 100, levels = 17, factor = 4} : tensor<1x2x9x32xbf16>, tensor<1x2x132xi32>
  fresnel.return {names = []}
}

// -----

fresnel.program @gather_grad_by_slots_c3(%x: tensor<1x2x9x32xbf16>, %s: tensor<1x2x100xi32>) {
  // expected-error @+1 {{has 132 entries, but `slots` has 100}}
  %y = fresnel.gather_grad_by_slots %x, %s {heads = 2, seq_len = 100, levels = 3, factor = 4} : tensor<1x2x9x32xbf16>, tensor<1x2x100xi32>
  fresnel.return {names = []}
}

// -----

fresnel.program @gather_grad_by_slots_c4(%x: tensor<1x2x9x32xbf16>, %s: tensor<1x2x132xi32>) {
  // expected-error @+1 {{`heads` must be positive and divide the 2 heads of dy, but got 3}}
  %y = fresnel.gather_grad_by_slots %x, %s {heads = 3, seq_len = 100, levels = 3, factor = 4} : tensor<1x2x9x32xbf16>, tensor<1x2x132xi32>
  fresnel.return {names = []}
}

// -----

fresnel.program @gather_grad_tiles_c1(%t: tensor<1x2x3x2048xf32>, %s: tensor<1x2x132xi32>) {
  // expected-error @+1 {{`tiles` must be an even number of tiles of a multiple of 512 elements, but got 'tensor<1x2x3x2048xf32>'}}
  %y = fresnel.gather_grad_tiles %t, %s {heads = 2, seq_len = 100, levels = 3, factor = 4, scale = 0.25, element = bf16} : tensor<1x2x3x2048xf32>, tensor<1x2x132xi32>
  fresnel.return {names = []}
}

// -----

fresnel.program @gather_grad_tiles_c1_columns(%t: tensor<1x2x2x768xf32>, %s: tensor<1x2x132xi32>) {
  // expected-error @+1 {{`tiles` must be an even number of tiles of a multiple of 512 elements, but got 'tensor<1x2x2x768xf32>'}}
  %y = fresnel.gather_grad_tiles %t, %s {heads = 2, seq_len = 100, levels = 3, factor = 4, scale = 0.25, element = bf16} : tensor<1x2x2x768xf32>, tensor<1x2x132xi32>
  fresnel.return {names = []}
}

// -----

fresnel.program @gather_grad_tiles_c2(%t: tensor<1x2x2x2048xf32>, %s: tensor<1x2x132xi32>) {
  // expected-error @+1 {{needs the attribute `element`: bf16, f16 or f32}}
  %y = fresnel.gather_grad_tiles %t, %s {heads = 2, seq_len = 100, levels = 3, factor = 4, scale = 0.25, element = i32} : tensor<1x2x2x2048xf32>, tensor<1x2x132xi32>
  fresnel.return {names = []}
}

// -----

fresnel.program @gather_grad_tiles_c3(%t: tensor<1x2x2x2048xf32>, %s: tensor<2x2x132xi32>) {
  // expected-error @+1 {{the heads of the rows be a multiple of those of `slots`}}
  %y = fresnel.gather_grad_tiles %t, %s {heads = 2, seq_len = 100, levels = 3, factor = 4, scale = 0.25, element = bf16} : tensor<1x2x2x2048xf32>, tensor<2x2x132xi32>
  fresnel.return {names = []}
}

// -----

fresnel.program @gather_grad_tiles_c4(%t: tensor<1x2x2x2048xf32>, %s: tensor<1x2x132xi32>) {
  // expected-error @+1 {{`levels` must be in [1, 16], but got 17}}
  %y = fresnel.gather_grad_tiles %t, %s {heads = 2, seq_len = 100, levels = 17, factor = 4, scale = 0.25, element = bf16} : tensor<1x2x2x2048xf32>, tensor<1x2x132xi32>
  fresnel.return {names = []}
}

// -----

fresnel.program @gather_grad_tiles_c5(%t: tensor<1x2x2x2048xf32>, %s: tensor<1x2x100xi32>) {
  // expected-error @+1 {{has 132 entries, but `slots` has 100}}
  %y = fresnel.gather_grad_tiles %t, %s {heads = 2, seq_len = 100, levels = 3, factor = 4, scale = 0.25, element = bf16} : tensor<1x2x2x2048xf32>, tensor<1x2x100xi32>
  fresnel.return {names = []}
}

// -----

fresnel.program @gather_grad_tiles_c6(%t: tensor<1x2x2x2048xf32>, %s: tensor<1x2x132xi32>) {
  // expected-error @+1 {{`heads` must be positive and divide the 2 heads of `tiles`, but got 3}}
  %y = fresnel.gather_grad_tiles %t, %s {heads = 3, seq_len = 100, levels = 3, factor = 4, scale = 0.25, element = bf16} : tensor<1x2x2x2048xf32>, tensor<1x2x132xi32>
  fresnel.return {names = []}
}

// -----

fresnel.program @gather_grad_tiles_c7(%t: tensor<1x2x2x2048xf32>, %s: tensor<1x2x132xi32>) {
  // expected-error @+1 {{`documents` must sum to the 100 tokens, but they sum to 90}}
  %y = fresnel.gather_grad_tiles %t, %s {heads = 2, seq_len = 100, levels = 3, factor = 4, scale = 0.25, element = bf16, documents = array<i64: 90>} : tensor<1x2x2x2048xf32>, tensor<1x2x132xi32>
  fresnel.return {names = []}
}

// -----

fresnel.program @scatter_grad_by_slots_c1(%x: tensor<1x3x100x32xbf16>, %i: tensor<1x2x9xi32>, %s: tensor<1x2x132xi32>) {
  // expected-error @+1 {{the heads of the rows be a multiple of those of `slots`}}
  %y = fresnel.scatter_grad_by_slots %x, %i, %s {levels = 3, factor = 4} : tensor<1x3x100x32xbf16>, tensor<1x2x9xi32>, tensor<1x2x132xi32>
  fresnel.return {names = []}
}

// -----

fresnel.program @scatter_grad_by_slots_c2(%x: tensor<1x2x100x32xbf16>, %i: tensor<1x2x9xi32>, %s: tensor<1x2x132xi32>) {
  // expected-error @+1 {{`factor` must be at least 2, but got 1}}
  %y = fresnel.scatter_grad_by_slots %x, %i, %s {levels = 3, factor = 1} : tensor<1x2x100x32xbf16>, tensor<1x2x9xi32>, tensor<1x2x132xi32>
  fresnel.return {names = []}
}

// -----

fresnel.program @scatter_grad_by_slots_c3(%x: tensor<1x2x101x32xbf16>, %i: tensor<1x2x9xi32>, %s: tensor<1x2x132xi32>) {
  // expected-error @+1 {{has 134 entries, but `slots` has 132}}
  %y = fresnel.scatter_grad_by_slots %x, %i, %s {levels = 3, factor = 4} : tensor<1x2x101x32xbf16>, tensor<1x2x9xi32>, tensor<1x2x132xi32>
  fresnel.return {names = []}
}

// -----

fresnel.program @scatter_grad_by_slots_c4(%x: tensor<1x2x100x32xbf16>, %i: tensor<1x1x9xi32>, %s: tensor<1x2x132xi32>) {
  // expected-error @+1 {{`indices` and `slots` must agree in batch and heads}}
  %y = fresnel.scatter_grad_by_slots %x, %i, %s {levels = 3, factor = 4} : tensor<1x2x100x32xbf16>, tensor<1x1x9xi32>, tensor<1x2x132xi32>
  fresnel.return {names = []}
}

// -----

fresnel.program @select_scored_required(%q: tensor<1x2x64x32xbf16>, %k: tensor<1x2x8x32xbf16>) {
  // expected-error @+1 {{needs the attribute `topk`, a 64-bit integer}}
  %i = fresnel.select_scored %q, %k {key_block = 8} : tensor<1x2x64x32xbf16>, tensor<1x2x8x32xbf16>
  fresnel.return {names = []}
}

// -----

fresnel.program @select_scored_c1(%q: tensor<1x2x64x32xbf16>, %k: tensor<1x2x8x16xbf16>) {
  // expected-error @+1 {{q and k must agree in batch, head dim and element type}}
  %i = fresnel.select_scored %q, %k {topk = 2, key_block = 8} : tensor<1x2x64x32xbf16>, tensor<1x2x8x16xbf16>
  fresnel.return {names = []}
}

// -----

fresnel.program @select_scored_c2(%q: tensor<1x3x64x32xbf16>, %k: tensor<1x2x8x32xbf16>) {
  // expected-error @+1 {{the 3 query heads must be a multiple of the 2 key heads}}
  %i = fresnel.select_scored %q, %k {topk = 2, key_block = 8} : tensor<1x3x64x32xbf16>, tensor<1x2x8x32xbf16>
  fresnel.return {names = []}
}

// -----

fresnel.program @select_scored_c3(%q: tensor<1x2x64x32xbf16>, %k: tensor<1x2x8x32xbf16>) {
  // expected-error @+1 {{`query_stride` must be positive, but got 0}}
  %i = fresnel.select_scored %q, %k {topk = 2, key_block = 8, query_stride = 0} : tensor<1x2x64x32xbf16>, tensor<1x2x8x32xbf16>
  fresnel.return {names = []}
}

// -----

fresnel.program @select_scored_c4(%q: tensor<1x2x64x32xbf16>, %k: tensor<1x2x8x32xbf16>) {
  // expected-error @+1 {{`local` 2 and `sinks` 1 must not be negative and fit into `topk` 2}}
  %i = fresnel.select_scored %q, %k {topk = 2, key_block = 8, local = 2, sinks = 1} : tensor<1x2x64x32xbf16>, tensor<1x2x8x32xbf16>
  fresnel.return {names = []}
}

// -----

fresnel.program @select_scored_c5(%q: tensor<1x2x64x32xbf16>, %k: tensor<1x2x8x32xbf16>, %d: tensor<1x2x72xi32>) {
  // expected-error @+1 {{'fresnel.select_scored' op `documents` must be [1, 2, N] of N tokens in 64 rows and 8 blocks, but got 'tensor<1x2x72xi32>'}}
  %i = fresnel.select_scored %q, %k documents(%d : tensor<1x2x72xi32>) {topk = 2, key_block = 8} : tensor<1x2x64x32xbf16>, tensor<1x2x8x32xbf16>
  fresnel.return %i {names = ["i"]} : tensor<1x2x64x2xi32>
}

// -----

fresnel.program @transpose_blocks_required(%i: tensor<1x2x64x3xi32>) {
  // expected-error @+1 {{needs the attribute `blocks`, a 64-bit integer}}
  %t = fresnel.transpose_blocks %i : tensor<1x2x64x3xi32>
  fresnel.return {names = []}
}

// -----

fresnel.program @transpose_blocks_c1(%i: tensor<1x2x64x3xi32>) {
  // expected-error @+1 {{`blocks` must be positive, but got 0}}
  %t = fresnel.transpose_blocks %i {blocks = 0} : tensor<1x2x64x3xi32>
  fresnel.return {names = []}
}

// -----

fresnel.program @attend_stats_c1(%x: tensor<1x2x64x32xbf16>, %l: tensor<1x2x63xf32>) {
  // expected-error @+1 {{`lse` and `dlse` its shape without the head dim}}
  %s = fresnel.attend_stats %x, %x of %l : tensor<1x2x64x32xbf16>, tensor<1x2x63xf32>
  fresnel.return {names = []}
}

// -----

fresnel.program @attend_stats_c2(%x: tensor<1x2x64x32xbf16>, %l: tensor<1x2x64xf32>, %b: tensor<1x2x3x1xf32>) {
  // expected-error @+1 {{`bounds` must be what `fresnel.bound_keys` gives for 'tensor<1x2x64x32xbf16>', but got 'tensor<1x2x3x1xf32>'}}
  %s = fresnel.attend_stats %x, %x of %l more(%b : tensor<1x2x3x1xf32>) : tensor<1x2x64x32xbf16>, tensor<1x2x64xf32>
  fresnel.return {names = []}
}

// -----

fresnel.program @attend_stats_c3(%x: tensor<1x2x64x32xbf16>, %l: tensor<1x2x64xf32>) {
  // expected-error @+1 {{`more` may have one LSE's gradient and bounds, but has 2 tensors, the first of type 'tensor<1x2x64xf32>'}}
  %s = fresnel.attend_stats %x, %x of %l more(%l, %l : tensor<1x2x64xf32>, tensor<1x2x64xf32>) : tensor<1x2x64x32xbf16>, tensor<1x2x64xf32>
  fresnel.return {names = []}
}

// -----

fresnel.program @gate_delta_c1(%x: tensor<1x2x64x32xbf16>, %g: tensor<1x2x64x3xbf16>) {
  // expected-error @+1 {{needs a branch for each of the 3 columns of `gates`, but has 2 tensors}}
  %a:4 = fresnel.gate_delta %g dout %x of %x, %x {activation = #fresnel<activation sigmoid>}
      : tensor<1x2x64x3xbf16>, tensor<1x2x64x32xbf16> of tensor<1x2x64x32xbf16>, tensor<1x2x64x32xbf16>
  fresnel.return {names = []}
}

// -----

fresnel.program @gate_delta_c1(%x: tensor<1x2x64x32xbf16>, %g: tensor<1x2x63x1xbf16>) {
  // expected-error @+1 {{`gates` must be [1, 2, 64, 1], but got 'tensor<1x2x63x1xbf16>'}}
  %a:2 = fresnel.gate_delta %g dout %x of %x {activation = #fresnel<activation sigmoid>}
      : tensor<1x2x63x1xbf16>, tensor<1x2x64x32xbf16> of tensor<1x2x64x32xbf16>
  fresnel.return {names = []}
}

// -----

fresnel.program @gate_delta_c2(%x: tensor<1x2x64x32xbf16>, %y: tensor<1x2x64x16xbf16>, %g: tensor<1x2x64x1xbf16>) {
  // expected-error @+1 {{dy must have the branches' type 'tensor<1x2x64x32xbf16>', but got 'tensor<1x2x64x16xbf16>'}}
  %a:2 = fresnel.gate_delta %g dout %y of %x {activation = #fresnel<activation sigmoid>}
      : tensor<1x2x64x1xbf16>, tensor<1x2x64x16xbf16> of tensor<1x2x64x32xbf16>
  fresnel.return {names = []}
}

// -----

fresnel.program @gate_delta_c3(%x: tensor<1x2x64x32xbf16>, %g: tensor<1x2x64x1xbf16>) {
  // expected-error @+1 {{needs an `activation` that is positive everywhere, sigmoid, but got none}}
  %a:2 = fresnel.gate_delta %g dout %x of %x : tensor<1x2x64x1xbf16>, tensor<1x2x64x32xbf16> of tensor<1x2x64x32xbf16>
  fresnel.return {names = []}
}

// -----

fresnel.program @gate_delta_c4(%x: tensor<1x2x64x32xbf16>, %g: tensor<1x2x64x1xbf16>, %l: tensor<1x2x64xf32>) {
  // expected-error @+1 {{`deltas` and `stats` must name branches from 0 to 0 in ascending order, but got 1 at place 0}}
  %a:2 = fresnel.gate_delta %g dout %x of %x, %l {activation = #fresnel<activation sigmoid>, stats = array<i64: 1>}
      : tensor<1x2x64x1xbf16>, tensor<1x2x64x32xbf16> of tensor<1x2x64x32xbf16>, tensor<1x2x64xf32>
  fresnel.return {names = []}
}

// -----

fresnel.program @gate_delta_c4(%x: tensor<1x2x64x32xbf16>, %g: tensor<1x2x64x1xbf16>, %l: tensor<1x2x64xf32>) {
  // expected-error @+1 {{`deltas` and `stats` must name branches from 0 to 0 in ascending order, but got 0 at place 1}}
  %a:3 = fresnel.gate_delta %g dout %x of %x, %l, %l {activation = #fresnel<activation sigmoid>, deltas = array<i64: 0, 0>}
      : tensor<1x2x64x1xbf16>, tensor<1x2x64x32xbf16> of tensor<1x2x64x32xbf16>, tensor<1x2x64xf32>, tensor<1x2x64xf32>
  fresnel.return {names = []}
}

// -----

fresnel.program @gate_delta_c4(%x: tensor<1x2x64x32xbf16>, %g: tensor<1x2x64x1xbf16>, %l: tensor<1x2x64xf32>) {
  // expected-error @+1 {{`deltas` and `stats` must not both name branch 0}}
  %a:3 = fresnel.gate_delta %g dout %x of %x, %l, %l {activation = #fresnel<activation sigmoid>, deltas = array<i64: 0>, stats = array<i64: 0>}
      : tensor<1x2x64x1xbf16>, tensor<1x2x64x32xbf16> of tensor<1x2x64x32xbf16>, tensor<1x2x64xf32>, tensor<1x2x64xf32>
  fresnel.return {names = []}
}

// -----

fresnel.program @gate_delta_c5(%x: tensor<1x2x64x32xbf16>, %g: tensor<1x2x64x1xbf16>, %l: tensor<1x2x63xf32>) {
  // expected-error @+1 {{needs an LSE 'tensor<1x2x64xf32>' for each of the 1 branches that `deltas` or `stats` names, but has behind the branches 'tensor<1x2x63xf32>'}}
  %a:3 = fresnel.gate_delta %g dout %x of %x, %l {activation = #fresnel<activation sigmoid>, deltas = array<i64: 0>}
      : tensor<1x2x64x1xbf16>, tensor<1x2x64x32xbf16> of tensor<1x2x64x32xbf16>, tensor<1x2x63xf32>
  fresnel.return {names = []}
}

// -----

fresnel.program @bound_keys_c1(%k: tensor<1x2x64x32xbf16>, %v: tensor<1x2x63x32xbf16>) {
  // expected-error @+1 {{k and v must agree in all but the head dim}}
  %b = fresnel.bound_keys %k, %v : tensor<1x2x64x32xbf16>, tensor<1x2x63x32xbf16>
  fresnel.return {names = []}
}

// -----

fresnel.program @attend_grad_c1(%q: tensor<1x2x64x32xbf16>, %k: tensor<1x2x64x16xbf16>, %s: tensor<1x2x2x128xf32>) {
  // expected-error @+1 {{q, k and v do not fit}}
  %a, %b, %c = fresnel.attend_grad %q, %k, %k stats %s dout %q : tensor<1x2x64x32xbf16>, tensor<1x2x64x16xbf16>, tensor<1x2x64x16xbf16>, tensor<1x2x2x128xf32>, tensor<1x2x64x32xbf16>
  fresnel.return {names = []}
}

// -----

fresnel.program @attend_grad_c1_columns(%q: tensor<1x2x64x36xbf16>, %s: tensor<1x2x2x128xf32>) {
  // expected-error @+1 {{the head dim of q must be a multiple of 8, but is 36}}
  %a, %b, %c = fresnel.attend_grad %q, %q, %q stats %s dout %q : tensor<1x2x64x36xbf16>, tensor<1x2x64x36xbf16>, tensor<1x2x64x36xbf16>, tensor<1x2x2x128xf32>, tensor<1x2x64x36xbf16>
  fresnel.return {names = []}
}

// -----

fresnel.program @attend_grad_c2(%q: tensor<1x2x64x32xbf16>, %s: tensor<1x2x2x64xf32>) {
  // expected-error @+1 {{`stats` must be 'tensor<1x2x2x128xf32>', or with a third row}}
  %a, %b, %c = fresnel.attend_grad %q, %q, %q stats %s dout %q : tensor<1x2x64x32xbf16>, tensor<1x2x64x32xbf16>, tensor<1x2x64x32xbf16>, tensor<1x2x2x64xf32>, tensor<1x2x64x32xbf16>
  fresnel.return {names = []}
}

// -----

fresnel.program @attend_grad_c1_pooled(%q: tensor<1x2x64x32xbf16>, %k: tensor<1x2x16x32xbf16>, %s: tensor<1x2x2x128xf32>) {
  // expected-error @+1 {{`key_window` and `key_stride` must be positive, but got 4 and 0}}
  %a, %b, %c = fresnel.attend_grad %q, %k, %k stats %s dout %q {causal = true, key_window = 4, key_stride = 0} : tensor<1x2x64x32xbf16>, tensor<1x2x16x32xbf16>, tensor<1x2x16x32xbf16>, tensor<1x2x2x128xf32>, tensor<1x2x64x32xbf16>
  fresnel.return {names = []}
}

// -----

fresnel.program @attend_grad_c1_lists(%q: tensor<1x2x64x32xbf16>, %s: tensor<1x2x2x128xf32>, %l: tensor<1x2x2x9xi32>, %t: tensor<1x2x8x1xi32>) {
  // expected-error @+1 {{at most 8 entries}}
  %a, %b, %c = fresnel.attend_grad %q, %q, %q stats %s dout %q mask(%l, %t : tensor<1x2x2x9xi32>, tensor<1x2x8x1xi32>) {query_block = 32, key_block = 8} : tensor<1x2x64x32xbf16>, tensor<1x2x64x32xbf16>, tensor<1x2x64x32xbf16>, tensor<1x2x2x128xf32>, tensor<1x2x64x32xbf16>
  fresnel.return {names = []}
}

// -----

fresnel.program @attend_grad_c3(%q: tensor<1x2x64x32xbf16>, %s: tensor<1x2x2x128xf32>, %l: tensor<1x2x2x3xi32>) {
  // expected-error @+1 {{`mask` must be bounds of documents, or a list and its transpose, but there are 1 tensors, the first of type 'tensor<1x2x2x3xi32>'}}
  %a, %b, %c = fresnel.attend_grad %q, %q, %q stats %s dout %q mask(%l : tensor<1x2x2x3xi32>) {query_block = 32, key_block = 8} : tensor<1x2x64x32xbf16>, tensor<1x2x64x32xbf16>, tensor<1x2x64x32xbf16>, tensor<1x2x2x128xf32>, tensor<1x2x64x32xbf16>
  fresnel.return {names = []}
}

// -----

fresnel.program @attend_grad_c3_transpose(%q: tensor<1x2x64x32xbf16>, %s: tensor<1x2x2x128xf32>, %l: tensor<1x2x2x3xi32>, %t: tensor<1x2x4x1xi32>) {
  // expected-error @+1 {{the transpose of the list must be 'tensor<1x2x8x1xi32>', but got 'tensor<1x2x4x1xi32>'}}
  %a, %b, %c = fresnel.attend_grad %q, %q, %q stats %s dout %q mask(%l, %t : tensor<1x2x2x3xi32>, tensor<1x2x4x1xi32>) {query_block = 32, key_block = 8} : tensor<1x2x64x32xbf16>, tensor<1x2x64x32xbf16>, tensor<1x2x64x32xbf16>, tensor<1x2x2x128xf32>, tensor<1x2x64x32xbf16>
  fresnel.return {names = []}
}

// -----

fresnel.program @round_tiles_c1(%t: tensor<1x2x2x4096xf32>) {
  // expected-error @+1 {{`seq_len` 100 and `head_dim` 96 do not fit tiles of type 'tensor<1x2x2x4096xf32>'}}
  %d = fresnel.round_tiles %t {seq_len = 100, head_dim = 96, scale = 1.0, element = bf16} : tensor<1x2x2x4096xf32>
  fresnel.return {names = []}
}

// -----

fresnel.program @round_tiles_c2(%t: tensor<1x2x2x4096xf32>) {
  // expected-error @+1 {{needs the attribute `element`: bf16, f16 or f32}}
  %d = fresnel.round_tiles %t {seq_len = 100, head_dim = 64, scale = 1.0, element = i32} : tensor<1x2x2x4096xf32>
  fresnel.return {names = []}
}

// -----

fresnel.program @round_tiles_without_scale(%t: tensor<1x2x2x4096xf32>) {
  // expected-error @+1 {{needs the attribute `scale`, a 64-bit float}}
  %d = fresnel.round_tiles %t {seq_len = 100, head_dim = 64, element = bf16} : tensor<1x2x2x4096xf32>
  fresnel.return {names = []}
}

// -----

fresnel.program @round_tiles_c3(%t: tensor<1x2x2x4096xf32>, %s: tensor<1x2x2x64xf32>) {
  // expected-error @+1 {{`more` must be stats of type 'tensor<1x2x2x128xf32>', an addend of type 'tensor<1x2x100x64xbf16>', or both in this order, but has 1, the last of type 'tensor<1x2x2x64xf32>'}}
  %d = fresnel.round_tiles %t more(%s : tensor<1x2x2x64xf32>) {seq_len = 100, head_dim = 64, scale = 1.0, element = bf16} : tensor<1x2x2x4096xf32>
  fresnel.return {names = []}
}

// -----

fresnel.program @round_tiles_c3_order(%t: tensor<1x2x2x4096xf32>, %s: tensor<1x2x2x128xf32>, %a: tensor<1x2x100x64xbf16>) {
  // expected-error @+1 {{or both in this order, but has 2, the last of type 'tensor<1x2x2x128xf32>'}}
  %d = fresnel.round_tiles %t more(%a, %s : tensor<1x2x100x64xbf16>, tensor<1x2x2x128xf32>) {seq_len = 100, head_dim = 64, scale = 1.0, element = bf16} : tensor<1x2x2x4096xf32>
  fresnel.return {names = []}
}

// -----

fresnel.program @settle_tiles_c1(%q: tensor<1x2x64x32xbf16>, %s: tensor<1x2x3x128xf32>, %t: tensor<1x2x1x2048xi32>) {
  // expected-error @+1 {{`stats` must have three rows, and `tiles` be the integers of `fresnel.attend_grad`, 'tensor<1x2x2x2048xi32>', but got 'tensor<1x2x1x2048xi32>'}}
  %d = fresnel.settle_tiles %t of %q, %q, %q stats %s dout %q : tensor<1x2x1x2048xi32>, tensor<1x2x64x32xbf16>, tensor<1x2x64x32xbf16>, tensor<1x2x64x32xbf16>, tensor<1x2x3x128xf32>, tensor<1x2x64x32xbf16>
  fresnel.return {names = []}
}

// -----

fresnel.program @settle_tiles_c1_stats(%q: tensor<1x2x64x32xbf16>, %s: tensor<1x2x2x128xf32>, %t: tensor<1x2x2x2048xi32>) {
  // expected-error @+1 {{`stats` must have three rows}}
  %d = fresnel.settle_tiles %t of %q, %q, %q stats %s dout %q : tensor<1x2x2x2048xi32>, tensor<1x2x64x32xbf16>, tensor<1x2x64x32xbf16>, tensor<1x2x64x32xbf16>, tensor<1x2x2x128xf32>, tensor<1x2x64x32xbf16>
  fresnel.return {names = []}
}

// -----

fresnel.program @regroup_scored_c1(%q: tensor<1x4x64x32xbf16>, %k: tensor<1x2x15x16xbf16>, %l: tensor<1x4x64xf32>) {
  // expected-error @+1 {{q and k must agree in batch, head dim and element type}}
  %y = fresnel.regroup_scored %q, %k lse %l {window = 8, stride = 4, block = 16, seq_len = 64} : tensor<1x4x64x32xbf16>, tensor<1x2x15x16xbf16>, tensor<1x4x64xf32>
  fresnel.return {names = []}
}

// -----

fresnel.program @regroup_scored_c2(%q: tensor<1x4x64x32xbf16>, %k: tensor<1x3x15x32xbf16>, %l: tensor<1x4x64xf32>) {
  // expected-error @+1 {{the 4 query heads must be a multiple of the 3 key heads}}
  %y = fresnel.regroup_scored %q, %k lse %l {window = 8, stride = 4, block = 16, seq_len = 64} : tensor<1x4x64x32xbf16>, tensor<1x3x15x32xbf16>, tensor<1x4x64xf32>
  fresnel.return {names = []}
}

// -----

fresnel.program @regroup_scored_c3(%q: tensor<1x4x64x32xbf16>, %k: tensor<1x2x15x32xbf16>, %l: tensor<1x2x64xf32>) {
  // expected-error @+1 {{`lse` must hold one f32 for each row of 'tensor<1x4x64x32xbf16>', but got 'tensor<1x2x64xf32>'}}
  %y = fresnel.regroup_scored %q, %k lse %l {window = 8, stride = 4, block = 16, seq_len = 64} : tensor<1x4x64x32xbf16>, tensor<1x2x15x32xbf16>, tensor<1x2x64xf32>
  fresnel.return {names = []}
}

// -----

fresnel.program @regroup_scored_c4(%q: tensor<1x4x64x32xbf16>, %k: tensor<1x2x15x32xbf16>, %l: tensor<1x4x64xf32>) {
  // expected-error @+1 {{`block` must be positive, but got 0}}
  %y = fresnel.regroup_scored %q, %k lse %l {window = 8, stride = 4, block = 0, seq_len = 64} : tensor<1x4x64x32xbf16>, tensor<1x2x15x32xbf16>, tensor<1x4x64xf32>
  fresnel.return {names = []}
}

// -----

fresnel.program @regroup_scored_c4_stride(%q: tensor<1x4x64x32xbf16>, %k: tensor<1x2x15x32xbf16>, %l: tensor<1x4x64xf32>) {
  // expected-error @+1 {{`stride` 4 must divide `window` 10 and `block` 16}}
  %y = fresnel.regroup_scored %q, %k lse %l {window = 10, stride = 4, block = 16, seq_len = 64} : tensor<1x4x64x32xbf16>, tensor<1x2x15x32xbf16>, tensor<1x4x64xf32>
  fresnel.return {names = []}
}
