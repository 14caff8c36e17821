//===- FresnelPoolingOps.td - Pooling, pyramids, norms -----*- tablegen -*-===//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//

#ifndef FRESNEL_POOLING_OPS
#define FRESNEL_POOLING_OPS

include "fresnel/Dialect/FresnelDialect.td"

def Fresnel_PoolOp : Fresnel_ComputeOp<"pool", [Fresnel_Differentiable]> {
  let summary = "mean or maximum over windows of the sequence";
  let description = [{
    `y[m] = mean or max of x[j], m * stride <= j < min(m * stride + window, N)`.
    With `tail = keep` every token is covered: M = 1 if N <= window, else
    ceil((N - window) / stride) + 1, and the last window pools what exists. With
    `drop` only full windows count: M = floor((N - window) / stride) + 1.
    `stride = 0` stands for `stride = window`. With `documents`, the `tokens` of
    `fresnel.align_documents`, a window ends where the document of its first token does,
    if that is earlier; a window without tokens is 0.

    Constraints:
    - C1: `window` is positive and `stride` is in [0, window].
    - C2: with `tail = drop` the sequence holds at least one window.
    - C3: `documents` is [1, 2, N] and needs `mean`, `tail = keep` and `stride` 0 or `window`.

    Example: `%y = fresnel.pool mean %x {window = 64} : tensor<1x2x1000x32xbf16>`
  }];
  let arguments = (ins Fresnel_PoolKindAttr:$kind, Fresnel_RowsOrScores:$x, Optional<Fresnel_Indices3>:$documents,
                       I64Attr:$window, DefaultValuedOptionalAttr<I64Attr, "0">:$stride,
                       DefaultValuedOptionalAttr<Fresnel_TailAttr, "::fresnel::Tail::Keep">:$tail);
  let results = (outs Fresnel_RowsOrScores:$result);
  let assemblyFormat = "$kind $x (`documents` `(` $documents^ `:` type($documents) `)`)? attr-dict `:` type($x)";
  let hasFolder = 1;
  let extraClassDeclaration = [{
    int64_t getStrideOrWindow() { return getStride() ? getStride() : getWindow(); }
  }];
}

def Fresnel_PyramidOp : Fresnel_ComputeOp<"pyramid", [Fresnel_Differentiable]> {
  let summary = "all pooled levels of a sequence, concatenated";
  let description = [{
    Level l has n_l = ceil(N / factor^l) entries; entry i pools the base tokens
    `[i factor^l, min((i+1) factor^l, N))` (of the base, not of level l-1; means
    agree in exact arithmetic). The result holds level 0, which is x itself, then
    levels 1 .. `levels` - 1: P = sum of n_l.

    Constraints:
    - C1: `levels` is in [1, 16].
    - C2: `factor` is at least 2.
    - C3: factor^(levels-1) is at most 2^31 - 1.
    - C4: `documents`, if there are any, are at most 65535, none negative, and sum to N.

    Example: `%p = fresnel.pyramid mean %x {levels = 3, factor = 4} : tensor<1x2x1000x32xbf16>`
  }];
  let arguments = (ins Fresnel_PoolKindAttr:$kind, Fresnel_RowsOrScores:$x, I64Attr:$levels, I64Attr:$factor,
                       Fresnel_Documents:$documents);
  let results = (outs Fresnel_RowsOrScores:$result);
  let assemblyFormat = "$kind $x attr-dict `:` type($x)";
  let hasFolder = 1;
}

def Fresnel_NormOp : Fresnel_ComputeOp<"norm"> {
  let summary = "Euclidean norm of each row";
  let description = [{
    `s[b, h, n] = sqrt(sum_d x[b, h, n, d]^2)`: the sum is taken in f64, rounded
    to f32, then the square root is the IEEE one in f32. Every implementation
    therefore gives the same bits, and selections made from norms are identical.

    Example: `%s = fresnel.norm %q : tensor<1x2x1000x32xbf16>`
  }];
  let arguments = (ins Fresnel_Rows:$x);
  let results = (outs Fresnel_Scores3:$result);
  let assemblyFormat = "$x attr-dict `:` type($x)";
}

def Fresnel_UnpoolOp : Fresnel_ComputeOp<"unpool", [Fresnel_Differentiable]> {
  let summary = "repeats pooled rows over their tokens";
  let description = [{
    `y[j] = x[j div window]` for j < `seq_len`.

    Constraints:
    - C1: `window` and `seq_len` are positive.
    - C2: x has ceil(seq_len / window) rows.

    Example: `%y = fresnel.unpool %x {window = 64, seq_len = 1000} : tensor<1x2x16x32xbf16>`
  }];
  let arguments = (ins Fresnel_Rows:$x, I64Attr:$window, I64Attr:$seq_len);
  let results = (outs Fresnel_Rows:$result);
  let assemblyFormat = "$x attr-dict `:` type($x)";
}

#endif // FRESNEL_POOLING_OPS
