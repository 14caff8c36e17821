// What no schedule supports is refused at the user's operation.
// RUN: fresnel-opt %s --split-input-file --fresnel-outline-kernels --fresnel-assign-schedules --verify-diagnostics

fresnel.program @max_gradient(%d: tensor<1x2x8x32xbf16>, %q: tensor<1x2x64x32xbf16>) {
  // expected-error @+1 {{'fresnel.pool_grad' op the gradient of a maximum over windows has no GPU schedule yet; the interpreter runs it (--device cpu)}}
  %p = fresnel.pool_grad max %d of(%q : tensor<1x2x64x32xbf16>) {window = 8, seq_len = 64} : tensor<1x2x8x32xbf16>
  fresnel.return %p {names = ["p"]} : tensor<1x2x64x32xbf16>
}

// -----

fresnel.program @short_rows(%q: tensor<1x2x64x36xbf16>) {
  // expected-error @+1 {{rows of 36 bf16 are not a multiple of 16 bytes; pad the head dim}}
  %p = fresnel.pool mean %q {window = 8} : tensor<1x2x64x36xbf16>
  fresnel.return %p {names = ["p"]} : tensor<1x2x8x36xbf16>
}

// -----

fresnel.program @blocks_of_a_row(%s: tensor<1x1x2x262145xf32>) {
  // expected-error @+1 {{selection takes at most 262144 blocks, but got 262145; make `key_block` larger}}
  %i = fresnel.select_blocks %s {topk = 3, key_block = 1} : tensor<1x1x2x262145xf32>
  fresnel.return %i {names = ["i"]} : tensor<1x1x2x3xi32>
}

// -----

fresnel.program @tokens(%q: tensor<1x1x64x32xbf16>) {
  // expected-error @+1 {{queries reach token 12800000000, but kernels number tokens with 31 bits; check the strides}}
  %s = fresnel.block_score %q, %q {causal = true, query_stride = 100000000} : tensor<1x1x64x32xbf16>, tensor<1x1x64x32xbf16>
  fresnel.return %s {names = ["s"]} : tensor<1x1x64x64xf32>
}

// -----

fresnel.program @window_of_64_bits(%q: tensor<1x1x64x32xbf16>) {
  // expected-error @+1 {{`window` is 4294967296, but kernels have 31 bits for it; lower it to what the tensors need}}
  %o, %l = fresnel.attend %q, %q, %q {causal = true, window = 4294967296} : tensor<1x1x64x32xbf16>, tensor<1x1x64x32xbf16>, tensor<1x1x64x32xbf16>
  fresnel.return %o {names = ["o"]} : tensor<1x1x64x32xbf16>
}

// -----

fresnel.program @block_of_64_bits(%s: tensor<1x1x64x1xf32>) {
  // expected-error @+1 {{`key_block` is 4294967296, but kernels have 31 bits for it}}
  %i = fresnel.select_blocks %s {topk = 4294967296, sinks = 4294967296, causal = true, key_block = 4294967296} : tensor<1x1x64x1xf32>
  fresnel.return %i {names = ["i"]} : tensor<1x1x64x1xi32>
}

// -----

fresnel.program @pooled_tokens(%q: tensor<1x1x64x32xbf16>) {
  // expected-error @+1 {{keys reach token 32000000001, but kernels number tokens with 31 bits; check the strides}}
  %o, %l = fresnel.attend %q, %q, %q {causal = true, key_stride = 100000000} : tensor<1x1x64x32xbf16>, tensor<1x1x64x32xbf16>, tensor<1x1x64x32xbf16>
  fresnel.return %o {names = ["o"]} : tensor<1x1x64x32xbf16>
}

// -----

fresnel.program @moved_rows(%x: tensor<1x1x64x1025xi32>, %p: tensor<1x1x64xi32>) {
  // expected-error @+1 {{rows of 1025 i32 take 1025 threads, but a thread block has 1024; make them shorter, or a multiple of 16 bytes}}
  %y = fresnel.move %x from %p to %p : tensor<1x1x64x1025xi32>, tensor<1x1x64xi32>, tensor<1x1x64xi32>
  fresnel.return %y {names = ["y"]} : tensor<1x1x64x1025xi32>
}

