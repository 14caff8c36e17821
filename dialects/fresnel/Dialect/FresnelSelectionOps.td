//===- FresnelSelectionOps.td - Scores, top-k, movement ----*- tablegen -*-===//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//

#ifndef FRESNEL_SELECTION_OPS
#define FRESNEL_SELECTION_OPS

include "fresnel/Dialect/FresnelDialect.td"

/// LSEs or bounds of documents.
def Fresnel_LseOrBounds : ConfinedType<StaticShapeTensorOf<[F32, I32]>, [HasAnyRankOfPred<[3]>],
    "tensor of static shape and rank 3", "::mlir::RankedTensorType">;

def Fresnel_BlockScoreOp : Fresnel_ComputeOp<"block_score"> {
  let summary = "scores of pooled keys for each query or pooled query";
  let description = [{
    `s[b, h, m, j] = scale * q[b, h, m] . k[b, h / group, j]`, `scale` 1/sqrt(D)
    when absent. Key j stands for the tokens
    `[j * key_stride, j * key_stride + key_window)` and query m for the tokens
    `[m * query_stride, (m+1) * query_stride)`. With `causal` a key is masked
    unless its last token is at or before the query's last token; a masked score
    is -inf. `normalize = softmax` turns each row into probabilities over the keys
    that are not masked (all 0 where every key is); `lse`, where it is given, holds the
    logarithms of their sums, as `fresnel.attend` with the same queries, keys and mask
    returns them. With `group_sum` the scores of the query heads that share a key head
    are summed, and the result has Hk heads. With `documents`, bounds that
    `fresnel.document_bounds` or `fresnel.align_documents` makes for the queries, a key
    is masked, too, if its first token lies in front of the query's document.

    Constraints:
    - C1: q and k agree in batch, head dim and element type.
    - C2: the query heads are a multiple of the key heads.
    - C3: `key_window`, `key_stride` and `query_stride` are positive.
    - C4: `group_sum` needs `normalize = softmax` (sums of -inf carry no ranking).
    - C5: `lse` is [B, Hq, M] and needs `normalize = softmax`.
    - C6: `documents` is [1, 2, M] and needs `causal` and `query_stride = 1`.
    - C7: `lse` and `documents` come once at most, in this order.

    Example:
    ```mlir
    %s = fresnel.block_score %q, %k {causal = true, key_window = 64, key_stride = 64}
        : tensor<1x4x1000x32xbf16>, tensor<1x2x16x32xbf16>
    ```
  }];
  let arguments = (ins Fresnel_Rows:$q, Fresnel_Rows:$k, Variadic<Fresnel_LseOrBounds>:$more,
                       OptionalAttr<F64Attr>:$scale,
                       DefaultValuedOptionalAttr<BoolAttr, "false">:$causal, DefaultValuedOptionalAttr<I64Attr, "1">:$key_window,
                       DefaultValuedOptionalAttr<I64Attr, "1">:$key_stride, DefaultValuedOptionalAttr<I64Attr, "1">:$query_stride,
                       DefaultValuedOptionalAttr<Fresnel_NormalizeAttr, "::fresnel::Normalize::None">:$normalize,
                       DefaultValuedOptionalAttr<BoolAttr, "false">:$group_sum);
  let results = (outs Fresnel_Scores4:$result);
  let assemblyFormat = [{
    $q `,` $k custom<ScoreOperands>($more, type($more)) attr-dict `:` type($q) `,` type($k)
  }];
  let extraClassDeclaration = [{
    /// The LSE, and the bounds of documents, or null.
    ::mlir::TypedValue<::mlir::RankedTensorType> getLse() { return ::fresnel::findOperand(getMore(), false); }
    ::mlir::TypedValue<::mlir::RankedTensorType> getDocuments() { return ::fresnel::findOperand(getMore(), true); }
    double getScaleOrDefault();
  }];
}

