module {
  fresnel.program @documents(%q: tensor<1x8x64x32xbf16>, %k: tensor<1x8x64x32xbf16>, %v: tensor<1x8x64x32xbf16>, %cu_seqlens: tensor<1x1x4xi32>) {
    %0 = fresnel.document_bounds %cu_seqlens {seq_len = 64 : i64} : tensor<1x1x4xi32>
    %out, %lse = fresnel.attend %q, %k, %v documents(%0 : tensor<1x2x64xi32>) {causal = true, scale = 0.17677670000000001 : f64} : tensor<1x8x64x32xbf16>, tensor<1x8x64x32xbf16>, tensor<1x8x64x32xbf16>
    fresnel.return %out, %lse {names = ["out", "lse"]} : tensor<1x8x64x32xbf16>, tensor<1x8x64xf32>
  }
}
