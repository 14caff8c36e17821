module {
  fresnel.program @vsa_documents(%q: tensor<1x4x100x32xbf16>, %k: tensor<1x2x100x32xbf16>, %v: tensor<1x2x100x32xbf16>, %gates: tensor<1x4x100x2xbf16>, %cu_seqlens: tensor<1x1x4xi32>) {
    %bounds, %blocks, %tokens, %from, %to = fresnel.align_documents %cu_seqlens {block = 32 : i64, seq_len = 100 : i64} : tensor<1x1x4xi32>
    %0 = fresnel.move %q from %from to %to : tensor<1x4x100x32xbf16>, tensor<1x1x224xi32>, tensor<1x1x100xi32>
    %1 = fresnel.move %k from %from to %to : tensor<1x2x100x32xbf16>, tensor<1x1x224xi32>, tensor<1x1x100xi32>
    %2 = fresnel.move %v from %from to %to : tensor<1x2x100x32xbf16>, tensor<1x1x224xi32>, tensor<1x1x100xi32>
    %3 = fresnel.move %gates from %from to %to : tensor<1x4x100x2xbf16>, tensor<1x1x224xi32>, tensor<1x1x100xi32>
    %4 = fresnel.pool  mean %0 documents(%tokens : tensor<1x2x224xi32>) {window = 32 : i64} : tensor<1x4x224x32xbf16>
    %5 = fresnel.pool  mean %1 documents(%tokens : tensor<1x2x224xi32>) {window = 32 : i64} : tensor<1x2x224x32xbf16>
    %6 = fresnel.pool  mean %2 documents(%tokens : tensor<1x2x224xi32>) {window = 32 : i64} : tensor<1x2x224x32xbf16>
    %out, %lse = fresnel.attend %4, %5, %6 documents(%blocks : tensor<1x2x7xi32>) : tensor<1x4x7x32xbf16>, tensor<1x2x7x32xbf16>, tensor<1x2x7x32xbf16>
    %7 = fresnel.unpool %out {seq_len = 224 : i64, window = 32 : i64} : tensor<1x4x7x32xbf16>
    %8 = fresnel.block_score %4, %5  : tensor<1x4x7x32xbf16>, tensor<1x2x7x32xbf16>
    %9 = fresnel.select_blocks %8 documents(%tokens : tensor<1x2x224xi32>) {key_block = 32 : i64, query_block = 32 : i64, topk = 2 : i64} : tensor<1x4x7x7xf32>
    %out_0, %lse_1 = fresnel.attend %0, %1, %2 blocks(%9 : tensor<1x4x7x2xi32>) documents(%tokens : tensor<1x2x224xi32>) {key_block = 32 : i64, query_block = 32 : i64} : tensor<1x4x224x32xbf16>, tensor<1x2x224x32xbf16>, tensor<1x2x224x32xbf16>
    %10 = fresnel.gate %7, %out_0 by %3 : tensor<1x4x224x32xbf16>, tensor<1x4x224x32xbf16> by tensor<1x4x224x2xbf16>
    %11 = fresnel.move %10 from %to to %from : tensor<1x4x224x32xbf16>, tensor<1x1x100xi32>, tensor<1x1x224xi32>
    %12 = fresnel.move %lse_1 from %to to %from : tensor<1x4x224xf32>, tensor<1x1x100xi32>, tensor<1x1x224xi32>
    fresnel.return %11, %12, %9 {names = ["out", "lse", "selected"]} : tensor<1x4x100x32xbf16>, tensor<1x4x100xf32>, tensor<1x4x7x2xi32>
  }
}