// -----

fresnel.program @f32(%q: tensor<1x2x64x32xf32>) {
  // expected-error @+1 {{the matrix units take bf16 and f16, but the tensors hold f32; convert them}}
  %o, %l = fresnel.attend %q, %q, %q : tensor<1x2x64x32xf32>, tensor<1x2x64x32xf32>, tensor<1x2x64x32xf32>
  fresnel.return %o {names = ["o"]} : tensor<1x2x64x32xf32>
}

// -----

fresnel.program @head_dim(%q: tensor<1x2x64x40xbf16>) {
  // expected-error @+1 {{head dim 40 is not one of 32, 64, 96, 128, 192, 256; pad the head dim}}
  %o, %l = fresnel.attend %q, %q, %q : tensor<1x2x64x40xbf16>, tensor<1x2x64x40xbf16>, tensor<1x2x64x40xbf16>
  fresnel.return %o {names = ["o"]} : tensor<1x2x64x40xbf16>
}

// -----

fresnel.program @gradient_of_lists(%q: tensor<1x2x64x32xbf16>, %l: tensor<1x2x64xf32>, %b: tensor<1x2x64x2xi32>) {
  // expected-error @+1 {{the gradient of keys and values reads the transposed block list; run fresnel-transpose-blocks}}
  %d, %e = fresnel.attend_grad_kv %q, %q, %q lse %l delta %l dout %q blocks(%b : tensor<1x2x64x2xi32>) {key_block = 8} : tensor<1x2x64x32xbf16>, tensor<1x2x64x32xbf16>, tensor<1x2x64x32xbf16>, tensor<1x2x64xf32>, tensor<1x2x64xf32>, tensor<1x2x64x32xbf16>
  fresnel.return %d, %e {names = ["d", "e"]} : tensor<1x2x64x32xbf16>, tensor<1x2x64x32xbf16>
}

// -----

fresnel.program @hopper_lists_key_block(%in0: tensor<1x2x256x128xbf16>, %in1: tensor<1x2x4x2xi32>) attributes {fresnel.kernel,
    fresnel.schedule = #fresnel.schedule<family = hopper, tile_m = 64>} {
  // expected-error @+1 {{family hopper serves block lists whose `key_block` is a multiple of 16, but it is 40; use portable}}
  %o, %l = fresnel.attend %in0, %in0, %in0 blocks(%in1 : tensor<1x2x4x2xi32>) {query_block = 64, key_block = 40} : tensor<1x2x256x128xbf16>, tensor<1x2x256x128xbf16>, tensor<1x2x256x128xbf16>
  fresnel.return %o {names = ["o"]} : tensor<1x2x256x128xbf16>
}
fresnel.program @main(%q: tensor<1x2x256x128xbf16>, %b: tensor<1x2x4x2xi32>) {
  %o = fresnel.launch @hopper_lists_key_block(%q, %b) : (tensor<1x2x256x128xbf16>, tensor<1x2x4x2xi32>) -> tensor<1x2x256x128xbf16>
  fresnel.return %o {names = ["o"]} : tensor<1x2x256x128xbf16>
}

// -----

fresnel.program @hopper_lists_rows(%in0: tensor<1x2x256x128xbf16>, %in1: tensor<1x2x16x2xi32>) attributes {fresnel.kernel,
    fresnel.schedule = #fresnel.schedule<family = hopper, tile_m = 64, tile_n = 128>} {
  // expected-error @+1 {{tile_n must be at most 64 or divide `key_block` 64 where the queries of a tile have 4 lists, but is 128}}
  %o, %l = fresnel.attend %in0, %in0, %in0 blocks(%in1 : tensor<1x2x16x2xi32>) {query_block = 16, key_block = 64} : tensor<1x2x256x128xbf16>, tensor<1x2x256x128xbf16>, tensor<1x2x256x128xbf16>
  fresnel.return %o {names = ["o"]} : tensor<1x2x256x128xbf16>
}
fresnel.program @main(%q: tensor<1x2x256x128xbf16>, %b: tensor<1x2x16x2xi32>) {
  %o = fresnel.launch @hopper_lists_rows(%q, %b) : (tensor<1x2x256x128xbf16>, tensor<1x2x16x2xi32>) -> tensor<1x2x256x128xbf16>
  fresnel.return %o {names = ["o"]} : tensor<1x2x256x128xbf16>
}

