//===- FresnelFusedOps.td - What the fusion passes write ---*- tablegen -*-===//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//

#ifndef FRESNEL_FUSED_OPS
#define FRESNEL_FUSED_OPS

include "fresnel/Dialect/FresnelAttentionOps.td"

// Programs are written with the plain operations; fusion, after differentiation,
// puts these in their place where that saves memory traffic. They carry no
// gradient. A slot map is the inverse of a selection without repetitions:
// `slots[b, h, i]` is the slot s with `indices[b, h, s] = i`, or -1. Where rows have
// a multiple of its heads, neighbouring heads of rows share one.

def Fresnel_PoolLevelsOp : Fresnel_ComputeOp<"pool_levels"> {
  let summary = "the pooled levels of a pyramid, and its norms, in one pass";
  let description = [{
    `rows` is `fresnel.pyramid mean` of x without level 0: levels 1 .. `levels` - 1.
    With `norms` there is a second result, all levels of `fresnel.pyramid max` of
    `fresnel.norm` of x.

    Constraints:
    - C1: `levels` is in [2, 16], `factor` at least 2, factor^(levels-1) at most 2^31 - 1.
    - C2: `documents`, if there are any, are at most 65535, none negative, and sum to N.

    Example: `%r, %n = fresnel.pool_levels %x {levels = 3, factor = 4, norms = true} : tensor<1x2x1000x32xbf16>`
  }];
  let arguments = (ins Fresnel_Rows:$x, I64Attr:$levels, I64Attr:$factor,
                       DefaultValuedOptionalAttr<BoolAttr, "false">:$norms, Fresnel_Documents:$documents);
  let results = (outs Fresnel_Rows:$rows, Optional<Fresnel_Scores3>:$scores);
  let assemblyFormat = "$x attr-dict `:` type($x)";
}

def Fresnel_GatherLevelsOp : Fresnel_ComputeOp<"gather_levels", [SameVariadicOperandSize]> {
  let summary = "rows of several pyramids at the same indices";
  let description = [{
    Result i is `fresnel.gather` of the pyramid whose level 0 is `bases[i]`, N rows,
    and whose other levels are `tails[i]`:
    `y[b, h, s] = bases[i][b, h / (H / Hx), j]` with j = `indices[b, h / (H / Hi), s]` < N,
    else row j - N of `tails[i]`; index -1 gives zeros.

    Constraints:
    - C1: there is at least one base, and one tail for each; the bases agree in length, head dim and element
      type, and so do the tails.
    - C2: a tail agrees with its base except in length.
    - C3: the batches agree, and of the heads of `indices` and of each base one is a multiple of the other.
    - C4: the results, whose heads are the larger number, agree in heads.

    Example:
    ```mlir
    %y = fresnel.gather_levels %x tails %t at %i
        : tensor<1x2x1000x32xbf16> tails tensor<1x2x313x32xbf16> at tensor<1x4x500xi32>
    ```
  }];
  let arguments = (ins Variadic<Fresnel_Rows>:$bases, Variadic<Fresnel_Rows>:$tails, Fresnel_Indices3:$indices);
  let results = (outs Variadic<Fresnel_Rows>:$rows);
  let assemblyFormat = [{
    $bases `tails` $tails `at` $indices attr-dict `:` type($bases) `tails` type($tails) `at` type($indices)
  }];
}

def Fresnel_ScatterBySlotsOp : Fresnel_ComputeOp<"scatter_by_slots"> {
  let summary = "`fresnel.scatter` through a slot map";
  let description = [{
    With F_l = factor^l and the pyramid of (`seq_len`, `levels`, `factor`),
    `y[j]` sums, over the levels l with j >= F_l - 1, the coarsest first, the row of x
    in slot `slots[b, h / (H / Hs), (l, (j - F_l + 1) div F_l)]`, where that is not -1.

    Constraints:
    - C1: x and `slots` agree in batch, and the heads of x are a multiple of those of `slots`.
    - C2: `levels` is in [1, 16], `factor` at least 2, factor^(levels-1) at most 2^31 - 1, `seq_len` positive.
    - C3: `slots` has one entry per row of the pyramid.
    - C4: `documents`, if there are any, are at most 65535, none negative, and sum to `seq_len`.

    Example:
    ```mlir
    %y = fresnel.scatter_by_slots %x, %s {seq_len = 1000, levels = 3, factor = 4}
        : tensor<1x2x500x32xbf16>, tensor<1x2x1313xi32>
    ```
  }];
  let arguments = (ins Fresnel_Rows:$x, Fresnel_Indices3:$slots, I64Attr:$seq_len, I64Attr:$levels, I64Attr:$factor,
                       Fresnel_Documents:$documents);
  let results = (outs Fresnel_Rows:$result);
  let assemblyFormat = "$x `,` $slots attr-dict `:` type($x) `,` type($slots)";
}

