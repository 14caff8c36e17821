//===- Passes.td - From a program to its plan --------------*- tablegen -*-===//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//

#ifndef FRESNEL_TRANSFORMS_PASSES
#define FRESNEL_TRANSFORMS_PASSES

include "mlir/Pass/PassBase.td"

def DifferentiatePass : Pass<"fresnel-differentiate", "::mlir::ModuleOp"> {
  let summary = "adds the gradients of the program's inputs";
  let description = [{
    Reverse-mode differentiation of the main program. For every output X of
    `outputs` (the first one if none is named) the program gets an input dX of
    its type, and for every input Y that such an output depends on, a result dY
    of its type. Each operation writes its own vector-Jacobian product
    (`DifferentiableOpInterface`); where a value is used more than once, the parts
    are summed by `fresnel.add`. Selections and what leads to them carry no
    gradient. What the backward half reads of the forward half is the SSA values
    that cross between them.
  }];
  let options = [ListOption<"outputs", "outputs", "std::string", "outputs whose gradients are given">];
}

def SliceHeadsPass : Pass<"fresnel-slice-heads", "::mlir::ModuleOp"> {
  let summary = "computes a program for some of its heads at a time";
  let description = [{
    Leaves the program for one of `slices` parts of its batch and heads: dimensions 0 and 1 of
    the inputs become that much smaller, and with them those of all that is computed from
    them. The plan runs such a program once for each slice (`fresnel.slices`), one after the
    other in the same workspace, with the inputs and outputs of the slice. The batch is
    cut first; only where there are more slices than that the heads are, too. A dimension of size 1
    is whole in every slice (`fresnel.input_slices`): bounds of documents, or lists that all heads share.

    `slices` must divide the batch, or be a multiple of it that divides the heads of each input,
    so that the query heads that share a key head stay together. An operation whose
    result is of all heads at once, such as the gradient of keys that all query heads share, is
    refused.
  }];
  let options = [Option<"slices", "slices", "int64_t", "1", "slices of batch and heads, one after the other">];
}

def FusePyramidsPass : Pass<"fresnel-fuse-pyramids", "::mlir::ModuleOp"> {
  let summary = "pools the levels and the norms of a tensor in one pass over it";
  let description = [{
    A mean pyramid that only gathers read becomes `fresnel.pool_levels`, which
    leaves level 0 where it is, and the gathers become `fresnel.gather_levels`. The
    maximum pyramid of the norms of the same tensor, with the same levels, comes
    out of the same pass. Pyramids with a factor above 16 or a coarsest window of
    more than 256 tokens stay as they are: one team of threads pools a coarsest
    window, and too few of them would fill the GPU.
  }];
  let statistics = [Statistic<"numPyramids", "num-pyramids", "pyramids fused">];
}

def InvertSelectionsPass : Pass<"fresnel-invert-selections", "::mlir::ModuleOp"> {
  let summary = "lets scatters and gradients of gathers look their slots up";
  let description = [{
    A `fresnel.select_cascade` whose selection a `fresnel.scatter`, its gradient or a
    `fresnel.gather_grad` reads gives its slot map, too; they become
    `fresnel.scatter_by_slots`, `fresnel.scatter_grad_by_slots` and
    `fresnel.gather_grad_by_slots`, which search nothing. A `fresnel.pyramid_grad mean`
    that alone reads such a gradient is computed with it. Other indices may repeat; what
    reads those stays as it is. The gradient of a scatter reads every token once then;
    with a factor above 16 or a coarsest window of more than 256 tokens, which one
    thread walks, it stays as it is, too.
  }];
  let statistics = [Statistic<"numReaders", "num-readers", "operations that look slots up">];
}

def MergeGathersPass : Pass<"fresnel-merge-gathers", "::mlir::ModuleOp"> {
  let summary = "reads the indices of several gathers once";
  let description = [{
    `fresnel.gather_levels` with the same indices and pyramids of the same size
    become one, at the place of the last, unless something before it reads one of
    the others.
  }];
  let statistics = [Statistic<"numMerged", "num-merged", "gathers that went into another">];
}

