"""Checks the gradients of queries that are summed in integers where these are too coarse, against the oracle.

A few keys, values or rows of the output's gradient are far larger than the others, or 0; tiles whose integers
are too coarse are then computed again (fresnel.settle_tiles). The relative L2 must be near that of sums of f32 in order
(`fresnel run --device cuda --grad --check` of both), and two runs must agree in every bit. Usage: outliers.py --fresnel
PATH [--cases N] [--seed S] [--jobs J] [--more E] [--wrap "compute-sanitizer --tool memcheck"]. Exit code 1 if a case failed.
"""

import argparse
import concurrent.futures
import json
import pathlib
import random
import shlex
import sys
import tempfile
import time

import numpy

import sanitizer
from block_cases import write_safetensors


def make_case(rng):
    """Sizes and tensors [B, N, H, D], and what is unusual of them."""
    dim, value_dim = rng.choice(((192, 192), (256, 256), (192, 128), (256, 128)))
    kv_heads, group, length = rng.choice((1, 2)), rng.choice((1, 1, 2)), rng.randint(65, 900)
    sets = {"seq_len": length, "heads": kv_heads * group, "kv_heads": kv_heads, "head_dim": dim, "value_dim": value_dim,
            "causal": rng.choice(("true", "false"))}
    draw = numpy.random.default_rng(rng.randrange(1 << 30))
    shapes = {"q": (kv_heads * group, dim), "k": (kv_heads, dim), "v": (kv_heads, value_dim),
              "dout": (kv_heads * group, value_dim)}
    tensors = {name: draw.standard_normal((1, length, *shape), dtype=numpy.float32) for name, shape in shapes.items()}
    # Nearly equal weights: dQ is small.
    tensors["q"] *= rng.choice((1, 1e-2))
    key, value, small = rng.choice((30, 1000, 1e5)), rng.choice((30, 1000, 1e5)), rng.choice((1, 1, 1e-6))
    # Of causal queries only the last ones see the last keys.
    tensors["k"][:, rng.choice((rng.randrange(length), length - 1))] *= key
    tensors["v"][:, rng.choice((rng.randrange(length), length - 1))] *= value
    tensors["dout"] *= small
    nothing = rng.choice((0, 0, 0, 3))
    if nothing:
        tensors["dout"][:, ::nothing] = 0
    return sets, tensors, f"key {key:g}x value {value:g}x dout {small:g}x {'none' if not nothing else f'0 in every {nothing}.'}"


def read_errors(result):
    """The relative L2 of each output of `fresnel run --check --json`."""
    start = result.stdout.find("{")
    checks = json.loads(result.stdout[start:result.stdout.rfind("}") + 1]).get("checks", []) if start >= 0 else []
    return {check["output"]: check["relative_l2"] for check in checks}


def run_case(arguments, case, seed):
    sets, tensors, text = case
    with tempfile.TemporaryDirectory() as folder:
        folder = pathlib.Path(folder)
        write_safetensors(folder / "in.safetensors", tensors)
        command = [arguments.fresnel, "run", "dense", "--grad", "--device", "cuda", "--input", str(folder / "in.safetensors")]
        for name, value in sets.items():
            command += ["--set", f"{name}={value}"]
        run = lambda *more, wrap=(): sanitizer.run([*wrap, *command, *more])
        result = run("--gradient-schedule", "integers=true", "--check", "--json", wrap=shlex.split(arguments.wrap))
        errors = read_errors(result)
        wanted = read_errors(run("--gradient-schedule", "integers=false", "--check", "--json"))
        outputs = [folder / name for name in ("first", "second")] if not arguments.wrap else []
        for output in outputs:
            run("--gradient-schedule", "integers=true", "--output", str(output))
        same = all(output.exists() and output.read_bytes() == outputs[0].read_bytes() for output in outputs)
    near = bool(errors) and all(errors[name] <= 1.1 * wanted.get(name, 0) + arguments.more for name in ("dq", "dk", "dv"))
    ok = near and same and sanitizer.found_nothing(arguments.wrap, result)
    line = " ".join(f"{name}={value}" for name, value in sets.items())
    line += f" {text} seed={seed} | " + " ".join(f"{name}:{error:.1e}/{wanted.get(name, 0):.1e}" for name, error in errors.items())
    return ok, f"{'ok  ' if ok else 'FAIL'} {line}" + ("" if ok else f" {same} {(result.stdout + result.stderr)[-500:]}")


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--fresnel", default="build/bin/fresnel")
    parser.add_argument("--cases", type=int, default=12)
    parser.add_argument("--seed", type=int, default=None, help="default: a fresh one, printed")
    parser.add_argument("--jobs", type=int, default=4)
    parser.add_argument("--more", type=float, default=1e-3, help="by how much the relative L2 may be beyond that of f32")
    parser.add_argument("--wrap", default="", help="command that runs each case, e.g. compute-sanitizer")
    arguments = parser.parse_args()
    seed = arguments.seed if arguments.seed is not None else int(time.time())
    print(f"seed {seed}")
    failed = 0
    with concurrent.futures.ThreadPoolExecutor(arguments.jobs) as pool:
        seeds = range(seed, seed + arguments.cases)
        for ok, line in pool.map(lambda n: run_case(arguments, make_case(random.Random(n)), n), seeds):
            print(line, flush=True)
            failed += not ok
    print(f"{arguments.cases - failed} passed, {failed} failed")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
