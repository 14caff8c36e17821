"""`fresnel.attention` without a GPU: its errors, result shapes under tracing, and what reaches the (fake) driver.

CPU tensors stand in for CUDA tensors where a launch is wanted: the fake driver reads no memory.
"""

import contextlib
import ctypes
import os
import subprocess
import threading
import unittest
from unittest import mock

import fresnel
from support import EXECUTABLE, FAKE_DRIVER, CacheTest, needs_compiler, needs_fake_driver, use_fake_driver

use_fake_driver()
try:
    import torch
    import torch.utils.checkpoint
    from torch._dynamo.testing import CompileCounterWithBackend
    from fresnel import _arguments, _attention, _library, _masks
    from torch._subclasses.fake_tensor import FakeTensorMode
except ModuleNotFoundError:
    torch = None

needs_torch = unittest.skipUnless(torch, "PyTorch is not installed")


class WithoutTorchTest(unittest.TestCase):
    @unittest.skipIf(torch, "PyTorch is installed")
    def test_attention_says_that_it_needs_torch(self):
        with self.assertRaisesRegex(fresnel.FresnelError, "fresnel.attention needs PyTorch, which is not installed"):
            fresnel.attention  # noqa: B018 - the access is the test

    def test_unknown_names_are_attribute_errors(self):
        with self.assertRaisesRegex(AttributeError, "has no attribute 'atention'"):
            fresnel.atention  # noqa: B018 - the access is the test