def FuseSelectionsPass : Pass<"fresnel-fuse-selections", "::mlir::ModuleOp"> {
  let summary = "selects blocks without storing their scores";
  let description = [{
    A `fresnel.block_score` that one `fresnel.select_blocks` alone reads becomes
    `fresnel.select_scored` with it: no softmax, `query_block` equal to `query_stride`,
    `causal` equal, 16-bit queries whose head dim is a multiple of 16 up to 256, at most
    16 blocks a row, and at least 65536 rows over all heads and batches. With fewer rows
    two kernels, which share a row among more threads, are faster. The selection may lie within
    documents, the scores may not.

    With `regroup`, the default, a `fresnel.regroup` that alone reads a `fresnel.block_score` with
    `group_sum` and a known LSE becomes `fresnel.regroup_scored` with it, where the target
    has a kernel for it (`hopper`, see `explainHopperScores`).
  }];
  let options = [Option<"target", "target", "std::string", "\"sm_90a\"", "GPU to compile for">,
                 Option<"regroup", "regroup", "bool", "true", "compute scores of blocks without those of windows">];
  let statistics = [
    Statistic<"numSelections", "num-selections", "selections fused with their scores">,
    Statistic<"numRegrouped", "num-regrouped", "scores of blocks computed without those of windows">];
}

def ReuseLsePass : Pass<"fresnel-reuse-lse", "::mlir::ModuleOp"> {
  let summary = "takes the LSE of scores from the attention that computes it anyway";
  let description = [{
    A `fresnel.block_score` with a softmax takes the LSE of a `fresnel.attend` of the same
    queries, keys, scale and mask that stands before it, and then walks the keys once.
    The attention must have no soft cap, no window, and neither lists nor documents.
  }];
  let statistics = [Statistic<"numReused", "num-reused", "scores that take the LSE of attention">];
}

def GroupQueriesPass : Pass<"fresnel-group-queries", "::mlir::ModuleOp"> {
  let summary = "attends block by block of keys where each query has a list of its own";
  let description = [{
    A kernel that goes from query to query walks the union of what the queries of a tile
    list, which is nearly all if each chooses by itself. Instead `fresnel.split_blocks` and
    `fresnel.group_rows` give a place to each entry of a list in front of its query's own
    block, those of one block side by side; `fresnel.gather` takes the queries there, and a
    `fresnel.attend` whose lists are of 128 queries and one block each attends to the
    whole block. Another one attends to the block of each query's own position, and
    `fresnel.merge_rows` puts a query's outputs together. The gradients of queries, keys
    and values do the same from the merged LSE (`fresnel.gather_scores`,
    `fresnel.sum_rows`), so that nothing more is saved than the places; the
    backward half gathers queries and gradients of the output anew.

    Within documents that are in order (`fresnel.document_bounds`), queries of one document alone see
    keys of a block in front of their own, and all of them from the same key on:
    `fresnel.block_bounds` has these `starts`, and the bounds of the queries' own blocks.

    Only of 16-bit tensors under a causal mask, without window, over lists of single queries and
    of blocks of a multiple of 128 keys, where the target has a kernel for it (`hopper`) and
    `schedule` names no other family, and where it pays: for each query the keys of the
    union, with half the blocks of its document (of all keys where its length is not known) at
    most and as many as the rows of a tile of 64 can list, must be twice those of its entries, each with `key_block` keys and 384 more, for
    which a row could attend in the time that it is moved about. At most eight entries:
    for each there is a copy of the queries and the output, and backward of the gradients.
  }];
  let options = [
    Option<"target", "target", "std::string", "\"sm_90a\"", "GPU to compile for">,
    Option<"schedule", "schedule", "std::string", "\"\"",
           "fields of the schedules of attention that differ from the default: name=value, separated by ':'">];
  let statistics = [Statistic<"numGrouped", "num-grouped", "attentions that go from block to block">];
}

def TransposeBlocksPass : Pass<"fresnel-transpose-blocks", "::mlir::ModuleOp"> {
  let summary = "gives gradients of keys and values the rows that list a block";
  let description = [{
    Before each `fresnel.attend_grad_kv` over block lists a
    `fresnel.transpose_blocks` of its lists, which the gradient then takes instead; all
    gradients over one list share one, those in one pass, too. Where
    the kernel of the target can cut long walks over the rows that list a block
    (`getListCuts`), and `schedule` names no other family, it takes `fresnel.count_rows`
    of them, too.
  }];
  let options = [
    Option<"target", "target", "std::string", "\"sm_90a\"", "GPU to compile for">,
    Option<"schedule", "schedule", "std::string", "\"\"",
           "fields of the gradients' schedules that differ from the default: name=value, separated by ':'">];
  let statistics = [Statistic<"numTransposed", "num-transposed", "gradients that read transposed lists">];
}

