//===- FresnelFusedGradientOps.td - Gradients in one pass --*- tablegen -*-===//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//

#ifndef FRESNEL_FUSED_GRADIENT_OPS
#define FRESNEL_FUSED_GRADIENT_OPS

include "fresnel/Dialect/FresnelAttentionOps.td"

// What `fresnel-fuse-attend-grad` and those behind it write: gradients of attention in one pass over the scores.

def Fresnel_BoundKeysOp : Fresnel_ComputeOp<"bound_keys"> {
  let summary = "how large keys and values are";
  let description = [{
    Rows 0 and 1 of the result [B, H, 2, C]: for chunk c of 128 keys the largest magnitude
    of an element of k, and the largest Euclidean norm of a row of v. Either is NaN if an
    element is.

    Constraints:
    - C1: k and v agree in all but the head dim.

    Example: `%b = fresnel.bound_keys %k, %v : tensor<1x2x300x64xbf16>, tensor<1x2x300x32xbf16>`
  }];
  let arguments = (ins Fresnel_Rows:$k, Fresnel_Rows:$v);
  let results = (outs Fresnel_Scores4:$bounds);
  let assemblyFormat = "$k `,` $v attr-dict `:` type($k) `,` type($v)";
}

/// LSEs or bounds.
def Fresnel_Scores3Or4 : ConfinedType<StaticShapeTensorOf<[F32]>, [HasAnyRankOfPred<[3, 4]>],
    "tensor of static shape and rank 3 or 4", "::mlir::RankedTensorType">;

def Fresnel_AttendStatsOp : Fresnel_ComputeOp<"attend_stats", [AllTypesMatch<["out", "dout"]>]> {
  let summary = "what the gradient of attention reads of each query row";
  let description = [{
    Rows 0 and 1 of the result [B, H, 2, P], P the length in whole steps of 128:
    the LSE times log2(e), with +inf for rows without keys and beyond the last one;
    and `fresnel.attend_delta`, 0 beyond the last row.

    `more` is the LSE's gradient `dlse`, the `bounds` of keys and values, or both in this order.
    With bounds there is a row 2: what makes integers of the sums of
    dQ, 1.9 * 2^30 / (K (|dout| V + |delta|)), K the largest magnitude of an element of k and V
    the largest norm of a row of v in the key head. An element of a row of `fresnel.attend_grad`'s dQ is
    at most K times a sum of p |dout . v - delta| whose weights p add up to 1, so that none
    leaves 32 bits.

    Constraints:
    - C1: `out` and `dout` have one type, `lse` and `dlse` its shape without the head dim.
    - C2: `bounds` is what `fresnel.bound_keys` gives, for as many batches and heads or a divisor of them.
    - C3: `more` has at most one tensor of each rank.

    Example: `%s = fresnel.attend_stats %out, %dout of %lse : tensor<1x2x64x32xbf16>, tensor<1x2x64xf32>`
  }];
  let arguments = (ins Fresnel_Rows:$out, Fresnel_Rows:$dout, Fresnel_Scores3:$lse,
                       Variadic<Fresnel_Scores3Or4>:$more);
  let results = (outs Fresnel_Scores4:$stats);
  let assemblyFormat = [{
    $out `,` $dout `of` $lse (`more` `(` $more^ `:` type($more) `)`)? attr-dict `:` type($out) `,` type($lse)
  }];
  let extraClassDeclaration = [{
    /// The LSE's gradient and the bounds of keys and values, or null.
    ::mlir::TypedValue<::mlir::RankedTensorType> getDlse();
    ::mlir::TypedValue<::mlir::RankedTensorType> getBounds();
  }];
}

