"""Times the kernels beside PyTorch's cuDNN attention, in one process on one GPU.

Both sides run on the same bf16 tensors, [B, N, H, D]; their order alternates, L2 is flushed before every sample, medians
are printed as a Markdown table. The results are compared first: a wrong kernel is not timed. Needs PyTorch with CUDA.
Usage: bench.py --fresnel PATH --runtime libfresnel_rt.so
"""

import argparse
import ctypes
import pathlib
import statistics
import subprocess
import sys
import tempfile

DTYPES = {"bf16": 1, "f32": 0, "i32": 3}


class Tensor(ctypes.Structure):
    _fields_ = [("data", ctypes.c_void_p), ("dtype", ctypes.c_int), ("rank", ctypes.c_int32),
                ("shape", ctypes.POINTER(ctypes.c_int64)), ("strides", ctypes.POINTER(ctypes.c_int64))]


class Argument(ctypes.Structure):
    _fields_ = [("name", ctypes.c_char_p), ("dtype", ctypes.c_int), ("rank", ctypes.c_int32),
                ("shape", ctypes.POINTER(ctypes.c_int64)), ("is_output", ctypes.c_int32)]


class Plan:
    """A bundle on the GPU, with outputs and workspace of its own."""

    def __init__(self, torch, library, bundle, inputs):
        self.torch, self.library = torch, library
        self.handle = ctypes.c_void_p()
        self.check(library.frn_plan_load(str(bundle).encode(), 0, ctypes.byref(self.handle)))
        kinds = {0: torch.float32, 1: torch.bfloat16, 3: torch.int32}
        self.tensors, self.outputs, arguments = [], {}, []
        for index in range(library.frn_plan_argument_count(self.handle)):
            argument = Argument()
            self.check(library.frn_plan_argument(self.handle, index, ctypes.byref(argument)))
            shape = [argument.shape[i] for i in range(argument.rank)]
            name = argument.name.decode()
            if argument.is_output:
                order = (0, 2, 1, 3) if argument.rank == 4 else tuple(range(argument.rank))
                memory = torch.empty([shape[i] for i in order], device="cuda", dtype=kinds[argument.dtype])
                tensor = self.outputs[name] = memory.permute(order)
            else:
                tensor = inputs[name]
            rank = argument.rank
            arguments.append(Tensor(tensor.data_ptr(), argument.dtype, rank, (ctypes.c_int64 * rank)(*tensor.shape),
                                    (ctypes.c_int64 * rank)(*tensor.stride())))
            self.tensors.append(tensor)
        self.arguments = (Tensor * len(arguments))(*arguments)
        self.bytes = library.frn_plan_workspace_bytes(self.handle)
        self.workspace = torch.empty(max(1, self.bytes), device="cuda", dtype=torch.uint8)

    def check(self, status):
        if status:
            sys.exit("bench.py: " + self.library.frn_last_error().decode())

    def launch(self):
        stream = self.torch.cuda.current_stream().cuda_stream
        self.check(self.library.frn_plan_launch(self.handle, self.arguments, len(self.arguments),
                                                ctypes.c_void_p(self.workspace.data_ptr()), ctypes.c_int64(self.bytes),
                                                ctypes.c_void_p(stream)))


def load_library(path):
    library = ctypes.CDLL(path)
    library.frn_last_error.restype = ctypes.c_char_p
    library.frn_plan_argument_count.restype = ctypes.c_size_t
    library.frn_plan_argument_count.argtypes = [ctypes.c_void_p]
    library.frn_plan_workspace_bytes.restype = ctypes.c_int64
    library.frn_plan_workspace_bytes.argtypes = [ctypes.c_void_p]
    library.frn_plan_argument.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_void_p]
    library.frn_plan_launch.argtypes = [ctypes.c_void_p, ctypes.c_void_p, ctypes.c_size_t, ctypes.c_void_p,
                                        ctypes.c_int64, ctypes.c_void_p]
    return library


