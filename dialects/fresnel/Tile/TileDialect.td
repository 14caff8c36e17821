//===- TileDialect.td - How one thread block computes ------*- tablegen -*-===//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//

#ifndef FRESNEL_TILE_DIALECT
#define FRESNEL_TILE_DIALECT

include "mlir/IR/OpBase.td"
include "mlir/IR/DialectBase.td"
include "mlir/IR/EnumAttr.td"
include "mlir/IR/AttrTypeBase.td"

def Tile_Dialect : Dialect {
  let name = "tile";
  let cppNamespace = "::fresnel::tile";
  let summary = "A kernel's schedule, made explicit";
  let description = [{
    A `tile.kernel` is the program of one thread block. Control flow and scalar
    arithmetic are `scf`, `arith` and `math` on `i32`, `f32`, `f64` and small
    vectors; the dialect adds what those cannot say:

    - **views**: `!tile.global` (a strided tensor in device memory),
      `!tile.shared` (a tile, or a ring of tiles, in shared memory with a bank
      layout), `!tile.barriers` (a ring of mbarriers), `!tile.tensor_map`;
    - **copies**: 16-byte `cp.async` row copies and bulk tensor copies (TMA);
    - **fragments**: tensors whose encoding says how a group of warps holds
      them in registers. Elementwise `arith` and `math` operations apply to
      fragments directly; `tile` adds matrix products, row reductions,
      broadcasts, coordinates and stores;
    - **roles**: producer and consumer warpgroups with their register budgets.

    Fragment layouts. A fragment with R rows is held by R/16 consecutive warps;
    warp w holds rows 16w .. 16w+15. With g = lane / 4 and c = lane % 4:

    | encoding | lane holds |
    |---|---|
    | `#tile.acc`  | element 4j+2r+i is row 16w+g+8r, column 8j+2c+i (the accumulator layout of `mma.m16n8k16` and of `wgmma.m64nNk16`) |
    | `#tile.lhs`  | the A operand of the same instructions: 32-bit register 4k+m packs two neighbouring columns of k-step k |
    | `#tile.rows` | one value per row: element r is row 16w+g+8r, equal in the four lanes of a quad |

    The registers of an accumulator are, pair by pair, those of an A operand,
    so that `tile.to_lhs` moves nothing between lanes.
  }];
  let useDefaultTypePrinterParser = 1;
  let useDefaultAttributePrinterParser = 1;
  let dependentDialects = ["::mlir::arith::ArithDialect", "::mlir::scf::SCFDialect"];
}

//===----------------------------------------------------------------------===//
// Fragment encodings
//===----------------------------------------------------------------------===//

class Tile_Encoding<string name, string mnem, string text> : AttrDef<Tile_Dialect, name> {
  let mnemonic = mnem;
  let summary = text;
}
def Tile_AccAttr : Tile_Encoding<"Acc", "acc", "accumulator fragment layout">;
def Tile_LhsAttr : Tile_Encoding<"Lhs", "lhs", "left matrix operand fragment layout">;
def Tile_RowsAttr : Tile_Encoding<"Rows", "rows", "one value per fragment row">;

//===----------------------------------------------------------------------===//
// Enumerations
//===----------------------------------------------------------------------===//

class Tile_Enum<string name, string text, list<I32EnumAttrCase> cases> : I32EnumAttr<name, text, cases> {
  let cppNamespace = "::fresnel::tile";
  let genSpecializedAttr = 0;
}
class Tile_EnumAttr<I32EnumAttr enum, string mnem> : EnumAttr<Tile_Dialect, enum, mnem>;

def Tile_Layout : Tile_Enum<"Layout", "bank layout of a shared-memory tile", [
  I32EnumAttrCase<"Linear", 0, "linear">,
  I32EnumAttrCase<"Padded", 1, "padded">,
  I32EnumAttrCase<"Swizzled", 2, "swizzled">,
  I32EnumAttrCase<"Swizzled64", 3, "swizzled64">]>;

