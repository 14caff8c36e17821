// RUN: fresnel-opt %s --split-input-file --fresnel-fuse-attend-grad | FileCheck %s
// RUN: fresnel-opt %s --split-input-file --fresnel-fuse-attend-grad="schedule=section=4:ordered=false" | FileCheck %s --check-prefix=ANY
// RUN: fresnel-opt %s --split-input-file --fresnel-fuse-attend-grad="schedule=section=2:integers=true" | FileCheck %s --check-prefix=INTEGERS
// RUN: fresnel-opt %s --split-input-file --fresnel-fuse-attend-grad=target=sm_90 | FileCheck %s --check-prefix=APART
// RUN: fresnel-opt %s --split-input-file --fresnel-fuse-attend-grad=schedule=family=portable | FileCheck %s --check-prefix=APART

// APART-NOT: fresnel.attend_grad{{ }}
!x = tensor<1x4x100x128xbf16>
!k = tensor<1x2x100x128xbf16>
!l = tensor<1x4x100xf32>

// ANY-LABEL: fresnel.program @both
// ANY: fresnel.attend_grad %
// CHECK-LABEL: fresnel.program @both
// CHECK-NEXT: %[[S:.*]] = fresnel.attend_stats %x, %g of %l more(%m
// CHECK-NEXT: %[[DQ:.*]], %[[DK:.*]], %[[DV:.*]] = fresnel.attend_grad %x, %k, %k stats %[[S]] dout %g {causal = true, {{.*}}scale = 5.000000e-01
// CHECK-NEXT: %[[Q:.*]] = fresnel.round_tiles %[[DQ]] {element = bf16, head_dim = 128 : i64, scale = 5.000000e-01 : f64, seq_len = 100 : i64}
// CHECK-NEXT: fresnel.return %[[Q]], %[[DK]], %[[DV]]
fresnel.program @both(%x: !x, %k: !k, %l: !l, %m: !l, %g: !x) {
  %d = fresnel.attend_delta %x, %g lse(%m : !l) : !x
  %a = fresnel.attend_grad_q %x, %k, %k lse %l delta %d dout %g {causal = true, scale = 0.5} : !x, !k, !k, !l, !l, !x
  %b, %c = fresnel.attend_grad_kv %x, %k, %k lse %l delta %d dout %g {causal = true, scale = 0.5} : !x, !k, !k, !l, !l, !x
  fresnel.return %a, %b, %c {names = ["dq", "dk", "dv"]} : !x, !k, !k
}

// -----

!x = tensor<1x4x100x128xbf16>
!l = tensor<1x4x100xf32>
// One alone, and two that differ, stay what they are.
// CHECK-LABEL: fresnel.program @alone
// CHECK-NEXT: fresnel.attend_delta
// CHECK-NEXT: fresnel.attend_grad_q
// CHECK-NEXT: fresnel.attend_grad_kv {{.*}}causal = true
fresnel.program @alone(%x: !x, %l: !l) {
  %d = fresnel.attend_delta %x, %x : !x
  %a = fresnel.attend_grad_q %x, %x, %x lse %l delta %d dout %x : !x, !x, !x, !l, !l, !x
  %b, %c = fresnel.attend_grad_kv %x, %x, %x lse %l delta %d dout %x {causal = true} : !x, !x, !x, !l, !l, !x
  fresnel.return %a, %b {names = ["dq", "dk"]} : !x, !x
}

// -----

