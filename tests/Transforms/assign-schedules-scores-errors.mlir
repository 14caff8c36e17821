// What the kernels of scores of blocks do not serve.
// RUN: fresnel-opt %s --split-input-file --verify-diagnostics --fresnel-assign-schedules

fresnel.program @scores_type(%in0: tensor<1x8x1000x128xf32>, %in1: tensor<1x2x61x128xf32>, %in2: tensor<1x8x1000xf32>) attributes {fresnel.kernel} {
  // expected-error @+1 {{the matrix units take bf16 and f16, but the tensors hold f32}}
  %y = fresnel.regroup_scored %in0, %in1 lse %in2 {window = 32, stride = 16, block = 64, seq_len = 1000} : tensor<1x8x1000x128xf32>, tensor<1x2x61x128xf32>, tensor<1x8x1000xf32>
  fresnel.return %y {names = ["y"]} : tensor<1x2x1000x16xf32>
}
fresnel.program @main(%q: tensor<1x8x1000x128xf32>, %k: tensor<1x2x61x128xf32>, %l: tensor<1x8x1000xf32>) {
  %y = fresnel.launch @scores_type(%q, %k, %l) : (tensor<1x8x1000x128xf32>, tensor<1x2x61x128xf32>, tensor<1x8x1000xf32>) -> tensor<1x2x1000x16xf32>
  fresnel.return %y {names = ["y"]} : tensor<1x2x1000x16xf32>
}

// -----

fresnel.program @scores_head_dim(%in0: tensor<1x8x1000x192xbf16>, %in1: tensor<1x2x61x192xbf16>, %in2: tensor<1x8x1000xf32>) attributes {fresnel.kernel} {
  // expected-error @+1 {{scores of blocks serve head dims 64, 96 and 128, but got 192; use block_score and regroup}}
  %y = fresnel.regroup_scored %in0, %in1 lse %in2 {window = 32, stride = 16, block = 64, seq_len = 1000} : tensor<1x8x1000x192xbf16>, tensor<1x2x61x192xbf16>, tensor<1x8x1000xf32>
  fresnel.return %y {names = ["y"]} : tensor<1x2x1000x16xf32>
}
fresnel.program @main(%q: tensor<1x8x1000x192xbf16>, %k: tensor<1x2x61x192xbf16>, %l: tensor<1x8x1000xf32>) {
  %y = fresnel.launch @scores_head_dim(%q, %k, %l) : (tensor<1x8x1000x192xbf16>, tensor<1x2x61x192xbf16>, tensor<1x8x1000xf32>) -> tensor<1x2x1000x16xf32>
  fresnel.return %y {names = ["y"]} : tensor<1x2x1000x16xf32>
}

// -----

fresnel.program @scores_windows(%in0: tensor<1x8x1000x128xbf16>, %in1: tensor<1x2x61x128xbf16>, %in2: tensor<1x8x1000xf32>) attributes {fresnel.kernel} {
  // expected-error @+1 {{a block and the windows that reach into it must have at most 64 windows, but have 65; use block_score and regroup}}
  %y = fresnel.regroup_scored %in0, %in1 lse %in2 {window = 32, stride = 16, block = 1024, seq_len = 1000} : tensor<1x8x1000x128xbf16>, tensor<1x2x61x128xbf16>, tensor<1x8x1000xf32>
  fresnel.return %y {names = ["y"]} : tensor<1x2x1000x1xf32>
}
fresnel.program @main(%q: tensor<1x8x1000x128xbf16>, %k: tensor<1x2x61x128xbf16>, %l: tensor<1x8x1000xf32>) {
  %y = fresnel.launch @scores_windows(%q, %k, %l) : (tensor<1x8x1000x128xbf16>, tensor<1x2x61x128xbf16>, tensor<1x8x1000xf32>) -> tensor<1x2x1000x1xf32>
  fresnel.return %y {names = ["y"]} : tensor<1x2x1000x1xf32>
}

