"""Checks attention over block lists, and over pooled keys, on the GPU against the oracle on fresh random shapes.

As sweep.py, with programs whose lists are inputs: entries are random, so that they repeat, are -1 and come in any order.
Every fourth case is one of the methods moba, nsa, vsa, these within documents, and block_mask as a whole; `--methods` takes
some of them alone, in every case. Usage: block_lists.py --fresnel PATH [--cases N] [--seed S] [--jobs J] [--max-seconds T]
[--target T] [--wrap "compute-sanitizer --tool memcheck"]. Exit code 1 if a case failed or none ran. `--tiles-only --grad 1`
checks the gradients of the hopper family, `--cut-only` those that cut walks over the rows that list a block, `--grouped-only` what
`fresnel-group-queries` makes.
"""

import argparse
import json
import pathlib
import random
import shlex
import sys
import tempfile

import sanitizer
from sweep import differs_when_repeated, run_all

HEAD_DIMS = (64, 96, 128, 192, 256)
# Head dims of values, by those of keys that are wider.
NARROWER = {128: (64, 96), 192: (128,), 256: (128, 192)}
METHODS = ("moba", "moba_documents", "nsa", "nsa_documents", "vsa", "vsa_documents", "block_mask")


def random_attributes(rng, pooled):
    attributes = {"causal": rng.choice(("true", "false"))}
    if pooled:
        stride = rng.choice((1, 4, 16))
        attributes |= {"key_stride": stride, "key_window": stride * rng.choice((1, 2)) + rng.choice((0, 0, 1))}
    elif attributes["causal"] == "true" and rng.random() < 0.3:
        attributes |= {"window": rng.randint(1, 300), "sinks": rng.choice((0, 4, 100))}
    if rng.random() < 0.2:
        attributes["softcap"] = "20.0"
    return attributes


def random_heads(rng):
    """Query heads for each key head, key heads, head dim, element type and batch."""
    return rng.choice((1, 2, 3, 4, 8, 16, 16, 32)), rng.choice((1, 2)), rng.choice(HEAD_DIMS), rng.choice(("bf16", "f16")), rng.choice((1, 1, 2))


def random_length(rng, group):
    # The oracle computes every pair in double precision.
    return rng.choice((67, 127, 509, 256, 384, rng.randint(64, 700))) // (2 if group >= 8 else 1)


# Of programs. Tiles: lists that the gradients of the hopper family serve. Gathered: those whose gradients of keys and
# values gather the rows of a step.
KINDS = ("token", "token", "block", "tiles", "tiles", "odd", "pooled", "gathered")