def Fresnel_RegroupOp : Fresnel_ComputeOp<"regroup"> {
  let summary = "scores of overlapping windows to scores of blocks";
  let description = [{
    NSA (arXiv 2502.11089) eq. 9, for compressed windows of `window` tokens every
    `stride` and selection blocks of `block` tokens: in cells of `stride` tokens,
    block j covers the cells `[j block/stride, (j+1) block/stride)` and window i
    the cells `[i, i + window/stride)`;
    `y[j] = sum over the cells u of block j of sum over the windows i covering u of s[i]`
    (windows that do not exist contribute nothing). The result has
    ceil(seq_len / block) columns.

    Constraints:
    - C1: all attributes are positive.
    - C2: `stride` divides `window` and `block`.

    Example: `%y = fresnel.regroup %s {window = 32, stride = 16, block = 64, seq_len = 1000} : tensor<1x2x1000x61xf32>`
  }];
  let arguments = (ins Fresnel_Scores4:$scores, I64Attr:$window, I64Attr:$stride, I64Attr:$block, I64Attr:$seq_len);
  let results = (outs Fresnel_Scores4:$result);
  let assemblyFormat = "$scores attr-dict `:` type($scores)";
}

def Fresnel_SelectCascadeOp : Fresnel_ComputeOp<"select_cascade"> {
  let summary = "Lighthouse's coarse-to-fine selection from a pyramid";
  let description = [{
    Lighthouse Attention (arXiv 2605.06554), for any N and k. With F_l = factor^l,
    n_l = ceil(N / F_l), L = levels: the coarsest level is cut into
    T = max(1, min(ceil(topk / 128), n_{L-1})) chunks; chunk t has the windows
    `[floor(t n/T), floor((t+1) n/T))` and the budget
    m = floor((t+1) topk/T) - floor(t topk/T). From level L-1 down to 1: of the
    candidates keep the ceil(m/2) best by the query score, then of the rest the
    floor(m/2) best by the key score; the children of the kept ones are the next
    candidates. Every candidate of every level is emitted, in the post-order of
    the selection tree (children before their kept parent), as index into the
    pyramid. At level 0 all candidates are emitted.

    The result has S entries, as if every window were full:
    `S = sum over chunks of (candidates at each level)`; where the last windows
    miss children, -1 fills the end. For topk a multiple of 128 and N of
    factor^(L-1) it is N / factor^(L-1) + (L-1) factor topk. Head h reads the key
    scores of head h / (Hq / Hk). `open_first_window` keeps window 0 of every
    level, so that no output row stays empty. With `per_key_head` there is one
    selection for each key head: the query score of an entry is the largest of the
    Hq / Hk query heads that share the key head, and the results have Hk heads.

    With `with_slots` there is a second result, the inverse of the selection: for
    each entry of the pyramid its slot in the first result, or -1.

    With `documents` each is selected from by itself, with a `topk` of its own, and the
    selections lie one behind the other, with the -1 of each at its end. Entries are those
    of the pyramid of all.

    Constraints:
    - C1: `levels` is in [1, 16], `factor` at least 2, factor^(levels-1) at most 2^31 - 1, `topk` and `seq_len` positive.
    - C2: both scores have the pyramid length of (seq_len, levels, factor).
    - C3: the batches agree and the query heads are a multiple of the key heads.
    - C4: `documents`, if there are any, are at most 65535, none negative, and sum to `seq_len`.

    Example:
    ```mlir
    %i = fresnel.select_cascade %sq, %sk {seq_len = 1000, levels = 3, factor = 4, topk = 128}
        : tensor<1x2x1313xf32>, tensor<1x2x1313xf32>
    ```
  }];
  let arguments = (ins Fresnel_Scores3:$query_scores, Fresnel_Scores3:$key_scores, I64Attr:$seq_len, I64Attr:$levels,
                       I64Attr:$factor, I64Attr:$topk, DefaultValuedOptionalAttr<BoolAttr, "false">:$open_first_window,
                       DefaultValuedOptionalAttr<BoolAttr, "false">:$with_slots,
                       DefaultValuedOptionalAttr<BoolAttr, "false">:$per_key_head, Fresnel_Documents:$documents);
  let results = (outs Fresnel_Indices3:$result, Optional<Fresnel_Indices3>:$slots);
  let assemblyFormat = "$query_scores `,` $key_scores attr-dict `:` type($query_scores) `,` type($key_scores)";
}

