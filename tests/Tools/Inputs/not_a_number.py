"""Writes q, k and v of which one element, of the first row of q, is not a number. Usage: not_a_number.py FILE."""

import struct
import sys

import tensor_file

COUNT = 64 * 2 * 32
ones = struct.pack(f"<{COUNT}f", *[0.5] * COUNT)
first = struct.pack("<f", float("nan")) + ones[4:]
tensor_file.write(sys.argv[1], [(name, "F32", (1, 64, 2, 32), data) for name, data in (("q", first), ("k", ones), ("v", ones))])
