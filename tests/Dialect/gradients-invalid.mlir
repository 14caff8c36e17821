// One negative test per numbered constraint of the gradient operations.
// RUN: fresnel-opt %s --split-input-file --verify-diagnostics

fresnel.program @add_c1(%x: tensor<1x2x64x32xbf16>, %y: tensor<1x2x32x32xbf16>) {
  // expected-error @+1 {{needs at least one term, all of one type}}
  %a = fresnel.add %x, %y : tensor<1x2x64x32xbf16>, tensor<1x2x32x32xbf16>
  fresnel.return {names = []}
}

// -----

fresnel.program @attend_delta_c1(%x: tensor<1x2x64x32xbf16>, %l: tensor<1x2x32xf32>) {
  // expected-error @+1 {{`dlse` its shape without the head dim}}
  %d = fresnel.attend_delta %x, %x lse(%l : tensor<1x2x32xf32>) : tensor<1x2x64x32xbf16>
  fresnel.return {names = []}
}

// -----

fresnel.program @attend_grad_q_c1(%x: tensor<1x2x64x32xbf16>, %y: tensor<1x2x32x32xbf16>, %l: tensor<1x2x64xf32>) {
  // expected-error @+1 {{q, k and v do not fit}}
  %d = fresnel.attend_grad_q %x, %x, %y lse %l delta %l dout %x : tensor<1x2x64x32xbf16>, tensor<1x2x64x32xbf16>, tensor<1x2x32x32xbf16>, tensor<1x2x64xf32>, tensor<1x2x64xf32>, tensor<1x2x64x32xbf16>
  fresnel.return {names = []}
}

// -----

fresnel.program @attend_grad_q_c2(%x: tensor<1x2x64x32xbf16>, %y: tensor<1x2x32x32xbf16>, %l: tensor<1x2x64xf32>) {
  // expected-error @+1 {{`lse` and `delta` must be}}
  %d = fresnel.attend_grad_q %x, %x, %x lse %l delta %l dout %y : tensor<1x2x64x32xbf16>, tensor<1x2x64x32xbf16>, tensor<1x2x64x32xbf16>, tensor<1x2x64xf32>, tensor<1x2x64xf32>, tensor<1x2x32x32xbf16>
  fresnel.return {names = []}
}

// -----

fresnel.program @attend_grad_kv_c1(%x: tensor<1x2x64x32xbf16>, %y: tensor<1x2x32x32xbf16>, %l: tensor<1x2x64xf32>) {
  // expected-error @+1 {{q, k and v do not fit}}
  %d, %e = fresnel.attend_grad_kv %x, %x, %y lse %l delta %l dout %x : tensor<1x2x64x32xbf16>, tensor<1x2x64x32xbf16>, tensor<1x2x32x32xbf16>, tensor<1x2x64xf32>, tensor<1x2x64xf32>, tensor<1x2x64x32xbf16>
  fresnel.return {names = []}
}

// -----

fresnel.program @attend_grad_kv_c2(%x: tensor<1x2x64x32xbf16>, %y: tensor<1x2x32x32xbf16>, %l: tensor<1x2x64xf32>) {
  // expected-error @+1 {{`lse` and `delta` must be}}
  %d, %e = fresnel.attend_grad_kv %x, %x, %x lse %l delta %l dout %y : tensor<1x2x64x32xbf16>, tensor<1x2x64x32xbf16>, tensor<1x2x64x32xbf16>, tensor<1x2x64xf32>, tensor<1x2x64xf32>, tensor<1x2x32x32xbf16>
  fresnel.return {names = []}
}

// -----

fresnel.program @attend_grad_kv_c3(%x: tensor<1x2x64x32xbf16>, %l: tensor<1x2x64xf32>) {
  // expected-error @+1 {{`transposed` needs `blocks`, and positive `query_block` and `key_block`, but these are 1 and 0}}
  %d, %e = fresnel.attend_grad_kv %x, %x, %x lse %l delta %l dout %x {key_block = 0, transposed = true} : tensor<1x2x64x32xbf16>, tensor<1x2x64x32xbf16>, tensor<1x2x64x32xbf16>, tensor<1x2x64xf32>, tensor<1x2x64xf32>, tensor<1x2x64x32xbf16>
  fresnel.return {names = []}
}

