"""Arrays of CuPy and JAX in `fresnel.attention` and `Plan.run`, on a GPU: by DLPack, without a copy, ordered on the stream."""

import importlib
import os
import tempfile
import unittest

import fresnel
from support import CacheTest, needs_compiler

os.environ.setdefault("XLA_PYTHON_CLIENT_PREALLOCATE", "false")  # JAX would take most of the memory otherwise.
try:
    import torch
    from fresnel import _programs
except ModuleNotFoundError:
    torch = None

SHAPE = (1, 300, 4, 64)
# One for all tests: what a process has compiled it does not compile again.
_folder = tempfile.TemporaryDirectory()


def load_library(name):
    """The module, or a reason to skip: it is not here or has no GPU."""
    try:
        module = importlib.import_module(name)
        if name == "jax":
            module.devices("gpu")
        else:
            module.cuda.runtime.getDeviceCount()
    except ImportError as error:
        raise unittest.SkipTest(f"{name} is not installed") from error
    except RuntimeError as error:
        raise unittest.SkipTest(f"{name} finds no GPU: {error}") from error
    return module


@needs_compiler
@unittest.skipIf(torch is None, "PyTorch is not installed")
class LibraryTest(CacheTest):
    def setUp(self):
        super().setUp()
        if not torch.cuda.is_available():
            self.skipTest("no CUDA device was found")
        self.set_environment(FRESNEL_CACHE_DIR=os.path.join(_folder.name, "cache"))
        torch.cuda.set_device(0)  # JAX leaves the last of several GPUs current.
        rng = torch.Generator("cuda").manual_seed(1)
        self.inputs = [torch.randn(SHAPE, generator=rng, device="cuda", dtype=torch.float16) for _ in range(3)]
        self.expected, self.lse = fresnel.attention(*self.inputs, return_lse=True)

    def plan(self):
        """The bundle that the attention of the inputs runs, and the workspace that it needs."""
        batch, length, heads, dim = SHAPE
        path = fresnel.compile("dense", grad=False, target=_programs._target(self.inputs[0].device), batch=batch,
                               seq_len=length, heads=heads, kv_heads=heads, head_dim=dim, dtype="f16")
        plan = fresnel.load(path)
        return plan, plan.workspace_bytes()

    def expect_equal(self, found, expected):
        self.assertTrue(torch.equal(torch.from_dlpack(found), expected))

    def check_packed_documents(self, make_array):
        ends = [0, 100, 300]
        cu = torch.tensor(ends, dtype=torch.int32, device="cuda")
        self.expect_equal(fresnel.attention(*self.inputs, "documents", cu_seqlens=make_array(ends)),
                          fresnel.attention(*self.inputs, "documents", cu_seqlens=cu))


class CuPyTest(LibraryTest):
    def setUp(self):
        self.cupy = load_library("cupy")
        super().setUp()

    def test_attention(self):
        arrays = [self.cupy.from_dlpack(x) for x in self.inputs]
        found = self.cupy.from_dlpack(fresnel.attention(*arrays))
        self.assertEqual((found.shape, found.dtype), (SHAPE, self.cupy.float16))
        self.expect_equal(found, self.expected)

    def test_slices_of_one_array(self):
        joined = self.cupy.concatenate([self.cupy.from_dlpack(x) for x in self.inputs], axis=2)
        self.expect_equal(fresnel.attention(*self.cupy.split(joined, 3, axis=2)), self.expected)

    def test_packed_documents(self):
        self.check_packed_documents(lambda ends: self.cupy.array(ends, dtype="int32"))

    def test_plan_writes_arrays_on_a_stream(self):
        """As docs/training.md shows it. What the stream does before and after is ordered with the kernels."""
        plan, size = self.plan()
        batch, length, heads, dim = SHAPE
        stream = self.cupy.cuda.Stream(non_blocking=True)
        with stream:
            q, k, v = (self.cupy.from_dlpack(x).copy().transpose(0, 2, 1, 3) for x in self.inputs)
            out = self.cupy.full(SHAPE, self.cupy.nan, "float16").transpose(0, 2, 1, 3)
            lse, workspace = self.cupy.empty((batch, heads, length), "float32"), self.cupy.empty(size, "uint8")
            plan.run(fresnel.FORWARD, {"q": q, "k": k, "v": v, "out": out, "lse": lse}, workspace=workspace.data.ptr,
                     workspace_bytes=workspace.nbytes, stream=stream.ptr)
            doubled = out * 2
        stream.synchronize()
        self.expect_equal(out.transpose(0, 2, 1, 3), self.expected)
        self.expect_equal(doubled.transpose(0, 2, 1, 3), self.expected * 2)
        self.expect_equal(lse, self.lse)


class JaxTest(LibraryTest):
    def setUp(self):
        self.jax = load_library("jax")
        super().setUp()

    def array(self, tensor):
        return self.jax.dlpack.from_dlpack(tensor)

    def test_attention(self):
        for dtype in (torch.float16, torch.bfloat16):
            tensors = [x.to(dtype) for x in self.inputs]
            found = self.array(fresnel.attention(*(self.array(x) for x in tensors)))
            self.assertEqual((found.shape, str(found.dtype)), (SHAPE, str(dtype).rpartition(".")[2]))
            self.expect_equal(found, fresnel.attention(*tensors))

    def test_results_of_jax_are_waited_for(self):
        """JAX runs asynchronously: the inputs are still to be computed when the call is made."""
        matrix = self.jax.random.normal(self.jax.random.key(0), (4096, 4096))

        @self.jax.jit
        def late(x, matrix):
            y = matrix
            for _ in range(30):
                y = self.jax.numpy.tanh(matrix @ y)
            return x + (y.sum() * 0).astype(x.dtype)

        arrays = [self.array(x) for x in self.inputs]
        self.expect_equal(fresnel.attention(*(late(x, matrix) for x in arrays)), self.expected)

    def test_packed_documents(self):
        self.check_packed_documents(lambda ends: self.jax.numpy.array(ends, dtype="int32"))

    def test_plan_reads_arrays_and_writes_none(self):
        plan, size = self.plan()
        workspace = torch.empty(max(size, 1), dtype=torch.uint8, device="cuda")
        tensors = dict(zip("qkv", (self.array(x.transpose(1, 2).contiguous()) for x in self.inputs)))
        out = torch.full_like(self.expected, torch.nan).transpose(1, 2)
        tensors.update(out=out, lse=torch.empty_like(self.lse))
        plan.run(fresnel.FORWARD, tensors, workspace=workspace.data_ptr(), workspace_bytes=size)
        torch.cuda.synchronize()
        self.expect_equal(out.transpose(1, 2), self.expected)
        result = self.jax.numpy.zeros(out.shape, "float16")
        with self.assertRaisesRegex(ValueError, r"tensors\['out'\] is an array of JAX, which is immutable"):
            plan.run(fresnel.FORWARD, dict(tensors, out=result), workspace=workspace.data_ptr(), workspace_bytes=size)


if __name__ == "__main__":
    unittest.main()
