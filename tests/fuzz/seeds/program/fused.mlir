
!x = tensor<1x4x100x32xbf16>
!k = tensor<1x2x100x32xbf16>
!s = tensor<1x4x132xf32>
!t = tensor<1x2x132xf32>

fresnel.program @syntax(%x: !x, %k: !k, %s: !s, %t: !t) {
  %r, %n = fresnel.pool_levels %x {levels = 3, factor = 4, norms = true} : !x
  %p = fresnel.pool_levels %k {levels = 3, factor = 4} : !k
  %i, %slots = fresnel.select_cascade %n, %t {seq_len = 100, levels = 3, factor = 4, topk = 4, with_slots = true} : !s, !t
  %a, %b = fresnel.gather_levels %x, %k tails %r, %p at %i
      : !x, !k tails tensor<1x4x32x32xbf16>, tensor<1x2x32x32xbf16> at tensor<1x4x39xi32>
  %y = fresnel.scatter_by_slots %a, %slots {seq_len = 100, levels = 3, factor = 4} : tensor<1x4x39x32xbf16>, tensor<1x4x132xi32>
  %d = fresnel.gather_grad_by_slots %b, %slots {heads = 2, seq_len = 100, levels = 3, factor = 4} : tensor<1x4x39x32xbf16>, tensor<1x4x132xi32>
  fresnel.return %y, %d {names = ["y", "d"]} : !x, !k
}
