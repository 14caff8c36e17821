"""Checks the GPU kernels against the oracle on fresh random shapes.

Every case is one `fresnel run --device cuda --check`: outputs are poisoned, results compared in relative L2, the
selection exactly. A third of the cases are small programs of the block-selection operations (block_cases.py), a tenth of
the others Lighthouse with dilated scores (dilated_cases.py). Half of the cases compute the gradients, too. Without --wrap
a case runs once more, and the two outputs must agree in every bit; under compute-sanitizer a case passes only if nothing is
reported. Usage: sweep.py --fresnel PATH [--cases N] [--seed S] [--jobs J] [--max-seconds T] [--grad-only] [--blocks-only]
[--dilated-only] [--documents-only] [--lighthouse-only] [--lighthouse-documents-only] [--head-dim D]
[--wrap "compute-sanitizer --tool memcheck"]. Exit code 1 if a case failed or none ran.
"""

import argparse
import concurrent.futures
import json
import random
import pathlib
import shlex
import sys
import tempfile
import time

import block_cases
import dilated_cases
import sanitizer

HEAD_DIMS = (32, 64, 96, 128, 192, 256)
PRIMES = (67, 127, 509, 1021, 2039, 4093, 8191, 16381, 32749)


def random_length(rng, longest):
    if rng.random() < 0.4:
        return rng.choice([p for p in PRIMES if p <= longest])
    return int(64 * (longest / 64) ** rng.random())


# The oracle's gradients cost several times its outputs.
LONGEST_GRADIENT = 2048


