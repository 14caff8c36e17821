// Attention over lists that are an input: 100 keys are seven blocks of 16.
!q = tensor<1x4x100x32xbf16>
!k = tensor<1x2x100x32xbf16>
!l = tensor<1x2x100x3xi32>
fresnel.program @lists(%q: !q, %k: !k, %v: !k, %list: !l) {
  %out, %lse = fresnel.attend %q, %k, %v blocks(%list : !l) {causal = true, key_block = 16} : !q, !k, !k
  fresnel.return %out {names = ["out"]} : !q
}
