// RUN: fresnel-opt %s --split-input-file --fresnel-group-queries | FileCheck %s
// RUN: fresnel-opt %s --split-input-file --fresnel-differentiate --fresnel-group-queries | FileCheck %s --check-prefix=GRAD
// RUN: fresnel-opt %s --split-input-file --fresnel-group-queries=schedule=family=portable | FileCheck %s --check-prefix=NONE
// RUN: fresnel-opt %s --split-input-file --fresnel-group-queries=target=sm_80 | FileCheck %s --check-prefix=NONE
// NONE-NOT: fresnel.group_rows

!q = tensor<1x4x4000x64xbf16>
!k = tensor<1x2x4000x64xbf16>
!l = tensor<1x4x4000xf32>
!b = tensor<1x2x4000x1xi32>

// Room for an entry of each query and for 127 places more of each of 32 blocks, in whole tiles. Heads that share a list share
// its places.
// CHECK-LABEL: fresnel.program @lists
// CHECK-NEXT: %[[PAST:.*]], %[[OWN:.*]] = fresnel.split_blocks %b {key_block = 128 : i64, keys = 4000 : i64}
// CHECK-NEXT: %[[BITS:.*]] = fresnel.transpose_blocks %[[PAST]] {blocks = 32 : i64}
// CHECK-NEXT: %[[COUNTS:.*]] = fresnel.count_rows %[[BITS]]
// CHECK-NEXT: %[[ROWS:.*]], %[[TILES:.*]], %[[SLOTS:.*]] = fresnel.group_rows %[[PAST]], %[[BITS]], %[[COUNTS]] {length = 8064 : i64}
// CHECK-NEXT: %[[GATHERED:.*]] = fresnel.gather %q, %[[ROWS]] : {{.*}}
// CHECK-NEXT: %[[PO:.*]], %[[PL:.*]] = fresnel.attend %[[GATHERED]], %k, %k blocks(%[[TILES]] : tensor<1x2x63x1xi32>) {key_block = 128 : i64, query_block = 128 : i64, scale = 5.000000e-01 : f64}
// CHECK-NEXT: %[[O:.*]], %[[L:.*]] = fresnel.attend %q, %k, %k blocks(%[[OWN]] : tensor<1x2x4000x1xi32>) {causal = true, key_block = 128 : i64, scale = 5.000000e-01 : f64}
// CHECK-NEXT: %[[OUT:.*]], %[[LSE:.*]] = fresnel.merge_rows %[[PO]], %[[PL]] at %[[SLOTS]] into %[[O]], %[[L]]
// CHECK-NEXT: fresnel.return %[[OUT]], %[[LSE]]

// Gradients take the merged LSE, and both gather once. What is gathered is used up before the other gradients begin.
// GRAD-LABEL: fresnel.program @lists
// GRAD: %[[ROWS:.*]], %[[TILES:.*]], %[[SLOTS:.*]] = fresnel.group_rows
// GRAD: %[[OUT:.*]], %[[LSE:.*]] = fresnel.merge_rows
// GRAD: %[[DELTA:.*]] = fresnel.attend_delta %[[OUT]], %[[DOUT:.*]] :
// GRAD-NEXT: %[[Q:.*]] = fresnel.gather %q, %[[ROWS]]
// GRAD-NEXT: %[[DO:.*]] = fresnel.gather %[[DOUT]], %[[ROWS]]
// GRAD-NEXT: %[[GL:.*]] = fresnel.gather_scores %[[LSE]], %[[ROWS]]
// GRAD-NEXT: %[[GD:.*]] = fresnel.gather_scores %[[DELTA]], %[[ROWS]]
// GRAD-NEXT: %[[PART:.*]] = fresnel.attend_grad_q %[[Q]], %k, %k lse %[[GL]] delta %[[GD]] dout %[[DO]] blocks(%[[TILES]] :
// GRAD-NEXT: %[[DK:.*]], %[[DV:.*]] = fresnel.attend_grad_kv %[[Q]], %k, %k lse %[[GL]] delta %[[GD]] dout %[[DO]] blocks(%[[TILES]] :
// GRAD-NEXT: %[[REST:.*]] = fresnel.attend_grad_q %q, %k, %k lse %[[LSE]] delta %[[DELTA]] dout %[[DOUT]] blocks(
// GRAD-NEXT: fresnel.sum_rows %[[PART]] at %[[SLOTS]] into %[[REST]]
// GRAD-NEXT: %[[DK2:.*]], %[[DV2:.*]] = fresnel.attend_grad_kv %q, %k, %k lse %[[LSE]]
// GRAD-NEXT: fresnel.add %[[DK]], %[[DK2]]
// GRAD-NEXT: fresnel.add %[[DV]], %[[DV2]]
fresnel.program @lists(%q: !q, %k: !k, %b: !b) {
  %o, %l = fresnel.attend %q, %k, %k blocks(%b : !b) {causal = true, key_block = 128, scale = 0.5} : !q, !k, !k
  fresnel.return %o, %l {names = ["out", "lse"]} : !q, !l
}