// -----

fresnel.program @scores_group(%in0: tensor<1x128x1000x128xbf16>, %in1: tensor<1x1x61x128xbf16>, %in2: tensor<1x128x1000xf32>) attributes {fresnel.kernel} {
  // expected-error @+1 {{8 queries of each of 128 heads take 8 products of at most 128 and 326288 bytes of shared memory, but there are 8 and 232448; use block_score and regroup}}
  %y = fresnel.regroup_scored %in0, %in1 lse %in2 {window = 32, stride = 16, block = 64, seq_len = 1000} : tensor<1x128x1000x128xbf16>, tensor<1x1x61x128xbf16>, tensor<1x128x1000xf32>
  fresnel.return %y {names = ["y"]} : tensor<1x1x1000x16xf32>
}
fresnel.program @main(%q: tensor<1x128x1000x128xbf16>, %k: tensor<1x1x61x128xbf16>, %l: tensor<1x128x1000xf32>) {
  %y = fresnel.launch @scores_group(%q, %k, %l) : (tensor<1x128x1000x128xbf16>, tensor<1x1x61x128xbf16>, tensor<1x128x1000xf32>) -> tensor<1x1x1000x16xf32>
  fresnel.return %y {names = ["y"]} : tensor<1x1x1000x16xf32>
}

// -----

fresnel.program @scores_family(%in0: tensor<1x8x1000x128xbf16>, %in1: tensor<1x2x61x128xbf16>, %in2: tensor<1x8x1000xf32>) attributes {fresnel.kernel,
    fresnel.schedule = #fresnel.schedule<family = simt>} {
  // expected-error @+1 {{only family hopper has scores of blocks without those of windows; use block_score and regroup}}
  %y = fresnel.regroup_scored %in0, %in1 lse %in2 {window = 32, stride = 16, block = 64, seq_len = 1000} : tensor<1x8x1000x128xbf16>, tensor<1x2x61x128xbf16>, tensor<1x8x1000xf32>
  fresnel.return %y {names = ["y"]} : tensor<1x2x1000x16xf32>
}
fresnel.program @main(%q: tensor<1x8x1000x128xbf16>, %k: tensor<1x2x61x128xbf16>, %l: tensor<1x8x1000xf32>) {
  %y = fresnel.launch @scores_family(%q, %k, %l) : (tensor<1x8x1000x128xbf16>, tensor<1x2x61x128xbf16>, tensor<1x8x1000xf32>) -> tensor<1x2x1000x16xf32>
  fresnel.return %y {names = ["y"]} : tensor<1x2x1000x16xf32>
}

// -----

fresnel.program @scores_tile_m(%in0: tensor<1x8x1000x128xbf16>, %in1: tensor<1x2x61x128xbf16>, %in2: tensor<1x8x1000xf32>) attributes {fresnel.kernel,
    fresnel.schedule = #fresnel.schedule<family = hopper, tile_m = 48>} {
  // expected-error @+1 {{tile_m, the queries of a block, must be a power of two in [8, 32], but is 48}}
  %y = fresnel.regroup_scored %in0, %in1 lse %in2 {window = 32, stride = 16, block = 64, seq_len = 1000} : tensor<1x8x1000x128xbf16>, tensor<1x2x61x128xbf16>, tensor<1x8x1000xf32>
  fresnel.return %y {names = ["y"]} : tensor<1x2x1000x16xf32>
}
fresnel.program @main(%q: tensor<1x8x1000x128xbf16>, %k: tensor<1x2x61x128xbf16>, %l: tensor<1x8x1000xf32>) {
  %y = fresnel.launch @scores_tile_m(%q, %k, %l) : (tensor<1x8x1000x128xbf16>, tensor<1x2x61x128xbf16>, tensor<1x8x1000xf32>) -> tensor<1x2x1000x16xf32>
  fresnel.return %y {names = ["y"]} : tensor<1x2x1000x16xf32>
}

