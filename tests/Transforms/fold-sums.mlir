// Gradients add up where their f32 tiles are rounded.
// RUN: fresnel-opt %s --split-input-file --fresnel-fold-sums | FileCheck %s

!q = tensor<1x4x100x64xbf16>
!k = tensor<1x2x100x64xbf16>
!l = tensor<1x4x100xf32>
!b = tensor<1x2x2x2xi32>
!s = tensor<1x4x2x128xf32>
!t = tensor<1x4x2x4096xf32>

// As in NSA: the first one waits for the gradient over lists, and goes in front of what the last one begins with.
// CHECK-LABEL: fresnel.program @chain
// CHECK: %[[LISTED:.*]] = fresnel.attend_grad_q
// CHECK-NEXT: fresnel.attend_grad_kv
// CHECK-NEXT: %[[S0:.*]] = fresnel.attend_stats
// CHECK-NEXT: %[[T0:.*]], %[[DK:.*]], %{{.*}} = fresnel.attend_grad {{.*}} window = 9
// CHECK-NEXT: %[[R0:.*]] = fresnel.round_tiles %[[T0]] more(%[[LISTED]] : tensor<1x4x100x64xbf16>)
// CHECK-NEXT: %[[S1:.*]] = fresnel.attend_stats
// CHECK-NEXT: %[[T1:.*]], %{{.*}}, %{{.*}} = fresnel.attend_grad
// CHECK-NEXT: %[[R1:.*]] = fresnel.round_tiles %[[T1]] more(%[[S1]], %[[R0]] : tensor<1x4x2x128xf32>, tensor<1x4x100x64xbf16>)
// CHECK-NEXT: fresnel.return %[[R1]], %[[DK]]
fresnel.program @chain(%q: !q, %k: !k, %l: !l, %d: !l, %g: !q, %b: !b) {
  %s0 = fresnel.attend_stats %q, %g of %l : !q, !l
  %t0, %dk, %dv = fresnel.attend_grad %q, %k, %k stats %s0 dout %g {causal = true, window = 9} : !q, !k, !k, !s, !q
  %r0 = fresnel.round_tiles %t0 {seq_len = 100, head_dim = 64, scale = 0.5, element = bf16} : !t
  %r1 = fresnel.attend_grad_q %q, %k, %k lse %l delta %d dout %g blocks(%b : !b) {query_block = 64, key_block = 64} : !q, !k, !k, !l, !l, !q
  %ek, %ev = fresnel.attend_grad_kv %q, %k, %k lse %l delta %d dout %g blocks(%b : !b) {query_block = 64, key_block = 64} : !q, !k, !k, !l, !l, !q
  %s2 = fresnel.attend_stats %g, %q of %l : !q, !l
  %t2, %fk, %fv = fresnel.attend_grad %q, %k, %k stats %s2 dout %g : !q, !k, !k, !s, !q
  %r2 = fresnel.round_tiles %t2 more(%s2 : !s) {seq_len = 100, head_dim = 64, scale = 0.5, element = bf16} : !t
  %dq = fresnel.add %r0, %r1, %r2 : !q, !q, !q
  fresnel.return %dq, %dk {names = ["dq", "dk"]} : !q, !k
}

// -----

// Two in order do not move, nor does one that no other follows: its tiles would wait, or what they are made of.
// CHECK-LABEL: fresnel.program @two
// CHECK-NEXT: %[[A:.*]] = fresnel.round_tiles %t
// CHECK-NEXT: %[[B:.*]] = fresnel.round_tiles %u more(%[[A]] :
// CHECK-NEXT: %[[C:.*]] = fresnel.round_tiles %t {
// CHECK-NEXT: %[[P:.*]] = fresnel.pool
// CHECK-NEXT: %[[R:.*]] = fresnel.add %[[C]], %[[P]]
// CHECK-NEXT: fresnel.return %[[B]], %[[R]]
!q = tensor<1x4x100x64xbf16>
!t = tensor<1x4x2x4096xf32>
fresnel.program @two(%t: !t, %u: !t, %x: tensor<1x4x200x64xbf16>) {
  %a = fresnel.round_tiles %t {seq_len = 100, head_dim = 64, scale = 0.5, element = bf16} : !t
  %b = fresnel.round_tiles %u {seq_len = 100, head_dim = 64, scale = 0.5, element = bf16} : !t
  %s = fresnel.add %b, %a : !q, !q
  %c = fresnel.round_tiles %t {seq_len = 100, head_dim = 64, scale = 0.5, element = bf16} : !t
  %p = fresnel.pool mean %x {window = 2} : tensor<1x4x200x64xbf16>
  %r = fresnel.add %c, %p : !q, !q
  fresnel.return %s, %r {names = ["s", "r"]} : !q, !q
}

// -----