// -----

// A selection that takes each query's own block: the blocks are documents, and there is one entry less in front of them.
// CHECK-LABEL: fresnel.program @own
// CHECK: fresnel.group_rows {{.*}} {length = 8064 : i64}
// CHECK: %[[BOUNDS:.*]] = fresnel.document_bounds {documents = array<i64: 128, {{.*}}, 128, 32>, seq_len = 4000 : i64}
// CHECK: fresnel.attend %q, %k, %k documents(%[[BOUNDS]] : tensor<1x2x4000xi32>) {causal = true} :
!q = tensor<1x2x4000x64xbf16>
!s = tensor<1x2x4000x32xf32>
fresnel.program @own(%q: !q, %k: !q, %s: !s) {
  %b = fresnel.select_blocks %s {topk = 2, local = 1, causal = true, key_block = 128} : !s
  %o, %l = fresnel.attend %q, %k, %k blocks(%b : tensor<1x2x4000x2xi32>) {causal = true, key_block = 128} : !q, !q, !q
  fresnel.return %o {names = ["out"]} : !q
}

// -----

// Within documents in order, queries of one document alone list a block of their past, and see it from one key on. Both halves
// of attention take bounds; the lists of the own blocks take the documents themselves.
// CHECK-LABEL: fresnel.program @within
// CHECK: %[[D:.*]] = fresnel.document_bounds %cu
// CHECK-NEXT: %[[PAST:.*]], %[[OWN:.*]] = fresnel.split_blocks %b documents(%[[D]] : tensor<1x2x4000xi32>) {key_block = 128 : i64, keys = 4000 : i64}
// CHECK: %{{.*}}, %[[TILES:.*]], %{{.*}} = fresnel.group_rows %[[PAST]]
// CHECK-NEXT: %[[CUT:.*]], %[[STARTS:.*]] = fresnel.block_bounds %[[D]] {key_block = 128 : i64}
// CHECK: fresnel.attend %{{.*}}, %k, %k blocks(%[[TILES]] : tensor<1x2x63x1xi32>) starts(%[[STARTS]] : tensor<1x1x32x1xi32>) {key_block = 128 : i64, query_block = 128 : i64}
// CHECK-NEXT: fresnel.attend %q, %k, %k blocks(%[[OWN]] : tensor<1x2x4000x1xi32>) documents(%[[D]] : tensor<1x2x4000xi32>) {causal = true, key_block = 128 : i64}
// GRAD-LABEL: fresnel.program @within
// GRAD: fresnel.attend_grad_q {{.*}} starts(
// GRAD: fresnel.attend_grad_kv {{.*}} starts(
// GRAD: fresnel.attend_grad_q {{.*}} documents(
// GRAD: fresnel.attend_grad_kv {{.*}} documents(
!q = tensor<1x2x4000x64xbf16>
!b = tensor<1x2x4000x1xi32>
!d = tensor<1x2x4000xi32>
fresnel.program @within(%q: !q, %k: !q, %b: !b, %cu: tensor<1x1x9xi32>) {
  %d = fresnel.document_bounds %cu {seq_len = 4000} : tensor<1x1x9xi32>
  %o, %l = fresnel.attend %q, %k, %k blocks(%b : !b) documents(%d : !d) {causal = true, key_block = 128} : !q, !q, !q
  fresnel.return %o {names = ["out"]} : !q
}

// -----

