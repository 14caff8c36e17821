"""How far off dQ is if it is summed in integers (fresnel.attend_grad, fresnel.settle_tiles), in NumPy in f64.

128 query rows of full attention, each 64 keys rounded as the kernel does; beside operands at random such with outliers,
channels, sinks, equal weights and repeated blocks. Prints the relative L2 of the integers alone, of what is left once
tiles that are too coarse are computed again, how many these are, and how many bits the sums had of 31.
Usage: integer_sums.py [--seed S] [--keys N ...] [--head-dim D].
"""

import argparse

import numpy as np

ROWS = 128
BOUND, LEAST = float.fromhex("0x1.e6p30"), 2.0**-90


def attend_gradient(q, k, v, dout):
    """The gradient of the scores, dQ, and delta."""
    scores = q @ k.T / np.sqrt(k.shape[1])
    weights = np.exp(scores - scores.max(1, keepdims=True))
    weights /= weights.sum(1, keepdims=True)
    dweights = dout @ v.T
    delta = (weights * dweights).sum(1, keepdims=True)
    dscores = weights * (dweights - delta)
    return dscores, dscores @ k, delta[:, 0]


def sum_integers(dscores, k, factors, dithered):
    sums, largest = np.zeros((ROWS, k.shape[1])), 1.0
    for block in range(0, k.shape[0], 64):
        turned = np.uint32(block // 64 * 0x9E3779B9 & 0xFFFFFFFF)
        dither = float(turned.astype(np.int32)) * 2.0**-32 if dithered else 0.0
        sums += np.rint((dscores[:, block:block + 64] @ k[block:block + 64]) * factors[:, None] + dither)
        largest = max(largest, np.abs(sums).max())
    return sums, largest


def is_coarse(sums, factors, keys):
    units = factors.min() / factors
    error = sums.shape[1] * np.ceil(keys / 64) / 4 * (factors < 0.99 * BOUND / LEAST)
    return not (units**2 * (error - 2.0**-20 * (sums**2).sum(1))).sum() <= 0


def measure(text, q, k, v, dout, dithered=True):
    dscores, exact, delta = attend_gradient(q, k, v, dout)
    bound = np.abs(k).max() * (np.linalg.norm(dout, axis=1) * np.linalg.norm(v, axis=1).max() + np.abs(delta))
    factors = BOUND / np.maximum(bound, LEAST)
    sums, largest = sum_integers(dscores, k, factors, dithered)
    got = sums / factors[:, None]
    tiles = [slice(first, first + 64) for first in range(0, ROWS, 64)]
    again = [tile for tile in tiles if is_coarse(sums[tile], factors[tile], k.shape[0])]
    settled = got.copy()
    for tile in again:
        settled[tile] = exact[tile]
    alone, left = (np.linalg.norm(x - exact) / np.linalg.norm(exact) for x in (got, settled))
    print(f"| {k.shape[0]} | {k.shape[1]} | {text} | {alone:.1e} | {left:.1e} | {len(again)}/{len(tiles)} | "
          f"{np.log2(largest):.1f} |", flush=True)


def change(tensor, *changes):
    """A copy in which some parts are multiplied."""
    tensor = tensor.copy()
    for index, factor in changes:
        tensor[index] *= factor
    return tensor


def measure_all(rng, keys, dim):
    q, k, v, dout = (rng.standard_normal((rows, dim)) for rows in (ROWS, keys, keys, ROWS))
    third, fifth = keys // 3, keys // 5
    measure("random", q, k, v, dout)
    measure("nearly equal weights", 0.01 * q, k, v, dout)
    measure("scores 8 times as large", 8 * q, k, v, dout)
    for key, value in ((10, 3), (30, 5), (100, 30)):
        measure(f"a key {key}x, a value {value}x", q, change(k, (third, key)), change(v, (fifth, value)), dout)
    measure("a key 100x, a value 30x, nearly equal weights", 0.01 * q, change(k, (third, 100)), change(v, (fifth, 30)), dout)
    measure("a channel of K 50x", q, change(k, (np.s_[:, 7], 50)), v, dout)
    sink = k.copy()
    sink[0] = 40 * q.mean(0)
    measure("a sink: the first key attracts, its value is small", q, sink, change(v, (0, 0.01)), dout)
    measure("every third row of dout 0", q, k, v, change(dout, (np.s_[::3], 0)))
    measure("values near to each other", q, k, v + 30, dout)
    repeated, values = np.tile(k[:64], (keys // 64, 1)), np.tile(v[:64], (keys // 64, 1))
    outlier = change(repeated, (third, 50))
    measure("all blocks the same, but a key 50x", 0.001 * q, outlier, values, dout)
    measure("the same, all rounded alike", 0.001 * q, outlier, values, dout, dithered=False)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--keys", type=int, nargs="*", default=[4096, 16384, 65536])
    parser.add_argument("--head-dim", type=int, default=256)
    arguments = parser.parse_args()
    print("| keys | head dim | operands | integers | settled | tiles again | log2 of the largest sum |")
    print("|---|---|---|---|---|---|---|")
    for keys in arguments.keys:
        measure_all(np.random.default_rng(arguments.seed), keys, arguments.head_dim)


if __name__ == "__main__":
    main()
