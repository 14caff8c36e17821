//===- FresnelAttentionOps.td - Attention, merge, gate -----*- tablegen -*-===//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//

#ifndef FRESNEL_ATTENTION_OPS
#define FRESNEL_ATTENTION_OPS

include "fresnel/Dialect/FresnelDialect.td"

/// Shared by attention and its gradients.
defvar Fresnel_AttendAttributes = (ins
    OptionalAttr<F64Attr>:$scale, DefaultValuedOptionalAttr<BoolAttr, "false">:$causal,
    DefaultValuedOptionalAttr<I64Attr, "0">:$window, DefaultValuedOptionalAttr<I64Attr, "0">:$sinks,
    DefaultValuedOptionalAttr<F64Attr, "0.0">:$softcap, DefaultValuedOptionalAttr<I64Attr, "1">:$key_window,
    DefaultValuedOptionalAttr<I64Attr, "1">:$key_stride, DefaultValuedOptionalAttr<I64Attr, "1">:$query_block,
    DefaultValuedOptionalAttr<I64Attr, "1">:$key_block);

/// Block lists, of rank 4, and behind them the bounds of documents, of rank 3, either or both; or block lists and where
/// blocks start, of rank 4.
defvar Fresnel_AttendMasks = (ins Variadic<Fresnel_Indices3Or4>:$masks);

/// What attention and its gradients declare.
defvar Fresnel_AttendDeclarations = [{
    double getScaleOrDefault();
    /// The block lists, or null.
    ::mlir::TypedValue<::mlir::RankedTensorType> getBlocks() { return ::fresnel::splitMasks(getMasks(), getQ()).blocks; }
    /// The bounds of the documents, or null.
    ::mlir::TypedValue<::mlir::RankedTensorType> getDocuments() {
      return ::fresnel::splitMasks(getMasks(), getQ()).documents;
    }
    /// Where the blocks of lists start, or null.
    ::mlir::TypedValue<::mlir::RankedTensorType> getStarts() { return ::fresnel::splitMasks(getMasks(), getQ()).starts; }
  }];

def Fresnel_DocumentBoundsOp : Fresnel_ComputeOp<"document_bounds"> {
  let summary = "where the document of each token begins and ends";
  let description = [{
    The entries of `cu` cut the tokens [0, seq_len) into documents, as the cumulative
    lengths do that variable-length attention takes (`cu_seqlens`): 0, the end of the first
    document, and so on up to `seq_len`. For token t, `[0, 0, t]` of the result is the
    greatest of 0 and the entries that are at most t, and `[0, 1, t]` the least of
    `seq_len` and the entries that are greater than t. So the order of the entries,
    equal ones (empty documents) and those outside of (0, seq_len) do not matter: any
    number of documents up to C - 1 fits, with `seq_len` in the places that are left over.
    Where the lengths are known, they stand in `documents` instead, and there is no `cu`.

    Constraints:
    - C1: `seq_len` is positive and at most 2^31 - 1.
    - C2: `cu` is [1, 1, C].
    - C3: either `cu` or `documents` is there.
    - C4: `documents`, if there are any, are at most 65535, none negative, and sum to `seq_len`.

    Examples: `%b = fresnel.document_bounds %cu {seq_len = 64} : tensor<1x1x5xi32>`,
    `%b = fresnel.document_bounds {documents = array<i64: 24, 40>, seq_len = 64}`
  }];
  let arguments = (ins Optional<Fresnel_Indices3>:$cu, I64Attr:$seq_len, Fresnel_Documents:$documents);
  let results = (outs Fresnel_Indices3:$result);
  let assemblyFormat = "($cu^)? attr-dict (`:` type($cu)^)?";
}

