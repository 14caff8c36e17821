"""Times Lighthouse Attention, forward and backward, beside cuDNN's dense causal attention, in one process on one GPU.

Both sides get the same random bf16 tensors, [B, N, H, D], and take turns; L2 is flushed before each sample and medians are
compared. Up to 32768 tokens k is N / 16, above that k and the levels are those of docs/performance.md. At the end: the
length from which on Lighthouse is faster, on a line through the logarithms of the ratios at the lengths beside it. MiB are
the workspace and what is saved between the passes; beside it the three pyramids of the authors' code, level 0 included,
which it holds at once in its forward (a part of its peak, read off its buffers, not measured). Prints Markdown tables.
Needs PyTorch with CUDA.
Usage: lighthouse.py --fresnel PATH --runtime libfresnel_rt.so [--lengths N,N,...] [--heads H] [--kv-heads H]
"""

import argparse
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


def count_mebibytes(arguments, length, levels):
    """The authors' concatenated pyramids of queries, keys and values, which have no fewer heads than the queries."""
    rows = sum(length // FACTOR**level for level in range(levels))
    return 3 * arguments.heads * rows * DIM * 2 >> 20


def time_length(torch, library, arguments, length, folder):
    """[forward, backward] milliseconds of both sides; a dense time is nan where it is not measured."""
    bundle = folder / "plan.fkb"
    compile_bundle(arguments, length, bundle)
    inputs = {name: torch.randn(1, length, heads, DIM, device="cuda", dtype=torch.bfloat16).transpose(1, 2)
              for name, heads in (("q", arguments.heads), ("k", arguments.kv_heads), ("v", arguments.kv_heads),
                                  ("dout", arguments.heads))}
    plan = Plan(torch, library, bundle, inputs)
    samples, has_dense = count_samples(arguments, length), length <= arguments.longest_dense
    plan.launch()
    plan.backward()
    forward, backward = [plan.launch], [plan.backward]
    if has_dense:
        dense = make_dense(torch, arguments)
        leaves = [inputs[name].detach().requires_grad_(True) for name in "qkv"]
        out = dense(*leaves)
        forward.append(lambda: dense(inputs["q"], inputs["k"], inputs["v"]))
        backward.append(lambda: torch.autograd.grad(out, leaves, inputs["dout"], retain_graph=True))
    times = [measure(torch, sides, 1, samples, flush=True) for sides in (forward, backward)]
    memory = [plan.bytes >> 20, plan.backward_bytes >> 20, plan.plan.saved_bytes >> 20]
    return [row if has_dense else [*row, math.nan] for row in times], memory


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
    parser.add_argument("--settings", nargs="*", default=[], help="further arguments for `fresnel compile`")
    arguments = parser.parse_args()
    lengths = sorted(int(length) for length in arguments.lengths.split(","))
    if unknown := [length for length in lengths if length not in CASES]:
        sys.exit(f"lighthouse.py: no parameters for {unknown}; there are {list(CASES)}")
    try:
        import torch
    except ImportError:
        sys.exit("lighthouse.py: needs PyTorch with CUDA")
    library = load_library(arguments.runtime)
    print(f"{torch.cuda.get_device_name()}, torch {torch.__version__}, H{arguments.heads}/{arguments.kv_heads} D{DIM} bf16\n")
    print("| N | k, L | forward, ms | dense | dense / ours | backward, ms | dense | dense / ours | both, dense / ours | "
          "MiB forward, backward, saved | authors' pyramids, MiB |\n|" + "---|" * 11)
    ratios = {"forward": [], "backward": [], "both": []}
    with tempfile.TemporaryDirectory() as folder:
        for length in lengths:
            times, memory = time_length(torch, library, arguments, length, pathlib.Path(folder))
            (ours, dense), (ours_back, dense_back) = times
            row = [dense / ours, dense_back / ours_back, (dense + dense_back) / (ours + ours_back)]
            for name, ratio in zip(ratios, row):
                ratios[name].append((length, ratio))
            topk, levels = CASES[length]
            print(f"| {length} | {topk}, {levels} | {ours:.3f} | {dense:.3f} | {row[0]:.2f} | {ours_back:.3f} | "
                  f"{dense_back:.3f} | {row[1]:.2f} | {row[2]:.2f} | {', '.join(map(str, memory))} | "
                  f"{count_mebibytes(arguments, length, levels)} |", flush=True)
    print()
    for name, points in ratios.items():
        print(f"{name}: {describe_meeting(points)}")


if __name__ == "__main__":
    main()
