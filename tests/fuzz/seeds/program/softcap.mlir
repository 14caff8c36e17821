module {
  fresnel.program @window(%q: tensor<1x4x200x32xf16>, %k: tensor<1x2x200x32xf16>, %v: tensor<1x2x200x32xf16>) {
    %out, %lse = fresnel.attend %q, %k, %v {causal = true, sinks = 4 : i64, softcap = 2.000000e+01 : f64, window = 64 : i64} : tensor<1x4x200x32xf16>, tensor<1x2x200x32xf16>, tensor<1x2x200x32xf16>
    fresnel.return %out, %lse {names = ["out", "lse"]} : tensor<1x4x200x32xf16>, tensor<1x4x200xf32>
  }
}
