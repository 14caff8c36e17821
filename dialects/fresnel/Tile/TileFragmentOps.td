//===- TileFragmentOps.td - Register fragments and products *- tablegen -*-===//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//

#ifndef FRESNEL_TILE_FRAGMENT_OPS
#define FRESNEL_TILE_FRAGMENT_OPS

include "fresnel/Tile/TileKernelOps.td"
include "mlir/IR/BuiltinAttributeInterfaces.td"

def Tile_SplatOp : Tile_Op<"splat", [Pure]> {
  let summary = "a fragment whose elements are all one scalar";
  let arguments = (ins AnyType:$value);
  let results = (outs Tile_AnyFragment:$result);
  let assemblyFormat = "$value attr-dict `:` type($value) `->` type($result)";
}

def Tile_RowIndexOp : Tile_Op<"row_index", [Pure]> {
  let summary = "each element's row, plus a base";
  let arguments = (ins I32:$base);
  let results = (outs Tile_AnyFragment:$result);
  let assemblyFormat = "$base attr-dict `:` type($result)";
}

def Tile_ColIndexOp : Tile_Op<"col_index", [Pure]> {
  let summary = "each element's column, plus a base";
  let arguments = (ins I32:$base);
  let results = (outs Tile_Acc:$result);
  let assemblyFormat = "$base attr-dict `:` type($result)";
}

def Tile_TriangleOp : Tile_Op<"triangle", [Pure]> {
  let summary = "true where an element's column is at least its row plus an offset";
  let description = [{
    One comparison an element, of a value of the row with a constant.

    Example: `%visible = tile.triangle %first : tensor<64x64xi1, #tile.acc>`
  }];
  let arguments = (ins I32:$offset);
  let results = (outs Tile_Acc:$result);
  let assemblyFormat = "$offset attr-dict `:` type($result)";
}

def Tile_ReduceOp : Tile_Op<"reduce", [Pure]> {
  let summary = "combines the columns of each row";
  let description = [{
    With `partial` each lane combines only the columns it holds and the four
    lanes of a quad keep different values; `tile.quad_reduce` completes it later
    (a running sum needs that only once, at the end).

    Example: `%m = tile.reduce max %s : tensor<64x64xf32, #tile.acc> -> tensor<64xf32, #tile.rows>`
  }];
  let arguments = (ins Tile_CombineAttr:$kind, Tile_Acc:$value, UnitAttr:$partial);
  let results = (outs Tile_RowVector:$result);
  let assemblyFormat = "$kind (`partial` $partial^)? $value attr-dict `:` type($value) `->` type($result)";
}

def Tile_QuadReduceOp : Tile_Op<"quad_reduce", [Pure, AllTypesMatch<["value", "result"]>]> {
  let summary = "combines the partial rows of the four lanes of a quad";
  let arguments = (ins Tile_CombineAttr:$kind, Tile_RowVector:$value);
  let results = (outs Tile_RowVector:$result);
  let assemblyFormat = "$kind $value attr-dict `:` type($value)";
}

def Tile_AnyOp : Tile_Op<"any"> {
  let summary = "true if the value is true in any row of the warp's";
  let description = [{
    All lanes of the warp take part; other warps of the fragment may differ.
    Example: `%grows = tile.any %g : tensor<64xi1, #tile.rows>`
  }];
  let arguments = (ins Tile_RowVector:$value);
  let results = (outs I1:$result);
  let assemblyFormat = "$value attr-dict `:` type($value)";
}

def Tile_AnchorOp : Tile_Op<"anchor", [MemoryEffects<[MemWrite]>]> {
  let summary = "keeps the computation of a value in front of what follows";
  let description = [{
    Where nothing in front of a `tile.wgmma_wait` depends on a value, such as the exponentials of
    a softmax, assemblers compute it behind the wait. Here each thread of the warpgroup stores what
    it holds of the value to a place of its own, which nobody reads, in one instruction; the
    store, and so what the value is made of, stays in front.

    Constraints:
    - C1: the value has 64 rows of f32; the array is linear, of 256 f32.

    Example: `tile.anchor %early, %scratch : tensor<64xf32, #tile.rows>, !tile.shared<256xf32, linear>`
  }];
  let arguments = (ins Tile_RowVector:$value, Tile_SharedType:$scratch);
  let assemblyFormat = "$value `,` $scratch attr-dict `:` type($value) `,` type($scratch)";
  let hasVerifier = 1;
}

