//===- TileAsyncOps.td - WGMMA, TMA and mbarriers (sm_90a) -*- tablegen -*-===//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//

#ifndef FRESNEL_TILE_ASYNC_OPS
#define FRESNEL_TILE_ASYNC_OPS

include "fresnel/Tile/TileKernelOps.td"

def Tile_WgmmaOp : Tile_Op<"wgmma", [AttrSizedOperandSegments, MemoryEffects<[MemRead]>]> {
  let summary = "starts acc + lhs * rhs on the warpgroup's matrix unit";
  let description = [{
    Issues one group of m64nNk16 instructions and commits it. `lhs` is a register
    fragment of 64 rows, or a swizzled tile of which the warpgroup's 64 rows start
    at `lhs_row`; with `lhs_transposed` a swizzled tile of 64 columns, whose rows are K.
    `rhs` is a swizzled tile, `transposed` as in `tile.mma`; with `rhs_row` it gives N, or if
    it is not transposed K, of its rows from there on. Without `acc` the product starts from zero. The
    result must be read only through `tile.wgmma_wait`.

    Constraints:
    - C1: the fragments have 64 rows; N is a multiple of 8 in [8, 256]; K a multiple of 16.
    - C2: shared operands are swizzled and 16-bit; with `lhs_transposed` the left one is not `swizzled64`.
    - C3: `lhs_row` accompanies a shared `lhs` that is not transposed, and only that.
    - C4: `rhs_row` is a multiple of 8, and of 16 where rows of `rhs` are K.
  }];
  let arguments = (ins AnyTypeOf<[Tile_Lhs, Tile_SharedType]>:$lhs, Optional<I32>:$lhs_row, Tile_SharedType:$rhs,
                       Optional<I32>:$rhs_row, Optional<Tile_Acc>:$acc, UnitAttr:$transposed,
                       UnitAttr:$lhs_transposed);
  let results = (outs Tile_Acc:$result);
  let builders = [OpBuilder<(ins "::mlir::Type":$result, "::mlir::Value":$lhs, "::mlir::Value":$lhsRow,
                                 "::mlir::Value":$rhs, "::mlir::Value":$acc, "bool":$transposed), [{
    build($_builder, $_state, result, lhs, lhsRow, rhs, ::mlir::Value(), acc, transposed, /*lhs_transposed=*/false);
  }]>];
  let assemblyFormat = [{
    $lhs (`row` `(` $lhs_row^ `)`)? (`lhs_transposed` $lhs_transposed^)? `,` $rhs (`transposed` $transposed^)?
    (`rows` `(` $rhs_row^ `)`)? (`,` $acc^ `:` type($acc))? attr-dict
    `:` type($lhs) `,` type($rhs) `->` type($result)
  }];
  let hasVerifier = 1;
}

def Tile_WgmmaWaitOp : Tile_Op<"wgmma_wait", [AllTypesMatch<["value", "result"]>]> {
  let summary = "waits until at most `pending` groups are in flight and hands out a result";
  let description = [{
    Example: `%s1 = tile.wgmma_wait 1, %s0 : tensor<64x128xf32, #tile.acc>`
  }];
  let arguments = (ins I32Attr:$pending, Tile_Acc:$value);
  let results = (outs Tile_Acc:$result);
  let assemblyFormat = "$pending `,` $value attr-dict `:` type($value)";
}

def Tile_ElectOp : Tile_Op<"elect"> {
  let summary = "true in one lane of the warp";
  let results = (outs I1:$result);
  let assemblyFormat = "attr-dict";
}

def Tile_BarrierInitOp : Tile_Op<"mbarrier_init"> {
  let summary = "sets the arrival count of every mbarrier of a ring (one thread)";
  let description = [{
    After the last ring of a kernel is initialised, `fence` makes it visible to
    the copy engine.
  }];
  let arguments = (ins Tile_BarriersType:$barriers, I32Attr:$arrivals, UnitAttr:$fence);
  let assemblyFormat = "$barriers `arrivals` `(` $arrivals `)` (`fence` $fence^)? attr-dict `:` type($barriers)";
}

def Tile_BarrierExpectOp : Tile_Op<"mbarrier_expect"> {
  let summary = "arrives and announces bytes that copies will bring";
  let arguments = (ins Tile_BarriersType:$barriers, I32:$stage, I32Attr:$bytes);
  let assemblyFormat = "$barriers `[` $stage `]` `bytes` `(` $bytes `)` attr-dict `:` type($barriers)";
}

def Tile_BarrierArriveOp : Tile_Op<"mbarrier_arrive"> {
  let summary = "arrives at an mbarrier, where the predicate holds";
  let description = [{
    With `peer` at the mbarrier of the cluster's block of that number.

    Example: `tile.mbarrier_arrive %empty[%s] of %peer if %speaks : !tile.barriers<2>`
  }];
  let arguments = (ins Tile_BarriersType:$barriers, I32:$stage, Optional<I32>:$peer, I1:$predicate);
  let builders = [OpBuilder<(ins "::mlir::Value":$barriers, "::mlir::Value":$stage, "::mlir::Value":$predicate), [{
    build($_builder, $_state, barriers, stage, ::mlir::Value(), predicate);
  }]>];
  let assemblyFormat = "$barriers `[` $stage `]` (`of` $peer^)? `if` $predicate attr-dict `:` type($barriers)";
}

