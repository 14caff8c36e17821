//===- FresnelGroupedOps.td - Queries grouped by blocks ----*- tablegen -*-===//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
//
// Where each query has a block list of its own, attention is computed block by block: the
// queries that list a block are gathered, attend to it together, and what the blocks give a
// query is put together again. `fresnel-group-queries` makes these operations.
//
//===----------------------------------------------------------------------===//

#ifndef FRESNEL_GROUPED_OPS
#define FRESNEL_GROUPED_OPS

include "fresnel/Dialect/FresnelDialect.td"

def Fresnel_SplitBlocksOp : Fresnel_ComputeOp<"split_blocks"> {
  let summary = "the blocks that a query sees whole, and the one on its diagonal";
  let description = [{
    Of the lists [B, H, M, K] of `fresnel.attend` under a causal mask, with one row for each
    of M queries: query i stands at position `i + keys - M` of the keys, in block
    `c = position div key_block`. An entry of `past` is that of the list if it names a block
    in front of c and no entry before it in the row does, and -1 otherwise. `diagonal`
    [B, H, M, 1] is c where the row lists it, and -1 otherwise, also in front of the
    first key. With `documents`, the bounds that `fresnel.attend` takes, `past` names no
    block that ends before the document of query i begins.

    Constraints:
    - C1: `key_block` and `keys` are positive.
    - C2: `documents` is [1, 2, M], and M is `keys`.

    Example: `%p, %d = fresnel.split_blocks %list {key_block = 64, keys = 1000} : tensor<1x2x1000x3xi32>`
  }];
  let arguments = (ins Fresnel_Indices4:$list, Optional<Fresnel_Indices3>:$documents, I64Attr:$key_block,
                       I64Attr:$keys);
  let results = (outs Fresnel_Indices4:$past, Fresnel_Indices4:$diagonal);
  let assemblyFormat = "$list (`documents` `(` $documents^ `:` type($documents) `)`)? attr-dict `:` type($list)";
}

def Fresnel_BlockBoundsOp : Fresnel_ComputeOp<"block_bounds"> {
  let summary = "what is seen of blocks of keys within documents";
  let description = [{
    The bounds [s, e) of each token's document, as `fresnel.attend` takes them, cut where
    blocks of `key_block` tokens begin.

    Results:
    - `own` [1, 2, N]: for token t in block c, max(s, c key_block) and min(e, (c + 1) key_block).
    - `starts` [1, 1, ceil(N / key_block), 1]: `own[0, 0, t]` of the last token t of each
      block. Of the tokens behind a block only those of this token's document see keys
      in it, and those from here on.

    Constraints:
    - C1: `bounds` is [1, 2, N] and `key_block` positive.

    Example: `%own, %starts = fresnel.block_bounds %b {key_block = 64} : tensor<1x2x1000xi32>`
  }];
  let arguments = (ins Fresnel_Indices3:$bounds, I64Attr:$key_block);
  let results = (outs Fresnel_Indices3:$own, Fresnel_Indices4:$starts);
  let assemblyFormat = "$bounds attr-dict `:` type($bounds)";
}

def Fresnel_GroupRowsOp : Fresnel_ComputeOp<"group_rows"> {
  let summary = "rows of lists, block by block";
  let description = [{
    `list` [B, H, M, K] names a block once in a row at most; `bits` are `fresnel.transpose_blocks`
    of it, `counts` `fresnel.count_rows` of those. There are `length` places: first those
    for the rows that list block 0, in ascending order, then for block 1, and so on, each
    block's from the next multiple of 128 on. Rows beyond the last place are left out.

    Results:
    - `rows` [B, H, length]: the row of each place, or -1.
    - `tiles` [B, H, length / 128, 1]: the block of each 128 places, or -1.
    - `slots` [B, H, M, K]: the place of the row among those of the block that the entry
      names, or -1.

    Constraints:
    - C1: `bits` has a bit for each row of `list`, and `counts` an element for each of its blocks.
    - C2: `length` is a positive multiple of 128.

    Example:
    ```mlir
    %rows, %tiles, %slots = fresnel.group_rows %p, %bits, %counts {length = 4096}
        : tensor<1x2x1000x3xi32>, tensor<1x2x16x32xi32>, tensor<1x2x16xi32>
    ```
  }];
  let arguments = (ins Fresnel_Indices4:$list, Fresnel_Indices4:$bits, Fresnel_Indices3:$counts, I64Attr:$length);
  let results = (outs Fresnel_Indices3:$rows, Fresnel_Indices4:$tiles, Fresnel_Indices4:$slots);
  let assemblyFormat = "$list `,` $bits `,` $counts attr-dict `:` type($list) `,` type($bits) `,` type($counts)";
}

