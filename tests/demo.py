"""The job of `./dev demo`: Lighthouse attention from method to checked result, in one screen.

Compiles the method for sm_90a, writes q, k, v to a safetensors file, runs the bundle on the GPU if there is one, else
on the CPU, and checks the result. Usage: demo.py --fresnel PATH --out FOLDER. Exit code 1 if a check failed.
"""

import argparse
import array
import json
import math
import pathlib
import random
import struct
import subprocess
import sys

LENGTH, HEADS, DIM = 8192, 8, 128


def write_bf16(path, shapes, seed):
    """Random bf16 tensors as safetensors; the high byte picks sign and exponent: magnitudes in [0.125, 2)."""
    rng, header, blobs, offset = random.Random(seed), {}, [], 0
    exponents = bytes((0x3E, 0x3F, 0xBE, 0xBF)[i & 3] for i in range(256))
    for name, shape in shapes.items():
        count = math.prod(shape)
        data = bytearray(rng.randbytes(2 * count))
        data[1::2] = data[1::2].translate(exponents)
        header[name] = {"dtype": "BF16", "shape": shape, "data_offsets": [offset, offset + len(data)]}
        offset += len(data)
        blobs.append(data)
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    with open(path, "wb") as file:
        file.write(struct.pack("<Q", len(text)) + text)
        file.writelines(blobs)


def read_f32(path, name):
    data = pathlib.Path(path).read_bytes()
    (length,) = struct.unpack_from("<Q", data)
    begin, end = json.loads(data[8:8 + length])[name]["data_offsets"]
    return array.array("f", data[8 + length + begin:8 + length + end])


def call(*command, allow=(0,)):
    print("$", " ".join(str(c) for c in command), flush=True)
    code = subprocess.run([str(c) for c in command], check=False).returncode
    if code not in allow:
        sys.exit(f"demo: exit code {code}")
    return code


def check_identity(fresnel, out):
    """With one level Lighthouse selects every token, so it must equal dense attention. Returns the relative L2."""
    common = ["--set", "seq_len=1000", "--set", "heads=4", "--set", "kv_heads=2", "--random", "3", "--dtype", "f32",
              "--device", "cpu", "--json"]
    results = []
    for method, extra in (("lighthouse", ["--set", "levels=1"]), ("dense", [])):
        path = out / f"{method}-small.safetensors"
        subprocess.run([fresnel, "run", method, *extra, *common, "--output", path], check=True, stdout=subprocess.DEVNULL)
        results.append(read_f32(path, "out"))
    difference = sum((a - b) ** 2 for a, b in zip(*results))
    return math.sqrt(difference / sum(b * b for b in results[1]))


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--fresnel", required=True, type=pathlib.Path)
    parser.add_argument("--out", required=True, type=pathlib.Path)
    arguments = parser.parse_args()
    fresnel, out = arguments.fresnel, arguments.out
    out.mkdir(parents=True, exist_ok=True)

    print(f"Lighthouse attention, {LENGTH} tokens, {HEADS} heads of {DIM}: dialect -> PTX -> run -> check\n")
    bundle, data, result = out / "lighthouse.fkb", out / "qkv.safetensors", out / "out.safetensors"
    call(fresnel, "compile", "lighthouse", "--set", f"seq_len={LENGTH}", "--set", f"head_dim={DIM}", "--target", "sm_90a",
         "-o", bundle)
    print()
    write_bf16(data, {name: [1, LENGTH, HEADS, DIM] for name in "qkv"}, seed=7)
    # 3 and 4: there is a GPU, but not one that can run sm_90a code.
    command = [fresnel, "run", bundle, "--input", data, "--output", result, "--check"]
    if call(*command, allow=(0, 3, 4)):
        call(*command, "--device", "cpu")
    text = subprocess.run([fresnel, "inspect", bundle, "--json"], check=True, capture_output=True, text=True).stdout
    kernels = len(json.loads(text)["manifest"]["kernels"])
    error = check_identity(fresnel, out)
    ok = error <= 1e-5
    print(f"\nwith levels=1 Lighthouse must be dense attention: relative L2 {error:.1e}, {'ok' if ok else 'FAILED'}")
    print(f"""
What happened: the 20-line program of the preset became {kernels} kernels in {bundle};
{data} holds q, k, v as [B, N, H, D]; {result} holds out, lse and selected.

Try next:
  {fresnel} compile lighthouse --emit=program       the method itself; --emit=plan|tile|ptx for the later stages
  {fresnel} inspect {bundle}    its buffers, kernels and launches
  {fresnel} run nsa --set seq_len=2048 --random 1   another method, on the CPU
  {fresnel} presets                                 all methods and their parameters
  ./dev test{' ' * (len(str(fresnel)) + 30)}every test""")
    return 0 if ok else 1


if __name__ == "__main__":
    sys.exit(main())
