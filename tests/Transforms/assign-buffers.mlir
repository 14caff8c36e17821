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

// -----

// In this order %c would lie in the first half of what %a leaves, and %d behind all: the largest are placed first.
// CHECK-LABEL: fresnel.program @largest{{.*}}fresnel.workspace_bytes = 8192
// CHECK: fresnel.launch @pool_0(%x) {offsets = array<i64: 0>}
// CHECK: fresnel.launch @pool_1({{.*}}) {offsets = array<i64: 4096>}
// CHECK: fresnel.launch @add_2({{.*}}) {offsets = array<i64: 6144>}
// CHECK: fresnel.launch @unpool_3({{.*}}) {offsets = array<i64: 0>}
fresnel.program @largest(%x: tensor<1x1x32x64xf32>) {
  %a = fresnel.pool mean %x {window = 2} : tensor<1x1x32x64xf32>
  %b = fresnel.pool mean %a {window = 2} : tensor<1x1x16x64xf32>
  %c = fresnel.add %b, %b : tensor<1x1x8x64xf32>, tensor<1x1x8x64xf32>
  %d = fresnel.unpool %c {window = 2, seq_len = 16} : tensor<1x1x8x64xf32>
  %e = fresnel.add %b, %c : tensor<1x1x8x64xf32>, tensor<1x1x8x64xf32>
  %f = fresnel.pool mean %d {window = 2} : tensor<1x1x16x64xf32>
  fresnel.return %e, %f {names = ["e", "f"]} : tensor<1x1x8x64xf32>, tensor<1x1x8x64xf32>
}

// -----

// Beside the other launches @pool_2 could not write over what @pool_1 reads: 256 MiB more. So it waits; @pool_3, whose result
// is small, does not.
// CHECK: fresnel.program @pool_2
// CHECK-SAME: attributes {fresnel.kernel}
// CHECK: fresnel.program @pool_3
// CHECK-SAME: attributes {fresnel.kernel, fresnel.wait = "end"}
// CHECK: fresnel.program @beside{{.*}}fresnel.workspace_bytes = 268435968
// CHECK: fresnel.launch @pool_0(%x) {offsets = array<i64: 0>}
// CHECK: fresnel.launch @pool_1({{.*}}) {offsets = array<i64: -1>}
// CHECK: fresnel.launch @pool_2(%x) {offsets = array<i64: 0>}
// CHECK: fresnel.launch @pool_3(%y) {offsets = array<i64: 268435456>}
!x = tensor<1x1x2097152x64xf32>
!y = tensor<1x1x1048576x64xf32>
!z = tensor<1x1x1x64xf32>
fresnel.program @pool_0(%in0: !x) attributes {fresnel.kernel} {
  %0 = fresnel.pool mean %in0 {window = 2} : !x
  fresnel.return %0 {names = ["out0"]} : !y
}
fresnel.program @pool_1(%in0: !y) attributes {fresnel.kernel} {
  %0 = fresnel.pool max %in0 {window = 1048576} : !y
  fresnel.return %0 {names = ["out0"]} : !z
}
fresnel.program @pool_2(%in0: !x) attributes {fresnel.kernel, fresnel.wait = "end"} {
  %0 = fresnel.pool max %in0 {window = 2} : !x
  fresnel.return %0 {names = ["out0"]} : !y
}
fresnel.program @pool_3(%in0: !z) attributes {fresnel.kernel, fresnel.wait = "end"} {
  %0 = fresnel.pool max %in0 {window = 1} : !z
  fresnel.return %0 {names = ["out0"]} : !z
}
fresnel.program @pool_4(%in0: !y) attributes {fresnel.kernel} {
  %0 = fresnel.pool max %in0 {window = 1048576} : !y
  fresnel.return %0 {names = ["out0"]} : !z
}
fresnel.program @add_5(%in0: !z, %in1: !z) attributes {fresnel.kernel} {
  %0 = fresnel.add %in0, %in1 : !z, !z
  fresnel.return %0 {names = ["out0"]} : !z
}
fresnel.program @beside(%x: !x, %y: !z) {
  %a = fresnel.launch @pool_0(%x) : (!x) -> !y
  %b = fresnel.launch @pool_1(%a) : (!y) -> !z
  %c = fresnel.launch @pool_2(%x) : (!x) -> !y
  %d = fresnel.launch @pool_3(%y) : (!z) -> !z
  %e = fresnel.launch @pool_4(%c) : (!y) -> !z
  %f = fresnel.launch @add_5(%e, %d) : (!z, !z) -> !z
  fresnel.return %b, %f {names = ["b", "f"]} : !z, !z
}

// -----

// A sum lies in the place of its addend, unless something else reads that, too, or it is an input.
// CHECK: fresnel.program @round_tiles_3({{.*}}fresnel.in_place
// CHECK: fresnel.program @round_tiles_4({{.*}}attributes {fresnel.kernel} {
// CHECK: fresnel.program @round_tiles_5({{.*}}attributes {fresnel.kernel} {
// CHECK: fresnel.launch @pool_0(%x) {offsets = array<i64: 0>}
// CHECK: fresnel.launch @pool_1(%x) {offsets = array<i64: 32768>}
// CHECK: fresnel.launch @pool_2(%x) {offsets = array<i64: 65536>}
// CHECK: fresnel.launch @round_tiles_3(%t, %{{.*}}) {offsets = array<i64: 32768>}
// CHECK: fresnel.launch @round_tiles_4(%t, %{{.*}}) {offsets = array<i64: 98304>}
// CHECK: fresnel.launch @round_tiles_5(%t, %y) {offsets = array<i64: 131072>}
// CHECK: fresnel.launch @add_6({{.*}}) {offsets = array<i64: -1>}
!r = tensor<1x1x128x64xf32>
fresnel.program @main(%x: tensor<1x1x256x64xf32>, %y: !r, %t: tensor<1x1x2x4096xf32>) {
  %a = fresnel.pool mean %x {window = 2} : tensor<1x1x256x64xf32>
  %b = fresnel.pool mean %x {window = 2} : tensor<1x1x256x64xf32>
  %c = fresnel.pool mean %x {window = 2} : tensor<1x1x256x64xf32>
  %d = fresnel.round_tiles %t more(%b : !r) {seq_len = 128, head_dim = 64, scale = 0.25, element = f32} : tensor<1x1x2x4096xf32>
  %e = fresnel.round_tiles %t more(%c : !r) {seq_len = 128, head_dim = 64, scale = 0.25, element = f32} : tensor<1x1x2x4096xf32>
  %f = fresnel.round_tiles %t more(%y : !r) {seq_len = 128, head_dim = 64, scale = 0.25, element = f32} : tensor<1x1x2x4096xf32>
  %s = fresnel.add %a, %c, %d, %e, %f : !r, !r, !r, !r, !r
  fresnel.return %s {names = ["s"]} : !r
}
