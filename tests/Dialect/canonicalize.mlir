// RUN: fresnel-opt %s --canonicalize | FileCheck %s

// A window of one token, a pyramid of one level, a merge of one part and folds by one are their operands.
// CHECK-LABEL: fresnel.program @trivial
// CHECK-NEXT: %[[OUT:.*]], %[[LSE:.*]] = fresnel.attend %q, %k, %k
// CHECK-NEXT: fresnel.return %[[OUT]], %[[LSE]]
fresnel.program @trivial(%q: tensor<1x2x64x32xbf16>, %k: tensor<1x2x64x32xbf16>) {
  %a = fresnel.pool mean %q {window = 1} : tensor<1x2x64x32xbf16>
  %b = fresnel.pyramid mean %a {levels = 1, factor = 2} : tensor<1x2x64x32xbf16>
  %c = fresnel.fold %b {factor = 1} : tensor<1x2x64x32xbf16>
  %d = fresnel.unfold %c {factor = 1, seq_len = 64} : tensor<1x2x64x32xbf16>
  %out, %lse = fresnel.attend %d, %k, %k : tensor<1x2x64x32xbf16>, tensor<1x2x64x32xbf16>, tensor<1x2x64x32xbf16>
  %m, %l = fresnel.merge %out lse %lse : tensor<1x2x64x32xbf16> lse tensor<1x2x64xf32>
  fresnel.return %m, %l {names = ["out", "lse"]} : tensor<1x2x64x32xbf16>, tensor<1x2x64xf32>
}

// Repeated heads are no copy of their operand.
// CHECK-LABEL: fresnel.program @repeated
// CHECK-NEXT: fresnel.fold
// CHECK-NEXT: fresnel.unfold
fresnel.program @repeated(%q: tensor<1x2x64x32xbf16>) {
  %c = fresnel.fold %q {factor = 1, repeat = 2} : tensor<1x2x64x32xbf16>
  %d = fresnel.unfold %c {factor = 1, seq_len = 64, repeat = 2} : tensor<1x4x64x32xbf16>
  fresnel.return %d {names = ["out"]} : tensor<1x2x64x32xbf16>
}
