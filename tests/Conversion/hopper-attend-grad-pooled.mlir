// Pooled keys are few, so thread blocks share the query heads of a key head, and add up its gradients in their order.
// RUN: fresnel-opt %s --split-input-file --fresnel-lower-to-tile | FileCheck %s
// RUN: fresnel-opt %s --split-input-file --fresnel-lower-to-tile=gradient-schedule=ordered=false | FileCheck %s --check-prefix=ANY

// 16 blocks of 128 keys for each of two key heads, nine times: a third of the nine query heads is too few for all.
// CHECK-LABEL: tile.kernel @attend_grad_2(
// What they leave to each other: 64 rows of dK and dV of each of two consumers.
// CHECK-SAME: !tile.global<64x16384xf32>
// Turns at 512 tiles for each of 18 heads and two consumers, and of the shares.
// CHECK-SAME: !tile.global<18496xi32>
// CHECK-SAME: fresnel.counters = 18496
// CHECK-SAME: fresnel.scratch = 1048576
// CHECK-SAME: grid = array<i32: 288, 1, 1>
// CHECK: consumer(2)
// CHECK: scf.for
// The part of the triangle is one of tokens.
// CHECK: tile.col_index
// CHECK: tile.row_index
// CHECK: tile.semaphore_wait
// CHECK: tile.barrier id(%{{.*}}) threads(128)
// CHECK-COUNT-2: tile.load_fragment {{.*}} tensor<64x128xf32, #tile.acc>
// CHECK-COUNT-2: tile.store_fragment {{.*}} tensor<64x128xf32, #tile.acc>
// CHECK: tile.barrier id(%{{.*}}) threads(128)
// CHECK: tile.semaphore_post
// CHECK: tile.store_matrix
// CHECK: tile.tma_store

// Without an order at dQ the shares have theirs.
// ANY: fresnel.counters = 64
// ANY-SAME: fresnel.scratch = 1048576
!q = tensor<1x18x32768x128xbf16>
!k = tensor<1x2x2047x128xbf16>
!l = tensor<1x18x32768xf32>
fresnel.program @main(%q: !q, %k: !k, %v: !k, %g: !q) {
  %o, %l = fresnel.attend %q, %k, %v {causal = true, key_window = 32, key_stride = 16} : !q, !k, !k
  %d = fresnel.attend_delta %o, %g : !q
  %a = fresnel.attend_grad_q %q, %k, %v lse %l delta %d dout %g {causal = true, key_window = 32, key_stride = 16} : !q, !k, !k, !l, !l, !q
  %b, %c = fresnel.attend_grad_kv %q, %k, %v lse %l delta %d dout %g {causal = true, key_window = 32, key_stride = 16} : !q, !k, !k, !l, !l, !q
  fresnel.return %a, %b, %c {names = ["dq", "dk", "dv"]} : !q, !k, !k
}

// -----

// Of values narrower than keys, too: 64 rows of 128 and of 96 columns, in whole fragments of both. Keys of 192 have blocks of 64
// of them whatever the values' width.
// CHECK-LABEL: tile.kernel @attend_grad_1(
// CHECK-SAME: !tile.global<64x24576xf32>
// CHECK: tile.load_fragment {{.*}} tensor<64x128xf32, #tile.acc>
// CHECK: tile.load_fragment {{.*}} tensor<64x96xf32, #tile.acc>
// CHECK-LABEL: tile.kernel @attend_grad_4(
// CHECK-SAME: !tile.tensor_map<64, 64, bf16>, %{{.*}}: !tile.tensor_map<64, 64, bf16>
!q = tensor<1x18x32768x128xbf16>
!k = tensor<1x2x2047x128xbf16>
!v = tensor<1x2x2047x96xbf16>
!o = tensor<1x18x32768x96xbf16>
!l = tensor<1x18x32768xf32>
!wide = tensor<1x18x32768x192xbf16>
!kw = tensor<1x2x2047x192xbf16>
!vw = tensor<1x2x2047x128xbf16>
fresnel.program @narrower(%q: !q, %k: !k, %v: !v, %l: !l, %g: !o, %qw: !wide, %kw: !kw, %vw: !vw, %gw: !q) {
  %d = fresnel.attend_delta %g, %g : !o
  %a = fresnel.attend_grad_q %q, %k, %v lse %l delta %d dout %g {causal = true, key_window = 32, key_stride = 16} : !q, !k, !v, !l, !l, !o
  %b, %c = fresnel.attend_grad_kv %q, %k, %v lse %l delta %d dout %g {causal = true, key_window = 32, key_stride = 16} : !q, !k, !v, !l, !l, !o
  %h = fresnel.attend_delta %gw, %gw : !q
  %e = fresnel.attend_grad_q %qw, %kw, %vw lse %l delta %h dout %gw {causal = true, key_window = 32, key_stride = 16} : !wide, !kw, !vw, !l, !l, !q
  %f, %i = fresnel.attend_grad_kv %qw, %kw, %vw lse %l delta %h dout %gw {causal = true, key_window = 32, key_stride = 16} : !wide, !kw, !vw, !l, !l, !q
  fresnel.return %a, %b, %c, %e, %f, %i {names = ["a", "b", "c", "e", "f", "i"]} : !q, !k, !v, !wide, !kw, !vw
}

