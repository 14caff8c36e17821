// The kernels of block selection and their gradients assemble for every generation, without spills.
// REQUIRES: ptxas
// RUN: %fresnel compile %s --target sm_80 -o %t.fkb --json | FileCheck %s
// RUN: %fresnel compile %s --target sm_90a -o %t.fkb --json | FileCheck %s
// RUN: sed 's/20000/20001/g' %s > %t.mlir
// RUN: %fresnel compile %t.mlir --target sm_90a -o %t.fkb --json | FileCheck %s
// RUN: sed 's/x128xbf16/x256xf16/g; s/3xbf16/3xf16/g' %s > %t.mlir
// RUN: %fresnel compile %t.mlir --target sm_86 -o %t.fkb --json | FileCheck %s
// RUN: sed 's/x128xbf16/x40xbf16/g' %s > %t.mlir
// RUN: %fresnel compile %t.mlir --target sm_100 -o %t.fkb --json | FileCheck %s
// RUN: sed 's/x128xbf16/x64xf32/g; s/3xbf16/3xf32/g' %s > %t.mlir
// RUN: %fresnel compile %t.mlir --target sm_80 -o %t.fkb --json | FileCheck %s

// CHECK-NOT: "spill_bytes": {{[1-9]}}
// CHECK: "spill_bytes": 0
// CHECK-NOT: "spill_bytes": {{[1-9]}}

!x = tensor<1x4x20000x128xbf16>
!k = tensor<1x2x20000x128xbf16>
!c = tensor<1x2x1249x128xbf16>
!b = tensor<1x2x313x128xbf16>
!l = tensor<1x4x20000xf32>
!g = tensor<1x4x20000x3xbf16>
fresnel.program @selection(%x: !x, %k: !k, %l: !l, %g: !g) {
  %c = fresnel.pool mean %k {window = 32, stride = 16, tail = #fresnel<tail drop>} : !k
  %b = fresnel.pool max %k {window = 64} : !k
  %p = fresnel.block_score %x, %c {causal = true, key_window = 32, key_stride = 16,
      normalize = #fresnel<normalize softmax>, group_sum = true} : !x, !c
  %r = fresnel.regroup %p {window = 32, stride = 16, block = 64, seq_len = 20000} : tensor<1x2x20000x1249xf32>
  %few = fresnel.select_blocks %r {topk = 16, local = 2, sinks = 1, causal = true, key_block = 64} : tensor<1x2x20000x313xf32>
  %many = fresnel.select_blocks %r {topk = 40, causal = true, key_block = 64} : tensor<1x2x20000x313xf32>
  %s = fresnel.block_score %x, %b {causal = true, key_window = 64, key_stride = 64} : !x, !b
  %three = fresnel.select_blocks %s {topk = 3, local = 1, causal = true, key_block = 64} : tensor<1x4x20000x313xf32>
  %t = fresnel.block_score %x, %b {scale = 0.5, causal = true, key_window = 64, key_stride = 64} : !x, !b
  %twelve = fresnel.select_blocks %t {topk = 12, local = 1, causal = true, key_block = 64} : tensor<1x4x20000x313xf32>
  %o, %m = fresnel.merge %x, %x lse %l, %l : !x, !x lse !l, !l
  %y = fresnel.gate %o, %x, %x by %g {activation = #fresnel<activation sigmoid>} : !x, !x, !x by !g
  %d0, %d1, %d2, %dg = fresnel.gate_grad %o, %x, %x by %g dout %y {activation = #fresnel<activation sigmoid>} : !x, !x, !x by !g, !x
  %dh, %s0, %g1, %m2, %d2b = fresnel.gate_delta %g dout %y of %o, %x, %x, %l, %m {activation = #fresnel<activation sigmoid>,
      deltas = array<i64: 2>, stats = array<i64: 0>} : !g, !x of !x, !x, !x, !l, !l
  %dp, %dl = fresnel.merge_grad %x, %l merged %o, %m dout %d0 : !x, !l
  %u = fresnel.unpool %b {window = 64, seq_len = 20000} : !b
  %du = fresnel.unpool_grad %u {window = 64} : !k
  %dk = fresnel.pool_grad mean %c {window = 32, stride = 16, seq_len = 20000, tail = #fresnel<tail drop>} : !c
  fresnel.return %few, %many, %three, %twelve, %dp, %dl, %dg, %du, %dk, %d1, %d2, %dh, %g1, %m2, %d2b
      {names = ["few", "many", "three", "twelve", "dp", "dl", "dg", "du", "dk", "d1", "d2", "dh", "g1", "m2", "d2b"]}
      : tensor<1x2x20000x16xi32>, tensor<1x2x20000x40xi32>, tensor<1x4x20000x3xi32>, tensor<1x4x20000x12xi32>, !x, !l, !g, !b, !k, !x, !x, !g, !x, !l, !l
}
