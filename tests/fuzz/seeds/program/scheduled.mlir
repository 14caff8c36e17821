module {
  fresnel.program @attend_0(%in0: tensor<1x4x100x64xbf16>, %in1: tensor<1x2x171x64xbf16>, %in2: tensor<1x2x171x64xbf16>) attributes {fresnel.dependent_launch, fresnel.kernel, fresnel.schedule = #fresnel.schedule<family = hopper, tile_m = 192, persistent = true>} {
    %out, %lse = fresnel.attend %in0, %in1, %in2 {causal = true, scale = 1.250000e-01 : f64} : tensor<1x4x100x64xbf16>, tensor<1x2x171x64xbf16>, tensor<1x2x171x64xbf16>
    fresnel.return %out, %lse {names = ["out0", "out1"]} : tensor<1x4x100x64xbf16>, tensor<1x4x100xf32>
  }
  fresnel.program @dense(%q: tensor<1x4x100x64xbf16>, %k: tensor<1x2x171x64xbf16>, %v: tensor<1x2x171x64xbf16>) attributes {fresnel.workspace_bytes = 0 : i64} {
    %0:2 = fresnel.launch @attend_0(%q, %k, %v) {offsets = array<i64: -1, -1>} : (tensor<1x4x100x64xbf16>, tensor<1x2x171x64xbf16>, tensor<1x2x171x64xbf16>) -> (tensor<1x4x100x64xbf16>, tensor<1x4x100xf32>)
    fresnel.return %0#0, %0#1 {names = ["out", "lse"]} : tensor<1x4x100x64xbf16>, tensor<1x4x100xf32>
  }
}
