"""Times the kernels of block selection and its gradients on the GPU beside a device copy of the same run.

Programs of the operations that `moba`, `nsa` and `vsa` use beside attention, and `nsa` as a whole. Each launch starts with L2 flushed;
per-kernel times are the GPU's own, medians over the launches. A kernel's bytes are its tensors, each once; TFLOP/s count
2 B H M Nb D per scores of M rows and Nb keys, half of it under a causal mask. Usage: block_selection.py --fresnel PATH
--runtime libfresnel_rt.so [--only NAME ...] [--json FILE].
"""

import argparse
import json
import math
import pathlib
import statistics
import subprocess
import sys
import tempfile

sys.path.insert(0, str(pathlib.Path(__file__).parent))
from fresnel_plan import Plan, load_library  # noqa: E402


def profile(torch, work, flush, launches, names, attempts=3):
    """Kernel name -> times in ms, in launch order, of `launches` runs. The profiler now and then loses events: tries again."""
    activities = [torch.profiler.ProfilerActivity.CUDA]
    with torch.profiler.profile(activities=activities) as trace:
        for _ in range(launches):
            flush()
            work()
        torch.cuda.synchronize()
    times = {}
    for event in trace.events():
        times.setdefault(event.name, []).append(event.device_time / 1e3)
    lost = [name for name in names if name not in times]
    if not lost:
        return times
    if attempts == 1:
        sys.exit(f"block_selection.py: the profiler has no event of {', '.join(lost)}")
    return profile(torch, work, flush, launches, names, attempts - 1)


def time_events(torch, work, flush, launches):
    """Medians of whole launches in ms."""
    samples = []
    for _ in range(launches):
        flush()
        start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        start.record()
        work()
        end.record()
        torch.cuda.synchronize()
        samples.append(start.elapsed_time(end))
    return statistics.median(samples)


def rows(heads, length, depth=128, element="bf16"):
    return f"tensor<1x{heads}x{length}x{depth}x{element}>"


def blocks(n, heads, block, topk):
    """Pooled queries against pooled keys."""
    count = n // block
    x, p, s, i = rows(heads, n), rows(heads, count), rows(heads, count, count, "f32"), rows(heads, count, topk, "i32")
    return f"""fresnel.program @p(%q: {x}, %k: {x}) {{
  %qc = fresnel.pool mean %q {{window = {block}}} : {x}
  %kc = fresnel.pool mean %k {{window = {block}}} : {x}
  %s = fresnel.block_score %qc, %kc {{causal = true, key_window = {block}, key_stride = {block}, query_stride = {block}}} : {p}, {p}
  %i = fresnel.select_blocks %s {{topk = {topk}, local = 1, causal = true, query_block = {block}, key_block = {block}}} : {s}
  fresnel.return %i {{names = ["i"]}} : {i}
}}"""


def moba(n, heads, block, topk, stored):
    """Each token against pooled keys; with `stored` the scores are written, so that nothing is fused."""
    count = n // block
    x, k, s, i = rows(heads, n), rows(heads, count), rows(heads, n, count, "f32"), rows(heads, n, topk, "i32")
    outputs = f'%i, %s {{names = ["i", "s"]}} : {i}, {s}' if stored else f'%i {{names = ["i"]}} : {i}'
    return f"""fresnel.program @p(%q: {x}, %k: {x}) {{
  %kc = fresnel.pool mean %k {{window = {block}}} : {x}
  %s = fresnel.block_score %q, %kc {{scale = 1.0, causal = true, key_window = {block}, key_stride = {block}}} : {x}, {k}
  %i = fresnel.select_blocks %s {{topk = {topk}, local = 1, causal = true, key_block = {block}}} : {s}
  fresnel.return {outputs}
}}"""


