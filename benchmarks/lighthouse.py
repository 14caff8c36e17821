"""Times every kernel of a Lighthouse plan on the GPU beside a device copy of the same run.

Each launch of the plan starts with L2 flushed; per-kernel times are the GPU's own (CUPTI, through the PyTorch profiler),
medians over the launches. The bytes of a kernel are those that must move: each needed row once, read or written. The
ceiling is a device copy of 1 GiB, read and write counted. Usage: lighthouse.py --fresnel PATH --runtime
libfresnel_rt.so [--grad] [--shapes N:k:p:L ...] [--json FILE].
"""

import argparse
import json
import pathlib
import statistics
import subprocess
import sys
import tempfile

sys.path.insert(0, str(pathlib.Path(__file__).parent))
from fresnel_plan import Plan, load_library  # noqa: E402

SHAPES = ("32768:2048:4:3", "98304:2048:4:3", "131072:4096:4:3", "262144:2048:4:4", "524288:4096:4:4")


class Sizes:
    """Rows of a Lighthouse problem; a row is D elements of 2 bytes, scores and indices have 4."""

    def __init__(self, heads, depth, shape):
        self.n, self.k, self.p, self.levels = shape
        self.planes, self.row = heads, 2 * depth
        self.entries = sum(-(-self.n // self.p**l) for l in range(self.levels))
        self.slots = None

    def bytes_of(self, op):
        rows = {"fresnel.pool_levels": self.entries, "fresnel.scatter_by_slots": self.slots + self.n,
                "fresnel.gather_levels": 6 * self.slots, "fresnel.scatter_grad": self.n + self.slots,
                "fresnel.gather_grad_by_slots": self.slots + self.n}
        words = {"fresnel.pool_levels": self.entries, "fresnel.scatter_by_slots": self.entries,
                 "fresnel.gather_levels": self.slots, "fresnel.scatter_grad": self.slots,
                 "fresnel.gather_grad_by_slots": self.entries, "fresnel.select_cascade": 3 * self.entries + self.slots}
        if op not in words:
            return 0
        return self.planes * (rows.get(op, 0) * self.row + words[op] * 4)


def profile(torch, work, flush, launches):
    """Kernel name -> times in ms, in launch order, of `launches` runs."""
    activities = [torch.profiler.ProfilerActivity.CUDA]
    with torch.profiler.profile(activities=activities) as trace:
        for _ in range(launches):
            flush()
            work()
        torch.cuda.synchronize()
    times = {}
    for event in trace.events():
        times.setdefault(event.name, []).append(event.device_time / 1e3)
    return times


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


def measure(torch, runtime, arguments, text, flush, copy):
    shape = [int(x) for x in text.split(":")]
    sizes = Sizes(arguments.heads, arguments.depth, shape)
    n = shape[0]
    with tempfile.TemporaryDirectory() as folder:
        bundle = pathlib.Path(folder) / "plan.fkb"
        command = [arguments.fresnel, "compile", "lighthouse", "-o", str(bundle), "--target", arguments.target]
        for name, value in {"seq_len": n, "topk": shape[1], "factor": shape[2], "levels": shape[3], "heads": arguments.heads,
                            "kv_heads": arguments.heads, "head_dim": arguments.depth}.items():
            command += ["--set", f"{name}={value}"]
        subprocess.run(command + (["--grad"] if arguments.grad else []), check=True, capture_output=True)
        inputs = {name: torch.randn(1, n, arguments.heads, arguments.depth, device="cuda", dtype=torch.bfloat16).permute(0, 2, 1, 3)
                  for name in ("q", "k", "v", "dout")}
        plan = Plan(torch, runtime, bundle, inputs)
        inspected = subprocess.run([arguments.fresnel, "inspect", str(bundle), "--json"], check=True, capture_output=True, text=True)
        kernels = json.loads(inspected.stdout)["manifest"]["kernels"]
    sizes.slots = plan.outputs["selected"].shape[2]
    for _ in range(3):
        plan.launch()
    torch.cuda.synchronize()
    whole = time_events(torch, plan.launch, flush, arguments.launches)
    times = profile(torch, plan.launch, flush, arguments.launches)
    print(f"N={n} k={shape[1]} p={shape[2]} L={shape[3]} S={sizes.slots}: {whole:.3f} ms, workspace {plan.bytes / 2**20:.0f} MiB")
    rows = []
    for kernel in kernels:
        samples = times.get(kernel["name"], [])
        if not samples:
            continue
        ms, moved = statistics.median(samples), sizes.bytes_of(kernel["op"])
        rate = moved / ms / 1e9
        rows.append({"kernel": kernel["name"], "ms": ms, "bytes": moved, "tb_s": rate, "of_copy": rate / copy})
        print(f"  {kernel['name']:28} {ms:9.4f} ms" + (f"  {moved / 1e6:9.1f} MB  {rate:6.3f} TB/s  {100 * rate / copy:4.0f} % of copy" if moved else ""))
    return {"shape": text, "slots": sizes.slots, "ms": whole, "workspace_bytes": plan.bytes, "kernels": rows}


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--fresnel", default="build/bin/fresnel")
    parser.add_argument("--runtime", default="build/lib/libfresnel_rt.so")
    parser.add_argument("--target", default="sm_90a")
    parser.add_argument("--heads", type=int, default=8)
    parser.add_argument("--depth", type=int, default=128)
    parser.add_argument("--grad", action="store_true", help="the gradients, too")
    parser.add_argument("--launches", type=int, default=9)
    parser.add_argument("--shapes", nargs="*", default=SHAPES, help="N:k:p:L")
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
    results = [measure(torch, runtime, arguments, shape, flush, copy) for shape in arguments.shapes]
    if arguments.json:
        report = {"device": torch.cuda.get_device_name(), "copy_tb_s": copy, "grad": arguments.grad, "plans": results}
        pathlib.Path(arguments.json).write_text(json.dumps(report, indent=1) + "\n")


if __name__ == "__main__":
    main()
