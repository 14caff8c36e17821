"""Trains a small transformer with Lighthouse attention, drops it, and goes on with dense attention.

The recipe of the Lighthouse paper (arXiv 2605.06554): most steps with attention over a selected sub-sequence in all but the
outer layers, the last steps dense, with the same weights, optimiser state and data. Beside it the same model trains densely
from scratch, for every seed, for as many steps or, with --dense-steps, for as long. The text is made up (make_documents); what
a perfect model would lose on it is known. Needs a GPU and PyTorch, and `fresnel` for Python (docs/training.md); seeds are
spread over the GPUs there are. Writes seed_N.json for each seed, training.json and training.svg to --out. --combine makes the
last two, without a GPU, of reports of several runs.
"""

import argparse
import json
import math
import pathlib
import statistics
import sys
import time

try:
    import torch
    import torch.nn.functional as F
except ImportError:
    sys.exit("train_transformer.py: needs PyTorch, which is not installed")

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "python"))  # A checkout needs no installation.
import fresnel  # noqa: E402 - after the path is set

WORDS, SUCCESSORS = 768, 4  # Of the grammar.
NAMES, OWN_NAMES = 256, 32  # Of the language, of a document.
BEAT = 17  # Words from a name to the next; with names at random, the mean.
HEAD_DIM = 128
LOG_EVERY = 10  # Steps.
THREADS = 2  # On the CPU, of a seed: make_documents is many small operations, and more threads wait for each other.
DENSE = {"method": "dense"}


# ----------------------------------------------------------------------------------------------------------------------
# Language
# ----------------------------------------------------------------------------------------------------------------------

def make_documents(count, length, seed, random_names=False):
    """[count, length + 1] words, int16. After each word of the grammar comes one of its SUCCESSORS, but every BEAT-th word, from a
    place of the document's own on, is one of the document's OWN_NAMES, or by `random_names` one comes at any time. Within a
    document the same word follows a name wherever it stands: it is to be read up, however far back the name was last. Words
    are below WORDS, names above."""
    rng = torch.Generator().manual_seed(1)  # The grammar is one for all seeds.
    grammar = torch.randint(0, WORDS, (WORDS, SUCCESSORS), generator=rng)
    rng.manual_seed(seed)
    names = WORDS + torch.rand((count, NAMES), generator=rng).argsort(1)[:, :OWN_NAMES]
    facts = torch.randint(0, WORDS, (count, OWN_NAMES), generator=rng)
    choices = torch.randint(0, SUCCESSORS, (length + 1, count), generator=rng)
    which = torch.randint(0, OWN_NAMES, (length + 1, count), generator=rng)
    if random_names:
        is_name = torch.rand((length + 1, count), generator=rng) < 1 / (BEAT - 1)
    else:
        is_name = (torch.arange(length + 1)[:, None] + torch.randint(0, BEAT, (count,), generator=rng)) % BEAT == 0
    text = torch.empty((length + 1, count), dtype=torch.int16)
    rows, word = torch.arange(count), torch.randint(0, WORDS, (count,), generator=rng)
    named = torch.zeros(count, dtype=torch.bool)
    for at in range(length + 1):
        follower = torch.where(named, facts[rows, which[at - 1]], grammar[word, choices[at]])
        named = is_name[at] & ~named
        text[at] = torch.where(named, names[rows, which[at]], follower)
        word = torch.where(named, word, follower)
    return text.T.contiguous()


def entropy(random_names=False):
    """Nats per word that no model can save, but for each document's names and facts, which are new to it once."""
    beat = math.log(OWN_NAMES) + (BEAT - 2) * math.log(SUCCESSORS)  # What follows a name is known.
    if random_names:  # Whether one comes is not.
        beat -= math.log(1 / (BEAT - 1)) + (BEAT - 2) * math.log(1 - 1 / (BEAT - 1))
    return beat / BEAT


# ----------------------------------------------------------------------------------------------------------------------
# Model
# ----------------------------------------------------------------------------------------------------------------------