def Fresnel_GateDeltaOp : Fresnel_ComputeOp<"gate_delta"> {
  let summary = "what the gradients of gated attention read of each query row, and the gates' gradients";
  let description = [{
    Of `y = sum_i a_i o_i`, `a_i = a(gates_i)`, the gradient of branch i is `a_i dy`. If attention made o_i, then
    with the weights p and `delta_i = sum_d o_i dy` its gradients have the factor a_i in each weight:
    `dv = sum (a_i p) dy` and `ds = (a_i p) (dy . v - delta_i)`. So they come out of dy itself, if they are given
    delta_i, and instead of the LSE l_i of the scores `m_i = l_i - ln a_i`, for which `exp(s - m_i) = a_i p`.
    No branch needs a gradient of its own then.

    The first result is `dgates_i = a'(gates_i) delta_i`. Behind it follows for each branch, in order,
    - for those that `deltas` names m_i and delta_i, -inf and 0 for rows without keys;
    - for those that `stats` names both as in `fresnel.attend_stats`: m_i times log2(e), +inf for rows
      without keys and beyond the last one, and delta_i, 0 beyond the last one;
    - for the others the gradient `a_i dy`.

    A weight a_i that is 0 makes m_i infinite: nothing flows through the branch then.
    `parts` are the branches, as many as `gates` has columns, and behind them the LSEs of those that `deltas` or
    `stats` names.

    Constraints:
    - C1: the branches and the gates fit as in `fresnel.gate`.
    - C2: dy has the branches' type.
    - C3: `activation` is positive everywhere: sigmoid.
    - C4: `deltas` and `stats` name branches in ascending order, none of them twice.
    - C5: an LSE has the shape of the branches without the head dim and is f32, and there is one for each named branch.

    Example:
    ```mlir
    %dg, %m, %d, %s = fresnel.gate_delta %g dout %dy of %o0, %o1, %l0, %l1
        {activation = #fresnel<activation sigmoid>, deltas = array<i64: 0>, stats = array<i64: 1>}
        : tensor<1x2x64x2xbf16>, tensor<1x2x64x32xbf16> of tensor<1x2x64x32xbf16>, tensor<1x2x64x32xbf16>,
          tensor<1x2x64xf32>, tensor<1x2x64xf32>
    ```
  }];
  let arguments = (ins Fresnel_Rows:$gates, Fresnel_Rows:$dy, Variadic<Fresnel_RowsOrScores>:$parts,
                       DefaultValuedOptionalAttr<Fresnel_ActivationAttr, "::fresnel::Activation::None">:$activation,
                       DefaultValuedOptionalAttr<DenseI64ArrayAttr, "{}">:$deltas,
                       DefaultValuedOptionalAttr<DenseI64ArrayAttr, "{}">:$stats);
  let results = (outs Fresnel_Rows:$dgates, Variadic<Fresnel_RowsOrScores>:$rows);
  let assemblyFormat = "$gates `dout` $dy `of` $parts attr-dict `:` type($gates) `,` type($dy) `of` type($parts)";
  let extraClassDeclaration = [{
    /// What a branch gets.
    enum class Form { Gradient, Delta, Stats };
    unsigned getNumBranches() { return unsigned(getGates().getType().getDimSize(3)); }
    ::mlir::ValueRange getBranches() { return getParts().take_front(getNumBranches()); }
    ::mlir::ValueRange getLses() { return getParts().drop_front(getNumBranches()); }
    Form getForm(unsigned branch);
  }];
}

/// Sums of dQ.
def Fresnel_Tiles : ConfinedType<StaticShapeTensorOf<[F32, I32]>, [HasAnyRankOfPred<[4]>],
    "tensor of static shape and rank 4", "::mlir::RankedTensorType">;

