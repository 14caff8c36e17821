// RUN: fresnel-opt %s --split-input-file --fresnel-fuse-selections | FileCheck %s

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
