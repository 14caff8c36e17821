module {
  fresnel.program @block_mask(%q: tensor<1x4x64x32xbf16>, %k: tensor<1x2x64x32xbf16>, %v: tensor<1x2x64x32xbf16>, %mask: tensor<1x2x2x4xi8>) {
    %0 = fresnel.blocks_from_mask %mask : tensor<1x2x2x4xi8>
    %out, %lse = fresnel.attend %q, %k, %v blocks(%0 : tensor<1x2x2x4xi32>) {causal = true, key_block = 16 : i64, query_block = 32 : i64} : tensor<1x4x64x32xbf16>, tensor<1x2x64x32xbf16>, tensor<1x2x64x32xbf16>
    fresnel.return %out, %lse {names = ["out", "lse"]} : tensor<1x4x64x32xbf16>, tensor<1x4x64xf32>
  }
}
