// One negative test per numbered constraint of packed documents, and of what the syntax takes.
// RUN: fresnel-opt %s --split-input-file --verify-diagnostics

fresnel.program @document_bounds_c1(%cu: tensor<1x1x5xi32>) {
  // expected-error @+1 {{`seq_len` must be in [1, 2147483647], but got 0}}
  %b = fresnel.document_bounds %cu {seq_len = 0} : tensor<1x1x5xi32>
  fresnel.return {names = []}
}

// -----

fresnel.program @document_bounds_c2(%cu: tensor<2x1x5xi32>) {
  // expected-error @+1 {{`cu` must be [1, 1, C]}}
  %b = fresnel.document_bounds %cu {seq_len = 64} : tensor<2x1x5xi32>
  fresnel.return {names = []}
}

// -----

fresnel.program @attend_c7_length(%q: tensor<1x2x32x32xbf16>, %k: tensor<1x2x64x32xbf16>, %d: tensor<1x2x64xi32>) {
  // expected-error @+1 {{as many queries as keys, but there are 32 and 64}}
  %o, %l = fresnel.attend %q, %k, %k documents(%d : tensor<1x2x64xi32>) : tensor<1x2x32x32xbf16>, tensor<1x2x64x32xbf16>, tensor<1x2x64x32xbf16>
  fresnel.return {names = []}
}

// -----

fresnel.program @attend_c7_shape(%q: tensor<1x2x64x32xbf16>, %k: tensor<1x2x64x32xbf16>, %d: tensor<1x2x63xi32>) {
  // expected-error @+1 {{`documents` must be [1, 2, 64]}}
  %o, %l = fresnel.attend %q, %k, %k documents(%d : tensor<1x2x63xi32>) : tensor<1x2x64x32xbf16>, tensor<1x2x64x32xbf16>, tensor<1x2x64x32xbf16>
  fresnel.return {names = []}
}

// -----

fresnel.program @attend_c7_sinks(%q: tensor<1x2x64x32xbf16>, %k: tensor<1x2x64x32xbf16>, %d: tensor<1x2x64xi32>) {
  // expected-error @+1 {{`documents` allows no `sinks`, but there are 3}}
  %o, %l = fresnel.attend %q, %k, %k documents(%d : tensor<1x2x64xi32>) {causal = true, window = 9, sinks = 3} : tensor<1x2x64x32xbf16>, tensor<1x2x64x32xbf16>, tensor<1x2x64x32xbf16>
  fresnel.return {names = []}
}

// -----

fresnel.program @attend_c7_pooled(%q: tensor<1x2x64x32xbf16>, %k: tensor<1x2x64x32xbf16>, %d: tensor<1x2x64xi32>) {
  // expected-error @+1 {{`documents` beside pooled keys needs `causal = true`}}
  %o, %l = fresnel.attend %q, %k, %k documents(%d : tensor<1x2x64xi32>) {key_stride = 2} : tensor<1x2x64x32xbf16>, tensor<1x2x64x32xbf16>, tensor<1x2x64x32xbf16>
  fresnel.return {names = []}
}

// -----

fresnel.program @attend_c7_pooled_beyond(%q: tensor<1x2x64x32xbf16>, %k: tensor<1x2x33x32xbf16>, %d: tensor<1x2x64xi32>) {
  // expected-error @+1 {{`documents` needs pooled keys that begin at one of the 64 queries, but 33 of them with `key_stride` 2 go beyond}}
  %o, %l = fresnel.attend %q, %k, %k documents(%d : tensor<1x2x64xi32>) {causal = true, key_stride = 2} : tensor<1x2x64x32xbf16>, tensor<1x2x33x32xbf16>, tensor<1x2x33x32xbf16>
  fresnel.return {names = []}
}

// -----

fresnel.program @attend_blocks_rank(%q: tensor<1x2x64x32xbf16>, %k: tensor<1x2x64x32xbf16>, %d: tensor<1x2x64xi32>) {
  // expected-error @+1 {{`blocks` takes a tensor of rank 4}}
  %o, %l = fresnel.attend %q, %k, %k blocks(%d : tensor<1x2x64xi32>) : tensor<1x2x64x32xbf16>, tensor<1x2x64x32xbf16>, tensor<1x2x64x32xbf16>
  fresnel.return {names = []}
}