def make_program(rng, kinds, documents):
    """A program's text, what describes it and its schedules, forward and of the gradient; a part `documents` of them lies
    within documents."""
    kind = rng.choice(kinds)
    group, kv_heads, dim, dtype, batch = random_heads(rng)
    length = random_length(rng, group)
    if kind == "gathered":
        group = rng.choice((16, 16, 32))
    heads, keys = group * kv_heads, length
    if kind == "gathered" and rng.random() < 0.5:
        # More rows than a producer looks at together.
        length, keys = rng.randint(1025, 3000), rng.randint(64, 300)
    if kind == "tiles" and heads * batch <= 4:
        length = keys = rng.choice((1024, 1021, rng.randint(600, 1600)))
    attributes, schedule, gradient = random_attributes(rng, kind == "pooled"), "", ""
    operand, list_type, value_dim = "", "", dim
    if kind == "pooled":
        # Values may be narrower than keys.
        value_dim = rng.choice((dim, dim, dim, *NARROWER.get(dim, ())))
        stride, window = attributes["key_stride"], attributes["key_window"]
        # There are few pairs: several blocks of keys.
        length *= rng.choice((1, 1, max(1, stride // 4))) if heads * batch <= 8 else 1
        # With one key every gradient of a score is the difference of two equal numbers.
        length = max(length, window + 3 * stride)
        keys = (length - window) // stride + 1
        gradient = rng.choice(("", "", "", "ordered=false", "section=1", "family=portable"))
    else:
        query_block, key_block = {"token": (1, rng.choice((16, 32, 64))),
                                  "block": (rng.choice((64, 128, 192, 256)), rng.choice((16, 32, 64, 128, 256))),
                                  "tiles": (rng.choice((64, 128)), rng.choice((32, 32, 64, 128, 256))),
                                  "gathered": (rng.choice((1, 1, 1, 16, 32)), rng.choice((64, 64, 128, 192))),
                                  "odd": (rng.choice((1, 3, 16, 48, 100)), rng.choice((1, 7, 48, 100)))}[kind]
        if kind != "gathered" and rng.random() < 0.2:
            # With one key every gradient of a score is the difference of two equal numbers.
            keys = max(16, length + rng.randint(-50, 50))
        list_heads = kv_heads * rng.choice([g for g in range(1, group + 1) if group % g == 0])
        if kind == "gathered":
            list_heads = heads if query_block > 1 else kv_heads * rng.choice((1, group // 16))
        # As with one key in each row.
        entries = rng.randint(2 if key_block == 1 else 1, min(20, -(-keys // key_block)))
        list_type = f"tensor<{batch}x{list_heads}x{-(-length // query_block)}x{entries}xi32>"
        attributes |= {"query_block": query_block, "key_block": key_block}
        operand = f" blocks(%list : {list_type})"
        if kind in ("block", "tiles") and rng.random() < 0.3:
            schedule = rng.choice(("tile_m=64", "tile_n=16", "ping_pong=false", "family=portable"))
        if kind == "tiles":
            gradient = rng.choice(("", "", "family=portable", "section=1", "section=7", "stages=1"))
            if has_one_pass(dim, length, keys, attributes) and rng.random() < 0.2:
                gradient = "ordered=false"
        elif kind == "token" and rng.random() < 0.3:
            schedule = rng.choice(("tile_m=128", "tile_n=16", "family=portable"))
    q, k, v, out = (f"tensor<{batch}x{h}x{n}x{d}x{dtype}>" for h, n, d in (
        (heads, length, dim), (kv_heads, keys, dim), (kv_heads, keys, value_dim), (heads, length, value_dim)))
    lse = f"tensor<{batch}x{heads}x{length}xf32>"
    more, first = ', %list: ' + list_type if list_type else '', ""
    within = kind == "pooled" and attributes["causal"] == "true" or list_type and keys == length and not attributes.get("sinks")
    if within and rng.random() < documents:
        bounds = f"tensor<1x2x{length}xi32>"
        operand = f"{operand} documents(%bounds : {bounds})"
        gradient = "" if gradient == "ordered=false" and list_type else gradient
        # Some documents have two keys, see above.
        most = length // (attributes["key_stride"] + attributes["key_window"]) if kind == "pooled" else length
        if kind == "pooled" and (most < 9 or rng.random() < 0.8):
            # Documents that are known to be in order have all gradients in one pass.
            cu = f"tensor<1x1x{max(2, min(rng.choice((1, 3, 16, length)), most))}xi32>"
            first, more = f"  %bounds = fresnel.document_bounds %cu {{seq_len = {length}}} : {cu}\n", f"{more}, %cu: {cu}"
        else:
            more = f"{more}, %bounds: {bounds}"
            gradient = "" if kind == "pooled" else gradient
    settings = ", ".join(f"{name} = {value}" for name, value in attributes.items())
    text = (f"fresnel.program @case(%q: {q}, %k: {k}, %v: {v}{more}) {{\n{first}"
            f"  %out, %lse = fresnel.attend %q, %k, %v{operand} {{{settings}}} : {q}, {k}, {v}\n"
            f"  fresnel.return %out, %lse {{names = [\"out\", \"lse\"]}} : {out}, {lse}\n}}\n")
    within = "documents " if first else "bounds " if "documents" in operand else ""
    return text, f"q={q} k={k} v={v} list={list_type} {within}{settings}", schedule, gradient


def make_cut_program(rng):
    """A program whose gradient of keys and values may cut walks: more than 2048 steps of 64 rows list a block."""
    group, kv_heads, dim = rng.choice((16, 32, 64)), rng.choice((1, 2)), rng.choice(HEAD_DIMS)
    dtype, query_block, key_block = rng.choice(("bf16", "f16")), rng.choice((1, 1, 16, 64)), rng.choice((32, 32, 64, 128, 192))
    blocks, causal = rng.choice((2, 3, 5)), False
    length = int(131072 // group * rng.uniform(1.0, 2.0))
    keys, entries, list_heads = key_block * blocks - rng.choice((0, 1, 30)), blocks, kv_heads * rng.choice((1, 1, 2))
    if rng.random() < 0.25:
        # The oracle takes some ten seconds for so many pairs.
        group, kv_heads, list_heads, query_block, key_block, entries, causal = 64, 1, 1, 1, 64, 4, rng.random() < 0.5
        length = keys = rng.randint(8000, 16384)
    heads = group * kv_heads
    list_type = f"tensor<1x{list_heads}x{-(-length // query_block)}x{entries}xi32>"
    q, kv = (f"tensor<1x{h}x{n}x{dim}x{dtype}>" for h, n in ((heads, length), (kv_heads, keys)))
    settings = f"causal = {str(causal).lower()}, query_block = {query_block}, key_block = {key_block}"
    text = (f"fresnel.program @case(%q: {q}, %k: {kv}, %v: {kv}, %list: {list_type}) {{\n"
            f"  %out, %lse = fresnel.attend %q, %k, %v blocks(%list : {list_type}) {{{settings}}} : {q}, {kv}, {kv}\n"
            f"  fresnel.return %out {{names = [\"out\"]}} : {q}\n}}\n")
    return text, f"q={q} kv={kv} list={list_type} {settings}"


def make_grouped_program(rng, documents):
    """A program over lists of single queries whose attention goes from block to block of keys, a part `documents` of them within
    documents."""
    entries, key_block = rng.choice(((1, 128), (1, 256), (2, 128), (1, 384)))
    group, kv_heads, dim, dtype, batch = rng.choice((1, 2, 4)), rng.choice((1, 2)), rng.choice((64, 128, 128, 192, 256)), rng.choice(("bf16", "f16")), rng.choice((1, 1, 2))
    # The oracle computes every pair in double precision.
    heads = group if group > 2 else group * kv_heads
    kv_heads = heads // group
    length = 20 * entries * key_block + rng.randint(1, 500)
    keys = length if rng.random() < 0.6 else length + rng.randint(-300, 300)
    list_heads = kv_heads * rng.choice([g for g in range(1, group + 1) if group % g == 0])
    list_type = f"tensor<{batch}x{list_heads}x{length}x{entries}xi32>"
    settings = f"causal = true, key_block = {key_block}" + (", softcap = 20.0" if rng.random() < 0.2 else "")
    q, kv, lse = f"tensor<{batch}x{heads}x{length}x{dim}x{dtype}>", f"tensor<{batch}x{kv_heads}x{keys}x{dim}x{dtype}>", f"tensor<{batch}x{heads}x{length}xf32>"
    operand, more, first = f" blocks(%list : {list_type})", f", %list: {list_type}", ""
    if keys == length and rng.random() < documents:
        # More than there are tokens leave some empty, and nothing in front of a query's own block.
        cu = f"tensor<1x1x{rng.choice((2, 4, 6, 17, length))}xi32>"
        first, more = f"  %bounds = fresnel.document_bounds %cu {{seq_len = {length}}} : {cu}\n", f"{more}, %cu: {cu}"
        operand += f" documents(%bounds : tensor<1x2x{length}xi32>)"
    text = (f"fresnel.program @case(%q: {q}, %k: {kv}, %v: {kv}{more}) {{\n{first}"
            f"  %out, %lse = fresnel.attend %q, %k, %v{operand} {{{settings}}} : {q}, {kv}, {kv}\n"
            f"  fresnel.return %out, %lse {{names = [\"out\", \"lse\"]}} : {q}, {lse}\n}}\n")
    return text, f"q={q} kv={kv} list={list_type} {'documents ' if first else ''}{settings}"


def has_one_pass(dim, length, keys, attributes):
    """Whether the hopper family has the gradients of a program with lists of whole tiles in one pass."""
    if attributes["key_block"] % 64:
        return False
    causal = attributes["causal"] == "true"
    wide = dim >= 128 or (dim == 96 or "softcap" not in attributes and attributes["query_block"] == 128) and attributes["key_block"] >= 128
    return wide and not (causal and keys < length)


def make_method(rng, methods):
    """The name and the parameters of a method."""
    method = rng.choice(methods)
    group, kv_heads, dim, dtype, batch = random_heads(rng)
    sets = {"seq_len": random_length(rng, group), "heads": group * kv_heads, "kv_heads": kv_heads, "head_dim": dim,
            "dtype": dtype, "batch": batch, "topk": rng.randint(1, 8)}
    if method.startswith("nsa"):
        sets |= {"topk": rng.randint(3, 8), "sliding": rng.randint(1, 200), "block": rng.choice((32, 64)),
                 "stride": rng.choice((8, 16)), "window": rng.choice((16, 32))}
    elif method == "block_mask":
        del sets["topk"]
        sets |= {"query_block": rng.choice((1, 48, 64, 128)), "key_block": rng.choice((32, 64, 100, 128)),
                 "causal": rng.choice(("true", "false")), "kv_len": rng.choice((0, random_length(rng, group))),
                 "mask_heads": kv_heads * rng.choice([g for g in range(1, group + 1) if group % g == 0])}
    else:
        sets["block"] = rng.choice((16, 32, 64, 100, 128))
    if method.endswith("_documents"):
        # More than there are tokens leave some empty.
        sets["documents"] = rng.choice((1, 3, 16, sets["seq_len"]))
    return method, sets


def make_case(rng, arguments):
    layout, grad = rng.choice(("bnhd", "bhnd")), rng.random() < arguments.grad
    if arguments.cut_only:
        text, description = make_cut_program(rng)
        return "case.mlir", text, {}, description, layout, "", "", True
    if arguments.grouped_only:
        if rng.random() < 0.3:
            sets = {"seq_len": rng.randint(5200, 7000), "heads": 2, "kv_heads": rng.choice((1, 2)), "head_dim": rng.choice((64, 128)),
                    "topk": 2, "block": rng.choice((128, 256))}
            method = "moba"
            if rng.random() < arguments.documents:
                method = "moba_documents"
                sets["documents"] = rng.choice((1, 3, 5, 16, sets["seq_len"]))
            return method, "", sets, method, layout, "", "", grad
        text, description = make_grouped_program(rng, arguments.documents)
        return "case.mlir", text, {}, description, layout, "", "", grad
    only = ("tiles", "tiles", "token") if arguments.tiles_only else ("pooled",) if arguments.pooled_only else ()
    only = ("gathered",) if arguments.gathered_only else only
    if arguments.methods or rng.random() < 0.25 and not only:
        method, sets = make_method(rng, arguments.methods.split(",") if arguments.methods else METHODS)
        return method, "", sets, method, layout, "", "", grad
    text, description, schedule, gradient = make_program(rng, only or KINDS, arguments.documents)
    return "case.mlir", text, {}, description, layout, schedule, gradient, grad


def read_checks(result):
    start = result.stdout.find("{")
    try:
        return json.loads(result.stdout[start:result.stdout.rfind("}") + 1]).get("checks", [])
    except ValueError:
        return []


def run_case(arguments, case, seed, tries=3):
    name, text, sets, description, layout, schedule, gradient_schedule, grad = case
    with tempfile.TemporaryDirectory() as folder:
        program = name
        if text:
            program = str(pathlib.Path(folder) / name)
            pathlib.Path(program).write_text(text)
        command = [arguments.fresnel, "run", program, "--random", str(seed), "--device", "cuda", "--layout", layout,
                   "--target", arguments.target, *(f"--set={key}={value}" for key, value in sets.items())]
        # Gradients have schedules of another family.
        if schedule and not grad and arguments.target == "sm_90a":
            command += ["--schedule", schedule]
        if grad:
            command += ["--grad"]
            if gradient_schedule and arguments.target == "sm_90a":
                command += ["--gradient-schedule", gradient_schedule]
        result = sanitizer.run([*shlex.split(arguments.wrap), *command, "--check", "--json"])
        same = not arguments.wrap and "ordered=false" not in command
        difference = differs_when_repeated(command) if same else ""
    checks = read_checks(result)
    # Scores in single precision may rank near ties otherwise than the oracle's: then nothing that follows compares.
    if tries > 1 and any(c["output"] == "selected" and 0 < c["mismatches"] < 10 for c in checks):
        return run_case(arguments, case, seed + 1, tries - 1)
    errors = " ".join(f"{c['output']}:{c['mismatches']}" if c["output"] == "selected"
                      else f"{c['output']}:{c['relative_l2']:.1e}" for c in checks)
    ok = result.returncode == 0 and bool(checks) and not difference and sanitizer.found_nothing(arguments.wrap, result)
    detail = "" if ok else f" | {difference} " + (result.stdout + result.stderr).strip()[-600:]
    settings = " ".join(f"{key}={value}" for key, value in sets.items())
    return ok, (f"{'ok  ' if ok else 'FAIL'} {'grad ' if grad else ''}{layout} {schedule} {gradient_schedule} seed={seed} {description} "
                f"{settings} | {errors}{detail}")


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--fresnel", default="build/bin/fresnel")
    parser.add_argument("--target", default="sm_90a")
    parser.add_argument("--cases", type=int, default=100)
    parser.add_argument("--seed", type=int, default=None, help="default: a fresh one, printed")
    parser.add_argument("--jobs", type=int, default=4)
    parser.add_argument("--max-seconds", type=float, default=1e9)
    parser.add_argument("--grad", type=float, default=0.6, help="the part of the cases that has gradients")
    parser.add_argument("--documents", type=float, default=0.2, help="the part that lies within documents, where there may be some")
    parser.add_argument("--tiles-only", action="store_true", help="only lists of whole tiles")
    parser.add_argument("--pooled-only", action="store_true", help="only pooled keys")
    parser.add_argument("--gathered-only", action="store_true", help="only lists whose gradients gather the rows of a step")
    parser.add_argument("--cut-only", action="store_true", help="only gradients that cut walks over the rows that list a block")
    parser.add_argument("--grouped-only", action="store_true", help="only lists of single queries that are attended to block by block")
    parser.add_argument("--methods", default="", help="only these methods, with commas between them")
    parser.add_argument("--wrap", default="", help="command that runs each case, e.g. compute-sanitizer")
    arguments = parser.parse_args()
    return run_all(arguments, lambda rng: (run_case, make_case(rng, arguments)))


if __name__ == "__main__":
    sys.exit(main())
