"""The runtime's C interface (runtime/fresnel/c/fresnel.h) by ctypes."""

import collections
import ctypes
import functools
import hashlib
import json
import operator
import os
import pathlib
import threading
import weakref

from . import _dlpack
from ._errors import FresnelError, UnsupportedError

FORWARD, BACKWARD = 0, 1
DTYPES = ("f32", "bf16", "f16", "i32", "i8")
_CHOICES = ("exact", "nearest", "heuristic")
_INVALID_ARGUMENT, _UNSUPPORTED = 1, 2
_ABI_VERSION, _ABI_MINOR = 1, 5
_DIGEST_SIZE, _MAX_RANK = 65, 8

Argument = collections.namedtuple("Argument", "name dtype shape is_output")
SavedTensor = collections.namedtuple("SavedTensor", "name dtype shape offset bytes")
Kernel = collections.namedtuple("Kernel", "name op schedule choice")


class TensorRef(collections.namedtuple("TensorRef", "pointer dtype shape strides")):
    """A tensor on the device: address, dtype name, logical shape and strides in elements ([batch, head, sequence,
    head_dim] where the rank is 4, whatever the order in memory)."""


class _Tensor(ctypes.Structure):
    _fields_ = [("data", ctypes.c_void_p), ("dtype", ctypes.c_int), ("rank", ctypes.c_int32),
                ("shape", ctypes.POINTER(ctypes.c_int64)), ("strides", ctypes.POINTER(ctypes.c_int64))]


class _Argument(ctypes.Structure):
    _fields_ = [("name", ctypes.c_char_p), ("dtype", ctypes.c_int), ("rank", ctypes.c_int32),
                ("shape", ctypes.POINTER(ctypes.c_int64)), ("is_output", ctypes.c_int32)]


class _Saved(ctypes.Structure):
    _fields_ = [("name", ctypes.c_char_p), ("dtype", ctypes.c_int), ("rank", ctypes.c_int32),
                ("shape", ctypes.POINTER(ctypes.c_int64)), ("offset", ctypes.c_int64), ("bytes", ctypes.c_int64)]


class _Kernel(ctypes.Structure):
    _fields_ = [("name", ctypes.c_char_p), ("op", ctypes.c_char_p), ("schedule", ctypes.c_char_p), ("choice", ctypes.c_int)]


class _Memory(ctypes.Structure):
    _fields_ = [("workspace", ctypes.c_void_p), ("workspace_bytes", ctypes.c_int64), ("saved", ctypes.c_void_p),
                ("saved_bytes", ctypes.c_int64)]


_PLAN, _SIZE, _STATUS = ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int
_FUNCTIONS = {
    "frn_last_error": (ctypes.c_char_p, []),
    "frn_plan_load": (_STATUS, [ctypes.c_char_p, ctypes.c_int, ctypes.POINTER(_PLAN)]),
    "frn_plan_destroy": (None, [_PLAN]),
    "frn_plan_has_backward": (ctypes.c_int32, [_PLAN]),
    "frn_plan_count_arguments": (_STATUS, [_PLAN, ctypes.c_int, ctypes.POINTER(_SIZE)]),
    "frn_plan_get_argument": (_STATUS, [_PLAN, ctypes.c_int, _SIZE, ctypes.POINTER(_Argument)]),
    "frn_plan_get_workspace_bytes": (_STATUS, [_PLAN, ctypes.c_int, ctypes.POINTER(ctypes.c_int64)]),
    "frn_plan_count_kernels": (_STATUS, [_PLAN, ctypes.c_int, ctypes.POINTER(_SIZE)]),
    "frn_plan_get_kernel": (_STATUS, [_PLAN, ctypes.c_int, _SIZE, ctypes.POINTER(_Kernel)]),
    "frn_plan_saved_bytes": (ctypes.c_int64, [_PLAN]),
    "frn_plan_saved_count": (_SIZE, [_PLAN]),
    "frn_plan_get_saved": (_STATUS, [_PLAN, _SIZE, ctypes.POINTER(_Saved)]),
    "frn_plan_run": (_STATUS, [_PLAN, ctypes.c_int, ctypes.POINTER(_Tensor), _SIZE, ctypes.POINTER(_Memory),
                               ctypes.c_void_p]),
    "frn_tensor_from_dlpack": (_STATUS, [ctypes.c_void_p, ctypes.c_int, ctypes.POINTER(ctypes.c_int64),
                                         ctypes.POINTER(_Tensor)]),
    "frn_tensor_from_dlpack_versioned": (_STATUS, [ctypes.c_void_p, ctypes.c_int, ctypes.c_int32,
                                                   ctypes.POINTER(ctypes.c_int64), ctypes.POINTER(_Tensor)]),
    "frn_plan_digest": (_STATUS, [_PLAN, ctypes.c_char_p]),
    "frn_selection_digest": (_STATUS, [ctypes.c_char_p, ctypes.c_int, ctypes.c_char_p]),
}

