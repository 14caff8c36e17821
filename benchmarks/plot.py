"""Draws the table that attention.py prints: TFLOP/s against the sequence length, a panel per mask and head dim.

Reads the Markdown table from a file or from standard input and writes an SVG picture. Lines are kernels; rows with the same
length but another batch or other heads are points of one line only if there is one of them. Needs nothing beyond Python.
Usage: attention.py ... | tee table.md && plot.py table.md -o docs/attention.svg [--timing flushed]
"""

import argparse
import collections
import math
import sys

WIDTH, HEIGHT, MARGIN, GAP, LEGEND = 300, 210, 46, 16, 26
COLOURS = ("#1b6ca8", "#d1495b", "#66a182", "#edae49", "#6f4e7c", "#444444")
COLUMNS = ("mask", "B", "H", "N", "D", "kernel")


def read_rows(lines):
    """The rows of every table whose head has the columns of attention.py, as dictionaries."""
    head, rows = None, []
    for line in lines:
        cells = [cell.strip() for cell in line.strip().strip("|").split("|")]
        if tuple(cells[:6]) == COLUMNS:
            head = cells
        elif head and len(cells) >= 10 and not cells[0].startswith("-"):
            # Two columns have one name; the ratios are not drawn.
            rows.append(dict(zip(head, cells)))
    return rows


def rate_of(row, timing):
    """TFLOP/s, from the sustained column or scaled to the flushed time; None where none is given."""
    if row["TFLOP/s"] == "-":
        return None
    rate = float(row["TFLOP/s"])
    return rate if timing == "sustained" else rate * float(row["sustained ms"]) / float(row["flushed ms"])


def group(rows, timing):
    """Panels {(mask, head dims): {kernel: {N: TFLOP/s}}}, of equal query and key heads; the best of several rows."""
    panels = collections.defaultdict(lambda: collections.defaultdict(dict))
    for row in rows:
        heads, kv_heads = row["H"].split("/")
        rate = rate_of(row, timing)
        if heads != kv_heads or rate is None:
            continue
        # Of keys, and of values where they are of another width.
        dims = tuple(map(int, row["D"].split("/")))
        line = panels[row["mask"], dims][row["kernel"]]
        line[int(row["N"])] = max(rate, line.get(int(row["N"]), 0.0))
    return dict(sorted(panels.items()))


def length_text(length):
    return f"{length >> 10}k" if length % 1024 == 0 else str(length)


def draw_panel(title, lines, colours, left, top, highest):
    """One set of axes: lengths on a logarithmic scale, rates from 0 on."""
    lengths = sorted({length for line in lines.values() for length in line})
    low, high = math.log2(lengths[0]), math.log2(lengths[-1])
    inner_width, inner_height = WIDTH - MARGIN - GAP, HEIGHT - MARGIN - GAP

    def x(length):
        share = (math.log2(length) - low) / (high - low) if high > low else 0.5
        return left + MARGIN + share * inner_width

    def y(rate):
        return top + GAP + (1 - rate / highest) * inner_height

    parts = [f'<text x="{left + MARGIN}" y="{top + 11}" font-weight="bold">{title}</text>']
    for rate in range(0, int(highest) + 1, 200):
        parts.append(f'<line x1="{left + MARGIN}" x2="{left + WIDTH - GAP}" y1="{y(rate):.1f}" y2="{y(rate):.1f}" '
                     f'stroke="#dddddd"/><text x="{left + MARGIN - 4}" y="{y(rate) + 4:.1f}" text-anchor="end">{rate}</text>')
    for length in lengths:
        parts.append(f'<text x="{x(length):.1f}" y="{top + HEIGHT - MARGIN + 14}" text-anchor="middle">'
                     f'{length_text(length)}</text>')
    for kernel, line in lines.items():
        points = [(x(length), y(rate)) for length, rate in sorted(line.items())]
        path = " ".join(f"{px:.1f},{py:.1f}" for px, py in points)
        parts.append(f'<polyline points="{path}" fill="none" stroke="{colours[kernel]}" stroke-width="2"/>')
        parts += [f'<circle cx="{px:.1f}" cy="{py:.1f}" r="3" fill="{colours[kernel]}"/>' for px, py in points]
    return parts


def draw(panels, columns=3):
    """The picture as text; at least one panel."""
    kernels = list(dict.fromkeys(kernel for lines in panels.values() for kernel in lines))
    colours = {kernel: COLOURS[index % len(COLOURS)] for index, kernel in enumerate(kernels)}
    highest = 200 * math.ceil(max(rate for lines in panels.values() for line in lines.values()
                                  for rate in line.values()) / 200)
    columns = min(columns, len(panels))
    width, height = columns * WIDTH, math.ceil(len(panels) / columns) * HEIGHT + LEGEND
    parts = [f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" viewBox="0 0 {width} {height}" '
             'font-family="sans-serif" font-size="11"><rect width="100%" height="100%" fill="white"/>']
    for index, ((mask, dims), lines) in enumerate(panels.items()):
        dim = "/".join(map(str, dims))
        parts += draw_panel(f"{mask}, head dim {dim}: TFLOP/s", lines, colours, index % columns * WIDTH,
                            index // columns * HEIGHT, highest)
    for index, kernel in enumerate(kernels):
        at = MARGIN + index * 150
        parts.append(f'<rect x="{at}" y="{height - 18}" width="12" height="12" fill="{colours[kernel]}"/>'
                     f'<text x="{at + 16}" y="{height - 8}">{kernel}</text>')
    return "\n".join([*parts, "</svg>", ""])


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("table", nargs="?", default="-", help="what attention.py printed; - for standard input")
    parser.add_argument("-o", "--output", required=True, help="the picture")
    parser.add_argument("--timing", choices=("sustained", "flushed"), default="sustained")
    arguments = parser.parse_args()
    with sys.stdin if arguments.table == "-" else open(arguments.table, encoding="utf-8") as table:
        panels = group(read_rows(table), arguments.timing)
    if not panels:
        sys.exit(f"plot.py: {arguments.table} holds no table of attention.py with TFLOP/s")
    with open(arguments.output, "w", encoding="utf-8") as output:
        output.write(draw(panels))


if __name__ == "__main__":
    main()
