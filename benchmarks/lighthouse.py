"""Times Lighthouse Attention, forward and backward, beside cuDNN's dense causal attention, in one process on one GPU.

Both sides get the same random bf16 tensors, [B, N, H, D], and take turns; L2 is flushed before each sample and medians are
compared. Up to 32768 tokens k is N / 16, above that k and the levels are those of docs/performance.md. At the end: the
length from which on Lighthouse is faster, on a line through the logarithms of the ratios at the lengths beside it. MiB are
the workspaces and what is saved between the passes.

The authors' code (arXiv 2605.06554, a patch of torchtitan) takes turns too where --authors can be imported. It runs as its
model calls it, with scores by norms and cuDNN inside, without torch.compile unless --compile-authors is passed. A second
table has both sides as PyTorch operations: what they allocate beside q, k, v and dout, and how far they agree. The authors
take norms in bf16, where many windows tie: "entries" are how many of the selected ones are the same, with their norms and
with norms in f32, and results are compared for the latter. Prints Markdown tables. Needs PyTorch with CUDA.
Usage: lighthouse.py --fresnel PATH --runtime libfresnel_rt.so [--lengths N,N,...] [--heads H] [--kv-heads H]
"""

import argparse
import importlib
import inspect
import math
import pathlib
import subprocess
import sys
import tempfile

from attention import measure
from fresnel_plan import Plan, load_library

# N: kept parents a level, levels. The factor is 4, the head dim 128.
CASES = {
    1024: (64, 3), 2048: (128, 3), 4096: (256, 3), 8192: (512, 3), 12288: (768, 3), 16384: (1024, 3), 24576: (1536, 3), 32768: (2048, 3),
    98304: (2048, 3), 131072: (4096, 3), 262144: (2048, 4), 524288: (4096, 4), 1048576: (4096, 4),
}
FACTOR, DIM = 4, 128
# Dense attention takes seconds at the largest lengths.
LONGEST_DENSE, SAMPLES_AT_LENGTH = 524288, ((32768, 9), (131072, 5), (262144, 2))
AUTHORS = "torchtitan.models.llama3.model.lighthouse_selection"  # Where their patch puts it.


def compile_bundle(arguments, length, bundle):
    topk, levels = CASES[length]
    command = [arguments.fresnel, "compile", "lighthouse", "-o", str(bundle), "--no-ptxas", "--no-db", "--grad", "--grad-of",
               "out"]
    for name, value in (("seq_len", length), ("topk", topk), ("factor", FACTOR), ("levels", levels), ("head_dim", DIM),
                        ("heads", arguments.heads), ("kv_heads", arguments.kv_heads)):
        command += ["--set", f"{name}={value}"]
    subprocess.run([*command, *arguments.settings], check=True, stdout=subprocess.DEVNULL)


def make_dense(torch, arguments):
    from torch.nn.attention import SDPBackend, sdpa_kernel

    def dense(q, k, v):
        with sdpa_kernel(SDPBackend.CUDNN_ATTENTION):
            return torch.nn.functional.scaled_dot_product_attention(q, k, v, is_causal=True,
                                                                    enable_gqa=arguments.heads != arguments.kv_heads)
    return dense


def count_samples(arguments, length):
    return arguments.samples or next((samples for limit, samples in SAMPLES_AT_LENGTH if length <= limit), 1)


def import_authors(arguments):
    """The authors' module. Says why it is not part of the run."""
    try:
        if arguments.heads != arguments.kv_heads:
            raise ValueError(f"it has no {arguments.heads} heads of queries for {arguments.kv_heads} of keys")
        module = importlib.import_module(arguments.authors)
        if "rope_theta" in inspect.signature(module.LighthouseLocal).parameters:
            raise ValueError("this version turns queries and keys by their positions behind the selection: another method")
        return module
    except (ImportError, ValueError) as error:
        print(f"The authors' code is not part of this run: {error}.")
        return None


