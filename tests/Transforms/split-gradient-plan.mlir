// RUN: fresnel-opt %s --fresnel-split-gradient | FileCheck %s --check-prefix=PLAIN
// RUN: fresnel-opt %s --fresnel-differentiate --fresnel-lower-to-scheduled | FileCheck %s

!q = tensor<1x4x64x32xbf16>

// A program that is not differentiated is left alone.
// PLAIN: fresnel.program @dense(
// PLAIN-NOT: fresnel.saved
// PLAIN-NOT: fresnel.program

// Each half becomes a plan with a workspace of its own; the kernels are numbered through.
// CHECK: fresnel.program @dense({{.*}}fresnel.workspace_bytes = 0 : i64
// CHECK: fresnel.launch @attend_0
// CHECK: fresnel.program @dense_backward({{.*}}fresnel.workspace_bytes = 1024 : i64
// CHECK: fresnel.launch @attend_delta_1({{.*}}) {offsets = array<i64: 0>}
// CHECK: fresnel.launch @attend_grad_q_2({{.*}}) {offsets = array<i64: -1>}
// CHECK: fresnel.launch @attend_grad_kv_3({{.*}}) {offsets = array<i64: -1, -1>}
fresnel.program @dense(%q: !q, %k: !q, %v: !q) {
  %out, %lse = fresnel.attend %q, %k, %v {causal = true} : !q, !q, !q
  fresnel.return %out, %lse {names = ["out", "lse"]} : !q, tensor<1x4x64xf32>
}