def Fresnel_AttendGradOp : Fresnel_ComputeOp<"attend_grad"> {
  let summary = "gradients of attention with respect to queries, keys and values in one pass";
  let description = [{
    `dk` and `dv` of `fresnel.attend_grad_kv`, and in f32 `dq` of
    `fresnel.attend_grad_q` without the factor `scale`, in tiles: [B, H, T, 64 D], T
    tiles of 64 rows, an even number. A tile is in the order in which a warpgroup holds
    an accumulator: place 4 (128 j + t) + 2 r + i is row 16 (t div 32) +
    (t mod 32) div 4 + 8 r, column 8 j + 2 (t mod 4) + i. Rows beyond those of q are 0.
    `mask` are the `documents` of `fresnel.attend`, or its `blocks` and what
    `fresnel.transpose_blocks` makes of them. Tiles whose rows all list no block, or stand in
    front of the last token of the first key, may hold anything.

    Where `stats` has three rows, the tiles hold integers: dQ times the third one, the share
    of each 64 keys rounded by itself. Their sums are the same in any order.

    Constraints:
    - C1: q, k, v, the mask and the pooled keys fit as in `fresnel.attend`; the head dim of q is a multiple of 8.
    - C2: `dout` has the type of its output, `stats` is what `fresnel.attend_stats` makes of it.
    - C3: `mask` is nothing, the bounds of documents, or a list and its transpose over ceil(Nk / key_block) blocks.

    Example:
    ```mlir
    %dq, %dk, %dv = fresnel.attend_grad %q, %k, %v stats %s dout %g {causal = true}
        : tensor<1x2x64x32xbf16>, tensor<1x2x64x32xbf16>, tensor<1x2x64x32xbf16>,
          tensor<1x2x2x128xf32>, tensor<1x2x64x32xbf16>
    ```
  }];
  let arguments = (ins Fresnel_Rows:$q, Fresnel_Rows:$k, Fresnel_Rows:$v, Fresnel_Scores4:$stats, Fresnel_Rows:$dout,
                       Variadic<Fresnel_Indices3Or4>:$mask,
                       OptionalAttr<F64Attr>:$scale, DefaultValuedOptionalAttr<BoolAttr, "false">:$causal,
                       DefaultValuedOptionalAttr<I64Attr, "0">:$window, DefaultValuedOptionalAttr<I64Attr, "0">:$sinks,
                       DefaultValuedOptionalAttr<F64Attr, "0.0">:$softcap,
                       DefaultValuedOptionalAttr<I64Attr, "1">:$key_window,
                       DefaultValuedOptionalAttr<I64Attr, "1">:$key_stride,
                       DefaultValuedOptionalAttr<I64Attr, "1">:$query_block,
                       DefaultValuedOptionalAttr<I64Attr, "1">:$key_block);
  let results = (outs Fresnel_Tiles:$dq, Fresnel_Rows:$dk, Fresnel_Rows:$dv);
  let assemblyFormat = [{
    $q `,` $k `,` $v `stats` $stats `dout` $dout (`mask` `(` $mask^ `:` type($mask) `)`)? attr-dict
    `:` type($q) `,` type($k) `,` type($v) `,` type($stats) `,` type($dout)
  }];
  let extraClassDeclaration = [{
    double getScaleOrDefault();
    /// The list, its transpose, and the bounds of documents, or null.
    ::mlir::TypedValue<::mlir::RankedTensorType> getBlocks();
    ::mlir::TypedValue<::mlir::RankedTensorType> getTransposed();
    ::mlir::TypedValue<::mlir::RankedTensorType> getDocuments();
    ::mlir::TypedValue<::mlir::RankedTensorType> getStarts() { return {}; }
    /// Whether dQ is summed in integers.
    bool hasIntegerSums() { return getDq().getType().getElementType().isInteger(32); }
  }];
}

def Fresnel_RoundTilesOp : Fresnel_ComputeOp<"round_tiles"> {
  let summary = "rows out of the f32 tiles of `fresnel.attend_grad`, scaled, added to others and rounded";
  let description = [{
    `more` is the `stats` of `fresnel.attend_stats`, with which rows that see no key become 0
    whatever their tiles hold; an addend, which is added in f32 before the rounding; or both.

    Constraints:
    - C1: `tiles` has an even number of tiles, all of the `seq_len` rows and not 128 more, and 64 times `head_dim`
      elements in each, `head_dim` a multiple of 8.
    - C2: `element` is bf16, f16 or f32.
    - C3: `more` is at most the stats, [B, H, 2, 64 T] for T tiles, and an addend of the type of the result, in this
      order. What may be either is the stats.

    Example:
    ```mlir
    %dq = fresnel.round_tiles %t more(%a : tensor<1x2x100x96xbf16>) {seq_len = 100, head_dim = 96, scale = 0.125, element = bf16}
        : tensor<1x2x2x6144xf32>
    ```
  }];
  let arguments = (ins Fresnel_Scores4:$tiles, Variadic<Fresnel_Rows>:$more, I64Attr:$seq_len, I64Attr:$head_dim,
                       F64Attr:$scale, TypeAttr:$element);
  let results = (outs Fresnel_Rows:$rows);
  let assemblyFormat = "$tiles (`more` `(` $more^ `:` type($more) `)`)? attr-dict `:` type($tiles)";
  let extraClassDeclaration = [{
    /// What rows see keys, and what is added, or null.
    ::mlir::TypedValue<::mlir::RankedTensorType> getStats();
    ::mlir::TypedValue<::mlir::RankedTensorType> getAddend();
    /// The type of stats for these tiles.
    static ::mlir::RankedTensorType getStatsType(::mlir::RankedTensorType tiles);
  }];
}