@needs_torch
class ArgumentTest(CacheTest):
    """Every wrong argument is refused with its name, its value and what to do."""

    def setUp(self):
        super().setUp()
        self.enterContext(FakeTensorMode())
        self.enterContext(mock.patch.object(_attention, "_target", lambda device: "sm_90a"))

    def make(self, *shape, dtype=None, device="cuda"):
        return torch.empty(*shape, dtype=dtype or torch.bfloat16, device=device)

    def test_tensors(self):
        good, make = self.make(1, 100, 4, 64), self.make
        cases = [
            (TypeError, "q must be a torch.Tensor, or an array that supports DLPack, but got list", ([1], good, good)),
            (ValueError, r"k has shape \(100, 4, 64\), but \[batch, sequence, heads, head_dim\]", (good, make(100, 4, 64), good)),
            (ValueError, "v is on cpu, but the kernels run on CUDA", (good, good, make(1, 100, 4, 64, device="cpu"))),
            (TypeError, "q has dtype torch.float32, .*torch.autocast", (make(1, 100, 4, 64, dtype=torch.float32), good, good)),
            (TypeError, "k has dtype torch.float16, but q has torch.bfloat16",
             (good, make(1, 100, 4, 64, dtype=torch.float16), good)),
            (ValueError, r"q has shape \(1, 0, 4, 64\), which is empty", (make(1, 0, 4, 64), good, good)),
            (ValueError, r"q has stride 100 in its last dimension.*q.contiguous\(\)",
             (make(1, 4, 64, 100).permute(0, 3, 1, 2), good, good)),
            (ValueError, r"k has stride 260 in dimension 1, but a multiple of 8",
             (good, make(1, 100, 260)[..., :256].unflatten(2, (4, 64)), good)),
            (ValueError, r"q starts 4 elements into its storage.*q.clone\(\)", (make(1, 100, 4, 72)[..., 4:68], good, good)),
            (ValueError, "k has batch size 2, but q has 1", (good, make(2, 100, 4, 64), good)),
            (ValueError, "k has head_dim 32, but q has 64", (good, make(1, 100, 4, 32), good)),
            (ValueError, "v has shape .*99.*but k has", (good, good, make(1, 99, 4, 64))),
            (ValueError, "v has shape .*they must be equal, but for head_dim", (good, good, make(1, 100, 2, 32))),
            (ValueError, "v has head_dim 32, but k has 64; they must be equal for method window: dense is the preset that",
             (good, good, make(1, 100, 4, 32), "window")),
            (ValueError, "k has 3 heads, which do not divide q's 4", (good, make(1, 100, 3, 64), make(1, 100, 3, 64))),
        ]
        for kind, message, tensors in cases:
            with self.subTest(message), self.assertRaisesRegex(kind, message):
                fresnel.attention(*tensors)

    def test_methods_and_parameters(self):
        q = self.make(1, 100, 4, 64)
        cases = [
            (TypeError, "method must be a preset's name or the path .* but got int", {"method": 3}),
            (ValueError, "head_dim is taken from the tensors", {"method": "dense", "head_dim": 64}),
            (ValueError, "value_dim is taken from the tensors", {"method": "dense", "value_dim": 64}),
            (TypeError, "topk must be a number, a bool or a string, but got list", {"method": "lighthouse", "topk": [1]}),
            (ValueError, "there is no file /nonexistent.fkb", {"method": "/nonexistent.fkb"}),
            (ValueError, r"parameters \['topk'\] apply to presets", {"method": "/nonexistent.mlir", "topk": 3}),
            (TypeError, "gradient_schedule must be a string FIELD=VALUE:..., but got dict", {"gradient_schedule": {}}),
            (ValueError, "schedule is 'a.nb', but a schedule has one line".replace(".n", r"\\n"), {"schedule": "a\nb"}),
            (ValueError, r"method is '/a\|b.mlir', but it has one line, without \|", {"method": "/a|b.mlir"}),
            (ValueError, r"causal is '1\|2', but values have one line, without \|", {"causal": "1|2"}),
            (ValueError, "apply to methods that are compiled, but /x.fkb is a bundle", {"method": "/x.fkb", "schedule": "stages=2"}),
        ]
        for kind, message, arguments in cases:
            with self.subTest(message), self.assertRaisesRegex(kind, message):
                fresnel.attention(q, q, q, **arguments)

    def test_documents(self):
        q, cu = self.make(1, 100, 4, 64), torch.empty(3, dtype=torch.int32, device="cuda")
        cases = [
            (ValueError, "cu_seqlens is missing, but method documents needs it", {}),
            (ValueError, "cu_seqlens is given, but method dense has no documents", {"method": "dense", "cu_seqlens": cu}),
            (TypeError, "cu_seqlens must be a torch.Tensor, or an array that supports DLPack, but got list",
             {"cu_seqlens": [0, 100]}),
            (TypeError, "cu_seqlens has dtype torch.int64, but torch.int32 is needed", {"cu_seqlens": cu.long()}),
            (ValueError, r"cu_seqlens has shape \(1, 3\), but \[documents \+ 1\]", {"cu_seqlens": cu[None]}),
            (ValueError, r"cu_seqlens has shape \(1,\)", {"cu_seqlens": cu[:1]}),
            (ValueError, "cu_seqlens is on cpu, but q is on cuda",
             {"cu_seqlens": torch.empty(3, dtype=torch.int32, device="cpu")}),
            (ValueError, "cu_seqlens has 2 documents, but documents is 1", {"cu_seqlens": cu, "documents": 1}),
            (TypeError, "documents must be an int, but got str", {"cu_seqlens": cu, "documents": "2"}),
        ]
        for kind, message, arguments in cases:
            with self.subTest(message), self.assertRaisesRegex(kind, message):
                fresnel.attention(q, q, q, **{"method": "documents", **arguments})
        longer = self.make(1, 101, 4, 64)
        with self.assertRaisesRegex(ValueError, "k has 101 tokens, but q has 100; documents attend to themselves"):
            fresnel.attention(q, longer, longer, "documents", cu_seqlens=cu)

    def test_masks(self):
        q, k = self.make(2, 100, 4, 64), self.make(2, 100, 2, 64)
        mask = torch.empty(1, 4, 1, 1, dtype=torch.bool, device="cuda")
        cases = [
            (ValueError, "mask is missing, but method block_mask needs it", {}),
            (ValueError, "mask is given, but method dense has none", {"method": "dense", "mask": mask}),
            (TypeError, "mask must be a torch.Tensor, or an array that supports DLPack, but got list", {"mask": [1]}),
            (TypeError, "mask has dtype torch.int32, but torch.bool, torch.int8 or torch.uint8", {"mask": mask.int()}),
            (ValueError, r"mask has shape \(4, 1, 1\), but \[batch, heads, rows, blocks\]", {"mask": mask[0]}),
            (ValueError, "mask is on cpu, but q is on cuda",
             {"mask": torch.empty(1, 1, 1, 1, dtype=torch.bool, device="cpu")}),
            (ValueError, "mask has batch size 3, but q has 2; 1 serves them all", {"mask": mask.expand(3, -1, -1, -1)}),
            (ValueError, "mask has 3 heads, but a divisor of q's 4 that is a multiple of k's 2", {"mask": mask[:, :3]}),
            (ValueError, "mask_heads is taken from the tensors", {"mask": mask, "mask_heads": 4}),
            (ValueError, r"mask has shape \[2, 4, 1, 1\] .*, but .* was made for \[2, 4, 2, 1\]; query_block and key_block",
             {"mask": mask, "query_block": 64}),
        ]
        for kind, message, arguments in cases:
            with self.subTest(message), self.assertRaisesRegex(kind, message):
                fresnel.attention(q, k, k, **{"method": "block_mask", **arguments})

    def test_room_for_documents(self):
        for documents, room in ((1, 16), (16, 16), (17, 32), (64, 64), (65, 128)):
            self.assertEqual(_arguments.room_for(documents, {"causal": False}), room)
        self.assertEqual(_arguments.room_for(5, {"documents": 7}), 7)

    @needs_compiler
    def test_bundle_with_documents(self):
        path = str(fresnel.compile("documents", grad=False, seq_len=100, heads=4, kv_heads=4, head_dim=64, documents=2))
        q, cu = self.make(1, 100, 4, 64), torch.empty(3, dtype=torch.int32, device="cuda")
        self.assertEqual(fresnel.attention(q, q, q, path, cu_seqlens=cu).shape, q.shape)
        with self.assertRaisesRegex(ValueError, "cu_seqlens has 2 entries, but .* was made for 3"):
            fresnel.attention(q, q, q, path, cu_seqlens=cu[:2])
        with self.assertRaisesRegex(ValueError, "cu_seqlens has 0 entries, but .* was made for 3"):
            fresnel.attention(q, q, q, path)

    @needs_compiler
    def test_bundle_that_needs_documents_again_is_refused(self):
        q, cu = self.make(1, 100, 4, 64), torch.empty(17, dtype=torch.int32, device="cuda")
        sizes = ["--set=seq_len=100", "--set=heads=4", "--set=kv_heads=4", "--set=head_dim=64"]
        path = self.folder / "again.fkb"
        subprocess.run([EXECUTABLE, "compile", "documents", "--grad", "--recompute", "document_bounds", "--no-ptxas", *sizes,
                        "-o", path, "--json"], capture_output=True, check=True)
        with self.assertRaisesRegex(ValueError, "takes cu_seqlens, .*; compile it without --recompute document_bounds"):
            fresnel.attention(q, q, q, path, cu_seqlens=cu)

    @needs_compiler
    def test_bundle_for_other_shapes_or_without_gradients(self):
        path = str(fresnel.compile("dense", grad=False, seq_len=100, heads=4, kv_heads=4, head_dim=64))
        q, longer = self.make(1, 100, 4, 64), self.make(1, 101, 4, 64)
        self.assertEqual(fresnel.attention(q, q, q, path).shape, q.shape)
        with self.assertRaisesRegex(ValueError, r"q is bf16 with .*\[1, 4, 101, 64\].*made for bf16 \[1, 4, 100, 64\]"):
            fresnel.attention(longer, longer, longer, path)
        with self.assertRaisesRegex(ValueError, "has no backward plan, but an input requires a gradient"):
            fresnel.attention(q.requires_grad_(), q, q, path)
        with torch.no_grad():
            self.assertFalse(fresnel.attention(q, q, q, path).requires_grad)

    @needs_compiler
    def test_gradients_that_differ_from_run_to_run_must_be_allowed(self):
        path = str(fresnel.compile("dense", deterministic=False, seq_len=100, heads=4, kv_heads=4, head_dim=64))
        q = self.make(1, 100, 4, 64).requires_grad_()
        for arguments in ({"method": path}, {"gradient_schedule": "ordered=false"}):
            with self.assertRaisesRegex(ValueError, "ordered=false.*but deterministic is True; pass deterministic=False"):
                fresnel.attention(q, q, q, **arguments)
            self.assertTrue(fresnel.attention(q, q, q, deterministic=False, **arguments).requires_grad)
            with torch.no_grad():
                fresnel.attention(q, q, q, **arguments)

    @needs_compiler
    def test_result_shapes_are_known_while_tracing(self):
        q, kv = self.make(2, 77, 4, 64), self.make(2, 77, 2, 64)
        for method, rows, parameters in (("dense", 77, {"causal": False}), ("window", 77, {"window": 16}),
                                         ("lighthouse", None, {"topk": 8})):
            out, lse = fresnel.attention(q.requires_grad_(), kv, kv, method, return_lse=True, **parameters)
            self.assertEqual((out.shape, out.dtype, out.device), (q.shape, q.dtype, q.device))
            self.assertEqual((lse.shape[:2], lse.dtype), ((2, 4), torch.float32))
            self.assertEqual(lse.shape[2], rows or lse.shape[2])
            self.assertEqual((out.requires_grad, lse.requires_grad), (True, False))
        v = self.make(2, 77, 2, 32)
        self.assertEqual(fresnel.attention(q, kv, v).shape, (2, 77, 4, 32))
        path = str(fresnel.compile("dense", grad=False, batch=2, seq_len=77, heads=4, kv_heads=2, head_dim=64, value_dim=32))
        with torch.no_grad():
            self.assertEqual(fresnel.attention(q, kv, v, path).shape, (2, 77, 4, 32))
            with self.assertRaisesRegex(ValueError, r"v is bf16 with .*\[2, 2, 77, 64\].*made for bf16 \[2, 2, 77, 32\]"):
                fresnel.attention(q, kv, kv, path)

    def test_targets_by_capability(self):
        found = {c: _attention.target_of(c) for c in ((8, 0), (8, 7), (8, 9), (9, 0), (10, 0), (10, 3), (12, 1))}
        self.assertEqual(list(found.values()), ["sm_80", "sm_86", "sm_89", "sm_90a", "sm_100", "sm_100", "sm_120"])
        with self.assertRaisesRegex(fresnel.UnsupportedError, "capability 7.5 is too old; the kernels need 8.0"):
            _attention.target_of((7, 5))


