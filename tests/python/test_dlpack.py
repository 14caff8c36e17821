"""DLPack arrays in `Plan.run`, on the fake driver: arrays of a library that exists here only, made with ctypes."""

import ctypes
import gc
import pathlib
import subprocess
import tempfile
import unittest
import weakref

import fresnel
from support import EXECUTABLE, FAKE_DRIVER, CacheTest, needs_compiler, needs_fake_driver, use_fake_driver

use_fake_driver()


class Tensor(ctypes.Structure):
    """DLTensor."""
    _fields_ = [("data", ctypes.c_void_p), ("device_type", ctypes.c_int32), ("device_id", ctypes.c_int32),
                ("ndim", ctypes.c_int32), ("code", ctypes.c_uint8), ("bits", ctypes.c_uint8), ("lanes", ctypes.c_uint16),
                ("shape", ctypes.POINTER(ctypes.c_int64)), ("strides", ctypes.POINTER(ctypes.c_int64)),
                ("byte_offset", ctypes.c_uint64)]


class Managed(ctypes.Structure):
    """DLManagedTensor."""
    _fields_ = [("tensor", Tensor), ("context", ctypes.c_void_p), ("deleter", ctypes.c_void_p)]


class Versioned(ctypes.Structure):
    """DLManagedTensorVersioned."""
    _fields_ = [("major", ctypes.c_uint32), ("minor", ctypes.c_uint32), ("context", ctypes.c_void_p),
                ("deleter", ctypes.c_void_p), ("flags", ctypes.c_uint64), ("tensor", Tensor)]


_new_capsule = ctypes.pythonapi.PyCapsule_New
_new_capsule.restype, _new_capsule.argtypes = ctypes.py_object, [ctypes.c_void_p, ctypes.c_char_p, ctypes.c_void_p]
TYPES = {"f32": (2, 32), "bf16": (4, 16), "f16": (2, 16), "i32": (0, 32)}


class Array:
    """An array as DLPack's libraries have them: version (0, 8) is of before DLPack 1.0 and knows no further arguments."""

    def __init__(self, pointer, dtype, shape, strides=None, device=(2, 0), version=(1, 1), flags=0, byte_offset=0):
        self.device, self.version, self.streams = device, version, []
        code, bits = TYPES[dtype]
        self.shape = (ctypes.c_int64 * len(shape))(*shape)
        self.strides = (ctypes.c_int64 * len(strides))(*strides) if strides else None
        tensor = Tensor(pointer, *device, len(shape), code, bits, 1, self.shape, self.strides, byte_offset)
        self.old, self.new = Managed(tensor), Versioned(*version, None, None, flags, tensor)

    def __dlpack_device__(self):
        return self.device

    def __dlpack__(self, **arguments):
        self.streams.append(arguments["stream"])
        if self.version < (1, 0):
            if len(arguments) > 1:
                raise TypeError("unexpected keyword argument 'max_version'")
            return _new_capsule(ctypes.addressof(self.old), b"dltensor", None)
        if arguments["copy"] is not False or arguments["max_version"] != (1, 0):
            raise AssertionError("a copy would lose what the kernels write")
        return _new_capsule(ctypes.addressof(self.new), b"dltensor_versioned", None)


