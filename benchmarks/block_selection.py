"""Times the kernels of block selection on the GPU with `fresnel bench`, each by itself, beside a device copy of the same run.

Programs of the operations that `moba`, `nsa` and `vsa` use beside attention, and `nsa` as a whole, with its gradients if --grad
is given. Results are checked first; L2 is read full before each launch. Times are medians less that of two events with nothing
between them. A kernel's bytes are its tensors, each once; TFLOP/s are those of what the masks allow. Prints Markdown tables.
Usage: block_selection.py --fresnel PATH [--only NAME ...] [--grad] [--samples N] [--json FILE]. Exit code 1 if a program failed.
"""

import argparse
import json
import pathlib
import subprocess
import sys
import tempfile

# Scores, or their blocks, and what selects among them.
SELECTION = ("fresnel.block_score", "fresnel.regroup", "fresnel.regroup_scored", "fresnel.select_scored", "fresnel.select_blocks")


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
    "blocks of 128, N 65536 H16": blocks(65536, 16, 128, 32),
    "moba 512, N 32768 H8": moba(32768, 8, 512, 3, False),
    "moba 512, N 131072 H8": moba(131072, 8, 512, 3, False),
    "moba 512, N 131072 H8, scores stored": moba(131072, 8, 512, 3, True),
    "nsa, N 8192 H64/4": nsa(8192, 64, 4),
    "nsa, N 32768 H64/4": nsa(32768, 64, 4),
    "combine, N 65536 H16, blocks of 64": combine(65536, 16, 64),
    "nsa as a whole, N 8192 H64/4": {"seq_len": 8192, "heads": 64, "kv_heads": 4},
    "nsa as a whole, N 32768 H64/4": {"seq_len": 32768, "heads": 64, "kv_heads": 4},
    "nsa as a whole, N 65536 H64/4": {"seq_len": 65536, "heads": 64, "kv_heads": 4},
}


def bench(fresnel, made, samples, grad=False):
    """What `fresnel bench` says of a program's text, or of `nsa` with these parameters; raises RuntimeError if it fails."""
    with tempfile.TemporaryDirectory() as folder:
        if isinstance(made, str):
            method = [str(pathlib.Path(folder) / "program.mlir")]
            pathlib.Path(method[0]).write_text(made)
        else:
            method = ["nsa", *(f"--set={key}={value}" for key, value in made.items()), *(["--grad"] if grad else [])]
        command = [fresnel, "bench", *method, "--no-db", "--samples", str(samples), "--json"]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    if not done.stdout:
        raise RuntimeError(done.stderr.strip() or f"fresnel bench ended with {done.returncode}")
    document = json.loads(done.stdout)
    if "error" in document:
        raise RuntimeError(document["error"]["message"])
    if not document["ok"]:
        raise RuntimeError("; ".join(f"{check['output']}: {check['problem']}" for check in document["checks"] if not check["ok"]))
    return document


def net_us(spread, empty_us):
    """A median without what two events take that have nothing between them."""
    return max(spread["median"] - empty_us, 1e-3)


def read_kernels(plan, empty_us, copy):
    """A row for each kernel of a plan."""
    result = []
    for kernel in plan["kernels"]:
        us = net_us(kernel["us"], empty_us)
        moved = kernel["bytes_read"] + kernel["bytes_written"]
        result.append({"kernel": kernel["kernel"], "op": kernel["op"], "ms": us / 1e3, "mb": moved / 1e6, "tb_s": moved / us / 1e6,
                       "of_copy": moved / us / 1e6 / copy, "tflop_s": kernel["flops"] / us / 1e6, "exact": kernel["exact"],
                       # Others do a little arithmetic on what they move.
                       "has_products": kernel["flops"] > 4 * moved})
    return result


def describe_selection(kernels, whole):
    """What scores and top-k are of the attention beside them; "" if there is none."""
    attention = [row["ms"] for row in kernels if row["op"] == "fresnel.attend"]
    selection = sum(row["ms"] for row in kernels if row["op"] in SELECTION)
    if not attention or not selection:
        return ""
    return (f"; scores and top-k {selection:.3f} ms, {100 * selection / sum(attention):.1f} % of the {len(attention)} attentions "
            f"({sum(attention):.3f} ms), {100 * selection / whole:.1f} % of the whole")


def report(name, document):
    """Tables of the plans, as lines."""
    copy, empty_us, lines = document["ceilings"]["copy_tb_s"], document["empty_us"], []
    for plan in document["plans"]:
        kernels = read_kernels(plan, empty_us, copy)
        # As `run` launches it: kernels start early where they can.
        whole = net_us(plan["us"].get("dependent") or plan["us"]["plain"], empty_us) / 1e3
        memory = f"workspace {plan['workspace_bytes'] / 2**20:.0f} MiB"
        if document["saved_bytes"]:
            memory += f", saved {document['saved_bytes'] / 2**20:.0f} MiB"
        lines += [f"\n{name}, {plan['plan']}: {whole:.3f} ms, {memory}, device copy {copy:.2f} TB/s{describe_selection(kernels, whole)}",
                  "\n| kernel | ms | MB | TB/s | of copy | TFLOP/s |\n|---|---|---|---|---|---|"]
        for row in kernels:
            most = "" if row["exact"] else "at most "
            flops = f"{most}{row['tflop_s']:.0f}" if row["has_products"] else ""
            lines.append(f"| {row['kernel']} | {row['ms']:.4f} | {row['mb']:.1f} | {row['tb_s']:.2f} | "
                         f"{100 * row['of_copy']:.0f} % | {flops} |")
    return lines


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--fresnel", default="build/bin/fresnel")
    parser.add_argument("--samples", type=int, default=9)
    parser.add_argument("--only", nargs="*", default=[], help="programs whose name holds one of these")
    parser.add_argument("--grad", action="store_true", help="the gradients of `nsa` as a whole, too")
    parser.add_argument("--json", default="", help="write what `fresnel bench` said of each program to this file")
    arguments = parser.parse_args()
    chosen = {name: made for name, made in PROGRAMS.items()
              if not arguments.only or any(part in name for part in arguments.only)}
    if not chosen:
        sys.exit(f"block_selection.py: no program has {' or '.join(arguments.only)} in its name; there are {'; '.join(PROGRAMS)}")
    documents, failed = {}, []
    for name, made in chosen.items():
        try:
            documents[name] = bench(arguments.fresnel, made, arguments.samples, arguments.grad)
        except RuntimeError as error:
            failed.append(f"block_selection.py: {name}: {error}")
            print(f"\n{name}: failed", flush=True)
            continue
        if len(documents) == 1:
            print(documents[name]["device"]["name"])
        print("\n".join(report(name, documents[name])), flush=True)
        if arguments.json:
            pathlib.Path(arguments.json).write_text(json.dumps(documents, indent=1) + "\n")
    if failed:
        sys.exit("\n".join(failed))


if __name__ == "__main__":
    main()
