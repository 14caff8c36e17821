"""What `fresnel.attention` accepts: every argument that does not fit is refused with its name, its value and what to do."""

import numbers
import os

import torch

from . import _dlpack

DTYPES = {torch.bfloat16: "bf16", torch.float16: "f16"}
# Layouts that are remembered at most, for shapes that never stop changing.
MAX_KNOWN = 1024
_FEWEST_DOCUMENTS = 16
_DERIVED = ("batch", "heads", "kv_heads", "seq_len", "kv_len", "head_dim", "value_dim", "dtype", "mask_heads")


def _check_device(name, x):
    if x.device.type != "cuda":
        raise ValueError(f"{name} is on {x.device}, but the kernels run on CUDA devices; move it there (`fresnel run "
                         f"--device cpu` runs methods on the CPU)")


def _check_tensor(name, x):
    if not isinstance(x, torch.Tensor):
        raise TypeError(f"{name} must be a torch.Tensor, or an array that supports DLPack, but got {type(x).__name__}")
    if x.dim() != 4:
        raise ValueError(f"{name} has shape {tuple(x.shape)}, but [batch, sequence, heads, head_dim] is expected")
    _check_device(name, x)
    if x.dtype not in DTYPES:
        raise TypeError(f"{name} has dtype {x.dtype}, but bfloat16 or float16 is needed; convert it, or use torch.autocast")
    if 0 in x.shape:
        raise ValueError(f"{name} has shape {tuple(x.shape)}, which is empty")
    if x.shape[3] != 1 and x.stride(3) != 1:
        raise ValueError(f"{name} has stride {x.stride(3)} in its last dimension, but 1 is needed; no copy is made behind "
                         f"your back: call {name}.contiguous()")
    # torch.compile cannot trace storage_offset(); the runtime looks at the address in any case.
    if not torch.compiler.is_compiling() and x.storage_offset() * x.element_size() % 16:
        raise ValueError(f"{name} starts {x.storage_offset()} elements into its storage, but a multiple of 8 elements "
                         f"(16 bytes) is needed; call {name}.clone()")
    for axis in range(3):
        if x.shape[axis] != 1 and x.stride(axis) * x.element_size() % 16:
            raise ValueError(f"{name} has stride {x.stride(axis)} in dimension {axis}, but a multiple of 8 elements "
                             f"(16 bytes) is needed; call {name}.contiguous()")


def take(name, x):
    """A tensor that shares the memory of another library's array; PyTorch's current stream waits for that library's."""
    if isinstance(x, torch.Tensor) or not _dlpack.is_exporter(x):
        return x
    try:
        return torch.from_dlpack(x)
    except BufferError as error:
        raise ValueError(f"{name} cannot be exported: {error}") from error


def _layouts(q, k, v):
    """All that `check_tensors` looks at but the offsets; None for what cannot be remembered: no tensors, symbolic sizes."""
    if torch.compiler.is_compiling() or not (
            isinstance(q, torch.Tensor) and isinstance(k, torch.Tensor) and isinstance(v, torch.Tensor)):
        return None
    if (q.storage_offset() | k.storage_offset() | v.storage_offset()) % 8:
        return None
    return (q.shape, q.stride(), q.dtype, q.device, k.shape, k.stride(), k.dtype, k.device,
            v.shape, v.stride(), v.dtype, v.device)


_checked = set()


def check_tensors(q, k, v):
    """A loop passes the same layouts again and again: those that were good are good."""
    try:
        layouts = _layouts(q, k, v)
        if layouts in _checked:
            return
    except (RuntimeError, TypeError):  # Tensors without strides or with symbolic sizes.
        layouts = None
    _check_each(q, k, v)
    if layouts:
        if len(_checked) >= MAX_KNOWN:
            _checked.clear()
        _checked.add(layouts)