def Tile_BarrierWaitOp : Tile_Op<"mbarrier_wait"> {
  let summary = "waits until the phase of the given parity has completed";
  let arguments = (ins Tile_BarriersType:$barriers, I32:$stage, I32:$parity);
  let assemblyFormat = "$barriers `[` $stage `]` `parity` `(` $parity `)` attr-dict `:` type($barriers)";
}

def Tile_TmaLoadOp : Tile_Op<"tma_load", [MemoryEffects<[MemRead, MemWrite]>]> {
  let summary = "bulk-copies a tile from device memory (one thread)";
  let description = [{
    Copies the map's box at (batch, head, row) panel by panel into the swizzled
    tile and completes on the mbarrier; `evict_last` asks L2 to keep the lines,
    `evict_first` to give them up before others.
    With `tile_row` the box fills the tile's rows from there on. `multicast` fills the
    tile of every block of the cluster, and completes on the mbarrier of each.

    Constraints:
    - C1: the box has the columns of the tile's panels and the tile's rows; with `tile_row` (a multiple of 8) a
      multiple of 8 that divides them. Columns beyond the tensor's arrive as zeros.
    - C2: there is only one of `evict_last` and `evict_first`.
  }];
  let arguments = (ins Tile_TensorMapType:$map, I32:$batch, I32:$head, I32:$row, Tile_SharedType:$target,
                       Tile_BarriersType:$barriers, I32:$stage, Optional<I32>:$tile_row, UnitAttr:$evict_last,
                       UnitAttr:$evict_first, UnitAttr:$multicast);
  let builders = [OpBuilder<(ins "::mlir::Value":$map, "::mlir::Value":$batch, "::mlir::Value":$head,
                                 "::mlir::Value":$row, "::mlir::Value":$target, "::mlir::Value":$barriers,
                                 "::mlir::Value":$stage, "bool":$evictLast, CArg<"bool", "false">:$evictFirst), [{
    build($_builder, $_state, map, batch, head, row, target, barriers, stage, ::mlir::Value(), evictLast, evictFirst,
          /*multicast=*/false);
  }]>];
  let assemblyFormat = [{
    $map `[` $batch `,` $head `,` $row `]` `to` $target (`row` `(` $tile_row^ `)`)? `on` $barriers `[` $stage `]` (`evict_last` $evict_last^)? (`evict_first` $evict_first^)?
    (`multicast` $multicast^)? attr-dict `:` type($map) `,` type($target) `,` type($barriers)
  }];
  let hasVerifier = 1;
}

def Tile_TmaStoreOp : Tile_Op<"tma_store", [MemoryEffects<[MemRead, MemWrite]>]> {
  let summary = "starts a bulk copy of rows of a tile to device memory (one thread)";
  let description = [{
    Copies the box's rows of the tile, from `tile_row` on, to (batch, head, row).
    Rows beyond the tensor's end are not written. The tile must be left alone
    until the same thread's `tile.tma_store_wait`.

    Constraints:
    - C1: the tile is swizzled, and the box has the columns of its panels.
  }];
  let arguments = (ins Tile_SharedType:$source, I32:$tile_row, Tile_TensorMapType:$map, I32:$batch, I32:$head, I32:$row);
  let assemblyFormat = [{
    $source `row` `(` $tile_row `)` `to` $map `[` $batch `,` $head `,` $row `]` attr-dict `:` type($source) `,` type($map)
  }];
  let hasVerifier = 1;
}

def Tile_TmaStoreWaitOp : Tile_Op<"tma_store_wait"> {
  let summary = "waits until the thread's bulk copies to device memory have read their tiles";
  let description = [{
    All but the `pending` latest ones; with `complete` until they have also written
    device memory.

    Example: `tile.tma_store_wait pending(1)`
  }];
  let arguments = (ins DefaultValuedAttr<I32Attr, "0">:$pending, UnitAttr:$complete);
  let assemblyFormat = "(`pending` `(` $pending^ `)`)? (`complete` $complete^)? attr-dict";
}

def Tile_BulkLoadOp : Tile_Op<"bulk_load", [MemoryEffects<[MemRead, MemWrite]>]> {
  let summary = "bulk-copies consecutive elements to a linear shared array (one thread)";
  let description = [{
    Fills the array from the element at `indices` on and completes on the mbarrier.

    Constraints:
    - C1: the array is linear, of rank 1, a multiple of 16 bytes, and of the tensor's element type; one index per
      dimension. The first element must lie at a multiple of 16 bytes.

    Example:
    ```mlir
    tile.bulk_load %stats[%b, %h, %c0, %r] to %lse on %full[%s]
        : !tile.global<1x8x2x1024xf32>, !tile.shared<64xf32, linear>, !tile.barriers<2>
    ```
  }];
  let arguments = (ins Tile_GlobalType:$source, Variadic<I32>:$indices, Tile_SharedType:$target,
                       Tile_BarriersType:$barriers, I32:$stage);
  let assemblyFormat = [{
    $source `[` $indices `]` `to` $target `on` $barriers `[` $stage `]` attr-dict
    `:` type($source) `,` type($target) `,` type($barriers)
  }];
  let hasVerifier = 1;
}

