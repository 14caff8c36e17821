//===- FresnelGradientOps.td - What differentiation writes -*- tablegen -*-===//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//

#ifndef FRESNEL_GRADIENT_OPS
#define FRESNEL_GRADIENT_OPS

include "fresnel/Dialect/FresnelAttentionOps.td"

// Every output element is a sum in a fixed order that one place writes: no
// atomics, and the same bits in every run.

def Fresnel_AddOp : Fresnel_ComputeOp<"add"> {
  let summary = "sum of tensors, rounded once";
  let description = [{
    Constraints:
    - C1: at least one term, all of one type.

    Example: `%y = fresnel.add %a, %b : tensor<1x2x64x32xbf16>, tensor<1x2x64x32xbf16>`
  }];
  let arguments = (ins Variadic<Fresnel_RowsOrScores>:$terms);
  let results = (outs Fresnel_RowsOrScores:$result);
  let assemblyFormat = "$terms attr-dict `:` type($terms)";
  let hasFolder = 1;
}

//===----------------------------------------------------------------------===//
// Attention
//===----------------------------------------------------------------------===//

def Fresnel_AttendDeltaOp : Fresnel_ComputeOp<"attend_delta", [AllTypesMatch<["out", "dout"]>]> {
  let summary = "per row the product of the attention output with its gradient";
  let description = [{
    `delta[b, h, n] = sum_d out[b, h, n, d] dout[b, h, n, d] - dlse[b, h, n]`, without
    `dlse` if there is none (Dao et al., FlashAttention, arXiv 2205.14135).

    Constraints:
    - C1: `out` and `dout` have one type, `dlse` its shape without the head dim.

    Example: `%d = fresnel.attend_delta %out, %dout : tensor<1x2x64x32xbf16>`
  }];
  let arguments = (ins Fresnel_Rows:$out, Fresnel_Rows:$dout, Optional<Fresnel_Scores3>:$dlse);
  let results = (outs Fresnel_Scores3:$delta);
  let assemblyFormat = "$out `,` $dout (`lse` `(` $dlse^ `:` type($dlse) `)`)? attr-dict `:` type($out)";
}

/// A gradient of `fresnel.attend`, whose operands and attributes it shares.
class Fresnel_AttendGradOp<string mnemonic, dag outputs, dag mask, dag more = (ins)> : Fresnel_ComputeOp<mnemonic> {
  let arguments = !con((ins Fresnel_Rows:$q, Fresnel_Rows:$k, Fresnel_Rows:$v, Fresnel_Scores3:$lse,
                            Fresnel_Scores3:$delta, Fresnel_Rows:$dout),
                       mask, Fresnel_AttendAttributes, more);
  let results = outputs;
}

def Fresnel_AttendGradQOp : Fresnel_AttendGradOp<"attend_grad_q", (outs Fresnel_Rows:$dq), Fresnel_AttendMasks> {
  let summary = "gradient of attention with respect to the queries";
  let description = [{
    With the scores s, the mask and the attributes of `fresnel.attend`,
    `p = exp(s - lse)` and `ds = p (dout . v - delta)`, times `1 - (s / softcap)^2`
    under a soft cap: `dq = sum_j scale ds_j k_j`.

    Constraints:
    - C1: q, k, v, `blocks`, `documents` and `starts` fit as in `fresnel.attend`.
    - C2: `lse` and `delta` have the shape of its LSE, `dout` the type of its output.

    Example:
    ```mlir
    %dq = fresnel.attend_grad_q %q, %k, %v lse %l delta %d dout %g {causal = true}
        : tensor<1x2x64x32xbf16>, tensor<1x2x64x32xbf16>, tensor<1x2x64x32xbf16>,
          tensor<1x2x64xf32>, tensor<1x2x64xf32>, tensor<1x2x64x32xbf16>
    ```
  }];
  let assemblyFormat = [{
    $q `,` $k `,` $v `lse` $lse `delta` $delta `dout` $dout custom<AttendMasks>($masks, type($masks)) attr-dict
    `:` type($q) `,` type($k) `,` type($v) `,` type($lse) `,` type($delta) `,` type($dout)
  }];
  let extraClassDeclaration = Fresnel_AttendDeclarations;
}

