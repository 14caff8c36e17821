module {
  fresnel.program @window(%q: tensor<1x8x256x32xbf16>, %k: tensor<1x8x256x32xbf16>, %v: tensor<1x8x256x32xbf16>) {
    %out, %lse = fresnel.attend %q, %k, %v {causal = true, window = 4096 : i64} : tensor<1x8x256x32xbf16>, tensor<1x8x256x32xbf16>, tensor<1x8x256x32xbf16>
    fresnel.return %out, %lse {names = ["out", "lse"]} : tensor<1x8x256x32xbf16>, tensor<1x8x256xf32>
  }
}
