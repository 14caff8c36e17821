"""Trains a small byte-level transformer with Lighthouse attention, drops it, and goes on with dense attention.

The recipe of the Lighthouse paper (arXiv 2605.06554): most steps with attention over a selected sub-sequence, the last ones
dense, with the same weights, optimiser state and data. Beside it the same model trains densely from scratch. The text is
made up: a language whose words follow each other by a fixed grammar, with names that each document has for itself. Needs a
GPU and PyTorch, and `fresnel` for Python (docs/training.md). Writes training.json and training.svg to --out.
"""

import argparse
import json
import pathlib
import sys
import time

import torch
import torch.nn.functional as F

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "python"))  # A checkout needs no installation.
import fresnel  # noqa: E402 - after the path is set

WORDS, SUCCESSORS, NAMES, LETTERS = 512, 4, 16, 5
HEAD_DIM = 128


def make_documents(count, length, seed):
    """[count, length + 1] bytes. Each word has SUCCESSORS likely ones to follow; every fourth word is one of the
    document's own NAMES. Words have LETTERS letters and a space."""
    rng = torch.Generator().manual_seed(1)  # The language is one for all seeds.
    lexicon = torch.randint(97, 123, (WORDS, LETTERS), generator=rng)
    grammar = torch.randint(0, WORDS, (WORDS, SUCCESSORS), generator=rng)
    rng.manual_seed(seed)
    words = length // (LETTERS + 1) + 2
    names = torch.randint(97, 123, (count, NAMES, LETTERS), generator=rng)
    text = torch.full((count, words, LETTERS + 1), 32)
    word = torch.randint(0, WORDS, (count,), generator=rng)
    choices = torch.randint(0, SUCCESSORS, (words, count), generator=rng)
    which = torch.randint(0, NAMES, (words, count), generator=rng)
    for at in range(words):
        if at % 4 == 3:
            text[:, at, :LETTERS] = names[torch.arange(count), which[at]]
        else:
            word = grammar[word, choices[at]]
            text[:, at, :LETTERS] = lexicon[word]
    return text.flatten(1)[:, :length + 1].to(torch.uint8)


def rotate(x, angles):
    """Rotary position embedding of [B, N, H, D]."""
    left, right = x.float().chunk(2, dim=3)
    sin, cos = angles.sin(), angles.cos()
    return torch.cat((left * cos - right * sin, left * sin + right * cos), dim=3).to(x.dtype)


class Block(torch.nn.Module):
    def __init__(self, width):
        super().__init__()
        self.qkv = torch.nn.Linear(width, 3 * width, bias=False)
        self.out = torch.nn.Linear(width, width, bias=False)
        self.gate = torch.nn.Linear(width, 2 * 3 * width, bias=False)
        self.down = torch.nn.Linear(3 * width, width, bias=False)
        self.norms = torch.nn.ModuleList(torch.nn.RMSNorm(width) for _ in range(2))

    def forward(self, x, angles, attention):
        q, k, v = self.qkv(self.norms[0](x)).unflatten(2, (-1, HEAD_DIM)).chunk(3, dim=2)
        heads = fresnel.attention(rotate(q, angles), rotate(k, angles), v, **attention)  # v is a view: no copy is made.
        x = x + self.out(heads.flatten(2))
        up, gate = self.gate(self.norms[1](x)).chunk(2, dim=2)
        return x + self.down(F.silu(gate) * up)


class Transformer(torch.nn.Module):
    def __init__(self, layers, width):
        super().__init__()
        self.embedding = torch.nn.Embedding(256, width)
        self.blocks = torch.nn.ModuleList(Block(width) for _ in range(layers))
        self.norm = torch.nn.RMSNorm(width)
        self.head = torch.nn.Linear(width, 256, bias=False)
        for parameter in self.parameters():
            if parameter.dim() == 2:
                torch.nn.init.normal_(parameter, std=0.02)

    def forward(self, document, attention):
        """Mean loss per byte, in nats."""
        tokens = document[None].long()
        position = torch.arange(tokens.shape[1] - 1, device=tokens.device)[:, None, None]
        frequencies = 10000.0 ** (-torch.arange(0, 1, 2 / HEAD_DIM, device=tokens.device))
        x = self.embedding(tokens[:, :-1])
        for block in self.blocks:
            x = block(x, position * frequencies, attention)
        return F.cross_entropy(self.head(self.norm(x)).flatten(0, 1).float(), tokens[0, 1:])


