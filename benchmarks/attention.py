"""Times attention kernels beside PyTorch's cuDNN, FlashAttention and FlexAttention, in one process on one GPU.

All sides run on the same bf16 tensors, [B, N, H, D], taking turns in a new order every round. Two ways of timing, both
medians: sustained (four launches in a row a sample, no pause: the GPU is at its power limit) and flushed (one launch a
sample, L2 flushed before it). The results are compared with cuDNN's first: a wrong kernel is not timed. With --backward
the gradients are timed, from what the forward launch left, with everything in front of and behind the main kernel, as
for PyTorch; without ordered=false two launches must give the same bits. FlashAttention-3 and -4 take part where their
packages are installed. Packed documents are 16 of random lengths, or have those that follow their mask: documents:8192+128
has one of 8192 tokens and then as many of 128 as fit. Prints a Markdown table. Needs PyTorch with CUDA. Usage: attention.py
--fresnel PATH --runtime libfresnel_rt.so [--backward] [--filter REGEX] [--peers REGEX] [--schedule NAME=FIELDS ...], for
example --schedule unordered=ordered=false
"""

import argparse
import functools
import importlib
import inspect
import pathlib
import random
import re
import statistics
import subprocess
import sys
import tempfile

from fresnel_plan import Plan, load_library

# Mask, B, H, key heads, N, D, or D of keys and values. `window` is the width of a causal sliding window.
CASES = [
    *(("causal", b, 16, 16, n, 128) for b, n in ((4, 4096), (2, 8192), (1, 16384), (1, 65536), (1, 131072))),
    ("causal", 1, 32, 8, 16384, 128),
    *(("full", b, 16, 16, n, 128) for b, n in ((4, 4096), (2, 8192), (1, 16384))),
    *(("causal", 1, 16, 16, n, 64) for n in (16384, 65536)),
    *(("causal", 1, 16, 16, 16384, d) for d in (96, 192, 256, (192, 128))),
    *(("full", 1, 16, 16, 16384, d) for d in (192, 256)),
    *(("causal", 4, 16, 16, 4096, d) for d in (192, 256)),
    *(("window", 1, 16, 16, n, 128) for n in (65536, 131072)),
    *(("documents", 1, 16, 16, n, 128) for n in (8192, 32768, 65536)),
    *((f"documents:{lengths}", 1, 16, 16, 65536, 128) for lengths in ("8192", "1024", "128", "32768+256")),
    *(("lighthouse", 1, 8, 8, n, 128) for n in (32768, 98304, 131072)),
]
WINDOW, DOCUMENTS = 4096, 16
# Peers that PyTorch does not bring, of the first module that can be imported; whether it has gradients.
FLASH_ATTENTION = {"FlashAttention-3": (("flash_attn_interface", True), ("fa3_fwd_interface", False)),
                   "FlashAttention-4": (("flash_attn.cute", True),)}


def get_dims(case):
    """The head dims of keys and values."""
    dim = case[-1]
    return dim if isinstance(dim, tuple) else (dim, dim)


def get_method(case):
    """The mask without the lengths of its documents."""
    return case[0].partition(":")[0]


def compile_bundle(arguments, case, schedule, path):
    mask, batch, heads, kv_heads, length, _ = case
    dim, value_dim = get_dims(case)
    method = get_method(case)
    method = method if method in ("window", "documents", "lighthouse") else "dense"
    sets = {"batch": batch, "heads": heads, "kv_heads": kv_heads, "seq_len": length, "head_dim": dim}
    if method == "dense":
        sets["causal"] = "true" if mask == "causal" else "false"
        sets["value_dim"] = value_dim
    if method == "window":
        sets["window"] = WINDOW
    if method == "documents":
        sets["documents"] = len(cut_documents(case)) - 1
    command = [arguments.fresnel, "compile", method, "-o", str(path), "--no-ptxas", "--no-db"]
    if arguments.backward:
        command += ["--grad", "--grad-of", "out"]
    if schedule:
        command += ["--gradient-schedule" if arguments.backward else "--schedule", schedule]
    for name, value in sets.items():
        command += ["--set", f"{name}={value}"]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)