def Fresnel_AlignDocumentsOp : Fresnel_ComputeOp<"align_documents"> {
  let summary = "places in which each document begins with a block of its own";
  let description = [{
    The entries of `cu` cut the tokens [0, seq_len) into documents: 0, the end of the first
    document, and so on up to `seq_len`. Each entry ends a document at the greatest of 0 and
    the entries up to it, at most `seq_len`; what tokens are left are one document more.
    Documents without tokens take no place. Every other one begins at the next multiple of
    `block` behind the end of the one before, so that whatever is cut into blocks, or into
    windows with a stride that divides `block`, is cut as it would be in each document alone.
    There is room for any C entries: S = block * floor((seq_len + min(C + 1, seq_len) *
    (block - 1)) / block) places. Where the lengths are known, they stand in `documents`
    instead, and there is no `cu` and no place behind all documents.

    Results:
    - `bounds` [1, 2, S]: the places at which the document of each place begins and ends, in
      whole blocks: under a causal mask its tokens see none of the places behind them. Each
      block behind all documents is one by itself.
    - `blocks` [1, 2, S / block]: the same in blocks.
    - `tokens` [1, 2, S]: the same without the places behind a document's last token, for
      what sees the whole document; nothing for the blocks behind all documents.
    - `from` [1, 1, S]: the token of each place, or -1.
    - `to` [1, 1, seq_len]: the place of each token.

    Constraints:
    - C1: `seq_len` and `block` are positive, and they and S are at most 2^31 - 1.
    - C2: `cu` is [1, 1, C].
    - C3: either `cu` or `documents` is there.
    - C4: `documents`, if there are any, are at most 65535, none negative, and sum to `seq_len`.

    Example:
    ```mlir
    %bounds, %blocks, %tokens, %from, %to = fresnel.align_documents %cu {seq_len = 100, block = 64} : tensor<1x1x3xi32>
    ```
  }];
  let arguments = (ins Optional<Fresnel_Indices3>:$cu, I64Attr:$seq_len, I64Attr:$block, Fresnel_Documents:$documents);
  let results = (outs Fresnel_Indices3:$bounds, Fresnel_Indices3:$blocks, Fresnel_Indices3:$tokens, Fresnel_Indices3:$from,
                      Fresnel_Indices3:$to);
  let assemblyFormat = "($cu^)? attr-dict (`:` type($cu)^)?";
}

def Fresnel_NarrowBoundsOp : Fresnel_ComputeOp<"narrow_bounds"> {
  let summary = "bounds of documents that reach no further than a window";
  let description = [{
    For token t with the bounds [s, e): `[0, 0, t]` of the result is max(s, t - window + 1)
    and `[0, 1, t]` is min(e, t + window). Under a causal mask these hide what the window of
    `fresnel.attend` hides besides.

    Constraints:
    - C1: `bounds` is [1, 2, N] and `window` positive.

    Example: `%n = fresnel.narrow_bounds %b {window = 512} : tensor<1x2x1000xi32>`
  }];
  let arguments = (ins Fresnel_Indices3:$bounds, I64Attr:$window);
  let results = (outs Fresnel_Indices3:$result);
  let assemblyFormat = "$bounds attr-dict `:` type($bounds)";
}

