//===- FresnelDialect.td - What a sparse attention computes *- tablegen -*-===//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//

#ifndef FRESNEL_DIALECT
#define FRESNEL_DIALECT

include "mlir/IR/OpBase.td"
include "mlir/IR/DialectBase.td"
include "mlir/IR/EnumAttr.td"
include "mlir/IR/AttrTypeBase.td"
include "mlir/IR/OpAsmInterface.td"
include "mlir/IR/SymbolInterfaces.td"
include "mlir/Interfaces/InferTypeOpInterface.td"
include "mlir/Interfaces/SideEffectInterfaces.td"
include "fresnel/Dialect/FresnelInterfaces.td"

def Fresnel_Dialect : Dialect {
  let name = "fresnel";
  let cppNamespace = "::fresnel";
  let summary = "Sparse-attention methods as programs on tensors";
  let description = [{
    A `fresnel.program` says what a method computes, in 5 to 20 operations with
    value semantics on ranked tensors of static shape. The logical order is
    `[batch, head, sequence, head_dim]` (`[B, H, N, D]`) whatever the memory
    order of the caller's tensors; scores are `[B, H, P]` or `[B, H, M, Nb]` in
    f32, indices i32, masks of blocks i8. Every operation infers its result types.

    Conventions:
    - head h of Hq query heads reads key head h / (Hq / Hk) (GQA);
    - sums and softmax are taken in at least f32 (the reference: f64) and rounded
      once to the result type;
    - ties in a selection go to the higher score, then to the lower index;
    - an index of -1 means "nothing";
    - LSE is the natural logarithm of the sum of exponentials; a row with nothing
      to attend gives output 0 and LSE -inf.

    `documents = array<i64: n0, n1, ...>` of an operation on tokens and pyramids says that
    documents of these lengths, some perhaps empty, lie one behind the other in the sequence.
    Each has a pyramid of its own, whose windows begin at its first token and end at its last.
    Level l of the pyramid of all holds the levels l of the documents, one behind the other,
    ceil(n / factor^l) entries each, so that level 0 is the sequence. Every document gets what
    it would get alone.

    Constraints are numbered per operation; the check in the source and the
    negative test carry the same number.
  }];
  let useDefaultAttributePrinterParser = 1;
  // Types are inferred while parsing, from the attribute dictionary; properties
  // would be filled in only afterwards.
  let usePropertiesForAttributes = 0;
}

//===----------------------------------------------------------------------===//
// Enumerations and the schedule
//===----------------------------------------------------------------------===//

class Fresnel_Enum<string name, string text, list<I32EnumAttrCase> cases> : I32EnumAttr<name, text, cases> {
  let cppNamespace = "::fresnel";
  let genSpecializedAttr = 0;
}

def Fresnel_PoolKind : Fresnel_Enum<"PoolKind", "how a window is pooled", [
  I32EnumAttrCase<"Mean", 0, "mean">, I32EnumAttrCase<"Max", 1, "max">]>;
def Fresnel_PoolKindAttr : EnumAttr<Fresnel_Dialect, Fresnel_PoolKind, "pool_kind">;

def Fresnel_Tail : Fresnel_Enum<"Tail", "what becomes of an incomplete last window", [
  I32EnumAttrCase<"Keep", 0, "keep">, I32EnumAttrCase<"Drop", 1, "drop">]>;
def Fresnel_TailAttr : EnumAttr<Fresnel_Dialect, Fresnel_Tail, "tail">;

def Fresnel_Normalize : Fresnel_Enum<"Normalize", "how scores are normalised", [
  I32EnumAttrCase<"None", 0, "none">, I32EnumAttrCase<"Softmax", 1, "softmax">]>;
def Fresnel_NormalizeAttr : EnumAttr<Fresnel_Dialect, Fresnel_Normalize, "normalize">;

def Fresnel_Activation : Fresnel_Enum<"Activation", "what is applied to gate values", [
  I32EnumAttrCase<"None", 0, "none">, I32EnumAttrCase<"Sigmoid", 1, "sigmoid">]>;
def Fresnel_ActivationAttr : EnumAttr<Fresnel_Dialect, Fresnel_Activation, "activation">;

def Fresnel_Family : Fresnel_Enum<"Family", "kernel family", [
  I32EnumAttrCase<"Portable", 0, "portable">,
  I32EnumAttrCase<"Hopper", 1, "hopper">,
  I32EnumAttrCase<"Simt", 2, "simt">]>;

