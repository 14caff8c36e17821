// Attention over block lists and over pooled keys, forward and backward.
// RUN: fresnel-opt %s --split-input-file --fresnel-lower-to-tile=target=sm_80 | FileCheck %s --check-prefixes=CHECK,PORTABLE
// RUN: fresnel-opt %s --split-input-file --fresnel-lower-to-tile=target=sm_90a | FileCheck %s --check-prefixes=CHECK,HOPPER

// A tile of 64 queries has one list row. Its blocks are marked, compacted and walked.
// CHECK-LABEL: tile.kernel @attend_0(
// PORTABLE-SAME: grid = array<i32: 16, 4, 1>
// PORTABLE: tile.atomic or
// PORTABLE: scf.while
// PORTABLE: tile.copy_async
// PORTABLE-NOT: tile.lookup
// PORTABLE: tile.mma
// PORTABLE: tile.return
// With TMA: two blocks of 32 keys fill a tile.
// HOPPER-SAME: !tile.tensor_map<64, 64, bf16>
// HOPPER-SAME: !tile.tensor_map<32, 64, bf16>
// HOPPER-SAME: grid = array<i32: 64, 1, 1>
// HOPPER: tile.atomic or
// HOPPER: tile.warp_specialize
// HOPPER: tile.tma_load {{.*}} row(
// HOPPER: tile.tma_load {{.*}} row(
// HOPPER: tile.wgmma
// HOPPER: tile.tma_store
!q = tensor<1x4x1000x128xbf16>
!k = tensor<1x2x1000x128xbf16>
!b = tensor<1x2x16x5xi32>
fresnel.program @query_blocks(%q: !q, %k: !k, %b: !b) {
  %o, %l = fresnel.attend %q, %k, %k blocks(%b : !b) {query_block = 64, key_block = 32} : !q, !k, !k
  fresnel.return %o, %l {names = ["out", "lse"]} : !q, tensor<1x4x1000xf32>
}

// -----

// A list per token: the 16 heads that share it stand side by side, four tokens in a tile; rows
// look up whether theirs is the list that named the block.
// CHECK-LABEL: tile.kernel @attend_0(
// PORTABLE-SAME: grid = array<i32: 250, 2, 1>
// PORTABLE: tile.copy_async {{.*}} {group = 16 : i32}
// PORTABLE: tile.lookup
// PORTABLE: tile.any
// PORTABLE: tile.mma
// PORTABLE: tile.store_tile {{.*}} {group = 16 : i32}
// PORTABLE: tile.store_rows {{.*}} {group = 16 : i32}
// HOPPER-SAME: !tile.global<1x32x1000x128xbf16, strided>
// HOPPER-SAME: !tile.tensor_map<64, 64, bf16>
// HOPPER-SAME: grid = array<i32: 500, 1, 1>
// HOPPER: tile.copy_async {{.*}} {group = 16 : i32}
// HOPPER: tile.fence_async
// HOPPER: tile.wgmma
// HOPPER: tile.lookup
// HOPPER: tile.store_tile {{.*}} {group = 16 : i32}
// HOPPER: tile.store_rows {{.*}} {group = 16 : i32}
!q = tensor<1x32x1000x128xbf16>
!k = tensor<1x2x1000x128xbf16>
!b = tensor<1x2x1000x5xi32>
fresnel.program @tokens(%q: !q, %k: !k, %b: !b) {
  %o, %l = fresnel.attend %q, %k, %k blocks(%b : !b) {causal = true, key_block = 64} : !q, !k, !k
  fresnel.return %o, %l {names = ["out", "lse"]} : !q, tensor<1x32x1000xf32>
}

// -----

// Pooled keys: what a key stands for ends at 16 j + 31.
// CHECK-LABEL: tile.kernel @attend_0(
// CHECK: arith.constant {{.*}}31
fresnel.program @pooled(%q: tensor<1x4x1000x128xbf16>, %k: tensor<1x2x61x128xbf16>) {
  %o, %l = fresnel.attend %q, %k, %k {causal = true, key_window = 32, key_stride = 16} : tensor<1x4x1000x128xbf16>, tensor<1x2x61x128xbf16>, tensor<1x2x61x128xbf16>
  fresnel.return %o, %l {names = ["out", "lse"]} : tensor<1x4x1000x128xbf16>, tensor<1x4x1000xf32>
}

// -----

// Gradients write every element once: no atomics on tensors.
// CHECK-LABEL: tile.kernel @transpose_blocks_0(
// CHECK-SAME: grid = array<i32: 1, 2, 1>
// CHECK: tile.atomic or {{.*}} !tile.shared<
// CHECK-NOT: tile.atomic
// CHECK-LABEL: tile.kernel @attend_grad_kv_1(
// CHECK-SAME: grid = array<i32: 21, 2, 1>
// CHECK-NOT: tile.atomic
// Keys of a block that does not fill the tile are the only ones stored.
// CHECK: tile.store_tile {{.*}} limit(
// CHECK-LABEL: tile.kernel @attend_grad_q_2(
// CHECK: tile.atomic or {{.*}} !tile.shared<
// CHECK-NOT: tile.atomic
// CHECK: tile.store_tile
!q = tensor<1x4x1000x64xbf16>
!k = tensor<1x2x1000x64xbf16>
!l = tensor<1x4x1000xf32>
!b = tensor<1x2x16x5xi32>
fresnel.program @gradients(%q: !q, %k: !k, %l: !l, %b: !b) {
  %t = fresnel.transpose_blocks %b {blocks = 21} : !b
  %dk, %dv = fresnel.attend_grad_kv %q, %k, %k lse %l delta %l dout %q blocks(%t : tensor<1x2x21x1xi32>) {query_block = 64, key_block = 48, transposed = true} : !q, !k, !k, !l, !l, !q
  %dq = fresnel.attend_grad_q %q, %k, %k lse %l delta %l dout %q blocks(%b : !b) {query_block = 64, key_block = 48} : !q, !k, !k, !l, !l, !q
  fresnel.return %dk, %dv, %dq {names = ["dk", "dv", "dq"]} : !k, !k, !q
}
