"""Reads the manifest of a bundle (docs/formats.md) without a GPU or the runtime: shapes are needed before there is either."""

import hashlib
import json
import struct

_HEADER = struct.Struct("<4sIQ32s")
_MAJORS = (1, 2)


class DamagedBundle(ValueError):
    """The file is truncated, damaged or no bundle."""


def read_manifest(path):
    """The manifest as a dict; every byte but the padding is checked against its hash."""
    with open(path, "rb") as file:
        content = file.read()
    if len(content) < _HEADER.size or content[:3] != b"FKB":
        raise DamagedBundle(f"{path} is not a Fresnel bundle")
    magic, length, size, digest = _HEADER.unpack_from(content)
    if magic != b"FKB\x01" or size != len(content) or _HEADER.size + length > size:
        raise DamagedBundle(f"{path} is damaged: {len(content)} bytes, the header says {size}")
    text = content[_HEADER.size:_HEADER.size + length]
    if hashlib.sha256(text).digest() != digest:
        raise DamagedBundle(f"{path} is damaged: the manifest does not match its hash")
    manifest = json.loads(text)
    if manifest["format"]["major"] not in _MAJORS:
        raise DamagedBundle(f"{path} has manifest version {manifest['format']['major']}, this package reads "
                            f"{_MAJORS[0]} to {_MAJORS[-1]}")
    for kernel in manifest["kernels"]:
        ptx = kernel["ptx"]
        if hashlib.sha256(content[ptx["offset"]:ptx["offset"] + ptx["size"]]).hexdigest() != ptx["sha256"]:
            raise DamagedBundle(f"{path} is damaged: the PTX of kernel '{kernel['name']}' does not match its hash")
    return manifest


def arguments(plan):
    """The tensors that the caller of a plan passes, by name: buffers that lie in no other memory."""
    return {buffer["name"]: buffer for buffer in plan["buffers"]
            if buffer["kind"] in ("input", "output") and "saved_offset" not in buffer}
