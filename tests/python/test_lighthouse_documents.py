"""Lighthouse over packed documents beside an oracle in NumPy, which gets each document by itself.

The oracle is `lighthouse.py` in the folder FRESNEL_REFERENCE_DIR, or in ../shared/reference beside the checkout: its
`forward_backward` gives one head's output, gradients and selection.
"""

import importlib.util
import json
import math
import os
import pathlib
import struct
import subprocess
import unittest

from support import EXECUTABLE, CacheTest, needs_compiler

try:
    import numpy
except ModuleNotFoundError:
    numpy = None

FOLDER = os.environ.get("FRESNEL_REFERENCE_DIR")
ORACLE = (pathlib.Path(FOLDER) if FOLDER else
          pathlib.Path(__file__).resolve().parents[2].parent / "shared" / "reference") / "lighthouse.py"

LEVELS, FACTOR, TOPK, HEADS, DIM = 3, 4, 128, 2, 32


def load_oracle():
    spec = importlib.util.spec_from_file_location("lighthouse", ORACLE)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def write(path, tensors):
    header, data = {}, b""
    for name, values in tensors.items():
        values = values.astype(numpy.float32)
        header[name] = {"dtype": "F32", "shape": values.shape, "data_offsets": [len(data), len(data) + values.nbytes]}
        data += values.tobytes()
    text = json.dumps(header).encode()
    path.write_bytes(struct.pack("<Q", len(text)) + text + data)


def read(path):
    content = path.read_bytes()
    length, = struct.unpack_from("<Q", content)
    header = json.loads(content[8:8 + length])
    header.pop("__metadata__", None)
    kinds = {"F32": numpy.float32, "I32": numpy.int32}
    return {name: numpy.frombuffer(content[8 + length + entry["data_offsets"][0]:8 + length + entry["data_offsets"][1]],
                                   kinds[entry["dtype"]]).reshape(entry["shape"]) for name, entry in header.items()}


def level_sizes(tokens):
    return [-(-tokens // FACTOR**level) for level in range(LEVELS)]


def to_packed(entries, documents, index):
    """Entries of a document's own pyramid as those of the pyramid of all."""
    sizes = [level_sizes(tokens) for tokens in documents]
    own = numpy.cumsum([0, *sizes[index]])
    result, offset = numpy.array(entries), 0
    for level in range(LEVELS):
        first = offset + sum(size[level] for size in sizes[:index])
        inside = (entries >= own[level]) & (entries < own[level + 1])
        result[inside] = entries[inside] - own[level] + first
        offset += sum(size[level] for size in sizes)
    return result


@needs_compiler
@unittest.skipUnless(numpy, "NumPy is not installed")
@unittest.skipUnless(ORACLE.exists(), f"the oracle is not there: {ORACLE} (set FRESNEL_REFERENCE_DIR)")
class LighthouseDocumentsTest(CacheTest):
    def check(self, documents, seed):
        rng, tokens = numpy.random.default_rng(seed), sum(documents)
        inputs = {name: rng.standard_normal((1, tokens, HEADS, DIM)).astype(numpy.float32) for name in ("q", "k", "v", "dout")}
        write(self.folder / "in.safetensors", inputs)
        command = [EXECUTABLE, "run", "lighthouse_documents", "--device", "cpu", "--grad", "--input", self.folder / "in.safetensors",
                   "--output", self.folder / "out.safetensors"]
        sets = {"documents": ",".join(map(str, documents)), "levels": LEVELS, "factor": FACTOR, "topk": TOPK, "dtype": "f32"}
        for name, value in sets.items():
            command += ["--set", f"{name}={value}"]
        result = subprocess.run([str(part) for part in command], capture_output=True, text=True, check=False)
        self.assertEqual(result.returncode, 0, result.stderr)
        got, oracle, start, slot = read(self.folder / "out.safetensors"), load_oracle(), 0, 0
        for index, length in enumerate(documents):
            for head in range(HEADS if length else 0):
                part = {name: x[0, start:start + length, head].astype(numpy.float64) for name, x in inputs.items()}
                *wanted, selected = oracle.forward_backward(part["q"], part["k"], part["v"], part["dout"], LEVELS, FACTOR, TOPK,
                                                            1 / math.sqrt(DIM))
                packed = to_packed(selected, documents, index)
                numpy.testing.assert_array_equal(got["selected"][0, head, slot:slot + len(packed)], packed)
                for name, want in zip(("out", "dq", "dk", "dv"), wanted):
                    mine = got[name][0, start:start + length, head]
                    error = numpy.linalg.norm(mine - want) / max(numpy.linalg.norm(want), 1e-30)
                    self.assertLess(error, 1e-5, f"{name} of document {index}, head {head}")
            slot += len(packed) if length else 0
            start += length
        self.assertEqual(slot, got["selected"].shape[2])

    def test_documents_are_what_the_oracle_gives_of_each(self):
        # The oracle takes lengths that are whole coarsest windows.
        self.check([256, 64, 512, 16], seed=1)
        self.check([0, 128, 0, 1024], seed=2)


if __name__ == "__main__":
    unittest.main()
