// RUN: fresnel-opt %s --split-input-file --fresnel-transpose-blocks | FileCheck %s

!x = tensor<1x2x1000x64xbf16>
!l = tensor<1x2x1000xf32>
!b = tensor<1x2x16x3xi32>

// Two gradients of one list share its transpose; ceil(1000 / 48) blocks, one word for 16 rows.
// CHECK-LABEL: fresnel.program @shared
// CHECK-NEXT: %[[T:.*]] = fresnel.transpose_blocks %b {blocks = 21 : i64}
// CHECK-NEXT: fresnel.attend_grad_kv {{.*}} blocks(%[[T]] : tensor<1x2x21x1xi32>) {{.*}}listed = 3 : i64{{.*}}transposed = true
// CHECK-NEXT: fresnel.attend_grad_kv {{.*}} blocks(%[[T]] : tensor<1x2x21x1xi32>) {{.*}}transposed = true
// The gradient of the queries reads the list itself.
// CHECK-NEXT: fresnel.attend_grad_q {{.*}} blocks(%b : tensor<1x2x16x3xi32>)
// Other blocks have another transpose.
// CHECK-NEXT: %[[U:.*]] = fresnel.transpose_blocks %b {blocks = 32 : i64}
// CHECK-NEXT: fresnel.attend_grad_kv {{.*}} blocks(%[[U]] : tensor<1x2x32x1xi32>)
fresnel.program @shared(%x: !x, %l: !l, %b: !b) {
  %a, %c = fresnel.attend_grad_kv %x, %x, %x lse %l delta %l dout %x blocks(%b : !b) {query_block = 64, key_block = 48} : !x, !x, !x, !l, !l, !x
  %d, %e = fresnel.attend_grad_kv %x, %x, %x lse %l delta %l dout %x blocks(%b : !b) {query_block = 64, key_block = 48, causal = true} : !x, !x, !x, !l, !l, !x
  %f = fresnel.attend_grad_q %x, %x, %x lse %l delta %l dout %x blocks(%b : !b) {query_block = 64, key_block = 48} : !x, !x, !x, !l, !l, !x
  %g, %h = fresnel.attend_grad_kv %x, %x, %x lse %l delta %l dout %x blocks(%b : !b) {query_block = 64, key_block = 32} : !x, !x, !x, !l, !l, !x
  fresnel.return %a, %c, %d, %e, %f, %g, %h {names = ["a", "c", "d", "e", "f", "g", "h"]} : !x, !x, !x, !x, !x, !x, !x
}

// -----

// Where blocks may be listed by so many rows that the kernel cuts their walks, the gradient takes the counts, too; a
// schedule of another family does not.
// RUN: fresnel-opt %s --split-input-file --fresnel-transpose-blocks=schedule=family=portable | FileCheck %s --check-prefix=OTHER
!q = tensor<1x128x4096x128xbf16>
!k = tensor<1x2x250x128xbf16>
!l = tensor<1x128x4096xf32>
!b = tensor<1x2x4096x4xi32>
// CHECK-LABEL: fresnel.program @counted
// CHECK-NEXT: %[[T:.*]] = fresnel.transpose_blocks %b
// CHECK-NEXT: %[[N:.*]] = fresnel.count_rows %[[T]]
// CHECK-NEXT: fresnel.attend_grad_kv {{.*}} blocks(%[[T]] : tensor<1x2x4x128xi32>) counts(%[[N]] : tensor<1x2x4xi32>)
// CHECK-NEXT: fresnel.attend_grad_kv {{.*}} counts(%[[N]] : tensor<1x2x4xi32>)
// OTHER-LABEL: fresnel.program @counted
// OTHER-NOT: fresnel.count_rows
fresnel.program @counted(%q: !q, %k: !k, %l: !l, %b: !b) {
  %c, %d = fresnel.attend_grad_kv %q, %k, %k lse %l delta %l dout %q blocks(%b : !b) {key_block = 64} : !q, !k, !k, !l, !l, !q
  %e, %f = fresnel.attend_grad_kv %q, %k, %k lse %l delta %l dout %q blocks(%b : !b) {key_block = 64, scale = 1.0} : !q, !k, !k, !l, !l, !q
  fresnel.return %c, %d, %e, %f {names = ["c", "d", "e", "f"]} : !k, !k, !k, !k
}

// -----

