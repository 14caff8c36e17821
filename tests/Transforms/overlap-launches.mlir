// RUN: fresnel-opt %s --split-input-file --fresnel-outline-kernels --fresnel-assign-schedules --fresnel-overlap-launches --fresnel-assign-buffers | FileCheck %s
// RUN: fresnel-opt %s --split-input-file --fresnel-outline-kernels --fresnel-assign-schedules=dependent-launch=false --fresnel-overlap-launches --fresnel-assign-buffers | FileCheck %s --check-prefix=PLAIN

// PLAIN-NOT: fresnel.wait

// The second pooling reads nothing of the first, the fourth nothing of any. The result of the fourth may be written as
// soon as the first launch runs, so that its place is nobody's before; without overlap the first one's is free again.
// CHECK-LABEL: fresnel.program @pool_0
// CHECK-NOT: fresnel.wait
// CHECK: fresnel.program @pool_1({{.*}}fresnel.wait = "end"
// CHECK-NOT: fresnel.wait
// CHECK: fresnel.program @pool_3({{.*}}fresnel.wait = "end"
// CHECK-NOT: fresnel.wait
// CHECK: fresnel.launch @pool_0(%x) {offsets = array<i64: 0>}
// CHECK: fresnel.launch @pool_1(%y) {offsets = array<i64: 4096>}
// CHECK: fresnel.launch @add_2{{.*}} {offsets = array<i64: 8192>}
// CHECK: fresnel.launch @pool_3(%z) {offsets = array<i64: 12288>}
// CHECK: fresnel.launch @add_4{{.*}} {offsets = array<i64: -1>}
// PLAIN: fresnel.launch @pool_3(%z) {offsets = array<i64: 0>}
!wide = tensor<1x1x128x64xbf16>
!pooled = tensor<1x1x32x64xbf16>
fresnel.program @main(%x: !wide, %y: !wide, %z: !wide) {
  %a = fresnel.pool mean %x {window = 4} : !wide
  %b = fresnel.pool mean %y {window = 4} : !wide
  %c = fresnel.add %a, %b : !pooled, !pooled
  %d = fresnel.pool mean %z {window = 4} : !wide
  %e = fresnel.add %c, %d : !pooled, !pooled
  fresnel.return %e {names = ["e"]} : !pooled
}

// -----

// Two read the first: one that waits before it lets the next one start, and the next one, beside it. The third waits for
// both, and for the one before them through them.
// CHECK-LABEL: fresnel.program @pool_0
// CHECK-NOT: fresnel.wait
// CHECK: fresnel.program @pool_1({{.*}}fresnel.wait = "before_next"
// CHECK: fresnel.program @pool_2({{.*}}fresnel.wait = "end"
// CHECK-NOT: fresnel.wait
// CHECK: fresnel.program @main
// CHECK: fresnel.launch @pool_0(%x) {offsets = array<i64: 0>}
// CHECK: fresnel.launch @pool_1{{.*}} {offsets = array<i64: 4096>}
// CHECK: fresnel.launch @pool_2{{.*}} {offsets = array<i64: 6144>}
!wide = tensor<1x1x128x64xbf16>
!pooled = tensor<1x1x32x64xbf16>
!small = tensor<1x1x16x64xbf16>
fresnel.program @main(%x: !wide) {
  %a = fresnel.pool mean %x {window = 4} : !wide
  %b = fresnel.pool mean %a {window = 2} : !pooled
  %c = fresnel.pool max %a {window = 2} : !pooled
  %d = fresnel.add %b, %c : !small, !small
  fresnel.return %d {names = ["d"]} : !small
}

// -----

// In a chain every kernel waits at its start.
// CHECK-LABEL: fresnel.program @pool_0
// CHECK-NOT: fresnel.wait
// CHECK: fresnel.program @main
!wide = tensor<1x1x128x64xbf16>
!pooled = tensor<1x1x32x64xbf16>
!small = tensor<1x1x16x64xbf16>
fresnel.program @main(%x: !wide) {
  %a = fresnel.pool mean %x {window = 4} : !wide
  %b = fresnel.pool mean %a {window = 2} : !pooled
  %c = fresnel.add %b, %b : !small, !small
  fresnel.return %c {names = ["c"]} : !small
}

// -----

// A kernel of two launches has no place of its own among them.
// CHECK-LABEL: fresnel.program @twice
// CHECK-NOT: fresnel.wait
// CHECK: fresnel.program @main
!wide = tensor<1x1x128x64xbf16>
!pooled = tensor<1x1x32x64xbf16>
fresnel.program @twice(%in0: !wide) attributes {fresnel.kernel} {
  %0 = fresnel.pool mean %in0 {window = 4} : !wide
  fresnel.return %0 {names = ["out0"]} : !pooled
}
fresnel.program @main(%x: !wide, %y: !wide) {
  %a = fresnel.launch @twice(%x) : (!wide) -> !pooled
  %b = fresnel.launch @twice(%y) : (!wide) -> !pooled
  fresnel.return %a, %b {names = ["a", "b"]} : !pooled, !pooled
}