def loss_of(model, document, attention):
    with torch.autocast("cuda", dtype=torch.bfloat16):
        return model(document, attention)


def evaluate(model, documents):
    """Loss on held-out documents, always with dense attention."""
    with torch.no_grad():
        return sum(loss_of(model, document, {"method": "dense"}).item() for document in documents) / len(documents)


def train(options, stages, documents, held_out):
    """Trains through `stages`, [(attention, steps)]. Gives losses per step, seconds at each, and the held-out loss."""
    torch.manual_seed(options.seed)
    model = Transformer(options.layers, options.width).cuda()
    optimizer = torch.optim.AdamW(model.parameters(), lr=options.lr, betas=(0.9, 0.95), weight_decay=0.1, fused=True)
    warmup = options.steps // 10
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: min(
        (step + 1) / warmup, 0.1 + 0.9 * (options.steps - step) / (options.steps - warmup)))
    losses, seconds, step = [], [], 0
    for attention, steps in stages:  # What is compiled and loaded on first use is no time of training.
        loss_of(model, documents[0], attention).backward()
        optimizer.zero_grad()
    torch.cuda.synchronize()
    begin = time.perf_counter()
    for attention, steps in stages:
        for _ in range(steps):
            loss = loss_of(model, documents[step], attention)
            loss.backward()
            torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
            schedule.step()
            optimizer.zero_grad()
            losses.append(loss.item())  # Waits for the GPU.
            seconds.append(time.perf_counter() - begin)
            step += 1
            if step % 20 == 0 or step == options.steps:
                print(f"{attention['method']:10} step {step:4}  loss {losses[-1]:.4f}  {seconds[-1]:6.1f} s", flush=True)
    return {"stages": [{**attention, "steps": steps} for attention, steps in stages], "losses": losses,
            "seconds": seconds, "held_out_loss": evaluate(model, held_out)}


# ----------------------------------------------------------------------------------------------------------------------
# Picture
# ----------------------------------------------------------------------------------------------------------------------

COLOURS = {"dense": "#c0392b", "lighthouse": "#2471a3"}
WIDTH, HEIGHT, MARGIN = 420, 280, 50


def smooth(values, weight=0.8):
    result, mean = [], values[0]
    for value in values:
        mean = weight * mean + (1 - weight) * value
        result.append(mean)
    return result


def draw_panel(left, runs, axis, label):
    """One plot of loss over steps or seconds, as SVG elements."""
    curves = {name: (run["seconds"] if axis == "seconds" else range(1, len(run["losses"]) + 1), smooth(run["losses"]))
              for name, run in runs.items()}
    right = max(x[-1] for x, _ in curves.values())
    low = min(min(y) for _, y in curves.values())
    high = max(max(y) for _, y in curves.values())

    def place(x, y):
        return (left + MARGIN + x / right * (WIDTH - MARGIN - 20),
                20 + (high - y) / (high - low) * (HEIGHT - MARGIN - 20))

    parts = []
    for tick in range(5):
        x, y = right * tick / 4, low + (high - low) * tick / 4
        (px, bottom), (start, py) = place(x, low), place(0, y)
        parts.append(f'<text x="{px:.0f}" y="{bottom + 16:.0f}" text-anchor="middle">{x:.0f}</text>')
        parts.append(f'<text x="{start - 6:.0f}" y="{py + 4:.0f}" text-anchor="end">{y:.2f}</text>')
        parts.append(f'<path d="M{start:.0f} {py:.1f}H{place(right, y)[0]:.0f}" stroke="#ddd"/>')
    parts.append(f'<text x="{left + WIDTH / 2 + 15:.0f}" y="{HEIGHT - 12}" text-anchor="middle">{label}</text>')
    for name, (x, y) in curves.items():
        points = " ".join("{:.1f},{:.1f}".format(*place(*point)) for point in zip(x, y))
        parts.append(f'<polyline points="{points}" fill="none" stroke="{COLOURS[name]}" stroke-width="1.5"/>')
        first = runs[name]["stages"][0]["steps"]
        if first < len(y):
            cx, cy = place(x[first - 1], y[first - 1])
            parts.append(f'<circle cx="{cx:.1f}" cy="{cy:.1f}" r="4" fill="{COLOURS[name]}"/>')
    return parts