// Documents stand between the lists and the counts.
!q = tensor<1x128x4096x128xbf16>
!k = tensor<1x2x4096x128xbf16>
!l = tensor<1x128x4096xf32>
!b = tensor<1x2x4096x4xi32>
!d = tensor<1x2x4096xi32>
// CHECK-LABEL: fresnel.program @documents
// CHECK: %[[N:.*]] = fresnel.count_rows
// CHECK-NEXT: fresnel.attend_grad_kv {{.*}} blocks(%{{.*}} : tensor<1x2x64x128xi32>) documents(%d : tensor<1x2x4096xi32>) counts(%[[N]] : tensor<1x2x64xi32>)
fresnel.program @documents(%q: !q, %k: !k, %l: !l, %b: !b, %d: !d) {
  %c, %e = fresnel.attend_grad_kv %q, %k, %k lse %l delta %l dout %q blocks(%b : !b) documents(%d : !d) {key_block = 64, causal = true} : !q, !k, !k, !l, !l, !q
  fresnel.return %c, %e {names = ["c", "e"]} : !k, !k
}

// -----

// Not with head dim 256, which leaves no registers for it.
!q = tensor<1x128x4096x256xbf16>
!k = tensor<1x2x4096x256xbf16>
!l = tensor<1x128x4096xf32>
!b = tensor<1x2x4096x4xi32>
!d = tensor<1x2x4096xi32>
// CHECK-LABEL: fresnel.program @wide_documents
// CHECK-NOT: fresnel.count_rows
// CHECK: fresnel.attend_grad_kv {{.*}} documents(%d : tensor<1x2x4096xi32>)
// CHECK-NOT: counts
// CHECK: fresnel.return
fresnel.program @wide_documents(%q: !q, %k: !k, %l: !l, %b: !b, %d: !d) {
  %c, %e = fresnel.attend_grad_kv %q, %k, %k lse %l delta %l dout %q blocks(%b : !b) documents(%d : !d) {key_block = 64, causal = true} : !q, !k, !k, !l, !l, !q
  fresnel.return %c, %e {names = ["c", "e"]} : !k, !k
}

// -----

// Without lists, and with one that is transposed already, there is nothing to do.
!x = tensor<1x2x64x64xbf16>
!l = tensor<1x2x64xf32>
// CHECK-LABEL: fresnel.program @untouched
// CHECK-NOT: fresnel.transpose_blocks
// CHECK: fresnel.return
fresnel.program @untouched(%x: !x, %l: !l, %t: tensor<1x2x4x2xi32>) {
  %a, %b = fresnel.attend_grad_kv %x, %x, %x lse %l delta %l dout %x : !x, !x, !x, !l, !l, !x
  %c, %d = fresnel.attend_grad_kv %x, %x, %x lse %l delta %l dout %x blocks(%t : tensor<1x2x4x2xi32>) {key_block = 16, transposed = true} : !x, !x, !x, !l, !l, !x
  fresnel.return %a, %b, %c, %d {names = ["a", "b", "c", "d"]} : !x, !x, !x, !x
}

// -----

// What another pass has written is shared, and stands before all that read it.
!x = tensor<1x2x1000x64xbf16>
!l = tensor<1x2x1000xf32>
!b = tensor<1x2x16x3xi32>
// CHECK-LABEL: fresnel.program @written
// CHECK-NEXT: %[[T:.*]] = fresnel.transpose_blocks %b {blocks = 21 : i64}
// CHECK-NEXT: fresnel.attend_grad_kv {{.*}} blocks(%[[T]] :
// CHECK-NOT: fresnel.transpose_blocks
// CHECK-COUNT-2: fresnel.attend_grad %{{.*}} mask(%b, %[[T]] :
fresnel.program @written(%x: !x, %l: !l, %s: tensor<1x2x2x1024xf32>, %b: !b) {
  %a, %c = fresnel.attend_grad_kv %x, %x, %x lse %l delta %l dout %x blocks(%b : !b) {query_block = 64, key_block = 48} : !x, !x, !x, !l, !l, !x
  %t = fresnel.transpose_blocks %b {blocks = 21} : !b
  %d, %e, %f = fresnel.attend_grad %x, %x, %x stats %s dout %x mask(%b, %t : !b, tensor<1x2x21x1xi32>) {query_block = 64, key_block = 48} : !x, !x, !x, tensor<1x2x2x1024xf32>, !x
  %u = fresnel.transpose_blocks %b {blocks = 21} : !b
  %g, %h, %i = fresnel.attend_grad %x, %x, %x stats %s dout %x mask(%b, %u : !b, tensor<1x2x21x1xi32>) {query_block = 64, key_block = 48, causal = true} : !x, !x, !x, tensor<1x2x2x1024xf32>, !x
  fresnel.return %a, %c, %d, %e, %f, %g, %h, %i {names = ["a", "c", "d", "e", "f", "g", "h", "i"]}
      : !x, !x, tensor<1x2x16x4096xf32>, !x, !x, tensor<1x2x16x4096xf32>, !x, !x
}
