"""Writes q, k, v and a block list to a safetensors file. Usage: write_lists.py FILE ENTRY DTYPE: every entry is ENTRY."""

import json
import struct
import sys

path, entry, dtype = sys.argv[1], int(sys.argv[2]), sys.argv[3]
tensors = {"q": ("F32", (1, 100, 4, 32)), "k": ("F32", (1, 100, 2, 32)), "v": ("F32", (1, 100, 2, 32)),
           "list": (dtype, (1, 2, 100, 3))}
header, data = {}, b""
for name, (kind, shape) in tensors.items():
    count = shape[0] * shape[1] * shape[2] * shape[3]
    values = struct.pack(f"<{count}i", *[entry] * count) if kind == "I32" else struct.pack(f"<{count}f", *[1.0] * count)
    header[name] = {"dtype": kind, "shape": shape, "data_offsets": [len(data), len(data) + len(values)]}
    data += values
text = json.dumps(header).encode()
with open(path, "wb") as file:
    file.write(struct.pack("<Q", len(text)) + text + data)