def Fresnel_AttendGradKvOp
    : Fresnel_AttendGradOp<"attend_grad_kv", (outs Fresnel_Rows:$dk, Fresnel_Rows:$dv),
                           Fresnel_AttendMasks,
                           (ins DefaultValuedOptionalAttr<BoolAttr, "false">:$transposed,
                                OptionalAttr<I64Attr>:$listed)> {
  let summary = "gradients of attention with respect to the keys and values";
  let description = [{
    With p and ds of `fresnel.attend_grad_q`: `dk = sum scale ds q` and
    `dv = sum p dout`, over the query heads that share the key head, and their rows.
    With `transposed`, `blocks` is what `fresnel.transpose_blocks` makes of the list;
    `listed` then tells how many entries a row of the list has at most, and `counts` how
    many rows list a block, `fresnel.count_rows` of `blocks`: both change nothing but how
    the work is divided.

    Constraints:
    - C1: q, k, v, `blocks`, `documents` and `starts` fit as in `fresnel.attend`.
    - C2: `lse` and `delta` have the shape of its LSE, `dout` the type of its output.
    - C3: with `transposed`, `blocks` has the batch of q, a divisor of its heads that is a multiple of the key
      heads, ceil(Nk / key_block) rows and a bit for each of the ceil(Nq / query_block) rows of the list.
    - C4: `counts` goes with `transposed` and has the shape of `blocks` without the words. A tensor of
      the shape of `documents` is `documents`.

    Example:
    ```mlir
    %dk, %dv = fresnel.attend_grad_kv %q, %k, %v lse %l delta %d dout %g {causal = true}
        : tensor<1x2x64x32xbf16>, tensor<1x2x64x32xbf16>, tensor<1x2x64x32xbf16>,
          tensor<1x2x64xf32>, tensor<1x2x64xf32>, tensor<1x2x64x32xbf16>
    ```
  }];
  let assemblyFormat = [{
    $q `,` $k `,` $v `lse` $lse `delta` $delta `dout` $dout custom<AttendMasks>($masks, type($masks)) attr-dict
    `:` type($q) `,` type($k) `,` type($v) `,` type($lse) `,` type($delta) `,` type($dout)
  }];
  let extraClassDeclaration = Fresnel_AttendDeclarations # [{
    /// How many rows list each block, or null.
    ::mlir::TypedValue<::mlir::RankedTensorType> getCounts() { return ::fresnel::splitMasks(getMasks(), getQ()).counts; }
  }];
}

//===----------------------------------------------------------------------===//
// Pooling
//===----------------------------------------------------------------------===//

def Fresnel_PoolGradOp : Fresnel_ComputeOp<"pool_grad"> {
  let summary = "gradient of `fresnel.pool`";
  let description = [{
    A mean hands each row of a window an equal share; a maximum gives all to the
    first row that attains it, for which it reads the operand x of the pooling.

    Constraints:
    - C1: the attributes are those of a `fresnel.pool` whose result has the rows of dy.
    - C2: x is there with `max` only; it has `seq_len` rows and is like dy otherwise.
    - C3: `documents` are as in `fresnel.pool`.
    - C4: x and `documents` come once at most, in this order.

    Example: `%dx = fresnel.pool_grad mean %dy {window = 64, seq_len = 1000} : tensor<1x2x16x32xbf16>`
  }];
  let arguments = (ins Fresnel_PoolKindAttr:$kind, Fresnel_RowsOrScores:$dy, Variadic<Fresnel_Movable>:$more,
                       I64Attr:$seq_len, I64Attr:$window, DefaultValuedOptionalAttr<I64Attr, "0">:$stride,
                       DefaultValuedOptionalAttr<Fresnel_TailAttr, "::fresnel::Tail::Keep">:$tail);
  let results = (outs Fresnel_RowsOrScores:$dx);
  let assemblyFormat = "$kind $dy custom<PoolOperands>($more, type($more)) attr-dict `:` type($dy)";
  let extraClassDeclaration = [{
    /// What a maximum reads, and the bounds of documents, or null.
    ::mlir::TypedValue<::mlir::RankedTensorType> getX() { return ::fresnel::findOperand(getMore(), false); }
    ::mlir::TypedValue<::mlir::RankedTensorType> getDocuments() { return ::fresnel::findOperand(getMore(), true); }
  }];
}

