"""Damages a bundle and a safetensors file in several ways and prints how `fresnel` answers.

Usage: damage.py FRESNEL FOLDER, where FOLDER holds good.fkb. One line per case: name, exit code, first line of stderr.
"""

import json
import os
import pathlib
import struct
import subprocess
import sys

fresnel, folder = sys.argv[1], pathlib.Path(sys.argv[2])
output = folder / "result.safetensors"


def answer(name, *arguments):
    result = subprocess.run([fresnel, *map(str, arguments)], capture_output=True, text=True, check=False)
    print(f"{name}: {result.returncode}: {(result.stderr.splitlines() or [''])[0]}", flush=True)


def flip(data, at):
    return data[:at] + bytes([data[at] ^ 1]) + data[at + 1:]


good = (folder / "good.fkb").read_bytes()
bundles = {
    "truncated": good[:-100],
    "flipped in manifest": flip(good, 100),
    "flipped in ptx": flip(good, len(good) - 100),
    "foreign": b"\x7fELF" + good[4:],
    "empty": b"",
}
for name, data in bundles.items():
    path = folder / "bad.fkb"
    path.write_bytes(data)
    answer(f"bundle {name}", "run", path, "--random", 1, "--device", "cpu", "--output", output)

size = 2 * 64 * 128
header = {n: {"dtype": "BF16", "shape": [1, 64, 1, 128], "data_offsets": [i * size, (i + 1) * size]}
          for i, n in enumerate("qkv")}
text = json.dumps(header).encode()
tensors = struct.pack("<Q", len(text)) + text + bytes(3 * size)
for name, data in {"truncated": tensors[:-1], "header damaged": flip(tensors, 8)}.items():
    path = folder / "bad.safetensors"
    path.write_bytes(data)
    answer(f"tensors {name}", "run", "dense", "--input", path, "--device", "cpu", "--output", output)
left = [name for name in os.listdir(folder) if "result" in name]
(folder / "good.safetensors").write_bytes(tensors)
answer("tensors good", "run", "dense", "--input", folder / "good.safetensors", "--device", "cpu")
print(f"left behind: {left}")