def Tile_BroadcastOp : Tile_Op<"broadcast", [Pure]> {
  let summary = "repeats each row's value over the columns";
  let arguments = (ins Tile_RowVector:$value);
  let results = (outs Tile_Acc:$result);
  let assemblyFormat = "$value attr-dict `:` type($value) `->` type($result)";
}

def Tile_ColumnsOp : Tile_Op<"columns", [Pure]> {
  let summary = "some neighbouring columns of an accumulator";
  let description = [{
    Column c of the result is column `first` + c of the value; no element moves to
    another thread.

    Constraints:
    - C1: rows and element type agree; `first` and the columns are multiples of 8 and inside the value.

    Example: `%h = tile.columns %s from 32 : tensor<64x64xf32, #tile.acc> -> tensor<64x32xf32, #tile.acc>`
  }];
  let arguments = (ins Tile_Acc:$value, I32Attr:$first);
  let results = (outs Tile_Acc:$result);
  let assemblyFormat = "$value `from` $first attr-dict `:` type($value) `->` type($result)";
  let hasVerifier = 1;
}

def Tile_LoadRowsOp : Tile_Op<"load_rows", [MemoryEffects<[MemRead]>]> {
  let summary = "loads one f32 per row from a [batch, head, sequence] tensor";
  let description = [{
    Row r comes from sequence position `row` + r; rows beyond the sequence length
    get `outside`. `group` as in `tile.copy_async`.

    Constraints:
    - C1: the tensor has rank 3 and the fragment's element type; `group` is positive.

    Example: `%l = tile.load_rows %lse[%b, %h, %r] outside(0.0) : !tile.global<1x8x1000xf32> -> tensor<64xf32, #tile.rows>`
  }];
  let arguments = (ins Tile_GlobalType:$source, I32:$batch, I32:$head, I32:$row, F32Attr:$outside,
                       DefaultValuedAttr<I32Attr, "1">:$group);
  let results = (outs Tile_RowVector:$result);
  let assemblyFormat = [{
    $source `[` $batch `,` $head `,` $row `]` `outside` `(` $outside `)` attr-dict `:` type($source) `->` type($result)
  }];
  let hasVerifier = 1;
}

def Tile_LoadColsOp : Tile_Op<"load_cols", [MemoryEffects<[MemRead]>]> {
  let summary = "loads one f32 per column and repeats it over the rows";
  let description = [{
    Column c comes from position `indices` + c of the innermost dimension of a
    [batch, head, sequence] tensor, or of a row of shared memory. Positions beyond
    a tensor's sequence length give `outside`; a shared row must hold all columns,
    and start at an even element.

    Constraints:
    - C1: a tensor of rank 3, or a linear shared array, of the fragment's element type; one index per dimension.

    Example: `%l = tile.load_cols %lse[%b, %h, %r] outside(0.0) : !tile.global<1x8x1000xf32> -> tensor<64x32xf32, #tile.acc>`
  }];
  let arguments = (ins Tile_Memory:$source, Variadic<I32>:$indices, F32Attr:$outside);
  let results = (outs Tile_Acc:$result);
  let assemblyFormat = "$source `[` $indices `]` `outside` `(` $outside `)` attr-dict `:` type($source) `->` type($result)";
  let hasVerifier = 1;
}

def Tile_LookupOp : Tile_Op<"lookup", [MemoryEffects<[MemRead]>]> {
  let summary = "loads, for each element of a fragment of indices, what it points at";
  let description = [{
    Each element is an index of the innermost dimension of the view; `indices` are
    those of the other dimensions. Elements that are negative or beyond a tensor's
    innermost dimension give `outside`; those of a shared array must be inside.

    Constraints:
    - C1: the indices are i32, shape and encoding of both fragments agree, and the element type is the view's.
    - C2: one index for each of the view's dimensions but the innermost; a shared view is linear.

    Example:
    ```mlir
    %b = tile.lookup %list[][%e] outside(0 : i32)
        : !tile.shared<64xi32, linear>, tensor<64x32xi32, #tile.acc> -> tensor<64x32xi32, #tile.acc>
    ```
  }];
  let arguments = (ins Tile_Memory:$source, Variadic<I32>:$indices, AnyTypeOf<[Tile_Acc, Tile_RowVector]>:$elements,
                       TypedAttrInterface:$outside);
  let results = (outs AnyTypeOf<[Tile_Acc, Tile_RowVector]>:$result);
  let assemblyFormat = [{
    $source `[` $indices `]` `[` $elements `]` `outside` `(` $outside `)` attr-dict
    `:` type($source) `,` type($elements) `->` type($result)
  }];
  let hasVerifier = 1;
}

