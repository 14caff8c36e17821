fresnel.program @grouped(%list: tensor<1x2x1000x3xi32>, %x: tensor<1x4x1000x64xbf16>, %k: tensor<1x2x1000x64xbf16>, %l: tensor<1x4x1000xf32>, %d: tensor<1x2x1000xi32>) {
  %past, %own = fresnel.split_blocks %list {key_block = 64, keys = 1000} : tensor<1x2x1000x3xi32>
  %within, %same = fresnel.split_blocks %list documents(%d : tensor<1x2x1000xi32>) {key_block = 64, keys = 1000} : tensor<1x2x1000x3xi32>
  %cut, %starts = fresnel.block_bounds %d {key_block = 64} : tensor<1x2x1000xi32>
  %o, %ol = fresnel.attend %x, %k, %k blocks(%within : tensor<1x2x1000x3xi32>) starts(%starts : tensor<1x1x16x1xi32>) {key_block = 64}
      : tensor<1x4x1000x64xbf16>, tensor<1x2x1000x64xbf16>, tensor<1x2x1000x64xbf16>
  %bits = fresnel.transpose_blocks %past {blocks = 16} : tensor<1x2x1000x3xi32>
  %counts = fresnel.count_rows %bits : tensor<1x2x16x32xi32>
  %rows, %tiles, %slots = fresnel.group_rows %past, %bits, %counts {length = 5120}
      : tensor<1x2x1000x3xi32>, tensor<1x2x16x32xi32>, tensor<1x2x16xi32>
  %g = fresnel.gather %x, %rows : tensor<1x4x1000x64xbf16>, tensor<1x2x5120xi32>
  %s = fresnel.gather_scores %l, %rows : tensor<1x4x1000xf32>, tensor<1x2x5120xi32>
  %m, %n = fresnel.merge_rows %g, %s at %slots into %x, %l
      : tensor<1x4x5120x64xbf16>, tensor<1x4x5120xf32>, tensor<1x2x1000x3xi32>, tensor<1x4x1000x64xbf16>, tensor<1x4x1000xf32>
  %y = fresnel.sum_rows %g at %slots into %m : tensor<1x4x5120x64xbf16>, tensor<1x2x1000x3xi32>, tensor<1x4x1000x64xbf16>
  fresnel.return %y, %n, %own, %tiles {names = ["y", "n", "own", "tiles"]}
      : tensor<1x4x1000x64xbf16>, tensor<1x4x1000xf32>, tensor<1x2x1000x1xi32>, tensor<1x2x40x1xi32>
}
