"""The programs behind `fresnel.attention`: bundles by method, parameters and shapes, compiled on first use.

Operations of PyTorch name a program by a text (`describe`), since that is all that a compiled graph can hold.
"""

import functools
import os
import threading

import torch

from . import _arguments, _bundle, _compile
from ._errors import FresnelError, UnsupportedError
from ._library import Plan

# Inputs of programs beside q, k and v; masks have no gradients.
MASKS = ("cu_seqlens", "mask")
OTHERS = (*MASKS, "gates")
# Lines of a program's text that are no parameters of a preset.
_OPTIONS = ("deterministic", "schedule", "gradient_schedule", "workspace_limit", "group_queries")
# The first compute capability that each target runs on, oldest first.
_TARGETS = ((80, "sm_80"), (86, "sm_86"), (89, "sm_89"), (90, "sm_90a"), (100, "sm_100"), (120, "sm_120"))
_BYTES = {"f32": 4, "bf16": 2, "f16": 2, "i32": 4, "i8": 1}

_lock = threading.RLock()


class Program:
    """A bundle, and how its tensors lie in what the operations pass around."""

    def __init__(self, path):
        self.path, self.plans = str(path), {}
        self.manifest = _bundle.read_manifest(path)
        self.arguments = _bundle.arguments(self.manifest)
        self.has_backward = "backward" in self.manifest
        self.is_deterministic = all(kernel.get("schedule", {}).get("ordered", True) for kernel in self.manifest["kernels"])
        self._check_names()
        # Outputs beside out and lse, then the saved tensors, lie in one buffer.
        self.kept, offset = {}, 0
        for name, buffer in self.arguments.items():
            if buffer["kind"] == "output" and name not in ("out", "lse"):
                self.kept[name] = offset
                offset += _align(_BYTES[buffer["dtype"]], buffer["shape"])
        self.saved_offset = offset
        self.saved_bytes = self.manifest.get("saved", {"bytes": 0})["bytes"]
        self.kept_bytes = self.saved_offset + self.saved_bytes

    def _check_names(self):
        inputs = [name for name, buffer in self.arguments.items() if buffer["kind"] == "input"]
        if sorted(name for name in inputs if name not in OTHERS) != ["k", "q", "v"]:
            raise ValueError(f"method: {self.path} takes {inputs}, but fresnel.attention passes q, k and v, and cu_seqlens, "
                             f"mask and gates where they are given")
        out, q = self.arguments.get("out"), self.arguments["q"]
        if out is None or out["kind"] != "output":
            raise ValueError(f"method: {self.path} has no output 'out'; fresnel.attention returns the output of that name")
        expected = q["shape"][:3] + self.arguments["v"]["shape"][3:]
        if (out["shape"], out["dtype"]) != (expected, q["dtype"]):
            raise ValueError(f"method: {self.path} gives out as {out['dtype']} {out['shape']}, but fresnel.attention needs "
                             f"the shape and type of q, with the head_dim of v, {q['dtype']} {expected}")
        if self.has_backward:
            arguments = _bundle.arguments(self.manifest["backward"])
            results = [name for name, buffer in arguments.items() if buffer["kind"] == "output"]
            needed = ["dq", "dk", "dv"] + ["dgates"] * ("gates" in self.arguments)
            if sorted(results) != sorted(needed):
                raise ValueError(f"method: the backward plan of {self.path} gives {results}, but {', '.join(needed)} are "
                                 f"needed")
            for name, maker in zip(MASKS, ("document_bounds", "blocks_from_mask")):
                if name in arguments:
                    raise ValueError(f"method: the backward plan of {self.path} takes {name}, but fresnel.attention does "
                                     f"not keep it; compile it without --recompute {maker}")

    def check_others(self, cu_seqlens, mask, gates):
        self.check_documents(cu_seqlens)
        self.check_mask(mask)
        self.check_gates(gates)

    def check_documents(self, cu_seqlens):
        """That it takes as many entries as there are, or none."""
        entries, shape = 0 if cu_seqlens is None else int(cu_seqlens.shape[0]), self.shape("cu_seqlens")
        if shape != ([1, 1, entries] if entries else [0]):
            raise ValueError(f"cu_seqlens has {entries} entries, but {self.path} was made for {shape[-1]}")

    def check_mask(self, mask):
        """That it takes a mask of that shape, or none."""
        shape = [0] if mask is None else [int(extent) for extent in mask.shape]
        if shape != self.shape("mask"):
            raise ValueError(f"mask has shape {shape} ([batch, heads, rows, blocks]), but {self.path} was made for "
                             f"{self.shape('mask')}; query_block and key_block, 128 each if they are not passed, are the "
                             f"tokens of a row and of a block")

    def check_gates(self, gates):
        """That it takes gates of that shape, or none."""
        shape = [0] if gates is None else [int(gates.shape[axis]) for axis in (0, 2, 1, 3)]
        if shape != self.shape("gates"):
            raise ValueError(f"gates has [batch, head, sequence, branches] {shape}, but {self.path} was made for "
                             f"{self.shape('gates')}")

    def plan(self, device):
        with _lock:
            if device not in self.plans:
                if torch.cuda.is_current_stream_capturing():
                    raise FresnelError("fresnel.attention was called for the first time inside a CUDA graph capture; call "
                                       "it once before, as CUDA graphs need for every operation")
                self.plans[device] = Plan(self.path, device)
            return self.plans[device]

    def shape(self, name):
        return self.arguments[name]["shape"] if name in self.arguments else [0]