def make_case(rng, longest, grad_only, method=None):
    """One method with parameters; the work is bounded by fewer heads at long lengths."""
    method = method or rng.choice(("dense", "window", "lighthouse", "documents", "lighthouse_documents"))
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
        if rng.random() < 0.3:
            # Both of the hopper family, or both narrower.
            least = min(64, sets["head_dim"])
            sets["value_dim"] = rng.choice([dim for dim in HEAD_DIMS if least <= dim <= sets["head_dim"]])
    elif method == "documents":
        # One document, few, as many as tokens (empty ones and single tokens among them), and more than that.
        sets["documents"] = min(65535, rng.choice((1, 2, 5, 16, 16, max(1, length // 64), length, 2 * length)))
        sets["causal"] = rng.choice(("true", "false"))
        sets["softcap"] = rng.choice((0, 0, 20))
        if sets["causal"] == "true" and rng.random() < 0.3:
            sets["window"] = rng.randint(1, max(1, length))
    elif method == "window":
        sets["window"] = rng.randint(1, max(1, length))
        sets["sinks"] = rng.choice((0, 1, 4, 64, 100))
    else:
        if method == "lighthouse_documents":
            del sets["seq_len"]
            sets["documents"] = ",".join(map(str, block_cases.cut_documents(rng, length)))
        sets["levels"] = rng.choice((1, 2, 3, 3, 4))
        sets["factor"] = rng.choice((2, 3, 4, 4, 5, 7, 8, 11))
        sets["topk"] = rng.choice((1, 37, 128, 200, 256, 512, 1536))
        sets["per_kv_head"] = rng.choice(("true", "false", "false"))
        sets["open_first_window"] = rng.choice(("true", "false"))
    # Fields of the hopper family, which takes over from head dim 64 on.
    schedules = ["", "", "", "tile_m=64", "persistent=true", "ping_pong=false", "early=8", "early=32:persistent=true"]
    if has_clusters(method, sets):
        schedules += ["cluster=2:persistent=false", "cluster=2:persistent=false:tile_n=64:stages=2"]
    # Weights in shared memory, of few and of many registers, in panels of 64 and of 32 columns.
    schedules += ["shared_weights=true:tile_n=64", "shared_weights=true:tile_n=80:tile_m=64:early=0"]
    if sets["head_dim"] <= 128:
        schedules += [f"shared_weights=true:tile_m=192:tile_n={tile}:{others}" for tile in (48, 96)
                      for others in ("persistent=true", "persistent=false:early=16")]
    if sets["head_dim"] <= 96:
        schedules += [f"shared_weights=true:tile_m=192:tile_n={tile}:persistent={flag}" for tile in (128, 144)
                      for flag in ("true", "false")]
    schedule = rng.choice(schedules) if sets["head_dim"] >= 64 else ""
    gradients = ["", "", "", "family=portable", "section=1", "section=3", "stages=1"]
    if method == "dense" and sets["head_dim"] >= 192 and sets["heads"] == sets["kv_heads"] and has_one_pass(method, sets):
        gradients += ["integers=true", "integers=true:section=1"]
    if method in ("dense", "window") and has_pairs(method, sets):
        gradients += ["tile_n=128", "tile_n=128", "tile_n=128:stages=2", "tile_n=128:section=1"]
    gradient = rng.choice(gradients)
    return method, sets, rng.choice(("bnhd", "bhnd")), schedule, gradient, grad


def differs_when_repeated(command):
    """Why a second run gave other bits than the first, or nothing."""
    with tempfile.TemporaryDirectory() as folder:
        outputs = [pathlib.Path(folder) / name for name in ("first", "second")]
        for output in outputs:
            result = sanitizer.run([*command, "--output", str(output)])
            if result.returncode:
                return result.stderr.strip()
        return "" if outputs[0].read_bytes() == outputs[1].read_bytes() else "two runs differ"


def has_clusters(method, sets):
    """Whether two tiles of queries can fetch their keys together."""
    return method in ("dense", "lighthouse") and not (
        sets.get("causal") == "true" and sets.get("kv_len", sets["seq_len"]) < sets["seq_len"])


def has_one_pass(method, sets):
    """Whether the hopper family has the gradients of the method's attention in one pass."""
    dim, value_dim = sets["head_dim"], sets.get("value_dim") or sets["head_dim"]
    if method == "documents" and sets.get("softcap") and dim == 128:
        return False
    if value_dim != dim and (dim, value_dim) not in ((128, 64), (128, 96), (192, 128), (256, 128), (256, 192)):
        return False
    return dim >= 64


def has_pairs(method, sets):
    """Whether steps of these gradients may have two tiles of queries."""
    return sets["head_dim"] in (96, 128) and not sets.get("softcap") and has_one_pass(method, sets)


def run_case(arguments, case, seed):
    method, sets, layout, schedule, gradient, grad = case
    command = [arguments.fresnel, "run", method, "--random", str(seed), "--device", "cuda", "--layout", layout,
               "--target", arguments.target]
    for name, value in sets.items():
        command += ["--set", f"{name}={value}"]
    if schedule and arguments.target == "sm_90a":
        command += ["--schedule", schedule]
    if grad:
        command += ["--grad"]
        # What only the gradients in one pass have is asked for where there are such.
        if gradient and arguments.target == "sm_90a" and ("family" in gradient or has_one_pass(method, sets)):
            command += ["--gradient-schedule", gradient]
    result = sanitizer.run([*shlex.split(arguments.wrap), *command, "--check", "--json"])
    difference = "" if arguments.wrap else differs_when_repeated(command)
    text = " ".join(f"{k}={v}" for k, v in sets.items())
    start = result.stdout.find("{")
    try:
        checks = json.loads(result.stdout[start:result.stdout.rfind("}") + 1]).get("checks", [])
    except ValueError:
        checks = []
    errors = " ".join(f"{c['output']}:{c['mismatches']}" if c["output"] == "selected"
                      else f"{c['output']}:{c['relative_l2']:.1e}" for c in checks)
    ok = result.returncode == 0 and bool(checks) and not difference and sanitizer.found_nothing(arguments.wrap, result)
    detail = "" if ok else f" | {difference} " + (result.stdout + result.stderr).strip()[-600:]
    return ok, f"{'ok  ' if ok else 'FAIL'} {method}{' grad' if grad else ''} {layout} {schedule} {gradient} seed={seed} {text} | {errors}{detail}"


def check_selection(command, scored, folder):
    """Runs the program, and on the CPU the one that gives the scores, too: where do the selections differ?"""
    paths = [folder / "got.safetensors", folder / "want.safetensors"]
    text = folder / "scored.mlir"
    text.write_text(scored)
    oracle = [command[0], "run", str(text), *command[3:command.index("--device")], "--device", "cpu"]
    for path, run in zip(paths, (command, oracle)):
        result = sanitizer.run([*run, "--output", str(path)])
        if result.returncode:
            return False, result.stderr.strip()[-600:]
    got, want = map(block_cases.read_safetensors, paths)
    # Rank-4 values are stored as [B, N, H, D].
    scores = want["scores"].transpose(0, 2, 1, 3)
    wrong = block_cases.find_wrong_rows(got["selected"], want["selected"], scores)
    text = f"rows that differ:{int((got['selected'] != want['selected']).any(-1).sum())} wrong:{wrong}"
    if "scores" not in got:
        return not wrong, text
    import numpy
    mine = got["scores"].transpose(0, 2, 1, 3)
    finite = numpy.isfinite(scores)
    error = numpy.linalg.norm(mine[finite] - scores[finite]) / max(numpy.linalg.norm(scores[finite]), 1e-30)
    same = bool((numpy.isfinite(mine) == finite).all())
    return not wrong and same and error < 1e-5, f"{text} scores:{error:.1e}"


def run_block_case(arguments, case, seed):
    name, text, grad, scored = case
    with tempfile.TemporaryDirectory() as folder:
        folder = pathlib.Path(folder)
        (folder / "case.mlir").write_text(text)
        command = [arguments.fresnel, "run", str(folder / "case.mlir"), "--random", str(seed), "--device", "cuda",
                   "--layout", random.Random(seed).choice(("bnhd", "bhnd")), "--target", arguments.target,
                   *(["--grad"] if grad else [])]
        if scored and not arguments.wrap:
            ok, detail = check_selection(command, scored, folder)
        else:
            check = ["--check", "--json"] if not scored else []
            result = sanitizer.run([*shlex.split(arguments.wrap), *command, *check])
            start = result.stdout.find("{")
            checks = json.loads(result.stdout[start:result.stdout.rfind("}") + 1]).get("checks", []) if start >= 0 else []
            detail = " ".join(f"{c['output']}:{c['relative_l2']:.1e}/{c['mismatches']}" for c in checks)
            # What is f32 on both sides agrees to the rounding of f32 sums.
            close = all(c["relative_l2"] < 1e-5 for c in checks if c["output"] == "scores")
            ok = result.returncode == 0 and close and (bool(checks) or bool(scored)) and sanitizer.found_nothing(arguments.wrap, result)
            detail += "" if ok else (result.stdout + result.stderr).strip()[-600:]
        difference = "" if arguments.wrap else differs_when_repeated(command)
    ok = ok and not difference
    return ok, f"{'ok  ' if ok else 'FAIL'} {name}{' grad' if grad else ''} seed={seed} | {detail} {difference}" + ("" if ok else f"\n{text}")


def run_all(arguments, make):
    """Runs what `make` gives, pairs of a function and a case, side by side and prints a line for each; the exit code."""
    seed = arguments.seed if arguments.seed is not None else int(time.time())
    rng = random.Random(seed)
    print(f"seed {seed}")
    cases = [(*make(rng), rng.randrange(1 << 30)) for _ in range(arguments.cases)]
    start, passed, failed = time.time(), 0, 0
    with concurrent.futures.ThreadPoolExecutor(arguments.jobs) as pool:
        pending = iter(cases)
        running = set()
        while True:
            while len(running) < arguments.jobs and time.time() - start < arguments.max_seconds:
                item = next(pending, None)
                if item is None:
                    break
                running.add(pool.submit(item[0], arguments, *item[1:]))
            if not running:
                break
            done, running = concurrent.futures.wait(running, return_when=concurrent.futures.FIRST_COMPLETED)
            for future in done:
                ok, line = future.result()
                passed, failed = passed + ok, failed + (not ok)
                print(line, flush=True)
    print(f"{passed} passed, {failed} failed")
    return 1 if failed or not passed else 0


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--fresnel", default="build/bin/fresnel")
    parser.add_argument("--target", default="sm_90a")
    parser.add_argument("--cases", type=int, default=100)
    parser.add_argument("--longest", type=int, default=32768)
    parser.add_argument("--seed", type=int, default=None, help="default: a fresh one, printed")
    parser.add_argument("--jobs", type=int, default=4)
    parser.add_argument("--grad-only", action="store_true", help="gradients in every case")
    parser.add_argument("--documents-only", action="store_true", help="only attention over packed documents")
    parser.add_argument("--blocks-only", nargs="*", metavar="NAME", help="only the operations of block selection, or these of "
                        "block_cases.py")
    parser.add_argument("--dilated-only", action="store_true", help="only Lighthouse with dilated scores")
    parser.add_argument("--lighthouse-only", action="store_true", help="only Lighthouse")
    parser.add_argument("--schedule", default="", metavar="FIELD", help="only attention whose schedule, or that of its gradients, sets "
                        "this field")
    parser.add_argument("--head-dim", type=int, help="only attention with this head dim")
    parser.add_argument("--lighthouse-documents-only", action="store_true", help="only Lighthouse over packed documents")
    parser.add_argument("--max-seconds", type=float, default=1e9)
    parser.add_argument("--wrap", default="", help="command that runs each case, e.g. compute-sanitizer")
    arguments = parser.parse_args()
    def make(rng):
        only = {"documents": arguments.documents_only, "lighthouse": arguments.lighthouse_only,
                "lighthouse_documents": arguments.lighthouse_documents_only}
        method = next((name for name, asked in only.items() if asked), None)
        if method or arguments.schedule or arguments.head_dim:
            while True:
                case = make_case(rng, arguments.longest, arguments.grad_only, method)
                if arguments.head_dim in (None, case[1]["head_dim"]) and any(
                        arguments.schedule in fields for fields in case[3:4 + case[5]]):
                    return run_case, case
        blocks = not arguments.grad_only and not arguments.dilated_only and rng.random() < 1 / 3
        if arguments.blocks_only is not None or blocks:
            return run_block_case, block_cases.make_block_case(rng, arguments.longest, arguments.blocks_only)
        if arguments.dilated_only or rng.random() < 0.1:
            return dilated_cases.run_case, dilated_cases.make_case(rng, arguments.longest, arguments.grad_only)
        return run_case, make_case(rng, arguments.longest, arguments.grad_only)
    return run_all(arguments, make)


if __name__ == "__main__":
    sys.exit(main())
