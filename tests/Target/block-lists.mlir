// Attention over block lists and pooled keys assembles for every generation, without spills: every head dim forward, most of them with the
// gradients, where lists belong to blocks of queries and where each token has its own.
// REQUIRES: ptxas
// RUN: sed 's/x128xbf16/x64xbf16/g' %s > %t.mlir && %fresnel compile %t.mlir -o %t.fkb --json | FileCheck %s
// RUN: sed 's/x128xbf16/x96xbf16/g' %s > %t.mlir && %fresnel compile %t.mlir -o %t.fkb --json | FileCheck %s
// RUN: sed 's/x128xbf16/x128xbf16/g' %s > %t.mlir && %fresnel compile %t.mlir -o %t.fkb --json | FileCheck %s
// RUN: sed 's/x128xbf16/x192xbf16/g' %s > %t.mlir && %fresnel compile %t.mlir -o %t.fkb --json | FileCheck %s
// RUN: sed 's/x128xbf16/x256xbf16/g' %s > %t.mlir && %fresnel compile %t.mlir -o %t.fkb --json | FileCheck %s
// RUN: %fresnel compile %s --grad --grad-of a,b,d,e,f --target sm_80 -o %t.fkb --json | FileCheck %s
// RUN: sed 's/x128xbf16/x256xf16/g' %s > %t.mlir && %fresnel compile %t.mlir --grad --grad-of a,b,d,e,f --target sm_86 -o %t.fkb --json | FileCheck %s
// RUN: sed 's/x128xbf16/x64xbf16/g' %s > %t.mlir && %fresnel compile %t.mlir --grad --grad-of a,b,d,e,f -o %t.fkb --json | FileCheck %s
// RUN: sed 's/x128xbf16/x96xbf16/g' %s > %t.mlir && %fresnel compile %t.mlir --grad --grad-of a,b,d,e,f --target sm_80 -o %t.fkb --json | FileCheck %s
// RUN: %fresnel compile %s --grad --grad-of a,b,d,e,f,g -o %t.fkb --json | FileCheck %s
// RUN: sed 's/x128xbf16/x192xbf16/g' %s > %t.mlir && %fresnel compile %t.mlir --grad --grad-of a,b,d,e,g,h -o %t.fkb --json | FileCheck %s
// RUN: sed 's/x128xbf16/x256xbf16/g' %s > %t.mlir && %fresnel compile %t.mlir --grad --grad-of a,b,d,e,g,h -o %t.fkb --json | FileCheck %s
// RUN: %fresnel compile %s --grad --grad-of a -o %t.fkb --json --gradient-schedule ordered=false | FileCheck %s

// CHECK-NOT: "spill_bytes": {{[1-9]}}
// CHECK: "spill_bytes": 0
// CHECK-NOT: "spill_bytes": {{[1-9]}}

!q = tensor<1x16x20000x128xbf16>
!k = tensor<1x2x20000x128xbf16>
!c = tensor<1x2x1249x128xbf16>
!blocks = tensor<1x2x157x32xi32>
!narrow = tensor<1x16x313x64xi32>
!tokens = tensor<1x2x20000x16xi32>
!own = tensor<1x16x20000x3xi32>
!bounds = tensor<1x2x20000xi32>
fresnel.program @lists(%q: !q, %k: !k, %v: !k, %c: !c, %blocks: !blocks, %narrow: !narrow, %tokens: !tokens, %own: !own, %bounds: !bounds) {
  %a, %la = fresnel.attend %q, %k, %v blocks(%blocks : !blocks) {query_block = 128, key_block = 128} : !q, !k, !k
  %b, %lb = fresnel.attend %q, %k, %v blocks(%narrow : !narrow) {causal = true, query_block = 64, key_block = 32} : !q, !k, !k
  %d, %ld = fresnel.attend %q, %k, %v blocks(%tokens : !tokens) {causal = true, key_block = 64} : !q, !k, !k
  %e, %le = fresnel.attend %q, %k, %v blocks(%own : !own) {causal = true, key_block = 512} : !q, !k, !k
  %f, %lf = fresnel.attend %q, %c, %c {causal = true, key_window = 32, key_stride = 16} : !q, !c, !c
  %g, %lg = fresnel.attend %q, %k, %v blocks(%tokens : !tokens) documents(%bounds : !bounds) {causal = true, key_block = 32} : !q, !k, !k
  %h, %lh = fresnel.attend %q, %k, %v blocks(%blocks : !blocks) {query_block = 128, key_block = 128, softcap = 20.0} : !q, !k, !k
  fresnel.return %a, %b, %d, %e, %f, %g, %h {names = ["a", "b", "d", "e", "f", "g", "h"]} : !q, !q, !q, !q, !q, !q, !q
}