def Fresnel_AttendOp : Fresnel_ComputeOp<"attend", [Fresnel_Differentiable]> {
  let summary = "softmax attention, dense or over selected key blocks";
  let description = [{
    `s = scale * q . k` (`scale` 1/sqrt(D) when absent), then, with `softcap` c > 0,
    `s = c tanh(s / c)`; masked scores are -inf; `lse = log sum exp s`;
    `out = sum exp(s - lse) v`.

    Masks, all of which must allow a pair (query i, key j):
    - `causal`: query i stands at position `i + Nk - Nq` (bottom-right alignment),
      key j is visible if j is at most that. Pooled keys (`key_stride` > 1 or
      `key_window` > 1) stand for the tokens
      `[j key_stride, j key_stride + key_window)`; query i is then at position i
      and sees key j if its last token is at or before i;
    - `window` W > 0: visible if position - j < W or j < `sinks`;
    - `blocks`: row `i div query_block` of head h / (Hq / Hs) lists the key blocks
      that query i sees, block b being the keys `[b key_block, (b+1) key_block)`.
      A row is a set: the order of its entries and repetitions do not matter, and
      negative entries stand for none. Blocks beyond the last key hold nothing;
    - `documents`: bounds that `fresnel.document_bounds` or `fresnel.align_documents`
      makes, for all batches and heads.
      Query i sees the keys `[documents[0, 0, i], documents[0, 1, i])`, those of its
      own document. Of pooled keys it sees those that begin at `documents[0, 0, i]` or
      later; the diagonal is their other end;
    - `starts`: of a listed block b no query sees a key in front of `starts[0, 0, b, 0]`.

    Constraints:
    - C1: q, k and v agree in batch and element type, q and k in head dim, k and v in heads and length.
    - C2: the query heads are a multiple of the key heads.
    - C3: `window` and `sinks` are not negative; `sinks` needs `window`, and `window` needs `causal`.
    - C4: `softcap` is not negative.
    - C5: `key_window` and `key_stride` are positive; pooled keys allow no `window` and no `blocks`.
    - C6: `blocks` has the batch of q, a divisor of its heads that is a multiple of the key heads,
      ceil(Nq / query_block) rows and at most ceil(Nk / key_block) entries; both block sizes are positive.
    - C7: `documents` is [1, 2, Nq], and allows no `sinks`. Nq is Nk, or keys are pooled, `causal` is set, and the
      last key's first token is one of the Nq.
    - C8: `blocks` come once at most, and either `documents` or `starts` behind them.
    - C9: `starts` needs `blocks` and is [1, 1, ceil(Nk / key_block), 1].

    Example:
    ```mlir
    %out, %lse = fresnel.attend %q, %k, %v {causal = true, window = 128, sinks = 4}
        : tensor<1x4x64x32xbf16>, tensor<1x2x64x32xbf16>, tensor<1x2x64x32xbf16>
    ```
  }];
  let arguments = !con((ins Fresnel_Rows:$q, Fresnel_Rows:$k, Fresnel_Rows:$v), Fresnel_AttendMasks,
                       Fresnel_AttendAttributes);
  let results = (outs Fresnel_Rows:$out, Fresnel_Scores3:$lse);
  let assemblyFormat = [{
    $q `,` $k `,` $v custom<AttendMasks>($masks, type($masks)) attr-dict `:` type($q) `,` type($k) `,` type($v)
  }];
  let extraClassDeclaration = Fresnel_AttendDeclarations;
}

def Fresnel_MergeOp : Fresnel_ComputeOp<"merge", [SameVariadicOperandSize, Fresnel_Differentiable]> {
  let summary = "attention over the union of disjoint key sets";
  let description = [{
    `lse = log sum_i exp lse_i`, `out = sum_i exp(lse_i - lse) out_i`. Where every
    lse_i is -inf the output is 0 and lse -inf.

    Constraints:
    - C1: at least one part, as many outputs as LSEs.
    - C2: all outputs have one type, all LSEs the matching shape.

    Example:
    ```mlir
    %o, %l = fresnel.merge %o1, %o2 lse %l1, %l2
        : tensor<1x2x64x32xbf16>, tensor<1x2x64x32xbf16> lse tensor<1x2x64xf32>, tensor<1x2x64xf32>
    ```
  }];
  let arguments = (ins Variadic<Fresnel_Rows>:$outs, Variadic<Fresnel_Scores3>:$lses);
  let results = (outs Fresnel_Rows:$out, Fresnel_Scores3:$lse);
  let assemblyFormat = "$outs `lse` $lses attr-dict `:` type($outs) `lse` type($lses)";
  let hasFolder = 1;
}

def Fresnel_GateOp : Fresnel_ComputeOp<"gate", [Fresnel_Differentiable]> {
  let summary = "gated sum of branches";
  let description = [{
    `y[b, h, n] = sum_i a(gates[b, h, n, i]) x_i[b, h, n]`, a the identity or the
    logistic function.

    Constraints:
    - C1: at least one branch, all of one type.
    - C2: `gates` is [B, H, N, branches].

    Example:
    ```mlir
    %y = fresnel.gate %a, %b by %g {activation = #fresnel<activation sigmoid>}
        : tensor<1x2x64x32xbf16>, tensor<1x2x64x32xbf16> by tensor<1x2x64x2xbf16>
    ```
  }];
  let arguments = (ins Variadic<Fresnel_Rows>:$branches, Fresnel_Rows:$gates,
                       DefaultValuedOptionalAttr<Fresnel_ActivationAttr, "::fresnel::Activation::None">:$activation);
  let results = (outs Fresnel_Rows:$result);
  let assemblyFormat = "$branches `by` $gates attr-dict `:` type($branches) `by` type($gates)";
}

#endif // FRESNEL_ATTENTION_OPS