!x = tensor<1x4x100x128xbf16>
!k = tensor<1x4x99x128xbf16>
!l = tensor<1x4x100xf32>
// Nothing adds to the tiles of causal queries in front of the first key: their rows become 0 where they are rounded.
// CHECK-LABEL: fresnel.program @empty
// CHECK-NEXT: %[[S:.*]] = fresnel.attend_stats
// CHECK-NEXT: %[[DQ:.*]], %{{.*}}, %{{.*}} = fresnel.attend_grad
// CHECK-NEXT: fresnel.round_tiles %[[DQ]] more(%[[S]] : tensor<1x4x2x128xf32>)
fresnel.program @empty(%x: !x, %k: !k, %l: !l) {
  %d = fresnel.attend_delta %x, %x : !x
  %a = fresnel.attend_grad_q %x, %k, %k lse %l delta %d dout %x {causal = true} : !x, !k, !k, !l, !l, !x
  %b, %c = fresnel.attend_grad_kv %x, %k, %k lse %l delta %d dout %x {causal = true} : !x, !k, !k, !l, !l, !x
  fresnel.return %a, %b {names = ["dq", "dk"]} : !x, !k
}

// -----

!x = tensor<1x4x100x192xbf16>
!v = tensor<1x4x100x128xbf16>
!w = tensor<1x4x100x64xbf16>
!l = tensor<1x4x100xf32>
// Values may be narrower than keys, as in multi-head latent attention, but not at any width.
// CHECK-LABEL: fresnel.program @narrower
// CHECK: fresnel.attend_grad %
// CHECK: fresnel.attend_grad_q
fresnel.program @narrower(%x: !x, %v: !v, %w: !w, %l: !l) {
  %d = fresnel.attend_delta %v, %v : !v
  %a = fresnel.attend_grad_q %x, %x, %v lse %l delta %d dout %v : !x, !x, !v, !l, !l, !v
  %b, %c = fresnel.attend_grad_kv %x, %x, %v lse %l delta %d dout %v : !x, !x, !v, !l, !l, !v
  %f = fresnel.attend_delta %w, %w : !w
  %g = fresnel.attend_grad_q %x, %x, %w lse %l delta %f dout %w : !x, !x, !w, !l, !l, !w
  %h, %i = fresnel.attend_grad_kv %x, %x, %w lse %l delta %f dout %w : !x, !x, !w, !l, !l, !w
  fresnel.return %a, %b, %c, %g, %h, %i {names = ["a", "b", "c", "g", "h", "i"]} : !x, !x, !v, !x, !x, !w
}

// -----

// Over lists there are kernels for each side, in any order one for both, which reads the lists and their transpose.
!x = tensor<1x4x1000x128xbf16>
!k = tensor<1x2x1000x128xbf16>
!l = tensor<1x4x1000xf32>
!b = tensor<1x2x16x3xi32>
// CHECK-LABEL: fresnel.program @lists
// CHECK: fresnel.attend_grad_q
// CHECK: fresnel.attend_grad_kv
// ANY-LABEL: fresnel.program @lists
// ANY-NEXT: %[[S:.*]] = fresnel.attend_stats
// ANY-NEXT: %[[T:.*]] = fresnel.transpose_blocks %b {blocks = 8 : i64}
// ANY-NEXT: %[[DQ:.*]], %{{.*}}, %{{.*}} = fresnel.attend_grad {{.*}} mask(%b, %[[T]] : tensor<1x2x16x3xi32>, tensor<1x2x8x1xi32>) {{.*}}key_block = 128 : i64, query_block = 64 : i64
// ANY-NEXT: fresnel.round_tiles %[[DQ]] more(%[[S]] : tensor<1x4x2x1024xf32>)
fresnel.program @lists(%x: !x, %k: !k, %l: !l, %b: !b) {
  %d = fresnel.attend_delta %x, %x : !x
  %a = fresnel.attend_grad_q %x, %k, %k lse %l delta %d dout %x blocks(%b : !b) {query_block = 64, key_block = 128} : !x, !k, !k, !l, !l, !x
  %c, %e = fresnel.attend_grad_kv %x, %k, %k lse %l delta %d dout %x blocks(%b : !b) {query_block = 64, key_block = 128} : !x, !k, !k, !l, !l, !x
  fresnel.return %a, %c, %e {names = ["dq", "dk", "dv"]} : !x, !k, !k
}

// -----

