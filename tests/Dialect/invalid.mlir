// One negative test per numbered constraint of the fresnel dialect.
// RUN: fresnel-opt %s --split-input-file --verify-diagnostics

// expected-error @+1 {{'fresnel.program' op input 0 must be a non-empty tensor of static shape with bf16, f16, f32, i32 or i8 elements, but got 'tensor<?xf32>'}}
fresnel.program @program_c1(%x: tensor<?xf32>) {
  fresnel.return {names = []}
}

// -----

// expected-error @+1 {{'fresnel.program' op has 1 inputs, but `arg_names` has 0}}
"fresnel.program"() ({
^bb0(%x: tensor<4xf32>):
  "fresnel.return"() {names = []} : () -> ()
}) {sym_name = "program_c2", arg_names = []} : () -> ()

// -----

fresnel.program @program_c3(%x: tensor<1x1x4x8xf32>) {
  // expected-error @+1 {{block with no terminator}}
  %n = fresnel.norm %x : tensor<1x1x4x8xf32>
}

// -----

fresnel.program @return_c1(%x: tensor<1x2x64x32xbf16>) {
  %n = fresnel.norm %x : tensor<1x2x64x32xbf16>
  // expected-error @+1 {{'fresnel.return' op has 1 results, but `names` has 2}}
  fresnel.return %n {names = ["a", "b"]} : tensor<1x2x64xf32>
}

// -----

fresnel.program @return_c1_distinct(%x: tensor<1x2x64x32xbf16>) {
  %n = fresnel.norm %x : tensor<1x2x64x32xbf16>
  // expected-error @+1 {{'fresnel.return' op `names` holds 'a' twice}}
  fresnel.return %n, %n {names = ["a", "a"]} : tensor<1x2x64xf32>, tensor<1x2x64xf32>
}

// -----

fresnel.program @return_c2(%x: tensor<1x2x64x32xbf16>) {
  // expected-error @+1 {{'fresnel.return' op result 'x' is an input of the program}}
  fresnel.return %x {names = ["x"]} : tensor<1x2x64x32xbf16>
}

// -----

fresnel.program @launch_c1(%x: tensor<1x2x64x32xbf16>) {
  // expected-error @+1 {{'fresnel.launch' op has 1 results, but `offsets` has 2}}
  %n = fresnel.launch @norm(%x) {offsets = array<i64: 0, 0>} : (tensor<1x2x64x32xbf16>) -> tensor<1x2x64xf32>
  fresnel.return {names = []}
}

// -----

fresnel.program @pool_c1(%x: tensor<1x2x64x32xbf16>) {
  // expected-error @+1 {{'fresnel.pool' op `window` must be positive, but got 0}}
  %y = fresnel.pool mean %x {window = 0} : tensor<1x2x64x32xbf16>
  fresnel.return {names = []}
}

// -----

fresnel.program @pool_c1_stride(%x: tensor<1x2x64x32xbf16>) {
  // expected-error @+1 {{`stride` must be in [0, 8], but got 9}}
  %y = fresnel.pool mean %x {window = 8, stride = 9} : tensor<1x2x64x32xbf16>
  fresnel.return {names = []}
}

// -----