// More than one other term: they are summed before the tiles are there, or if one is made with these, behind.
// CHECK-LABEL: fresnel.program @others
// CHECK-NEXT: %[[O:.*]] = fresnel.add %x, %y
// CHECK-NEXT: %[[T:.*]], %[[DK:.*]], %[[DV:.*]] = fresnel.attend_grad
// CHECK-NEXT: %[[A:.*]] = fresnel.round_tiles %[[T]] more(%[[O]] :
// CHECK-NEXT: %[[T:.*]], %[[DK:.*]], %[[DV:.*]] = fresnel.attend_grad
// CHECK-NEXT: %[[O:.*]] = fresnel.add %[[DK]], %[[DV]]
// CHECK-NEXT: %[[B:.*]] = fresnel.round_tiles %[[T]] more(%[[O]] :
// CHECK-NEXT: fresnel.return %[[A]], %[[B]]
!q = tensor<1x4x100x64xbf16>
!s = tensor<1x4x2x128xf32>
!t = tensor<1x4x2x4096xf32>
fresnel.program @others(%q: !q, %s: !s, %x: !q, %y: !q) {
  %t, %dk, %dv = fresnel.attend_grad %q, %q, %q stats %s dout %q : !q, !q, !q, !s, !q
  %a = fresnel.round_tiles %t {seq_len = 100, head_dim = 64, scale = 0.5, element = bf16} : !t
  %r = fresnel.add %x, %a, %y : !q, !q, !q
  %u, %ek, %ev = fresnel.attend_grad %q, %q, %q stats %s dout %q : !q, !q, !q, !s, !q
  %b = fresnel.round_tiles %u {seq_len = 100, head_dim = 64, scale = 0.5, element = bf16} : !t
  %e = fresnel.add %ek, %ev, %b : !q, !q, !q
  fresnel.return %r, %e {names = ["r", "e"]} : !q, !q
}

// -----

// What another operation reads of a gradient keeps it in its place, so that its rows are one of the other terms.
// CHECK-LABEL: fresnel.program @stuck
// CHECK-NEXT: %[[T:.*]], %[[DK:.*]], %{{.*}} = fresnel.attend_grad
// CHECK-NEXT: %[[A:.*]] = fresnel.round_tiles %[[T]] {
// CHECK-NEXT: %[[O:.*]] = fresnel.pool mean %[[DK]]
// CHECK-NEXT: %[[S:.*]] = fresnel.add %[[O]], %[[A]]
// CHECK-NEXT: %[[B:.*]] = fresnel.round_tiles %u more(%[[S]] :
// CHECK-NEXT: fresnel.return %[[B]]
!q = tensor<1x4x100x64xbf16>
!k = tensor<1x4x200x64xbf16>
!s = tensor<1x4x2x128xf32>
!t = tensor<1x4x2x4096xf32>
fresnel.program @stuck(%q: !q, %k: !k, %s: !s, %u: !t) {
  %t, %dk, %dv = fresnel.attend_grad %q, %k, %k stats %s dout %q : !q, !k, !k, !s, !q
  %a = fresnel.round_tiles %t {seq_len = 100, head_dim = 64, scale = 0.5, element = bf16} : !t
  %o = fresnel.pool mean %dk {window = 2} : !k
  %b = fresnel.round_tiles %u {seq_len = 100, head_dim = 64, scale = 0.5, element = bf16} : !t
  %r = fresnel.add %a, %o, %b : !q, !q, !q
  fresnel.return %r {names = ["r"]} : !q
}

// -----

// Rows that something else reads are needed as they are, and those that occur twice; and what could be stats is no addend.
// CHECK-LABEL: fresnel.program @read
// CHECK-NEXT: %[[A:.*]] = fresnel.round_tiles %t {
// CHECK-NEXT: %[[S:.*]] = fresnel.add %[[A]], %x
// CHECK-NEXT: %[[B:.*]] = fresnel.round_tiles %t {
// CHECK-NEXT: %[[R:.*]] = fresnel.add %[[B]], %[[B]]
// CHECK-NEXT: %[[C:.*]] = fresnel.round_tiles %w {
// CHECK-NEXT: %[[W:.*]] = fresnel.add %[[C]], %y
// CHECK-NEXT: fresnel.return %[[A]], %[[S]], %[[R]], %[[W]]
!q = tensor<1x4x100x64xbf16>
!t = tensor<1x4x2x4096xf32>
!w = tensor<1x4x2x8192xf32>
!y = tensor<1x4x2x128xf32>
fresnel.program @read(%t: !t, %x: !q, %w: !w, %y: !y) {
  %a = fresnel.round_tiles %t {seq_len = 100, head_dim = 64, scale = 0.5, element = bf16} : !t
  %s = fresnel.add %a, %x : !q, !q
  %b = fresnel.round_tiles %t {seq_len = 100, head_dim = 64, scale = 0.5, element = bf16} : !t
  %r = fresnel.add %b, %b : !q, !q
  %c = fresnel.round_tiles %w {seq_len = 2, head_dim = 128, scale = 0.5, element = f32} : !w
  %v = fresnel.add %c, %y : !y, !y
  fresnel.return %a, %s, %r, %v {names = ["a", "s", "r", "v"]} : !q, !q, !q, !y
}