// -----

fresnel.program @attend_grad_kv_c3_words(%x: tensor<1x2x64x32xbf16>, %l: tensor<1x2x64xf32>, %b: tensor<1x2x8x3xi32>) {
  // expected-error @+1 {{transposed `blocks` must have the batch of q, a divisor of its heads that is a multiple of the key heads, 8 rows and 2 words, but got 'tensor<1x2x8x3xi32>'}}
  %d, %e = fresnel.attend_grad_kv %x, %x, %x lse %l delta %l dout %x blocks(%b : tensor<1x2x8x3xi32>) {key_block = 8, transposed = true} : tensor<1x2x64x32xbf16>, tensor<1x2x64x32xbf16>, tensor<1x2x64x32xbf16>, tensor<1x2x64xf32>, tensor<1x2x64xf32>, tensor<1x2x64x32xbf16>
  fresnel.return {names = []}
}

// -----

fresnel.program @attend_grad_kv_c4(%x: tensor<1x2x64x32xbf16>, %l: tensor<1x2x64xf32>, %b: tensor<1x2x8x2xi32>, %n: tensor<1x2x7xi32>) {
  // expected-error @+1 {{`counts` goes with `transposed` and has the shape of `blocks` without the words, but got 'tensor<1x2x7xi32>'}}
  %d, %e = fresnel.attend_grad_kv %x, %x, %x lse %l delta %l dout %x blocks(%b : tensor<1x2x8x2xi32>) counts(%n : tensor<1x2x7xi32>) {key_block = 8, transposed = true} : tensor<1x2x64x32xbf16>, tensor<1x2x64x32xbf16>, tensor<1x2x64x32xbf16>, tensor<1x2x64xf32>, tensor<1x2x64xf32>, tensor<1x2x64x32xbf16>
  fresnel.return {names = []}
}

// -----

fresnel.program @attend_grad_kv_c4_alone(%x: tensor<1x2x64x32xbf16>, %l: tensor<1x2x64xf32>, %n: tensor<1x2x7xi32>) {
  // expected-error @+1 {{`counts` needs `blocks` in front of it}}
  %d, %e = fresnel.attend_grad_kv %x, %x, %x lse %l delta %l dout %x counts(%n : tensor<1x2x7xi32>) {key_block = 8} : tensor<1x2x64x32xbf16>, tensor<1x2x64x32xbf16>, tensor<1x2x64x32xbf16>, tensor<1x2x64xf32>, tensor<1x2x64xf32>, tensor<1x2x64x32xbf16>
  fresnel.return {names = []}
}

// -----

fresnel.program @pool_grad_c1(%x: tensor<1x2x64x32xbf16>) {
  // expected-error @+1 {{`seq_len` 100 pools to 25 rows, but dy has 64}}
  %d = fresnel.pool_grad mean %x {window = 4, seq_len = 100} : tensor<1x2x64x32xbf16>
  fresnel.return {names = []}
}

// -----

fresnel.program @pool_grad_c2(%x: tensor<1x2x64x32xbf16>) {
  // expected-error @+1 {{must be there with `max` only}}
  %d = fresnel.pool_grad max %x {window = 1, seq_len = 64} : tensor<1x2x64x32xbf16>
  fresnel.return {names = []}
}

// -----

fresnel.program @pyramid_grad_c1(%x: tensor<1x2x64x32xbf16>) {
  // expected-error @+1 {{`levels` must be in [1, 16], but got 17}}
  %d = fresnel.pyramid_grad mean %x {levels = 17, factor = 2, seq_len = 64} : tensor<1x2x64x32xbf16>
  fresnel.return {names = []}
}

