// RUN: fresnel-opt %s --split-input-file --verify-diagnostics --fresnel-split-gradient
// RUN: not fresnel-opt %s --split-input-file "--fresnel-split-gradient=recompute=gathers" 2>&1 | FileCheck %s

// CHECK: has no operation `gathers` to recompute; there are pool

!x = tensor<1x2x8x32xbf16>
!y = tensor<1x2x4x32xbf16>

// expected-error @+1 {{`fresnel.forward_inputs` must be a number from 0 to 1, the inputs that there are}}
fresnel.program @many_inputs(%x: !x) attributes {fresnel.forward_inputs = 2 : i64, fresnel.forward_outputs = 1 : i64} {
  %y = fresnel.pool mean %x {window = 2} : !x
  fresnel.return %y {names = ["y"]} : !y
}

// -----

!x = tensor<1x2x8x32xbf16>
!y = tensor<1x2x4x32xbf16>

// expected-error @+1 {{`fresnel.forward_outputs` must be a number from 0 to 1, the outputs that there are}}
fresnel.program @no_outputs(%x: !x) attributes {fresnel.forward_inputs = 1 : i64} {
  %y = fresnel.pool mean %x {window = 2} : !x
  fresnel.return %y {names = ["y"]} : !y
}

// -----

!x = tensor<1x2x8x32xbf16>
!y = tensor<1x2x4x32xbf16>

fresnel.program @mixed(%x: !x, %dy: !y) attributes {fresnel.forward_inputs = 1 : i64, fresnel.forward_outputs = 2 : i64} {
  %y = fresnel.pool mean %x {window = 2} : !x
  %z = fresnel.add %y, %dy : !y, !y
  // expected-error @+1 {{output `z` depends on the gradient of an output and cannot be of the forward half}}
  fresnel.return %y, %z {names = ["y", "z"]} : !y, !y
}

// -----

!x = tensor<1x2x8x32xbf16>
!y = tensor<1x2x4x32xbf16>

// expected-error @+1 {{takes the name `taken_backward` of the backward half; rename it}}
fresnel.program @taken_backward(%in0: !x) attributes {fresnel.kernel} {
  %0 = fresnel.pool mean %in0 {window = 2} : !x
  fresnel.return %0 {names = ["out0"]} : !y
}
fresnel.program @taken(%x: !x) attributes {fresnel.forward_inputs = 1 : i64, fresnel.forward_outputs = 1 : i64} {
  %y = fresnel.pool mean %x {window = 2} : !x
  fresnel.return %y {names = ["y"]} : !y
}
