//===- TileMemoryOps.td - Shared memory, loads and copies --*- tablegen -*-===//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//

#ifndef FRESNEL_TILE_MEMORY_OPS
#define FRESNEL_TILE_MEMORY_OPS

include "fresnel/Tile/TileKernelOps.td"

def Tile_AllocOp : Tile_Op<"alloc", [MemoryEffects<[MemAlloc]>]> {
  let summary = "reserves shared memory for the kernel's life";
  let description = [{
    `reuse`, when given, is an earlier allocation whose memory is used again:
    the two must not be live together.

    Example: `%k = tile.alloc : !tile.shared<2x64x128xbf16, padded>`
  }];
  let arguments = (ins Optional<AnyTypeOf<[Tile_SharedType, Tile_BarriersType]>>:$reuse);
  let results = (outs AnyTypeOf<[Tile_SharedType, Tile_BarriersType]>:$result);
  let assemblyFormat = "(`reuse` $reuse^ `:` type($reuse))? attr-dict `:` type($result)";
}

def Tile_SliceOp : Tile_Op<"slice", [Pure]> {
  let summary = "one tile of a ring, or one row of a linear array of rank 2";
  let description = [{
    Example: `%k0 = tile.slice %k[%stage] : !tile.shared<2x64x128xbf16, padded>`
  }];
  let arguments = (ins Tile_SharedType:$ring, I32:$stage);
  let results = (outs Tile_SharedType:$result);
  let builders = [OpBuilder<(ins "::mlir::Value":$ring, "::mlir::Value":$stage), [{
    build($_builder, $_state, ::llvm::cast<SharedType>(ring.getType()).getTile(), ring, stage);
  }]>];
  let assemblyFormat = "$ring `[` $stage `]` attr-dict `:` type($ring) `->` type($result)";
  let hasVerifier = 1;
}

def Tile_PanelOp : Tile_Op<"panel", [Pure]> {
  let summary = "64 columns, or a multiple of them, of a swizzled tile";
  let description = [{
    Panel i holds the columns 64i .. 64i + 63; the result begins with it. Columns of the
    last panel that the tile does not have are what was written there, zeros after a
    `tile.tma_load`.

    Constraints:
    - C1: the tile has rank 2, is swizzled and of 16-bit elements; the result has its rows and a multiple of 64 columns,
      not more than its panels have.

    Example: `%left = tile.panel %k[%c0] : !tile.shared<128x128xbf16, swizzled> -> !tile.shared<128x64xbf16, swizzled>`
  }];
  let arguments = (ins Tile_SharedType:$tile, I32:$panel);
  let results = (outs Tile_SharedType:$result);
  let builders = [OpBuilder<(ins "::mlir::Value":$tile, "::mlir::Value":$panel, CArg<"int64_t", "64">:$columns), [{
    auto type = ::llvm::cast<SharedType>(tile.getType());
    build($_builder, $_state,
          SharedType::get($_builder.getContext(), {type.getRows(), columns}, type.getElementType(), type.getLayout()),
          tile, panel);
  }]>];
  let assemblyFormat = "$tile `[` $panel `]` attr-dict `:` type($tile) `->` type($result)";
  let hasVerifier = 1;
}

def Tile_TableOp : Tile_Op<"table", [Pure]> {
  let summary = "integers that are known when the kernel is written";
  let description = [{
    They lie in device memory, row by row, and are loaded with the kernel.

    Constraints:
    - C1: the result is of i32 and rank 2, not strided, with as many elements as there are `values`.

    Example: `%t = tile.table [0, 24, 24, 40] : !tile.global<2x2xi32>`
  }];
  let arguments = (ins DenseI32ArrayAttr:$values);
  let results = (outs Tile_GlobalType:$result);
  let assemblyFormat = "$values attr-dict `:` type($result)";
  let hasVerifier = 1;
}

def Tile_LoadOp : Tile_Op<"load", [MemoryEffects<[MemRead]>]> {
  let summary = "loads a scalar or a vector";
  let description = [{
    One index per dimension of the view. A vector reads consecutive elements of
    the innermost dimension with one access, so it must be aligned to its size.

    Constraints:
    - C1: as many indices as the view has dimensions.
    - C2: the value's element type is the view's.
  }];
  let arguments = (ins Tile_Memory:$view, Variadic<I32>:$indices);
  let results = (outs AnyType:$result);
  let assemblyFormat = "$view `[` $indices `]` attr-dict `:` type($view) `->` type($result)";
  let hasVerifier = 1;
}

def Tile_StoreOp : Tile_Op<"store", [MemoryEffects<[MemWrite]>]> {
  let summary = "stores a scalar or a vector";
  let description = "As `tile.load`, with the same constraints C1 and C2.";
  let arguments = (ins AnyType:$value, Tile_Memory:$view, Variadic<I32>:$indices);
  let assemblyFormat = "$value `,` $view `[` $indices `]` attr-dict `:` type($value) `,` type($view)";
  let hasVerifier = 1;
}

