// One negative test per numbered constraint on the documents of pyramids and selections.
// RUN: fresnel-opt %s --split-input-file --verify-diagnostics

fresnel.program @pyramid_c4_sum(%x: tensor<1x2x100x32xbf16>) {
  // expected-error @+1 {{`documents` must sum to the 100 tokens, but they sum to 99}}
  %p = fresnel.pyramid mean %x {levels = 3, factor = 4, documents = array<i64: 40, 59>} : tensor<1x2x100x32xbf16>
  fresnel.return {names = []}
}

// -----

fresnel.program @pyramid_c4_negative(%x: tensor<1x2x100x32xbf16>) {
  // expected-error @+1 {{each of `documents` must be in [0, 100], but got -1}}
  %p = fresnel.pyramid mean %x {levels = 3, factor = 4, documents = array<i64: -1, 101>} : tensor<1x2x100x32xbf16>
  fresnel.return {names = []}
}

// -----

fresnel.program @select_cascade_c4(%s: tensor<1x2x132xf32>) {
  // expected-error @+1 {{`documents` must sum to the 100 tokens, but they sum to 40}}
  %i = fresnel.select_cascade %s, %s {seq_len = 100, levels = 3, factor = 4, topk = 4, documents = array<i64: 40>} : tensor<1x2x132xf32>, tensor<1x2x132xf32>
  fresnel.return {names = []}
}

// -----

fresnel.program @scatter_c3(%g: tensor<1x2x39x32xbf16>, %i: tensor<1x2x39xi32>) {
  // expected-error @+1 {{each of `documents` must be in [0, 100], but got 140}}
  %y = fresnel.scatter %g, %i {seq_len = 100, levels = 3, factor = 4, documents = array<i64: 140>} : tensor<1x2x39x32xbf16>, tensor<1x2x39xi32>
  fresnel.return {names = []}
}

// -----

fresnel.program @pyramid_grad_c3(%p: tensor<1x2x132x32xbf16>) {
  // expected-error @+1 {{`documents` must sum to the 100 tokens, but they sum to 0}}
  %d = fresnel.pyramid_grad mean %p {seq_len = 100, levels = 3, factor = 4, documents = array<i64: 0>} : tensor<1x2x132x32xbf16>
  fresnel.return {names = []}
}

// -----

fresnel.program @scatter_grad_c3(%x: tensor<1x2x100x32xbf16>, %i: tensor<1x2x39xi32>) {
  // expected-error @+1 {{`documents` must sum to the 100 tokens, but they sum to 90}}
  %d = fresnel.scatter_grad %x, %i {levels = 3, factor = 4, documents = array<i64: 90>} : tensor<1x2x100x32xbf16>, tensor<1x2x39xi32>
  fresnel.return {names = []}
}

// -----

fresnel.program @pool_levels_c2(%x: tensor<1x2x100x32xbf16>) {
  // expected-error @+1 {{`documents` must sum to the 100 tokens, but they sum to 90}}
  %r = fresnel.pool_levels %x {levels = 3, factor = 4, documents = array<i64: 90>} : tensor<1x2x100x32xbf16>
  fresnel.return {names = []}
}

// -----

fresnel.program @scatter_by_slots_c4(%g: tensor<1x2x39x32xbf16>, %s: tensor<1x2x132xi32>) {
  // expected-error @+1 {{`documents` must sum to the 100 tokens, but they sum to 90}}
  %y = fresnel.scatter_by_slots %g, %s {seq_len = 100, levels = 3, factor = 4, documents = array<i64: 90>} : tensor<1x2x39x32xbf16>, tensor<1x2x132xi32>
  fresnel.return {names = []}
}

// -----

fresnel.program @scatter_by_slots_c3(%g: tensor<1x2x39x32xbf16>, %s: tensor<1x2x132xi32>) {
  // expected-error @+1 {{has 133 entries, but `slots` has 132}}
  %y = fresnel.scatter_by_slots %g, %s {seq_len = 100, levels = 3, factor = 4, documents = array<i64: 41, 59>} : tensor<1x2x39x32xbf16>, tensor<1x2x132xi32>
  fresnel.return {names = []}
}

// -----

fresnel.program @gather_grad_by_slots_c5(%g: tensor<1x2x39x32xbf16>, %s: tensor<1x2x132xi32>) {
  // expected-error @+1 {{`documents` must sum to the 100 tokens, but they sum to 90}}
  %y = fresnel.gather_grad_by_slots %g, %s {heads = 2, seq_len = 100, levels = 3, factor = 4, documents = array<i64: 90>} : tensor<1x2x39x32xbf16>, tensor<1x2x132xi32>
  fresnel.return {names = []}
}

// -----

fresnel.program @scatter_grad_by_slots_c5(%x: tensor<1x2x100x32xbf16>, %i: tensor<1x2x39xi32>, %s: tensor<1x2x132xi32>) {
  // expected-error @+1 {{`documents` must sum to the 100 tokens, but they sum to 90}}
  %y = fresnel.scatter_grad_by_slots %x, %i, %s {levels = 3, factor = 4, documents = array<i64: 90>} : tensor<1x2x100x32xbf16>, tensor<1x2x39xi32>, tensor<1x2x132xi32>
  fresnel.return {names = []}
}

// -----

fresnel.program @document_bounds_c3_neither() {
  // expected-error @+1 {{needs either `cu` or `documents`, but got neither}}
  %b = fresnel.document_bounds {seq_len = 64}
  fresnel.return {names = []}
}

// -----

fresnel.program @document_bounds_c3_both(%cu: tensor<1x1x5xi32>) {
  // expected-error @+1 {{needs either `cu` or `documents`, but got both}}
  %b = fresnel.document_bounds %cu {seq_len = 64, documents = array<i64: 64>} : tensor<1x1x5xi32>
  fresnel.return {names = []}
}

// -----

fresnel.program @document_bounds_c4() {
  // expected-error @+1 {{`documents` must sum to the 64 tokens, but they sum to 63}}
  %b = fresnel.document_bounds {seq_len = 64, documents = array<i64: 63>}
  fresnel.return {names = []}
}