_lock = threading.Lock()
_library = None
# Every plan that is alive.
_loaded = weakref.WeakSet()


def library_candidates():
    """Where the runtime may be, best first. FRESNEL_RUNTIME is the only candidate if it is set."""
    chosen = os.environ.get("FRESNEL_RUNTIME")
    if chosen:
        return [chosen]
    package = pathlib.Path(__file__).resolve().parent
    folders = [package / "lib", package.parent.parent / "build" / "lib"]
    from ._compile import find_executable
    executable = find_executable()
    if executable:
        folders.append(pathlib.Path(executable).resolve().parent.parent / "lib")
    found = [folder / name for folder in folders for name in ("libfresnel_rt.so.1", "libfresnel_rt.so")]
    return [str(path) for path in found if path.exists()] + ["libfresnel_rt.so.1"]


def _open(path):
    """Loads one library and declares its functions; FresnelError if it is too old."""
    library = ctypes.CDLL(path)
    try:
        version, minor = library.frn_abi_version(), library.frn_abi_minor()
    except AttributeError:
        version, minor = library.frn_abi_version(), 0
    if version != _ABI_VERSION or minor < _ABI_MINOR:
        raise FresnelError(f"the runtime {path} has interface version {version}.{minor}, but {_ABI_VERSION}.{_ABI_MINOR} "
                           f"or a later minor version is needed; install the runtime that belongs to this package")
    for name, (result, arguments) in _FUNCTIONS.items():
        function = getattr(library, name)
        function.restype, function.argtypes = result, arguments
    return library


def runtime():
    """The runtime library, loaded once per process."""
    global _library
    with _lock:
        if _library is None:
            reasons = []
            for path in library_candidates():
                try:
                    _library = _open(path)
                    break
                except OSError as error:
                    reasons.append(str(error))
            else:
                raise FresnelError("the runtime library libfresnel_rt.so.1 was not found; set FRESNEL_RUNTIME to its "
                                   "path, or install it beside the `fresnel` executable: " + "; ".join(reasons))
        return _library


def _check(library, status):
    if status == 0:
        return
    message = library.frn_last_error().decode()
    if status == _INVALID_ARGUMENT:
        raise ValueError(message)
    raise (UnsupportedError if status == _UNSUPPORTED else FresnelError)(message)


def _number_of(device):
    try:
        number = operator.index(device)
    except TypeError:
        number = None
    if number is None or not 0 <= number < 1 << 31:
        raise ValueError(f"device is {device!r}, but the number of a GPU is expected, such as 0")
    return number


def _shape(entry):
    return tuple(entry.shape[i] for i in range(entry.rank))


def _int64s(values):
    return (ctypes.c_int64 * len(values))(*values)


class _Launcher:
    """`frn_plan_run` with everything but the addresses written down for C."""

    def __init__(self, library, handle, direction, arguments, layouts):
        self._library, self._run = library, library.frn_plan_run
        self.entries, self._keep = (_Tensor * len(arguments))(), []
        places = {}
        for entry, argument in zip(self.entries, arguments):
            dtype, shape, strides = layouts[argument.name]
            shape, strides = _int64s(shape), _int64s(strides)
            self._keep += [shape, strides]
            entry.dtype, entry.rank, entry.shape, entry.strides = DTYPES.index(dtype), len(shape), shape, strides
            places[argument.name] = entry
        # An address that nobody needs is written where nobody reads it.
        self._places = [places.get(name) or _Tensor() for name in layouts]
        self._memory = _Memory()
        self._arguments = (handle, direction, ctypes.cast(self.entries, ctypes.POINTER(_Tensor)), len(arguments),
                           ctypes.pointer(self._memory))

    def __call__(self, addresses, workspace, workspace_bytes, saved, saved_bytes, stream):
        for place, address in zip(self._places, addresses):
            place.data = address
        memory = self._memory
        memory.workspace, memory.workspace_bytes = workspace, workspace_bytes
        memory.saved, memory.saved_bytes = saved, saved_bytes
        status = self._run(*self._arguments, stream)
        if status:
            _check(self._library, status)


