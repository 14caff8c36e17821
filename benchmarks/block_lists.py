"""Times attention over block lists, forward and backward, beside PyTorch's FlexAttention, in one process on one GPU.

Both sides get the same random lists, without a mask inside blocks of queries; they take turns in a new order every round,
L2 is flushed before each sample, and medians are compared. The results are compared first: a wrong kernel is not timed.
Lists of single tokens, as NSA has them, for which a BlockMask has no rows, are timed beside flash-linear-attention where its
package is installed, else alone. So are the gradients at blocks of 64, for which FlexAttention finds no kernel. With
`--gradient-schedule ordered=false` gradients are added in any order. The methods `moba` and `vsa` are set beside dense
attention of cuDNN, `moba_documents`, whose documents have random lengths, beside nobody. TFLOP/s count 4 D per listed pair and head, 2.5 times that backward. Prints Markdown tables.
Needs PyTorch with CUDA. Usage: block_lists.py --fresnel PATH --runtime libfresnel_rt.so [--filter TEXT] [--no-grad]
"""

import argparse
import pathlib
import subprocess
import sys
import tempfile

from attention import measure
from fresnel_plan import Plan, load_library

# Query block, key block, entries, H, key heads, N, D.
CASES = [
    (128, 128, 32, 16, 16, 65536, 128),
    (64, 64, 64, 16, 16, 65536, 128),
    (64, 64, 64, 16, 16, 65536, 64),
    (128, 64, 64, 16, 16, 65536, 128),
    (128, 128, 32, 32, 8, 65536, 128),
    (128, 32, 128, 16, 16, 65536, 128),
    (64, 32, 128, 16, 16, 65536, 128),
    (1, 64, 16, 64, 4, 65536, 128),
    (1, 32, 32, 64, 4, 65536, 128),
    (1, 64, 16, 64, 4, 65536, 192),
    (1, 64, 16, 64, 4, 65536, 256),
]

# Method, its parameters, whether dense attention beside it is causal, or None for none.
METHODS = [
    *(("moba", {"seq_len": n, "block": 512, "topk": 3}, True) for n in (4096, 8192, 16384, 32768, 65536, 131072)),
    *(("moba_documents", {"seq_len": n, "block": 512, "topk": 3, "documents": d}, None) for n in (32768, 65536) for d in (1, 8)),
    *(("vsa", {"seq_len": n, "block": 64, "topk": 32}, False) for n in (8192, 32768, 65536)),
]


def compile_bundle(arguments, method, bundle, settings=()):
    command = [arguments.fresnel, "compile", method, "-o", str(bundle), "--no-ptxas", "--no-db", *settings]
    if not arguments.no_grad:
        command += ["--grad", "--grad-of", "out", "--gradient-schedule", arguments.gradient_schedule]
    elif arguments.schedule:
        command += ["--schedule", arguments.schedule]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)


def write_program(case, path):
    query_block, key_block, entries, heads, kv_heads, length, dim = case
    q, kv = (f"tensor<1x{h}x{length}x{dim}xbf16>" for h in (heads, kv_heads))
    lists = f"tensor<1x{kv_heads}x{length // query_block}x{entries}xi32>"
    causal = ", causal = true" if query_block < 64 else ""
    path.write_text(
        f"fresnel.program @lists(%q: {q}, %k: {kv}, %v: {kv}, %list: {lists}) {{\n"
        f"  %out, %lse = fresnel.attend %q, %k, %v blocks(%list : {lists}) {{query_block = {query_block}, "
        f"key_block = {key_block}{causal}}} : {q}, {kv}, {kv}\n"
        f'  fresnel.return %out, %lse {{names = ["out", "lse"]}} : {q}, tensor<1x{heads}x{length}xf32>\n}}\n')


