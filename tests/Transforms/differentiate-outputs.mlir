// RUN: fresnel-opt %s --fresnel-differentiate=outputs=out,lse | FileCheck %s

!x = tensor<1x2x64x32xbf16>

// CHECK: %dout: tensor<1x2x64x32xbf16>, %dlse: tensor<1x2x64xf32>
// CHECK: fresnel.attend_delta %{{.*}}, %dout lse(%dlse : tensor<1x2x64xf32>)
fresnel.program @dense(%q: !x, %k: !x, %v: !x) {
  %out, %lse = fresnel.attend %q, %k, %v {causal = true} : !x, !x, !x
  fresnel.return %out, %lse {names = ["out", "lse"]} : !x, tensor<1x2x64xf32>
}
