// Keys wider than values, as in multi-head latent attention: `fresnel run tests/gpu/mla.mlir --random 1 --check`.
fresnel.program @main(%q: tensor<2x4x1000x192xbf16>, %k: tensor<2x2x1000x192xbf16>, %v: tensor<2x2x1000x128xbf16>) {
  %o, %l = fresnel.attend %q, %k, %v {causal = true} : tensor<2x4x1000x192xbf16>, tensor<2x2x1000x192xbf16>, tensor<2x2x1000x128xbf16>
  fresnel.return %o, %l {names = ["out", "lse"]} : tensor<2x4x1000x128xbf16>, tensor<2x4x1000xf32>
}