class Plan:
    """A bundle on one GPU: its forward plan, and its backward plan if it was compiled with gradients.

    Immutable, and safe to use from several threads. It is unloaded when nothing refers to it any more; kernels that it
    launched must have finished by then.
    """

    def __init__(self, path, device=0):
        device = _number_of(device)
        self._runtime = runtime()
        handle = _PLAN()
        _check(self._runtime, self._runtime.frn_plan_load(os.fsencode(path), device, ctypes.byref(handle)))
        self._handle = handle
        self._finalizer = weakref.finalize(self, self._runtime.frn_plan_destroy, handle)
        self.path, self.device = str(path), device
        self.has_backward = bool(self._runtime.frn_plan_has_backward(handle))
        directions = (FORWARD, BACKWARD) if self.has_backward else (FORWARD,)
        self._arguments = {direction: self._read_arguments(direction) for direction in directions}
        self._workspace = {direction: self._read_workspace(direction) for direction in directions}
        self.saved_bytes = self._runtime.frn_plan_saved_bytes(handle)
        self._layouts = threading.local()
        with _lock:
            _loaded.add(self)

    def _read_arguments(self, direction):
        count = _SIZE()
        _check(self._runtime, self._runtime.frn_plan_count_arguments(self._handle, direction, ctypes.byref(count)))
        arguments = []
        for index in range(count.value):
            entry = _Argument()
            _check(self._runtime,
                   self._runtime.frn_plan_get_argument(self._handle, direction, index, ctypes.byref(entry)))
            arguments.append(Argument(entry.name.decode(), DTYPES[entry.dtype], _shape(entry), bool(entry.is_output)))
        return tuple(arguments)

    def _read_workspace(self, direction):
        size = ctypes.c_int64()
        _check(self._runtime, self._runtime.frn_plan_get_workspace_bytes(self._handle, direction, ctypes.byref(size)))
        return size.value

    def _need(self, direction):
        if direction not in (FORWARD, BACKWARD):
            raise ValueError(f"direction is {direction!r}, but fresnel.FORWARD or fresnel.BACKWARD is expected")
        if direction == BACKWARD and not self.has_backward:
            raise UnsupportedError(f"{self.path} has no backward plan; compile the method with --grad")

    def arguments(self, direction=FORWARD):
        """The tensors that `run` takes, in the plan's order."""
        self._need(direction)
        return self._arguments[direction]

    def workspace_bytes(self, direction=FORWARD):
        """Device memory that a launch needs besides, aligned to 256 bytes."""
        self._need(direction)
        return self._workspace[direction]

    def kernels(self, direction=FORWARD):
        """The kernels that the plan launches, in order: the operation, the schedule, and what chose it: "exact" or "nearest", a
        trial of the tuning database of the same problem or of the nearest lengths, or "heuristic", the compiler."""
        self._need(direction)
        count = _SIZE()
        _check(self._runtime, self._runtime.frn_plan_count_kernels(self._handle, direction, ctypes.byref(count)))
        kernels = []
        for index in range(count.value):
            entry = _Kernel()
            _check(self._runtime, self._runtime.frn_plan_get_kernel(self._handle, direction, index, ctypes.byref(entry)))
            kernels.append(Kernel(entry.name.decode(), entry.op.decode(), json.loads(entry.schedule), _CHOICES[entry.choice]))
        return kernels

    def saved(self):
        """What lies in the buffer of `saved_bytes` between the forward and the backward launch; of plans in slices of the
        heads what the first has, and each other one behind it in an equal part."""
        tensors = []
        for index in range(self._runtime.frn_plan_saved_count(self._handle)):
            entry = _Saved()
            _check(self._runtime, self._runtime.frn_plan_get_saved(self._handle, index, ctypes.byref(entry)))
            tensors.append(SavedTensor(entry.name.decode(), DTYPES[entry.dtype], _shape(entry), entry.offset, entry.bytes))
        return tensors

    def run(self, direction, tensors, *, workspace=None, workspace_bytes=0, saved=None, saved_bytes=0, stream=None):
        """Launches a plan on `stream` (an address, None for the default stream) and does not wait.

        `tensors` maps the names of `arguments(direction)` to `TensorRef`s, or to arrays of any library that supports DLPack
        (CuPy, JAX, PyTorch), whose own work on the data the kernels wait for. `workspace` and `saved` are addresses. The
        caller owns all memory and keeps it until the kernels have run.
        """
        arguments = self.arguments(direction)
        if len(tensors) != len(arguments) or any(argument.name not in tensors for argument in arguments):
            missing = [a.name for a in arguments if a.name not in tensors]
            unknown = sorted(set(tensors) - {a.name for a in arguments})
            raise ValueError(f"tensors lacks {missing or 'nothing'} and has {unknown or 'nothing'} too many; the plan takes "
                             f"{[a.name for a in arguments]}")
        ordered = [tensors[argument.name] for argument in arguments]
        capsules = []  # They hold what is exported until the launch is queued.
        for index, (argument, tensor) in enumerate(zip(arguments, ordered)):
            if not isinstance(tensor, TensorRef):
                ordered[index], capsule = self._import(argument, tensor, stream)
                capsules.append(capsule)
        launch = self._launcher(direction, arguments, ordered)
        launch([tensor.pointer for tensor in ordered], workspace, workspace_bytes, saved, saved_bytes, stream)

    def _import(self, argument, tensor, stream):
        """What a DLPack array is to the C interface, and the capsule that keeps it."""
        if not _dlpack.is_exporter(tensor):
            raise TypeError(f"tensors['{argument.name}'] must be a TensorRef or support DLPack, but got "
                            f"{type(tensor).__name__}")
        capsule, pointer, versioned = _dlpack.export(argument.name, tensor, self.device, stream,
                                                     argument.is_output)
        view, strides = _Tensor(), (ctypes.c_int64 * _MAX_RANK)()
        if versioned:
            status = self._runtime.frn_tensor_from_dlpack_versioned(pointer, self.device, argument.is_output, strides, view)
        else:
            status = self._runtime.frn_tensor_from_dlpack(pointer, self.device, strides, view)
        if status:
            raise ValueError(f"tensors['{argument.name}']: {self._runtime.frn_last_error().decode()}")
        shape, strides = (tuple(values[i] for i in range(view.rank)) for values in (view.shape, view.strides))
        return TensorRef(view.data, DTYPES[view.dtype], shape, strides), capsule

    def _launcher(self, direction, arguments, tensors):
        """A training loop passes the same layouts again and again, and writing them down for C takes longer than the launch:
        each thread keeps the last ones of each direction."""
        key = [tensor[1:] for tensor in tensors]
        known = self._layouts.__dict__.get(direction)
        if known and known[0] == key:
            return known[1]
        for argument, tensor in zip(arguments, tensors):
            if tensor.dtype not in DTYPES or len(tensor.shape) != len(tensor.strides):
                raise ValueError(f"tensors['{argument.name}'] has dtype {tensor.dtype!r}, shape {tuple(tensor.shape)} and "
                                 f"strides {tuple(tensor.strides)}; the plan takes {argument.dtype} {argument.shape}")
        launch = self.launcher(direction, {argument.name: layout for argument, layout in zip(arguments, key)})
        self._layouts.__dict__[direction] = (key, launch)
        return launch

    def launcher(self, direction, layouts):
        """Launches with tensors of these layouts, name to (dtype, shape, strides), in the order in which their addresses will
        be passed; what the plan does not take is passed over. Not for two threads at once; the plan must outlive it."""
        return _Launcher(self._runtime, self._handle, direction, self.arguments(direction), layouts)

    @functools.cached_property
    def digest(self):
        """64 hexadecimal digits over target, code, geometry, buffers and launches: processes with equal digests run the
        same kernels."""
        text = ctypes.create_string_buffer(_DIGEST_SIZE)
        _check(self._runtime, self._runtime.frn_plan_digest(self._handle, text))
        return text.value.decode()


def selection_digest(database=None, device=0):
    """The digest of what a tuning database (the user's without a path) chooses for GPU `device`; `fresnel db digest` prints
    the same. Ranks that compare it before they compile prove that they will choose the same schedules. FresnelError if there
    is no database at a path that is given."""
    device = _number_of(device)
    library, text = runtime(), ctypes.create_string_buffer(_DIGEST_SIZE)
    _check(library, library.frn_selection_digest(None if database is None else os.fsencode(database), device, text))
    return text.value.decode()


def loaded_digest():
    """A digest over the kernels of every plan that this process has loaded and still holds, in no order: what ranks compare
    after their first step to prove that they run the same code."""
    with _lock:
        plans = list(_loaded)
    return hashlib.sha256("".join(sorted({plan.digest + "\n" for plan in plans})).encode()).hexdigest()


def load(path, device=0):
    """Reads a bundle (.fkb), checks it, and loads it on GPU `device`."""
    if not isinstance(path, (str, os.PathLike)):
        raise TypeError(f"path must be a path, but got {type(path).__name__}")
    if not os.path.exists(path):
        raise ValueError(f"path: there is no file {os.fspath(path)}; `fresnel compile METHOD -o FILE.fkb` makes one")
    return Plan(path, device)