class Array:
    """An array of another library: all that is known of it is DLPack."""

    def __init__(self, tensor):
        self.tensor, self.__dlpack_device__ = tensor, tensor.__dlpack_device__

    def __dlpack__(self, **arguments):
        if self.tensor.requires_grad:
            raise BufferError("has a gradient")
        return self.tensor.__dlpack__(**arguments)


@needs_torch
@needs_compiler
@needs_fake_driver
class LaunchTest(CacheTest):
    """The operations themselves, with the device faked."""

    def setUp(self):
        super().setUp()
        load, runs = fresnel.Plan, []

        class Launcher(_library._Launcher):
            def __init__(self, library, handle, direction, arguments, layouts):
                super().__init__(library, handle, direction, arguments, layouts)
                self.direction, self.layouts = direction, layouts

            def __call__(self, addresses, workspace, workspace_bytes, saved, saved_bytes, stream):
                tensors = {name: fresnel.TensorRef(address, *self.layouts[name])
                           for name, address in zip(self.layouts, addresses)}
                runs.append((self.direction, tensors))
                workspace, saved = ((x + 255) // 256 * 256 for x in (workspace, saved))  # The CPU's allocator aligns to 64.
                super().__call__(addresses, workspace, workspace_bytes, saved, saved_bytes, stream)

        self.runs = runs
        for target, name, value in (
                (torch.cuda, "device", lambda device: contextlib.nullcontext()),
                (torch.cuda, "current_device", lambda: None),
                (torch.cuda, "is_current_stream_capturing", lambda: False),
                (_attention, "_current_stream", lambda device: 0),
                (_attention, "_target", lambda device: "sm_90a"), (_attention, "_programs", {}),
                (_attention, "_calls", threading.local()), (_arguments, "_checked", set()),
                (_arguments, "_check_device", lambda name, tensor: None),
                (_attention, "Plan", lambda path, device: load(path, 0)), (_library, "_Launcher", Launcher)):
            self.enterContext(mock.patch.object(target, name, value))
        self.fake = ctypes.CDLL(str(FAKE_DRIVER))

    def make(self, *shape):
        return torch.zeros(*shape, dtype=torch.bfloat16, requires_grad=True)

    def test_forward_and_backward_launch_on_the_callers_memory(self):
        packed = torch.zeros(2, 77, 8, 64, dtype=torch.bfloat16, requires_grad=True)
        q, k, v = packed[:, :, :4], packed[:, :, 4:6], packed[:, :, 6:]
        before = self.fake.FakeDriver_launches()
        fresnel.attention(q, k, v, "lighthouse", topk=8).sum().backward()
        self.assertGreater(self.fake.FakeDriver_launches(), before)
        self.assertEqual([direction for direction, _ in self.runs], [fresnel.FORWARD, fresnel.BACKWARD])
        seen = self.runs[0][1]["k"]
        self.assertEqual((seen.pointer, seen.shape), (k.data_ptr(), (2, 2, 77, 64)))
        self.assertEqual(seen.strides, (77 * 8 * 64, 64, 8 * 64, 1), "no copy, strides as they are")
        self.assertEqual(packed.grad.shape, packed.shape)

    def test_values_narrower_than_keys(self):
        q, k, v = self.make(2, 64, 4, 128), self.make(2, 80, 2, 128), self.make(2, 80, 2, 64)
        out = fresnel.attention(q, k, v)
        out.sum().backward()
        self.assertEqual((out.shape, v.grad.shape, k.grad.shape), ((2, 64, 4, 64), v.shape, k.shape))
        (_, forward), (_, backward) = self.runs
        self.assertEqual([forward[name].shape for name in ("v", "out")], [(2, 2, 80, 64), (2, 4, 64, 64)])
        self.assertEqual([backward[name].shape for name in ("dout", "dq", "dk", "dv")],
                         [(2, 4, 64, 64), (2, 4, 64, 128), (2, 2, 80, 128), (2, 2, 80, 64)])
        self.assertEqual(backward["dv"].strides, (80 * 2 * 64, 64, 2 * 64, 1))
        fresnel.attention(q, k, k)  # Another program.
        self.assertEqual(len(_attention._programs), 2)

    def test_arrays_of_other_libraries_are_taken(self):
        q, k, v = (torch.zeros(1, 64, 2, 64, dtype=torch.bfloat16) for _ in range(3))
        out = fresnel.attention(Array(q), Array(k), v)
        self.assertEqual([self.runs[0][1][name].pointer for name in "qkv"], [x.data_ptr() for x in (q, k, v)], "no copy")
        self.assertEqual(torch.from_dlpack(Array(out)).data_ptr(), out.data_ptr())
        with self.assertRaisesRegex(ValueError, "k cannot be exported: has a gradient"):
            fresnel.attention(q, Array(k.requires_grad_()), v)

    def test_documents_reach_the_kernels(self):
        q, cu = self.make(2, 64, 2, 64), torch.tensor([0, 10, 10, 64], dtype=torch.int32)
        fitted = []
        self.enterContext(mock.patch.object(_masks, "_fit_documents", self.watch(_masks._fit_documents, fitted)))
        fresnel.attention(q, q, q, "documents", cu_seqlens=cu, causal=False).sum().backward()
        self.assertEqual([direction for direction, _ in self.runs], [fresnel.FORWARD, fresnel.BACKWARD])
        seen, (entries, parameters) = self.runs[0][1]["cu_seqlens"], fitted[0]
        self.assertEqual((seen.dtype, seen.shape, seen.strides[2]), ("i32", (1, 1, 17), 1))
        self.assertEqual((seen.pointer, entries.tolist()), (entries.data_ptr(), [0, 10, 10] + 14 * [64]))
        self.assertEqual(parameters, {"causal": False, "documents": 16})
        self.assertNotIn("cu_seqlens", self.runs[1][1], "what the backward plan needs of it was kept")
        self.assertEqual(q.grad.shape, q.shape)

    def test_masks_reach_the_kernels(self):
        q, k = self.make(2, 64, 4, 64), self.make(2, 96, 2, 64)
        for shape, heads, strides in (((2, 4, 2, 3), 4, (24, 6, 3, 1)), ((1, 1, 2, 3), 2, (0, 0, 3, 1))):
            for kind in (torch.bool, torch.uint8):
                mask = torch.ones(shape, dtype=kind)
                fresnel.attention(q, k, k, "block_mask", mask=mask, query_block=32, key_block=32).sum().backward()
                seen = self.runs[-2][1]["mask"]
                self.assertEqual((seen.pointer, seen.dtype, seen.shape), (mask.data_ptr(), "i8", (2, heads, 2, 3)))
                self.assertEqual(seen.strides, strides, "one for all is not copied")
                self.assertNotIn("mask", self.runs[-1][1], "what the backward plan needs of it was kept")
        self.assertEqual(len(_attention._programs), 2)

    def test_one_program_serves_any_documents(self):
        q, fitted = self.make(1, 64, 2, 64), []
        self.enterContext(mock.patch.object(_masks, "_fit_documents", self.watch(_masks._fit_documents, fitted)))
        for ends in (*range(8, 65, 8), 64), (64,), (10, 64):
            fresnel.attention(q, q, q, "documents", cu_seqlens=Array(torch.tensor([0, *ends], dtype=torch.int32)))
        self.assertEqual([seen["cu_seqlens"].pointer for _, seen in self.runs], [entries.data_ptr() for entries, _ in fitted])
        self.assertEqual((len(_attention._programs), len(_attention._calls.__dict__)), (1, 1))

    def test_bundle_takes_documents_as_they_are(self):
        path = fresnel.compile("documents", seq_len=64, heads=2, kv_heads=2, head_dim=64, documents=4)
        q, packed = self.make(1, 64, 2, 64), torch.tensor([0, 5, 10, 20, 64], dtype=torch.int32)
        for cu in (packed, torch.stack((packed, packed), 1)[:, 0], packed):
            fresnel.attention(q, q, q, path, cu_seqlens=cu).sum().backward()
            self.assertEqual(self.runs[-2][1]["cu_seqlens"].strides[2], 1)
            self.assertEqual(self.runs[-2][1]["cu_seqlens"].pointer == packed.data_ptr(), cu is packed)
        with self.assertRaisesRegex(ValueError, "cu_seqlens has 0 entries"):
            fresnel.attention(q, q, q, path)  # After good calls, too.
        with self.assertRaisesRegex(ValueError, "'cu_seqlens' is not aligned to 16 bytes"):
            fresnel.attention(q, q, q, path, cu_seqlens=torch.zeros(6, dtype=torch.int32)[1:])

    @staticmethod
    def watch(function, results):
        def call(*arguments):
            results.append(function(*arguments))
            return results[-1]
        return call

    def test_layouts_may_change_from_call_to_call(self):
        """What is remembered of a layout belongs to it: each launch has the addresses and strides of its own tensors."""
        plain = [torch.zeros(1, 64, 2, 64, dtype=torch.bfloat16) for _ in range(3)]
        padded = [torch.zeros(1, 64, 2, 72, dtype=torch.bfloat16)[..., :64] for _ in range(3)]
        longer = [torch.zeros(1, 80, 2, 64, dtype=torch.bfloat16) for _ in range(3)]
        for inputs, shape, stride in (2 * ((plain, 64, 64), (padded, 64, 72), (longer, 80, 64))):
            out, lse = fresnel.attention(*inputs, return_lse=True)
            _, seen = self.runs[-1]
            self.assertEqual([seen[name].pointer for name in ("q", "k", "v", "out", "lse")],
                             [x.data_ptr() for x in (*inputs, out, lse)])
            self.assertEqual((seen["q"].shape, seen["q"].strides), ((1, 2, shape, 64), (shape * 2 * stride, stride, 2 * stride, 1)))
        self.assertEqual(len(_attention._calls.__dict__), 3)

    def test_wrong_tensors_are_refused_after_good_ones(self):
        q = torch.zeros(2, 64, 2, 64, dtype=torch.bfloat16)
        odd = torch.zeros(2 * 64 * 2 * 64 + 4, dtype=torch.bfloat16)[4:].view(q.shape)
        for _ in range(2):
            fresnel.attention(q, q, q)
            for kind, message, tensors in ((ValueError, "k starts 4 elements into its storage", (q, odd, q)),
                                           (ValueError, "v has batch size 1, but q has 2", (q, q, q[:1])),
                                           (TypeError, "k has dtype torch.float16", (q, q.half(), q)),
                                           (TypeError, "v must be a torch.Tensor", (q, q, 3))):
                with self.assertRaisesRegex(kind, message):
                    fresnel.attention(*tensors)

    def test_no_more_layouts_are_remembered_than_will_be_used(self):
        self.enterContext(mock.patch.object(_arguments, "MAX_KNOWN", 2))
        for padding in range(0, 64, 8):
            q = torch.zeros(1, 64, 2, 64 + padding, dtype=torch.bfloat16)[..., :64]
            fresnel.attention(q, q, q)
            self.assertLessEqual(len(_attention._calls.__dict__), 2)
            self.assertLessEqual(len(_arguments._checked), 2)
        self.assertEqual(len(self.runs), 8)

    def test_edited_program_is_another_one(self):
        q = torch.zeros(1, 64, 2, 64, dtype=torch.bfloat16)
        sizes = ["--set=seq_len=64", "--set=heads=2", "--set=kv_heads=2", "--set=head_dim=64"]
        text = subprocess.run([EXECUTABLE, "compile", "dense", "--emit", "program", *sizes], capture_output=True, text=True,
                              check=True).stdout
        method = self.folder / "mine.mlir"
        for number, content in enumerate((text, text, text + "// Edited\n"), 1):
            if content != text or number == 1:
                method.write_text(content)
            fresnel.attention(q, q, q, method)
        self.assertEqual(len(_attention._programs), 2)
        os.remove(method)
        with self.assertRaisesRegex(ValueError, "method: there is no file .*mine.mlir"):
            fresnel.attention(q, q, q, method)

    def test_threads_have_launches_of_their_own(self):
        q, errors = torch.zeros(1, 64, 2, 64, dtype=torch.bfloat16), []

        def work():
            try:
                for _ in range(20):
                    fresnel.attention(q, q, q)
            except Exception as error:  # Reported by the main thread.
                errors.append(error)

        threads = [threading.Thread(target=work) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        self.assertEqual((errors, len(self.runs), len(_attention._programs)), ([], 80, 1))

    def test_gradients_are_differentiable_once(self):
        q = self.make(1, 64, 2, 64)
        gradient, = torch.autograd.grad(fresnel.attention(q, q, q).sum(), q, create_graph=True)
        with self.assertRaisesRegex(RuntimeError, "no autograd formula was registered"):
            gradient.sum().backward()

    def test_expanded_gradient_is_made_readable(self):
        q = self.make(1, 64, 2, 64)
        fresnel.attention(q, q, q).sum().backward()
        strides = self.runs[1][1]["dout"].strides
        self.assertEqual(strides, (64 * 2 * 64, 64, 2 * 64, 1))

    def test_without_gradients_only_the_forward_plan_is_made(self):
        q = self.make(1, 64, 2, 64)
        with torch.no_grad():
            fresnel.attention(q, q, q)
        program, = _attention._programs.values()
        self.assertFalse(program.has_backward)

    def test_schedules_make_other_programs(self):
        q = self.make(1, 64, 2, 64)

        def schedules(**arguments):
            _attention._programs.clear()
            _attention._calls.__dict__.clear()
            fresnel.attention(q, q, q, **arguments).sum().backward()
            program, = _attention._programs.values()
            return {kernel["op"]: kernel["schedule"] for kernel in program.manifest["kernels"]}

        plain = schedules()
        self.assertEqual(schedules(schedule="stages=2")["fresnel.attend"], dict(plain["fresnel.attend"], stages=2))
        self.assertIn("fresnel.attend_grad_q", schedules(gradient_schedule="family=portable"))
        free = schedules(deterministic=False)
        self.assertEqual(free["fresnel.attend_grad"]["ordered"], False)
        torch.use_deterministic_algorithms(True)
        self.addCleanup(torch.use_deterministic_algorithms, False)
        self.assertEqual(schedules(deterministic=False), plain, "PyTorch's own switch is stronger")

    def test_options_of_the_gradient_do_not_touch_the_forward_plan(self):
        q = self.make(1, 64, 2, 64)
        with torch.no_grad():
            fresnel.attention(q, q, q)
            fresnel.attention(q, q, q, deterministic=False, gradient_schedule="family=portable")
        self.assertEqual(len(_attention._programs), 1)

    def test_compiled_function_has_no_graph_break(self):
        q, kv = self.make(1, 64, 4, 64), self.make(1, 64, 2, 64)
        step = torch.compile(lambda q, k: fresnel.attention(q, k, k, "window", window=16, deterministic=False) * 2,
                             fullgraph=True, backend="aot_eager")
        step(q, kv).sum().backward()
        self.assertEqual([direction for direction, _ in self.runs], [fresnel.FORWARD, fresnel.BACKWARD])
        self.assertEqual(kv.grad.shape, kv.shape)

    def test_compiled_function_serves_any_documents(self):
        q, backend = self.make(1, 64, 2, 64), CompileCounterWithBackend("aot_eager")
        step = torch.compile(lambda q, cu: fresnel.attention(q, q, q, "documents", cu_seqlens=cu) * 2, fullgraph=True,
                             backend=backend)
        for ends in (30, 64), (64,), (10, 20, 64), (*range(7, 64, 7), 64):
            step(q, torch.tensor([0, *ends], dtype=torch.int32)).sum().backward()
            self.assertEqual(self.runs[-2][1]["cu_seqlens"].shape, (1, 1, 17))
        self.assertEqual([direction for direction, _ in self.runs], 4 * [fresnel.FORWARD, fresnel.BACKWARD])
        self.assertEqual(len(_attention._programs), 1)
        self.assertEqual(backend.frame_count, 2, "one for two documents, then one for any number up to 16")

    def test_modes_of_autograd(self):
        q = self.make(1, 64, 2, 64)
        with torch.inference_mode():
            self.assertTrue(fresnel.attention(q, q, q).is_inference())
        out = torch.utils.checkpoint.checkpoint(fresnel.attention, q, q, q, use_reentrant=False)
        self.assertEqual([direction for direction, _ in self.runs], [fresnel.FORWARD] * 2)
        out.sum().backward()
        self.assertEqual([direction for direction, _ in self.runs[2:]], [fresnel.FORWARD, fresnel.BACKWARD], "recomputed")
        out, lse = fresnel.attention(q, q.detach(), q, return_lse=True)
        self.assertEqual((out.requires_grad, lse.requires_grad), (True, False))
        self.assertEqual(len(torch.autograd.grad(out.sum(), [q])), 1)

    def test_torch_sees_the_operations(self):
        """What looks at operations, as selective checkpointing and profilers do, finds ours."""
        from torch.utils._python_dispatch import TorchDispatchMode
        seen = []

        class Watch(TorchDispatchMode):
            def __torch_dispatch__(self, function, types, args=(), kwargs=None):
                seen.append(str(function))
                return function(*args, **(kwargs or {}))

        q = self.make(1, 64, 2, 64)
        with Watch():
            fresnel.attention(q, q, q).sum().backward()
        self.assertIn("fresnel.attention_forward.default", seen)
        self.assertIn("fresnel.attention_backward.default", seen)

    def test_operations_are_well_formed(self):
        q = self.make(1, 64, 2, 64)
        torch.library.opcheck(torch.ops.fresnel.attention_forward, (q, q, q, "dense|True"),
                              test_utils=("test_schema", "test_autograd_registration", "test_faketensor"))
        cu = torch.tensor([0, 10, 64], dtype=torch.int32)
        torch.library.opcheck(torch.ops.fresnel.attention_forward, (q, q, q, "documents|True|documents=2", cu),
                              test_utils=("test_schema", "test_autograd_registration", "test_faketensor"))

    def test_first_call_in_a_capture_is_refused(self):
        q = self.make(1, 64, 2, 64)
        with mock.patch.object(torch.cuda, "is_current_stream_capturing", lambda: True), \
                self.assertRaisesRegex(fresnel.FresnelError, "for the first time inside a CUDA graph capture"):
            fresnel.attention(q, q, q)


if __name__ == "__main__":
    unittest.main()
