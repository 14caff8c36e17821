"""Host time of a call of `fresnel.attention`, forward and backward: what PyTorch, the package and the runtime do on the CPU.

On a GPU the kernels are real and small, and calls are queued without waiting. Without one (or with --fake) the tests' driver
library launches nothing, CPU tensors stand in, and torch.cuda's own calls are left out: what remains is the package's.
Best of --rounds means over --calls. Usage: PYTHONPATH=python benchmarks/python_call.py [--fake] [--build build] [--profile]
"""

import argparse
import contextlib
import cProfile
import os
import pathlib
import pstats
import sys
import tempfile
import time


def use_fake_driver(build):
    os.environ["FRESNEL_CUDA_DRIVER"] = str(build / "lib" / "libfresnel_fake_driver.so")


def replace_cuda(torch, attention):
    """CPU tensors for CUDA tensors, at 256 bytes' alignment as the CUDA allocator has it."""
    from fresnel import _library
    torch.cuda.device = lambda device: contextlib.nullcontext()
    torch.cuda.current_device = lambda: None
    torch.cuda.is_current_stream_capturing = lambda: False
    attention._current_stream = lambda device: 0
    load, call = attention.Plan, _library._Launcher.__call__
    attention.Plan = lambda path, device: load(path, 0)
    attention._target = lambda device: "sm_90a"
    attention._arguments._check_device = lambda name, x: None

    def aligned(launcher, addresses, workspace, workspace_bytes, saved, saved_bytes, stream):
        return call(launcher, addresses, (workspace + 255) // 256 * 256, workspace_bytes, (saved + 255) // 256 * 256,
                    saved_bytes, stream)

    _library._Launcher.__call__ = aligned


def measure(call, finish, rounds, calls):
    best = float("inf")
    for _ in range(rounds):
        finish()
        start = time.perf_counter()
        for _ in range(calls):
            call()
        best = min(best, (time.perf_counter() - start) / calls)
    finish()
    return 1e6 * best


def make_cases(torch, fresnel, device):
    """Name and function of what is timed; shapes are small, so that a GPU does not fall behind for long."""
    q, k, v = (torch.zeros(1, 128, 2, 64, dtype=torch.bfloat16, device=device) for _ in range(3))
    leaves = [x.clone().requires_grad_() for x in (q, k, v)]
    cu_seqlens = torch.tensor([0, 50, 128], dtype=torch.int32, device=device)
    out = fresnel.attention(*leaves)
    dout = torch.ones_like(out)
    return {"forward, no_grad": lambda: fresnel.attention(q, k, v),
            "forward, with gradients": lambda: fresnel.attention(*leaves),
            "forward, lighthouse": lambda: fresnel.attention(q, k, v, "lighthouse", topk=16),
            "forward, documents": lambda: fresnel.attention(q, k, v, "documents", cu_seqlens=cu_seqlens),
            "backward": lambda: torch.autograd.grad(out, leaves, dout, retain_graph=True)}


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--build", type=pathlib.Path, default=pathlib.Path(__file__).resolve().parent.parent / "build")
    parser.add_argument("--fake", action="store_true", help="use the tests' driver library even if there is a GPU")
    parser.add_argument("--rounds", type=int, default=300)
    parser.add_argument("--calls", type=int, default=30)
    parser.add_argument("--profile", action="store_true", help="print where the time goes")
    arguments = parser.parse_args()
    try:
        import torch
    except ImportError:
        sys.exit("python_call.py: needs PyTorch")
    fake = arguments.fake or not torch.cuda.is_available()
    os.environ.setdefault("FRESNEL_BIN", str(arguments.build / "bin" / "fresnel"))
    os.environ.setdefault("FRESNEL_RUNTIME", str(arguments.build / "lib" / "libfresnel_rt.so.1"))
    with tempfile.TemporaryDirectory() as folder:
        os.environ["FRESNEL_CACHE_DIR"] = folder
        if fake:
            use_fake_driver(arguments.build)
        import fresnel
        from fresnel import _attention
        if fake:
            replace_cuda(torch, _attention)
        finish = (lambda: None) if fake else torch.cuda.synchronize
        print(f"{'fake driver' if fake else torch.cuda.get_device_name()}, torch {torch.__version__}, host us per call")
        for name, call in make_cases(torch, fresnel, "cpu" if fake else "cuda").items():
            call()
            print(f"{name:24} {measure(call, finish, arguments.rounds, arguments.calls):8.1f}")
            if arguments.profile:
                with cProfile.Profile() as profile:
                    for _ in range(2000):
                        call()
                pstats.Stats(profile).sort_stats("tottime").print_stats(22)


if __name__ == "__main__":
    main()