// -----

fresnel.program @attend_documents_rank(%q: tensor<1x2x64x32xbf16>, %k: tensor<1x2x64x32xbf16>, %d: tensor<1x2x64x1xi32>) {
  // expected-error @+1 {{`documents` takes a tensor of rank 3}}
  %o, %l = fresnel.attend %q, %k, %k documents(%d : tensor<1x2x64x1xi32>) : tensor<1x2x64x32xbf16>, tensor<1x2x64x32xbf16>, tensor<1x2x64x32xbf16>
  fresnel.return {names = []}
}

// -----

fresnel.program @attend_grad_kv_c1(%x: tensor<1x2x64x32xbf16>, %l: tensor<1x2x64xf32>, %d: tensor<1x2x63xi32>) {
  // expected-error @+1 {{`documents` must be [1, 2, 64]}}
  %a, %b = fresnel.attend_grad_kv %x, %x, %x lse %l delta %l dout %x documents(%d : tensor<1x2x63xi32>) : tensor<1x2x64x32xbf16>, tensor<1x2x64x32xbf16>, tensor<1x2x64x32xbf16>, tensor<1x2x64xf32>, tensor<1x2x64xf32>, tensor<1x2x64x32xbf16>
  fresnel.return {names = []}
}

// -----

fresnel.program @attend_grad_kv_c3(%x: tensor<1x2x64x32xbf16>, %l: tensor<1x2x64xf32>, %d: tensor<1x2x64xi32>) {
  // expected-error @+1 {{`transposed` needs `blocks`}}
  %a, %b = fresnel.attend_grad_kv %x, %x, %x lse %l delta %l dout %x documents(%d : tensor<1x2x64xi32>) {transposed = true} : tensor<1x2x64x32xbf16>, tensor<1x2x64x32xbf16>, tensor<1x2x64x32xbf16>, tensor<1x2x64xf32>, tensor<1x2x64xf32>, tensor<1x2x64x32xbf16>
  fresnel.return {names = []}
}

// -----

fresnel.program @attend_c7_lists(%q: tensor<1x2x64x32xbf16>, %b: tensor<1x2x64x2xi32>, %d: tensor<1x2x63xi32>) {
  // expected-error @+1 {{`documents` must be [1, 2, 64]}}
  %o, %l = fresnel.attend %q, %q, %q blocks(%b : tensor<1x2x64x2xi32>) documents(%d : tensor<1x2x63xi32>) {key_block = 8} : tensor<1x2x64x32xbf16>, tensor<1x2x64x32xbf16>, tensor<1x2x64x32xbf16>
  fresnel.return {names = []}
}

// -----

fresnel.program @attend_c8(%q: tensor<1x2x64x32xbf16>, %b: tensor<1x2x64x2xi32>, %d: tensor<1x2x64xi32>) {
  // expected-error @+2 {{takes one list of `blocks` and behind it one of `documents` or `starts`, but got 2 masks}}
  // expected-error @+1 {{failed to infer returned types}}
  %o, %l = "fresnel.attend"(%q, %q, %q, %d, %b) {key_block = 8} : (tensor<1x2x64x32xbf16>, tensor<1x2x64x32xbf16>, tensor<1x2x64x32xbf16>, tensor<1x2x64xi32>, tensor<1x2x64x2xi32>) -> (tensor<1x2x64x32xbf16>, tensor<1x2x64xf32>)
  fresnel.return {names = []}
}

// -----

fresnel.program @select_blocks_c3(%s: tensor<1x2x64x8xf32>, %d: tensor<1x2x63xi32>) {
  // expected-error @+1 {{`documents` must be [1, 2, N] of N tokens in 64 rows and 8 blocks, but got 'tensor<1x2x63xi32>'}}
  %y = fresnel.select_blocks %s documents(%d : tensor<1x2x63xi32>) {topk = 4, key_block = 8} : tensor<1x2x64x8xf32>
  fresnel.return {names = []}
}

