// RUN: fresnel-opt %s --split-input-file --fresnel-fuse-selections | FileCheck %s
// RUN: fresnel-opt %s --split-input-file --fresnel-fuse-selections=regroup=false | FileCheck %s --check-prefix=APART
// APART-NOT: fresnel.regroup_scored
// RUN: fresnel-opt %s --split-input-file --fresnel-fuse-selections=target=sm_80 | FileCheck %s --check-prefix=SM80

!q = tensor<1x4x16384x64xbf16>
!k = tensor<1x2x32x64xbf16>
!s = tensor<1x4x16384x32xf32>

// CHECK-LABEL: fresnel.program @fused
// CHECK-NEXT: fresnel.select_scored %q, %k {causal = true, key_block = 512 : i64, key_stride = 512 : i64, key_window = 512 : i64, local = 1 : i64, scale = 1.000000e+00 : f64, topk = 3 : i64}
fresnel.program @fused(%q: !q, %k: !k) {
  %s = fresnel.block_score %q, %k {scale = 1.0, causal = true, key_window = 512, key_stride = 512} : !q, !k
  %i = fresnel.select_blocks %s {topk = 3, local = 1, causal = true, key_block = 512} : !s
  fresnel.return %i {names = ["i"]} : tensor<1x4x16384x3xi32>
}

// -----

!q = tensor<1x4x16384x64xbf16>
!k = tensor<1x2x32x64xbf16>
!s = tensor<1x4x16384x32xf32>

// The documents go with the selection.
// CHECK-LABEL: fresnel.program @within
// CHECK-NEXT: fresnel.select_scored %q, %k documents(%d : tensor<1x2x16384xi32>) {causal = true, key_block = 512 : i64,
fresnel.program @within(%q: !q, %k: !k, %d: tensor<1x2x16384xi32>) {
  %s = fresnel.block_score %q, %k {scale = 1.0, causal = true, key_window = 512, key_stride = 512} : !q, !k
  %i = fresnel.select_blocks %s documents(%d : tensor<1x2x16384xi32>) {topk = 3, local = 1, causal = true, key_block = 512} : !s
  fresnel.return %i {names = ["i"]} : tensor<1x4x16384x3xi32>
}

// -----

!q = tensor<1x4x16384x64xbf16>
!k = tensor<1x2x32x64xbf16>
!s = tensor<1x4x16384x32xf32>

// Scores that leave the program are stored in any case.
// CHECK-LABEL: fresnel.program @scores_read_twice
// CHECK: fresnel.block_score
// CHECK: fresnel.select_blocks
fresnel.program @scores_read_twice(%q: !q, %k: !k) {
  %s = fresnel.block_score %q, %k : !q, !k
  %i = fresnel.select_blocks %s {topk = 3, key_block = 512} : !s
  fresnel.return %i, %s {names = ["i", "s"]} : tensor<1x4x16384x3xi32>, !s
}

// -----

// The masks differ.
// CHECK-LABEL: fresnel.program @masks
// CHECK: fresnel.select_blocks
fresnel.program @masks(%q: tensor<1x4x16384x64xbf16>, %k: tensor<1x2x32x64xbf16>) {
  %s = fresnel.block_score %q, %k {causal = true} : tensor<1x4x16384x64xbf16>, tensor<1x2x32x64xbf16>
  %i = fresnel.select_blocks %s {topk = 3, key_block = 512} : tensor<1x4x16384x32xf32>
  fresnel.return %i {names = ["i"]} : tensor<1x4x16384x3xi32>
}

// -----

// Lists of 17 do not stay in registers.
// CHECK-LABEL: fresnel.program @long_lists
// CHECK: fresnel.select_blocks
fresnel.program @long_lists(%q: tensor<1x4x16384x64xbf16>, %k: tensor<1x2x32x64xbf16>) {
  %s = fresnel.block_score %q, %k : tensor<1x4x16384x64xbf16>, tensor<1x2x32x64xbf16>
  %i = fresnel.select_blocks %s {topk = 17, key_block = 512} : tensor<1x4x16384x32xf32>
  fresnel.return %i {names = ["i"]} : tensor<1x4x16384x17xi32>
}

// -----

