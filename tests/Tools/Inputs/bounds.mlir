!x = tensor<1x2x50x32xf32>
fresnel.program @bounds(%q: !x, %k: !x, %v: !x, %bounds: tensor<1x2x50xi32>) {
  %out, %lse = fresnel.attend %q, %k, %v documents(%bounds : tensor<1x2x50xi32>) : !x, !x, !x
  fresnel.return %out, %lse {names = ["out", "lse"]} : !x, tensor<1x2x50xf32>
}
