"""Lighthouse with dilated scores for sweep.py, over one sequence or packed documents.

The scores are norms of attention outputs, which the GPU rounds otherwise than the oracle, so that either may select
another window. Each case therefore compares the scores within a tolerance, and everything behind them exactly as for
other methods: with the oracle on the scores that the GPU found.
"""

import pathlib
import re
import shlex
import tempfile

import block_cases
import sanitizer

HEAD_DIMS = (32, 64, 96, 128, 192, 256)
TOLERANCE = {"bf16": 1e-2, "f16": 2e-3}
# The oracle computes the scores' attention, too.
LONGEST = 2048


def make_case(rng, longest, grad_only):
    heads, group = rng.choice((1, 2, 3)), rng.choice((1, 1, 2, 3))
    # Of a single token every gradient of a score is the difference of two equal numbers.
    sets = {"seq_len": max(2, block_cases.length(rng, min(longest, LONGEST))), "heads": heads * group, "kv_heads": heads,
            "head_dim": rng.choice(HEAD_DIMS), "dtype": rng.choice(("bf16", "f16")), "batch": rng.choice((1, 1, 2)),
            "dilation": rng.choice((1, 2, 3, 4, 4, 8, 64)), "levels": rng.choice((1, 2, 3, 3, 4)),
            "factor": rng.choice((2, 4, 8)), "topk": rng.choice((1, 37, 128, 200, 512)),
            "open_first_window": rng.choice(("true", "false"))}
    if rng.random() < 0.4:
        sets["documents"] = ",".join(map(str, block_cases.cut_documents(rng, sets["seq_len"])))
    return sets, rng.choice(("bnhd", "bhnd")), grad_only or rng.random() < 0.5


def get_method(sets):
    return "lighthouse_dilated_documents" if "documents" in sets else "lighthouse_dilated"


def split_scorer(text):
    """The preset's program with its scores as further outputs, and the one that takes them as inputs instead."""
    select = re.search(r"select_cascade (%\w+), (%\w+) .*: (tensor<[^>]*>), (tensor<[^>]*>)\n", text)
    query, key, *types = select.groups()
    names = text.replace('"selected"]', '"selected", "qs", "ks"]')
    shown = re.sub(r"(fresnel\.return [^{]*?) (\{.*)", rf"\1, {query}, {key} \2, {', '.join(types)}", names)
    body = text.index("\n", text.index("fresnel.program"))
    head = text[:body].replace(") {", f", %qs: {types[0]}, %ks: {types[1]}) {{")
    rest = text[text.rindex("\n", 0, select.start()):]
    given = head + rest.replace(f"select_cascade {query}, {key} ", "select_cascade %qs, %ks ")
    return shown, given


def write_inputs(path, sets, grad, seed, scores=None):
    import numpy
    rng = numpy.random.default_rng(seed)
    heads = {"q": "heads", "k": "kv_heads", "v": "kv_heads", "dout": "heads"}
    tensors = {name: rng.standard_normal([sets[size] for size in ("batch", "seq_len", which, "head_dim")],
                                         dtype=numpy.float32) for name, which in heads.items()}
    if not grad:
        del tensors["dout"]
    block_cases.write_safetensors(path, {**tensors, **(scores or {})})


def get_distance(got, want):
    """|got - want| / |want| over finite values; others must agree."""
    import numpy
    finite = numpy.isfinite(want)
    if not (got[~finite] == want[~finite]).all() or not numpy.isfinite(got[finite]).all():
        return float("inf")
    return float(numpy.linalg.norm(got[finite] - want[finite]) / max(numpy.linalg.norm(want[finite]), 1e-30))


def call(command, wrap=""):
    result = sanitizer.run([*shlex.split(wrap), *map(str, command)])
    if result.returncode or not sanitizer.found_nothing(wrap, result):
        raise RuntimeError((result.stdout + result.stderr).strip()[-600:])
    return result.stdout


def check(arguments, case, seed, folder):
    """What was compared, as text, and whether it agrees."""
    sets, layout, grad = case
    options = [word for name, value in sets.items() for word in ("--set", f"{name}={value}")]
    text = call([arguments.fresnel, "compile", get_method(sets), *options, "--emit", "program"])
    for name, program in zip(("shown", "given"), split_scorer(text)):
        (folder / f"{name}.mlir").write_text(program)
    write_inputs(folder / "inputs", sets, grad, seed)

    def run(program, inputs, output, *device):
        call([arguments.fresnel, "run", folder / f"{program}.mlir", "--input", folder / inputs, "--output", folder / output,
              *(["--grad"] if grad else []), "--device", *device], arguments.wrap if "cuda" in device else "")
        return block_cases.read_safetensors(folder / output)

    cuda = ("cuda", "--layout", layout, "--target", arguments.target)
    got = run("shown", "inputs", "got", *cuda)
    if arguments.wrap:
        return "ran", True
    run("shown", "inputs", "again", *cuda)
    repeats = (folder / "got").read_bytes() == (folder / "again").read_bytes()
    want = run("shown", "inputs", "want", "cpu")
    errors = {name: get_distance(got[name], want[name]) for name in ("qs", "ks")}
    write_inputs(folder / "scored", sets, grad, seed, {name: got[name] for name in errors})
    want = run("given", "scored", "want", "cpu")
    mismatches = int((got["selected"] != want["selected"]).sum())
    errors.update({name: get_distance(got[name], want[name]) for name in want if name != "selected"})
    detail = " ".join(f"{name}:{error:.1e}" for name, error in errors.items()) + f" selected:{mismatches}"
    ok = repeats and not mismatches and all(error <= TOLERANCE[sets["dtype"]] for error in errors.values())
    return detail + ("" if repeats else " two runs differ"), ok


def run_case(arguments, case, seed):
    with tempfile.TemporaryDirectory() as folder:
        try:
            detail, ok = check(arguments, case, seed, pathlib.Path(folder))
        except RuntimeError as error:
            detail, ok = str(error), False
    sets, layout, grad = case
    text = " ".join(f"{k}={v}" for k, v in sets.items())
    return ok, f"{'ok  ' if ok else 'FAIL'} {get_method(sets)}{' grad' if grad else ''} {layout} seed={seed} {text} | {detail}"
