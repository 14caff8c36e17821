
!x = tensor<1x2x64x32xbf16>
!l = tensor<1x2x64xf32>

fresnel.program @syntax(%x: !x, %l: !l, %i: tensor<1x2x64xi32>, %g: tensor<1x2x64x2xbf16>) {
  %a = fresnel.add %x, %x : !x, !x
  %d = fresnel.attend_delta %x, %x lse(%l : !l) : !x
  %dq = fresnel.attend_grad_q %x, %x, %x lse %l delta %d dout %x : !x, !x, !x, !l, !l, !x
  %dk, %dv = fresnel.attend_grad_kv %x, %x, %x lse %l delta %d dout %x : !x, !x, !x, !l, !l, !x
  %p = fresnel.pool_grad mean %x {window = 4, seq_len = 253} : !x
  %y = fresnel.pyramid_grad mean %x {levels = 2, factor = 7, seq_len = 56} : !x
  %u = fresnel.unpool_grad %x {window = 4} : !x
  %w = fresnel.gather_grad %x, %i {heads = 1, rows = 9} : !x, tensor<1x2x64xi32>
  %s = fresnel.scatter_grad %x, %i {levels = 2, factor = 4} : !x, tensor<1x2x64xi32>
  %b0, %b1, %dg = fresnel.gate_grad %x, %x by %g dout %x : !x, !x by tensor<1x2x64x2xbf16>, !x
  %dw, %g0, %g1, %g2 = fresnel.gate_delta %g dout %x of %x, %x, %l, %l {activation = #fresnel<activation sigmoid>,
      deltas = array<i64: 1>, stats = array<i64: 0>} : tensor<1x2x64x2xbf16>, !x of !x, !x, !l, !l
  %m, %ml = fresnel.merge_grad %x, %l merged %x, %l dout %x : !x, !l
  fresnel.return %a, %dq, %dk, %dv, %p, %y, %u, %w, %s, %b0, %b1, %dg, %m, %ml
      {names = ["a", "b", "c", "d", "e", "f", "g", "h", "i", "j", "k", "l", "m", "n"]}
      : !x, !x, !x, !x, tensor<1x2x253x32xbf16>, tensor<1x2x56x32xbf16>, tensor<1x2x16x32xbf16>,
        tensor<1x1x9x32xbf16>, !x, !x, !x, tensor<1x2x64x2xbf16>, !x, !l
}