def Fresnel_PyramidGradOp : Fresnel_ComputeOp<"pyramid_grad"> {
  let summary = "gradient of `fresnel.pyramid`";
  let description = [{
    Row j sums, over the levels, its part of the entry that covers it.

    Constraints:
    - C1: the attributes are those of a `fresnel.pyramid` whose result has the rows of dy.
    - C2: x is there with `max` only; it has `seq_len` rows and is like dy otherwise.
    - C3: `documents`, if there are any, are at most 65535, none negative, and sum to `seq_len`.

    Example: `%dx = fresnel.pyramid_grad mean %dp {seq_len = 1000, levels = 3, factor = 4} : tensor<1x2x1313x32xbf16>`
  }];
  let arguments = (ins Fresnel_PoolKindAttr:$kind, Fresnel_RowsOrScores:$dy, Optional<Fresnel_RowsOrScores>:$x,
                       I64Attr:$seq_len, I64Attr:$levels, I64Attr:$factor, Fresnel_Documents:$documents);
  let results = (outs Fresnel_RowsOrScores:$dx);
  let assemblyFormat = "$kind $dy (`of` `(` $x^ `:` type($x) `)`)? attr-dict `:` type($dy)";
}

def Fresnel_UnpoolGradOp : Fresnel_ComputeOp<"unpool_grad"> {
  let summary = "gradient of `fresnel.unpool`: sums of windows";
  let description = [{
    `dx[i] = sum of dy[j], i window <= j < min((i + 1) window, N)`.

    Constraints:
    - C1: `window` is positive.

    Example: `%dx = fresnel.unpool_grad %dy {window = 64} : tensor<1x2x1000x32xbf16>`
  }];
  let arguments = (ins Fresnel_Rows:$dy, I64Attr:$window);
  let results = (outs Fresnel_Rows:$dx);
  let assemblyFormat = "$dy attr-dict `:` type($dy)";
}

//===----------------------------------------------------------------------===//
// Movement and combination
//===----------------------------------------------------------------------===//

def Fresnel_GatherGradOp : Fresnel_ComputeOp<"gather_grad"> {
  let summary = "gradient of `fresnel.gather`";
  let description = [{
    `dx[b, hx, i]` sums dy over its heads h with h / (H / heads) = hx, then over the
    slots with `indices[b, h / (H / Hi), s] = i`; 0 where there are none.

    Constraints:
    - C1: dy and `indices` agree in batch and length, and the heads of dy are a multiple of those of `indices`.
    - C2: `heads` and `rows` are positive, and H is a multiple of `heads`.

    Example: `%dx = fresnel.gather_grad %dy, %i {heads = 2, rows = 1313} : tensor<1x4x500x32xbf16>, tensor<1x4x500xi32>`
  }];
  let arguments = (ins Fresnel_Rows:$dy, Fresnel_Indices3:$indices, I64Attr:$heads, I64Attr:$rows);
  let results = (outs Fresnel_Rows:$dx);
  let assemblyFormat = "$dy `,` $indices attr-dict `:` type($dy) `,` type($indices)";
}

