// RUN: fresnel-opt %s --fresnel-outline-kernels | FileCheck %s

// CHECK: fresnel.program @norm_0(%in0: tensor<1x2x64x32xbf16>) attributes {fresnel.kernel}
// CHECK-NEXT: fresnel.norm %in0
// CHECK-NEXT: fresnel.return %{{.*}} {names = ["out0"]}
// CHECK: fresnel.program @attend_1(%in0: tensor<1x2x64x32xbf16>, %in1: tensor<1x2x64x32xbf16>, %in2: tensor<1x2x64x32xbf16>)
// CHECK: fresnel.attend %in0, %in1, %in2 {causal = true}
// CHECK: fresnel.program @main
// CHECK-NEXT: %[[N:.*]] = fresnel.launch @norm_0(%q) : (tensor<1x2x64x32xbf16>) -> tensor<1x2x64xf32>
// CHECK-NEXT: %[[O:.*]]:2 = fresnel.launch @attend_1(%q, %k, %k)
// CHECK-NEXT: fresnel.return %[[O]]#0, %[[N]]
fresnel.program @main(%q: tensor<1x2x64x32xbf16>, %k: tensor<1x2x64x32xbf16>) {
  %n = fresnel.norm %q : tensor<1x2x64x32xbf16>
  %o, %l = fresnel.attend %q, %k, %k {causal = true} : tensor<1x2x64x32xbf16>, tensor<1x2x64x32xbf16>, tensor<1x2x64x32xbf16>
  fresnel.return %o, %n {names = ["out", "norms"]} : tensor<1x2x64x32xbf16>, tensor<1x2x64xf32>
}