// -----

fresnel.program @hopper_lists_shared(%in0: tensor<1x2x1048576x128xbf16>, %in1: tensor<1x2x1048576x2xi32>) attributes {fresnel.kernel,
    fresnel.schedule = #fresnel.schedule<family = hopper, tile_m = 64>} {
  // expected-error @+1 {{family hopper keeps the lists of a tile in shared memory, but with 65536 blocks needs}}
  %o, %l = fresnel.attend %in0, %in0, %in0 blocks(%in1 : tensor<1x2x1048576x2xi32>) {query_block = 1, key_block = 16} : tensor<1x2x1048576x128xbf16>, tensor<1x2x1048576x128xbf16>, tensor<1x2x1048576x128xbf16>
  fresnel.return %o {names = ["o"]} : tensor<1x2x1048576x128xbf16>
}
fresnel.program @main(%q: tensor<1x2x1048576x128xbf16>, %b: tensor<1x2x1048576x2xi32>) {
  %o = fresnel.launch @hopper_lists_shared(%q, %b) : (tensor<1x2x1048576x128xbf16>, tensor<1x2x1048576x2xi32>) -> tensor<1x2x1048576x128xbf16>
  fresnel.return %o {names = ["o"]} : tensor<1x2x1048576x128xbf16>
}

// -----

fresnel.program @hopper_lists_persistent(%in0: tensor<1x2x256x128xbf16>, %in1: tensor<1x2x4x2xi32>) attributes {fresnel.kernel,
    fresnel.schedule = #fresnel.schedule<family = hopper, tile_m = 64, persistent = true>} {
  // expected-error @+1 {{kernels over block lists are not persistent; set persistent = false}}
  %o, %l = fresnel.attend %in0, %in0, %in0 blocks(%in1 : tensor<1x2x4x2xi32>) {query_block = 64, key_block = 64} : tensor<1x2x256x128xbf16>, tensor<1x2x256x128xbf16>, tensor<1x2x256x128xbf16>
  fresnel.return %o {names = ["o"]} : tensor<1x2x256x128xbf16>
}
fresnel.program @main(%q: tensor<1x2x256x128xbf16>, %b: tensor<1x2x4x2xi32>) {
  %o = fresnel.launch @hopper_lists_persistent(%q, %b) : (tensor<1x2x256x128xbf16>, tensor<1x2x4x2xi32>) -> tensor<1x2x256x128xbf16>
  fresnel.return %o {names = ["o"]} : tensor<1x2x256x128xbf16>
}

// -----

fresnel.program @hopper_lists_tile_n(%in0: tensor<1x2x256x128xbf16>, %in1: tensor<1x2x4x2xi32>) attributes {fresnel.kernel,
    fresnel.schedule = #fresnel.schedule<family = hopper, tile_m = 64, tile_n = 48>} {
  // expected-error @+1 {{tile_n must divide `key_block` 64 or be a multiple of it, but is 48}}
  %o, %l = fresnel.attend %in0, %in0, %in0 blocks(%in1 : tensor<1x2x4x2xi32>) {query_block = 64, key_block = 64} : tensor<1x2x256x128xbf16>, tensor<1x2x256x128xbf16>, tensor<1x2x256x128xbf16>
  fresnel.return %o {names = ["o"]} : tensor<1x2x256x128xbf16>
}
fresnel.program @main(%q: tensor<1x2x256x128xbf16>, %b: tensor<1x2x4x2xi32>) {
  %o = fresnel.launch @hopper_lists_tile_n(%q, %b) : (tensor<1x2x256x128xbf16>, tensor<1x2x4x2xi32>) -> tensor<1x2x256x128xbf16>
  fresnel.return %o {names = ["o"]} : tensor<1x2x256x128xbf16>
}

// -----