def make_window_mask(torch, length, size=128):
    """The window as a BlockMask, block by block: made from all pairs of positions it would not fit the memory."""
    from torch.nn.attention.flex_attention import BlockMask
    rows, reach = length // size, WINDOW // size
    row = torch.arange(rows, device="cuda", dtype=torch.int32)[:, None]
    edge = (row - reach).clamp(min=-1)
    partial = torch.zeros(rows, rows, device="cuda", dtype=torch.int32)
    partial[:, 0], partial[:, 1] = row[:, 0], edge[:, 0].clamp(min=0)
    first = (edge + 1).clamp(min=0)
    full = (first + torch.arange(rows, device="cuda", dtype=torch.int32)).clamp(max=rows - 1)
    return BlockMask.from_kv_blocks((1 + (edge >= 0).int()).view(1, 1, rows).int(), partial.view(1, 1, rows, rows),
                                    (row - first).view(1, 1, rows).int(), full.view(1, 1, rows, rows).int(),
                                    BLOCK_SIZE=size, mask_mod=lambda b, h, i, j: (i >= j) & (i - j < WINDOW),
                                    seq_lengths=(length, length))


def make_document_mask(torch, starts, size=128):
    """Causal attention within documents as a BlockMask, from where the document of each token starts."""
    from torch.nn.attention.flex_attention import BlockMask
    length = len(starts)
    rows = -(-length // size)
    row = torch.arange(rows, device=starts.device, dtype=torch.int32)
    first, last = starts[row * size], starts[(row * size + size - 1).clamp(max=length - 1)]
    # Blocks from `left` on are seen by some rows, those from `whole` on by all; the diagonal's is the last.
    left, whole = first // size, torch.minimum((last + size - 1) // size, row)
    count, position = whole - left, row[None]
    partial = torch.where(position == count[:, None], row[:, None], left[:, None] + position).clamp(max=rows - 1)
    full = (whole[:, None] + position).clamp(max=rows - 1)
    return BlockMask.from_kv_blocks((count + 1).view(1, 1, rows).int(), partial.view(1, 1, rows, rows).int(),
                                    (row - whole).view(1, 1, rows).int(), full.view(1, 1, rows, rows).int(),
                                    BLOCK_SIZE=size, mask_mod=lambda b, h, i, j: (i >= j) & (starts[i] <= j),
                                    seq_lengths=(length, length))


def cut_documents(case):
    """Ends of documents, 0 first."""
    mask, *_, length, _ = case
    lengths = [int(tokens) for tokens in mask.partition(":")[2].split("+") if tokens]
    if not lengths:
        return [0, *sorted(random.Random(length).sample(range(1, length), DOCUMENTS - 1)), length]
    ends = [0]
    while ends[-1] < length:
        ends.append(min(length, ends[-1] + lengths[min(len(ends), len(lengths)) - 1]))
    return ends


def find_document_peers(torch, flash, case, inputs):
    from torch.nn.attention.flex_attention import flex_attention
    from torch.nn.attention.varlen import varlen_attn
    q, k, v, ends = inputs["q"], inputs["k"], inputs["v"], cut_documents(case)
    cuts = inputs["cu_seqlens"].view(-1)
    tokens = torch.arange(ends[-1], device="cuda", dtype=torch.int32)
    blocks = make_document_mask(torch, cuts[torch.searchsorted(cuts, tokens, right=True) - 1])
    compiled, longest = torch.compile(flex_attention), max(end - start for start, end in zip(ends, ends[1:]))
    causal = {"is_causal": True} if "is_causal" in inspect.signature(varlen_attn).parameters else {"window_size": (-1, 0)}

    def varlen(function, **causal):
        out = function(*(inputs[x].transpose(1, 2)[0] for x in "qkv"), cuts, cuts, longest, longest, **causal)
        return (out[0] if isinstance(out, tuple) else out)[None].transpose(1, 2)

    peers = {"FlexAttention": lambda: compiled(q, k, v, block_mask=blocks),
             "FlashAttention-2, varlen": lambda: varlen(varlen_attn, **causal)}
    add_flash_attention(torch, peers, case, inputs, {
        f"{name}, varlen": functools.partial(varlen, module.flash_attn_varlen_func, causal=True)
        for name, module in flash.items() if hasattr(module, "flash_attn_varlen_func")})
    return peers


def import_flash_attention(backward):
    """The modules by name. Says why one is not part of the run."""
    found = {}
    for name, modules in FLASH_ATTENTION.items():
        reasons = []
        for module, has_gradients in modules:
            if backward and not has_gradients:
                reasons.append(f"{module} has no gradients")
                continue
            try:
                found[name] = importlib.import_module(module)
                break
            except ImportError as error:
                reasons.append(str(error))
        else:
            print(f"{name} is not part of this run: {'; '.join(reasons)}.")
    return found


def find_flash_attention(flash, case, inputs):
    """What was imported, on these inputs."""
    def attend(function):
        out = function(*(inputs[x].transpose(1, 2) for x in "qkv"), causal=case[0] == "causal")
        return (out[0] if isinstance(out, tuple) else out).transpose(1, 2)

    return {name: functools.partial(attend, module.flash_attn_func) for name, module in flash.items()}


def add_flash_attention(torch, peers, case, inputs, functions):
    """Functions without arguments join the peers, as far as there are kernels for the case."""
    for name, function in functions.items():
        try:
            shape, want = function().shape, (*inputs["q"].shape[:-1], inputs["v"].shape[-1])
            torch.cuda.synchronize()
            if shape != want:
                raise ValueError(f"it gives an output of {tuple(shape)} instead of {want}")
            peers[name] = function
        except (AssertionError, NotImplementedError, RuntimeError, ValueError) as error:
            print(f"attention.py: {name} has no kernel for {case}: {str(error).splitlines()[0]}", file=sys.stderr)


def find_peers(torch, flash, case, inputs):
    """Functions by name: the same result by other means. Lighthouse is set beside dense causal attention."""
    from torch.nn.attention import SDPBackend, sdpa_kernel
    mask, _, heads, kv_heads, length, _ = case
    q, k, v = inputs["q"], inputs["k"], inputs["v"]

    def sdpa(backend):
        with sdpa_kernel(backend):
            return torch.nn.functional.scaled_dot_product_attention(q, k, v, is_causal=mask != "full",
                                                                    enable_gqa=heads != kv_heads)

    if get_method(case) == "documents":
        return find_document_peers(torch, flash, case, inputs)
    if mask == "window":
        from torch.nn.attention.flex_attention import flex_attention
        blocks = make_window_mask(torch, length)
        compiled = torch.compile(flex_attention)
        return {"FlexAttention": lambda: compiled(q, k, v, block_mask=blocks)}
    peers = {"cuDNN": lambda: sdpa(SDPBackend.CUDNN_ATTENTION)}
    if heads == kv_heads and mask != "lighthouse" and q.shape == v.shape:
        peers["FlashAttention-2"] = lambda: sdpa(SDPBackend.FLASH_ATTENTION)
    if mask in ("causal", "full"):
        add_flash_attention(torch, peers, case, inputs, find_flash_attention(flash, case, inputs))
    return peers


def count_flops(case):
    mask, batch, heads, _, length, _ = case
    pairs = {"full": length * length, "causal": length * length / 2,
             "window": length * WINDOW - WINDOW * WINDOW / 2}.get(mask)
    if get_method(case) == "documents":
        ends = cut_documents(case)
        pairs = sum((end - start) ** 2 / 2 for start, end in zip(ends, ends[1:]))
    return pairs and 2 * batch * heads * sum(get_dims(case)) * pairs


def measure(torch, functions, launches, samples, flush):
    """Median milliseconds of each function."""
    scratch = torch.empty(256 << 20 if flush else 1, device="cuda", dtype=torch.uint8)
    times = [[] for _ in functions]
    order = list(range(len(functions)))
    shuffle = random.Random(0).shuffle
    for sample in range(samples + 2):
        # Under a power limit a kernel gains from a lighter one before it: nobody keeps a neighbour.
        shuffle(order)
        for which in order:
            scratch.zero_()
            # The GPU waits until the first launch is enqueued.
            torch.cuda._sleep(1 << 18)
            begin, end = torch.cuda.Event(True), torch.cuda.Event(True)
            begin.record()
            for _ in range(launches):
                functions[which]()
            end.record()
            torch.cuda.synchronize()
            if sample >= 2:
                times[which].append(begin.elapsed_time(end) / launches)
    return [statistics.median(t) for t in times]


def check_capture(torch, launch, outputs, ordered):
    """A captured launch, replayed over poisoned outputs, gives the bits of a plain launch."""
    launch()
    torch.cuda.synchronize()
    plain = {name: tensor.clone() for name, tensor in outputs.items()}
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        launch()
    for tensor in outputs.values():
        tensor.fill_(-7)
    graph.replay()
    torch.cuda.synchronize()
    for name, tensor in outputs.items():
        same = torch.equal(tensor, plain[name]) if ordered else compare(name, tensor, plain[name])
        if not same:
            sys.exit(f"attention.py: output {name} of a captured launch differs from a plain one")


def compare(name, got, want):
    """The relative L2 of a result."""
    # Sums of squares in f64: at long lengths those of f32 stall.
    relative = ((got.double() - want.double()).norm() / want.double().norm()).item()
    if not relative < 1e-2:
        sys.exit(f"attention.py: {name} is wrong: relative L2 {relative:.2e}")
    return f"{relative:.1e}"


def capture(torch, function):
    """The same as a graph: what a side does on the CPU is not timed."""
    function()
    torch.cuda.synchronize()
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        function()
    return graph.replay


def prepare_forward(torch, plans, peers, case):
    """What to time, and how far the first is from the peer."""
    for plan, fields in plans:
        check_capture(torch, plan.launch, plan.outputs, ordered=True)
    ours = [capture(torch, plan.launch) for plan, _ in plans]
    theirs = [capture(torch, peer) for peer in peers.values()]
    if case[0] == "lighthouse":
        return ours, theirs, "-"
    want, *others = (peer() for peer in peers.values())
    for name, other in zip(list(peers)[1:], others):
        compare(f"out of {name}", other, want)
    errors = compare("out", plans[0][0].outputs["out"], want)
    return ours, theirs, errors


def prepare_backward(torch, plans, peers, inputs):
    """The same for the gradients. The graph of each peer's forward pass is kept."""
    import torch._functorch.config
    torch._functorch.config.donated_buffer = False  # FlexAttention's backward pass runs several times.
    leaves = [inputs[name] for name in "qkv"]
    functions = []
    for peer in peers.values():
        for leaf in leaves:
            leaf.requires_grad_(True)
        out = peer()
        functions.append(lambda out=out: torch.autograd.grad(out, leaves, inputs["dout"], retain_graph=True))
    wants, errors = functions[0](), ""
    for name, function in list(zip(peers, functions))[1:]:
        for leaf, got, want in zip("qkv", function(), wants):
            compare(f"d{leaf} of {name}", got, want)
    for plan, fields in plans:
        plan.launch()
        check_capture(torch, plan.backward, plan.gradients, "ordered=false" not in fields)
        errors = " ".join(compare(f"d{name}", plan.gradients[f"d{name}"], want) for name, want in zip("qkv", wants))
    return [plan.backward for plan, _ in plans], functions, errors


def run_case(torch, library, flash, arguments, case, folder):
    mask, batch, heads, kv_heads, length, _ = case
    dim, value_dim = get_dims(case)
    inputs = {name: torch.randn(batch, length, h, d, device="cuda", dtype=torch.bfloat16).transpose(1, 2)
              for name, h, d in (("q", heads, dim), ("k", kv_heads, dim), ("v", kv_heads, value_dim),
                                 ("dout", heads, value_dim))}
    if get_method(case) == "documents":
        inputs["cu_seqlens"] = torch.tensor(cut_documents(case), device="cuda", dtype=torch.int32).view(1, 1, -1)
    plans = []
    for index, (_, fields) in enumerate(arguments.schedules):
        bundle = pathlib.Path(folder) / f"method{index}.fkb"
        compile_bundle(arguments, case, fields, bundle)
        plans.append((Plan(torch, library, bundle, inputs), fields))
    peers = find_peers(torch, flash, case, inputs)
    peers = {name: peer for name, peer in peers.items() if re.search(arguments.peers, name)}
    if not peers:
        sys.exit(f"attention.py: no peer of {case} has '{arguments.peers}'")
    if arguments.backward:
        ours, theirs, errors = prepare_backward(torch, plans, peers, inputs)
    else:
        ours, theirs, errors = prepare_forward(torch, plans, peers, case)
    functions = [*ours, *theirs]
    sustained = measure(torch, functions, launches=4, samples=arguments.samples, flush=False)
    flushed = measure(torch, functions, launches=1, samples=arguments.samples, flush=True)
    flops = count_flops(case)
    if flops and arguments.backward:
        # Of the five products three have the keys' head dim, two that of the values.
        flops *= (3 * dim + 2 * value_dim) / (dim + value_dim)
    dims = dim if dim == value_dim else f"{dim}/{value_dim}"
    names = [*(name for name, _ in arguments.schedules), *peers]
    reference = len(ours)
    for index, name in enumerate(names):
        rate = f"{flops / sustained[index] * 1e-9:.0f}" if flops else "-"
        ratios = [f"{times[reference] / times[index]:.3f}" for times in (sustained, flushed)]
        print(f"| {mask} | {batch} | {heads}/{kv_heads} | {length} | {dims} | {name} | {sustained[index]:.3f} | {rate} | "
              f"{ratios[0]} | {flushed[index]:.3f} | {ratios[1]} | {errors if index == 0 else ''} |", flush=True)


def parse_case(text):
    mask, *sizes = text.split(",")
    batch, heads, kv_heads, length, dim, *value_dim = map(int, sizes)
    return mask, batch, heads, kv_heads, length, (dim, *value_dim) if value_dim else dim


def parse_schedule(text):
    name, _, fields = text.partition("=")
    return name, fields


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--fresnel", default="build/bin/fresnel")
    parser.add_argument("--runtime", default="build/lib/libfresnel_rt.so")
    parser.add_argument("--samples", type=int, default=9)
    parser.add_argument("--backward", action="store_true", help="time the gradients")
    parser.add_argument("--filter", default="", help="only cases whose text has this, for example '^causal, 1'")
    parser.add_argument("--peers", default="", help="only peers whose name has this; the first is the one to compare with")
    parser.add_argument("--case", dest="cases", action="append", type=parse_case, metavar="MASK,B,H,KV_HEADS,N,D[,VALUE_DIM]",
                        help="this case instead of the table's; may come several times")
    parser.add_argument("--schedule", dest="schedules", action="append", type=parse_schedule,
                        help="a name and what it changes in the kernels' schedules; may come several times")
    arguments = parser.parse_args()
    arguments.schedules = arguments.schedules or [("Fresnel", "")]
    try:
        import torch
    except ImportError:
        sys.exit("attention.py: needs PyTorch with CUDA")
    cases = [case for case in arguments.cases or CASES if re.search(arguments.filter, ", ".join(map(str, case)))]
    if arguments.backward:
        cases = [case for case in cases if case[0] != "lighthouse"]
    if not cases:
        sys.exit(f"attention.py: no case has '{arguments.filter}'")
    library = load_library(arguments.runtime)
    print(f"{torch.cuda.get_device_name()}, torch {torch.__version__}, cuDNN {torch.backends.cudnn.version()}")
    flash = import_flash_attention(arguments.backward)
    print()
    print("| mask | B | H | N | D | kernel | sustained ms | TFLOP/s | peer over this | flushed ms | peer over this | "
          "relative L2 |")
    print("|---|---|---|---|---|---|---|---|---|---|---|---|")
    with tempfile.TemporaryDirectory() as folder:
        for case in cases:
            run_case(torch, library, flash, arguments, case, folder)


if __name__ == "__main__":
    main()