// -----

fresnel.program @scores_tile_n(%in0: tensor<1x8x1000x128xbf16>, %in1: tensor<1x2x61x128xbf16>, %in2: tensor<1x8x1000xf32>) attributes {fresnel.kernel,
    fresnel.schedule = #fresnel.schedule<family = hopper, tile_m = 32, tile_n = 128>} {
  // expected-error @+1 {{tile_n must be 64, the keys of a product, but is 128}}
  %y = fresnel.regroup_scored %in0, %in1 lse %in2 {window = 32, stride = 16, block = 64, seq_len = 1000} : tensor<1x8x1000x128xbf16>, tensor<1x2x61x128xbf16>, tensor<1x8x1000xf32>
  fresnel.return %y {names = ["y"]} : tensor<1x2x1000x16xf32>
}
fresnel.program @main(%q: tensor<1x8x1000x128xbf16>, %k: tensor<1x2x61x128xbf16>, %l: tensor<1x8x1000xf32>) {
  %y = fresnel.launch @scores_tile_n(%q, %k, %l) : (tensor<1x8x1000x128xbf16>, tensor<1x2x61x128xbf16>, tensor<1x8x1000xf32>) -> tensor<1x2x1000x16xf32>
  fresnel.return %y {names = ["y"]} : tensor<1x2x1000x16xf32>
}

// -----

fresnel.program @scores_persistent(%in0: tensor<1x8x1000x128xbf16>, %in1: tensor<1x2x61x128xbf16>, %in2: tensor<1x8x1000xf32>) attributes {fresnel.kernel,
    fresnel.schedule = #fresnel.schedule<family = hopper, tile_m = 32>} {
  // expected-error @+1 {{scores are persistent; set persistent = true}}
  %y = fresnel.regroup_scored %in0, %in1 lse %in2 {window = 32, stride = 16, block = 64, seq_len = 1000} : tensor<1x8x1000x128xbf16>, tensor<1x2x61x128xbf16>, tensor<1x8x1000xf32>
  fresnel.return %y {names = ["y"]} : tensor<1x2x1000x16xf32>
}
fresnel.program @main(%q: tensor<1x8x1000x128xbf16>, %k: tensor<1x2x61x128xbf16>, %l: tensor<1x8x1000xf32>) {
  %y = fresnel.launch @scores_persistent(%q, %k, %l) : (tensor<1x8x1000x128xbf16>, tensor<1x2x61x128xbf16>, tensor<1x8x1000xf32>) -> tensor<1x2x1000x16xf32>
  fresnel.return %y {names = ["y"]} : tensor<1x2x1000x16xf32>
}

// -----

fresnel.program @scores_stages(%in0: tensor<1x8x1000x128xbf16>, %in1: tensor<1x2x61x128xbf16>, %in2: tensor<1x8x1000xf32>) attributes {fresnel.kernel,
    fresnel.schedule = #fresnel.schedule<family = hopper, tile_m = 32, stages = 2, persistent = true>} {
  // expected-error @+1 {{stages must be 3, one for each consumer, but is 2}}
  %y = fresnel.regroup_scored %in0, %in1 lse %in2 {window = 32, stride = 16, block = 64, seq_len = 1000} : tensor<1x8x1000x128xbf16>, tensor<1x2x61x128xbf16>, tensor<1x8x1000xf32>
  fresnel.return %y {names = ["y"]} : tensor<1x2x1000x16xf32>
}
fresnel.program @main(%q: tensor<1x8x1000x128xbf16>, %k: tensor<1x2x61x128xbf16>, %l: tensor<1x8x1000xf32>) {
  %y = fresnel.launch @scores_stages(%q, %k, %l) : (tensor<1x8x1000x128xbf16>, tensor<1x2x61x128xbf16>, tensor<1x8x1000xf32>) -> tensor<1x2x1000x16xf32>
  fresnel.return %y {names = ["y"]} : tensor<1x2x1000x16xf32>
}