fresnel.program @too_large(%in0: tensor<1x2x64x32xbf16>) attributes {fresnel.kernel,
    fresnel.schedule = #fresnel.schedule<family = portable, tile_m = 256, tile_n = 256, stages = 8>} {
  // expected-error @+1 {{the tiles need 348160 bytes of shared memory, but sm_90a has 232448; lower tile_n or stages}}
  %o, %l = fresnel.attend %in0, %in0, %in0 : tensor<1x2x64x32xbf16>, tensor<1x2x64x32xbf16>, tensor<1x2x64x32xbf16>
  fresnel.return %o {names = ["o"]} : tensor<1x2x64x32xbf16>
}
fresnel.program @main(%q: tensor<1x2x64x32xbf16>) {
  %o = fresnel.launch @too_large(%q) : (tensor<1x2x64x32xbf16>) -> tensor<1x2x64x32xbf16>
  fresnel.return %o {names = ["o"]} : tensor<1x2x64x32xbf16>
}

// -----

fresnel.program @hopper_tile_m(%in0: tensor<1x2x64x128xbf16>) attributes {fresnel.kernel,
    fresnel.schedule = #fresnel.schedule<family = hopper, tile_m = 96>} {
  // expected-error @+1 {{tile_m must be 64, 128 or 192 (64 for each consumer warpgroup), but is 96}}
  %o, %l = fresnel.attend %in0, %in0, %in0 : tensor<1x2x64x128xbf16>, tensor<1x2x64x128xbf16>, tensor<1x2x64x128xbf16>
  fresnel.return %o {names = ["o"]} : tensor<1x2x64x128xbf16>
}
fresnel.program @main(%q: tensor<1x2x64x128xbf16>) {
  %o = fresnel.launch @hopper_tile_m(%q) : (tensor<1x2x64x128xbf16>) -> tensor<1x2x64x128xbf16>
  fresnel.return %o {names = ["o"]} : tensor<1x2x64x128xbf16>
}

// -----

fresnel.program @hopper_tile_n(%in0: tensor<1x2x64x128xbf16>) attributes {fresnel.kernel,
    fresnel.schedule = #fresnel.schedule<family = hopper, tile_m = 128, tile_n = 100>} {
  // expected-error @+1 {{tile_n must be a multiple of 16 in [16, 256], but is 100}}
  %o, %l = fresnel.attend %in0, %in0, %in0 : tensor<1x2x64x128xbf16>, tensor<1x2x64x128xbf16>, tensor<1x2x64x128xbf16>
  fresnel.return %o {names = ["o"]} : tensor<1x2x64x128xbf16>
}
fresnel.program @main(%q: tensor<1x2x64x128xbf16>) {
  %o = fresnel.launch @hopper_tile_n(%q) : (tensor<1x2x64x128xbf16>) -> tensor<1x2x64x128xbf16>
  fresnel.return %o {names = ["o"]} : tensor<1x2x64x128xbf16>
}

// -----

fresnel.program @hopper_stages(%in0: tensor<1x2x64x128xbf16>) attributes {fresnel.kernel,
    fresnel.schedule = #fresnel.schedule<family = hopper, tile_m = 128, stages = 9>} {
  // expected-error @+1 {{stages must be in [1, 8], but is 9}}
  %o, %l = fresnel.attend %in0, %in0, %in0 : tensor<1x2x64x128xbf16>, tensor<1x2x64x128xbf16>, tensor<1x2x64x128xbf16>
  fresnel.return %o {names = ["o"]} : tensor<1x2x64x128xbf16>
}
fresnel.program @main(%q: tensor<1x2x64x128xbf16>) {
  %o = fresnel.launch @hopper_stages(%q) : (tensor<1x2x64x128xbf16>) -> tensor<1x2x64x128xbf16>
  fresnel.return %o {names = ["o"]} : tensor<1x2x64x128xbf16>
}

// -----

