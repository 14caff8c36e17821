// RUN: fresnel-opt %s --split-input-file --fresnel-fuse-attend-grad --fresnel-fuse-gate-gradients | FileCheck %s
// RUN: fresnel-opt %s --split-input-file --fresnel-fuse-attend-grad=target=sm_80 --fresnel-fuse-gate-gradients | FileCheck %s --check-prefix=APART

!q = tensor<1x4x300x128xbf16>
!k = tensor<1x2x300x128xbf16>
!l = tensor<1x4x300xf32>
!g = tensor<1x4x300x2xbf16>
!list = tensor<1x2x300x3xi32>
// One branch has separate gradients, the other all in one pass: all read what the gate's gradient read.
// CHECK-LABEL: fresnel.program @both
// CHECK-NEXT: %[[DG:.*]], %[[ROWS:.*]]:3 = fresnel.gate_delta %g dout %dy of %a, %b, %la, %lb
// CHECK-SAME: {activation = #fresnel<activation sigmoid>, deltas = array<i64: 0>, stats = array<i64: 1>}
// CHECK-NEXT: %[[DQ:.*]] = fresnel.attend_grad_q %q, %k, %k lse %[[ROWS]]#0 delta %[[ROWS]]#1 dout %dy blocks(%list
// CHECK-NEXT: %[[DK:.*]], %[[DV:.*]] = fresnel.attend_grad_kv %q, %k, %k lse %[[ROWS]]#0 delta %[[ROWS]]#1 dout %dy blocks(%list
// CHECK-NEXT: %[[TILES:.*]], %[[DK2:.*]], %[[DV2:.*]] = fresnel.attend_grad %q, %k, %k stats %[[ROWS]]#2 dout %dy
// CHECK-NEXT: %[[DQ2:.*]] = fresnel.round_tiles %[[TILES]]
// CHECK-NEXT: fresnel.return %[[DG]], %[[DQ]], %[[DK]], %[[DV]], %[[DQ2]], %[[DK2]], %[[DV2]]
// APART-LABEL: fresnel.program @both
// APART-NEXT: fresnel.gate_delta {{.*}} deltas = array<i64: 0, 1>
// APART-NOT: fresnel.attend_delta
// APART: fresnel.return
fresnel.program @both(%q: !q, %k: !k, %list: !list, %a: !q, %b: !q, %la: !l, %lb: !l, %g: !g, %dy: !q) {
  %da, %db, %dg = fresnel.gate_grad %a, %b by %g dout %dy {activation = #fresnel<activation sigmoid>} : !q, !q by !g, !q
  %d0 = fresnel.attend_delta %a, %da : !q
  %q0 = fresnel.attend_grad_q %q, %k, %k lse %la delta %d0 dout %da blocks(%list : !list) {causal = true, key_block = 64} : !q, !k, !k, !l, !l, !q
  %k0, %v0 = fresnel.attend_grad_kv %q, %k, %k lse %la delta %d0 dout %da blocks(%list : !list) {causal = true, key_block = 64} : !q, !k, !k, !l, !l, !q
  %d1 = fresnel.attend_delta %b, %db : !q
  %q1 = fresnel.attend_grad_q %q, %k, %k lse %lb delta %d1 dout %db {causal = true} : !q, !k, !k, !l, !l, !q
  %k1, %v1 = fresnel.attend_grad_kv %q, %k, %k lse %lb delta %d1 dout %db {causal = true} : !q, !k, !k, !l, !l, !q
  fresnel.return %dg, %q0, %k0, %v0, %q1, %k1, %v1 {names = ["dg", "q0", "k0", "v0", "q1", "k1", "v1"]} : !g, !q, !k, !k, !q, !k, !k
}

// -----

!q = tensor<1x4x300x192xbf16>
!k = tensor<1x2x300x192xbf16>
!l = tensor<1x4x300xf32>
!g = tensor<1x4x300x3xbf16>
// What no attention made keeps its gradient, and so does a branch whose dQ is summed in integers.
// CHECK-LABEL: fresnel.program @some
// CHECK-NEXT: %[[B:.*]], %[[LB:.*]] = fresnel.attend
// CHECK-NEXT: %[[DG:.*]], %[[ROWS:.*]]:4 = fresnel.gate_delta %g dout %dy of %x, %a, %[[B]], %la
// CHECK-SAME: {activation = #fresnel<activation sigmoid>, deltas = array<i64: 1>}
// CHECK-NEXT: %[[DQ:.*]] = fresnel.attend_grad_q %q, %k, %k lse %[[ROWS]]#1 delta %[[ROWS]]#2 dout %dy
// CHECK-NEXT: fresnel.bound_keys
// CHECK-NEXT: fresnel.attend_stats %[[B]], %[[ROWS]]#3 of %[[LB]] more
// CHECK-NEXT: fresnel.attend_grad {{.*}} dout %[[ROWS]]#3
// CHECK: fresnel.return %[[DG]], %[[ROWS]]#0, %[[DQ]]
// APART-LABEL: fresnel.program @some
// APART-NEXT: fresnel.attend
// APART-NEXT: fresnel.gate_delta {{.*}} deltas = array<i64: 1, 2>
fresnel.program @some(%q: !q, %k: !k, %x: !q, %a: !q, %la: !l, %g: !g, %dy: !q) {
  %b, %lb = fresnel.attend %q, %k, %k {causal = true} : !q, !k, !k
  %dx, %da, %db, %dg = fresnel.gate_grad %x, %a, %b by %g dout %dy {activation = #fresnel<activation sigmoid>} : !q, !q, !q by !g, !q
  %d0 = fresnel.attend_delta %a, %da : !q
  %q0 = fresnel.attend_grad_q %q, %k, %k lse %la delta %d0 dout %da : !q, !k, !k, !l, !l, !q
  %d1 = fresnel.attend_delta %b, %db : !q
  %q1 = fresnel.attend_grad_q %q, %k, %k lse %lb delta %d1 dout %db {causal = true} : !q, !k, !k, !l, !l, !q
  %k1, %v1 = fresnel.attend_grad_kv %q, %k, %k lse %lb delta %d1 dout %db {causal = true} : !q, !k, !k, !l, !l, !q
  fresnel.return %dg, %dx, %q0, %q1, %k1, %v1 {names = ["dg", "dx", "q0", "q1", "k1", "v1"]} : !g, !q, !q, !q, !k, !k
}

// -----

!q = tensor<1x4x300x128xbf16>
!l = tensor<1x4x300xf32>
!g = tensor<1x4x300x1xbf16>
// A gate that may be negative or 0 has no logarithm; the gradient of an LSE does not have the factor; and a gradient
// that something else reads is needed.
// CHECK-LABEL: fresnel.program @none
// CHECK-NOT: fresnel.gate_delta
fresnel.program @none(%q: !q, %a: !q, %la: !l, %dl: !l, %g: !g, %dy: !q) {
  %d0, %g0 = fresnel.gate_grad %a by %g dout %dy : !q by !g, !q
  %e0 = fresnel.attend_delta %a, %d0 : !q
  %q0 = fresnel.attend_grad_q %q, %q, %q lse %la delta %e0 dout %d0 : !q, !q, !q, !l, !l, !q
  %d1, %g1 = fresnel.gate_grad %a by %g dout %dy {activation = #fresnel<activation sigmoid>} : !q by !g, !q
  %e1 = fresnel.attend_delta %a, %d1 lse(%dl : !l) : !q
  %q1 = fresnel.attend_grad_q %q, %q, %q lse %la delta %e1 dout %d1 : !q, !q, !q, !l, !l, !q
  %d2, %g2 = fresnel.gate_grad %a by %g dout %q {activation = #fresnel<activation sigmoid>} : !q by !g, !q
  %e2 = fresnel.attend_delta %a, %d2 : !q
  %q2 = fresnel.attend_grad_q %q, %q, %q lse %la delta %e2 dout %d2 : !q, !q, !q, !l, !l, !q
  fresnel.return %g0, %g1, %g2, %q0, %q1, %q2, %d2 {names = ["g0", "g1", "g2", "q0", "q1", "q2", "d2"]} : !g, !g, !g, !q, !q, !q, !q
}

// -----

!q = tensor<1x4x300x128xbf16>
!k = tensor<1x4x200x128xbf16>
!l = tensor<1x4x300xf32>
!g = tensor<1x4x300x1xbf16>
// The rounding of tiles asks for rows without keys.
// CHECK-LABEL: fresnel.program @empty
// CHECK-NEXT: %{{.*}}, %[[STATS:.*]] = fresnel.gate_delta
// CHECK-NEXT: fresnel.attend_grad {{.*}} stats %[[STATS]] dout %dy
// CHECK-NEXT: fresnel.round_tiles %{{.*}} more(%[[STATS]]
fresnel.program @empty(%q: !q, %k: !k, %a: !q, %la: !l, %g: !g, %dy: !q) {
  %da, %dg = fresnel.gate_grad %a by %g dout %dy {activation = #fresnel<activation sigmoid>} : !q by !g, !q
  %d0 = fresnel.attend_delta %a, %da : !q
  %q0 = fresnel.attend_grad_q %q, %k, %k lse %la delta %d0 dout %da {causal = true} : !q, !k, !k, !l, !l, !q
  %k0, %v0 = fresnel.attend_grad_kv %q, %k, %k lse %la delta %d0 dout %da {causal = true} : !q, !k, !k, !l, !l, !q
  fresnel.return %dg, %q0, %k0, %v0 {names = ["dg", "dq", "dk", "dv"]} : !g, !q, !k, !k
}

// -----

!q = tensor<1x4x300x128xf16>
!l = tensor<1x4x300xf32>
!g = tensor<1x4x300x1xf16>
// Weights of f16 have too few exponents for another factor.
// CHECK-LABEL: fresnel.program @half
// CHECK-NEXT: fresnel.gate_grad
fresnel.program @half(%q: !q, %a: !q, %la: !l, %g: !g, %dy: !q) {
  %da, %dg = fresnel.gate_grad %a by %g dout %dy {activation = #fresnel<activation sigmoid>} : !q by !g, !q
  %d0 = fresnel.attend_delta %a, %da : !q
  %q0 = fresnel.attend_grad_q %q, %q, %q lse %la delta %d0 dout %da : !q, !q, !q, !l, !l, !q
  fresnel.return %dg, %q0 {names = ["dg", "dq"]} : !g, !q
}
