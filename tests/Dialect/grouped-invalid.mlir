// RUN: fresnel-opt %s --split-input-file --verify-diagnostics

fresnel.program @split_blocks_c1(%i: tensor<1x2x64x3xi32>) {
  // expected-error @+1 {{'fresnel.split_blocks' op `key_block` must be positive and at most 2^40, but got 0}}
  %p, %d = fresnel.split_blocks %i {key_block = 0, keys = 64} : tensor<1x2x64x3xi32>
  fresnel.return %p {names = ["p"]} : tensor<1x2x64x3xi32>
}

// -----

fresnel.program @split_blocks_required(%i: tensor<1x2x64x3xi32>) {
  // expected-error @+1 {{'fresnel.split_blocks' op needs the attribute `keys`, a 64-bit integer}}
  %p, %d = fresnel.split_blocks %i {key_block = 16} : tensor<1x2x64x3xi32>
  fresnel.return %p {names = ["p"]} : tensor<1x2x64x3xi32>
}

// -----

fresnel.program @split_blocks_c2(%i: tensor<1x2x64x3xi32>, %d: tensor<1x2x64xi32>) {
  // expected-error @+1 {{'fresnel.split_blocks' op `documents` must be [1, 2, 64] for lists of as many queries as `keys`, but got 'tensor<1x2x64xi32>' and 80 keys}}
  %p, %o = fresnel.split_blocks %i documents(%d : tensor<1x2x64xi32>) {key_block = 16, keys = 80} : tensor<1x2x64x3xi32>
  fresnel.return %p {names = ["p"]} : tensor<1x2x64x3xi32>
}

// -----

fresnel.program @split_blocks_c2_shape(%i: tensor<1x2x64x3xi32>, %d: tensor<1x2x65xi32>) {
  // expected-error @+1 {{'fresnel.split_blocks' op `documents` must be [1, 2, 64] for lists of as many queries as `keys`, but got 'tensor<1x2x65xi32>' and 64 keys}}
  %p, %o = fresnel.split_blocks %i documents(%d : tensor<1x2x65xi32>) {key_block = 16, keys = 64} : tensor<1x2x64x3xi32>
  fresnel.return %p {names = ["p"]} : tensor<1x2x64x3xi32>
}

// -----

fresnel.program @block_bounds_c1(%d: tensor<1x2x64xi32>) {
  // expected-error @+1 {{'fresnel.block_bounds' op takes bounds [1, 2, N] and a positive `key_block`, but got 'tensor<1x2x64xi32>' and 0}}
  %o, %s = fresnel.block_bounds %d {key_block = 0} : tensor<1x2x64xi32>
  fresnel.return %o {names = ["o"]} : tensor<1x2x64xi32>
}

// -----

fresnel.program @block_bounds_c1_shape(%d: tensor<2x2x64xi32>) {
  // expected-error @+1 {{'fresnel.block_bounds' op takes bounds [1, 2, N] and a positive `key_block`, but got 'tensor<2x2x64xi32>' and 16}}
  %o, %s = fresnel.block_bounds %d {key_block = 16} : tensor<2x2x64xi32>
  fresnel.return %o {names = ["o"]} : tensor<2x2x64xi32>
}

// -----

!x = tensor<1x2x64x16xbf16>
!i = tensor<1x2x64x3xi32>
fresnel.program @attend_c9(%x: !x, %i: !i, %s: tensor<1x1x5x1xi32>) {
  // expected-error @+1 {{'fresnel.attend' op `starts` must be [1, 1, 4, 1], but got 'tensor<1x1x5x1xi32>'}}
  %o, %l = fresnel.attend %x, %x, %x blocks(%i : !i) starts(%s : tensor<1x1x5x1xi32>) {key_block = 16} : !x, !x, !x
  fresnel.return %o {names = ["o"]} : !x
}

// -----

!x = tensor<1x2x64x16xbf16>
fresnel.program @attend_c9_alone(%x: !x, %s: tensor<1x1x4x1xi32>) {
  // expected-error @+1 {{`starts` needs `blocks` in front of it}}
  %o, %l = fresnel.attend %x, %x, %x starts(%s : tensor<1x1x4x1xi32>) {key_block = 16} : !x, !x, !x
  fresnel.return %o {names = ["o"]} : !x
}