class Authors:
    """Their attention of q, k and v, [B, N, H, D]; the result is [B, H, N, D]."""

    def __init__(self, torch, module, arguments, length):
        self.torch, self.length = torch, length
        self.topk, self.levels = CASES[length]
        self.module, self.dense = module, make_dense(torch, arguments)
        self.scorer = module.DialatedLighthouseNormScorer(pooling_factor=FACTOR, levels=self.levels)
        self.attend = self.make(self.scorer)
        if arguments.compile_authors:
            torch.compiler.reset()  # Or it stops compiling after a few lengths.
            self.attend = torch.compile(self.attend, dynamic=False)

    def make(self, scorer):
        return self.module.LighthouseLocal(attention=self.dense, scorer=scorer, num_levels=self.levels,
                                           pooling_factor=FACTOR, topk=self.topk)

    def score_exactly(self, q, k, v):
        """Their scorer with norms in f32, as ours are."""
        with self.torch.no_grad():
            scores = self.scorer(q.float(), k.float(), v.float())[:2]
        return *scores, *self.scorer(q, k, v)[2:]

    def select(self, scorer, leaves):
        with self.torch.no_grad():
            scores = [x.float() for x in scorer(*leaves)[:2]]
            select = self.module.LighthouseSelectionQkKqChunkedTopkNvrtc.forward
            return select(*scores, self.levels, FACTOR, self.topk, self.length)

    def compare(self, leaves, dout, plan):
        """Shares of our entries that are theirs, with their norms and exact ones; for the latter relative L2 of results."""
        scorers = (self.scorer, self.score_exactly)
        shares = [share_entries(self.torch, plan.outputs["selected"], self.select(x, leaves)) for x in scorers]
        out = self.make(self.score_exactly)(*leaves)
        gradients = self.torch.autograd.grad(out, leaves, dout)
        errors = [measure_error(plan.outputs["out"], out)]
        errors += [measure_error(plan.gradients[f"d{x}"], dx.transpose(1, 2)) for x, dx in zip("qkv", gradients)]
        return shares, errors


def share_entries(torch, ours, theirs):
    """How many of the entries, [B, H, S] of a pyramid each, are in both selections."""
    rows = int(max(ours.max(), theirs.max())) + 1
    marks = [torch.zeros(*x.shape[:2], rows, device=x.device, dtype=torch.bool).scatter_(2, x.long(), True)
             for x in (ours, theirs)]
    return ((marks[0] & marks[1]).sum() / ours.numel()).item()


def measure_error(got, want):
    return ((got.double() - want.double()).norm() / want.double().norm()).item()


def measure_memory(torch, attend, leaves, dout):
    """MiB beside the inputs: at the peak of a forward pass with gradients to come, behind it, at the peak of both passes."""
    torch.autograd.grad(attend(*leaves), leaves, dout)  # What is made once is not counted.
    torch.cuda.synchronize()
    before = torch.cuda.memory_allocated()
    torch.cuda.reset_peak_memory_stats()
    out = attend(*leaves)
    sizes = [torch.cuda.max_memory_allocated(), torch.cuda.memory_allocated()]
    torch.autograd.grad(out, leaves, dout)
    sizes.append(torch.cuda.max_memory_allocated())
    return [(size - before) >> 20 for size in sizes]


def compare_authors(torch, package, peer, plan, bundle, inputs):
    """What to time of them, and a row of the second table behind the times: agreement and memory."""
    leaves = [inputs[name].transpose(1, 2).detach().requires_grad_(True) for name in "qkv"]
    shares, errors = peer.compare(leaves, inputs["dout"], plan)
    ours = measure_memory(torch, lambda *x: package.attention(*x, str(bundle)).transpose(1, 2), leaves, inputs["dout"])
    theirs = measure_memory(torch, peer.attend, leaves, inputs["dout"])
    cells = [", ".join(f"{100 * share:.2f} %" for share in shares), " ".join(f"{error:.1e}" for error in errors)]
    cells += [f"{a}, {b}, {b / a:.2f}" for a, b in zip(ours, theirs)]
    return make_passes(torch, peer.attend, leaves, inputs["dout"]), cells


def time_length(torch, package, authors, arguments, length, folder):
    """[forward, backward] milliseconds of each side, nan where it is not measured; memory; what authors are compared by."""
    bundle = folder / f"plan{length}.fkb"
    compile_bundle(arguments, length, bundle)
    inputs = {name: torch.randn(1, length, heads, DIM, device="cuda", dtype=torch.bfloat16).transpose(1, 2)
              for name, heads in (("q", arguments.heads), ("k", arguments.kv_heads), ("v", arguments.kv_heads),
                                  ("dout", arguments.heads))}
    plan = Plan(torch, package, bundle, inputs)
    plan.launch()
    plan.backward()
    sides, compared = {"ours": (plan.launch, plan.backward)}, None
    if length <= arguments.longest_dense:
        leaves = [inputs[name].detach().requires_grad_(True) for name in "qkv"]
        sides["dense"] = make_passes(torch, make_dense(torch, arguments), leaves, inputs["dout"])
    if authors:
        try:
            peer = Authors(torch, authors, arguments, length)
            sides["authors"], compared = compare_authors(torch, package, peer, plan, bundle, inputs)
        except (AssertionError, RuntimeError) as error:
            reason = (str(error).splitlines() or [type(error).__name__])[0]
            print(f"lighthouse.py: the authors' code does not run at {length}: {reason}", file=sys.stderr)
    samples = count_samples(arguments, length)
    passes = [measure(torch, functions, 1, samples, flush=True) for functions in zip(*sides.values())]
    memory = [plan.bytes >> 20, plan.backward_bytes >> 20, plan.plan.saved_bytes >> 20]
    missing = {name: (math.nan, math.nan) for name in ("dense", "authors")}
    return missing | dict(zip(sides, zip(*passes))), memory, compared