def Fresnel_ScatterGradOp : Fresnel_ComputeOp<"scatter_grad"> {
  let summary = "gradient of `fresnel.scatter`";
  let description = [{
    Slot s, with `indices[b, h / (H / Hi), s]` the pyramid entry (l, i), sums dy over the
    tokens `[i F + F - 1, min(i F + 2F - 1, N))`, F = factor^l; index -1 gives zeros.

    Constraints:
    - C1: dy and `indices` agree in batch, and the heads of dy are a multiple of those of `indices`.
    - C2: `levels` is in [1, 16], `factor` at least 2, factor^(levels-1) at most 2^31 - 1.
    - C3: `documents`, if there are any, are at most 65535, none negative, and sum to N.

    Example: `%dx = fresnel.scatter_grad %dy, %i {levels = 3, factor = 4} : tensor<1x2x1000x32xbf16>, tensor<1x2x500xi32>`
  }];
  let arguments = (ins Fresnel_Rows:$dy, Fresnel_Indices3:$indices, I64Attr:$levels, I64Attr:$factor,
                       Fresnel_Documents:$documents);
  let results = (outs Fresnel_Rows:$dx);
  let assemblyFormat = "$dy `,` $indices attr-dict `:` type($dy) `,` type($indices)";
}

def Fresnel_GateGradOp : Fresnel_ComputeOp<"gate_grad"> {
  let summary = "gradients of `fresnel.gate`: of each branch, then of the gates";
  let description = [{
    `dx_i = a(gates_i) dy` and `dgates_i = a'(gates_i) sum_d x_i dy`.

    Constraints:
    - C1: the branches and the gates fit as in `fresnel.gate`.
    - C2: dy has the branches' type.

    Example:
    ```mlir
    %da, %db, %dg = fresnel.gate_grad %a, %b by %g dout %dy
        : tensor<1x2x64x32xbf16>, tensor<1x2x64x32xbf16> by tensor<1x2x64x2xbf16>, tensor<1x2x64x32xbf16>
    ```
  }];
  let arguments = (ins Variadic<Fresnel_Rows>:$branches, Fresnel_Rows:$gates, Fresnel_Rows:$dy,
                       DefaultValuedOptionalAttr<Fresnel_ActivationAttr, "::fresnel::Activation::None">:$activation);
  let results = (outs Variadic<Fresnel_Rows>:$dbranches, Fresnel_Rows:$dgates);
  let assemblyFormat = "$branches `by` $gates `dout` $dy attr-dict `:` type($branches) `by` type($gates) `,` type($dy)";
}

def Fresnel_MergeGradOp : Fresnel_ComputeOp<"merge_grad", [
    AllTypesMatch<["part", "out", "dout"]>, AllTypesMatch<["part_lse", "lse"]>]> {
  let summary = "gradients of one part of `fresnel.merge`";
  let description = [{
    With `w = exp(part_lse - lse)`, 0 where lse is -inf: `dpart = w dout` and
    `dpart_lse = w (sum_d dout (part - out) + dlse)`, without `dlse` if there is none.

    Constraints:
    - C1: part, out and dout have one type, the LSEs its shape without the head dim.

    Example:
    ```mlir
    %do, %dl = fresnel.merge_grad %part, %part_lse merged %out, %lse dout %dout
        : tensor<1x2x64x32xbf16>, tensor<1x2x64xf32>
    ```
  }];
  let arguments = (ins Fresnel_Rows:$part, Fresnel_Scores3:$part_lse, Fresnel_Rows:$out, Fresnel_Scores3:$lse,
                       Fresnel_Rows:$dout, Optional<Fresnel_Scores3>:$dlse);
  let results = (outs Fresnel_Rows:$dpart, Fresnel_Scores3:$dpart_lse);
  let assemblyFormat = [{
    $part `,` $part_lse `merged` $out `,` $lse `dout` $dout (`lse` `(` $dlse^ `:` type($dlse) `)`)? attr-dict
    `:` type($part) `,` type($part_lse)
  }];
}

#endif // FRESNEL_GRADIENT_OPS