def Tile_AtomicOp : Tile_Op<"atomic", [MemoryEffects<[MemRead, MemWrite]>]> {
  let summary = "combines an i32 into memory and returns the old value";
  let description = [{
    Order-independent combinations only, so that results stay deterministic; the
    returned value depends on the order and must not reach an output. Relaxed;
    in shared memory among the threads of the block, else of the device.

    Example: `%old = tile.atomic add %v, %bins[%i] : !tile.shared<256xi32, linear>`
  }];
  let arguments = (ins Tile_CombineAttr:$kind, I32:$value, Tile_Memory:$view, Variadic<I32>:$indices);
  let results = (outs I32:$old);
  let assemblyFormat = "$kind $value `,` $view `[` $indices `]` attr-dict `:` type($view)";
}

def Tile_ShuffleOp : Tile_Op<"shuffle"> {
  let summary = "reads another lane's value";
  let description = [{
    All 32 lanes take part. `xor`: lane ^ operand; `index`: that lane; `up`:
    lane - operand (lanes below the operand keep their own value).

    Example: `%y = tile.shuffle xor %x, %c1 : f32`
  }];
  let arguments = (ins Tile_ShuffleAttr:$kind, AnyTypeOf<[I32, F32]>:$value, I32:$lane);
  let results = (outs AnyTypeOf<[I32, F32]>:$result);
  let builders = [OpBuilder<(ins "::fresnel::tile::Shuffle":$kind, "::mlir::Value":$value, "::mlir::Value":$lane), [{
    build($_builder, $_state, value.getType(), kind, value, lane);
  }]>];
  let assemblyFormat = "$kind $value `,` $lane attr-dict `:` type($value) `->` type($result)";
}

def Tile_BallotOp : Tile_Op<"ballot"> {
  let summary = "bit l of the result is the predicate of lane l";
  let arguments = (ins I1:$predicate);
  let results = (outs I32:$mask);
  let assemblyFormat = "$predicate attr-dict";
}

def Tile_CopyAsyncOp : Tile_Op<"copy_async", [MemoryEffects<[MemRead, MemWrite]>]> {
  let summary = "copies rows of a tensor to shared memory with cp.async";
  let description = [{
    All threads of the block together copy rows `row` .. `row` + R - 1 of
    (batch, head) into an R-row tile, 16 bytes a copy. Rows at or beyond the
    tensor's sequence length, and negative ones, arrive as zeros. Complete after
    `tile.copy_commit` and `tile.copy_wait`.

    With `group` g, row r of the tile is row `row` + r div g of head
    `head` + r mod g. With a `list` of blocks of `block` rows, row r is row u mod
    `block` of the block that entry u div `block` of the list names, u = `row` + r.

    Constraints:
    - C1: the tensor has rank 4, its last dimension is the tile's columns, and the element types agree.
    - C2: a row is a multiple of 16 bytes.
    - C3: `group` and `block` are positive; the list is a linear array of i32, and excludes a `group`.

    Example:
    ```mlir
    tile.copy_async %q[%b, %h, %row] to %tile : !tile.global<1x8x8192x128xbf16>, !tile.shared<64x128xbf16, padded>
    ```
  }];
  let arguments = (ins Tile_GlobalType:$source, I32:$batch, I32:$head, I32:$row, Tile_SharedType:$target,
                       Optional<Tile_SharedType>:$list, DefaultValuedAttr<I32Attr, "1">:$block,
                       DefaultValuedAttr<I32Attr, "1">:$group);
  let builders = [OpBuilder<(ins "::mlir::Value":$source, "::mlir::Value":$batch, "::mlir::Value":$head,
                                 "::mlir::Value":$row, "::mlir::Value":$target), [{
    build($_builder, $_state, source, batch, head, row, target, ::mlir::Value(), /*block=*/1, /*group=*/1);
  }]>];
  let assemblyFormat = [{
    $source `[` $batch `,` $head `,` $row `]` (`of` `(` $list^ `:` type($list) `)`)? `to` $target attr-dict
    `:` type($source) `,` type($target)
  }];
  let hasVerifier = 1;
}

def Tile_CopyCommitOp : Tile_Op<"copy_commit"> {
  let summary = "closes a group of cp.async copies";
  let assemblyFormat = "attr-dict";
}

def Tile_CopyWaitOp : Tile_Op<"copy_wait"> {
  let summary = "waits until at most `pending` groups of copies are in flight";
  let arguments = (ins I32Attr:$pending);
  let assemblyFormat = "$pending attr-dict";
}

#endif // FRESNEL_TILE_MEMORY_OPS