fresnel.program @hopper_shared(%in0: tensor<1x2x64x128xbf16>) attributes {fresnel.kernel,
    fresnel.schedule = #fresnel.schedule<family = hopper, tile_m = 128, tile_n = 128, stages = 4>} {
  // expected-error @+1 {{the tiles need 295080 bytes of shared memory, but sm_90a has 232448; lower tile_n or stages}}
  %o, %l = fresnel.attend %in0, %in0, %in0 : tensor<1x2x64x128xbf16>, tensor<1x2x64x128xbf16>, tensor<1x2x64x128xbf16>
  fresnel.return %o {names = ["o"]} : tensor<1x2x64x128xbf16>
}
fresnel.program @main(%q: tensor<1x2x64x128xbf16>) {
  %o = fresnel.launch @hopper_shared(%q) : (tensor<1x2x64x128xbf16>) -> tensor<1x2x64x128xbf16>
  fresnel.return %o {names = ["o"]} : tensor<1x2x64x128xbf16>
}

// -----

fresnel.program @hopper_registers(%in0: tensor<1x2x64x128xbf16>) attributes {fresnel.kernel,
    fresnel.schedule = #fresnel.schedule<family = hopper, tile_m = 192, tile_n = 128, stages = 1>} {
  // expected-error @+1 {{a consumer thread needs about 188 registers, but has 160; lower tile_n, or take tile_m = 128, or set shared_weights = true}}
  %o, %l = fresnel.attend %in0, %in0, %in0 : tensor<1x2x64x128xbf16>, tensor<1x2x64x128xbf16>, tensor<1x2x64x128xbf16>
  fresnel.return %o {names = ["o"]} : tensor<1x2x64x128xbf16>
}
fresnel.program @main(%q: tensor<1x2x64x128xbf16>) {
  %o = fresnel.launch @hopper_registers(%q) : (tensor<1x2x64x128xbf16>) -> tensor<1x2x64x128xbf16>
  fresnel.return %o {names = ["o"]} : tensor<1x2x64x128xbf16>
}

// -----

fresnel.program @hopper_head_dim(%in0: tensor<1x2x64x32xbf16>) attributes {fresnel.kernel,
    fresnel.schedule = #fresnel.schedule<family = hopper, tile_m = 128>} {
  // expected-error @+1 {{family hopper serves head dims 64, 96, 128, 192 and 256, but got 32; use portable}}
  %o, %l = fresnel.attend %in0, %in0, %in0 : tensor<1x2x64x32xbf16>, tensor<1x2x64x32xbf16>, tensor<1x2x64x32xbf16>
  fresnel.return %o {names = ["o"]} : tensor<1x2x64x32xbf16>
}
fresnel.program @main(%q: tensor<1x2x64x32xbf16>) {
  %o = fresnel.launch @hopper_head_dim(%q) : (tensor<1x2x64x32xbf16>) -> tensor<1x2x64x32xbf16>
  fresnel.return %o {names = ["o"]} : tensor<1x2x64x32xbf16>
}

// -----

fresnel.program @hopper_tiles(%in0: tensor<60000x60000x64x128xbf16>) {
  // expected-error @+1 {{3600000000 tiles of queries are numbered with 31 bits; split the batch}}
  %o, %l = fresnel.attend %in0, %in0, %in0 : tensor<60000x60000x64x128xbf16>, tensor<60000x60000x64x128xbf16>, tensor<60000x60000x64x128xbf16>
  fresnel.return %o {names = ["o"]} : tensor<60000x60000x64x128xbf16>
}

// -----

fresnel.program @cluster_size(%in0: tensor<1x2x64x128xbf16>, %in1: tensor<1x2x64x128xbf16>) attributes {fresnel.kernel,
    fresnel.schedule = #fresnel.schedule<family = hopper, tile_m = 128, cluster = 4>} {
  // expected-error @+1 {{cluster must be 1 or 2, but is 4}}
  %o, %l = fresnel.attend %in0, %in1, %in1 : tensor<1x2x64x128xbf16>, tensor<1x2x64x128xbf16>, tensor<1x2x64x128xbf16>
  fresnel.return %o {names = ["o"]} : tensor<1x2x64x128xbf16>
}
fresnel.program @main(%q: tensor<1x2x64x128xbf16>, %k: tensor<1x2x64x128xbf16>) {
  %o = fresnel.launch @cluster_size(%q, %k) : (tensor<1x2x64x128xbf16>, tensor<1x2x64x128xbf16>) -> tensor<1x2x64x128xbf16>
  fresnel.return %o {names = ["o"]} : tensor<1x2x64x128xbf16>
}

