// The tiles of dq as a result of the program.
!x = tensor<1x2x256x128xbf16>
!s = tensor<1x2x2x256xf32>
!t = tensor<1x2x4x8192xf32>
fresnel.program @tiles(%q: !x, %s: !s) {
  %t, %k, %v = fresnel.attend_grad %q, %q, %q stats %s dout %q {causal = true} : !x, !x, !x, !s, !x
  fresnel.return %t, %k, %v {names = ["tiles", "dk", "dv"]} : !t, !x, !x
}