// -----

// Within documents a block of keys has the bounds of the tokens with which they begin, 16 a key, and walks up to the end of
// its last document. A tile's turns begin with the block of the first key that begins in its first document.
// CHECK-LABEL: tile.kernel @attend_grad_2(
// CHECK-SAME: %[[BOUNDS:[^:]*]]: !tile.global<1x2x32768xi32>
// CHECK: %[[KEY:.*]] = arith.addi %{{.*}}, %c127_i32
// CHECK: %[[TOKEN:.*]] = arith.muli %[[KEY]], %c16_i32
// CHECK: %[[LAST:.*]] = arith.minsi %[[TOKEN]], %c32767_i32
// CHECK: tile.load %[[BOUNDS]][%{{.*}}, %{{.*}}, %[[LAST]]]
// CHECK: tile.warp_specialize
// CHECK: %[[START:.*]] = tile.load %[[BOUNDS]]
// CHECK: %[[UP:.*]] = arith.addi %[[START]], %c15{{.*}}
// CHECK: arith.divsi %[[UP]], %c16{{.*}}
// CHECK: tile.semaphore_wait
// CHECK: consumer(2)
// CHECK: tile.wgmma
// CHECK: %[[ROWS:.*]] = tile.row_index {{.*}} tensor<64xi32, #tile.rows>
// CHECK: %[[TOKENS:.*]] = arith.muli %[[ROWS]]
// CHECK: tile.lookup %[[BOUNDS]][%{{.*}}, %c1_i32] [%[[TOKENS]]]
!q = tensor<1x18x32768x128xbf16>
!k = tensor<1x2x2047x128xbf16>
!v = tensor<1x2x2047x96xbf16>
!o = tensor<1x18x32768x96xbf16>
!l = tensor<1x18x32768xf32>
!c = tensor<1x1x17xi32>
!m = tensor<1x2x32768xi32>
fresnel.program @documents(%q: !q, %k: !k, %v: !v, %l: !l, %o: !o, %g: !o, %cu: !c) {
  %m = fresnel.document_bounds %cu {seq_len = 32768} : !c
  %d = fresnel.attend_delta %o, %g : !o
  %a = fresnel.attend_grad_q %q, %k, %v lse %l delta %d dout %g documents(%m : !m) {causal = true, key_window = 32, key_stride = 16} : !q, !k, !v, !l, !l, !o
  %b, %c = fresnel.attend_grad_kv %q, %k, %v lse %l delta %d dout %g documents(%m : !m) {causal = true, key_window = 32, key_stride = 16} : !q, !k, !v, !l, !l, !o
  fresnel.return %a, %b, %c {names = ["dq", "dk", "dv"]} : !q, !k, !v
}

// -----

// With 64 columns a step's 128 queries are computed by halves: there are no registers for all beside the bounds.
// CHECK-LABEL: tile.kernel @attend_grad_2(
// CHECK-SAME: !tile.tensor_map<128, 64, bf16>, %{{.*}}: !tile.tensor_map<128, 64, bf16>
// CHECK: consumer(2)
// CHECK: tile.wgmma {{.*}} -> tensor<64x64xf32, #tile.acc>
!q = tensor<1x2x4096x64xbf16>
!k = tensor<1x2x255x64xbf16>
!l = tensor<1x2x4096xf32>
!c = tensor<1x1x17xi32>
!m = tensor<1x2x4096xi32>
fresnel.program @narrow(%q: !q, %k: !k, %l: !l, %g: !q, %cu: !c) {
  %m = fresnel.document_bounds %cu {seq_len = 4096} : !c
  %d = fresnel.attend_delta %q, %g : !q
  %a = fresnel.attend_grad_q %q, %k, %k lse %l delta %d dout %g documents(%m : !m) {causal = true, key_window = 32, key_stride = 16} : !q, !k, !k, !l, !l, !q
  %b, %c = fresnel.attend_grad_kv %q, %k, %k lse %l delta %d dout %g documents(%m : !m) {causal = true, key_window = 32, key_stride = 16} : !q, !k, !k, !l, !l, !q
  fresnel.return %a, %b, %c {names = ["dq", "dk", "dv"]} : !q, !k, !k
}