def Tile_Id : Tile_Enum<"Id", "which hardware index to read", [
  I32EnumAttrCase<"BlockX", 0, "block_x">, I32EnumAttrCase<"BlockY", 1, "block_y">,
  I32EnumAttrCase<"BlockZ", 2, "block_z">, I32EnumAttrCase<"Thread", 3, "thread">,
  I32EnumAttrCase<"Warp", 4, "warp">, I32EnumAttrCase<"Lane", 5, "lane">,
  I32EnumAttrCase<"Warpgroup", 6, "warpgroup">]>;
def Tile_IdAttr : Tile_EnumAttr<Tile_Id, "id">;

def Tile_Combine : Tile_Enum<"Combine", "how values are combined", [
  I32EnumAttrCase<"Add", 0, "add">, I32EnumAttrCase<"Max", 1, "max">, I32EnumAttrCase<"Or", 2, "or">]>;
def Tile_CombineAttr : Tile_EnumAttr<Tile_Combine, "combine">;

def Tile_Shuffle : Tile_Enum<"Shuffle", "how a lane finds the lane it reads", [
  I32EnumAttrCase<"Xor", 0, "xor">, I32EnumAttrCase<"Index", 1, "index">, I32EnumAttrCase<"Up", 2, "up">]>;
def Tile_ShuffleAttr : Tile_EnumAttr<Tile_Shuffle, "shuffle_kind">;

//===----------------------------------------------------------------------===//
// Types
//===----------------------------------------------------------------------===//

class Tile_Type<string name, string mnem> : TypeDef<Tile_Dialect, name> {
  let mnemonic = mnem;
}

def Tile_GlobalType : Tile_Type<"Global", "global"> {
  let summary = "view of a tensor in device memory";
  let description = [{
    The innermost dimension is contiguous. Without `strided` the other strides
    follow from the shape and are compile-time constants; with it each is a
    64-bit kernel parameter, in elements.
    Example: `!tile.global<1x8x8192x128xbf16, strided>`.
  }];
  let parameters = (ins ArrayRefParameter<"int64_t">:$shape, "::mlir::Type":$elementType, "bool":$strided);
  let hasCustomAssemblyFormat = 1;
  let extraClassDeclaration = [{
    int64_t getRank() const { return getShape().size(); }
  }];
}

def Tile_SharedType : Tile_Type<"Shared", "shared"> {
  let summary = "tile, or ring of tiles, in shared memory";
  let description = [{
    The last two dimensions are rows and columns, a third (outermost) one counts
    the stages of a ring; rank 1 is a plain array. Layouts: `linear`; `padded`,
    each row followed by 16 bytes so that eight rows of `ldmatrix` meet distinct
    banks; `swizzled`, panels of 64 16-bit columns in which the 16-byte chunk c
    of row r lies at chunk c xor (r mod 8), as TMA's and WGMMA's 128-byte mode;
    `swizzled64`, panels of 32 such columns and chunks at c xor (r div 2 mod 4), their
    64-byte mode. The last panel is whole even if the columns are not.
    Example: `!tile.shared<2x64x128xbf16, padded>`.
  }];
  let parameters = (ins ArrayRefParameter<"int64_t">:$shape, "::mlir::Type":$elementType,
                        "::fresnel::tile::Layout":$layout);
  let hasCustomAssemblyFormat = 1;
  let genVerifyDecl = 1;
  let extraClassDeclaration = [{
    int64_t getRank() const { return getShape().size(); }
    int64_t getRows() const { return getRank() == 1 ? 1 : getShape()[getRank() - 2]; }
    int64_t getCols() const { return getShape().back(); }
    int64_t getStages() const { return getRank() == 3 ? getShape()[0] : 1; }
    /// Bytes of one element, of one tile and of the whole ring.
    int64_t getElementBytes() const { return getElementType().getIntOrFloatBitWidth() / 8; }
    int64_t getRowBytes() const;
    int64_t getTileBytes() const;
    int64_t getBytes() const { return getTileBytes() * getStages(); }
    bool isSwizzled() const { return getLayout() == Layout::Swizzled || getLayout() == Layout::Swizzled64; }
    /// Bytes of a row of a swizzled tile's panels, and how many columns these are.
    int64_t getPanelBytes() const { return getLayout() == Layout::Swizzled64 ? 64 : 128; }
    int64_t getPanelCols() const { return getPanelBytes() / getElementBytes(); }
    int64_t getPanels() const { return (getCols() + getPanelCols() - 1) / getPanelCols(); }
    /// The alignment the layout needs: a swizzled tile starts an 8-row atom.
    int64_t getAlignment() const { return isSwizzled() ? 1024 : 16; }
    /// One tile of a ring of rank 3, one row of an array of rank 2.
    SharedType getTile() const;
  }];
}