def Fresnel_GatherGradTilesOp : Fresnel_ComputeOp<"gather_grad_tiles"> {
  let summary = "gradient of a gather from a mean pyramid, out of the f32 tiles of `fresnel.attend_grad`";
  let description = [{
    `fresnel.gather_grad_by_slots` of `fresnel.round_tiles` without the rounding between
    them: of tiles [B, H, T, 64 D] slot s is row s mod 64 of tile s div 64, in the order of
    `fresnel.attend_grad`, times `scale`. The sums over heads and levels are rounded once, to `element`.

    Constraints:
    - C1: `tiles` has an even number of tiles, and a multiple of 512 elements in each.
    - C2: `element` is bf16, f16 or f32.
    - C3: `tiles` and `slots` agree in batch, and the heads of `tiles` are a multiple of those of `slots`.
    - C4: `levels` is in [1, 16], `factor` at least 2, factor^(levels-1) at most 2^31 - 1, `seq_len` positive.
    - C5: `slots` has one entry per row of the pyramid.
    - C6: `heads` is positive and divides the heads of `tiles`.
    - C7: `documents`, if there are any, are at most 65535, none negative, and sum to `seq_len`.

    Example:
    ```mlir
    %dx = fresnel.gather_grad_tiles %t, %s {heads = 2, seq_len = 1000, levels = 3, factor = 4, scale = 0.125, element = bf16}
        : tensor<1x4x8x2048xf32>, tensor<1x4x1313xi32>
    ```
  }];
  let arguments = (ins Fresnel_Scores4:$tiles, Fresnel_Indices3:$slots, I64Attr:$heads, I64Attr:$seq_len, I64Attr:$levels,
                       I64Attr:$factor, Fresnel_Documents:$documents, F64Attr:$scale, TypeAttr:$element);
  let results = (outs Fresnel_Rows:$dx);
  let assemblyFormat = "$tiles `,` $slots attr-dict `:` type($tiles) `,` type($slots)";
}

def Fresnel_SettleTilesOp : Fresnel_ComputeOp<"settle_tiles"> {
  let summary = "the gradient of queries out of integers, computed again where these are too coarse";
  let description = [{
    `dq` of `fresnel.attend_grad_q`: `scale` times the integers that `fresnel.attend_grad`
    gives, divided by the third row of `stats`. Each sum is of C = ceil(Nk / 64) rounded
    terms, whose errors have a variance of 1/4 at most. Where these make the relative
    error of the 64 rows of a tile larger than 2^-10 in the Euclidean norm,

        sum_i u_i^2 D C / 4 > 2^-20 sum_i u_i^2 |n_i|^2,

    u_i the reciprocal of row i's factor and n_i its integers, or where NaN is among them, the
    tile is computed from the other operands. Rows whose factor is the largest there is
    are zero and have no error.

    Constraints:
    - C1: q, k, v, stats and dout are those of a `fresnel.attend_grad` without mask whose sums are integers, and `tiles`
      is what it gives.

    Example:
    ```mlir
    %dq = fresnel.settle_tiles %t of %q, %k, %v stats %s dout %g {causal = true}
        : tensor<1x2x2x2048xi32>, tensor<1x2x64x32xbf16>, tensor<1x2x64x32xbf16>, tensor<1x2x64x32xbf16>,
          tensor<1x2x3x128xf32>, tensor<1x2x64x32xbf16>
    ```
  }];
  let arguments = (ins Fresnel_Rows:$q, Fresnel_Rows:$k, Fresnel_Rows:$v, Fresnel_Scores4:$stats, Fresnel_Rows:$dout,
                       Fresnel_Tiles:$tiles, OptionalAttr<F64Attr>:$scale,
                       DefaultValuedOptionalAttr<BoolAttr, "false">:$causal,
                       DefaultValuedOptionalAttr<I64Attr, "0">:$window, DefaultValuedOptionalAttr<I64Attr, "0">:$sinks,
                       DefaultValuedOptionalAttr<F64Attr, "0.0">:$softcap);
  let results = (outs Fresnel_Rows:$dq);
  let assemblyFormat = [{
    $tiles `of` $q `,` $k `,` $v `stats` $stats `dout` $dout attr-dict
    `:` type($tiles) `,` type($q) `,` type($k) `,` type($v) `,` type($stats) `,` type($dout)
  }];
  let extraClassDeclaration = [{
    double getScaleOrDefault();
    /// What other gradients have and this one has not.
    ::mlir::TypedValue<::mlir::RankedTensorType> getBlocks() { return {}; }
    ::mlir::TypedValue<::mlir::RankedTensorType> getDocuments() { return {}; }
    ::mlir::TypedValue<::mlir::RankedTensorType> getStarts() { return {}; }
    int64_t getQueryBlock() { return 1; }
    int64_t getKeyBlock() { return 1; }
    int64_t getKeyWindow() { return 1; }
    int64_t getKeyStride() { return 1; }
  }];
}

#endif // FRESNEL_FUSED_GRADIENT_OPS