// -----

!x = tensor<1x2x64x16xbf16>
!i = tensor<1x2x64x3xi32>
fresnel.program @attend_c8(%x: !x, %i: !i, %d: tensor<1x2x64xi32>, %s: tensor<1x1x4x1xi32>) {
  // expected-error @+1 {{'fresnel.attend' op takes one list of `blocks` and behind it one of `documents` or `starts`, but got 3 masks}}
  %o, %l = fresnel.attend %x, %x, %x blocks(%i : !i) documents(%d : tensor<1x2x64xi32>) starts(%s : tensor<1x1x4x1xi32>) {key_block = 16} : !x, !x, !x
  fresnel.return %o {names = ["o"]} : !x
}

// -----

!x = tensor<1x2x64x16xbf16>
!l = tensor<1x2x64xf32>
!t = tensor<1x2x4x2xi32>
fresnel.program @attend_grad_kv_c1_starts(%x: !x, %l: !l, %t: !t, %s: tensor<1x1x3x1xi32>) {
  // expected-error @+1 {{'fresnel.attend_grad_kv' op `starts` must be [1, 1, 4, 1], but got 'tensor<1x1x3x1xi32>'}}
  %k, %v = fresnel.attend_grad_kv %x, %x, %x lse %l delta %l dout %x blocks(%t : !t) starts(%s : tensor<1x1x3x1xi32>) {key_block = 16, transposed = true}
      : !x, !x, !x, !l, !l, !x
  fresnel.return %k {names = ["k"]} : !x
}

// -----

!x = tensor<1x2x64x16xbf16>
!l = tensor<1x2x64xf32>
!t = tensor<1x2x4x2xi32>
!s = tensor<1x1x4x1xi32>
fresnel.program @attend_grad_kv_c1_both(%x: !x, %l: !l, %t: !t, %d: tensor<1x2x64xi32>, %s: !s) {
  // expected-error @+1 {{'fresnel.attend_grad_kv' op takes either `documents` or `starts`, but got both}}
  %k, %v = fresnel.attend_grad_kv %x, %x, %x lse %l delta %l dout %x blocks(%t : !t) documents(%d : tensor<1x2x64xi32>) starts(%s : !s) {key_block = 16, transposed = true}
      : !x, !x, !x, !l, !l, !x
  fresnel.return %k {names = ["k"]} : !x
}

// -----

fresnel.program @group_rows_c1(%i: tensor<1x2x64x3xi32>, %b: tensor<1x2x4x1xi32>, %c: tensor<1x2x4xi32>) {
  // expected-error @+1 {{'fresnel.group_rows' op `bits` must have 2 words for each block of 'tensor<1x2x64x3xi32>' and `counts` one number, but got 'tensor<1x2x4x1xi32>' and 'tensor<1x2x4xi32>'}}
  %r, %t, %s = fresnel.group_rows %i, %b, %c {length = 128} : tensor<1x2x64x3xi32>, tensor<1x2x4x1xi32>, tensor<1x2x4xi32>
  fresnel.return %r {names = ["r"]} : tensor<1x2x128xi32>
}

// -----

fresnel.program @group_rows_c2(%i: tensor<1x2x64x3xi32>, %b: tensor<1x2x4x2xi32>, %c: tensor<1x2x4xi32>) {
  // expected-error @+1 {{'fresnel.group_rows' op `length` must be a positive multiple of 128 and at most 2^40, but got 100}}
  %r, %t, %s = fresnel.group_rows %i, %b, %c {length = 100} : tensor<1x2x64x3xi32>, tensor<1x2x4x2xi32>, tensor<1x2x4xi32>
  fresnel.return %r {names = ["r"]} : tensor<1x2x100xi32>
}

// -----