// -----

fresnel.program @align_documents_c1(%cu: tensor<1x1x5xi32>) {
  // expected-error @+1 {{`seq_len` and `block` must be in [1, 2147483647], but got 64 and 0}}
  %b, %k, %n, %f, %t = fresnel.align_documents %cu {seq_len = 64, block = 0} : tensor<1x1x5xi32>
  fresnel.return {names = []}
}

// -----

fresnel.program @align_documents_c1_places(%cu: tensor<1x1x5xi32>) {
  // expected-error @+1 {{6 blocks of 1000000000 are more than 2147483647 places; lower `block` or the number of documents}}
  %b, %k, %n, %f, %t = fresnel.align_documents %cu {seq_len = 64, block = 1000000000} : tensor<1x1x5xi32>
  fresnel.return {names = []}
}

// -----

fresnel.program @align_documents_c2(%cu: tensor<2x1x5xi32>) {
  // expected-error @+1 {{`cu` must be [1, 1, C]}}
  %b, %k, %n, %f, %t = fresnel.align_documents %cu {seq_len = 64, block = 8} : tensor<2x1x5xi32>
  fresnel.return {names = []}
}

// -----

fresnel.program @move_c1(%x: tensor<1x2x64x32xbf16>, %f: tensor<1x1x80xi32>, %t: tensor<1x1x63xi32>) {
  // expected-error @+1 {{`from` must be [1, 1, S] and `to` [1, 1, 64], but got 'tensor<1x1x80xi32>' and 'tensor<1x1x63xi32>'}}
  %y = fresnel.move %x from %f to %t : tensor<1x2x64x32xbf16>, tensor<1x1x80xi32>, tensor<1x1x63xi32>
  fresnel.return {names = []}
}

// -----

fresnel.program @pool_c3_shape(%x: tensor<1x2x64x32xbf16>, %d: tensor<1x2x63xi32>) {
  // expected-error @+1 {{`documents` must be [1, 2, 64]}}
  %y = fresnel.pool mean %x documents(%d : tensor<1x2x63xi32>) {window = 8} : tensor<1x2x64x32xbf16>
  fresnel.return {names = []}
}

// -----

fresnel.program @pool_c3(%x: tensor<1x2x64x32xbf16>, %d: tensor<1x2x64xi32>) {
  // expected-error @+1 {{`documents` needs `mean`, `tail = keep` and a `stride` of 0 or `window`}}
  %y = fresnel.pool mean %x documents(%d : tensor<1x2x64xi32>) {window = 8, stride = 4} : tensor<1x2x64x32xbf16>
  fresnel.return {names = []}
}

// -----