// So do wide heads.
!x = tensor<1x2x1000x192xbf16>
!l = tensor<1x2x1000xf32>
!b = tensor<1x2x16x3xi32>
// CHECK-LABEL: fresnel.program @wide
// CHECK-NOT: mask(
// CHECK: fresnel.attend_grad_q
// CHECK: fresnel.attend_grad_kv
// ANY-LABEL: fresnel.program @wide
// ANY: fresnel.attend_grad {{.*}} mask(
fresnel.program @wide(%x: !x, %l: !l, %b: !b) {
  %d = fresnel.attend_delta %x, %x : !x
  %a = fresnel.attend_grad_q %x, %x, %x lse %l delta %d dout %x blocks(%b : !b) {query_block = 64, key_block = 64} : !x, !x, !x, !l, !l, !x
  %c, %e = fresnel.attend_grad_kv %x, %x, %x lse %l delta %d dout %x blocks(%b : !b) {query_block = 64, key_block = 64} : !x, !x, !x, !l, !l, !x
  fresnel.return %a, %c, %e {names = ["dq", "dk", "dv"]} : !x, !x, !x
}

// -----

// Lists of single tokens are no whole tiles.
!x = tensor<1x4x1000x192xbf16>
!l = tensor<1x4x1000xf32>
!b = tensor<1x4x1000x3xi32>
// CHECK-LABEL: fresnel.program @tokens
// CHECK: fresnel.attend_grad_q
fresnel.program @tokens(%x: !x, %l: !l, %b: !b) {
  %d = fresnel.attend_delta %x, %x : !x
  %a = fresnel.attend_grad_q %x, %x, %x lse %l delta %d dout %x blocks(%b : !b) {key_block = 64} : !x, !x, !x, !l, !l, !x
  %c, %e = fresnel.attend_grad_kv %x, %x, %x lse %l delta %d dout %x blocks(%b : !b) {key_block = 64} : !x, !x, !x, !l, !l, !x
  fresnel.return %a, %c, %e {names = ["dq", "dk", "dv"]} : !x, !x, !x
}

// -----

// Bounds of documents that are made from cumulative lengths are in order; any other might make blocks of keys wait forever.
!x = tensor<1x4x128x128xbf16>
!l = tensor<1x4x128xf32>
!c = tensor<1x1x9xi32>
!d = tensor<1x2x128xi32>
// CHECK-LABEL: fresnel.program @documents
// CHECK: %[[B:.*]] = fresnel.document_bounds
// CHECK: fresnel.attend_grad {{.*}} mask(%[[B]] : tensor<1x2x128xi32>)
// CHECK: fresnel.attend_grad_q {{.*}} documents(%b
fresnel.program @documents(%x: !x, %l: !l, %cu: !c, %b: !d) {
  %m = fresnel.document_bounds %cu {seq_len = 128} : !c
  %d = fresnel.attend_delta %x, %x : !x
  %a = fresnel.attend_grad_q %x, %x, %x lse %l delta %d dout %x documents(%m : !d) {causal = true} : !x, !x, !x, !l, !l, !x
  %e, %c = fresnel.attend_grad_kv %x, %x, %x lse %l delta %d dout %x documents(%m : !d) {causal = true} : !x, !x, !x, !l, !l, !x
  %g = fresnel.attend_grad_q %x, %x, %x lse %l delta %d dout %x documents(%b : !d) {causal = true} : !x, !x, !x, !l, !l, !x
  %h, %i = fresnel.attend_grad_kv %x, %x, %x lse %l delta %d dout %x documents(%b : !d) {causal = true} : !x, !x, !x, !l, !l, !x
  fresnel.return %a, %e, %c, %g, %h, %i {names = ["a", "e", "c", "g", "h", "i"]} : !x, !x, !x, !x, !x, !x
}

// -----

