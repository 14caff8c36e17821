"""A mask of blocks under which attention is a mean. Usage: masks.py write INPUT DTYPE, or masks.py check OUTPUT.

With scores of 0 and values that hold their token's number, a row's output is the mean of the numbers in its open blocks.
"""

import struct
import sys

import tensor_file

LENGTH, HEADS, QUERY_BLOCK, KEY_BLOCK = 100, 2, 32, 16
# For each head of the mask and 32 queries, 7 blocks of 16 keys: some, none, all, the last and incomplete one.
MASK = [[(1, 0, 0, 1, 0, 0, 0), (0,) * 7, (1,) * 7, (0, 0, 0, 0, 0, 0, 1)],
        [(0, 1, 0, 0, 0, 0, 0), (1, 0, 0, 0, 0, 0, 1), (0,) * 7, (1,) * 7]]


def write(path, kind):
    rows, size = (1, LENGTH, HEADS, 32), LENGTH * HEADS * 32
    zeros = struct.pack(f"<{size}f", *[0.0] * size)
    numbers = b"".join(struct.pack("<64f", *[float(token)] * 64) for token in range(LENGTH))
    flat = [entry for head in MASK for row in head for entry in row]
    mask = struct.pack(f"<{len(flat)}{'b' if kind == 'BOOL' else 'i'}", *flat)
    tensor_file.write(path, (("q", "F32", rows, zeros), ("k", "F32", rows, zeros), ("v", "F32", rows, numbers),
                             ("mask", kind, (1, HEADS, 4, 7), mask)))


def check(path):
    shape, out = tensor_file.read_floats(path, "out")
    assert shape == [1, LENGTH, HEADS, 32], shape
    for head in range(HEADS):
        for token in range(LENGTH):
            row = MASK[head][token // QUERY_BLOCK]
            keys = [key for key in range(LENGTH) if row[key // KEY_BLOCK]]
            want = sum(keys) / len(keys) if keys else 0
            assert abs(out[(token * HEADS + head) * 32] - want) < 1e-4, (head, token, out[(token * HEADS + head) * 32], want)


{"write": write, "check": check}[sys.argv[1]](*sys.argv[2:])
