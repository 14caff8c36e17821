//===- TileKernelOps.td - Kernels, indices, roles ----------*- tablegen -*-===//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//

#ifndef FRESNEL_TILE_KERNEL_OPS
#define FRESNEL_TILE_KERNEL_OPS

include "fresnel/Tile/TileDialect.td"
include "mlir/IR/RegionKindInterface.td"
include "mlir/IR/SymbolInterfaces.td"
include "mlir/Interfaces/ControlFlowInterfaces.td"
include "mlir/Interfaces/FunctionInterfaces.td"
include "mlir/Interfaces/SideEffectInterfaces.td"

def Tile_KernelOp : Tile_Op<"kernel", [FunctionOpInterface, IsolatedFromAbove]> {
  let summary = "the program of one thread block";
  let description = [{
    Destination style: the arguments are the tensors read, then the tensors
    written, as `!tile.global` views or `!tile.tensor_map`s. `block` counts
    threads, `grid` thread blocks, both in x, y, z.

    Constraints:
    - C1: `block` and `grid` have three positive entries each.
    - C2: the block has a multiple of 32 and at most 1024 threads.
    - C3: `fresnel.cluster`, where there is one, is in [1, 8] and divides the blocks in x.

    Example:
    ```mlir
    tile.kernel @copy(%in: !tile.global<64x8xbf16>, %out: !tile.global<64x8xbf16>)
        attributes {block = array<i32: 64, 1, 1>, grid = array<i32: 1, 1, 1>} {
      %t = tile.id thread
      %c0 = arith.constant 0 : i32
      %x = tile.load %in[%t, %c0] : !tile.global<64x8xbf16> -> vector<8xbf16>
      tile.store %x, %out[%t, %c0] : vector<8xbf16>, !tile.global<64x8xbf16>
      tile.return
    }
    ```
  }];
  let arguments = (ins SymbolNameAttr:$sym_name, TypeAttrOf<FunctionType>:$function_type,
                       DenseI32ArrayAttr:$block, DenseI32ArrayAttr:$grid,
                       OptionalAttr<DictArrayAttr>:$arg_attrs, OptionalAttr<DictArrayAttr>:$res_attrs);
  let regions = (region AnyRegion:$body);
  let hasCustomAssemblyFormat = 1;
  let hasVerifier = 1;
  let extraClassDeclaration = [{
    ::llvm::ArrayRef<::mlir::Type> getArgumentTypes() { return getFunctionType().getInputs(); }
    ::llvm::ArrayRef<::mlir::Type> getResultTypes() { return getFunctionType().getResults(); }
    ::mlir::Region *getCallableRegion() { return &getBody(); }
    int64_t getThreads() { return int64_t(getBlock()[0]) * getBlock()[1] * getBlock()[2]; }
  }];
}

def Tile_ReturnOp : Tile_Op<"return", [Pure, Terminator, HasParent<"KernelOp">]> {
  let summary = "ends a kernel";
  let assemblyFormat = "attr-dict";
}

def Tile_IdOp : Tile_Op<"id", [Pure]> {
  let summary = "index of the block, thread, warp, lane or warpgroup";
  let description = [{
    `warp` and `warpgroup` are broadcast from lane 0, so that the backend knows
    they are uniform in a warp.

    Example: `%h = tile.id block_y`
  }];
  let arguments = (ins Tile_IdAttr:$which);
  let results = (outs I32:$result);
  let builders = [OpBuilder<(ins "::fresnel::tile::Id":$which), [{
    build($_builder, $_state, $_builder.getI32Type(), which);
  }]>];
  let assemblyFormat = "$which attr-dict";
}

def Tile_WarpSpecializeOp : Tile_Op<"warp_specialize",
    [SingleBlock, NoRegionArguments, RecursiveMemoryEffects]> {
  let summary = "gives the warpgroups of a block their roles";
  let description = [{
    Warpgroup 0 runs the first region with `producer_registers` registers per
    thread, warpgroups 1 .. `consumers` run the second with `consumer_registers`
    (`setmaxnreg`). In the consumers `tile.id warpgroup` starts at 1.

    Constraints:
    - C1: the register counts are multiples of 8 in [24, 240].
    - C2: producer_registers + consumers * consumer_registers is at most
      512 for three consumers and 504 for two, what the block was launched with.
    - C3: the kernel's block has 128 * (consumers + 1) threads.

    Example:
    ```mlir
    tile.warp_specialize producer registers(24) {
      ...
    } consumer(2) registers(240) {
      ...
    }
    ```
  }];
  let arguments = (ins I32Attr:$consumers, I32Attr:$producer_registers, I32Attr:$consumer_registers);
  let regions = (region SizedRegion<1>:$producer, SizedRegion<1>:$consumer);
  let assemblyFormat = [{
    `producer` `registers` `(` $producer_registers `)` $producer
    `consumer` `(` $consumers `)` `registers` `(` $consumer_registers `)` $consumer attr-dict
  }];
  let hasVerifier = 1;
}

def Tile_YieldOp : Tile_Op<"yield", [Pure, Terminator, HasParent<"WarpSpecializeOp">]> {
  let summary = "ends a role";
  let assemblyFormat = "attr-dict";
}

def Tile_BarrierOp : Tile_Op<"barrier"> {
  let summary = "waits for threads of the block";
  let description = [{
    Without operands all threads of the block meet. With `id` only `threads`
    threads meet at that named barrier; `arrive` announces without waiting.

    Constraints:
    - C1: `id` in [1, 15] (0 is the whole block's).
    - C2: `threads` is a positive multiple of 32.

    Example: `tile.barrier id(%one) threads(256) arrive`
  }];
  let arguments = (ins Optional<I32>:$id, OptionalAttr<I32Attr>:$threads, UnitAttr:$arrive);
  let assemblyFormat = "(`id` `(` $id^ `)`)? (`threads` `(` $threads^ `)`)? (`arrive` $arrive^)? attr-dict";
  let hasVerifier = 1;
}

def Tile_ClusterBarrierOp : Tile_Op<"cluster_barrier"> {
  let summary = "waits for all threads of the cluster";
  let description = [{
    What they did before to the shared memory of any of its blocks is visible afterwards.
  }];
  let assemblyFormat = "attr-dict";
}

#endif // FRESNEL_TILE_KERNEL_OPS
