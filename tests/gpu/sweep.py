"""Checks the GPU kernels against the oracle on fresh random shapes.

Every case is one `fresnel run --device cuda --check`: outputs are poisoned, results compared in relative L2, the
selection exactly. Half of the cases compute the gradients, too. Without --wrap a case runs once more, and the two outputs must
agree in every bit. Usage: sweep.py --fresnel PATH [--cases N] [--seed S] [--jobs J] [--max-seconds T] [--grad-only]
[--wrap "compute-sanitizer --tool memcheck"]. Exit code 1 if a case failed or none ran.
"""

import argparse
import concurrent.futures
import json
import random
import pathlib
import shlex
import subprocess
import sys
import tempfile
import time

HEAD_DIMS = (32, 64, 96, 128, 192, 256)
PRIMES = (67, 127, 509, 1021, 2039, 4093, 8191, 16381, 32749)


def random_length(rng, longest):
    if rng.random() < 0.4:
        return rng.choice([p for p in PRIMES if p <= longest])
    return int(64 * (longest / 64) ** rng.random())


# The oracle's gradients cost several times its outputs.
LONGEST_GRADIENT = 2048


def make_case(rng, longest, grad_only):
    """One method with parameters; the work is bounded by fewer heads at long lengths."""
    method = rng.choice(("dense", "window", "lighthouse"))
    grad = grad_only or rng.random() < 0.5
    longest = min(longest, LONGEST_GRADIENT) if grad else longest
    length = random_length(rng, longest)
    group = rng.choice((1, 2, 4, 8))
    kv_heads = 1 if length > 4096 else rng.choice((1, 2))
    group = min(group, 2) if length > 8192 else group
    sets = {"seq_len": length, "heads": kv_heads * group, "kv_heads": kv_heads, "head_dim": rng.choice(HEAD_DIMS),
            "dtype": rng.choice(("bf16", "f16")), "batch": rng.choice((1, 2)) if length < 4096 else 1}
    if method == "dense":
        sets["causal"] = rng.choice(("true", "false"))
        sets["softcap"] = rng.choice((0, 0, 20))
        if rng.random() < 0.3:
            sets["kv_len"] = random_length(rng, min(longest, 8192))
    elif method == "window":
        sets["window"] = rng.randint(1, max(1, length))
        sets["sinks"] = rng.choice((0, 1, 4, 64, 100))
    else:
        sets["levels"] = rng.choice((1, 2, 3, 3, 4))
        sets["factor"] = rng.choice((2, 4, 8))
        sets["topk"] = rng.choice((1, 37, 128, 200, 256, 512, 1536))
        sets["open_first_window"] = rng.choice(("true", "false"))
    # Fields of the hopper family, which takes over from head dim 64 on.
    schedule = rng.choice(("", "", "", "tile_m=64", "persistent=true", "ping_pong=false")) if sets["head_dim"] >= 64 else ""
    return method, sets, rng.choice(("bnhd", "bhnd")), schedule, grad


def differs_when_repeated(command):
    """Why a second run gave other bits than the first, or nothing."""
    with tempfile.TemporaryDirectory() as folder:
        outputs = [pathlib.Path(folder) / name for name in ("first", "second")]
        for output in outputs:
            result = subprocess.run([*command, "--output", str(output)], capture_output=True, text=True, check=False)
            if result.returncode:
                return result.stderr.strip()
        return "" if outputs[0].read_bytes() == outputs[1].read_bytes() else "two runs differ"


def run_case(arguments, case, seed):
    method, sets, layout, schedule, grad = case
    command = [arguments.fresnel, "run", method, "--random", str(seed), "--device", "cuda", "--layout", layout,
               "--target", arguments.target]
    for name, value in sets.items():
        command += ["--set", f"{name}={value}"]
    if schedule and arguments.target == "sm_90a":
        command += ["--schedule", schedule]
    if grad:
        command += ["--grad"]
    result = subprocess.run([*shlex.split(arguments.wrap), *command, "--check", "--json"], capture_output=True, text=True,
                            check=False)
    difference = "" if arguments.wrap else differs_when_repeated(command)
    text = " ".join(f"{k}={v}" for k, v in sets.items())
    start = result.stdout.find("{")
    try:
        checks = json.loads(result.stdout[start:result.stdout.rfind("}") + 1]).get("checks", [])
    except ValueError:
        checks = []
    errors = " ".join(f"{c['output']}:{c['mismatches']}" if c["output"] == "selected"
                      else f"{c['output']}:{c['relative_l2']:.1e}" for c in checks)
    ok = result.returncode == 0 and bool(checks) and not difference
    detail = "" if ok else f" | {difference} " + (result.stdout + result.stderr).strip()[-600:]
    return ok, f"{'ok  ' if ok else 'FAIL'} {method}{' grad' if grad else ''} {layout} {schedule} seed={seed} {text} | {errors}{detail}"


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--fresnel", default="build/bin/fresnel")
    parser.add_argument("--target", default="sm_90a")
    parser.add_argument("--cases", type=int, default=100)
    parser.add_argument("--longest", type=int, default=32768)
    parser.add_argument("--seed", type=int, default=None, help="default: a fresh one, printed")
    parser.add_argument("--jobs", type=int, default=4)
    parser.add_argument("--grad-only", action="store_true", help="gradients in every case")
    parser.add_argument("--max-seconds", type=float, default=1e9)
    parser.add_argument("--wrap", default="", help="command that runs each case, e.g. compute-sanitizer")
    arguments = parser.parse_args()
    seed = arguments.seed if arguments.seed is not None else int(time.time())
    rng = random.Random(seed)
    print(f"seed {seed}")
    cases = [(make_case(rng, arguments.longest, arguments.grad_only), rng.randrange(1 << 30)) for _ in range(arguments.cases)]
    start, passed, failed = time.time(), 0, 0
    with concurrent.futures.ThreadPoolExecutor(arguments.jobs) as pool:
        pending = iter(cases)
        running = set()
        while True:
            while len(running) < arguments.jobs and time.time() - start < arguments.max_seconds:
                item = next(pending, None)
                if item is None:
                    break
                running.add(pool.submit(run_case, arguments, *item))
            if not running:
                break
            done, running = concurrent.futures.wait(running, return_when=concurrent.futures.FIRST_COMPLETED)
            for future in done:
                ok, line = future.result()
                passed, failed = passed + ok, failed + (not ok)
                print(line, flush=True)
    print(f"{passed} passed, {failed} failed")
    return 1 if failed or not passed else 0


if __name__ == "__main__":
    sys.exit(main())
