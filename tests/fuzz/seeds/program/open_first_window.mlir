module {
  fresnel.program @lighthouse(%q: tensor<1x2x300x64xbf16>, %k: tensor<1x1x300x64xbf16>, %v: tensor<1x1x300x64xbf16>) {
    %0 = fresnel.norm %q : tensor<1x2x300x64xbf16>
    %1 = fresnel.norm %k : tensor<1x1x300x64xbf16>
    %2 = fresnel.pyramid  max %0 {factor = 4 : i64, levels = 3 : i64} : tensor<1x2x300xf32>
    %3 = fresnel.pyramid  max %1 {factor = 4 : i64, levels = 3 : i64} : tensor<1x1x300xf32>
    %result = fresnel.select_cascade %2, %3 {factor = 4 : i64, levels = 3 : i64, open_first_window = true, seq_len = 300 : i64, topk = 64 : i64} : tensor<1x2x394xf32>, tensor<1x1x394xf32>
    %4 = fresnel.pyramid  mean %q {factor = 4 : i64, levels = 3 : i64} : tensor<1x2x300x64xbf16>
    %5 = fresnel.pyramid  mean %k {factor = 4 : i64, levels = 3 : i64} : tensor<1x1x300x64xbf16>
    %6 = fresnel.pyramid  mean %v {factor = 4 : i64, levels = 3 : i64} : tensor<1x1x300x64xbf16>
    %7 = fresnel.gather %4, %result : tensor<1x2x394x64xbf16>, tensor<1x2x351xi32>
    %8 = fresnel.gather %5, %result : tensor<1x1x394x64xbf16>, tensor<1x2x351xi32>
    %9 = fresnel.gather %6, %result : tensor<1x1x394x64xbf16>, tensor<1x2x351xi32>
    %out, %lse = fresnel.attend %7, %8, %9 {causal = true} : tensor<1x2x351x64xbf16>, tensor<1x2x351x64xbf16>, tensor<1x2x351x64xbf16>
    %10 = fresnel.scatter %out, %result {factor = 4 : i64, levels = 3 : i64, seq_len = 300 : i64} : tensor<1x2x351x64xbf16>, tensor<1x2x351xi32>
    fresnel.return %10, %lse, %result {names = ["out", "lse", "selected"]} : tensor<1x2x300x64xbf16>, tensor<1x2x351xf32>, tensor<1x2x351xi32>
  }
}
