"""Packed documents whose attention is a mean. Usage: documents.py write INPUT, or documents.py check OUTPUT.

With scores of 0 and values that hold their token's number, a row's output is the mean of the numbers in its document.
"""

import struct
import sys

import tensor_file

LENGTH, CUTS = 100, (0, 30, 30, 64, 100)


def write(path):
    zeros = struct.pack(f"<{LENGTH * 32}f", *[0.0] * LENGTH * 32)
    numbers = b"".join(struct.pack("<32f", *[float(token)] * 32) for token in range(LENGTH))
    rows, cuts = (1, LENGTH, 1, 32), struct.pack(f"<{len(CUTS)}i", *CUTS)
    tensor_file.write(path, (("q", "F32", rows, zeros), ("k", "F32", rows, zeros), ("v", "F32", rows, numbers),
                             ("cu_seqlens", "I32", (1, 1, len(CUTS)), cuts)))


def check(path):
    shape, out = tensor_file.read_floats(path, "out")
    assert shape == [1, LENGTH, 1, 32], shape
    for first, last in zip(CUTS, CUTS[1:]):
        for token in range(first, last):
            assert abs(out[token * 32] - (first + last - 1) / 2) < 1e-4, (token, out[token * 32])


{"write": write, "check": check}[sys.argv[1]](sys.argv[2])