def Tile_RoundOp : Tile_Op<"round", [Pure]> {
  let summary = "the nearest integers, even ones in the middle; NaN gives 0, what is out of range the nearest end";
  let description = [{
    Constraints:
    - C1: f32 becomes i32; the shapes agree.

    Example: `%n = tile.round %x : tensor<64x64xf32, #tile.acc> -> tensor<64x64xi32, #tile.acc>`
  }];
  let arguments = (ins Tile_Acc:$value);
  let results = (outs Tile_Acc:$result);
  let assemblyFormat = "$value attr-dict `:` type($value) `->` type($result)";
  let hasVerifier = 1;
}

def Tile_ToLhsOp : Tile_Op<"to_lhs", [Pure]> {
  let summary = "rounds an f32 accumulator to a 16-bit left operand, in place";
  let description = [{
    Constraints:
    - C1: the shapes agree and the columns are a multiple of 16.
    - C2: f32 to bf16 or f16.
  }];
  let arguments = (ins Tile_Acc:$value);
  let results = (outs Tile_Lhs:$result);
  let assemblyFormat = "$value attr-dict `:` type($value) `->` type($result)";
  let hasVerifier = 1;
}

def Tile_LoadLhsOp : Tile_Op<"load_lhs", [MemoryEffects<[MemRead]>]> {
  let summary = "loads a left operand from shared memory (ldmatrix)";
  let description = [{
    Loads columns `column` .. of the tile; warp w of the group reads rows 16w ...

    Constraints:
    - C1: rows agree, columns fit the tile and are a multiple of 16, element types agree.
  }];
  let arguments = (ins Tile_SharedType:$source, DefaultValuedAttr<I32Attr, "0">:$column);
  let results = (outs Tile_Lhs:$result);
  let assemblyFormat = "$source attr-dict `:` type($source) `->` type($result)";
  let hasVerifier = 1;
}

def Tile_MmaOp : Tile_Op<"mma", [MemoryEffects<[MemRead]>, AllTypesMatch<["acc", "result"]>]> {
  let summary = "acc + lhs * rhs with mma.sync.m16n8k16";
  let description = [{
    `rhs` is a shared-memory tile. Plain, its rows are the K dimension and its
    columns the N dimension (V in P * V); with `transposed` its rows are N and
    its columns K (K in Q * K^T). The product uses the columns from `column` on:
    as many as acc has, or transposed as many as lhs has.

    Constraints:
    - C1: lhs [M, K], acc [M, N]; rhs [K, >= column + N], or [N, >= column + K] transposed.
    - C2: N is a multiple of 16, K a multiple of 16.
    - C3: lhs and rhs have one 16-bit floating-point element type, acc f32.

    Example:
    ```mlir
    %s = tile.mma %q, %k transposed, %zero
        : tensor<64x128xbf16, #tile.lhs>, !tile.shared<64x128xbf16, padded>, tensor<64x64xf32, #tile.acc>
    ```
  }];
  let arguments = (ins Tile_Lhs:$lhs, Tile_SharedType:$rhs, Tile_Acc:$acc, UnitAttr:$transposed,
                       DefaultValuedAttr<I32Attr, "0">:$column);
  let results = (outs Tile_Acc:$result);
  let assemblyFormat = [{
    $lhs `,` $rhs (`transposed` $transposed^)? `,` $acc attr-dict `:` type($lhs) `,` type($rhs) `,` type($acc)
  }];
  let hasVerifier = 1;
}

def Tile_StoreTileOp : Tile_Op<"store_tile", [AttrSizedOperandSegments, MemoryEffects<[MemWrite]>]> {
  let summary = "rounds an accumulator and stores it to rows of a tensor";
  let description = [{
    Row r goes to sequence position `row` + r of (batch, head), from column
    `column`, or 0, on; rows at or beyond the tensor's sequence length, or `limit`,
    are not stored. `group` as in `tile.copy_async`.

    Constraints:
    - C1: the tensor has rank 4 and at least the fragment's columns; `group` is positive.
  }];
  let arguments = (ins Tile_Acc:$value, Tile_GlobalType:$target, I32:$batch, I32:$head, I32:$row,
                       Optional<I32>:$column, Optional<I32>:$limit, DefaultValuedAttr<I32Attr, "1">:$group);
  let builders = [OpBuilder<(ins "::mlir::Value":$value, "::mlir::Value":$target, "::mlir::Value":$batch,
                                 "::mlir::Value":$head, "::mlir::Value":$row,
                                 CArg<"::mlir::Value", "{}">:$column), [{
    build($_builder, $_state, value, target, batch, head, row, column, ::mlir::Value(), /*group=*/1);
  }]>];
  let assemblyFormat = [{
    $value `,` $target `[` $batch `,` $head `,` $row `]` (`column` `(` $column^ `)`)? (`limit` `(` $limit^ `)`)?
    attr-dict `:` type($value) `,` type($target)
  }];
  let hasVerifier = 1;
}

