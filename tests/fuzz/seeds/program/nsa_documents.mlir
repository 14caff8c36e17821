module {
  fresnel.program @nsa_documents(%q: tensor<1x4x100x32xbf16>, %k: tensor<1x2x100x32xbf16>, %v: tensor<1x2x100x32xbf16>, %gates: tensor<1x4x100x3xbf16>, %cu_seqlens: tensor<1x1x4xi32>) {
    %bounds, %blocks, %tokens, %from, %to = fresnel.align_documents %cu_seqlens {block = 64 : i64, seq_len = 100 : i64} : tensor<1x1x4xi32>
    %0 = fresnel.move %q from %from to %to : tensor<1x4x100x32xbf16>, tensor<1x1x384xi32>, tensor<1x1x100xi32>
    %1 = fresnel.move %k from %from to %to : tensor<1x2x100x32xbf16>, tensor<1x1x384xi32>, tensor<1x1x100xi32>
    %2 = fresnel.move %v from %from to %to : tensor<1x2x100x32xbf16>, tensor<1x1x384xi32>, tensor<1x1x100xi32>
    %3 = fresnel.move %gates from %from to %to : tensor<1x4x100x3xbf16>, tensor<1x1x384xi32>, tensor<1x1x100xi32>
    %4 = fresnel.pool  mean %1 {stride = 16 : i64, tail = #fresnel<tail drop>, window = 32 : i64} : tensor<1x2x384x32xbf16>
    %5 = fresnel.pool  mean %2 {stride = 16 : i64, tail = #fresnel<tail drop>, window = 32 : i64} : tensor<1x2x384x32xbf16>
    %out, %lse = fresnel.attend %0, %4, %5 documents(%bounds : tensor<1x2x384xi32>) {causal = true, key_stride = 16 : i64, key_window = 32 : i64} : tensor<1x4x384x32xbf16>, tensor<1x2x23x32xbf16>, tensor<1x2x23x32xbf16>
    %6 = fresnel.block_score %0, %4 documents(%bounds : tensor<1x2x384xi32>) {causal = true, group_sum = true, key_stride = 16 : i64, key_window = 32 : i64, normalize = #fresnel<normalize softmax>} : tensor<1x4x384x32xbf16>, tensor<1x2x23x32xbf16>
    %7 = fresnel.regroup %6 {block = 64 : i64, seq_len = 384 : i64, stride = 16 : i64, window = 32 : i64} : tensor<1x2x384x23xf32>
    %8 = fresnel.select_blocks %7 documents(%bounds : tensor<1x2x384xi32>) {causal = true, key_block = 64 : i64, local = 2 : i64, sinks = 1 : i64, topk = 3 : i64} : tensor<1x2x384x6xf32>
    %out_0, %lse_1 = fresnel.attend %0, %1, %2 blocks(%8 : tensor<1x2x384x3xi32>) documents(%bounds : tensor<1x2x384xi32>) {causal = true, key_block = 64 : i64} : tensor<1x4x384x32xbf16>, tensor<1x2x384x32xbf16>, tensor<1x2x384x32xbf16>
    %out_2, %lse_3 = fresnel.attend %0, %1, %2 documents(%bounds : tensor<1x2x384xi32>) {causal = true, window = 512 : i64} : tensor<1x4x384x32xbf16>, tensor<1x2x384x32xbf16>, tensor<1x2x384x32xbf16>
    %9 = fresnel.gate %out, %out_0, %out_2 by %3 {activation = #fresnel<activation sigmoid>} : tensor<1x4x384x32xbf16>, tensor<1x4x384x32xbf16>, tensor<1x4x384x32xbf16> by tensor<1x4x384x3xbf16>
    %10 = fresnel.move %9 from %to to %from : tensor<1x4x384x32xbf16>, tensor<1x1x100xi32>, tensor<1x1x384xi32>
    %11 = fresnel.move %8 from %to to %from : tensor<1x2x384x3xi32>, tensor<1x1x100xi32>, tensor<1x1x384xi32>
    fresnel.return %10, %11 {names = ["out", "selected"]} : tensor<1x4x100x32xbf16>, tensor<1x2x100x3xi32>
  }
}
