fresnel.program @norms(%q: tensor<1x2x100x64xbf16>) {
  %n = fresnel.norm %q : tensor<1x2x100x64xbf16>
  %p = fresnel.pyramid max %n {levels = 2, factor = 4} : tensor<1x2x100xf32>
  fresnel.return %p {names = ["scores"]} : tensor<1x2x125xf32>
}
