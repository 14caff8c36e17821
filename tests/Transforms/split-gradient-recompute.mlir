// RUN: fresnel-opt %s --fresnel-differentiate "--fresnel-split-gradient=recompute=gather" | FileCheck %s

!x = tensor<1x2x10x32xbf16>
!i = tensor<1x2x5xi32>
!r = tensor<1x2x5x32xbf16>

// Repeated operations bring their operands along.
// CHECK-LABEL: fresnel.program @gathered(
// CHECK-SAME: [{name = "saved0_attend", offset = 0 : i64}, {name = "saved1_attend", offset = 768 : i64}]
// CHECK: fresnel.program @gathered_backward(%x: {{.*}}, %i: {{.*}}, %dout:
// CHECK: %[[AGAIN:.*]] = fresnel.gather %x, %i
// CHECK: fresnel.attend_grad_q %[[AGAIN]], %[[AGAIN]], %[[AGAIN]]
fresnel.program @gathered(%x: !x, %i: !i) {
  %rows = fresnel.gather %x, %i : !x, !i
  %part, %lse = fresnel.attend %rows, %rows, %rows {causal = true} : !r, !r, !r
  %out = fresnel.scatter %part, %i {seq_len = 10, levels = 1, factor = 2} : !r, !i
  fresnel.return %out {names = ["out"]} : !x
}