// A few rows are spread over more threads by two kernels.
// CHECK-LABEL: fresnel.program @few_rows
// CHECK: fresnel.select_blocks
fresnel.program @few_rows(%q: tensor<1x4x16383x64xbf16>, %k: tensor<1x2x32x64xbf16>) {
  %s = fresnel.block_score %q, %k : tensor<1x4x16383x64xbf16>, tensor<1x2x32x64xbf16>
  %i = fresnel.select_blocks %s {topk = 3, key_block = 512} : tensor<1x4x16383x32xf32>
  fresnel.return %i {names = ["i"]} : tensor<1x4x16383x3xi32>
}

// -----

// No matrix unit for f32.
// CHECK-LABEL: fresnel.program @f32
// CHECK: fresnel.select_blocks
fresnel.program @f32(%q: tensor<1x4x16384x64xf32>, %k: tensor<1x2x32x64xf32>) {
  %s = fresnel.block_score %q, %k : tensor<1x4x16384x64xf32>, tensor<1x2x32x64xf32>
  %i = fresnel.select_blocks %s {topk = 3, key_block = 512} : tensor<1x4x16384x32xf32>
  fresnel.return %i {names = ["i"]} : tensor<1x4x16384x3xi32>
}

// -----

!q = tensor<1x4x1000x64xbf16>
!k = tensor<1x2x61x64xbf16>
!l = tensor<1x4x1000xf32>
!s = tensor<1x2x1000x61xf32>
!y = tensor<1x2x1000x16xf32>

// Scores of windows that only those of blocks read, where the target has a kernel for it.
// CHECK-LABEL: fresnel.program @windows
// CHECK-NEXT: fresnel.regroup_scored %q, %k lse %l {block = 64 : i64, causal = true, seq_len = 1000 : i64, stride = 16 : i64, window = 32 : i64}
// SM80-LABEL: fresnel.program @windows
// SM80: fresnel.block_score
// SM80: fresnel.regroup
fresnel.program @windows(%q: !q, %k: !k, %l: !l) {
  %s = fresnel.block_score %q, %k lse(%l : !l) {causal = true, key_window = 32, key_stride = 16, normalize = #fresnel<normalize softmax>, group_sum = true} : !q, !k
  %y = fresnel.regroup %s {window = 32, stride = 16, block = 64, seq_len = 1000} : !s
  fresnel.return %y {names = ["y"]} : !y
}

// -----

!q = tensor<1x4x1000x64xbf16>
!k = tensor<1x2x61x64xbf16>
!l = tensor<1x4x1000xf32>
!s = tensor<1x2x1000x61xf32>

// Sums that are not known, and windows that are not those of the scores.
// CHECK-LABEL: fresnel.program @no_windows
// CHECK-NOT: fresnel.regroup_scored
fresnel.program @no_windows(%q: !q, %k: !k, %l: !l) {
  %s = fresnel.block_score %q, %k {key_window = 32, key_stride = 16, normalize = #fresnel<normalize softmax>, group_sum = true} : !q, !k
  %y = fresnel.regroup %s {window = 32, stride = 16, block = 64, seq_len = 1000} : !s
  %t = fresnel.block_score %q, %k lse(%l : !l) {key_window = 32, key_stride = 16, normalize = #fresnel<normalize softmax>, group_sum = true} : !q, !k
  %z = fresnel.regroup %t {window = 16, stride = 16, block = 64, seq_len = 1000} : !s
  fresnel.return %y, %z {names = ["y", "z"]} : tensor<1x2x1000x16xf32>, tensor<1x2x1000x16xf32>
}

// -----

!q = tensor<1x32x1024x128xbf16>
!k = tensor<1x2x63x128xbf16>
!l = tensor<1x32x1024xf32>
!d = tensor<1x2x1024xi32>

// Documents go along.
// CHECK-LABEL: fresnel.program @documents
// CHECK-NEXT: fresnel.regroup_scored %q, %k lse %l documents(%d : tensor<1x2x1024xi32>) {block = 64 : i64, causal = true,
// SM80-LABEL: fresnel.program @documents
// SM80: fresnel.block_score
fresnel.program @documents(%q: !q, %k: !k, %l: !l, %d: !d) {
  %s = fresnel.block_score %q, %k lse(%l : !l) documents(%d : !d)
      {causal = true, key_window = 32, key_stride = 16, normalize = #fresnel<normalize softmax>, group_sum = true} : !q, !k
  %y = fresnel.regroup %s {window = 32, stride = 16, block = 64, seq_len = 1024} : tensor<1x2x1024x63xf32>
  fresnel.return %y {names = ["y"]} : tensor<1x2x1024x16xf32>
}
