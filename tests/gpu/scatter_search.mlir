// Lighthouse over packed documents whose scatter names them otherwise than the selection does, without the empty one: so the
// compiler does not invert the selection for it, and the kernels of plain `scatter` and `scatter_grad` search in it.
// Usage: fresnel run tests/gpu/scatter_search.mlir --random 1 --device cuda --check --grad
!x = tensor<1x2x617x64xbf16>
!p = tensor<1x2x813x64xbf16>
!s = tensor<1x2x813xf32>
!i = tensor<1x2x196xi32>
!r = tensor<1x2x196x64xbf16>
fresnel.program @scatter_search(%q: !x, %k: !x, %v: !x) {
  %qn = fresnel.norm %q : !x
  %kn = fresnel.norm %k : !x
  %qs = fresnel.pyramid max %qn {levels = 3, factor = 4, documents = array<i64: 61, 0, 1, 300, 255>} : tensor<1x2x617xf32>
  %ks = fresnel.pyramid max %kn {levels = 3, factor = 4, documents = array<i64: 61, 0, 1, 300, 255>} : tensor<1x2x617xf32>
  %i = fresnel.select_cascade %qs, %ks {seq_len = 617, levels = 3, factor = 4, topk = 6, documents = array<i64: 61, 0, 1, 300, 255>} : !s, !s
  %qp = fresnel.pyramid mean %q {levels = 3, factor = 4, documents = array<i64: 61, 1, 300, 255>} : !x
  %kp = fresnel.pyramid mean %k {levels = 3, factor = 4, documents = array<i64: 61, 1, 300, 255>} : !x
  %vp = fresnel.pyramid mean %v {levels = 3, factor = 4, documents = array<i64: 61, 1, 300, 255>} : !x
  %qg = fresnel.gather %qp, %i : !p, !i
  %kg = fresnel.gather %kp, %i : !p, !i
  %vg = fresnel.gather %vp, %i : !p, !i
  %b = fresnel.document_bounds {seq_len = 196, documents = array<i64: 44, 0, 21, 67, 64>}
  %y, %l = fresnel.attend %qg, %kg, %vg documents(%b : tensor<1x2x196xi32>) {causal = true} : !r, !r, !r
  %out = fresnel.scatter %y, %i {seq_len = 617, levels = 3, factor = 4, documents = array<i64: 61, 1, 300, 255>} : !r, !i
  fresnel.return %out, %l, %i {names = ["out", "lse", "selected"]} : !x, tensor<1x2x196xf32>, !i
}