fresnel.program @pool_grad_c3(%y: tensor<1x2x8x32xbf16>, %d: tensor<1x2x64xi32>) {
  // expected-error @+1 {{`documents` needs `mean`, `tail = keep` and a `stride` of 0 or `window`}}
  %x = fresnel.pool_grad mean %y documents(%d : tensor<1x2x64xi32>) {window = 8, seq_len = 64, tail = #fresnel<tail drop>} : tensor<1x2x8x32xbf16>
  fresnel.return {names = []}
}

// -----

fresnel.program @pool_grad_c4(%y: tensor<1x2x8x32xbf16>, %d: tensor<1x2x64xi32>) {
  // expected-error @+2 {{takes one operand of the pooling and behind it one of `documents`, but got 2 operands}}
  // expected-error @+1 {{failed to infer returned types}}
  %x = "fresnel.pool_grad"(%y, %d, %d) {kind = #fresnel<pool_kind mean>, window = 8 : i64, seq_len = 64 : i64} : (tensor<1x2x8x32xbf16>, tensor<1x2x64xi32>, tensor<1x2x64xi32>) -> tensor<1x2x64x32xbf16>
  fresnel.return {names = []}
}

// -----

fresnel.program @block_score_c6_shape(%q: tensor<1x2x64x32xbf16>, %k: tensor<1x2x8x32xbf16>, %d: tensor<1x2x63xi32>) {
  // expected-error @+1 {{`documents` must be [1, 2, 64]}}
  %s = fresnel.block_score %q, %k documents(%d : tensor<1x2x63xi32>) {causal = true, key_window = 8, key_stride = 8} : tensor<1x2x64x32xbf16>, tensor<1x2x8x32xbf16>
  fresnel.return {names = []}
}

// -----

fresnel.program @block_score_c6(%q: tensor<1x2x64x32xbf16>, %k: tensor<1x2x8x32xbf16>, %d: tensor<1x2x64xi32>) {
  // expected-error @+1 {{`documents` needs `causal = true` and `query_stride = 1`, but these are false and 1}}
  %s = fresnel.block_score %q, %k documents(%d : tensor<1x2x64xi32>) : tensor<1x2x64x32xbf16>, tensor<1x2x8x32xbf16>
  fresnel.return {names = []}
}

// -----

fresnel.program @block_score_c7(%q: tensor<1x2x64x32xbf16>, %k: tensor<1x2x8x32xbf16>, %d: tensor<1x2x64xi32>) {
  // expected-error @+2 {{takes one `lse` and behind it one of `documents`, but got 2 operands}}
  // expected-error @+1 {{failed to infer returned types}}
  %s = "fresnel.block_score"(%q, %k, %d, %d) {causal = true} : (tensor<1x2x64x32xbf16>, tensor<1x2x8x32xbf16>, tensor<1x2x64xi32>, tensor<1x2x64xi32>) -> tensor<1x2x64x8xf32>
  fresnel.return {names = []}
}

// -----

fresnel.program @block_score_lse_type(%q: tensor<1x2x64x32xbf16>, %k: tensor<1x2x8x32xbf16>, %d: tensor<1x2x64xi32>) {
  // expected-error @+1 {{`lse` takes a tensor of numbers, but got 'tensor<1x2x64xi32>'}}
  %s = fresnel.block_score %q, %k lse(%d : tensor<1x2x64xi32>) : tensor<1x2x64x32xbf16>, tensor<1x2x8x32xbf16>
  fresnel.return {names = []}
}

// -----

fresnel.program @regroup_scored_c5(%q: tensor<1x4x1000x64xbf16>, %k: tensor<1x2x61x64xbf16>, %l: tensor<1x4x1000xf32>, %d: tensor<1x2x1000xi32>) {
  // expected-error @+1 {{`documents` must be [1, 2, 1000] and needs `causal = true`, but got 'tensor<1x2x1000xi32>' and false}}
  %y = fresnel.regroup_scored %q, %k lse %l documents(%d : tensor<1x2x1000xi32>) {window = 32, stride = 16, block = 64, seq_len = 1000}
      : tensor<1x4x1000x64xbf16>, tensor<1x2x61x64xbf16>, tensor<1x4x1000xf32>
  fresnel.return {names = []}
}

// -----

fresnel.program @narrow_bounds_c1(%d: tensor<1x2x64xi32>) {
  // expected-error @+1 {{`bounds` must be [1, 2, N] and `window` positive, but got 'tensor<1x2x64xi32>' and 0}}
  %b = fresnel.narrow_bounds %d {window = 0} : tensor<1x2x64xi32>
  fresnel.return {names = []}
}

// -----

fresnel.program @align_documents_c3(%cu: tensor<1x1x5xi32>) {
  // expected-error @+1 {{needs either `cu` or `documents`, but got both}}
  %b, %k, %n, %f, %t = fresnel.align_documents %cu {seq_len = 64, block = 8, documents = array<i64: 64>} : tensor<1x1x5xi32>
  fresnel.return {names = []}
}

// -----

fresnel.program @align_documents_c4() {
  // expected-error @+1 {{`documents` must sum to the 64 tokens, but they sum to 63}}
  %b, %k, %n, %f, %t = fresnel.align_documents {seq_len = 64, block = 8, documents = array<i64: 60, 3>}
  fresnel.return {names = []}
}
