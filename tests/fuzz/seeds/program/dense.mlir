module {
  fresnel.program @dense(%q: tensor<1x8x256x32xbf16>, %k: tensor<1x8x256x32xbf16>, %v: tensor<1x8x256x32xbf16>) {
    %out, %lse = fresnel.attend %q, %k, %v {causal = true, scale = 0.17677670000000001 : f64} : tensor<1x8x256x32xbf16>, tensor<1x8x256x32xbf16>, tensor<1x8x256x32xbf16>
    fresnel.return %out, %lse {names = ["out", "lse"]} : tensor<1x8x256x32xbf16>, tensor<1x8x256xf32>
  }
}
