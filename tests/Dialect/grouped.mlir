// RUN: fresnel-opt %s | fresnel-opt | FileCheck %s

// CHECK-LABEL: fresnel.program @grouped
!x = tensor<1x4x1000x64xbf16>
!k = tensor<1x2x1000x64xbf16>
fresnel.program @grouped(%list: tensor<1x2x1000x3xi32>, %x: !x, %k: !k, %l: tensor<1x4x1000xf32>, %d: tensor<1x2x1000xi32>) {
  // CHECK: fresnel.split_blocks %{{.*}} {key_block = 64 : i64, keys = 1000 : i64} : tensor<1x2x1000x3xi32>
  %past, %own = fresnel.split_blocks %list {key_block = 64, keys = 1000} : tensor<1x2x1000x3xi32>
  // CHECK: fresnel.split_blocks %{{.*}} documents(%{{.*}} : tensor<1x2x1000xi32>) {key_block = 64 : i64, keys = 1000 : i64} : tensor<1x2x1000x3xi32>
  %within, %same = fresnel.split_blocks %list documents(%d : tensor<1x2x1000xi32>) {key_block = 64, keys = 1000} : tensor<1x2x1000x3xi32>
  // CHECK: %[[CUT:.*]], %[[STARTS:.*]] = fresnel.block_bounds %{{.*}} {key_block = 64 : i64} : tensor<1x2x1000xi32>
  %cut, %starts = fresnel.block_bounds %d {key_block = 64} : tensor<1x2x1000xi32>
  // CHECK: fresnel.attend %{{.*}}, %{{.*}}, %{{.*}} blocks(%{{.*}} : tensor<1x2x1000x3xi32>) starts(%[[STARTS]] : tensor<1x1x16x1xi32>)
  %o, %ol = fresnel.attend %x, %k, %k blocks(%within : tensor<1x2x1000x3xi32>) starts(%starts : tensor<1x1x16x1xi32>) {key_block = 64} : !x, !k, !k
  // CHECK: fresnel.attend_grad_q {{.*}} starts(%[[STARTS]] : tensor<1x1x16x1xi32>)
  %dq = fresnel.attend_grad_q %x, %k, %k lse %l delta %l dout %x blocks(%within : tensor<1x2x1000x3xi32>) starts(%starts : tensor<1x1x16x1xi32>) {key_block = 64}
      : !x, !k, !k, tensor<1x4x1000xf32>, tensor<1x4x1000xf32>, !x
  %bits = fresnel.transpose_blocks %past {blocks = 16} : tensor<1x2x1000x3xi32>
  %counts = fresnel.count_rows %bits : tensor<1x2x16x32xi32>
  // CHECK: fresnel.group_rows %{{.*}}, %{{.*}}, %{{.*}} {length = 5120 : i64} : tensor<1x2x1000x3xi32>, tensor<1x2x16x32xi32>, tensor<1x2x16xi32>
  %rows, %tiles, %slots = fresnel.group_rows %past, %bits, %counts {length = 5120}
      : tensor<1x2x1000x3xi32>, tensor<1x2x16x32xi32>, tensor<1x2x16xi32>
  // CHECK: fresnel.attend_grad_kv {{.*}} starts(%[[STARTS]] : tensor<1x1x16x1xi32>) counts(%{{.*}} : tensor<1x2x16xi32>)
  %dk, %dv = fresnel.attend_grad_kv %x, %k, %k lse %l delta %l dout %x blocks(%bits : tensor<1x2x16x32xi32>) starts(%starts : tensor<1x1x16x1xi32>)
      counts(%counts : tensor<1x2x16xi32>) {key_block = 64, transposed = true} : !x, !k, !k, tensor<1x4x1000xf32>, tensor<1x4x1000xf32>, !x
  %g = fresnel.gather %x, %rows : tensor<1x4x1000x64xbf16>, tensor<1x2x5120xi32>
  // CHECK: fresnel.gather_scores %{{.*}}, %{{.*}} : tensor<1x4x1000xf32>, tensor<1x2x5120xi32>
  %s = fresnel.gather_scores %l, %rows : tensor<1x4x1000xf32>, tensor<1x2x5120xi32>
  // CHECK: fresnel.merge_rows %{{.*}}, %{{.*}} at %{{.*}} into %{{.*}}, %{{.*}} : tensor<1x4x5120x64xbf16>
  %m, %n = fresnel.merge_rows %g, %s at %slots into %x, %l
      : tensor<1x4x5120x64xbf16>, tensor<1x4x5120xf32>, tensor<1x2x1000x3xi32>, tensor<1x4x1000x64xbf16>, tensor<1x4x1000xf32>
  // CHECK: fresnel.sum_rows %{{.*}} at %{{.*}} into %{{.*}} : tensor<1x4x5120x64xbf16>, tensor<1x2x1000x3xi32>, tensor<1x4x1000x64xbf16>
  %y = fresnel.sum_rows %g at %slots into %m : tensor<1x4x5120x64xbf16>, tensor<1x2x1000x3xi32>, tensor<1x4x1000x64xbf16>
  fresnel.return %y, %n, %own, %tiles, %cut, %o, %dq, %dk {names = ["y", "n", "own", "tiles", "cut", "o", "dq", "dk"]}
      : tensor<1x4x1000x64xbf16>, tensor<1x4x1000xf32>, tensor<1x2x1000x1xi32>, tensor<1x2x40x1xi32>, tensor<1x2x1000xi32>, !x, !x, !k
}