// With wide heads of their own keys sums are integers if the LSE is known to be that of the scores, not if `ordered` says
// what sums of f32 are to be like.
// CHECK-LABEL: fresnel.program @integers
// CHECK: fresnel.bound_keys
// CHECK: fresnel.settle_tiles
// INTEGERS-LABEL: fresnel.program @integers
// INTEGERS: %[[B:.*]] = fresnel.bound_keys %k, %k
// INTEGERS: %[[S:.*]] = fresnel.attend_stats %{{.*}}, %g of %{{.*}} more(%[[B]] : tensor<1x4x2x1xf32>)
// INTEGERS: fresnel.attend_grad %{{.*}} stats %[[S]]
// INTEGERS: fresnel.settle_tiles %{{.*}} of %x, %k, %k stats %[[S]] dout %g {causal = true, {{.*}}: tensor<1x4x2x12288xi32>
// ANY-LABEL: fresnel.program @integers
// ANY-NOT: fresnel.bound_keys
!x = tensor<1x4x100x192xbf16>
!k = tensor<1x4x100x192xbf16>
!l = tensor<1x4x100xf32>
fresnel.program @integers(%x: !x, %k: !k, %g: !x) {
  %o, %l = fresnel.attend %x, %k, %k {causal = true} : !x, !k, !k
  %d = fresnel.attend_delta %o, %g : !x
  %a = fresnel.attend_grad_q %x, %k, %k lse %l delta %d dout %g {causal = true} : !x, !k, !k, !l, !l, !x
  %b, %c = fresnel.attend_grad_kv %x, %k, %k lse %l delta %d dout %g {causal = true} : !x, !k, !k, !l, !l, !x
  fresnel.return %a, %b, %c {names = ["dq", "dk", "dv"]} : !x, !k, !k
}

// -----

// Nor of more keys than 131072, unless that is asked for.
// CHECK-LABEL: fresnel.program @long
// CHECK-NOT: fresnel.bound_keys
// CHECK: fresnel.attend_grad %
// INTEGERS-LABEL: fresnel.program @long
// INTEGERS: fresnel.bound_keys
!x = tensor<1x4x100x192xbf16>
!k = tensor<1x2x131073x192xbf16>
!l = tensor<1x4x100xf32>
fresnel.program @long(%x: !x, %k: !k, %g: !x) {
  %o, %l = fresnel.attend %x, %k, %k {causal = true} : !x, !k, !k
  %d = fresnel.attend_delta %o, %g : !x
  %a = fresnel.attend_grad_q %x, %k, %k lse %l delta %d dout %g {causal = true} : !x, !k, !k, !l, !l, !x
  %b, %c = fresnel.attend_grad_kv %x, %k, %k lse %l delta %d dout %g {causal = true} : !x, !k, !k, !l, !l, !x
  fresnel.return %a, %b, %c {names = ["dq", "dk", "dv"]} : !x, !k, !k
}

// -----

// Those of places are, too, where each holds its place; and a window makes them narrower.
!x = tensor<1x4x128x128xbf16>
!l = tensor<1x4x128xf32>
!c = tensor<1x1x1xi32>
!d = tensor<1x2x128xi32>
// CHECK-LABEL: fresnel.program @places
// CHECK: %[[B:.*]], %{{.*}}, %[[T:.*]], %{{.*}}, %{{.*}} = fresnel.align_documents
// CHECK: %[[N:.*]] = fresnel.narrow_bounds %[[B]] {window = 50 : i64} : tensor<1x2x128xi32>
// CHECK: fresnel.attend_grad {{.*}} mask(%[[N]] : tensor<1x2x128xi32>) {causal = true
// CHECK-NOT: window
// CHECK: fresnel.attend_grad_q {{.*}} documents(%[[T]]
fresnel.program @places(%x: !x, %l: !l, %cu: !c) {
  %m, %n, %t, %f, %o = fresnel.align_documents %cu {seq_len = 65, block = 64} : !c
  %d = fresnel.attend_delta %x, %x : !x
  %a = fresnel.attend_grad_q %x, %x, %x lse %l delta %d dout %x documents(%m : !d) {causal = true, window = 50} : !x, !x, !x, !l, !l, !x
  %e, %c = fresnel.attend_grad_kv %x, %x, %x lse %l delta %d dout %x documents(%m : !d) {causal = true, window = 50} : !x, !x, !x, !l, !l, !x
  %g = fresnel.attend_grad_q %x, %x, %x lse %l delta %d dout %x documents(%t : !d) : !x, !x, !x, !l, !l, !x
  %h, %i = fresnel.attend_grad_kv %x, %x, %x lse %l delta %d dout %x documents(%t : !d) : !x, !x, !x, !l, !l, !x
  fresnel.return %a, %e, %c, %g, %h, %i {names = ["a", "e", "c", "g", "h", "i"]} : !x, !x, !x, !x, !x, !x
}

