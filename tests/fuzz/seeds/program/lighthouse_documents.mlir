module {
  fresnel.program @lighthouse_documents(%q: tensor<1x8x102x32xbf16>, %k: tensor<1x8x102x32xbf16>, %v: tensor<1x8x102x32xbf16>) {
    %0 = fresnel.norm %q : tensor<1x8x102x32xbf16>
    %1 = fresnel.norm %k : tensor<1x8x102x32xbf16>
    %2 = fresnel.pyramid  max %0 {documents = array<i64: 61, 0, 1, 40>, factor = 4 : i64, levels = 3 : i64} : tensor<1x8x102xf32>
    %3 = fresnel.pyramid  max %1 {documents = array<i64: 61, 0, 1, 40>, factor = 4 : i64, levels = 3 : i64} : tensor<1x8x102xf32>
    %result = fresnel.select_cascade %2, %3 {documents = array<i64: 61, 0, 1, 40>, factor = 4 : i64, levels = 3 : i64, seq_len = 102 : i64, topk = 4 : i64} : tensor<1x8x137xf32>, tensor<1x8x137xf32>
    %4 = fresnel.pyramid  mean %q {documents = array<i64: 61, 0, 1, 40>, factor = 4 : i64, levels = 3 : i64} : tensor<1x8x102x32xbf16>
    %5 = fresnel.pyramid  mean %k {documents = array<i64: 61, 0, 1, 40>, factor = 4 : i64, levels = 3 : i64} : tensor<1x8x102x32xbf16>
    %6 = fresnel.pyramid  mean %v {documents = array<i64: 61, 0, 1, 40>, factor = 4 : i64, levels = 3 : i64} : tensor<1x8x102x32xbf16>
    %7 = fresnel.gather %4, %result : tensor<1x8x137x32xbf16>, tensor<1x8x88xi32>
    %8 = fresnel.gather %5, %result : tensor<1x8x137x32xbf16>, tensor<1x8x88xi32>
    %9 = fresnel.gather %6, %result : tensor<1x8x137x32xbf16>, tensor<1x8x88xi32>
    %10 = fresnel.document_bounds {documents = array<i64: 36, 0, 21, 31>, seq_len = 88 : i64}
    %out, %lse = fresnel.attend %7, %8, %9 documents(%10 : tensor<1x2x88xi32>) {causal = true} : tensor<1x8x88x32xbf16>, tensor<1x8x88x32xbf16>, tensor<1x8x88x32xbf16>
    %11 = fresnel.scatter %out, %result {documents = array<i64: 61, 0, 1, 40>, factor = 4 : i64, levels = 3 : i64, seq_len = 102 : i64} : tensor<1x8x88x32xbf16>, tensor<1x8x88xi32>
    fresnel.return %11, %lse, %result {names = ["out", "lse", "selected"]} : tensor<1x8x102x32xbf16>, tensor<1x8x88xf32>, tensor<1x8x88xi32>
  }
}