def measure(torch, functions, samples=15):
    """Median milliseconds of each function, taking turns."""
    flush = torch.empty(256 << 20, device="cuda", dtype=torch.uint8)
    times = [[] for _ in functions]
    for sample in range(samples + 3):
        for turn in range(len(functions)):
            which = (turn + sample) % len(functions)
            flush.zero_()
            begin, end = torch.cuda.Event(True), torch.cuda.Event(True)
            begin.record()
            functions[which]()
            end.record()
            torch.cuda.synchronize()
            if sample >= 3:
                times[which].append(begin.elapsed_time(end))
    return [statistics.median(t) for t in times]


def check_capture(torch, plan):
    """A captured launch, replayed over poisoned outputs, gives the bits of a plain launch."""
    plan.launch()
    torch.cuda.synchronize()
    plain = {name: tensor.clone() for name, tensor in plan.outputs.items()}
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        plan.launch()
    for tensor in plan.outputs.values():
        tensor.fill_(-7)
    graph.replay()
    torch.cuda.synchronize()
    for name, tensor in plan.outputs.items():
        if not torch.equal(tensor, plain[name]):
            sys.exit(f"bench.py: output {name} of a captured launch differs from a plain one")


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--fresnel", default="build/bin/fresnel")
    parser.add_argument("--runtime", default="build/lib/libfresnel_rt.so")
    arguments = parser.parse_args()
    try:
        import torch
        from torch.nn.attention import SDPBackend, sdpa_kernel
    except ImportError:
        sys.exit("bench.py: needs PyTorch with CUDA")
    library = load_library(arguments.runtime)
    print(f"{torch.cuda.get_device_name()}, torch {torch.__version__}, cuDNN {torch.backends.cudnn.version()}\n")
    print("| method | B | H | N | D | Fresnel ms | cuDNN dense ms | Fresnel TFLOP/s (dense: 4BHN²D / 2) | relative L2 |")
    print("|---|---|---|---|---|---|---|---|---|")
    cases = [("dense", b, 16, n, d) for b, n, d in ((4, 4096, 128), (2, 8192, 128), (1, 16384, 128), (1, 16384, 64),
                                                    (1, 16384, 256))]
    cases += [("lighthouse", 1, 8, n, 128) for n in (32768, 98304, 131072)]
    with tempfile.TemporaryDirectory() as folder:
        for method, batch, heads, length, dim in cases:
            bundle = pathlib.Path(folder) / "method.fkb"
            sets = {"batch": batch, "heads": heads, "kv_heads": heads, "seq_len": length, "head_dim": dim}
            command = [arguments.fresnel, "compile", method, "-o", str(bundle), "--no-ptxas"]
            for name, value in sets.items():
                command += ["--set", f"{name}={value}"]
            subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
            inputs = {name: torch.randn(batch, length, heads, dim, device="cuda", dtype=torch.bfloat16).transpose(1, 2)
                      for name in "qkv"}
            plan = Plan(torch, library, bundle, inputs)

            def peer():
                with sdpa_kernel(SDPBackend.CUDNN_ATTENTION):
                    return torch.nn.functional.scaled_dot_product_attention(inputs["q"], inputs["k"], inputs["v"],
                                                                            is_causal=True)

            check_capture(torch, plan)
            error = "-"
            if method == "dense":
                want = peer().float()
                relative = ((plan.outputs["out"].float() - want).norm() / want.norm()).item()
                if not relative < 1e-2:
                    sys.exit(f"bench.py: {method} N={length} D={dim} is wrong: relative L2 {relative:.2e}")
                error = f"{relative:.1e}"
            ours, theirs = measure(torch, [plan.launch, peer])
            rate = f"{2e-9 * batch * heads * length * length * dim / ours:.0f}" if method == "dense" else "-"
            print(f"| {method} | {batch} | {heads} | {length} | {dim} | {ours:.3f} | {theirs:.3f} | {rate} | {error} |",
                  flush=True)


if __name__ == "__main__":
    main()
