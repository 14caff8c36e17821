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
  // expected-error @+1 {{`documents` allows no pooled keys}}
  %o, %l = fresnel.attend %q, %k, %k documents(%d : tensor<1x2x64xi32>) {key_stride = 2} : tensor<1x2x64x32xbf16>, tensor<1x2x64x32xbf16>, tensor<1x2x64x32xbf16>
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
  // expected-error @+2 {{takes one list of `blocks` and behind it one of `documents`, but got 2 masks}}
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