def nsa(n, heads, kv_heads):
    windows, count = (n - 32) // 16 + 1, n // 64
    q, k, c = rows(heads, n), rows(kv_heads, n), rows(kv_heads, windows)
    p, s, i = (rows(kv_heads, n, *last) for last in ((windows, "f32"), (count, "f32"), (16, "i32")))
    return f"""fresnel.program @p(%q: {q}, %k: {k}) {{
  %kc = fresnel.pool mean %k {{window = 32, stride = 16, tail = #fresnel<tail drop>}} : {k}
  %p = fresnel.block_score %q, %kc {{causal = true, key_window = 32, key_stride = 16,
      normalize = #fresnel<normalize softmax>, group_sum = true}} : {q}, {c}
  %s = fresnel.regroup %p {{window = 32, stride = 16, block = 64, seq_len = {n}}} : {p}
  %i = fresnel.select_blocks %s {{topk = 16, local = 2, sinks = 1, causal = true, key_block = 64}} : {s}
  fresnel.return %i {{names = ["i"]}} : {i}
}}"""


def combine(n, heads, block):
    """Gates and merges of rows, and all gradients."""
    x, c, g, l = rows(heads, n), rows(heads, n // block), rows(heads, n, 3), f"tensor<1x{heads}x{n}xf32>"
    return f"""fresnel.program @p(%x: {x}, %y: {x}, %c: {c}, %g: {g}, %l: {l}, %m: {l}) {{
  %u = fresnel.unpool %c {{window = {block}, seq_len = {n}}} : {c}
  %s = fresnel.gate %u, %x, %y by %g {{activation = #fresnel<activation sigmoid>}} : {x}, {x}, {x} by {g}
  %o, %n = fresnel.merge %x, %y lse %l, %m : {x}, {x} lse {l}, {l}
  %d0, %d1, %d2, %dg = fresnel.gate_grad %u, %x, %y by %g dout %s {{activation = #fresnel<activation sigmoid>}} : {x}, {x}, {x} by {g}, {x}
  %dp, %dl = fresnel.merge_grad %x, %l merged %o, %n dout %s : {x}, {l}
  %du = fresnel.unpool_grad %d0 {{window = {block}}} : {x}
  %dx = fresnel.pool_grad mean %c {{window = {block}, seq_len = {n}}} : {c}
  fresnel.return %d1, %d2, %dg, %dp, %dl, %du, %dx {{names = ["d1", "d2", "dg", "dp", "dl", "du", "dx"]}} : {x}, {x}, {g}, {x}, {l}, {c}, {x}
}}"""


PROGRAMS = {
    "blocks of 128, N 65536 H16": lambda: blocks(65536, 16, 128, 32),
    "moba 512, N 32768 H8": lambda: moba(32768, 8, 512, 3, False),
    "moba 512, N 131072 H8": lambda: moba(131072, 8, 512, 3, False),
    "moba 512, N 131072 H8, scores stored": lambda: moba(131072, 8, 512, 3, True),
    "nsa, N 8192 H64/4": lambda: nsa(8192, 64, 4),
    "nsa, N 32768 H64/4": lambda: nsa(32768, 64, 4),
    "nsa as a whole, N 8192 H64/4": lambda: {"seq_len": 8192, "heads": 64, "kv_heads": 4},
    "nsa as a whole, N 32768 H64/4": lambda: {"seq_len": 32768, "heads": 64, "kv_heads": 4},
    "nsa as a whole, N 65536 H64/4": lambda: {"seq_len": 65536, "heads": 64, "kv_heads": 4},
    "combine, N 65536 H16, blocks of 64": lambda: combine(65536, 16, 64),
}


def measure(torch, runtime, arguments, name, made, flush, copy):
    """`made` is a program's text, or the parameters of `nsa`."""
    with tempfile.TemporaryDirectory() as folder:
        program, bundle = pathlib.Path(folder) / "program.mlir", pathlib.Path(folder) / "plan.fkb"
        method = [str(program)]
        if isinstance(made, str):
            program.write_text(made)
        else:
            method = ["nsa", *(f"--set={key}={value}" for key, value in made.items())]
        subprocess.run([arguments.fresnel, "compile", *method, "-o", str(bundle), "--target", arguments.target], check=True,
                       capture_output=True)
        inspected = subprocess.run([arguments.fresnel, "inspect", str(bundle), "--json"], check=True, capture_output=True, text=True)
        manifest = json.loads(inspected.stdout)["manifest"]
        kinds, inputs = {"bf16": torch.bfloat16, "f32": torch.float32}, {}
        for buffer in manifest["buffers"]:
            if buffer["kind"] == "input":
                shape = buffer["shape"]
                order = (0, 2, 1, 3) if len(shape) == 4 else tuple(range(len(shape)))
                memory = torch.randn([shape[axis] for axis in order], device="cuda", dtype=kinds[buffer["dtype"]])
                inputs[buffer["name"]] = memory.permute(order)
        plan = Plan(torch, runtime, bundle, inputs)
    for _ in range(3):
        plan.launch()
    torch.cuda.synchronize()
    whole = time_events(torch, plan.launch, flush, arguments.launches)
    times = profile(torch, plan.launch, flush, arguments.launches, [kernel["name"] for kernel in manifest["kernels"]])
    print(f"{name}: {whole:.4f} ms, workspace {plan.bytes / 2**20:.0f} MiB")
    result = []
    for launch in manifest["launches"]:
        kernel = manifest["kernels"][launch["kernel"]]
        tensors = [manifest["buffers"][index] for index in launch["operands"]]
        moved = sum(math.prod(t["shape"]) * (2 if t["dtype"] in ("bf16", "f16") else 4) for t in tensors)
        ms = statistics.median(times[kernel["name"]])
        flops = 0
        if kernel["op"] in ("fresnel.block_score", "fresnel.select_scored", "fresnel.regroup_scored"):
            flops = math.prod(tensors[0]["shape"]) * tensors[1]["shape"][2]  # causal: half of 2
        result.append({"kernel": kernel["name"], "ms": ms, "bytes": moved, "tb_s": moved / ms / 1e9, "tflop_s": flops / ms / 1e9})
        print(f"  {kernel['name']:18} {ms:8.4f} ms {moved / 1e6:9.1f} MB {moved / ms / 1e9:6.2f} TB/s {100 * moved / ms / 1e9 / copy:4.0f} % of copy"
              + (f" {flops / ms / 1e9:7.1f} TFLOP/s" if flops else ""))
    return {"program": name, "ms": whole, "workspace_bytes": plan.bytes, "kernels": result}


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--fresnel", default="build/bin/fresnel")
    parser.add_argument("--runtime", default="build/lib/libfresnel_rt.so")
    parser.add_argument("--target", default="sm_90a")
    parser.add_argument("--launches", type=int, default=9)
    parser.add_argument("--only", nargs="*", default=[], help="programs whose name holds one of these")
    parser.add_argument("--json", default="")
    arguments = parser.parse_args()
    import torch
    scratch = torch.empty(256 * 2**20, device="cuda", dtype=torch.int8)

    def flush():
        scratch.zero_()

    source = torch.empty(2**30, device="cuda", dtype=torch.int8)
    target = torch.empty_like(source)
    target.copy_(source)
    copy = 2 * 2**30 / time_events(torch, lambda: target.copy_(source), flush, 11) / 1e9
    del source, target
    print(f"{torch.cuda.get_device_name()}; device copy of 1 GiB: {copy:.3f} TB/s")
    runtime = load_library(arguments.runtime)
    results = []
    for name, make in PROGRAMS.items():
        if not arguments.only or any(part in name for part in arguments.only):
            results.append(measure(torch, runtime, arguments, name, make(), flush, copy))
            torch.cuda.empty_cache()
    if arguments.json:
        report = {"device": torch.cuda.get_device_name(), "copy_tb_s": copy, "programs": results}
        pathlib.Path(arguments.json).write_text(json.dumps(report, indent=1) + "\n")


if __name__ == "__main__":
    main()