fresnel.program @pool_c2(%x: tensor<1x2x64x32xbf16>) {
  // expected-error @+1 {{`tail = drop` needs at least one window of 65 tokens, but the sequence has 64}}
  %y = fresnel.pool mean %x {window = 65, tail = #fresnel<tail drop>} : tensor<1x2x64x32xbf16>
  fresnel.return {names = []}
}

// -----

fresnel.program @pool_mandatory(%x: tensor<1x2x64x32xbf16>) {
  // expected-error @+1 {{'fresnel.pool' op needs the attribute `window`, a 64-bit integer}}
  %y = fresnel.pool mean %x : tensor<1x2x64x32xbf16>
  fresnel.return {names = []}
}

// -----

fresnel.program @pyramid_c1(%x: tensor<1x2x64x32xbf16>) {
  // expected-error @+1 {{`levels` must be in [1, 16], but got 17}}
  %y = fresnel.pyramid mean %x {levels = 17, factor = 2} : tensor<1x2x64x32xbf16>
  fresnel.return {names = []}
}

// -----

fresnel.program @pyramid_c2(%x: tensor<1x2x64x32xbf16>) {
  // expected-error @+1 {{`factor` must be at least 2, but got 1}}
  %y = fresnel.pyramid mean %x {levels = 3, factor = 1} : tensor<1x2x64x32xbf16>
  fresnel.return {names = []}
}

// -----

fresnel.program @pyramid_c3(%x: tensor<1x2x64x32xbf16>) {
  // expected-error @+1 {{must hold at most 2147483647 tokens}}
  %y = fresnel.pyramid mean %x {levels = 12, factor = 8} : tensor<1x2x64x32xbf16>
  fresnel.return {names = []}
}

// -----

fresnel.program @unpool_c1(%x: tensor<1x2x64x32xbf16>) {
  // expected-error @+1 {{`window` and `seq_len` must be positive, but got 0 and 64}}
  %y = fresnel.unpool %x {window = 0, seq_len = 64} : tensor<1x2x64x32xbf16>
  fresnel.return {names = []}
}

// -----

fresnel.program @unpool_c2(%x: tensor<1x2x64x32xbf16>) {
  // expected-error @+1 {{`seq_len` 100 in windows of 2 needs 50 rows, but x has 64}}
  %y = fresnel.unpool %x {window = 2, seq_len = 100} : tensor<1x2x64x32xbf16>
  fresnel.return {names = []}
}

// -----

fresnel.program @block_score_c1(%q: tensor<1x2x64x32xbf16>, %k: tensor<1x2x8x16xbf16>) {
  // expected-error @+1 {{q and k must agree in batch, head dim and element type}}
  %y = fresnel.block_score %q, %k : tensor<1x2x64x32xbf16>, tensor<1x2x8x16xbf16>
  fresnel.return {names = []}
}

// -----

fresnel.program @block_score_c2(%q: tensor<1x2x64x32xbf16>, %k: tensor<1x3x8x32xbf16>) {
  // expected-error @+1 {{the 2 query heads must be a multiple of the 3 key heads}}
  %y = fresnel.block_score %q, %k : tensor<1x2x64x32xbf16>, tensor<1x3x8x32xbf16>
  fresnel.return {names = []}
}

// -----

fresnel.program @block_score_c3(%q: tensor<1x4x64x32xbf16>, %k: tensor<1x2x8x32xbf16>) {
  // expected-error @+1 {{`key_stride` must be positive, but got 0}}
  %y = fresnel.block_score %q, %k {key_stride = 0} : tensor<1x4x64x32xbf16>, tensor<1x2x8x32xbf16>
  fresnel.return {names = []}
}

// -----

fresnel.program @block_score_c5(%q: tensor<1x4x64x32xbf16>, %k: tensor<1x2x8x32xbf16>, %l: tensor<1x4x64xf32>) {
  // expected-error @+1 {{`lse` needs `normalize = softmax`}}
  %y = fresnel.block_score %q, %k lse(%l : tensor<1x4x64xf32>) : tensor<1x4x64x32xbf16>, tensor<1x2x8x32xbf16>
  fresnel.return {names = []}
}

// -----

fresnel.program @block_score_c5_shape(%q: tensor<1x4x64x32xbf16>, %k: tensor<1x2x8x32xbf16>, %l: tensor<1x2x64xf32>) {
  // expected-error @+1 {{`lse` must hold one f32 for each row of 'tensor<1x4x64x32xbf16>', but got 'tensor<1x2x64xf32>'}}
  %y = fresnel.block_score %q, %k lse(%l : tensor<1x2x64xf32>) {normalize = #fresnel<normalize softmax>} : tensor<1x4x64x32xbf16>, tensor<1x2x8x32xbf16>
  fresnel.return {names = []}
}

// -----

fresnel.program @block_score_c4(%q: tensor<1x4x64x32xbf16>, %k: tensor<1x2x8x32xbf16>) {
  // expected-error @+1 {{`group_sum` needs `normalize = softmax`}}
  %y = fresnel.block_score %q, %k {group_sum = true} : tensor<1x4x64x32xbf16>, tensor<1x2x8x32xbf16>
  fresnel.return {names = []}
}

// -----

fresnel.program @regroup_c1(%s: tensor<1x2x64x8xf32>) {
  // expected-error @+1 {{`block` must be positive, but got 0}}
  %y = fresnel.regroup %s {window = 8, stride = 8, block = 0, seq_len = 64} : tensor<1x2x64x8xf32>
  fresnel.return {names = []}
}

// -----

fresnel.program @regroup_c2(%s: tensor<1x2x64x8xf32>) {
  // expected-error @+1 {{`stride` 6 must divide `window` 8 and `block` 8}}
  %y = fresnel.regroup %s {window = 8, stride = 6, block = 8, seq_len = 64} : tensor<1x2x64x8xf32>
  fresnel.return {names = []}
}

// -----

fresnel.program @select_cascade_c1(%s: tensor<1x2x84xf32>, %t: tensor<1x3x84xf32>) {
  // expected-error @+1 {{`topk` must be positive, but got 0}}
  %y = fresnel.select_cascade %s, %s {seq_len = 64, levels = 3, factor = 4, topk = 0} : tensor<1x2x84xf32>, tensor<1x2x84xf32>
  fresnel.return {names = []}
}

// -----

fresnel.program @select_cascade_c2(%s: tensor<1x2x84xf32>, %t: tensor<1x3x84xf32>) {
  // expected-error @+1 {{a pyramid of 65 tokens with `levels` 3 and `factor` 4 has 87 entries, but the scores have 84}}
  %y = fresnel.select_cascade %s, %s {seq_len = 65, levels = 3, factor = 4, topk = 8} : tensor<1x2x84xf32>, tensor<1x2x84xf32>
  fresnel.return {names = []}
}

// -----

fresnel.program @select_cascade_c3(%s: tensor<1x2x84xf32>, %t: tensor<1x3x84xf32>) {
  // expected-error @+1 {{batches must agree and query heads be a multiple of key heads}}
  %y = fresnel.select_cascade %s, %t {seq_len = 64, levels = 3, factor = 4, topk = 8} : tensor<1x2x84xf32>, tensor<1x3x84xf32>
  fresnel.return {names = []}
}

// -----

fresnel.program @select_blocks_c1(%s: tensor<1x2x64x8xf32>) {
  // expected-error @+1 {{`topk` must be positive, but got 0}}
  %y = fresnel.select_blocks %s {topk = 0, key_block = 8} : tensor<1x2x64x8xf32>
  fresnel.return {names = []}
}

// -----

fresnel.program @select_blocks_c2(%s: tensor<1x2x64x8xf32>) {
  // expected-error @+1 {{`local` 3 and `sinks` 2 must fit into `topk` 4}}
  %y = fresnel.select_blocks %s {topk = 4, local = 3, sinks = 2, key_block = 8} : tensor<1x2x64x8xf32>
  fresnel.return {names = []}
}

// -----

fresnel.program @select_blocks_c2_sum(%s: tensor<1x2x64x8xf32>) {
  // expected-error @+1 {{`local` 9223372036854775807 and `sinks` 2 must fit into `topk` 9223372036854775807}}
  %y = fresnel.select_blocks %s {topk = 9223372036854775807, local = 9223372036854775807, sinks = 2, key_block = 8} : tensor<1x2x64x8xf32>
  fresnel.return {names = []}
}

// -----

fresnel.program @gather_c1(%x: tensor<1x2x64x32xbf16>, %i: tensor<1x3x8xi32>) {
  // expected-error @+1 {{of the heads of `indices` and x one be a multiple of the other}}
  %y = fresnel.gather %x, %i : tensor<1x2x64x32xbf16>, tensor<1x3x8xi32>
  fresnel.return {names = []}
}

// -----

fresnel.program @scatter_c1(%x: tensor<1x2x64x32xbf16>, %i: tensor<1x2x8xi32>) {
  // expected-error @+1 {{x and `indices` must agree in batch and length, and the heads of x be a multiple of those of `indices`}}
  %y = fresnel.scatter %x, %i {seq_len = 64, levels = 3, factor = 4} : tensor<1x2x64x32xbf16>, tensor<1x2x8xi32>
  fresnel.return {names = []}
}

// -----

fresnel.program @scatter_c2(%x: tensor<1x2x64x32xbf16>, %i: tensor<1x2x64xi32>) {
  // expected-error @+1 {{`factor` must be at least 2, but got 0}}
  %y = fresnel.scatter %x, %i {seq_len = 64, levels = 3, factor = 0} : tensor<1x2x64x32xbf16>, tensor<1x2x64xi32>
  fresnel.return {names = []}
}

// -----

fresnel.program @fold_c1(%x: tensor<1x2x64x32xbf16>) {
  // expected-error @+1 {{'fresnel.fold' op `factor` must be in [1, 65535], but got 0}}
  %y = fresnel.fold %x {factor = 0} : tensor<1x2x64x32xbf16>
  fresnel.return {names = []}
}

// -----

fresnel.program @fold_c1_repeat(%x: tensor<1x2x64x32xbf16>) {
  // expected-error @+1 {{'fresnel.fold' op `repeat` must be in [1, 65535], but got 0}}
  %y = fresnel.fold %x {factor = 4, repeat = 0} : tensor<1x2x64x32xbf16>
  fresnel.return {names = []}
}

// -----

fresnel.program @fold_mandatory(%x: tensor<1x2x64x32xbf16>) {
  // expected-error @+1 {{'fresnel.fold' op needs the attribute `factor`, a 64-bit integer}}
  %y = fresnel.fold %x : tensor<1x2x64x32xbf16>
  fresnel.return {names = []}
}

// -----

fresnel.program @unfold_c1(%s: tensor<1x8x16xf32>) {
  // expected-error @+1 {{'fresnel.unfold' op `factor` must be in [1, 65535], but got 65536}}
  %y = fresnel.unfold %s {factor = 65536, seq_len = 64} : tensor<1x8x16xf32>
  fresnel.return {names = []}
}

// -----

fresnel.program @unfold_c1_length(%s: tensor<1x8x16xf32>) {
  // expected-error @+1 {{`seq_len` must be positive and at most 2^40, but got 0}}
  %y = fresnel.unfold %s {factor = 4, seq_len = 0} : tensor<1x8x16xf32>
  fresnel.return {names = []}
}

// -----

fresnel.program @unfold_c2(%s: tensor<1x6x16xf32>) {
  // expected-error @+1 {{the 6 heads of x must be a multiple of `factor` 4 times `repeat` 1}}
  %y = fresnel.unfold %s {factor = 4, seq_len = 64} : tensor<1x6x16xf32>
  fresnel.return {names = []}
}

// -----

fresnel.program @unfold_c2_repeat(%s: tensor<1x8x16xf32>) {
  // expected-error @+1 {{the 8 heads of x must be a multiple of `factor` 4 times `repeat` 3}}
  %y = fresnel.unfold %s {factor = 4, seq_len = 64, repeat = 3} : tensor<1x8x16xf32>
  fresnel.return {names = []}
}

// -----

fresnel.program @unfold_c3(%s: tensor<1x8x16x32xbf16>) {
  // expected-error @+1 {{`seq_len` 65 folded by `factor` 4 has 17 rows, but x has 16}}
  %y = fresnel.unfold %s {factor = 4, seq_len = 65} : tensor<1x8x16x32xbf16>
  fresnel.return {names = []}
}

// -----

fresnel.program @attend_c1(%q: tensor<1x2x64x32xbf16>, %k: tensor<1x2x64x32xbf16>, %v: tensor<1x2x63x32xbf16>) {
  // expected-error @+1 {{q, k and v do not fit}}
  %o, %l = fresnel.attend %q, %k, %v : tensor<1x2x64x32xbf16>, tensor<1x2x64x32xbf16>, tensor<1x2x63x32xbf16>
  fresnel.return {names = []}
}

// -----

fresnel.program @attend_c2(%q: tensor<1x2x64x32xbf16>, %k: tensor<1x3x64x32xbf16>) {
  // expected-error @+1 {{the 2 query heads must be a multiple of the 3 key heads}}
  %o, %l = fresnel.attend %q, %k, %k : tensor<1x2x64x32xbf16>, tensor<1x3x64x32xbf16>, tensor<1x3x64x32xbf16>
  fresnel.return {names = []}
}

// -----

fresnel.program @attend_c3(%q: tensor<1x2x64x32xbf16>, %k: tensor<1x2x64x32xbf16>) {
  // expected-error @+1 {{`window` 8 needs `causal = true`}}
  %o, %l = fresnel.attend %q, %k, %k {window = 8} : tensor<1x2x64x32xbf16>, tensor<1x2x64x32xbf16>, tensor<1x2x64x32xbf16>
  fresnel.return {names = []}
}

// -----

fresnel.program @attend_c3_sinks(%q: tensor<1x2x64x32xbf16>, %k: tensor<1x2x64x32xbf16>) {
  // expected-error @+1 {{`sinks` 4 needs a `window`}}
  %o, %l = fresnel.attend %q, %k, %k {causal = true, sinks = 4} : tensor<1x2x64x32xbf16>, tensor<1x2x64x32xbf16>, tensor<1x2x64x32xbf16>
  fresnel.return {names = []}
}

// -----

fresnel.program @attend_c4(%q: tensor<1x2x64x32xbf16>, %k: tensor<1x2x64x32xbf16>) {
  // expected-error @+1 {{`softcap` must not be negative}}
  %o, %l = fresnel.attend %q, %k, %k {softcap = -1.0} : tensor<1x2x64x32xbf16>, tensor<1x2x64x32xbf16>, tensor<1x2x64x32xbf16>
  fresnel.return {names = []}
}

// -----

fresnel.program @attend_c5(%q: tensor<1x2x64x32xbf16>, %k: tensor<1x2x64x32xbf16>) {
  // expected-error @+1 {{pooled keys allow neither `window` nor `blocks`}}
  %o, %l = fresnel.attend %q, %k, %k {causal = true, window = 4, key_stride = 2} : tensor<1x2x64x32xbf16>, tensor<1x2x64x32xbf16>, tensor<1x2x64x32xbf16>
  fresnel.return {names = []}
}

// -----

fresnel.program @attend_c6(%q: tensor<1x2x64x32xbf16>, %k: tensor<1x2x64x32xbf16>, %b: tensor<1x2x63x2xi32>) {
  // expected-error @+1 {{64 rows and at most 8 entries}}
  %o, %l = fresnel.attend %q, %k, %k blocks(%b : tensor<1x2x63x2xi32>) {key_block = 8} : tensor<1x2x64x32xbf16>, tensor<1x2x64x32xbf16>, tensor<1x2x64x32xbf16>
  fresnel.return {names = []}
}

// -----

fresnel.program @merge_c1() {
  // expected-error @+2 {{needs as many outputs as LSEs, and at least one, but got 0 and 0}}
  // expected-error @+1 {{failed to infer returned types}}
  %m, %n = "fresnel.merge"() : () -> (tensor<1x2x64x32xbf16>, tensor<1x2x64xf32>)
  fresnel.return {names = []}
}

// -----

fresnel.program @merge_c2(%o: tensor<1x2x64x32xbf16>, %l: tensor<1x2x63xf32>) {
  // expected-error @+1 {{all parts must be alike}}
  %m, %n = fresnel.merge %o lse %l : tensor<1x2x64x32xbf16> lse tensor<1x2x63xf32>
  fresnel.return {names = []}
}

// -----

fresnel.program @gate_c1(%o: tensor<1x2x64x32xbf16>, %p: tensor<1x2x63x32xbf16>, %g: tensor<1x2x64x2xbf16>) {
  // expected-error @+1 {{needs at least one branch, all of one type}}
  %m = fresnel.gate %o, %p by %g : tensor<1x2x64x32xbf16>, tensor<1x2x63x32xbf16> by tensor<1x2x64x2xbf16>
  fresnel.return {names = []}
}

// -----

fresnel.program @gate_c2(%o: tensor<1x2x64x32xbf16>, %g: tensor<1x2x64x2xbf16>) {
  // expected-error @+1 {{`gates` must be [1, 2, 64, 1]}}
  %m = fresnel.gate %o by %g : tensor<1x2x64x32xbf16> by tensor<1x2x64x2xbf16>
  fresnel.return {names = []}
}
