// RUN: fresnel-opt %s --split-input-file --fresnel-differentiate --fresnel-split-gradient | FileCheck %s

!q = tensor<1x4x64x32xbf16>

// The backward half of attention reads inputs and outputs: nothing is saved.
// CHECK-LABEL: fresnel.program @dense(
// CHECK-SAME: %q: tensor<1x4x64x32xbf16>, %k: tensor<1x4x64x32xbf16>, %v: tensor<1x4x64x32xbf16>)
// CHECK-SAME: attributes {fresnel.saved = [], fresnel.saved_bytes = 0 : i64}
// CHECK-NEXT: %[[OUT:.*]], %[[LSE:.*]] = fresnel.attend %q, %k, %v
// CHECK-NEXT: fresnel.return %[[OUT]], %[[LSE]] {names = ["out", "lse"]}
// CHECK: fresnel.program @dense_backward(%q: {{.*}}, %k: {{.*}}, %v: {{.*}}, %out: {{.*}}, %lse: {{.*}}, %dout: {{.*}})
// CHECK-SAME: attributes {fresnel.backward, fresnel.saved = []}
// CHECK: fresnel.attend_delta %out, %dout
// CHECK: fresnel.attend_grad_q %q, %k, %v lse %lse
// CHECK: fresnel.return {{.*}} {names = ["dq", "dk", "dv"]}
fresnel.program @dense(%q: !q, %k: !q, %v: !q) {
  %out, %lse = fresnel.attend %q, %k, %v {causal = true} : !q, !q, !q
  fresnel.return %out, %lse {names = ["out", "lse"]} : !q, tensor<1x4x64xf32>
}

// -----

!x = tensor<1x2x10x32xbf16>
!i = tensor<1x2x5xi32>
!r = tensor<1x2x5x32xbf16>

// What lies between is saved, in the order of the program, at multiples of 256 bytes; an input is not.
// CHECK-LABEL: fresnel.program @gathered(
// CHECK-SAME: fresnel.saved = [{name = "saved0_gather", offset = 0 : i64}, {name = "saved1_attend", offset = 768 : i64},
// CHECK-SAME: {name = "saved2_attend", offset = 1536 : i64}], fresnel.saved_bytes = 1792 : i64
// CHECK: %[[ROWS:.*]] = fresnel.gather %x, %i
// CHECK: %[[OUT:.*]], %[[LSE:.*]] = fresnel.attend %[[ROWS]], %[[ROWS]], %[[ROWS]]
// CHECK: %[[SUM:.*]] = fresnel.scatter
// CHECK: fresnel.return %[[SUM]], %[[ROWS]], %[[OUT]], %[[LSE]]
// CHECK-SAME: {names = ["out", "saved0_gather", "saved1_attend", "saved2_attend"]}
// CHECK: fresnel.program @gathered_backward(%i: {{.*}}, %dout: {{.*}}, %saved0_gather: {{.*}}, %saved1_attend: {{.*}}, %saved2_attend:
// CHECK-NOT: fresnel.gather %
// CHECK: fresnel.return {{.*}} {names = ["dx"]}
fresnel.program @gathered(%x: !x, %i: !i) {
  %rows = fresnel.gather %x, %i : !x, !i
  %part, %lse = fresnel.attend %rows, %rows, %rows {causal = true} : !r, !r, !r
  %out = fresnel.scatter %part, %i {seq_len = 10, levels = 1, factor = 2} : !r, !i
  fresnel.return %out {names = ["out"]} : !x
}