// -----

fresnel.program @cluster_persistent(%in0: tensor<1x2x64x128xbf16>, %in1: tensor<1x2x64x128xbf16>) attributes {fresnel.kernel,
    fresnel.schedule = #fresnel.schedule<family = hopper, tile_m = 128, persistent = true, cluster = 2>} {
  // expected-error @+1 {{a persistent kernel hands out its tiles one by one; set persistent = false or cluster = 1}}
  %o, %l = fresnel.attend %in0, %in1, %in1 : tensor<1x2x64x128xbf16>, tensor<1x2x64x128xbf16>, tensor<1x2x64x128xbf16>
  fresnel.return %o {names = ["o"]} : tensor<1x2x64x128xbf16>
}
fresnel.program @main(%q: tensor<1x2x64x128xbf16>, %k: tensor<1x2x64x128xbf16>) {
  %o = fresnel.launch @cluster_persistent(%q, %k) : (tensor<1x2x64x128xbf16>, tensor<1x2x64x128xbf16>) -> tensor<1x2x64x128xbf16>
  fresnel.return %o {names = ["o"]} : tensor<1x2x64x128xbf16>
}

// -----

fresnel.program @cluster_window(%in0: tensor<1x2x64x128xbf16>, %in1: tensor<1x2x64x128xbf16>) attributes {fresnel.kernel,
    fresnel.schedule = #fresnel.schedule<family = hopper, tile_m = 128, cluster = 2>} {
  // expected-error @+1 {{with block lists, documents, windows, pooled keys or queries in front of all keys set cluster = 1}}
  %o, %l = fresnel.attend %in0, %in1, %in1 {causal = true, window = 7} : tensor<1x2x64x128xbf16>, tensor<1x2x64x128xbf16>, tensor<1x2x64x128xbf16>
  fresnel.return %o {names = ["o"]} : tensor<1x2x64x128xbf16>
}
fresnel.program @main(%q: tensor<1x2x64x128xbf16>, %k: tensor<1x2x64x128xbf16>) {
  %o = fresnel.launch @cluster_window(%q, %k) : (tensor<1x2x64x128xbf16>, tensor<1x2x64x128xbf16>) -> tensor<1x2x64x128xbf16>
  fresnel.return %o {names = ["o"]} : tensor<1x2x64x128xbf16>
}

// -----

fresnel.program @cluster_portable(%in0: tensor<1x2x64x128xbf16>, %in1: tensor<1x2x64x128xbf16>) attributes {fresnel.kernel,
    fresnel.schedule = #fresnel.schedule<family = portable, cluster = 2>} {
  // expected-error @+1 {{only attention of family hopper and its gradients in one pass run in clusters; set cluster = 1}}
  %o, %l = fresnel.attend %in0, %in1, %in1 : tensor<1x2x64x128xbf16>, tensor<1x2x64x128xbf16>, tensor<1x2x64x128xbf16>
  fresnel.return %o {names = ["o"]} : tensor<1x2x64x128xbf16>
}
fresnel.program @main(%q: tensor<1x2x64x128xbf16>, %k: tensor<1x2x64x128xbf16>) {
  %o = fresnel.launch @cluster_portable(%q, %k) : (tensor<1x2x64x128xbf16>, tensor<1x2x64x128xbf16>) -> tensor<1x2x64x128xbf16>
  fresnel.return %o {names = ["o"]} : tensor<1x2x64x128xbf16>
}

// -----

