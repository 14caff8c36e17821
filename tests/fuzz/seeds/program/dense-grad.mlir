module {
  fresnel.program @dense(%q: tensor<1x8x256x32xbf16>, %k: tensor<1x8x256x32xbf16>, %v: tensor<1x8x256x32xbf16>, %dout: tensor<1x8x256x32xbf16>) attributes {fresnel.forward_inputs = 3 : i64, fresnel.forward_outputs = 2 : i64} {
    %out, %lse = fresnel.attend %q, %k, %v {causal = true, scale = 0.17677670000000001 : f64} : tensor<1x8x256x32xbf16>, tensor<1x8x256x32xbf16>, tensor<1x8x256x32xbf16>
    %0 = fresnel.attend_delta %out, %dout : tensor<1x8x256x32xbf16>
    %1 = fresnel.attend_grad_q %q, %k, %v lse %lse delta %0 dout %dout {causal = true, scale = 0.17677670000000001 : f64} : tensor<1x8x256x32xbf16>, tensor<1x8x256x32xbf16>, tensor<1x8x256x32xbf16>, tensor<1x8x256xf32>, tensor<1x8x256xf32>, tensor<1x8x256x32xbf16>
    %dk, %dv = fresnel.attend_grad_kv %q, %k, %v lse %lse delta %0 dout %dout {causal = true, scale = 0.17677670000000001 : f64} : tensor<1x8x256x32xbf16>, tensor<1x8x256x32xbf16>, tensor<1x8x256x32xbf16>, tensor<1x8x256xf32>, tensor<1x8x256xf32>, tensor<1x8x256x32xbf16>
    fresnel.return %out, %lse, %1, %dk, %dv {names = ["out", "lse", "dq", "dk", "dv"]} : tensor<1x8x256x32xbf16>, tensor<1x8x256xf32>, tensor<1x8x256x32xbf16>, tensor<1x8x256x32xbf16>, tensor<1x8x256x32xbf16>
  }
}