def _check_each(q, k, v):
    for name, x in (("q", q), ("k", k), ("v", v)):
        _check_tensor(name, x)
    for name, x in (("k", k), ("v", v)):
        if x.device != q.device:
            raise ValueError(f"{name} is on {x.device}, but q is on {q.device}; they must be on one device")
        if x.dtype != q.dtype:
            raise TypeError(f"{name} has dtype {x.dtype}, but q has {q.dtype}; they must have one dtype")
    for name, x, axis, meaning in (("k", k, 0, "batch size"), ("v", v, 0, "batch size"), ("k", k, 3, "head_dim")):
        if x.shape[axis] != q.shape[axis]:
            raise ValueError(f"{name} has {meaning} {x.shape[axis]}, but q has {q.shape[axis]}; they must be equal")
    if v.shape[:3] != k.shape[:3]:
        raise ValueError(f"v has shape {tuple(v.shape)}, but k has {tuple(k.shape)}; they must be equal, but for head_dim")
    if q.shape[2] % k.shape[2]:
        raise ValueError(f"k has {k.shape[2]} heads, which do not divide q's {q.shape[2]}; grouped heads need a divisor")


# Presets that take cu_seqlens.
PACKED = ("documents", "moba_documents", "nsa_documents", "vsa_documents")
# Presets that take gates, and how many branches they weigh.
GATED = {"nsa": 3, "nsa_documents": 3, "vsa": 2, "vsa_documents": 2}


def check_lengths(method, is_file, q, k, v):
    """That the method takes another number of keys than of queries, and values of another head_dim than keys, if they have
    one; files know themselves."""
    if k.shape[1] != q.shape[1] and method not in ("dense", "block_mask", *PACKED) and not is_file:
        raise ValueError(f"k has {k.shape[1]} tokens, but q has {q.shape[1]}; they must be equal for method {method}: dense "
                         f"and block_mask are the presets that take another number of keys, and an .mlir program may")
    if v.shape[3] != k.shape[3] and method != "dense" and not is_file:
        raise ValueError(f"v has head_dim {v.shape[3]}, but k has {k.shape[3]}; they must be equal for method {method}: dense "
                         f"is the preset that takes another one for v, and an .mlir program may")


def check_documents(method, is_file, cu_seqlens, q, k):
    """That the documents fit the tensors, which are good; entries that lie on the device are not looked at."""
    if cu_seqlens is None:
        raise ValueError(f"cu_seqlens is missing, but method {method} needs it: 0, then the end of each document")
    if method not in PACKED and not is_file:
        raise ValueError(f"cu_seqlens is given, but method {method} has no documents; presets that have are "
                         f"{', '.join(PACKED)}")
    if not isinstance(cu_seqlens, torch.Tensor):
        raise TypeError(f"cu_seqlens must be a torch.Tensor, or an array that supports DLPack, but got "
                        f"{type(cu_seqlens).__name__}")
    if cu_seqlens.dtype != torch.int32:
        raise TypeError(f"cu_seqlens has dtype {cu_seqlens.dtype}, but torch.int32 is needed; convert it")
    if cu_seqlens.dim() != 1 or cu_seqlens.shape[0] < 2:
        raise ValueError(f"cu_seqlens has shape {tuple(cu_seqlens.shape)}, but [documents + 1] is expected")
    if cu_seqlens.device != q.device:
        raise ValueError(f"cu_seqlens is on {cu_seqlens.device}, but q is on {q.device}; they must be on one device")
    if k.shape[1] != q.shape[1]:
        raise ValueError(f"k has {k.shape[1]} tokens, but q has {q.shape[1]}; documents attend to themselves")


def check_mask(method, is_file, mask, q, k):
    """That the mask fits the tensors, which are good, but for its blocks, which the program knows."""
    if mask is None:
        raise ValueError("mask is missing, but method block_mask needs it: which blocks of keys each block of queries sees")
    if method != "block_mask" and not is_file:
        raise ValueError(f"mask is given, but method {method} has none; the preset that has is block_mask")
    if not isinstance(mask, torch.Tensor):
        raise TypeError(f"mask must be a torch.Tensor, or an array that supports DLPack, but got {type(mask).__name__}")
    if mask.dtype not in (torch.bool, torch.int8, torch.uint8):
        raise TypeError(f"mask has dtype {mask.dtype}, but torch.bool, torch.int8 or torch.uint8 is needed; convert it")
    if mask.dim() != 4 or 0 in mask.shape:
        raise ValueError(f"mask has shape {tuple(mask.shape)}, but [batch, heads, rows, blocks] is expected")
    if mask.device != q.device:
        raise ValueError(f"mask is on {mask.device}, but q is on {q.device}; they must be on one device")
    if mask.shape[0] not in (1, q.shape[0]):
        raise ValueError(f"mask has batch size {mask.shape[0]}, but q has {q.shape[0]}; 1 serves them all")
    if mask.shape[1] != 1 and (q.shape[2] % mask.shape[1] or mask.shape[1] % k.shape[2]):
        raise ValueError(f"mask has {mask.shape[1]} heads, but a divisor of q's {q.shape[2]} that is a multiple of k's "
                         f"{k.shape[2]} is needed; 1 serves them all")


