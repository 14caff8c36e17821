module {
  fresnel.program @nsa(%q: tensor<1x64x256x32xbf16>, %k: tensor<1x4x256x32xbf16>, %v: tensor<1x4x256x32xbf16>, %gates: tensor<1x64x256x3xbf16>) {
    %0 = fresnel.pool  mean %k {stride = 16 : i64, tail = #fresnel<tail drop>, window = 32 : i64} : tensor<1x4x256x32xbf16>
    %1 = fresnel.pool  mean %v {stride = 16 : i64, tail = #fresnel<tail drop>, window = 32 : i64} : tensor<1x4x256x32xbf16>
    %out, %lse = fresnel.attend %q, %0, %1 {causal = true, key_stride = 16 : i64, key_window = 32 : i64} : tensor<1x64x256x32xbf16>, tensor<1x4x15x32xbf16>, tensor<1x4x15x32xbf16>
    %2 = fresnel.block_score %q, %0 {causal = true, group_sum = true, key_stride = 16 : i64, key_window = 32 : i64, normalize = #fresnel<normalize softmax>} : tensor<1x64x256x32xbf16>, tensor<1x4x15x32xbf16>
    %3 = fresnel.regroup %2 {block = 64 : i64, seq_len = 256 : i64, stride = 16 : i64, window = 32 : i64} : tensor<1x4x256x15xf32>
    %4 = fresnel.select_blocks %3 {causal = true, key_block = 64 : i64, local = 2 : i64, sinks = 1 : i64, topk = 16 : i64} : tensor<1x4x256x4xf32>
    %out_0, %lse_1 = fresnel.attend %q, %k, %v blocks(%4 : tensor<1x4x256x4xi32>) {causal = true, key_block = 64 : i64} : tensor<1x64x256x32xbf16>, tensor<1x4x256x32xbf16>, tensor<1x4x256x32xbf16>
    %out_2, %lse_3 = fresnel.attend %q, %k, %v {causal = true, window = 512 : i64} : tensor<1x64x256x32xbf16>, tensor<1x4x256x32xbf16>, tensor<1x4x256x32xbf16>
    %5 = fresnel.gate %out, %out_0, %out_2 by %gates {activation = #fresnel<activation sigmoid>} : tensor<1x64x256x32xbf16>, tensor<1x64x256x32xbf16>, tensor<1x64x256x32xbf16> by tensor<1x64x256x3xbf16>
    fresnel.return %5, %4 {names = ["out", "selected"]} : tensor<1x64x256x32xbf16>, tensor<1x4x256x4xi32>
  }
}
