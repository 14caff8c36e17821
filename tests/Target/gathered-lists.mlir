// Gradients over lists of single tokens whose rows are gathered: without spills, with a bulk copy for each token of a step
// and half of its head dim, and a loop without a mask.
// REQUIRES: ptxas
// RUN: %fresnel compile %s --grad --grad-of a -o %t.fkb --json | FileCheck %s
// RUN: sed 's/x128xbf16/x64xf16/g' %s > %t.mlir && %fresnel compile %t.mlir --grad --grad-of a,b -o %t.fkb --json | FileCheck %s
// RUN: sed 's/x128xbf16/x192xbf16/g' %s > %t.mlir && %fresnel compile %t.mlir --grad --grad-of a,c -o %t.fkb --json | FileCheck %s
// RUN: sed 's/x128xbf16/x256xbf16/g' %s > %t.mlir && %fresnel compile %t.mlir --grad --grad-of a -o %t.fkb --json | FileCheck %s
// Beside a soft cap rows are not gathered.
// RUN: sed 's/causal = true, key/causal = true, softcap = 20.0, key/' %s > %t.mlir && %fresnel compile %t.mlir --grad --grad-of a -o %t.fkb --json | FileCheck %s
// RUN: %fresnel compile %s --grad --grad-of a --emit ptx -o %t.ptx && FileCheck %s --check-prefix=PTX --input-file %t.ptx

// CHECK-NOT: "spill_bytes": {{[1-9]}}
// CHECK: "spill_bytes": 0
// CHECK-NOT: "spill_bytes": {{[1-9]}}

// PTX: .entry attend_grad_kv
// PTX: setmaxnreg.dec.sync.aligned.u32 {{.*}}40;
// PTX: setmaxnreg.inc.sync.aligned.u32 {{.*}}232;
// PTX: wgmma.mma_async.sync.aligned.m64n64k16
// PTX: wgmma.mma_async.sync.aligned.m64n128k16
// Queries, then gradients of the output, of each token.
// PTX-COUNT-16: cp.async.bulk.tensor.4d.shared::cluster.global.tile.mbarrier

!q = tensor<1x32x20000x128xbf16>
!k = tensor<1x2x20000x128xbf16>
!tokens = tensor<1x2x20000x16xi32>
!few = tensor<1x32x1250x8xi32>
!bounds = tensor<1x2x20000xi32>
fresnel.program @lists(%q: !q, %k: !k, %v: !k, %tokens: !tokens, %few: !few, %bounds: !bounds) {
  %a, %la = fresnel.attend %q, %k, %v blocks(%tokens : !tokens) {causal = true, key_block = 64} : !q, !k, !k
  %b, %lb = fresnel.attend %q, %k, %v blocks(%few : !few) {query_block = 16, key_block = 128} : !q, !k, !k
  %c, %lc = fresnel.attend %q, %k, %v blocks(%tokens : !tokens) documents(%bounds : !bounds) {causal = true, key_block = 64} : !q, !k, !k
  fresnel.return %a, %b, %c {names = ["a", "b", "c"]} : !q, !q, !q
}