def _align(element, shape):
    size = element
    for extent in shape:
        size *= extent
    return (size + 255) // 256 * 256


def target_of(capability):
    """The target for a compute capability (major, minor)."""
    has = capability[0] * 10 + capability[1]
    best = [name for needs, name in _TARGETS if needs <= has]
    if not best:
        raise UnsupportedError(f"compute capability {capability[0]}.{capability[1]} is too old; the kernels need 8.0")
    return best[-1]


@functools.lru_cache(maxsize=None)
def _target(device):
    return target_of(torch.cuda.get_device_capability(device))


_programs = {}


@functools.lru_cache(maxsize=1024)
def _parse(text):
    """Method, whether gradients are needed, parameters, options; and whether the method is a file, whose content counts."""
    method, grad, *lines = text.split(_arguments.SEPARATOR)
    parameters = dict(line.split("=", 1) for line in lines)
    options = {name: parameters.pop(name) for name in _OPTIONS if name in parameters}
    for name in ("deterministic", "group_queries"):
        options[name] = options.get(name) != "false"
    options["workspace_limit"] = int(options.get("workspace_limit", 0))
    return method, grad == "True", parameters, options, is_file(method)


def version(text):
    """What else than the text makes a program another one: the content of a method's file."""
    method, names_file = _parse(text)[::4]
    if not names_file:
        return ""
    if not os.path.exists(method):
        raise ValueError(f"method: there is no file {method}")
    return _compile.hash_file(method)


def find_program(text, q, k, v):
    """The program of a text for tensors like q, k and v, compiled on first use. Symbolic sizes become numbers here."""
    shapes = tuple(tuple(int(x.shape[axis]) for axis in (0, 2, 1, 3)) for x in (q, k, v))
    key = (text, version(text), shapes, q.dtype, _target(q.device))
    with _lock:
        if key not in _programs:
            method, grad, parameters, options, _ = _parse(text)
            _programs[key] = _make_program(method, grad, parameters, options, shapes, _arguments.DTYPES[q.dtype], key[-1])
        return _programs[key]


def is_file(method):
    return method.endswith(".fkb") or _compile.is_file(method)


def _make_program(method, grad, parameters, options, shapes, dtype, target):
    q, k, v = shapes
    if method.endswith(".fkb"):
        program = Program(method)
    elif is_file(method):
        program = Program(_compile.compile_bundle(method, grad=grad, target=target, **options))
    else:
        parameters = dict(parameters, batch=q[0], heads=q[1], kv_heads=k[1], seq_len=q[2], head_dim=q[3], dtype=dtype)
        if k[2] != q[2]:
            parameters["kv_len"] = k[2]
        if v[3] != q[3]:
            parameters["value_dim"] = v[3]
        program = Program(_compile.compile_bundle(method, grad=grad, target=target, **options, **parameters))
    if grad and not program.has_backward:
        raise ValueError(f"method: {method} has no backward plan, but an input requires a gradient; compile it with --grad, "
                         f"or call fresnel.attention under torch.no_grad()")
    if grad and options["deterministic"] and not program.is_deterministic:
        raise ValueError(f"method: {method} was compiled with ordered=false, so its gradients differ from run to run in their "
                         f"last bits, but deterministic is True; pass deterministic=False")
    for name, shape in (("q", q), ("k", k), ("v", v)):
        buffer = program.arguments[name]
        if tuple(buffer["shape"]) != shape or buffer["dtype"] != dtype:
            raise ValueError(f"{name} is {dtype} with [batch, head, sequence, head_dim] {list(shape)}, but {method} was made "
                             f"for {buffer['dtype']} {buffer['shape']}")
    return program


def describe(method, parameters, grad, options=()):
    """The text that names a program: method, whether it needs gradients, its parameters and options."""
    lines = [method, str(grad)] + [f"{name}={_compile.text_of(parameters[name])}" for name in sorted(parameters)]
    return _arguments.SEPARATOR.join([*lines, *options])
