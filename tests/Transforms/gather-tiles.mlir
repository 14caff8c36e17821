// RUN: fresnel-opt %s --split-input-file --fresnel-gather-tiles | FileCheck %s

!t = tensor<1x4x2x4096xf32>
!r = tensor<1x4x100x64xbf16>
!s = tensor<1x2x132xi32>

// CHECK-LABEL: fresnel.program @fused
// CHECK-NEXT: %[[X:.*]] = fresnel.gather_grad_tiles %t, %s {element = bf16, factor = 4 : i64, heads = 2 : i64, levels = 3 : i64, scale = 5.000000e-01 : f64, seq_len = 100 : i64} : tensor<1x4x2x4096xf32>, tensor<1x2x132xi32>
// CHECK-NEXT: fresnel.return %[[X]]
fresnel.program @fused(%t: !t, %s: !s) {
  %r = fresnel.round_tiles %t {seq_len = 100, head_dim = 64, scale = 0.5, element = bf16} : !t
  %x = fresnel.gather_grad_by_slots %r, %s {heads = 2, seq_len = 100, levels = 3, factor = 4} : !r, !s
  fresnel.return %x {names = ["x"]} : tensor<1x2x100x64xbf16>
}

// -----

// Packed documents go along; so does a gather behind which there is no pyramid.
// CHECK-LABEL: fresnel.program @documents
// CHECK-NEXT: fresnel.gather_grad_tiles %t, %s {documents = array<i64: 41, 59>, element = f16,
// CHECK-NEXT: fresnel.gather_grad_tiles %u, %s {element = f16, {{.*}}levels = 1 : i64
!t = tensor<1x2x2x4096xf32>
!r = tensor<1x2x39x64xf16>
!s = tensor<1x2x133xi32>
fresnel.program @documents(%t: !t, %u: !t, %s: !s) {
  %a = fresnel.round_tiles %t {seq_len = 39, head_dim = 64, scale = 0.5, element = f16} : !t
  %b = fresnel.round_tiles %u {seq_len = 39, head_dim = 64, scale = 0.5, element = f16} : !t
  %x = fresnel.gather_grad_by_slots %a, %s {heads = 2, seq_len = 100, levels = 3, factor = 4, documents = array<i64: 41, 59>} : !r, !s
  %y = fresnel.gather_grad_by_slots %b, %s {heads = 2, seq_len = 133, levels = 1, factor = 4} : !r, !s
  fresnel.return %x, %y {names = ["x", "y"]} : tensor<1x2x100x64xf16>, tensor<1x2x133x64xf16>
}

// -----

// Rows that something else reads, to which others are added, or of which some see no key, are rounded.
!t = tensor<1x4x2x4096xf32>
!r = tensor<1x4x100x64xbf16>
!s = tensor<1x2x132xi32>
!m = tensor<1x4x2x128xf32>
// CHECK-LABEL: fresnel.program @kept
// CHECK-NOT: fresnel.gather_grad_tiles
fresnel.program @kept(%t: !t, %s: !s, %stats: !m, %o: !r) {
  %a = fresnel.round_tiles %t {seq_len = 100, head_dim = 64, scale = 0.5, element = bf16} : !t
  %b = fresnel.round_tiles %t more(%stats : !m) {seq_len = 100, head_dim = 64, scale = 0.5, element = bf16} : !t
  %c = fresnel.round_tiles %t more(%o : !r) {seq_len = 100, head_dim = 64, scale = 0.5, element = bf16} : !t
  %x = fresnel.gather_grad_by_slots %a, %s {heads = 2, seq_len = 100, levels = 3, factor = 4} : !r, !s
  %y = fresnel.gather_grad_by_slots %b, %s {heads = 2, seq_len = 100, levels = 3, factor = 4} : !r, !s
  %z = fresnel.gather_grad_by_slots %c, %s {heads = 2, seq_len = 100, levels = 3, factor = 4} : !r, !s
  fresnel.return %a, %x, %y, %z {names = ["a", "x", "y", "z"]} : !r, tensor<1x2x100x64xbf16>, tensor<1x2x100x64xbf16>, tensor<1x2x100x64xbf16>
}