def Fresnel_SelectBlocksOp : Fresnel_ComputeOp<"select_blocks"> {
  let summary = "the best key blocks of each query row";
  let description = [{
    Row m stands for the tokens `[m query_block, (m+1) query_block)`, clipped to
    what the keys reach when causal. Forced, inside the budget: the first `sinks` blocks, and the last
    `local` blocks up to the one that holds the row's last token (`causal`), else
    up to the end. Then the best remaining scores, ties to the lower index, until
    `topk` blocks are taken. With `causal` blocks that begin after the row's last
    token are never taken; a score of -inf is taken only where it is forced.
    With `documents`, what `fresnel.document_bounds` makes, the row's blocks begin with
    the one in which the document of its first token begins, the `sinks` with them, and
    end where the document of its last token does.
    Result: ascending block indices, -1 at the end; K = min(topk, Nb).

    Constraints:
    - C1: `topk`, `query_block` and `key_block` are positive, `local` and `sinks` are not negative.
    - C2: `local` + `sinks` is at most `topk`.
    - C3: `documents` is [1, 2, N], with M = ceil(N / query_block) and Nb = ceil(N / key_block).

    Example:
    ```mlir
    %i = fresnel.select_blocks %s {topk = 4, local = 1, causal = true, key_block = 64} : tensor<1x2x1000x16xf32>
    ```
  }];
  let arguments = (ins Fresnel_Scores4:$scores, Optional<Fresnel_Indices3>:$documents, I64Attr:$topk,
                       DefaultValuedOptionalAttr<I64Attr, "0">:$local,
                       DefaultValuedOptionalAttr<I64Attr, "0">:$sinks, DefaultValuedOptionalAttr<BoolAttr, "false">:$causal,
                       DefaultValuedOptionalAttr<I64Attr, "1">:$query_block, I64Attr:$key_block);
  let results = (outs Fresnel_Indices4:$result);
  let assemblyFormat = "$scores (`documents` `(` $documents^ `:` type($documents) `)`)? attr-dict `:` type($scores)";
}

def Fresnel_BlocksFromMaskOp : Fresnel_ComputeOp<"blocks_from_mask"> {
  let summary = "block lists from a mask of blocks";
  let description = [{
    Row `[b, h, m]` of the result lists, ascending, the blocks j whose byte
    `mask[b, h, m, j]` is not 0, with -1 behind them: the lists that `fresnel.attend`
    takes. There is an entry for every block, so that nothing is left out; a row without
    blocks holds -1 only.

    Example: `%list = fresnel.blocks_from_mask %mask : tensor<1x2x16x16xi8>`
  }];
  let arguments = (ins Fresnel_Mask4:$mask);
  let results = (outs Fresnel_Indices4:$result);
  let assemblyFormat = "$mask attr-dict `:` type($mask)";
}

def Fresnel_GatherOp : Fresnel_ComputeOp<"gather", [Fresnel_Differentiable]> {
  let summary = "rows at given indices";
  let description = [{
    `y[b, h, s] = x[b, h / (H / Hx), indices[b, h / (H / Hi), s]]` for the H heads of y,
    as many as the larger of Hx and Hi; index -1 gives zeros.

    Constraints:
    - C1: the batches agree, and of the heads of `x` and of `indices` one is a multiple of the other.

    Example: `%y = fresnel.gather %x, %i : tensor<1x2x1313x32xbf16>, tensor<1x4x500xi32>`
  }];
  let arguments = (ins Fresnel_Rows:$x, Fresnel_Indices3:$indices);
  let results = (outs Fresnel_Rows:$result);
  let assemblyFormat = "$x `,` $indices attr-dict `:` type($x) `,` type($indices)";
}

def Fresnel_ScatterOp : Fresnel_ComputeOp<"scatter", [Fresnel_Differentiable]> {
  let summary = "pyramid rows back to tokens, shifted and summed";
  let description = [{
    Row s, with `indices[b, h / (H / Hi), s]` the pyramid entry (l, i), is added to the
    tokens `[i F + F - 1, i F + 2F - 2]`, F = factor^l, clipped to seq_len: the
    shift by F - 1 keeps causality. In gather form, which every implementation
    uses: `y[j]` is the sum, over the levels l with j >= F_l - 1, of the row of
    entry (l, (j - F_l + 1) div F_l) where it was selected. Rows without a
    contributor are 0. `indices` is in the order of `fresnel.select_cascade`.

    Constraints:
    - C1: `x` and `indices` agree in batch and length, and the heads of `x` are a multiple of those of `indices`.
    - C2: `levels` is in [1, 16], `factor` at least 2, factor^(levels-1) at most 2^31 - 1, `seq_len` positive.
    - C3: `documents`, if there are any, are at most 65535, none negative, and sum to `seq_len`.

    Example: `%y = fresnel.scatter %x, %i {seq_len = 1000, levels = 3, factor = 4} : tensor<1x2x500x32xbf16>, tensor<1x2x500xi32>`
  }];
  let arguments = (ins Fresnel_Rows:$x, Fresnel_Indices3:$indices, I64Attr:$seq_len, I64Attr:$levels, I64Attr:$factor,
                       Fresnel_Documents:$documents);
  let results = (outs Fresnel_Rows:$result);
  let assemblyFormat = "$x `,` $indices attr-dict `:` type($x) `,` type($indices)";
}