// -----

// Pooled keys, whose first queries see none of them, within documents, too; not if windows differ, nor if the bounds may
// be in any order.
!x = tensor<1x4x100x128xbf16>
!k = tensor<1x2x24x128xbf16>
!l = tensor<1x4x100xf32>
!d = tensor<1x1x5xi32>
!b = tensor<1x2x100xi32>
// CHECK-LABEL: fresnel.program @pooled
// CHECK: %[[N:.*]] = fresnel.document_bounds
// CHECK: %[[S:.*]] = fresnel.attend_stats
// CHECK: %[[DQ:.*]], %{{.*}}, %{{.*}} = fresnel.attend_grad %{{.*}} {causal = true, key_stride = 4 : i64, key_window = 8 : i64
// CHECK: fresnel.round_tiles %[[DQ]] more(%[[S]] : tensor<1x4x2x128xf32>)
// CHECK: %[[DQ:.*]], %{{.*}}, %{{.*}} = fresnel.attend_grad {{.*}} mask(%[[N]] : tensor<1x2x100xi32>) {causal = true, key_stride = 4 : i64, key_window = 8 : i64
// CHECK: fresnel.round_tiles %[[DQ]] more(
// CHECK: fresnel.attend_grad_q {{.*}} key_window = 7
// CHECK: fresnel.attend_grad_q {{.*}} documents(
// CHECK: fresnel.attend_grad_kv {{.*}} documents(
fresnel.program @pooled(%x: !x, %k: !k, %l: !l, %cu: !d, %bounds: !b) {
  %n = fresnel.document_bounds %cu {seq_len = 100} : !d
  %d = fresnel.attend_delta %x, %x : !x
  %a = fresnel.attend_grad_q %x, %k, %k lse %l delta %d dout %x {causal = true, key_window = 8, key_stride = 4} : !x, !k, !k, !l, !l, !x
  %b, %c = fresnel.attend_grad_kv %x, %k, %k lse %l delta %d dout %x {causal = true, key_window = 8, key_stride = 4} : !x, !k, !k, !l, !l, !x
  %e = fresnel.attend_grad_q %x, %k, %k lse %l delta %d dout %x documents(%n : !b) {causal = true, key_window = 8, key_stride = 4} : !x, !k, !k, !l, !l, !x
  %f, %g = fresnel.attend_grad_kv %x, %k, %k lse %l delta %d dout %x documents(%n : !b) {causal = true, key_window = 8, key_stride = 4} : !x, !k, !k, !l, !l, !x
  %h = fresnel.attend_grad_q %x, %k, %k lse %l delta %d dout %x {causal = true, key_window = 7, key_stride = 4} : !x, !k, !k, !l, !l, !x
  %i = fresnel.attend_grad_q %x, %k, %k lse %l delta %d dout %x documents(%bounds : !b) {causal = true, key_window = 8, key_stride = 4} : !x, !k, !k, !l, !l, !x
  %j, %m = fresnel.attend_grad_kv %x, %k, %k lse %l delta %d dout %x documents(%bounds : !b) {causal = true, key_window = 8, key_stride = 4} : !x, !k, !k, !l, !l, !x
  fresnel.return %a, %b, %c, %e, %f, %g, %h, %i, %j, %m {names = ["a", "b", "c", "e", "f", "g", "h", "i", "j", "m"]} : !x, !k, !k, !x, !k, !k, !x, !x, !k, !k
}