@needs_compiler
@needs_fake_driver
class DLPackTest(CacheTest):
    @classmethod
    def setUpClass(cls):
        folder = tempfile.TemporaryDirectory()
        cls.addClassCleanup(folder.cleanup)
        cls.path = pathlib.Path(folder.name) / "dense.fkb"
        sets = [f"--set={name}" for name in ("seq_len=300", "heads=4", "kv_heads=2", "head_dim=64")]
        subprocess.run([EXECUTABLE, "compile", "dense", *sets, "-o", cls.path, "--no-ptxas", "--no-db", "--json"], check=True,
                       stdout=subprocess.DEVNULL)

    def setUp(self):
        super().setUp()
        self.plan = fresnel.load(self.path)
        self.fake = ctypes.CDLL(str(FAKE_DRIVER))

    def arrays(self, changed=None, **changes):
        arrays = {}
        for index, argument in enumerate(self.plan.arguments()):
            more = changes if argument.name == changed else {}
            arrays[argument.name] = Array(**{"pointer": 0x100000 * (index + 1), "dtype": argument.dtype,
                                             "shape": argument.shape, **more})
        return arrays

    def run_plan(self, arrays, stream=None):
        self.plan.run(fresnel.FORWARD, arrays, workspace=0x10000000, workspace_bytes=1 << 30, stream=stream)

    def entries(self):
        return self.plan._layouts.__dict__[fresnel.FORWARD][1].entries

    def test_arrays_are_launched_on(self):
        for version in ((1, 0), (1, 3), (0, 8)):
            arrays = self.arrays("q", version=version, strides=(4 * 300 * 72, 72, 4 * 72, 1), byte_offset=32)
            before = self.fake.FakeDriver_launches()
            self.run_plan(arrays)
            self.assertEqual(self.fake.FakeDriver_launches(), before + 1)
            entry = self.entries()[0]
            self.assertEqual((entry.data, entry.strides[:4]), (0x100020, [4 * 300 * 72, 72, 4 * 72, 1]))
            self.assertEqual(self.entries()[1].strides[:4], [38400, 19200, 64, 1])

    def test_references_and_arrays_mix(self):
        arrays = self.arrays()
        arrays["k"] = fresnel.TensorRef(0x700000, "bf16", (1, 2, 300, 64), (38400, 19200, 64, 1))
        self.run_plan(arrays)
        self.assertEqual(self.entries()[1].data, 0x700000)

    def test_exporters_are_told_the_stream(self):
        """DLPack calls the legacy default stream 1: 0 would be any of the default streams."""
        for stream, told in ((None, 1), (0, 1), (0x5550, 0x5550)):
            arrays = self.arrays()
            self.run_plan(arrays, stream)
            self.assertEqual([array.streams for array in arrays.values()], [[told]] * len(arrays))

    def test_nothing_is_held_after_the_launch(self):
        arrays = self.arrays()
        self.run_plan(arrays)
        watched = [weakref.ref(array) for array in arrays.values()]
        del arrays
        gc.collect()
        self.assertEqual([ref() for ref in watched], [None] * len(watched))

    def test_what_does_not_fit_is_named(self):
        cases = {
            r"tensors\['k'\] is on device type 1 \(CPU\), but the kernels run on type 2": ("k", {"device": (1, 0)}),
            r"tensors\['v'\] is on device type 13 \(managed memory\)": ("v", {"device": (13, 0)}),
            r"tensors\['q'\] is on GPU 3, but the plan is on GPU 0": ("q", {"device": (2, 3)}),
            r"tensors\['out'\]: the DLPack tensor is read-only": ("out", {"flags": 1}),
            r"tensors\['lse'\]: the DLPack tensor is a copy": ("lse", {"flags": 2}),
            r"tensors\['q'\]: .*has version 2.0, but version 1 is read": ("q", {"version": (2, 0)}),
            r"tensors\['v'\]: .*starts 8 bytes past a multiple of 16": ("v", {"byte_offset": 8}),
            r"tensors\['v'\]: .*has rank 9": ("v", {"shape": (1,) * 9}),
            "tensor 'k' is f16, but the kernels take bf16": ("k", {"dtype": "f16"}),
            "tensor 'k' has size 301 in dimension 2": ("k", {"shape": (1, 2, 301, 64)}),
            "tensor 'q' has stride 2 in its last dimension": ("q", {"strides": (153600, 38400, 128, 2)}),
        }
        before = self.fake.FakeDriver_launches()
        for message, (name, changes) in cases.items():
            with self.subTest(message), self.assertRaisesRegex(ValueError, message):
                self.run_plan(self.arrays(name, **changes))
        self.assertEqual(self.fake.FakeDriver_launches(), before)

    def test_arrays_of_jax_are_read_and_not_written(self):
        """They are immutable, and their exporter need not say so."""
        array_type = type("ArrayImpl", (Array,), {"__module__": "jaxlib._jax"})
        arrays = self.arrays()
        arrays["q"].__class__ = array_type
        self.run_plan(arrays)
        arrays["out"].__class__ = array_type
        with self.assertRaisesRegex(ValueError, r"tensors\['out'\] is an array of JAX, which is immutable"):
            self.run_plan(arrays)

    def test_inputs_may_be_read_only(self):
        self.run_plan(self.arrays("q", flags=1))

    def test_what_is_no_array_is_refused(self):
        arrays = self.arrays()
        for wrong in (3, [1.0], None):
            with self.assertRaisesRegex(TypeError, r"tensors\['v'\] must be a TensorRef or support DLPack, but got "):
                self.run_plan(dict(arrays, v=wrong))
        arrays["v"].__class__ = type("Odd", (Array,), {"__dlpack__": lambda self, **arguments: 7})
        with self.assertRaisesRegex(TypeError, r"tensors\['v'\].__dlpack__\(\) gave 7, but a capsule"):
            self.run_plan(arrays)
        arrays["v"].__class__ = type("Shut", (Array,), {"__dlpack__": self.refuse})
        with self.assertRaisesRegex(ValueError, r"tensors\['v'\] cannot be exported: needs a gradient"):
            self.run_plan(arrays)

    @staticmethod
    def refuse(array, **arguments):
        raise BufferError("needs a gradient")

    def test_numpy_arrays_are_on_the_cpu(self):
        try:
            import numpy
        except ModuleNotFoundError:
            self.skipTest("NumPy is not installed")
        with self.assertRaisesRegex(ValueError, r"tensors\['q'\] is on device type 1 \(CPU\)"):
            self.run_plan(dict(self.arrays(), q=numpy.zeros((1, 4, 300, 64), dtype=numpy.float16)))


if __name__ == "__main__":
    unittest.main()