fresnel.program @early_multiple(%in0: tensor<1x2x64x128xbf16>, %in1: tensor<1x2x64x128xbf16>) attributes {fresnel.kernel,
    fresnel.schedule = #fresnel.schedule<family = hopper, tile_m = 128, tile_n = 128, early = 20>} {
  // expected-error @+1 {{early must be a multiple of 8, less than tile_n 128, but is 20; set early = 0 for none}}
  %o, %l = fresnel.attend %in0, %in1, %in1 : tensor<1x2x64x128xbf16>, tensor<1x2x64x128xbf16>, tensor<1x2x64x128xbf16>
  fresnel.return %o {names = ["o"]} : tensor<1x2x64x128xbf16>
}
fresnel.program @main(%q: tensor<1x2x64x128xbf16>, %k: tensor<1x2x64x128xbf16>) {
  %o = fresnel.launch @early_multiple(%q, %k) : (tensor<1x2x64x128xbf16>, tensor<1x2x64x128xbf16>) -> tensor<1x2x64x128xbf16>
  fresnel.return %o {names = ["o"]} : tensor<1x2x64x128xbf16>
}

// -----

fresnel.program @early_all(%in0: tensor<1x2x64x128xbf16>, %in1: tensor<1x2x64x128xbf16>) attributes {fresnel.kernel,
    fresnel.schedule = #fresnel.schedule<family = hopper, tile_m = 128, tile_n = 128, early = 128>} {
  // expected-error @+1 {{early must be a multiple of 8, less than tile_n 128, but is 128; set early = 0 for none}}
  %o, %l = fresnel.attend %in0, %in1, %in1 : tensor<1x2x64x128xbf16>, tensor<1x2x64x128xbf16>, tensor<1x2x64x128xbf16>
  fresnel.return %o {names = ["o"]} : tensor<1x2x64x128xbf16>
}
fresnel.program @main(%q: tensor<1x2x64x128xbf16>, %k: tensor<1x2x64x128xbf16>) {
  %o = fresnel.launch @early_all(%q, %k) : (tensor<1x2x64x128xbf16>, tensor<1x2x64x128xbf16>) -> tensor<1x2x64x128xbf16>
  fresnel.return %o {names = ["o"]} : tensor<1x2x64x128xbf16>
}

// -----

fresnel.program @early_portable(%in0: tensor<1x2x64x128xbf16>, %in1: tensor<1x2x64x128xbf16>) attributes {fresnel.kernel,
    fresnel.schedule = #fresnel.schedule<family = portable, early = 16>} {
  // expected-error @+1 {{only attention of family hopper computes weights early; set early = 0}}
  %o, %l = fresnel.attend %in0, %in1, %in1 : tensor<1x2x64x128xbf16>, tensor<1x2x64x128xbf16>, tensor<1x2x64x128xbf16>
  fresnel.return %o {names = ["o"]} : tensor<1x2x64x128xbf16>
}
fresnel.program @main(%q: tensor<1x2x64x128xbf16>, %k: tensor<1x2x64x128xbf16>) {
  %o = fresnel.launch @early_portable(%q, %k) : (tensor<1x2x64x128xbf16>, tensor<1x2x64x128xbf16>) -> tensor<1x2x64x128xbf16>
  fresnel.return %o {names = ["o"]} : tensor<1x2x64x128xbf16>
}

// -----

fresnel.program @shared_weights_memory(%in0: tensor<1x2x2048x128xbf16>, %in1: tensor<1x2x2048x128xbf16>) attributes {fresnel.kernel,
    fresnel.schedule = #fresnel.schedule<family = hopper, tile_m = 128, tile_n = 192, shared_weights = true>} {
  // expected-error @+1 {{the tiles need 278632 bytes of shared memory, but sm_90a has 232448; lower tile_n or stages, or set shared_weights = false, which takes 49152 less}}
  %o, %l = fresnel.attend %in0, %in1, %in1 : tensor<1x2x2048x128xbf16>, tensor<1x2x2048x128xbf16>, tensor<1x2x2048x128xbf16>
  fresnel.return %o {names = ["o"]} : tensor<1x2x2048x128xbf16>
}
fresnel.program @main(%q: tensor<1x2x2048x128xbf16>, %k: tensor<1x2x2048x128xbf16>) {
  %o = fresnel.launch @shared_weights_memory(%q, %k) : (tensor<1x2x2048x128xbf16>, tensor<1x2x2048x128xbf16>) -> tensor<1x2x2048x128xbf16>
  fresnel.return %o {names = ["o"]} : tensor<1x2x2048x128xbf16>
}

// -----