def check_gates(method, is_file, gates, q):
    """That the gates fit q, which is good, but for the branches of a file, which the program knows."""
    branches = GATED.get(method)
    if gates is None:
        raise ValueError(f"gates is missing, but method {method} needs it: what each of its {branches} branches weighs for "
                         f"each token and head")
    if branches is None and not is_file:
        raise ValueError(f"gates is given, but method {method} has none; presets that have are {', '.join(GATED)}")
    if not isinstance(gates, torch.Tensor):
        raise TypeError(f"gates must be a torch.Tensor, or an array that supports DLPack, but got {type(gates).__name__}")
    if gates.device != q.device:
        raise ValueError(f"gates is on {gates.device}, but q is on {q.device}; they must be on one device")
    if gates.dtype != q.dtype:
        raise TypeError(f"gates has dtype {gates.dtype}, but q has {q.dtype}; they must have one dtype")
    if gates.dim() != 4 or gates.shape[:3] != q.shape[:3] or 0 in gates.shape or branches not in (None, gates.shape[3]):
        raise ValueError(f"gates has shape {tuple(gates.shape)}, but [batch, sequence, heads, branches] is expected, "
                         f"{[*q.shape[:3], branches or 'branches']}")
    if gates.shape[3] != 1 and gates.stride(3) != 1:
        raise ValueError(f"gates has stride {gates.stride(3)} in its last dimension, but 1 is needed; call gates.contiguous()")
    if not torch.compiler.is_compiling() and gates.storage_offset() * gates.element_size() % 16:
        raise ValueError(f"gates starts {gates.storage_offset()} elements into its storage, but a multiple of 8 elements "
                         f"(16 bytes) is needed; call gates.clone()")


def room_for(documents, parameters):
    """How many documents the program for so many takes: `documents` of the parameters, or a power of two, so that few
    programs serve every batch. A size that torch.compile traces stays symbolic: one graph serves as many as one program."""
    if "documents" not in parameters:
        room = _FEWEST_DOCUMENTS
        while room < documents:
            room *= 2
        return room
    room = parameters["documents"]
    if isinstance(room, bool) or not isinstance(room, int):
        raise TypeError(f"documents must be an int, but got {type(room).__name__}")
    if documents > room:
        raise ValueError(f"cu_seqlens has {documents} documents, but documents is {room}; raise it, or leave it out")
    return room


# Between the parts of a program's text: no end of a line, as inductor writes the text into comments.
SEPARATOR = "|"


def is_word(text):
    """Whether a text may be a part of a program's."""
    return "\n" not in text and SEPARATOR not in text


def _is_list_of_lengths(name, value):
    return name == "documents" and isinstance(value, (list, tuple)) and all(
        isinstance(length, int) and not isinstance(length, bool) for length in value)


def check_parameters(method, parameters):
    if not isinstance(method, (str, os.PathLike)):
        raise TypeError(f"method must be a preset's name or the path of an .mlir or .fkb file, but got "
                        f"{type(method).__name__}")
    if not is_word(os.fspath(method)):
        raise ValueError(f"method is {os.fspath(method)!r}, but it has one line, without {SEPARATOR}")
    for name, value in parameters.items():
        if not name.isidentifier():
            raise ValueError(f"{name!r} is not the name of a parameter; `fresnel presets` lists them")
        if name in _DERIVED:
            raise ValueError(f"{name} is taken from the tensors; do not pass it")
        if not (isinstance(value, (numbers.Real, str)) or _is_list_of_lengths(name, value)):
            raise TypeError(f"{name} must be a number, a bool or a string, but got {type(value).__name__}")
        if isinstance(value, str) and not is_word(value):
            raise ValueError(f"{name} is {value!r}, but values have one line, without {SEPARATOR}")
