fresnel.program @max_pool(%x: tensor<1x2x64x32xbf16>) {
  %p = fresnel.pool max %x {window = 8} : tensor<1x2x64x32xbf16>
  fresnel.return %p {names = ["out"]} : tensor<1x2x8x32xbf16>
}
