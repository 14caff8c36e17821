// Kernels of packed documents: one launch for all, which finds its document in a table of constants.
// RUN: fresnel-opt %s --split-input-file --fresnel-lower-to-tile=target=sm_90a | FileCheck %s

!x = tensor<1x2x100x32xbf16>
!p = tensor<1x2x133x32xbf16>
!s = tensor<1x2x133xf32>
!i = tensor<1x2x67xi32>
!g = tensor<1x2x67x32xbf16>

// A row: the first of the document's items (here: coarsest windows), then per level its first entry, their number and the
// share of the last window. Of 41 tokens the last windows hold 1 and 9: f32 1.0 and 1/9.
// CHECK-LABEL: tile.kernel @pool_levels_0
// CHECK: tile.table [0, 0, 41, 1065353216, 100, 11, 1065353216, 126, 3, 1038323257, 3, 41, 59, 1065353216, 111, 15, 1051372203, 129, 4, 1035611788] : <2x10xi32>
// Chunks: document, first coarsest window, how many, budget, first slot, slots.
// CHECK-LABEL: tile.kernel @select_cascade_1
// CHECK: tile.table [0, 0, 3, 4, 0, 31, 1, 0, 4, 4, 31, 36] : <2x6xi32>
// CHECK-LABEL: tile.kernel @gather_levels_2
// CHECK-NOT: tile.table
// Items are units of four tokens, which begin at -1.
// CHECK-LABEL: tile.kernel @scatter_by_slots_3
// CHECK: tile.table [0, 0, 41,
// CHECK-SAME: 11, 41, 59,
// CHECK-NOT: tile.kernel @norm
fresnel.program @main(%x: !x) {
  %n = fresnel.norm %x : !x
  %s = fresnel.pyramid max %n {levels = 3, factor = 4, documents = array<i64: 0, 41, 0, 59>} : tensor<1x2x100xf32>
  %i = fresnel.select_cascade %s, %s {seq_len = 100, levels = 3, factor = 4, topk = 4, documents = array<i64: 0, 41, 0, 59>} : !s, !s
  %p = fresnel.pyramid mean %x {levels = 3, factor = 4, documents = array<i64: 0, 41, 0, 59>} : !x
  %y = fresnel.gather %p, %i : !p, !i
  %o = fresnel.scatter %y, %i {seq_len = 100, levels = 3, factor = 4, documents = array<i64: 0, 41, 0, 59>} : !g, !i
  fresnel.return %o, %i {names = ["o", "i"]} : !x, !i
}

// -----

// One document that has tokens needs no table, whatever empty ones lie beside it.
// CHECK-LABEL: tile.kernel @pyramid_0
// CHECK-NOT: tile.table
fresnel.program @whole(%x: tensor<1x2x100x32xbf16>) {
  %p = fresnel.pyramid mean %x {levels = 3, factor = 4, documents = array<i64: 0, 100>} : tensor<1x2x100x32xbf16>
  fresnel.return %p {names = ["p"]} : tensor<1x2x132x32xbf16>
}

// -----

// Bounds by a table instead of comparisons with every entry.
// CHECK-LABEL: tile.kernel @document_bounds_0(%{{.*}}: !tile.global<1x2x67xi32>)
// CHECK: tile.table [0, 0, 31,
// CHECK-NOT: scf.for
// CHECK-LABEL: tile.kernel @attend_1
fresnel.program @bounds(%q: tensor<1x2x67x64xbf16>) {
  %b = fresnel.document_bounds {seq_len = 67, documents = array<i64: 31, 36>}
  %o, %l = fresnel.attend %q, %q, %q documents(%b : tensor<1x2x67xi32>) {causal = true} : tensor<1x2x67x64xbf16>, tensor<1x2x67x64xbf16>, tensor<1x2x67x64xbf16>
  fresnel.return %o {names = ["o"]} : tensor<1x2x67x64xbf16>
}

// -----

// A scatter of indices that no cascade gave searches; what fills the end of a document's slots stands for the slot before.
// CHECK-LABEL: tile.kernel @scatter_0
// CHECK: tile.table
// CHECK: scf.while
// CHECK: scf.while
fresnel.program @search(%y: tensor<1x2x67x32xbf16>, %i: tensor<1x2x67xi32>) {
  %o = fresnel.scatter %y, %i {seq_len = 100, levels = 3, factor = 4, documents = array<i64: 41, 59>} : tensor<1x2x67x32xbf16>, tensor<1x2x67xi32>
  fresnel.return %o {names = ["o"]} : tensor<1x2x100x32xbf16>
}