def rotate(x, angles):
    """Rotary position embedding of the first half of each head of [B, N, H, D]; the other half knows no distance."""
    left, right, rest = x.float().split((HEAD_DIM // 4, HEAD_DIM // 4, HEAD_DIM // 2), dim=3)
    sin, cos = angles.sin(), angles.cos()
    return torch.cat((left * cos - right * sin, left * sin + right * cos, rest), dim=3).to(x.dtype)


class Block(torch.nn.Module):
    def __init__(self, width):
        super().__init__()
        self.shift = torch.nn.Parameter(torch.ones(width))
        self.q, self.k, self.v = (torch.nn.Linear(width, width, bias=False) for _ in range(3))
        self.out = torch.nn.Linear(width, width, bias=False)
        self.gate = torch.nn.Linear(width, 2 * 3 * width, bias=False)
        self.down = torch.nn.Linear(3 * width, width, bias=False)
        self.norms = torch.nn.ModuleList(torch.nn.RMSNorm(width) for _ in range(2))

    def forward(self, x, angles, attention):
        y = self.norms[0](x)
        before = F.pad(y, (0, 0, 1, 0))[:, :-1]  # Keys begin as those of the word before: what followed a word is then found.
        q, k, v = (x.unflatten(2, (-1, HEAD_DIM)) for x in (self.q(y), self.k(torch.lerp(y, before, self.shift)), self.v(y)))
        heads = fresnel.attention(rotate(q, angles), rotate(k, angles), v, **attention)
        x = x + self.out(heads.flatten(2))
        up, gate = self.gate(self.norms[1](x)).chunk(2, dim=2)
        return x + self.down(F.silu(gate) * up)


class Transformer(torch.nn.Module):
    def __init__(self, layers, width, dense_layers=()):
        super().__init__()
        self.dense_layers = dense_layers  # Whatever `attention` is.
        self.embedding = torch.nn.Embedding(WORDS + NAMES, width)
        self.blocks = torch.nn.ModuleList(Block(width) for _ in range(layers))
        self.norm = torch.nn.RMSNorm(width)
        self.head = torch.nn.Linear(width, WORDS + NAMES, bias=False)
        torch.nn.init.normal_(self.head.weight, std=0.02)
        for block in self.blocks:
            for layer in (block.q, block.v, block.out, block.gate, block.down):
                torch.nn.init.normal_(layer.weight, std=layer.in_features ** -0.5)
            with torch.no_grad():  # Mimetic initialisation, arXiv 2305.09828: what is alike attends to each other.
                block.k.weight.copy_(block.q.weight)

    def forward(self, document, attention):
        """Mean loss per word, in nats."""
        tokens = document[None].long()
        position = torch.arange(tokens.shape[1] - 1, device=tokens.device)[:, None, None]
        frequencies = 10000.0 ** (-torch.arange(0, 1, 4 / HEAD_DIM, device=tokens.device))
        x = self.embedding(tokens[:, :-1])
        for index, block in enumerate(self.blocks):
            x = block(x, position * frequencies, DENSE if index in self.dense_layers else attention)
        return F.cross_entropy(self.head(self.norm(x)).flatten(0, 1).float(), tokens[0, 1:])


def loss_of(model, document, attention):
    with torch.autocast("cuda", dtype=torch.bfloat16):
        return model(document, attention)


# ----------------------------------------------------------------------------------------------------------------------
# Training
# ----------------------------------------------------------------------------------------------------------------------

def evaluate(model, documents):
    """Loss on held-out documents, always with dense attention."""
    with torch.no_grad():
        return sum(loss_of(model, document, DENSE).item() for document in documents) / len(documents)


def rate_at(step, steps, decay_from):
    """Part of the learning rate: warm for a twentieth of the steps, then constant, from `decay_from` of them on falling to 0.05."""
    warmup, decay = max(steps // 20, 1), max(int(steps * decay_from), steps // 20)
    return min((step + 1) / warmup, 1.0, 0.05 + 0.95 * (steps - step) / (steps - decay))


def train(options, seed, stages, documents, held_out):
    """Trains through `stages`, [(attention, steps)]. Gives [step, seconds, loss since the last] and the held-out loss."""
    torch.manual_seed(seed)
    model = Transformer(options.layers, options.width, options.dense_layers).cuda()
    if options.compile:
        for block in model.blocks:  # One graph serves all of them.
            block.compile(dynamic=False)
    optimizer = torch.optim.AdamW(model.parameters(), lr=options.lr, betas=(0.9, 0.95), weight_decay=0.1, fused=True)
    all_steps = sum(steps for _, steps in stages)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: rate_at(step, all_steps, options.decay_from))
    for attention, steps in stages:  # What is compiled and loaded on first use is no time of training.
        loss_of(model, documents[0], attention).backward()
        optimizer.zero_grad()
    torch.cuda.synchronize()
    points, step, losses, begin = [], 0, [], time.perf_counter()
    for attention, steps in stages:
        for _ in range(steps):
            loss = loss_of(model, documents[step], attention)
            loss.backward()
            torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
            schedule.step()
            optimizer.zero_grad()
            losses.append(loss.detach())
            step += 1
            if step % LOG_EVERY == 0:
                mean = torch.stack(losses).mean().item()  # Waits for the GPU.
                points.append([step, round(time.perf_counter() - begin, 3), round(mean, 5)])
                losses.clear()
                if step % (10 * LOG_EVERY) == 0:
                    print(f"seed {seed}: {attention['method']:10} step {step:5}  loss {mean:.4f}  {points[-1][1]:6.1f} s",
                          flush=True)
    return {"stages": [{**attention, "steps": steps} for attention, steps in stages], "points": points,
            "held_out_loss": evaluate(model, held_out)}


def train_both(options, seed):
    """The two-stage run and the dense one: the same initial weights, data and schedule. Writes both to seed_N.json."""
    documents = make_documents(max(options.steps, options.dense_steps), options.length, 1000 + seed,
                               options.random_names).cuda()
    held_out = make_documents(8, options.length, 2, options.random_names).cuda()
    lighthouse, first = {"method": "lighthouse", "topk": options.topk}, options.lighthouse_steps
    stages = {"two_stage": [(lighthouse, first), (DENSE, options.steps - first)], "dense": [(DENSE, options.dense_steps)]}
    both = {"seed": seed, **{name: train(options, seed, run, documents, held_out) for name, run in stages.items()}}
    (options.out / f"seed_{seed}.json").write_text(json.dumps(make_report(options, [both])) + "\n")
    return both


def claim_device(devices):
    torch.cuda.set_device(devices.get())
    torch.set_num_threads(THREADS)  # A spawned process has its own number.


def train_seeds(options):
    """train_both for every seed, one at a time on each GPU."""
    work = [(options, seed) for seed in range(options.first_seed, options.first_seed + options.seeds)]
    gpus = min(torch.cuda.device_count(), options.seeds)
    if gpus == 1:
        return [train_both(*item) for item in work]
    context = torch.multiprocessing.get_context("spawn")
    devices = context.SimpleQueue()
    for device in range(gpus):
        devices.put(device)
    with context.Pool(gpus, initializer=claim_device, initargs=(devices,)) as pool:
        return pool.starmap(train_both, work, chunksize=1)


# ----------------------------------------------------------------------------------------------------------------------
# Report
# ----------------------------------------------------------------------------------------------------------------------

RUNS = {"two_stage": ("#2471a3", "Lighthouse, from the dot on dense"), "dense": ("#c0392b", "dense from scratch")}
WIDTH, HEIGHT, MARGIN = 420, 280, 50


def compare(seeds):
    """The two-stage runs against the dense ones of the same seeds. The verdict is on the mean difference, by how far another
    seed moves a dense run: `noise`, the standard deviation of the dense runs. Beside it the same by the standard error of the
    differences (`paired`): a pair shares weights and data, so that error is much smaller than what seeds do."""
    losses = {name: [seed[name]["held_out_loss"] for seed in seeds] for name in RUNS}
    differences = [a - b for a, b in zip(losses["two_stage"], losses["dense"])]
    mean = statistics.mean(differences)
    if len(seeds) < 3:
        return {"difference": mean, "noise": None, "verdict": "of unknown noise: three seeds or more tell it",
                "standard_error": None, "paired": None}
    noise, error = statistics.stdev(losses["dense"]), statistics.stdev(differences) / math.sqrt(len(seeds))
    return {"difference": mean, "noise": noise, "verdict": judge(mean, noise),
            "standard_error": error, "paired": judge(mean, 2 * error)}


def judge(difference, noise):
    return "within noise" if abs(difference) <= noise else "below" if difference < 0 else "above"


def at_equal_time(seeds):
    """Mean training loss over the 100 steps before the two-stage runs end: theirs, and the dense runs' at the same time, whose
    learning rate has yet to fall."""
    ends = [seed["two_stage"]["points"][-1][1] for seed in seeds]
    losses = {name: statistics.mean(point[2] for seed, end in zip(seeds, ends)
                                    for point in [p for p in seed[name]["points"] if p[1] <= end][-100 // LOG_EVERY:])
              for name in RUNS}
    return {"seconds": statistics.mean(ends), **losses}


def make_report(options, seeds):
    settings = {name: value for name, value in vars(options).items() if name not in ("out", "combine")}
    return {"device": torch.cuda.get_device_name(), "torch": torch.__version__, "settings": settings, "entropy": entropy(options.random_names),
            "comparison": compare(seeds), "at_equal_time": at_equal_time(seeds), "seeds": seeds}


def combine(paths):
    """One report of several, which must be of one kind of GPU and of the same settings but for the seeds."""
    reports = [json.loads(path.read_text()) for path in paths]

    def kind(report):
        settings = {name: value for name, value in report["settings"].items() if name not in ("seeds", "first_seed")}
        return {"device": report["device"], "torch": report["torch"], **settings}
    expected = kind(reports[0])
    for path, report in zip(paths, reports):
        for name, value in expected.items():
            if kind(report).get(name) != value:
                sys.exit(f"train_transformer.py: {name} is {kind(report).get(name)} in {path}, but {value} in {paths[0]}; "
                         f"combine reports that differ in their seeds only")
    seeds = sorted((seed for report in reports for seed in report["seeds"]), key=lambda seed: seed["seed"])
    numbers = [seed["seed"] for seed in seeds]
    if len(set(numbers)) < len(numbers):
        sys.exit(f"train_transformer.py: the reports have the seeds {numbers}; combine each seed once")
    return {**reports[0], "settings": {**reports[0]["settings"], "first_seed": numbers[0], "seeds": len(numbers)},
            "comparison": compare(seeds), "at_equal_time": at_equal_time(seeds), "seeds": seeds}


def print_report(report):
    seeds, found, equal = report["seeds"], report["comparison"], report["at_equal_time"]
    for name, (_, title) in RUNS.items():
        runs = [seed[name] for seed in seeds]
        losses = [run["held_out_loss"] for run in runs]
        spread = f" (from {min(losses):.4f} to {max(losses):.4f})" if len(losses) > 1 else ""
        print(f"{title:34} {statistics.mean(run['points'][-1][1] for run in runs):6.1f} s, held out "
              f"{statistics.mean(losses):.4f} nats per word{spread}")
    numbers = "" if found["noise"] is None else f", another seed moves a dense run by {found['noise']:.4f}"
    print(f"two-stage minus dense: {found['difference']:+.4f}{numbers}: {found['verdict']}; no model can end below "
          f"{report['entropy']:.4f}")
    if found["paired"]:
        print(f"by pairs: {found['difference']:+.4f} +- {found['standard_error']:.4f} (standard error): {found['paired']}")
    print(f"training loss after {equal['seconds']:.1f} s: two-stage {equal['two_stage']:.4f}, dense {equal['dense']:.4f}")


def mean_curve(runs, axis):
    """Points (x, loss), means over the seeds. `axis` is 0 for steps, 1 for seconds."""
    return [(statistics.mean(p[axis] for p in points), statistics.mean(p[2] for p in points))
            for points in zip(*(run["points"] for run in runs))]


def draw_panel(left, seeds, axis, label, least):
    """One plot of loss over steps or seconds, as SVG elements; a dashed line at `least`, what no model can save."""
    curves = {name: mean_curve([seed[name] for seed in seeds], axis) for name in RUNS}
    right = max(curve[-1][0] for curve in curves.values())
    losses = [y for curve in curves.values() for _, y in curve[len(curve) // 20:]]  # The first ones would flatten the rest.
    low, high = min(*losses, 0.98 * least), max(losses)

    def place(x, y):
        return (left + MARGIN + x / right * (WIDTH - MARGIN - 20),
                20 + (high - min(y, high)) / (high - low) * (HEIGHT - MARGIN - 20))

    parts = []
    for tick in range(5):
        x, y = right * tick / 4, low + (high - low) * tick / 4
        (px, bottom), (start, py) = place(x, low), place(0, y)
        parts.append(f'<text x="{px:.0f}" y="{bottom + 16:.0f}" text-anchor="middle">{x:.0f}</text>')
        parts.append(f'<text x="{start - 6:.0f}" y="{py + 4:.0f}" text-anchor="end">{y:.2f}</text>')
        parts.append(f'<path d="M{start:.0f} {py:.1f}H{place(right, y)[0]:.0f}" stroke="#ddd"/>')
    start, floor = place(0, least)
    parts.append(f'<path d="M{start:.0f} {floor:.1f}H{place(right, low)[0]:.0f}" stroke="#555" stroke-dasharray="4 3"/>')
    parts.append(f'<text x="{left + WIDTH / 2 + 15:.0f}" y="{HEIGHT - 12}" text-anchor="middle">{label}</text>')
    for name, curve in curves.items():
        colour = RUNS[name][0]
        points = " ".join("{:.1f},{:.1f}".format(*place(*point)) for point in curve)
        parts.append(f'<polyline points="{points}" fill="none" stroke="{colour}" stroke-width="1.5"/>')
        stages = seeds[0][name]["stages"]
        if len(stages) > 1:
            cx, cy = place(*curve[stages[0]["steps"] // LOG_EVERY - 1])
            parts.append(f'<circle cx="{cx:.1f}" cy="{cy:.1f}" r="4" fill="{colour}"/>')
    return parts


def draw(seeds, title, least):
    parts = [f'<svg xmlns="http://www.w3.org/2000/svg" width="{2 * WIDTH}" height="{HEIGHT + 24}" font-family="sans-serif" '
             f'font-size="11"><rect width="100%" height="100%" fill="white"/>']
    parts += draw_panel(0, seeds, 0, "step", least) + draw_panel(WIDTH, seeds, 1, "seconds of training", least)
    for index, (colour, name) in enumerate(RUNS.values()):
        parts.append(f'<text x="{MARGIN + 200 * index}" y="{HEIGHT + 10}" fill="{colour}">{name}</text>')
    parts.append(f'<text x="{2 * WIDTH - 20}" y="{HEIGHT + 10}" text-anchor="end">loss per word (nats); dashes: the entropy; '
                 f'{title}</text></svg>')
    return "\n".join(parts) + "\n"


# ----------------------------------------------------------------------------------------------------------------------

def parse_options():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=pathlib.Path, default=pathlib.Path("."))
    parser.add_argument("--length", type=int, default=24576, help="words of a document; one document a step")
    parser.add_argument("--steps", type=int, default=3200, help="of the two-stage run")
    parser.add_argument("--dense-steps", type=int, help="steps of the dense run (default: as many; fewer for runs of equal time)")
    parser.add_argument("--lighthouse-steps", type=int, help="steps of stage 1 (default: 10 of 16, as in the paper)")
    parser.add_argument("--topk", type=int, default=1024)
    parser.add_argument("--layers", type=int, default=4)
    parser.add_argument("--dense-layers", type=int, nargs="*", metavar="LAYER",
                        help="layers that are dense in stage 1, too (default: the first and the last)")
    parser.add_argument("--random-names", action="store_true", help=f"names come at any time rather than every {BEAT}th word")
    parser.add_argument("--width", type=int, default=512)
    parser.add_argument("--lr", type=float, default=1e-3)
    parser.add_argument("--decay-from", type=float, default=0, metavar="PART",
                        help="of the steps: until there the learning rate is constant (default 0)")
    parser.add_argument("--seeds", type=int, default=1, help="runs with other weights and documents")
    parser.add_argument("--first-seed", type=int, default=0)
    parser.add_argument("--combine", type=pathlib.Path, nargs="+", metavar="REPORT",
                        help="trains nothing: makes training.json and training.svg of these reports of other seeds")
    parser.add_argument("--compile", action=argparse.BooleanOptionalAction, default=True, help="torch.compile the blocks")
    options = parser.parse_args()
    if options.width % HEAD_DIM:
        parser.error(f"--width is {options.width}, but a multiple of {HEAD_DIM} is needed")
    if options.steps < 10 * LOG_EVERY:
        parser.error(f"--steps is {options.steps}, but at least {10 * LOG_EVERY} are needed")
    if not 0 <= options.decay_from < 1:
        parser.error(f"--decay-from is {options.decay_from}, but at least 0 and less than 1 is needed")
    if options.seeds < 1:
        parser.error(f"--seeds is {options.seeds}, but at least 1 is needed")
    if options.dense_layers is None:
        options.dense_layers = [0, options.layers - 1]
    if not all(0 <= layer < options.layers for layer in options.dense_layers):
        parser.error(f"--dense-layers is {options.dense_layers}, but the layers are 0 to {options.layers - 1}")
    options.dense_steps = options.steps if options.dense_steps is None else options.dense_steps
    if options.dense_steps < 10 * LOG_EVERY:
        parser.error(f"--dense-steps is {options.dense_steps}, but at least {10 * LOG_EVERY} are needed")
    options.lighthouse_steps = options.lighthouse_steps or options.steps * 10 // 16
    if not LOG_EVERY <= options.lighthouse_steps < options.steps:
        parser.error(f"--lighthouse-steps is {options.lighthouse_steps}, but must lie between {LOG_EVERY} and {options.steps}")
    return options


def main():
    options = parse_options()
    if not options.combine and not torch.cuda.is_available():
        sys.exit("train_transformer.py: no CUDA device was found; the kernels need a GPU")
    torch.set_num_threads(THREADS)
    options.out.mkdir(parents=True, exist_ok=True)
    report = combine(options.combine) if options.combine else make_report(options, train_seeds(options))
    (options.out / "training.json").write_text(json.dumps(report) + "\n")
    title = f"{report['device']}, N = {report['settings']['length']}"
    (options.out / "training.svg").write_text(draw(report["seeds"], title, report["entropy"]))
    print_report(report)


if __name__ == "__main__":
    main()