def Fresnel_GatherGradBySlotsOp : Fresnel_ComputeOp<"gather_grad_by_slots"> {
  let summary = "gradient of a gather from a mean pyramid, through a slot map";
  let description = [{
    `fresnel.pyramid_grad mean` of `fresnel.gather_grad` without the pyramid between
    them: `dx[b, hx, j]` sums, over the heads h of dy with h / (H / heads) = hx and
    the levels l, the coarsest first, `dy[b, h, slots[b, h / (H / Hs), (l, j div F_l)]] / c`,
    where the slot is not -1; F_l = factor^l and c is the number of tokens in the window.
    With `levels = 1` it is `fresnel.gather_grad` alone.

    Constraints:
    - C1: dy and `slots` agree in batch, and the heads of dy are a multiple of those of `slots`.
    - C2: `levels` is in [1, 16], `factor` at least 2, factor^(levels-1) at most 2^31 - 1, `seq_len` positive.
    - C3: `slots` has one entry per row of the pyramid.
    - C4: `heads` is positive and divides the heads of dy.
    - C5: `documents`, if there are any, are at most 65535, none negative, and sum to `seq_len`.

    Example:
    ```mlir
    %dx = fresnel.gather_grad_by_slots %dy, %s {heads = 2, seq_len = 1000, levels = 3, factor = 4}
        : tensor<1x4x500x32xbf16>, tensor<1x4x1313xi32>
    ```
  }];
  let arguments = (ins Fresnel_Rows:$dy, Fresnel_Indices3:$slots, I64Attr:$heads, I64Attr:$seq_len, I64Attr:$levels,
                       I64Attr:$factor, Fresnel_Documents:$documents);
  let results = (outs Fresnel_Rows:$dx);
  let assemblyFormat = "$dy `,` $slots attr-dict `:` type($dy) `,` type($slots)";
}

def Fresnel_ScatterGradBySlotsOp : Fresnel_ComputeOp<"scatter_grad_by_slots"> {
  let summary = "`fresnel.scatter_grad` beside the inverse of its indices";
  let description = [{
    The result of `fresnel.scatter_grad` of dy and `indices`, whose inverse is `slots`:
    each token is read once, and what the windows of all levels sum of it goes to the
    slots of their entries.

    Constraints:
    - C1: dy and `slots` agree in batch, and the heads of dy are a multiple of those of `slots`.
    - C2: `levels` is in [1, 16], `factor` at least 2, factor^(levels-1) at most 2^31 - 1.
    - C3: `slots` has one entry per row of the pyramid.
    - C4: `indices` and `slots` agree in batch and heads.
    - C5: `documents`, if there are any, are at most 65535, none negative, and sum to N.

    Example:
    ```mlir
    %dx = fresnel.scatter_grad_by_slots %dy, %i, %s {levels = 3, factor = 4}
        : tensor<1x2x1000x32xbf16>, tensor<1x2x500xi32>, tensor<1x2x1313xi32>
    ```
  }];
  let arguments = (ins Fresnel_Rows:$dy, Fresnel_Indices3:$indices, Fresnel_Indices3:$slots, I64Attr:$levels,
                       I64Attr:$factor, Fresnel_Documents:$documents);
  let results = (outs Fresnel_Rows:$dx);
  let assemblyFormat = "$dy `,` $indices `,` $slots attr-dict `:` type($dy) `,` type($indices) `,` type($slots)";
}

