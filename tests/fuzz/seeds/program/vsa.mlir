module {
  fresnel.program @vsa(%q: tensor<1x8x256x32xbf16>, %k: tensor<1x8x256x32xbf16>, %v: tensor<1x8x256x32xbf16>, %gates: tensor<1x8x256x2xbf16>) {
    %0 = fresnel.pool  mean %q {window = 64 : i64} : tensor<1x8x256x32xbf16>
    %1 = fresnel.pool  mean %k {window = 64 : i64} : tensor<1x8x256x32xbf16>
    %2 = fresnel.pool  mean %v {window = 64 : i64} : tensor<1x8x256x32xbf16>
    %out, %lse = fresnel.attend %0, %1, %2 : tensor<1x8x4x32xbf16>, tensor<1x8x4x32xbf16>, tensor<1x8x4x32xbf16>
    %3 = fresnel.unpool %out {seq_len = 256 : i64, window = 64 : i64} : tensor<1x8x4x32xbf16>
    %4 = fresnel.block_score %0, %1 : tensor<1x8x4x32xbf16>, tensor<1x8x4x32xbf16>
    %5 = fresnel.select_blocks %4 {key_block = 64 : i64, query_block = 64 : i64, topk = 32 : i64} : tensor<1x8x4x4xf32>
    %out_0, %lse_1 = fresnel.attend %q, %k, %v blocks(%5 : tensor<1x8x4x4xi32>) {key_block = 64 : i64, query_block = 64 : i64} : tensor<1x8x256x32xbf16>, tensor<1x8x256x32xbf16>, tensor<1x8x256x32xbf16>
    %6 = fresnel.gate %3, %out_0 by %gates : tensor<1x8x256x32xbf16>, tensor<1x8x256x32xbf16> by tensor<1x8x256x2xbf16>
    fresnel.return %6, %lse_1, %5 {names = ["out", "lse", "selected"]} : tensor<1x8x256x32xbf16>, tensor<1x8x256xf32>, tensor<1x8x4x4xi32>
  }
}
