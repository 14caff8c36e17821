"""Checks what `fresnel cache ls --json` says of a cache that cache.test has filled. Usage: cache_check.py FILE."""

import json
import pathlib
import sys
import time

document = json.load(open(sys.argv[1]))
entries = document["entries"]
assert [entry["key"] for entry in entries] == sorted(entry["key"] for entry in entries), entries
for entry in entries:
    path = pathlib.Path(document["folder"], "kernels", "bundles", entry["key"][:2], entry["key"] + ".fkb")
    assert path.stat().st_size == entry["bytes"], path
    assert abs(time.time() - entry["made"]) < 3600, entry
found = {entry["method"]: (entry["target"], entry["gradients"], entry["parameters"]["seq_len"]) for entry in entries}
assert found == {"dense": ("sm_90a", False, "64"), "window": ("sm_80", True, "96")}, found