def FuseAttendGradPass : Pass<"fresnel-fuse-attend-grad", "::mlir::ModuleOp"> {
  let summary = "computes all gradients of attention in one pass over the scores";
  let description = [{
    A `fresnel.attend_grad_q` and the `fresnel.attend_grad_kv` of the same operands and
    attributes become one `fresnel.attend_grad`, between a `fresnel.attend_stats` and a
    `fresnel.round_tiles`: five matrix products for each pair of queries and keys
    instead of seven. Only where the target has a kernel for it (`hopper`, see
    `explainHopperGrad`), and not if `schedule` names another family. Over block lists
    only if `schedule` has `ordered=false`, or there are no separate kernels in the
    family (`explainHopperLists`). A window within documents becomes part of their bounds
    (`fresnel.narrow_bounds`).

    Where these are the faster of the two kinds of sums of dQ that have the same bits in
    every run (`prefersIntegerSums`), sums are integers, for which a `fresnel.bound_keys`
    says how large they may become, and `fresnel.settle_tiles` takes the place of
    `fresnel.round_tiles`: without lists and documents, if the LSE is that of an attention
    of the same operands, so that the weights of a row add up to one. `integers=true` in
    `schedule` asks for them wherever there are kernels for it (`allowsIntegerSums`);
    `integers=false` or any `ordered` for f32.
  }];
  let options = [
    Option<"target", "target", "std::string", "\"sm_90a\"", "GPU to compile for">,
    Option<"schedule", "schedule", "std::string", "\"\"",
           "fields of the gradients' schedules that differ from the default: name=value, separated by ':'">];
  let statistics = [Statistic<"numFused", "num-fused", "pairs of gradients that became one">];
}

def FuseGateGradientsPass : Pass<"fresnel-fuse-gate-gradients", "::mlir::ModuleOp"> {
  let summary = "computes gradients of gated attention from the gradient of the gated sum";
  let description = [{
    Precondition: `fresnel-fuse-attend-grad` ran, so that it is known what each gradient reads of a row.
    A `fresnel.gate_grad` with a positive activation (sigmoid) becomes `fresnel.gate_delta`, if at least one
    branch has a gradient that nothing reads but the gradients of the attention that made the branch, and their
    `fresnel.attend_delta` or `fresnel.attend_stats`. These gradients then read what the `fresnel.gate_grad` read, and
    the LSE and delta (or the stats) that `fresnel.gate_delta` makes. The other branches keep their
    gradients: those whose LSE has a gradient of its own, those whose dQ is summed in integers (the factors
    of `fresnel.attend_stats` need the gradient of the branch), and whatever no attention made. So do all of f16, whose
    weights would lose digits: with gates around -6 and 2048 keys dV is off by 3e-3 of its norm instead of 3e-4.
  }];
  let statistics = [Statistic<"numFolded", "num-folded", "branches without a gradient of their own">];
}

def FoldSumsPass : Pass<"fresnel-fold-sums", "::mlir::ModuleOp"> {
  let summary = "adds gradients where they are rounded";
  let description = [{
    A `fresnel.add` among whose terms are results of `fresnel.round_tiles` that nothing else reads
    goes: these add up in a chain, each with the one before it as its addend, the first with
    the sum of the other terms. So no more than one of them is alive beside the f32 tiles of
    the next, and nothing is rounded more often: of n such terms and one other, n
    sums are rounded instead of n terms and one sum.

    The chain needs the other terms first. A `fresnel.round_tiles` that stands before one of them moves,
    with the `fresnel.attend_grad` whose tiles it reads and the `fresnel.attend_stats` that only these
    two read, before those of the first link of the chain that stands behind the other terms, so
    that the f32 tiles never wait. If there is no such link, or something before that place reads a
    result of what would move, the term counts as one of the others.
  }];
  let statistics = [Statistic<"numFolded", "num-folded", "sums that became chains">];
}

def GatherTilesPass : Pass<"fresnel-gather-tiles", "::mlir::ModuleOp"> {
  let summary = "reads f32 tiles where the gradient of a gather would read their rounded rows";
  let description = [{
    Precondition: `fresnel-fold-sums` ran, so that sums of gradients have taken the roundings that they need.
    A `fresnel.gather_grad_by_slots` becomes `fresnel.gather_grad_tiles`, if its rows are those of a
    `fresnel.round_tiles` without statistics or addend that nothing else reads. The rows are never
    stored then, and what the gather sums of them was not rounded before.
  }];
  let statistics = [Statistic<"numFused", "num-fused", "gradients of gathers that read tiles">];
}

