"""Random programs of the block-selection operations for sweep.py.

Each case is a few operations with fresh shapes and attributes. Selections that are made from computed scores may
differ from the oracle's where two scores are closer than f32 sums resolve; `find_wrong_rows` says whether that is all.
"""

import json
import pathlib

PRIMES = (1, 2, 67, 127, 509, 1021, 2039)


def length(rng, longest):
    return rng.choice([p for p in PRIMES if p <= longest]) if rng.random() < 0.4 else int(longest ** rng.uniform(0.3, 1))


def cut_documents(rng, length):
    """Lengths that sum to `length`: one document, a few, many, with empty ones and single tokens among them."""
    count = min(rng.choice((1, 2, 3, 5, 16, 16, max(1, length // 64), max(1, length // 7))), 512)
    cuts = sorted(rng.randint(0, length) for _ in range(count - 1))
    for _ in range(rng.choice((0, 0, 1, 4))):
        at = rng.choice([0, *cuts])
        cuts += [at, min(at + 1, length)]
    cuts = [0, *sorted(cuts), length]
    return [last - first for first, last in zip(cuts, cuts[1:])]


def rows_type(batch, heads, count, depth, element):
    return f"tensor<{batch}x{heads}x{count}x{depth}x{element}>"


def ceildiv(a, b):
    return -(-a // b)


class Shape:
    def __init__(self, rng, longest):
        self.batch = rng.choice((1, 1, 2))
        self.kv_heads = rng.choice((1, 2))
        self.heads = self.kv_heads * rng.choice((1, 2, 4))
        self.length = length(rng, longest)
        self.element = rng.choice(("bf16", "f16", "f32"))
        self.depth = rng.choice((8, 24, 32, 40, 64, 96, 128, 256)) * (1 if self.element != "f32" else rng.choice((1, 2)))

    def rows(self, count=None, heads=None, element=None, depth=None):
        return rows_type(self.batch, heads or self.heads, count or self.length, depth or self.depth, element or self.element)

    def scores(self, count=None):
        return f"tensor<{self.batch}x{self.heads}x{count or self.length}xf32>"


def pooled_length(n, window, stride, tail):
    if n <= window:
        return 1
    return (n - window) // stride + 1 if tail == "drop" else ceildiv(n - window, stride) + 1


def program(arguments, body, results):
    names = ", ".join(f'"{name}"' for name, _, _ in results)
    values = ", ".join(value for _, value, _ in results)
    types = ", ".join(kind for _, _, kind in results)
    head = ", ".join(f"%{name}: {kind}" for name, kind in arguments)
    lines = "\n".join("  " + line for line in body)
    return f"fresnel.program @p({head}) {{\n{lines}\n  fresnel.return {values} {{names = [{names}]}} : {types}\n}}\n"


def make_pool(rng, longest):
    shape = Shape(rng, longest)
    kind, tail = rng.choice(("mean", "mean", "max")), rng.choice(("keep", "drop"))
    window = rng.choice((2, 3, 16, 32, 64, 100, 512))  # a window of 1 folds
    stride = rng.choice((window, window, max(1, window // 2), rng.randint(1, window)))
    if tail == "drop" and shape.length < window:
        tail = "keep"
    count = pooled_length(shape.length, window, stride, tail)
    x, y = (shape.rows(), shape.rows(count)) if rng.random() < 0.8 else (shape.scores(), shape.scores(count))
    attributes = f"{{window = {window}, stride = {stride}, tail = #fresnel<tail {tail}>}}"
    text = program([("x", x)], [f"%y = fresnel.pool {kind} %x {attributes} : {x}"], [("y", "%y", y)])
    return text, kind == "mean"


def make_unpool(rng, longest):
    shape, window = Shape(rng, longest), rng.choice((1, 2, 7, 64, 128))
    count = ceildiv(shape.length, window)
    x, y = shape.rows(count), shape.rows()
    line = f"%y = fresnel.unpool %x {{window = {window}, seq_len = {shape.length}}} : {x}"
    return program([("x", x)], [line], [("y", "%y", y)]), True


def make_fold(rng, longest):
    """Rows or scores folded, or folded ones unfolded."""
    shape, factor = Shape(rng, longest), rng.choice((2, 3, 4, 8, 64))  # a factor of 1 folds away
    count, heads = ceildiv(shape.length, factor), factor * shape.heads
    plain, folded = shape.rows(), shape.rows(count, heads)
    if rng.random() < 0.3:
        plain, folded = shape.scores(), f"tensor<{shape.batch}x{heads}x{count}xf32>"
    if rng.random() < 0.5:
        return program([("x", plain)], [f"%y = fresnel.fold %x {{factor = {factor}}} : {plain}"], [("y", "%y", folded)]), True
    line = f"%y = fresnel.unfold %x {{factor = {factor}, seq_len = {shape.length}}} : {folded}"
    return program([("x", folded)], [line], [("y", "%y", plain)]), True


def make_gate(rng, longest):
    shape, count = Shape(rng, longest), rng.choice((1, 2, 3, 4))
    x, gates = shape.rows(), shape.rows(depth=count)
    names = [f"x{i}" for i in range(count)]
    activation = rng.choice(("none", "sigmoid"))
    line = (f"%y = fresnel.gate {', '.join('%' + n for n in names)} by %g {{activation = #fresnel<activation {activation}>}}"
            f" : {', '.join([x] * count)} by {gates}")
    return program([(n, x) for n in names] + [("g", gates)], [line], [("y", "%y", x)]), True


def make_merge(rng, longest):
    shape, count = Shape(rng, longest), rng.choice((2, 3))
    x, lse = shape.rows(), shape.scores()
    outs, lses = [f"o{i}" for i in range(count)], [f"l{i}" for i in range(count)]
    line = (f"%y, %l = fresnel.merge {', '.join('%' + n for n in outs)} lse {', '.join('%' + n for n in lses)}"
            f" : {', '.join([x] * count)} lse {', '.join([lse] * count)}")
    results = [("y", "%y", x), ("scores", "%l", lse)]
    return program([(n, x) for n in outs] + [(n, lse) for n in lses], [line], results), True


def make_regroup(rng, longest):
    shape = Shape(rng, min(longest, 512))
    stride = rng.choice((1, 2, 16))
    window, block = stride * rng.choice((1, 2, 3, 8)), stride * rng.choice((1, 4, 5, 40))
    tokens = max(window, length(rng, 4096))
    x = shape.rows((shape.length), element="f32", depth=(tokens - window) // stride + 1)
    y = shape.rows(shape.length, element="f32", depth=ceildiv(tokens, block))
    line = f"%y = fresnel.regroup %x {{window = {window}, stride = {stride}, block = {block}, seq_len = {tokens}}} : {x}"
    return program([("x", x)], [line], [("scores", "%y", y)]), False


def make_mask(rng, longest):
    """Lists from a mask, whose rows may be empty."""
    shape = Shape(rng, min(longest, 700))
    blocks = length(rng, 1500)
    mask, y = shape.rows(element="i8", depth=blocks), shape.rows(element="i32", depth=blocks)
    return program([("mask", mask)], [f"%y = fresnel.blocks_from_mask %mask : {mask}"], [("selected", "%y", y)]), False


def make_regrouped(rng, longest):
    """Scores of blocks from windows whose LSE attention gives, as in NSA; the hopper family has a kernel for all of it."""
    shape = Shape(rng, longest)
    shape.heads = shape.kv_heads * rng.choice((1, 2, 3, 4, 8, 16))
    shape.depth, shape.element = rng.choice((32, 64, 96, 128, 192)), rng.choice(("bf16", "f16"))
    stride, causal = rng.choice((1, 4, 16, 16)), rng.choice(("true", "true", "false"))
    window, block = stride * rng.choice((1, 2, 2, 3)), stride * rng.choice((1, 4, 4, 5, 40))
    shape.length = max(shape.length, window, 2)
    count = (shape.length - window) // stride + 1
    q, k, blocks = shape.rows(), shape.rows(count, shape.kv_heads), ceildiv(shape.length, block)
    windows = shape.rows(heads=shape.kv_heads, element="f32", depth=count)
    y = shape.rows(heads=shape.kv_heads, element="f32", depth=blocks)
    masks = f"causal = {causal}, key_window = {window}, key_stride = {stride}"
    inputs, body, documents = [("q", q), ("k", k)], [], ""
    if causal == "true" and rng.random() < 0.4:
        cu, bounds = f"tensor<1x1x{rng.choice((2, 4, 17, shape.length + 1))}xi32>", f"tensor<1x2x{shape.length}xi32>"
        inputs, documents = [*inputs, ("cu", cu)], f" documents(%b : {bounds})"
        body = [f"%b = fresnel.document_bounds %cu {{seq_len = {shape.length}}} : {cu}"]
    body += [f"%o, %l = fresnel.attend %q, %k, %k{documents} {{{masks}}} : {q}, {k}, {k}",
            f"%p = fresnel.block_score %q, %k{documents} {{{masks}, normalize = #fresnel<normalize softmax>, group_sum = true}} : {q}, {k}",
            f"%y = fresnel.regroup %p {{window = {window}, stride = {stride}, block = {block}, seq_len = {shape.length}}} : "
            f"{windows}"]
    results = [("out", "%o", q), ("lse", "%l", shape.scores()), ("scores", "%y", y)]
    if rng.random() < 0.2:
        results.append(("windows", "%p", windows))  # Then the two stay apart.
    return program(inputs, body, results), False


def make_moved(rng, longest):
    """Rows and scores in places in which documents begin with a block, means of their blocks, and the way back."""
    shape, block = Shape(rng, longest), rng.choice((1, 3, 16, 64, 100))
    shape.depth = rng.choice((shape.depth, 3))  # rows of no multiple of 16 bytes
    if shape.depth == 3:
        shape.element = "f32"
    if rng.random() < 0.5:
        entries = rng.choice((1, 2, 17, shape.length + 1))
        cu, attribute = f"tensor<1x1x{entries}xi32>", ""
        blocks = (shape.length + min(entries + 1, shape.length) * (block - 1)) // block
        inputs, operand, kind = [("cu", cu)], "%cu ", f" : {cu}"
    else:
        lengths = cut_documents(rng, shape.length)
        blocks, inputs, operand, kind = sum(ceildiv(n, block) for n in lengths), [], "", ""
        attribute = f", documents = array<i64: {', '.join(map(str, lengths))}>"
    places = blocks * block
    x, s, y = shape.rows(), shape.scores(), shape.scores(blocks)
    moved, bounds = shape.rows(places), f"tensor<1x2x{places}xi32>"
    there, back = f"tensor<1x1x{places}xi32>", f"tensor<1x1x{shape.length}xi32>"
    body = [f"%b, %c, %n, %f, %t = fresnel.align_documents {operand}{{seq_len = {shape.length}, block = {block}{attribute}}}{kind}",
            f"%m = fresnel.move %x from %f to %t : {x}, {there}, {back}",
            f"%u = fresnel.move %s from %f to %t : {s}, {there}, {back}",
            f"%p = fresnel.pool mean %u documents(%n : {bounds}) {{window = {block}}} : {shape.scores(places)}"]
    result = "%m"
    if shape.depth != 3:
        pooled, result = shape.rows(blocks), "%w"
        body += [f"%v = fresnel.pool mean %m documents(%n : {bounds}) {{window = {block}}} : {moved}",
                 f"%w = fresnel.unpool %v {{window = {block}, seq_len = {places}}} : {pooled}"]
    body.append(f"%y = fresnel.move {result} from %t to %f : {moved}, {back}, {there}")
    results = [("out", "%y", x), ("scores", "%p", y), ("selected", "%f", there)]
    return program([("x", x), ("s", s), *inputs], body, results), shape.depth != 3 and shape.element != "f32"


def selection(rng, blocks, causal):
    topk = rng.choice((1, 2, 3, 8, 12, 16, 20, 21, 32, 33, 100))
    local = rng.choice((0, 0, 1, 2)) if topk > 2 else 0
    sinks = rng.choice((0, 0, 1)) if topk > 3 else 0
    return topk, (f"topk = {topk}, local = {local}, sinks = {sinks}, causal = {causal}"), min(topk, blocks)


def make_select(rng, longest):
    """Given scores: the oracle sees the same numbers, so that the selection is the same."""
    shape = Shape(rng, min(longest, 700))
    blocks, causal, key_block = length(rng, 1500), rng.choice(("true", "false")), rng.choice((1, 3, 64))
    _, attributes, taken = selection(rng, blocks, causal)
    x, y = shape.rows(element="f32", depth=blocks), shape.rows(element="i32", depth=taken)
    line = (f"%y = fresnel.select_blocks %x {{{attributes}, query_block = {rng.choice((1, 5, 64))}, key_block = {key_block}}}"
            f" : {x}")
    return program([("x", x)], [line], [("selected", "%y", y)]), False


def make_scored(rng, longest, rows=0):
    """Scores and what is selected by them; with `rows` large enough the compiler fuses the two."""
    shape = Shape(rng, longest)
    if rows:
        # Few heads: the oracle computes every score.
        shape.batch, shape.kv_heads = 1, rng.choice((1, 2))
        shape.heads = 2
        shape.length, shape.element = rows // 2, rng.choice(("bf16", "f16"))
        shape.depth = rng.choice((32, 64, 128, 256))
    block, causal = rng.choice((1, 16, 64, 200)), rng.choice(("true", "false"))
    if rows:
        block = rng.choice((200, 512, 700))
    stride = rng.choice((1, 1, 3, block))
    tokens = shape.length * (1 if rows else stride)
    stride = 1 if rows else stride
    blocks = ceildiv(tokens, block)
    softmax, grouped = (False, False) if rows else (rng.random() < 0.5, rng.random() < 0.5)
    repeats = rng.choice((1, 1, 2, 3))  # equal keys, hence equal scores
    kept, q = ceildiv(blocks, repeats), shape.rows()
    k0, k = shape.rows(kept, shape.kv_heads), shape.rows(blocks, shape.kv_heads)
    heads = shape.kv_heads if softmax and grouped else shape.heads
    topk, attributes, taken = selection(rng, blocks, causal)
    if rows and taken > 16:
        topk, taken = 7, min(7, blocks)
        attributes = f"topk = 7, local = 1, sinks = 1, causal = {causal}"
    s = shape.rows(heads=heads, element="f32", depth=blocks)
    y = shape.rows(heads=heads, element="i32", depth=taken)
    score = f"causal = {causal}, key_window = {block}, key_stride = {block}, query_stride = {stride}"
    if softmax:
        score += f", normalize = #fresnel<normalize softmax>, group_sum = {'true' if grouped else 'false'}"
    body = [f"%k = fresnel.unpool %k0 {{window = {repeats}, seq_len = {blocks}}} : {k0}",
            f"%s = fresnel.block_score %q, %k {{{score}}} : {q}, {k}",
            f"%y = fresnel.select_blocks %s {{{attributes}, query_block = {stride}, key_block = {block}}} : {s}"]
    both = program([("q", q), ("k0", k0)], body, [("scores", "%s", s), ("selected", "%y", y)])
    fused = program([("q", q), ("k0", k0)], body, [("selected", "%y", y)])
    return both, fused if rows else both


MAKERS = {"pool": make_pool, "unpool": make_unpool, "fold": make_fold, "gate": make_gate, "merge": make_merge,
          "regroup": make_regroup, "select": make_select, "mask": make_mask, "regrouped": make_regrouped, "moved": make_moved}


def make_block_case(rng, longest, only=()):
    """A name, the program to run, whether it has gradients, and for computed scores the program that returns them."""
    name = rng.choice(only or ("pool", "pool", "unpool", "fold", "fold", "gate", "merge", "regroup", "select", "select", "mask",
                       "regrouped", "regrouped", "moved", "moved", "scored", "scored", "fused"))
    if name == "scored":
        both, _ = make_scored(rng, min(longest, 1024))
        return name, both, False, both
    if name == "fused":
        both, fused = make_scored(rng, longest, rows=rng.choice((65536, 65538, 70002)))
        return name, fused, False, both
    text, differentiable = MAKERS[name](rng, min(longest, 2039))
    return name, text, differentiable and rng.random() < 0.6, None


#===----------------------------------------------------------------------===#
# Selections by computed scores
#===----------------------------------------------------------------------===#


def read_safetensors(path):
    """Tensors by name; bf16 and f16 come as f32."""
    import numpy
    data = pathlib.Path(path).read_bytes()
    size = int.from_bytes(data[:8], "little")
    kinds = {"F32": numpy.float32, "I32": numpy.int32, "F16": numpy.float16, "BF16": numpy.uint16}
    tensors = {}
    for name, entry in json.loads(data[8:8 + size]).items():
        if name == "__metadata__":
            continue
        values = numpy.frombuffer(data[8 + size:][slice(*entry["data_offsets"])], kinds[entry["dtype"]])
        if entry["dtype"] == "BF16":
            values = (values.astype(numpy.uint32) << 16).view(numpy.float32)
        tensors[name] = values.astype(numpy.float32 if values.dtype == numpy.float16 else values.dtype).reshape(entry["shape"])
    return tensors


def write_safetensors(path, tensors):
    """Writes f32 tensors."""
    header, data = {}, b""
    for name, values in tensors.items():
        header[name] = {"dtype": "F32", "shape": list(values.shape), "data_offsets": [len(data), len(data) + values.nbytes]}
        data += values.tobytes()
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    pathlib.Path(path).write_bytes(len(text).to_bytes(8, "little") + text + data)


def find_wrong_rows(got, want, scores):
    """Rows [.., K] of `got` that differ from `want` by more than scores that f32 cannot tell apart."""
    import numpy
    wrong = 0
    for place in zip(*numpy.nonzero((got != want).any(-1))):
        mine, theirs, row = got[place], want[place], scores[place]
        mine, theirs = mine[mine >= 0], theirs[theirs >= 0]
        same = len(mine) == len(theirs) and (numpy.diff(mine) > 0).all() and (mine < len(row)).all()
        a, b = numpy.sort(row[numpy.setdiff1d(mine, theirs)]), numpy.sort(row[numpy.setdiff1d(theirs, mine)])
        scale = numpy.abs(row[numpy.isfinite(row)]).max(initial=1e-30)
        wrong += not (same and len(a) == len(b) and (numpy.abs(a - b) <= 3e-6 * scale).all())
    return wrong