// -----

fresnel.program @scores_tokens(%in0: tensor<1x8x1000x128xbf16>, %in1: tensor<1x2x61x128xbf16>, %in2: tensor<1x8x1000xf32>) attributes {fresnel.kernel} {
  // expected-error @+1 {{keys reach token 2181843363, but kernels number tokens with 31 bits; check the strides}}
  %y = fresnel.regroup_scored %in0, %in1 lse %in2 {window = 34359738, stride = 17179869, block = 17179869, seq_len = 100} : tensor<1x8x1000x128xbf16>, tensor<1x2x61x128xbf16>, tensor<1x8x1000xf32>
  fresnel.return %y {names = ["y"]} : tensor<1x2x1000x1xf32>
}
fresnel.program @main(%q: tensor<1x8x1000x128xbf16>, %k: tensor<1x2x61x128xbf16>, %l: tensor<1x8x1000xf32>) {
  %y = fresnel.launch @scores_tokens(%q, %k, %l) : (tensor<1x8x1000x128xbf16>, tensor<1x2x61x128xbf16>, tensor<1x8x1000xf32>) -> tensor<1x2x1000x1xf32>
  fresnel.return %y {names = ["y"]} : tensor<1x2x1000x1xf32>
}

// -----

fresnel.program @scores_products(%in0: tensor<1x22x1000x128xbf16>, %in1: tensor<1x2x61x128xbf16>, %in2: tensor<1x22x1000xf32>) attributes {fresnel.kernel,
    fresnel.schedule = #fresnel.schedule<family = hopper, tile_m = 32>} {
  // expected-error @+1 {{tile_m queries of all heads must fit into 8 products of at most 128, but need 11; change tile_m}}
  %y = fresnel.regroup_scored %in0, %in1 lse %in2 {window = 32, stride = 16, block = 64, seq_len = 1000} : tensor<1x22x1000x128xbf16>, tensor<1x2x61x128xbf16>, tensor<1x22x1000xf32>
  fresnel.return %y {names = ["y"]} : tensor<1x2x1000x16xf32>
}
fresnel.program @main(%q: tensor<1x22x1000x128xbf16>, %k: tensor<1x2x61x128xbf16>, %l: tensor<1x22x1000xf32>) {
  %y = fresnel.launch @scores_products(%q, %k, %l) : (tensor<1x22x1000x128xbf16>, tensor<1x2x61x128xbf16>, tensor<1x22x1000xf32>) -> tensor<1x2x1000x16xf32>
  fresnel.return %y {names = ["y"]} : tensor<1x2x1000x16xf32>
}

// -----

fresnel.program @scores_shared(%in0: tensor<1x40x1000x128xbf16>, %in1: tensor<1x2x61x128xbf16>, %in2: tensor<1x40x1000xf32>) attributes {fresnel.kernel,
    fresnel.schedule = #fresnel.schedule<family = hopper, tile_m = 32>} {
  // expected-error @+1 {{tile_m queries of all heads need 244760 bytes of shared memory, of 232448; lower tile_m}}
  %y = fresnel.regroup_scored %in0, %in1 lse %in2 {window = 32, stride = 16, block = 64, seq_len = 1000} : tensor<1x40x1000x128xbf16>, tensor<1x2x61x128xbf16>, tensor<1x40x1000xf32>
  fresnel.return %y {names = ["y"]} : tensor<1x2x1000x16xf32>
}
fresnel.program @main(%q: tensor<1x40x1000x128xbf16>, %k: tensor<1x2x61x128xbf16>, %l: tensor<1x40x1000xf32>) {
  %y = fresnel.launch @scores_shared(%q, %k, %l) : (tensor<1x40x1000x128xbf16>, tensor<1x2x61x128xbf16>, tensor<1x40x1000xf32>) -> tensor<1x2x1000x16xf32>
  fresnel.return %y {names = ["y"]} : tensor<1x2x1000x16xf32>
}