// -----

fresnel.program @pyramid_grad_c2(%x: tensor<1x2x64x32xbf16>) {
  // expected-error @+1 {{must be there with `max` only}}
  %d = fresnel.pyramid_grad mean %x of(%x : tensor<1x2x64x32xbf16>) {levels = 1, factor = 2, seq_len = 64} : tensor<1x2x64x32xbf16>
  fresnel.return {names = []}
}

// -----

fresnel.program @unpool_grad_c1(%x: tensor<1x2x64x32xbf16>) {
  // expected-error @+1 {{`window` must be positive, but got 0}}
  %d = fresnel.unpool_grad %x {window = 0} : tensor<1x2x64x32xbf16>
  fresnel.return {names = []}
}

// -----

fresnel.program @gather_grad_c1(%y: tensor<1x2x32x32xbf16>, %i: tensor<1x2x64xi32>) {
  // expected-error @+1 {{dy and `indices` must agree in batch and length, and the heads of dy be a multiple}}
  %d = fresnel.gather_grad %y, %i {heads = 2, rows = 4} : tensor<1x2x32x32xbf16>, tensor<1x2x64xi32>
  fresnel.return {names = []}
}

// -----

fresnel.program @gather_grad_c2(%x: tensor<1x2x64x32xbf16>, %i: tensor<1x2x64xi32>) {
  // expected-error @+1 {{`heads` divide the 2 heads of dy, but got 3 and 4}}
  %d = fresnel.gather_grad %x, %i {heads = 3, rows = 4} : tensor<1x2x64x32xbf16>, tensor<1x2x64xi32>
  fresnel.return {names = []}
}

// -----

fresnel.program @scatter_grad_c1(%x: tensor<1x2x64x32xbf16>, %i: tensor<1x4x64xi32>) {
  // expected-error @+1 {{dy and `indices` must agree in batch, and the heads of dy be a multiple}}
  %d = fresnel.scatter_grad %x, %i {levels = 2, factor = 4} : tensor<1x2x64x32xbf16>, tensor<1x4x64xi32>
  fresnel.return {names = []}
}

// -----

fresnel.program @scatter_grad_c2(%x: tensor<1x2x64x32xbf16>, %i: tensor<1x2x64xi32>) {
  // expected-error @+1 {{`factor` must be at least 2, but got 1}}
  %d = fresnel.scatter_grad %x, %i {levels = 2, factor = 1} : tensor<1x2x64x32xbf16>, tensor<1x2x64xi32>
  fresnel.return {names = []}
}

// -----

fresnel.program @gate_grad_c1(%x: tensor<1x2x64x32xbf16>, %g: tensor<1x2x64x3xbf16>) {
  // expected-error @+1 {{`gates` must be}}
  %a, %b, %c = fresnel.gate_grad %x, %x by %g dout %x : tensor<1x2x64x32xbf16>, tensor<1x2x64x32xbf16> by tensor<1x2x64x3xbf16>, tensor<1x2x64x32xbf16>
  fresnel.return {names = []}
}

// -----

fresnel.program @gate_grad_c2(%x: tensor<1x2x64x32xbf16>, %y: tensor<1x2x32x32xbf16>, %g: tensor<1x2x64x1xbf16>) {
  // expected-error @+1 {{dy must have the branches' type}}
  %a, %b = fresnel.gate_grad %x by %g dout %y : tensor<1x2x64x32xbf16> by tensor<1x2x64x1xbf16>, tensor<1x2x32x32xbf16>
  fresnel.return {names = []}
}

// -----

fresnel.program @merge_grad_c1(%x: tensor<1x2x64x32xbf16>, %l: tensor<1x2x32xf32>) {
  // expected-error @+1 {{the LSEs must have the shape}}
  %a, %b = fresnel.merge_grad %x, %l merged %x, %l dout %x : tensor<1x2x64x32xbf16>, tensor<1x2x32xf32>
  fresnel.return {names = []}
}
