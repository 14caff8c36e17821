// RUN: fresnel-opt %s | fresnel-opt | FileCheck %s

!x = tensor<1x2x64x32xbf16>
!l = tensor<1x2x64xf32>

// CHECK-LABEL: fresnel.program @syntax
fresnel.program @syntax(%x: !x, %l: !l, %i: tensor<1x2x64xi32>, %g: tensor<1x2x64x2xbf16>,
                         %b: tensor<1x2x8x2xi32>, %documents: tensor<1x2x64xi32>) {
  // CHECK: fresnel.add %x, %x : tensor<1x2x64x32xbf16>, tensor<1x2x64x32xbf16>
  %a = fresnel.add %x, %x : !x, !x
  // CHECK: fresnel.attend_delta %x, %x lse(%l : tensor<1x2x64xf32>) : tensor<1x2x64x32xbf16>
  %d = fresnel.attend_delta %x, %x lse(%l : !l) : !x
  // CHECK: fresnel.attend_grad_q %x, %x, %x lse %l delta %{{.*}} dout %x
  %dq = fresnel.attend_grad_q %x, %x, %x lse %l delta %d dout %x : !x, !x, !x, !l, !l, !x
  // CHECK: fresnel.attend_grad_kv %x, %x, %x lse %l delta %{{.*}} dout %x
  %dk, %dv = fresnel.attend_grad_kv %x, %x, %x lse %l delta %d dout %x : !x, !x, !x, !l, !l, !x
  // CHECK: fresnel.attend_grad_kv %x, %x, %x lse %l delta %{{.*}} dout %x blocks(%b : tensor<1x2x8x2xi32>) {key_block = 8 : i64, transposed = true}
  %dk2, %dv2 = fresnel.attend_grad_kv %x, %x, %x lse %l delta %d dout %x blocks(%b : tensor<1x2x8x2xi32>) {key_block = 8, transposed = true}
      : !x, !x, !x, !l, !l, !x
  %n = fresnel.count_rows %b : tensor<1x2x8x2xi32>
  // CHECK: fresnel.attend_grad_kv %x, %x, %x lse %l delta %{{.*}} dout %x blocks(%b : tensor<1x2x8x2xi32>) counts(%{{.*}} : tensor<1x2x8xi32>) {key_block
  %dk4, %dv4 = fresnel.attend_grad_kv %x, %x, %x lse %l delta %d dout %x blocks(%b : tensor<1x2x8x2xi32>) counts(%n : tensor<1x2x8xi32>) {key_block = 8, transposed = true}
      : !x, !x, !x, !l, !l, !x
  // CHECK: fresnel.attend_grad_q %x, %x, %x lse %l delta %{{.*}} dout %x documents(%documents : tensor<1x2x64xi32>) {causal = true}
  %dq2 = fresnel.attend_grad_q %x, %x, %x lse %l delta %d dout %x documents(%documents : tensor<1x2x64xi32>) {causal = true}
      : !x, !x, !x, !l, !l, !x
  // CHECK: fresnel.attend_grad_kv %x, %x, %x lse %l delta %{{.*}} dout %x documents(%documents : tensor<1x2x64xi32>) :
  %dk3, %dv3 = fresnel.attend_grad_kv %x, %x, %x lse %l delta %d dout %x documents(%documents : tensor<1x2x64xi32>)
      : !x, !x, !x, !l, !l, !x
  // CHECK: fresnel.attend_grad_kv %x, %x, %x lse %l delta %{{.*}} dout %x blocks(%b : tensor<1x2x8x2xi32>) documents(%documents : tensor<1x2x64xi32>) {key_block
  %dk5, %dv5 = fresnel.attend_grad_kv %x, %x, %x lse %l delta %d dout %x blocks(%b : tensor<1x2x8x2xi32>) documents(%documents : tensor<1x2x64xi32>)
      {key_block = 8, transposed = true} : !x, !x, !x, !l, !l, !x
  // CHECK: fresnel.pool_grad mean %x
  %p = fresnel.pool_grad mean %x {window = 4, seq_len = 253} : !x
  // CHECK: fresnel.pyramid_grad mean %x
  %y = fresnel.pyramid_grad mean %x {levels = 2, factor = 7, seq_len = 56} : !x
  // CHECK: fresnel.unpool_grad %x
  %u = fresnel.unpool_grad %x {window = 4} : !x
  // CHECK: fresnel.gather_grad %x
  %w = fresnel.gather_grad %x, %i {heads = 1, rows = 9} : !x, tensor<1x2x64xi32>
  // CHECK: fresnel.scatter_grad %x
  %s = fresnel.scatter_grad %x, %i {levels = 2, factor = 4} : !x, tensor<1x2x64xi32>
  // CHECK: fresnel.gate_grad %x, %x by %g dout %x
  %b0, %b1, %dg = fresnel.gate_grad %x, %x by %g dout %x : !x, !x by tensor<1x2x64x2xbf16>, !x
  // CHECK: fresnel.merge_grad %x, %l merged %x, %l dout %x : tensor<1x2x64x32xbf16>, tensor<1x2x64xf32>
  %m, %ml = fresnel.merge_grad %x, %l merged %x, %l dout %x : !x, !l
  fresnel.return %a, %dq, %dk, %dv, %p, %y, %u, %w, %s, %b0, %b1, %dg, %m, %ml
      {names = ["a", "b", "c", "d", "e", "f", "g", "h", "i", "j", "k", "l", "m", "n"]}
      : !x, !x, !x, !x, tensor<1x2x253x32xbf16>, tensor<1x2x56x32xbf16>, tensor<1x2x16x32xbf16>,
        tensor<1x1x9x32xbf16>, !x, !x, !x, tensor<1x2x64x2xbf16>, !x, !l
}