def Fresnel_MoveOp : Fresnel_ComputeOp<"move", [Fresnel_Differentiable]> {
  let summary = "rows to other places, one to one";
  let description = [{
    `y[b, h, s] = x[b, h, from[0, 0, s]]`, and zeros where `from` is -1. `to` is the
    inverse, which gradients read: row t of x is row `to[0, 0, t]` of y. Both are what
    `fresnel.align_documents` makes, so that no row of x is lost; entries beyond the last
    row are not looked for.

    Constraints:
    - C1: `from` is [1, 1, S], and `to` has an entry for each of the T rows of x, [1, 1, T].

    Example: `%y = fresnel.move %x from %f to %t : tensor<1x2x100x32xbf16>, tensor<1x1x256xi32>, tensor<1x1x100xi32>`
  }];
  let arguments = (ins Fresnel_Movable:$x, Fresnel_Indices3:$from, Fresnel_Indices3:$to);
  let results = (outs Fresnel_Movable:$result);
  let assemblyFormat = "$x `from` $from `to` $to attr-dict `:` type($x) `,` type($from) `,` type($to)";
}

//===----------------------------------------------------------------------===//
// Dilation
//===----------------------------------------------------------------------===//

def Fresnel_FoldOp : Fresnel_ComputeOp<"fold", [Fresnel_Differentiable]> {
  let summary = "each residue of the positions becomes a sequence of its own";
  let description = [{
    For the heads H of x, d = factor and n < N:
    `y[b, (n mod d) H + h, n div d] = x[b, h, n]`, so that [B, H, N, D] becomes
    [B, d H, ceil(N / d), D], and [B, H, N] becomes [B, d H, ceil(N / d)].
    Attention on folded tensors is dilated attention: a query sees the keys at
    distances that are multiples of d. What no row fills, at the end of some heads
    where d does not divide N, is 0; under a causal mask no row of x sees it. With
    `repeat` = r every head of x stands r times beside itself, as the query heads of a
    key head do: `y[b, (n mod d) r H + h, n div d] = x[b, h div r, n]` for h < r H.

    Heads are numbered residue first: where the heads of queries are a multiple
    of those of keys, folded query heads still read the keys of their residue. In
    [B, N, H, D] memory the result is a strided view of x if d divides N.

    Constraints:
    - C1: `factor` and `repeat` are in [1, 65535].

    Example: `%y = fresnel.fold %x {factor = 4} : tensor<1x2x1001x32xbf16>`
  }];
  let arguments = (ins Fresnel_RowsOrScores:$x, I64Attr:$factor, DefaultValuedOptionalAttr<I64Attr, "1">:$repeat);
  let results = (outs Fresnel_RowsOrScores:$result);
  let assemblyFormat = "$x attr-dict `:` type($x)";
  let hasFolder = 1;
}

def Fresnel_UnfoldOp : Fresnel_ComputeOp<"unfold", [Fresnel_Differentiable]> {
  let summary = "the inverse of `fresnel.fold`, or its transpose";
  let description = [{
    With H = heads of x / factor and n < seq_len:
    `y[b, h, n] = x[b, (n mod factor) H + h, n div factor]`. With `repeat` = r the
    heads r h to r h + r - 1 are summed to head h.

    Constraints:
    - C1: `factor` and `repeat` are in [1, 65535] and `seq_len` in [1, 2^40].
    - C2: the heads of x are a multiple of `factor` times `repeat`.
    - C3: x has ceil(seq_len / factor) rows.

    Example: `%y = fresnel.unfold %x {factor = 4, seq_len = 1001} : tensor<1x8x251xf32>`
  }];
  let arguments = (ins Fresnel_RowsOrScores:$x, I64Attr:$factor, I64Attr:$seq_len,
                       DefaultValuedOptionalAttr<I64Attr, "1">:$repeat);
  let results = (outs Fresnel_RowsOrScores:$result);
  let assemblyFormat = "$x attr-dict `:` type($x)";
  let hasFolder = 1;
}

#endif // FRESNEL_SELECTION_OPS