def make_lists(torch, case):
    """Distinct random blocks, ascending. Tokens of one list each share most of them with their neighbours."""
    query_block, key_block, entries, _, kv_heads, length, _ = case
    rows, blocks = length // max(query_block, 64), length // key_block
    scores = torch.rand(1, kv_heads, rows, blocks, device="cuda")
    if query_block >= 64:
        return scores.topk(entries).indices.int().sort().values.contiguous()
    # 64 tokens choose among the same blocks of the past and always take their own and the first; each leaves out others.
    own = torch.arange(rows, device="cuda") * 64 // key_block
    future = torch.arange(blocks, device="cuda") > own[:, None]
    scores = scores.masked_fill(future, -1)
    scores[..., 0] = 2
    scores.scatter_(3, own.view(1, 1, rows, 1).expand(1, kv_heads, rows, 1), 2.0)
    some = scores.topk(entries + entries // 4)
    lists = some.indices.int().masked_fill(some.values < 0, -1).repeat_interleave(64 // query_block, dim=2)
    order = torch.rand(lists.shape, device="cuda")
    order[..., :2] = 2
    return lists.gather(3, order.topk(entries).indices).contiguous()


def make_own_lists(torch, case):
    """Lists of single tokens that neighbours do not share: each token's own block, the first, and random ones of its past."""
    _, key_block, entries, _, kv_heads, length, _ = case
    own = torch.arange(length, device="cuda")[:, None] // key_block
    future = torch.arange(length // key_block, device="cuda") > own
    lists = []
    for _ in range(kv_heads):
        scores = torch.rand(future.shape, device="cuda").masked_fill(future, -1)
        scores[:, 0] = 2
        some = scores.scatter_(1, own, 2.0).topk(entries)
        lists.append(some.indices.int().masked_fill(some.values < 0, -1))
    return torch.stack(lists)[None].contiguous()


def make_flex_attention(torch, case, inputs):
    import torch._functorch.config
    from torch.nn.attention.flex_attention import BlockMask, flex_attention
    # Its gradients are computed again and again from one forward result.
    torch._functorch.config.donated_buffer = False
    # Beyond a number of compilations of one function torch.compile falls back to all pairs, which fit no memory.
    torch.compiler.reset()
    query_block, key_block, entries, heads, kv_heads, length, _ = case
    blocks, lists = length // key_block, inputs["list"].repeat_interleave(heads // kv_heads, dim=1)
    full = torch.zeros(*lists.shape[:3], blocks, device="cuda", dtype=torch.int32)
    full[..., :entries] = lists
    counts = torch.full(lists.shape[:3], entries, device="cuda", dtype=torch.int32)
    mask = BlockMask.from_kv_blocks(torch.zeros_like(counts), torch.zeros_like(full), counts, full,
                                    BLOCK_SIZE=(query_block, key_block), seq_lengths=(length, length))
    compiled = torch.compile(flex_attention)
    # Its own tiles, of 128, must fit blocks of 64.
    small = min(query_block, key_block) < 128
    options = {"BLOCK_M": min(query_block, 64), "BLOCK_N": min(key_block, 64)} if small else None
    return lambda q, k, v: compiled(q, k, v, block_mask=mask, enable_gqa=heads != kv_heads, kernel_options=options)


def import_list_attention():
    """The function of flash-linear-attention that attends over lists of single tokens, if it is installed."""
    try:
        from fla.ops.nsa.parallel import ParallelNSAFunction
    except ImportError as error:
        print(f"flash-linear-attention is not part of this run: {error}.")
        return None
    return ParallelNSAFunction.apply


def make_list_attention(apply, case, inputs):
    """It, over the lists of the inputs. Its tensors are [B, N, H, D], as ours are in memory."""
    _, key_block, entries, _, _, _, dim = case
    lists = inputs["list"].transpose(1, 2).contiguous()

    def attend(*qkv):
        out = apply(*(x.transpose(1, 2) for x in qkv), lists, entries, key_block, dim ** -0.5, None)
        return out.transpose(1, 2)
    return attend


def make_peer(torch, list_attention, case, inputs):
    """Name, function and whether it has gradients of who does the same; no function if nobody does."""
    query_block, key_block = case[:2]
    if query_block >= 64:
        return "FlexAttention", make_flex_attention(torch, case, inputs), min(query_block, key_block) >= 128
    return "flash-linear-attention", list_attention and make_list_attention(list_attention, case, inputs), True


def make_dense(torch, causal, kv_heads):
    from torch.nn.attention import SDPBackend, sdpa_kernel

    def dense(q, k, v):
        with sdpa_kernel(SDPBackend.CUDNN_ATTENTION):
            return torch.nn.functional.scaled_dot_product_attention(q, k, v, is_causal=causal,
                                                                    enable_gqa=q.shape[1] != kv_heads)
    return dense


def compare(name, got, want):
    relative = ((got.float() - want.float()).norm() / want.float().norm()).item()
    if not relative < 1e-2:
        sys.exit(f"block_lists.py: {name} is wrong: relative L2 {relative:.2e}")
    return f"{relative:.1e}"


def random_inputs(torch, heads, kv_heads, length, dim):
    return {name: torch.randn(1, length, h, dim, device="cuda", dtype=torch.bfloat16).transpose(1, 2)
            for name, h in (("q", heads), ("k", kv_heads), ("v", kv_heads), ("dout", heads))}


def time_beside(torch, arguments, plan, inputs, peer, checks, peer_has_gradients=True):
    """[(pass, times of ours and the peer's, errors)] of what the arguments ask for."""
    plan.launch()
    leaves = [inputs[name].detach().requires_grad_(peer_has_gradients) for name in "qkv"]
    forward, errors = [plan.launch], "-"
    if peer:
        out = peer(*leaves)
        errors = compare("out", plan.outputs["out"], out) if checks else "-"
        forward.append(lambda: peer(inputs["q"], inputs["k"], inputs["v"]))
    rows = [("forward", measure(torch, forward, 1, arguments.samples, flush=True), errors)]
    if arguments.no_grad:
        return rows
    plan.backward()
    backward, errors = [plan.backward], "-"
    if peer and peer_has_gradients:
        backward.append(lambda: torch.autograd.grad(out, leaves, inputs["dout"], retain_graph=True))
        if checks:
            wants = backward[1]()
            errors = " ".join(compare(f"d{name}", plan.gradients[f"d{name}"], want) for name, want in zip("qkv", wants))
    return [*rows, ("backward", measure(torch, backward, 1, arguments.samples, flush=True), errors)]


def count_memory(plan):
    """Workspace of both directions and what is saved between them, in MiB."""
    return max(plan.bytes, plan.backward_bytes if plan.plan.has_backward else 0) + plan.plan.saved_bytes >> 20


def run_case(torch, library, arguments, list_attention, case, folder):
    query_block, key_block, entries, heads, kv_heads, length, dim = case
    program, bundle = folder / "lists.mlir", folder / "lists.fkb"
    write_program(case, program)
    compile_bundle(arguments, str(program), bundle)
    inputs = random_inputs(torch, heads, kv_heads, length, dim)
    inputs["list"] = make_own_lists(torch, case) if arguments.own_lists and query_block == 1 else make_lists(torch, case)
    plan = Plan(torch, library, bundle, inputs)
    peer_name, peer, peer_has_gradients = None, None, False
    if not arguments.no_peer:
        peer_name, peer, peer_has_gradients = make_peer(torch, list_attention, case, inputs)
    flops = 4 * heads * dim * length * entries * key_block
    for kind, times, errors in time_beside(torch, arguments, plan, inputs, peer, checks=True,
                                           peer_has_gradients=peer_has_gradients):
        count = flops * (2.5 if kind == "backward" else 1)
        for name, time in zip(("Fresnel", peer_name), times):
            ours = name == "Fresnel"
            print(f"| {query_block} x {key_block} | {entries} | {heads}/{kv_heads} | {length} | {dim} | {kind} | {name} | "
                  f"{time:.3f} | {count / time * 1e-9:.0f} | {time / times[0]:.2f} | "
                  f"{count_memory(plan) if ours else ''} | {errors if ours else ''} |", flush=True)


def run_method(torch, library, arguments, method, folder):
    name, parameters, causal = method
    bundle, heads, length, dim = folder / "method.fkb", 8, parameters["seq_len"], 128
    compile_bundle(arguments, name, bundle, [f"--set={key}={value}" for key, value in parameters.items()])
    inputs = random_inputs(torch, heads, heads, length, dim)
    inputs["gates"] = torch.randn(1, length, heads, 2, device="cuda", dtype=torch.bfloat16).transpose(1, 2)
    documents = parameters.get("documents", 1)
    ends = torch.randint(1, length, (documents - 1,), device="cuda").sort().values
    inputs["cu_seqlens"] = torch.nn.functional.pad(torch.nn.functional.pad(ends, (1, 0)), (0, 1), value=length).int()[None, None]
    plan = Plan(torch, library, bundle, inputs)
    dense = None if causal is None else make_dense(torch, causal, heads)
    text = " ".join(f"{key}={value}" for key, value in parameters.items())
    for kind, times, _ in time_beside(torch, arguments, plan, inputs, dense, checks=False):
        beside = f"{times[1]:.3f} | {times[1] / times[0]:.2f}" if dense else "- | -"
        print(f"| {name} {text} | {kind} | {times[0]:.3f} | {beside} | {count_memory(plan)} |", flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--fresnel", default="build/bin/fresnel")
    parser.add_argument("--runtime", default="build/lib/libfresnel_rt.so")
    parser.add_argument("--samples", type=int, default=9)
    parser.add_argument("--filter", default="", help="only cases whose text has this, for example '128, 128' or moba")
    parser.add_argument("--no-grad", action="store_true", help="the forward only")
    parser.add_argument("--schedule", default="", help="with --no-grad: fields that change the schedules")
    parser.add_argument("--gradient-schedule", default="", help="fields that change the gradients' schedules")
    parser.add_argument("--own-lists", action="store_true", help="lists of single tokens that neighbours do not share")
    parser.add_argument("--no-peer", action="store_true", help="Fresnel only")
    arguments = parser.parse_args()
    try:
        import torch
    except ImportError:
        sys.exit("block_lists.py: needs PyTorch with CUDA")
    cases, methods = ([case for case in every if arguments.filter in str(case)] for every in (CASES, METHODS))
    if not cases and not methods:
        sys.exit(f"block_lists.py: no case has '{arguments.filter}'")
    library = load_library(arguments.runtime)
    print(f"{torch.cuda.get_device_name()}, torch {torch.__version__}")
    list_attention = None
    if not arguments.no_peer and any(case[0] < 64 for case in cases):
        list_attention = import_list_attention()
    with tempfile.TemporaryDirectory() as folder:
        if cases:
            print("\n| blocks | entries | H | N | D | pass | kernel | ms | TFLOP/s | over ours | MiB beside tensors | relative L2 |")
            print("|---|---|---|---|---|---|---|---|---|---|---|---|")
        for case in cases:
            run_case(torch, library, arguments, list_attention, case, pathlib.Path(folder))
        if methods:
            print("\n| method | pass | ms | dense cuDNN, ms | dense over ours | MiB beside tensors |\n|---|---|---|---|---|---|")
        for method in methods:
            run_method(torch, library, arguments, method, pathlib.Path(folder))


if __name__ == "__main__":
    main()