def Fresnel_SelectScoredOp : Fresnel_ComputeOp<"select_scored"> {
  let summary = "the best key blocks of each query row, whose scores are never stored";
  let description = [{
    `fresnel.select_blocks` of `fresnel.block_score` of q and k, without a softmax and
    per query head. `query_stride` is the former's `query_block`, too; `causal` holds
    for both. `documents` are the former's.

    Constraints:
    - C1: q and k agree in batch, head dim and element type.
    - C2: the query heads are a multiple of the key heads.
    - C3: `topk`, `key_block`, `key_window`, `key_stride` and `query_stride` are positive.
    - C4: `local` and `sinks` are not negative and together at most `topk`.
    - C5: `documents` is [1, 2, N] of N tokens, with a row of q for each `query_stride` and a row of k for each
      `key_block` of them.

    Example:
    ```mlir
    %i = fresnel.select_scored %q, %k {topk = 4, local = 1, causal = true, key_window = 64, key_stride = 64, key_block = 64}
        : tensor<1x4x1000x32xbf16>, tensor<1x2x16x32xbf16>
    ```
  }];
  let arguments = (ins Fresnel_Rows:$q, Fresnel_Rows:$k, Optional<Fresnel_Indices3>:$documents,
                       OptionalAttr<F64Attr>:$scale, DefaultValuedOptionalAttr<BoolAttr, "false">:$causal,
                       DefaultValuedOptionalAttr<I64Attr, "1">:$key_window, DefaultValuedOptionalAttr<I64Attr, "1">:$key_stride,
                       DefaultValuedOptionalAttr<I64Attr, "1">:$query_stride, I64Attr:$topk,
                       DefaultValuedOptionalAttr<I64Attr, "0">:$local,
                       DefaultValuedOptionalAttr<I64Attr, "0">:$sinks, I64Attr:$key_block);
  let results = (outs Fresnel_Indices4:$result);
  let assemblyFormat = [{
    $q `,` $k (`documents` `(` $documents^ `:` type($documents) `)`)? attr-dict `:` type($q) `,` type($k)
  }];
  let extraClassDeclaration = [{
    double getScaleOrDefault();
  }];
}

def Fresnel_RegroupScoredOp : Fresnel_ComputeOp<"regroup_scored"> {
  let summary = "scores of blocks from those of overlapping windows, which are never stored";
  let description = [{
    `fresnel.regroup` of `fresnel.block_score` of q and k with `normalize = softmax`,
    `group_sum` and the given `lse`: keys are windows of `window` tokens every `stride`,
    queries are tokens. `documents` are those of the scores.

    Constraints:
    - C1: q and k agree in batch, head dim and element type.
    - C2: the query heads are a multiple of the key heads.
    - C3: `lse` is [B, Hq, M].
    - C4: `window`, `stride`, `block` and `seq_len` are positive; `stride` divides `window` and `block`.
    - C5: `documents` is [1, 2, M] and needs `causal`.

    Example:
    ```mlir
    %y = fresnel.regroup_scored %q, %k lse %l {causal = true, window = 32, stride = 16, block = 64, seq_len = 1000}
        : tensor<1x4x1000x64xbf16>, tensor<1x2x61x64xbf16>, tensor<1x4x1000xf32>
    ```
  }];
  let arguments = (ins Fresnel_Rows:$q, Fresnel_Rows:$k, Fresnel_Scores3:$lse, Optional<Fresnel_Indices3>:$documents,
                       OptionalAttr<F64Attr>:$scale,
                       DefaultValuedOptionalAttr<BoolAttr, "false">:$causal, I64Attr:$window, I64Attr:$stride,
                       I64Attr:$block, I64Attr:$seq_len);
  let results = (outs Fresnel_Scores4:$result);
  let assemblyFormat = [{
    $q `,` $k `lse` $lse (`documents` `(` $documents^ `:` type($documents) `)`)? attr-dict
    `:` type($q) `,` type($k) `,` type($lse)
  }];
  let extraClassDeclaration = [{
    double getScaleOrDefault();
  }];
}

def Fresnel_TransposeBlocksOp : Fresnel_ComputeOp<"transpose_blocks"> {
  let summary = "which rows list a block";
  let description = [{
    Of the block lists [B, H, M, K] of `fresnel.attend`, over `blocks` key blocks:
    bit m mod 32 of word `[b, h, j, m div 32]` of the result is set if row m lists
    block j. The result has ceil(M / 32) words for each block; further bits are 0.

    Constraints:
    - C1: `blocks` is positive.

    Example: `%t = fresnel.transpose_blocks %list {blocks = 16} : tensor<1x2x1000x4xi32>`
  }];
  let arguments = (ins Fresnel_Indices4:$list, I64Attr:$blocks);
  let results = (outs Fresnel_Indices4:$result);
  let assemblyFormat = "$list attr-dict `:` type($list)";
}

def Fresnel_CountRowsOp : Fresnel_ComputeOp<"count_rows"> {
  let summary = "how many rows list a block";
  let description = [{
    Element `[b, h, j]` of the result counts the set bits of `bits[b, h, j]`, which
    `fresnel.transpose_blocks` made.

    Example: `%n = fresnel.count_rows %t : tensor<1x2x16x32xi32>`
  }];
  let arguments = (ins Fresnel_Indices4:$bits);
  let results = (outs Fresnel_Indices3:$result);
  let assemblyFormat = "$bits attr-dict `:` type($bits)";
}

#endif // FRESNEL_FUSED_OPS
