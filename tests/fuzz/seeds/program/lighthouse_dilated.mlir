module {
  fresnel.program @lighthouse_dilated(%q: tensor<1x8x257x32xbf16>, %k: tensor<1x8x257x32xbf16>, %v: tensor<1x8x257x32xbf16>) {
    %0 = fresnel.fold %q {factor = 4 : i64} : tensor<1x8x257x32xbf16>
    %1 = fresnel.fold %k {factor = 4 : i64} : tensor<1x8x257x32xbf16>
    %2 = fresnel.fold %v {factor = 4 : i64} : tensor<1x8x257x32xbf16>
    %out, %lse = fresnel.attend %0, %1, %2 {causal = true} : tensor<1x32x65x32xbf16>, tensor<1x32x65x32xbf16>, tensor<1x32x65x32xbf16>
    %out_0, %lse_1 = fresnel.attend %1, %0, %2 {causal = true} : tensor<1x32x65x32xbf16>, tensor<1x32x65x32xbf16>, tensor<1x32x65x32xbf16>
    %3 = fresnel.norm %out : tensor<1x32x65x32xbf16>
    %4 = fresnel.norm %out_0 : tensor<1x32x65x32xbf16>
    %5 = fresnel.unfold %3 {factor = 4 : i64, seq_len = 257 : i64} : tensor<1x32x65xf32>
    %6 = fresnel.unfold %4 {factor = 4 : i64, seq_len = 257 : i64} : tensor<1x32x65xf32>
    %7 = fresnel.pyramid  max %5 {factor = 4 : i64, levels = 3 : i64} : tensor<1x8x257xf32>
    %8 = fresnel.pyramid  max %6 {factor = 4 : i64, levels = 3 : i64} : tensor<1x8x257xf32>
    %result = fresnel.select_cascade %7, %8 {factor = 4 : i64, levels = 3 : i64, seq_len = 257 : i64, topk = 64 : i64} : tensor<1x8x339xf32>, tensor<1x8x339xf32>
    %9 = fresnel.pyramid  mean %q {factor = 4 : i64, levels = 3 : i64} : tensor<1x8x257x32xbf16>
    %10 = fresnel.pyramid  mean %k {factor = 4 : i64, levels = 3 : i64} : tensor<1x8x257x32xbf16>
    %11 = fresnel.pyramid  mean %v {factor = 4 : i64, levels = 3 : i64} : tensor<1x8x257x32xbf16>
    %12 = fresnel.gather %9, %result : tensor<1x8x339x32xbf16>, tensor<1x8x341xi32>
    %13 = fresnel.gather %10, %result : tensor<1x8x339x32xbf16>, tensor<1x8x341xi32>
    %14 = fresnel.gather %11, %result : tensor<1x8x339x32xbf16>, tensor<1x8x341xi32>
    %out_2, %lse_3 = fresnel.attend %12, %13, %14 {causal = true} : tensor<1x8x341x32xbf16>, tensor<1x8x341x32xbf16>, tensor<1x8x341x32xbf16>
    %15 = fresnel.scatter %out_2, %result {factor = 4 : i64, levels = 3 : i64, seq_len = 257 : i64} : tensor<1x8x341x32xbf16>, tensor<1x8x341xi32>
    fresnel.return %15, %lse_3, %result {names = ["out", "lse", "selected"]} : tensor<1x8x257x32xbf16>, tensor<1x8x341xf32>, tensor<1x8x341xi32>
  }
}
