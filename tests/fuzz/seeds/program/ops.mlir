// Every operation of the fresnel dialect round-trips; these are the examples of its documentation.

fresnel.program @dense(%q: tensor<1x2x64x32xbf16>, %k: tensor<1x2x64x32xbf16>, %v: tensor<1x2x64x32xbf16>) {
  %out, %lse = fresnel.attend %q, %k, %v {causal = true}
      : tensor<1x2x64x32xbf16>, tensor<1x2x64x32xbf16>, tensor<1x2x64x32xbf16>
  fresnel.return %out, %lse {names = ["out", "lse"]} : tensor<1x2x64x32xbf16>, tensor<1x2x64xf32>
}

fresnel.program @pooling(%x: tensor<1x2x1000x32xbf16>) {
  %a = fresnel.pool mean %x {window = 64} : tensor<1x2x1000x32xbf16>
  %b = fresnel.pool max %x {window = 32, stride = 16, tail = #fresnel<tail drop>} : tensor<1x2x1000x32xbf16>
  %p = fresnel.pyramid mean %x {levels = 3, factor = 4} : tensor<1x2x1000x32xbf16>
  %s = fresnel.norm %x : tensor<1x2x1000x32xbf16>
  %ps = fresnel.pyramid max %s {levels = 3, factor = 4} : tensor<1x2x1000xf32>
  %u = fresnel.unpool %a {window = 64, seq_len = 1000} : tensor<1x2x16x32xbf16>
  fresnel.return %a, %b, %p, %s, %ps, %u {names = ["a", "b", "p", "s", "ps", "u"]}
    : tensor<1x2x16x32xbf16>, tensor<1x2x61x32xbf16>, tensor<1x2x1313x32xbf16>, tensor<1x2x1000xf32>, tensor<1x2x1313xf32>, tensor<1x2x1000x32xbf16>
}

fresnel.program @cascade(%x: tensor<1x2x1313x32xbf16>, %s: tensor<1x2x1313xf32>) {
  %i = fresnel.select_cascade %s, %s {seq_len = 1000, levels = 3, factor = 4, topk = 128}
      : tensor<1x2x1313xf32>, tensor<1x2x1313xf32>
  %g = fresnel.gather %x, %i : tensor<1x2x1313x32xbf16>, tensor<1x2x827xi32>
  %y = fresnel.scatter %g, %i {seq_len = 1000, levels = 3, factor = 4} : tensor<1x2x827x32xbf16>, tensor<1x2x827xi32>
  fresnel.return %y {names = ["y"]} : tensor<1x2x1000x32xbf16>
}

fresnel.program @blocks(%q: tensor<1x4x1000x32xbf16>, %k: tensor<1x2x1000x32xbf16>, %g: tensor<1x4x1000x2xbf16>) {
  %kb = fresnel.pool mean %k {window = 64} : tensor<1x2x1000x32xbf16>
  %s = fresnel.block_score %q, %kb {causal = true, key_window = 64, key_stride = 64}
      : tensor<1x4x1000x32xbf16>, tensor<1x2x16x32xbf16>
  %t = fresnel.block_score %q, %kb {normalize = #fresnel<normalize softmax>, group_sum = true}
      : tensor<1x4x1000x32xbf16>, tensor<1x2x16x32xbf16>
  %r = fresnel.regroup %t {window = 64, stride = 64, block = 128, seq_len = 1000} : tensor<1x2x1000x16xf32>
  %i = fresnel.select_blocks %s {topk = 4, local = 1, causal = true, key_block = 64} : tensor<1x4x1000x16xf32>
  %o, %l = fresnel.attend %q, %k, %k blocks(%i : tensor<1x4x1000x4xi32>) {causal = true, key_block = 64}
      : tensor<1x4x1000x32xbf16>, tensor<1x2x1000x32xbf16>, tensor<1x2x1000x32xbf16>
  %m, %ml = fresnel.merge %o, %o lse %l, %l
      : tensor<1x4x1000x32xbf16>, tensor<1x4x1000x32xbf16> lse tensor<1x4x1000xf32>, tensor<1x4x1000xf32>
  %y = fresnel.gate %o, %m by %g {activation = #fresnel<activation sigmoid>}
      : tensor<1x4x1000x32xbf16>, tensor<1x4x1000x32xbf16> by tensor<1x4x1000x2xbf16>
  fresnel.return %y, %r, %ml {names = ["y", "r", "l"]}
    : tensor<1x4x1000x32xbf16>, tensor<1x2x1000x8xf32>, tensor<1x4x1000xf32>
}

fresnel.program @dilation(%x: tensor<1x2x1001x32xbf16>) {
  %f = fresnel.fold %x {factor = 4} : tensor<1x2x1001x32xbf16>
  %n = fresnel.norm %f : tensor<1x8x251x32xbf16>
  %s = fresnel.unfold %n {factor = 4, seq_len = 1001} : tensor<1x8x251xf32>
  %y = fresnel.unfold %f {factor = 4, seq_len = 1001} : tensor<1x8x251x32xbf16>
  fresnel.return %s, %y {names = ["s", "y"]} : tensor<1x2x1001xf32>, tensor<1x2x1001x32xbf16>
}
