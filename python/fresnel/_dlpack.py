"""Tensors of other libraries by DLPack: what CuPy, JAX, PyTorch and others export, as the C interface takes it.

Only the protocol is here; what lies behind a capsule's pointer is the runtime's to read and to check
(runtime/fresnel/c/DLPack.cpp).
"""

import ctypes

_CUDA = 2
_DEVICES = {1: " (CPU)", 3: " (pinned memory of the CPU)", 10: " (ROCm)", 13: " (managed memory)"}
_LEGACY_DEFAULT_STREAM = 1  # DLPack's name of the stream whose address is 0.
_MAX_VERSION = (1, 0)

# A capsule that its consumer took over is called "used_...": we only look into it, so its exporter frees it with the capsule.
_is_valid = ctypes.pythonapi.PyCapsule_IsValid
_is_valid.restype, _is_valid.argtypes = ctypes.c_int, [ctypes.py_object, ctypes.c_char_p]
_get_pointer = ctypes.pythonapi.PyCapsule_GetPointer
_get_pointer.restype, _get_pointer.argtypes = ctypes.c_void_p, [ctypes.py_object, ctypes.c_char_p]


def is_exporter(tensor):
    return hasattr(tensor, "__dlpack__") and hasattr(tensor, "__dlpack_device__")


def _export(tensor, stream):
    stream = stream or _LEGACY_DEFAULT_STREAM
    try:
        return tensor.__dlpack__(stream=stream, max_version=_MAX_VERSION, copy=False)
    except TypeError:  # A library of before DLPack 1.0.
        return tensor.__dlpack__(stream=stream)


def _is_immutable(tensor):
    """Arrays of JAX are, whether they say so when they are exported or not."""
    return type(tensor).__module__.partition(".")[0] in ("jax", "jaxlib")


def export(name, tensor, device, stream, is_output):
    """The capsule of a tensor on GPU `device`, ready for work on `stream`; its pointer; whether that is of DLPack 1.x."""
    if is_output and _is_immutable(tensor):
        raise ValueError(f"tensors['{name}'] is an array of JAX, which is immutable, but the plan writes it; pass one that may "
                         f"be written, and take it over with jax.dlpack.from_dlpack")
    kind, index = tensor.__dlpack_device__()
    if int(kind) != _CUDA:
        raise ValueError(f"tensors['{name}'] is on device type {int(kind)}{_DEVICES.get(int(kind), '')}, but the kernels run "
                         f"on type 2 (CUDA); copy it there")
    if index != device:
        raise ValueError(f"tensors['{name}'] is on GPU {index}, but the plan is on GPU {device}; load the bundle there or "
                         f"copy the tensor")
    try:
        capsule = _export(tensor, stream)
    except BufferError as error:
        raise ValueError(f"tensors['{name}'] cannot be exported: {error}") from error
    for kind, versioned in ((b"dltensor_versioned", True), (b"dltensor", False)):
        if _is_valid(capsule, kind):
            return capsule, _get_pointer(capsule, kind), versioned
    raise TypeError(f"tensors['{name}'].__dlpack__() gave {capsule!r}, but a capsule 'dltensor' or 'dltensor_versioned' is "
                    f"expected")