def Tile_BulkStoreOp : Tile_Op<"bulk_store", [MemoryEffects<[MemRead, MemWrite]>]> {
  let summary = "starts a bulk copy of a linear shared array to consecutive elements, where the predicate holds";
  let description = [{
    With `add` the elements are added to what is there, f32 in one rounding each and i32
    modulo 2^32, in no order among the threads of the device. The array must be left alone until
    the same thread's `tile.tma_store_wait`.

    Constraints:
    - C1: the array is linear, of rank 1, a multiple of 16 bytes, and of the tensor's element type; one index per
      dimension. The first element must lie at a multiple of 16 bytes.
    - C2: `add` takes f32 or i32.

    Example:
    ```mlir
    tile.bulk_store add %part, %sums[%b, %h, %t, %c0] if %elected
        : !tile.shared<4096xf32, linear>, !tile.global<1x8x16x8192xf32>
    ```
  }];
  let arguments = (ins UnitAttr:$add, Tile_SharedType:$source, Tile_GlobalType:$target, Variadic<I32>:$indices,
                       I1:$predicate);
  let assemblyFormat = [{
    (`add` $add^)? $source `,` $target `[` $indices `]` `if` $predicate attr-dict `:` type($source) `,` type($target)
  }];
  let hasVerifier = 1;
}

def Tile_SemaphoreWaitOp : Tile_Op<"semaphore_wait", [MemoryEffects<[MemRead, MemWrite]>]> {
  let summary = "spins until an i32 in device memory has a value";
  let description = [{
    What the block that posted the value wrote before is visible afterwards, to bulk
    copies of this thread, too. The block that posts must not wait for this one, and
    must have been started before it: blocks are started in the order of their numbers.

    Example: `tile.semaphore_wait %turns[%i], %n : !tile.global<512xi32>`
  }];
  let arguments = (ins Tile_GlobalType:$view, Variadic<I32>:$indices, I32:$value);
  let assemblyFormat = "$view `[` $indices `]` `,` $value attr-dict `:` type($view)";
}

def Tile_SemaphorePostOp : Tile_Op<"semaphore_post", [MemoryEffects<[MemRead, MemWrite]>]> {
  let summary = "sets an i32 in device memory after what the thread wrote, where the predicate holds";
  let description = [{
    Bulk copies count as written once a `tile.tma_store_wait complete` has waited for them.

    Example: `tile.semaphore_post %next, %turns[%i] if %elected : !tile.global<512xi32>`
  }];
  let arguments = (ins I32:$value, Tile_GlobalType:$view, Variadic<I32>:$indices, I1:$predicate);
  let assemblyFormat = "$value `,` $view `[` $indices `]` `if` $predicate attr-dict `:` type($view)";
}

def Tile_StoreMatrixOp : Tile_Op<"store_matrix", [MemoryEffects<[MemWrite]>]> {
  let summary = "writes a fragment of 64 rows to a swizzled tile (stmatrix)";
  let description = [{
    An accumulator is rounded first; a left operand is stored as it is. Row r goes to
    row `row` + r of the tile, from `column`, or 0, on; `transposed`, column c of the
    fragment goes to row `row` + c, and its rows to the tile's 64 columns.

    Constraints:
    - C1: the fragment has 64 rows and a multiple of 16 columns; the tile is swizzled, of 16-bit elements, has at least
      64 rows and the fragment's columns, with `column` at least these; transposed 64 columns in one panel and at least as
      many rows as the fragment has columns, and there is no `column`.
    - C2: an accumulator is f32; a left operand has the tile's element type.
  }];
  let arguments = (ins AnyTypeOf<[Tile_Acc, Tile_Lhs]>:$value, Tile_SharedType:$target, I32:$row,
                       Optional<I32>:$column, UnitAttr:$transposed);
  let builders = [OpBuilder<(ins "::mlir::Value":$value, "::mlir::Value":$target, "::mlir::Value":$row,
                                 CArg<"bool", "false">:$transposed), [{
    build($_builder, $_state, value, target, row, ::mlir::Value(), transposed);
  }]>];
  let assemblyFormat = [{
    $value `,` $target `row` `(` $row `)` (`column` `(` $column^ `)`)? (`transposed` $transposed^)? attr-dict `:` type($value) `,` type($target)
  }];
  let hasVerifier = 1;
}

def Tile_FenceAsyncOp : Tile_Op<"fence_async"> {
  let summary = "orders this thread's shared-memory writes before the copy engine and WGMMA";
  let assemblyFormat = "attr-dict";
}

def Tile_PrefetchMapOp : Tile_Op<"prefetch_map"> {
  let summary = "fetches a tensor map ahead of its first use";
  let arguments = (ins Tile_TensorMapType:$map);
  let assemblyFormat = "$map attr-dict `:` type($map)";
}

#endif // FRESNEL_TILE_ASYNC_OPS
