// RUN: fresnel-opt %s --split-input-file --fresnel-outline-kernels --fresnel-assign-buffers | FileCheck %s

// The pyramid lives until the second pooling has read it; afterwards its place is free again.
// CHECK: fresnel.program @main{{.*}}fresnel.workspace_bytes = 12288
// CHECK: fresnel.launch @pool_0(%x) {offsets = array<i64: 0>}
// CHECK: fresnel.launch @pool_1({{.*}}) {offsets = array<i64: 8192>}
// CHECK: fresnel.launch @pool_2({{.*}}) {offsets = array<i64: 0>}
// CHECK: fresnel.launch @pool_3({{.*}}) {offsets = array<i64: -1>}
fresnel.program @main(%x: tensor<1x1x128x64xf32>) {
  %a = fresnel.pool mean %x {window = 4} : tensor<1x1x128x64xf32>
  %b = fresnel.pool mean %a {window = 2} : tensor<1x1x32x64xf32>
  %c = fresnel.pool mean %b {window = 2} : tensor<1x1x16x64xf32>
  %d = fresnel.pool mean %c {window = 2} : tensor<1x1x8x64xf32>
  fresnel.return %d {names = ["d"]} : tensor<1x1x4x64xf32>
}

// -----

// A result that must be zero when the plan starts is alive from the first launch on: nobody else may have its place before.
// CHECK: fresnel.launch @pool_0(%x) {offsets = array<i64: 0>}
// CHECK: fresnel.launch @pool_1({{.*}}) {offsets = array<i64: 4096>}
// CHECK: fresnel.launch @pool_2({{.*}}) {offsets = array<i64: 8192>}
// CHECK: fresnel.launch @pool_3({{.*}}) {offsets = array<i64: -1>}
fresnel.program @pool_0(%in0: tensor<1x1x32x64xf32>) attributes {fresnel.kernel} {
  %0 = fresnel.pool mean %in0 {window = 2} : tensor<1x1x32x64xf32>
  fresnel.return %0 {names = ["out0"]} : tensor<1x1x16x64xf32>
}
fresnel.program @pool_1(%in0: tensor<1x1x16x64xf32>) attributes {fresnel.kernel} {
  %0 = fresnel.pool mean %in0 {window = 1} : tensor<1x1x16x64xf32>
  fresnel.return %0 {names = ["out0"]} : tensor<1x1x16x64xf32>
}
fresnel.program @pool_2(%in0: tensor<1x1x16x64xf32>) attributes {fresnel.kernel, fresnel.zeroed = array<i64: 0>} {
  %0 = fresnel.pool mean %in0 {window = 1} : tensor<1x1x16x64xf32>
  fresnel.return %0 {names = ["out0"]} : tensor<1x1x16x64xf32>
}
fresnel.program @pool_3(%in0: tensor<1x1x16x64xf32>) attributes {fresnel.kernel} {
  %0 = fresnel.pool mean %in0 {window = 2} : tensor<1x1x16x64xf32>
  fresnel.return %0 {names = ["out0"]} : tensor<1x1x8x64xf32>
}
fresnel.program @main(%x: tensor<1x1x32x64xf32>) {
  %a = fresnel.launch @pool_0(%x) : (tensor<1x1x32x64xf32>) -> tensor<1x1x16x64xf32>
  %b = fresnel.launch @pool_1(%a) : (tensor<1x1x16x64xf32>) -> tensor<1x1x16x64xf32>
  %c = fresnel.launch @pool_2(%b) : (tensor<1x1x16x64xf32>) -> tensor<1x1x16x64xf32>
  %d = fresnel.launch @pool_3(%c) : (tensor<1x1x16x64xf32>) -> tensor<1x1x8x64xf32>
  fresnel.return %d {names = ["d"]} : tensor<1x1x8x64xf32>
}