// Where each query lists its own block these are documents within the documents.
// CHECK-LABEL: fresnel.program @own_within
// CHECK: %[[CUT:.*]], %[[STARTS:.*]] = fresnel.block_bounds %{{.*}} {key_block = 128 : i64}
// CHECK: fresnel.attend %{{.*}} starts(%[[STARTS]] : tensor<1x1x32x1xi32>)
// CHECK: fresnel.attend %q, %k, %k documents(%[[CUT]] : tensor<1x2x4000xi32>) {causal = true} :
!q = tensor<1x2x4000x64xbf16>
!s = tensor<1x2x4000x32xf32>
!d = tensor<1x2x4000xi32>
fresnel.program @own_within(%q: !q, %k: !q, %s: !s) {
  %d = fresnel.document_bounds {documents = array<i64: 1000, 3000>, seq_len = 4000}
  %b = fresnel.select_blocks %s documents(%d : !d) {topk = 2, local = 1, causal = true, key_block = 128} : !s
  %o, %l = fresnel.attend %q, %k, %k blocks(%b : tensor<1x2x4000x2xi32>) documents(%d : !d) {causal = true, key_block = 128} : !q, !q, !q
  fresnel.return %o {names = ["out"]} : !q
}

// -----

// The documents of eight blocks and less are too short.
// CHECK-LABEL: fresnel.program @short_documents
// CHECK-NOT: fresnel.group_rows
!q = tensor<1x2x4000x64xbf16>
!b = tensor<1x2x4000x1xi32>
!d = tensor<1x2x4000xi32>
fresnel.program @short_documents(%q: !q, %k: !q, %b: !b) {
  %d = fresnel.document_bounds {documents = array<i64: 1000, 1000, 700, 300, 1000>, seq_len = 4000}
  %o, %l = fresnel.attend %q, %k, %k blocks(%b : !b) documents(%d : !d) {causal = true, key_block = 128} : !q, !q, !q
  fresnel.return %o {names = ["out"]} : !q
}

// -----

// Bounds that come from elsewhere may be in any order.
// CHECK-LABEL: fresnel.program @any_bounds
// CHECK-NOT: fresnel.group_rows
!q = tensor<1x2x4000x64xbf16>
!b = tensor<1x2x4000x1xi32>
!d = tensor<1x2x4000xi32>
fresnel.program @any_bounds(%q: !q, %k: !q, %b: !b, %d: !d) {
  %o, %l = fresnel.attend %q, %k, %k blocks(%b : !b) documents(%d : !d) {causal = true, key_block = 128} : !q, !q, !q
  fresnel.return %o {names = ["out"]} : !q
}

// -----

// Left alone: few blocks; many entries; blocks of 64 keys; no causal mask; lists of several queries; a window; f32.
// CHECK-LABEL: fresnel.program @left_alone
// CHECK-NOT: fresnel.group_rows
!q = tensor<1x2x1664x64xbf16>
!x = tensor<1x2x4000x64xbf16>
!b = tensor<1x2x4000x1xi32>
fresnel.program @left_alone(%q: !q, %x: !x, %few: tensor<1x2x1664x1xi32>, %many: tensor<1x2x4000x9xi32>, %b: !b, %blocks: tensor<1x2x2000x1xi32>, %f: tensor<1x2x4000x64xf32>) {
  %o, %l = fresnel.attend %q, %q, %q blocks(%few : tensor<1x2x1664x1xi32>) {causal = true, key_block = 128} : !q, !q, !q
  %p, %m = fresnel.attend %x, %x, %x blocks(%many : tensor<1x2x4000x9xi32>) {causal = true, key_block = 128} : !x, !x, !x
  %r, %n = fresnel.attend %x, %x, %x blocks(%b : !b) {causal = true, key_block = 64} : !x, !x, !x
  %s, %t = fresnel.attend %x, %x, %x blocks(%b : !b) {key_block = 128} : !x, !x, !x
  %u, %v = fresnel.attend %x, %x, %x blocks(%blocks : tensor<1x2x2000x1xi32>) {causal = true, query_block = 2, key_block = 128} : !x, !x, !x
  %w, %z = fresnel.attend %x, %x, %x blocks(%b : !b) {causal = true, window = 1000, key_block = 128} : !x, !x, !x
  %g, %h = fresnel.attend %f, %f, %f blocks(%b : !b) {causal = true, key_block = 128} : tensor<1x2x4000x64xf32>, tensor<1x2x4000x64xf32>, tensor<1x2x4000x64xf32>
  fresnel.return %o, %p, %r, %s, %u, %w, %g {names = ["o", "p", "r", "s", "u", "w", "g"]} : !q, !x, !x, !x, !x, !x, tensor<1x2x4000x64xf32>
}