def make_passes(torch, attend, leaves, dout):
    """What to time of a peer: the forward pass, and the backward pass of one whose graph is kept."""
    out, tensors = attend(*leaves), [leaf.detach() for leaf in leaves]
    return (lambda: attend(*tensors)), (lambda: torch.autograd.grad(out, leaves, dout, retain_graph=True))


def describe_meeting(ratios):
    """From which length on Lighthouse is faster, from [(length, dense over Lighthouse)] in ascending order."""
    known = [(length, ratio) for length, ratio in ratios if ratio == ratio]
    slower = [i for i, (_, ratio) in enumerate(known) if ratio < 1]
    if not known or not slower:
        return f"Lighthouse is faster at every length from {known[0][0]} on" if known else "dense attention was not timed"
    last = slower[-1]
    if last + 1 == len(known):
        return f"dense attention is faster at {known[last][0]} still"
    (before, low), (after, high) = known[last:last + 2]
    share = -math.log(low) / (math.log(high) - math.log(low))
    return f"Lighthouse is faster from {round(before * (after / before)**share)} tokens on"


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--fresnel", default="build/bin/fresnel")
    parser.add_argument("--runtime", default="build/lib/libfresnel_rt.so")
    parser.add_argument("--lengths", default=",".join(map(str, CASES)), help="some of the lengths, with commas")
    parser.add_argument("--heads", type=int, default=8)
    parser.add_argument("--kv-heads", type=int, default=8)
    parser.add_argument("--samples", type=int, default=0, help="default: from 9, at short lengths, to 1")
    parser.add_argument("--longest-dense", type=int, default=LONGEST_DENSE, help="dense attention up to this length only")
    parser.add_argument("--authors", default=AUTHORS, help="module of the authors' code; '' for none")
    parser.add_argument("--compile-authors", action="store_true", help="torch.compile it")
    parser.add_argument("--settings", nargs="*", default=[], help="further arguments for `fresnel compile`")
    arguments = parser.parse_args()
    lengths = sorted(int(length) for length in arguments.lengths.split(","))
    if unknown := [length for length in lengths if length not in CASES]:
        sys.exit(f"lighthouse.py: no parameters for {unknown}; there are {list(CASES)}")
    try:
        import torch
    except ImportError:
        sys.exit("lighthouse.py: needs PyTorch with CUDA")
    package = load_library(arguments.runtime)
    print(f"{torch.cuda.get_device_name()}, torch {torch.__version__}, H{arguments.heads}/{arguments.kv_heads} D{DIM} bf16")
    authors = arguments.authors and import_authors(arguments)
    if arguments.compile_authors:
        import torch._functorch.config
        torch._functorch.config.donated_buffer = False  # The backward pass runs several times.
    print("\n| N | k, L | forward, ms | dense | dense / ours | backward, ms | dense | dense / ours | both, dense / ours | "
          "MiB forward, backward, saved |\n|" + "---|" * 10)
    ratios, rows = {"forward": [], "backward": [], "both": []}, []
    with tempfile.TemporaryDirectory() as folder:
        for length in lengths:
            times, memory, compared = time_length(torch, package, authors, arguments, length, pathlib.Path(folder))
            (ours, ours_back), (dense, dense_back) = times["ours"], times["dense"]
            row = [dense / ours, dense_back / ours_back, (dense + dense_back) / (ours + ours_back)]
            for name, ratio in zip(ratios, row):
                ratios[name].append((length, ratio))
            topk, levels = CASES[length]
            line = (f"| {length} | {topk}, {levels} | {ours:.3f} | {dense:.3f} | {row[0]:.2f} | {ours_back:.3f} | "
                    f"{dense_back:.3f} | {row[1]:.2f} | {row[2]:.2f} | {', '.join(map(str, memory))} |")
            print(line.replace("nan", "-"), flush=True)
            if compared:
                cells = [f"{theirs:.3f} | {theirs / mine:.2f}" for mine, theirs in zip(times["ours"], times["authors"])]
                rows.append(" | ".join([str(length), *cells, *compared]))
    if rows:
        print("\n| N | authors' forward, ms | authors / ours | backward, ms | authors / ours | entries, their norms, f32 | "
              "relative L2 of out, dq, dk, dv | MiB ours, authors, ratio: forward | kept | both passes |\n|" + "---|" * 10)
    print("".join(f"| {row} |\n" for row in rows))
    for name, points in ratios.items():
        print(f"{name}: {describe_meeting(points)}")


if __name__ == "__main__":
    main()