def Fresnel_GatherScoresOp : Fresnel_ComputeOp<"gather_scores"> {
  let summary = "numbers of rows at given indices";
  let description = [{
    `y[b, h, s] = x[b, h, rows[b, h / (H / Hr), s]]`, and 0 where `rows` is -1.

    Constraints:
    - C1: the batches agree, and the heads of x are a multiple of those of `rows`.

    Example: `%y = fresnel.gather_scores %x, %rows : tensor<1x2x1000xf32>, tensor<1x2x4096xi32>`
  }];
  let arguments = (ins Fresnel_Scores3:$x, Fresnel_Indices3:$rows);
  let results = (outs Fresnel_Scores3:$result);
  let assemblyFormat = "$x `,` $rows attr-dict `:` type($x) `,` type($rows)";
}

def Fresnel_MergeRowsOp : Fresnel_ComputeOp<"merge_rows"> {
  let summary = "attention outputs of places and of the rows themselves, merged by LSE";
  let description = [{
    As `fresnel.merge`, of row m of `out` and `lse` and of the rows `slots[b, h / (H / Hs), m, k]`
    of `part` and `part_lse`, for each k; -1 stands for none.

    Constraints:
    - C1: `part` agrees with `out` except in length; both LSEs have their shapes without the head dim.
    - C2: `slots` has the batch and length of `out`, whose heads are a multiple of those of `slots`.

    Example:
    ```mlir
    %o, %l = fresnel.merge_rows %part, %pl at %slots into %out, %lse
        : tensor<1x2x4096x64xbf16>, tensor<1x2x4096xf32>, tensor<1x2x1000x3xi32>, tensor<1x2x1000x64xbf16>, tensor<1x2x1000xf32>
    ```
  }];
  let arguments = (ins Fresnel_Rows:$part, Fresnel_Scores3:$part_lse, Fresnel_Indices4:$slots, Fresnel_Rows:$out,
                       Fresnel_Scores3:$lse);
  let results = (outs Fresnel_Rows:$merged, Fresnel_Scores3:$merged_lse);
  let assemblyFormat = [{
    $part `,` $part_lse `at` $slots `into` $out `,` $lse attr-dict
    `:` type($part) `,` type($part_lse) `,` type($slots) `,` type($out) `,` type($lse)
  }];
}

def Fresnel_SumRowsOp : Fresnel_ComputeOp<"sum_rows"> {
  let summary = "rows, and those of their places, added up";
  let description = [{
    `y[b, h, m] = x[b, h, m] + sum_k part[b, h, slots[b, h / (H / Hs), m, k]]`, where -1
    stands for none: in f32, rounded once.

    Constraints:
    - C1: `part` agrees with `x` except in length.
    - C2: `slots` has the batch and length of `x`, whose heads are a multiple of those of `slots`.

    Example:
    ```mlir
    %y = fresnel.sum_rows %part at %slots into %x
        : tensor<1x2x4096x64xbf16>, tensor<1x2x1000x3xi32>, tensor<1x2x1000x64xbf16>
    ```
  }];
  let arguments = (ins Fresnel_Rows:$part, Fresnel_Indices4:$slots, Fresnel_Rows:$x);
  let results = (outs Fresnel_Rows:$result);
  let assemblyFormat = "$part `at` $slots `into` $x attr-dict `:` type($part) `,` type($slots) `,` type($x)";
}

#endif // FRESNEL_GROUPED_OPS