def Tile_StoreSharedOp : Tile_Op<"store_shared", [MemoryEffects<[MemWrite]>]> {
  let summary = "stores an accumulator to a shared-memory tile";
  let description = [{
    Element (r, c) goes to row r and column c of the tile, or `transposed` to row c
    and column r. Each warp writes the rows that it holds.

    Constraints:
    - C1: the tile has rank 2, is not swizzled, holds the fragment's element type and at least its (transposed) shape.

    Example: `tile.store_shared %s, %tile : tensor<64x64xf32, #tile.acc>, !tile.shared<64x64xf32, padded>`
  }];
  let arguments = (ins Tile_Acc:$value, Tile_SharedType:$target, UnitAttr:$transposed);
  let assemblyFormat = "$value `,` $target (`transposed` $transposed^)? attr-dict `:` type($value) `,` type($target)";
  let hasVerifier = 1;
}

def Tile_StoreFragmentOp : Tile_Op<"store_fragment", [MemoryEffects<[MemWrite]>]> {
  let summary = "stores an accumulator of 64 rows to a linear array, in the order in which threads hold it";
  let description = [{
    Element 4j + k of thread t of the warpgroup goes to place 4 (128 j + t) + k of a shared
    array, or of the tensor from `indices` on: each thread writes 16 bytes at once, and a warp
    no bank twice.

    Constraints:
    - C1: the fragment has 64 rows; the array is linear, has rank 1, the fragment's element type and as many elements.
    - C2: a tensor has the fragment's element type, an innermost dimension of its number of elements or a multiple, and
      one index per dimension; a shared array has none.

    Example: `tile.store_fragment %dq, %part : tensor<64x64xf32, #tile.acc>, !tile.shared<4096xf32, linear>`
  }];
  let arguments = (ins Tile_Acc:$value, Tile_Memory:$target, Variadic<I32>:$indices);
  let assemblyFormat = "$value `,` $target (`[` $indices^ `]`)? attr-dict `:` type($value) `,` type($target)";
  let hasVerifier = 1;
}

def Tile_LoadFragmentOp : Tile_Op<"load_fragment", [MemoryEffects<[MemRead]>]> {
  let summary = "loads what `tile.store_fragment` stored to a tensor";
  let description = [{
    Constraints:
    - C1: the fragment and the tensor are as in C1 and C2 of `tile.store_fragment`.

    Example: `%dk = tile.load_fragment %sums[%slot, %c0] : !tile.global<8x8192xf32> -> tensor<64x128xf32, #tile.acc>`
  }];
  let arguments = (ins Tile_GlobalType:$source, Variadic<I32>:$indices);
  let results = (outs Tile_Acc:$result);
  let assemblyFormat = "$source `[` $indices `]` attr-dict `:` type($source) `->` type($result)";
  let hasVerifier = 1;
}

def Tile_StoreRowsOp : Tile_Op<"store_rows", [MemoryEffects<[MemWrite]>]> {
  let summary = "stores one f32 per row to a [batch, head, sequence] tensor";
  let description = [{
    Lane 0 of each quad stores; rows beyond the sequence length are not stored.
    `group` as in `tile.copy_async`.

    Constraints:
    - C1: the tensor has rank 3 and the fragment's element type; `group` is positive.
  }];
  let arguments = (ins Tile_RowVector:$value, Tile_GlobalType:$target, I32:$batch, I32:$head, I32:$row,
                       DefaultValuedAttr<I32Attr, "1">:$group);
  let assemblyFormat = "$value `,` $target `[` $batch `,` $head `,` $row `]` attr-dict `:` type($value) `,` type($target)";
  let hasVerifier = 1;
}

#endif // FRESNEL_TILE_FRAGMENT_OPS