def Tile_BarriersType : Tile_Type<"Barriers", "barriers"> {
  let summary = "ring of mbarriers in shared memory";
  let parameters = (ins "int64_t":$count);
  let assemblyFormat = "`<` $count `>`";
}

def Tile_TensorMapType : Tile_Type<"TensorMap", "tensor_map"> {
  let summary = "bulk-copy descriptor of a [batch, head, sequence, head_dim] tensor";
  let description = [{
    Copies boxes of `rows` x `cols` elements of 16 bits, of `heads` heads one after the
    other, with the swizzle of their width: 64 columns fill panels of `swizzled` tiles, 32
    those of `swizzled64` tiles. The runtime encodes it for the caller's tensor and passes
    it by value.
    Example: `!tile.tensor_map<128, 64, bf16>`, `!tile.tensor_map<4, 64, bf16, heads = 16>`.
  }];
  let parameters = (ins "int64_t":$rows, "int64_t":$cols, "::mlir::Type":$elementType,
                        DefaultValuedParameter<"int64_t", "1">:$heads);
  let builders = [TypeBuilder<(ins "int64_t":$rows, "int64_t":$cols, "::mlir::Type":$elementType), [{
    return $_get($_ctxt, rows, cols, elementType, /*heads=*/1);
  }]>];
  let assemblyFormat = "`<` $rows `,` $cols `,` $elementType (`,` `heads` `=` $heads^)? `>`";
  let extraClassDeclaration = [{
    /// Rows of a tile that a box fills.
    int64_t getBoxRows() const { return getHeads() * getRows(); }
    /// 128 or 64.
    int64_t getSwizzleBytes() const { return 2 * getCols(); }
  }];
}

//===----------------------------------------------------------------------===//
// Constraints
//===----------------------------------------------------------------------===//

/// Of `rank` sizes that are known.
class Tile_Fragment<string encoding, int rank, string text> : Type<And<[
    CPred<"::llvm::isa<::mlir::RankedTensorType>($_self) && ::llvm::isa_and_nonnull<::fresnel::tile::" # encoding #
          ">(::llvm::cast<::mlir::RankedTensorType>($_self).getEncoding())">,
    CPred<"::llvm::cast<::mlir::RankedTensorType>($_self).hasStaticShape() && "
          "::llvm::cast<::mlir::RankedTensorType>($_self).getRank() == " # rank>]>, text, "::mlir::RankedTensorType">;
def Tile_Acc : Tile_Fragment<"AccAttr", 2, "accumulator fragment (#tile.acc)">;
def Tile_Lhs : Tile_Fragment<"LhsAttr", 2, "left operand fragment (#tile.lhs)">;
def Tile_RowVector : Tile_Fragment<"RowsAttr", 1, "row fragment (#tile.rows)">;
def Tile_AnyFragment : AnyTypeOf<[Tile_Acc, Tile_Lhs, Tile_RowVector]>;
def Tile_Memory : AnyTypeOf<[Tile_GlobalType, Tile_SharedType]>;

class Tile_Op<string mnemonic, list<Trait> traits = []> : Op<Tile_Dialect, mnemonic, traits>;

#endif // FRESNEL_TILE_DIALECT