def SplitGradientPass : Pass<"fresnel-split-gradient", "::mlir::ModuleOp"> {
  let summary = "cuts a differentiated program into a forward and a backward half";
  let description = [{
    Precondition: `fresnel-differentiate` ran; a program that is not differentiated
    is left alone. The forward half keeps the program's name, inputs and outputs
    and what they need. The backward half, `NAME_backward` with the attribute
    `fresnel.backward`, returns the gradients. It takes, in this order, those of
    the forward inputs and forward outputs that it reads, under their names, the
    gradients of the outputs, and the saved tensors.

    A value of the forward half that the backward half reads, and that is neither
    input nor output, becomes a saved tensor: a further result of the forward half
    called `savedN_OP`. Both halves carry the list in `fresnel.saved`, each with
    its offset in one buffer (multiples of 256 bytes), the forward half the size of
    the buffer in `fresnel.saved_bytes`.

    By default everything is kept and nothing is computed twice. Operations that
    `recompute` names (without the dialect, e.g. `gather`) are repeated in the
    backward half instead, together with what they need, as far as that is named,
    too: fewer saved bytes for more time and workspace.
  }];
  let options = [ListOption<"recompute", "recompute", "std::string", "operations to repeat rather than to save">];
  let statistics = [Statistic<"numSaved", "num-saved", "tensors saved">];
}

def OutlineKernelsPass : Pass<"fresnel-outline-kernels", "::mlir::ModuleOp"> {
  let summary = "moves every operation of the program into a kernel program of its own";
  let description = [{
    Precondition: the module has one main program, and perhaps its backward half,
    which is outlined after it. Each compute operation becomes a `fresnel.program` with the attribute `fresnel.kernel`, named after
    the operation and a counter, and a `fresnel.launch` in its place. The order
    of the launches is the order of the operations. A program that is already a
    plan is left alone.
  }];
  let statistics = [Statistic<"numKernels", "num-kernels", "kernels outlined">];
}

def AssignSchedulesPass : Pass<"fresnel-assign-schedules", "::mlir::ModuleOp"> {
  let summary = "gives every kernel program a schedule for the target";
  let description = [{
    Precondition: kernels are outlined. A kernel that carries `fresnel.schedule`
    keeps it, if it is valid for the target; the others get the default. A
    construct that no schedule supports is an error at the user's operation. With
    `dependent-launch`, and on targets that can, kernels get
    `fresnel.dependent_launch`: they wait by themselves for the launch before them.
  }];
  let options = [
    Option<"target", "target", "std::string", "\"sm_90a\"", "GPU to schedule for">,
    Option<"schedule", "schedule", "std::string", "\"\"",
           "fields of the attention kernels' schedules that differ from the default: name=value, separated by ':'">,
    Option<"gradientSchedule", "gradient-schedule", "std::string", "\"\"",
           "the same for the gradients of attention">,
    Option<"dependentLaunch", "dependent-launch", "bool", "true",
           "let kernels start before the launch in front of them has ended, and wait by themselves">];
}

def OverlapLaunchesPass : Pass<"fresnel-overlap-launches", "::mlir::ModuleOp"> {
  let summary = "lets kernels run beside launches whose results they do not read";
  let description = [{
    Precondition: every launch of a plan has a kernel of its own with
    `fresnel.dependent_launch`; other plans are left alone. A kernel that reads nothing of the
    launches that may still run when it starts gets `fresnel.wait = "end"`: it works at
    once, and its last block waits at its end for the launch before it, so that whoever waits
    for this kernel has waited for all before it. What may still run are all launches
    before it, unless one of them waits before it lets the next one start,
    `fresnel.wait = "before_next"`: then only that one and those after it. A kernel waits
    so if the next one reads nothing of it, but something of an earlier one.
    `fresnel-assign-buffers` gives results of kernels that wait at their end no memory that a
    launch beside them uses.
  }];
  let statistics = [Statistic<"numOverlapped", "num-overlapped", "kernels that wait at their end">];
}

def AssignBuffersPass : Pass<"fresnel-assign-buffers", "::mlir::ModuleOp"> {
  let summary = "places intermediate tensors in the workspace";
  let description = [{
    Sets `offsets` on every launch: multiples of 256 bytes, shared by tensors
    whose lifetimes do not meet (first fit in launch order, or with the largest first where that takes
    less), -1 for results of the program. A kernel that runs beside the launches in front of it, whose
    memory its results cannot have, waits for them as others do if that saves 128 MiB. A
    `fresnel.round_tiles` whose addend nothing else reads writes its result in the place of it,
    unless either is no temporary; its kernel gets `fresnel.in_place`. The main program and a
    backward half get `fresnel.workspace_bytes`.
  }];
}

#endif // FRESNEL_TRANSFORMS_PASSES