def Fresnel_ScheduleAttr : AttrDef<Fresnel_Dialect, "Schedule"> {
  let mnemonic = "schedule";
  let summary = "how a kernel is cut into tiles";
  let description = [{
    | field | meaning |
    |---|---|
    | family | `portable` (cp.async, mma.sync; sm_80 and later), `hopper` (TMA, WGMMA; sm_90a), `simt` (no matrix unit) |
    | tile_m | query rows of a thread block |
    | tile_n | keys of a block of the inner loop |
    | stages | tiles of K and V in flight |
    | persistent | hopper: one block per multiprocessor takes tile after tile from a counter |
    | ping_pong | hopper: the consumers take turns at issuing matrix products |
    | section | hopper: heads whose tiles are started together; 0 for the default |
    | ordered | hopper, gradients: sums of several thread blocks are added in one order, the same bits every time |
    | integers | hopper, gradients with head dims 192 and 256: dQ is summed in integers, the same in any order; what they are too coarse for is computed again |
    | cluster | hopper: thread blocks that fetch each block of keys together, 1 or 2; each loads its share into the memory of all |
    | early | hopper, attention: keys of a block whose weights are computed before the product with the values of the block before has ended; 0 leaves it to the assembler |
    | shared_weights | hopper, attention: weights go to the product with the values through shared memory instead of registers |

    Example: `#fresnel.schedule<family = portable, tile_m = 64, tile_n = 64, stages = 2>`
  }];
  let parameters = (ins EnumParameter<Fresnel_Family>:$family,
                        DefaultValuedParameter<"int64_t", "64">:$tile_m,
                        DefaultValuedParameter<"int64_t", "64">:$tile_n,
                        DefaultValuedParameter<"int64_t", "2">:$stages,
                        DefaultValuedParameter<"bool", "false">:$persistent,
                        DefaultValuedParameter<"bool", "true">:$ping_pong,
                        DefaultValuedParameter<"int64_t", "0">:$section,
                        DefaultValuedParameter<"bool", "true">:$ordered,
                        DefaultValuedParameter<"int64_t", "1">:$cluster,
                        DefaultValuedParameter<"bool", "false">:$integers,
                        DefaultValuedParameter<"int64_t", "0">:$early,
                        DefaultValuedParameter<"bool", "false">:$shared_weights);
  let builders = [AttrBuilder<(ins "::fresnel::Family":$family, "int64_t":$tileM, "int64_t":$tileN, "int64_t":$stages,
                                   "bool":$persistent, "bool":$pingPong, "int64_t":$section,
                                   CArg<"int64_t", "1">:$cluster, CArg<"int64_t", "0">:$early,
                                   CArg<"bool", "false">:$sharedWeights), [{
    return $_get($_ctxt, family, tileM, tileN, stages, persistent, pingPong, section, /*ordered=*/true, cluster,
                 /*integers=*/false, early, sharedWeights);
  }]>];
  let assemblyFormat = "`<` struct(params) `>`";
}

//===----------------------------------------------------------------------===//
// Operands
//===----------------------------------------------------------------------===//

def Fresnel_Element : AnyTypeOf<[BF16, F16, F32]>;
/// [B, H, N, D]
def Fresnel_Rows : ConfinedType<StaticShapeTensorOf<[Fresnel_Element]>, [HasAnyRankOfPred<[4]>],
    "tensor of static shape and rank 4", "::mlir::RankedTensorType">;
/// [B, H, N] or [B, H, N, D]
def Fresnel_RowsOrScores : ConfinedType<StaticShapeTensorOf<[Fresnel_Element]>, [HasAnyRankOfPred<[3, 4]>],
    "tensor of static shape and rank 3 or 4", "::mlir::RankedTensorType">;
/// Rows, scores, lists or positions.
def Fresnel_Movable : ConfinedType<StaticShapeTensorOf<[Fresnel_Element, I32]>, [HasAnyRankOfPred<[3, 4]>],
    "tensor of static shape and rank 3 or 4", "::mlir::RankedTensorType">;
def Fresnel_Scores3 : ConfinedType<StaticShapeTensorOf<[F32]>, [HasAnyRankOfPred<[3]>],
    "tensor of static shape and rank 3", "::mlir::RankedTensorType">;
def Fresnel_Scores4 : ConfinedType<StaticShapeTensorOf<[F32]>, [HasAnyRankOfPred<[4]>],
    "tensor of static shape and rank 4", "::mlir::RankedTensorType">;
def Fresnel_Indices3 : ConfinedType<StaticShapeTensorOf<[I32]>, [HasAnyRankOfPred<[3]>],
    "tensor of static shape and rank 3", "::mlir::RankedTensorType">;
def Fresnel_Indices4 : ConfinedType<StaticShapeTensorOf<[I32]>, [HasAnyRankOfPred<[4]>],
    "tensor of static shape and rank 4", "::mlir::RankedTensorType">;
def Fresnel_Indices3Or4 : ConfinedType<StaticShapeTensorOf<[I32]>, [HasAnyRankOfPred<[3, 4]>],
    "tensor of static shape and rank 3 or 4", "::mlir::RankedTensorType">;
def Fresnel_Mask4 : ConfinedType<StaticShapeTensorOf<[I8]>, [HasAnyRankOfPred<[4]>],
    "tensor of static shape and rank 4", "::mlir::RankedTensorType">;
def Fresnel_Tensor : StaticShapeTensorOf<[BF16, F16, F32, I32, I8]>;

/// Lengths of the documents of a sequence; none for one that is a whole.
defvar Fresnel_Documents = DefaultValuedOptionalAttr<DenseI64ArrayAttr, "{}">;

class Fresnel_Op<string mnemonic, list<Trait> traits = []> : Op<Fresnel_Dialect, mnemonic, traits>;
/// An operation that computes: no effects, result types from operands and attributes.
class Fresnel_ComputeOp<string mnemonic, list<Trait> traits = []>
    : Fresnel_Op<mnemonic, !listconcat([Pure, InferTypeOpAdaptor], traits)>;

#endif // FRESNEL_DIALECT