fresnel.program @gather_scores_c1(%x: tensor<1x3x64xf32>, %r: tensor<1x2x128xi32>) {
  // expected-error @+1 {{'fresnel.gather_scores' op the heads of x must be a multiple of those of `rows` and batches agree, but got 'tensor<1x3x64xf32>' and 'tensor<1x2x128xi32>'}}
  %y = fresnel.gather_scores %x, %r : tensor<1x3x64xf32>, tensor<1x2x128xi32>
  fresnel.return %y {names = ["y"]} : tensor<1x3x128xf32>
}

// -----

!x = tensor<1x2x64x16xbf16>
!l = tensor<1x2x64xf32>
!s = tensor<1x2x64x3xi32>
fresnel.program @merge_rows_c1(%p: tensor<1x2x128x32xbf16>, %q: tensor<1x2x128xf32>, %s: !s, %x: !x, %l: !l) {
  // expected-error @+1 {{'fresnel.merge_rows' op `part` must agree with the rows that it joins except in length, but got 'tensor<1x2x128x32xbf16>' and 'tensor<1x2x64x16xbf16>'}}
  %o, %m = fresnel.merge_rows %p, %q at %s into %x, %l : tensor<1x2x128x32xbf16>, tensor<1x2x128xf32>, !s, !x, !l
  fresnel.return %o {names = ["o"]} : !x
}

// -----

!x = tensor<1x2x64x16xbf16>
!l = tensor<1x2x64xf32>
!s = tensor<1x2x64x3xi32>
fresnel.program @merge_rows_c1_lse(%p: tensor<1x2x128x16xbf16>, %q: tensor<1x2x64xf32>, %s: !s, %x: !x, %l: !l) {
  // expected-error @+1 {{'fresnel.merge_rows' op the LSEs must have the shapes of 'tensor<1x2x128x16xbf16>' and 'tensor<1x2x64x16xbf16>' without the head dim, but got 'tensor<1x2x64xf32>' and 'tensor<1x2x64xf32>'}}
  %o, %m = fresnel.merge_rows %p, %q at %s into %x, %l : tensor<1x2x128x16xbf16>, tensor<1x2x64xf32>, !s, !x, !l
  fresnel.return %o {names = ["o"]} : !x
}

// -----

!x = tensor<1x2x64x16xbf16>
!l = tensor<1x2x64xf32>
!s = tensor<1x2x32x3xi32>
fresnel.program @merge_rows_c2(%p: tensor<1x2x128x16xbf16>, %q: tensor<1x2x128xf32>, %s: !s, %x: !x, %l: !l) {
  // expected-error @+1 {{'fresnel.merge_rows' op `slots` must have the batch and length of 'tensor<1x2x64x16xbf16>' and a divisor of its heads, but got 'tensor<1x2x32x3xi32>'}}
  %o, %m = fresnel.merge_rows %p, %q at %s into %x, %l : tensor<1x2x128x16xbf16>, tensor<1x2x128xf32>, !s, !x, !l
  fresnel.return %o {names = ["o"]} : !x
}

// -----

!x = tensor<1x2x64x16xbf16>
!s = tensor<1x2x64x3xi32>
fresnel.program @sum_rows_c1(%p: tensor<1x2x128x16xf16>, %s: !s, %x: !x) {
  // expected-error @+1 {{'fresnel.sum_rows' op `part` must agree with the rows that it joins except in length, but got 'tensor<1x2x128x16xf16>' and 'tensor<1x2x64x16xbf16>'}}
  %y = fresnel.sum_rows %p at %s into %x : tensor<1x2x128x16xf16>, !s, !x
  fresnel.return %y {names = ["y"]} : !x
}

// -----

!x = tensor<1x2x64x16xbf16>
!s = tensor<1x3x64x3xi32>
fresnel.program @sum_rows_c2(%p: tensor<1x2x128x16xbf16>, %s: !s, %x: !x) {
  // expected-error @+1 {{'fresnel.sum_rows' op `slots` must have the batch and length of 'tensor<1x2x64x16xbf16>' and a divisor of its heads, but got 'tensor<1x3x64x3xi32>'}}
  %y = fresnel.sum_rows %p at %s into %x : tensor<1x2x128x16xbf16>, !s, !x
  fresnel.return %y {names = ["y"]} : !x
}