def draw(runs, title):
    parts = [f'<svg xmlns="http://www.w3.org/2000/svg" width="{2 * WIDTH}" height="{HEIGHT + 24}" font-family="sans-serif" '
             f'font-size="11"><rect width="100%" height="100%" fill="white"/>']
    parts += draw_panel(0, runs, "steps", "step") + draw_panel(WIDTH, runs, "seconds", "seconds of training")
    names = {"dense": "dense from scratch", "lighthouse": "Lighthouse, from the dot on dense"}
    for index, name in enumerate(runs):
        x = MARGIN + 200 * index
        parts.append(f'<text x="{x}" y="{HEIGHT + 10}" fill="{COLOURS[name]}">{names[name]}</text>')
    parts.append(f'<text x="{2 * WIDTH - 20}" y="{HEIGHT + 10}" text-anchor="end">loss per byte (nats), {title}</text></svg>')
    return "\n".join(parts) + "\n"


# ----------------------------------------------------------------------------------------------------------------------

def parse_options():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=pathlib.Path, default=pathlib.Path("."))
    parser.add_argument("--length", type=int, default=32768, help="bytes of a document; one document a step")
    parser.add_argument("--steps", type=int, default=320)
    parser.add_argument("--lighthouse-steps", type=int, help="steps of stage 1 (default: 10 of 16, as in the paper)")
    parser.add_argument("--topk", type=int, default=1024)
    parser.add_argument("--layers", type=int, default=4)
    parser.add_argument("--width", type=int, default=512)
    parser.add_argument("--lr", type=float, default=1e-3)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    if options.width % HEAD_DIM:
        parser.error(f"--width is {options.width}, but a multiple of {HEAD_DIM} is needed")
    if options.steps < 10:
        parser.error(f"--steps is {options.steps}, but at least 10 are needed")
    options.lighthouse_steps = options.lighthouse_steps or options.steps * 10 // 16
    if not 0 < options.lighthouse_steps < options.steps:
        parser.error(f"--lighthouse-steps is {options.lighthouse_steps}, but must lie between 0 and {options.steps}")
    return options


def main():
    options = parse_options()
    if not torch.cuda.is_available():
        sys.exit("train_transformer.py: no CUDA device was found; the kernels need a GPU")
    begin = time.perf_counter()
    documents = make_documents(options.steps, options.length, options.seed + 2).cuda()
    held_out = make_documents(4, options.length, options.seed + 1000).cuda()
    dense, lighthouse = {"method": "dense"}, {"method": "lighthouse", "topk": options.topk}
    first = options.lighthouse_steps
    runs = {"lighthouse": train(options, [(lighthouse, first), (dense, options.steps - first)], documents, held_out),
            "dense": train(options, [(dense, options.steps)], documents, held_out)}
    device = torch.cuda.get_device_name()
    settings = {name: value for name, value in vars(options).items() if name != "out"}
    report = {"device": device, "torch": torch.__version__, "settings": settings, "runs": runs,
              "wall_seconds": time.perf_counter() - begin}
    options.out.mkdir(parents=True, exist_ok=True)
    (options.out / "training.json").write_text(json.dumps(report, indent=1))
    (options.out / "training.svg").write_text(draw(runs, f"{device}, N = {options.length}"))
    for name, run in runs.items():
        stage = run["stages"][0]["steps"]
        print(f"{name:10} {run['seconds'][-1]:6.1f} s ({run['seconds'][stage - 1]:.1f} s in the first stage), last 20 steps "
              f"{sum(run['losses'][-20:]) / 20:.4f}, held out {run['held_out_loss']:.4f} nats per byte")


if __name__ == "__main__":
    main()