fresnel.program @shared_weights_registers(%in0: tensor<1x2x2048x128xbf16>, %in1: tensor<1x2x2048x128xbf16>) attributes {fresnel.kernel,
    fresnel.schedule = #fresnel.schedule<family = hopper, tile_m = 192, tile_n = 160, stages = 1, shared_weights = true>} {
  // expected-error @+1 {{a consumer thread needs about 172 registers, but has 160; lower tile_n, or take tile_m = 128}}
  %o, %l = fresnel.attend %in0, %in1, %in1 : tensor<1x2x2048x128xbf16>, tensor<1x2x2048x128xbf16>, tensor<1x2x2048x128xbf16>
  fresnel.return %o {names = ["o"]} : tensor<1x2x2048x128xbf16>
}
fresnel.program @main(%q: tensor<1x2x2048x128xbf16>, %k: tensor<1x2x2048x128xbf16>) {
  %o = fresnel.launch @shared_weights_registers(%q, %k) : (tensor<1x2x2048x128xbf16>, tensor<1x2x2048x128xbf16>) -> tensor<1x2x2048x128xbf16>
  fresnel.return %o {names = ["o"]} : tensor<1x2x2048x128xbf16>
}

// -----

fresnel.program @shared_weights_portable(%in0: tensor<1x2x2048x128xbf16>, %in1: tensor<1x2x2048x128xbf16>) attributes {fresnel.kernel,
    fresnel.schedule = #fresnel.schedule<family = portable, shared_weights = true>} {
  // expected-error @+1 {{only attention of family hopper may keep weights in shared memory; set shared_weights = false}}
  %o, %l = fresnel.attend %in0, %in1, %in1 : tensor<1x2x2048x128xbf16>, tensor<1x2x2048x128xbf16>, tensor<1x2x2048x128xbf16>
  fresnel.return %o {names = ["o"]} : tensor<1x2x2048x128xbf16>
}
fresnel.program @main(%q: tensor<1x2x2048x128xbf16>, %k: tensor<1x2x2048x128xbf16>) {
  %o = fresnel.launch @shared_weights_portable(%q, %k) : (tensor<1x2x2048x128xbf16>, tensor<1x2x2048x128xbf16>) -> tensor<1x2x2048x128xbf16>
  fresnel.return %o {names = ["o"]} : tensor<1x2x2048x128xbf16>
}

// -----

!q = tensor<1x2x256x64xbf16>
!s = tensor<1x1x2x1xi32>
fresnel.program @starts_of_many(%q: !q, %b: tensor<1x2x2x2xi32>, %s: !s) {
  // expected-error @+1 {{`starts` go with lists of one entry, and `query_block` and `key_block` of a multiple of 128, but there are 2 entries and blocks of 128 and 128}}
  %o, %l = fresnel.attend %q, %q, %q blocks(%b : tensor<1x2x2x2xi32>) starts(%s : !s) {query_block = 128, key_block = 128} : !q, !q, !q
  fresnel.return %o {names = ["o"]} : !q
}

// -----

!q = tensor<1x2x256x64xbf16>
!s = tensor<1x1x2x1xi32>
fresnel.program @starts_under_a_mask(%q: !q, %b: tensor<1x2x2x1xi32>, %s: !s) {
  // expected-error @+1 {{`starts` hide what is in front of them, and leave no room for a causal mask}}
  %o, %l = fresnel.attend %q, %q, %q blocks(%b : tensor<1x2x2x1xi32>) starts(%s : !s) {causal = true, query_block = 128, key_block = 128} : !q, !q, !q
  fresnel.return %o {names = ["o"]} : !q
}

// -----

// Head dim 32 is one of the portable family.
!q = tensor<1x2x256x32xbf16>
!s = tensor<1x1x2x1xi32>
fresnel.program @starts_elsewhere(%q: !q, %b: tensor<1x2x2x1xi32>, %s: !s) {
  // expected-error @+1 {{only family hopper serves the `starts` of blocks}}
  %o, %l = fresnel.attend %q, %q, %q blocks(%b : tensor<1x2x2x1xi32>) starts(%s : !s) {query_block = 128, key_block = 128} : !q, !q, !q
  fresnel.return %o {names = ["o"]} : !q
}
