module {
  fresnel.program @moba(%q: tensor<1x8x256x32xbf16>, %k: tensor<1x8x256x32xbf16>, %v: tensor<1x8x256x32xbf16>) {
    %0 = fresnel.pool  mean %k {window = 512 : i64} : tensor<1x8x256x32xbf16>
    %1 = fresnel.block_score %q, %0 {causal = true, key_stride = 512 : i64, key_window = 512 : i64, scale = 1.000000e+00 : f64} : tensor<1x8x256x32xbf16>, tensor<1x8x1x32xbf16>
    %2 = fresnel.select_blocks %1 {causal = true, key_block = 512 : i64, local = 1 : i64, topk = 3 : i64} : tensor<1x8x256x1xf32>
    %out, %lse = fresnel.attend %q, %k, %v blocks(%2 : tensor<1x8x256x1xi32>) {causal = true, key_block = 512 : i64} : tensor<1x8x256x32xbf16>, tensor<1x8x256x32xbf16>, tensor<1x8x256x32xbf16>
    fresnel.return %out, %lse, %2 {names = ["out", "lse", "selected"]} : tensor<1x8x256x32xbf16>, tensor<1x8x256xf32>, tensor<1x8x256x1xi32>
  }
}
