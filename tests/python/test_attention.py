"""`fresnel.attention` without a GPU: what reaches the (fake) driver.

CPU tensors stand in for CUDA tensors: the fake driver reads no memory.
"""

import contextlib
import ctypes
import os
import subprocess
import threading
import unittest
from unittest import mock

import fresnel
from support import EXECUTABLE, FAKE_DRIVER, CacheTest, in_threads, needs_compiler, needs_fake_driver, use_fake_driver

use_fake_driver()
try:
    import torch
    import torch.utils.checkpoint
    from torch._dynamo.testing import CompileCounterWithBackend
    from fresnel import _arguments, _attention, _inputs, _library, _programs
except ModuleNotFoundError:
    torch = None


class Array:
    """An array of another library: all that is known of it is DLPack."""

    def __init__(self, tensor):
        self.tensor, self.__dlpack_device__ = tensor, tensor.__dlpack_device__

    def __dlpack__(self, **arguments):
        if self.tensor.requires_grad:
            raise BufferError("has a gradient")
        return self.tensor.__dlpack__(**arguments)


@unittest.skipUnless(torch, "PyTorch is not installed")
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
                (_programs, "_target", lambda device: "sm_90a"), (_programs, "_programs", {}),
                (_attention, "_calls", threading.local()), (_arguments, "_checked", set()),
                (_arguments, "_check_device", lambda name, tensor: None),
                (_programs, "Plan", lambda path, device: load(path, 0)), (_library, "_Launcher", Launcher)):
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
        self.assertEqual(len(_programs._programs), 2)

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
        self.enterContext(mock.patch.object(_inputs, "_fit_documents", self.watch(_inputs._fit_documents, fitted)))
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
        self.assertEqual(len(_programs._programs), 2)

    def test_gates_reach_the_kernels(self):
        q, k, cu = self.make(2, 96, 4, 64), self.make(2, 96, 2, 64), torch.tensor([0, 10, 96], dtype=torch.int32)
        vsa, nsa = {"block": 32, "topk": 2}, {"block": 32, "topk": 3, "window": 16, "stride": 8, "sliding": 16}
        for method, branches, parameters in (("vsa", 2, vsa), ("nsa", 3, nsa), ("vsa_documents", 2, {**vsa, "cu_seqlens": cu})):
            with self.subTest(method):
                gates = self.make(2, 96, 4, branches)
                out = fresnel.attention(q, k, k, method, gates=gates, **parameters)
                gradients = torch.autograd.grad(out.sum(), [q, k, gates])
                for direction, tensors in self.runs[-2:]:
                    seen = tensors["gates"]
                    if method == "vsa_documents" and direction == fresnel.BACKWARD:
                        self.assertFalse(seen.dtype, "it has kept those that it moved")
                        continue
                    self.assertEqual((seen.pointer, seen.dtype, seen.shape), (gates.data_ptr(), "bf16", (2, 4, 96, branches)))
                    self.assertEqual(seen.strides, (96 * 4 * branches, branches, 4 * branches, 1))
                self.assertEqual([x.shape for x in gradients], [q.shape, k.shape, gates.shape])
                self.assertEqual(self.runs[-1][1]["dgates"].shape, (2, 4, 96, branches))
        with self.assertRaisesRegex(ValueError, "return_lse: method nsa has no output 'lse'"):
            fresnel.attention(q, k, k, "nsa", gates=self.make(2, 96, 4, 3), return_lse=True, **nsa)

    def test_gates_alone_may_need_a_gradient(self):
        q, gates = self.make(1, 64, 2, 64).detach(), self.make(1, 64, 2, 2)
        out = fresnel.attention(q, q, q, "vsa", gates=gates, block=32)
        self.assertEqual(torch.autograd.grad(out.sum(), gates)[0].shape, gates.shape)
        self.assertFalse(fresnel.attention(q, q, q, "vsa", gates=gates.detach(), block=32).requires_grad)
        with self.assertRaisesRegex(RuntimeError, "differentiable once"):
            out = fresnel.attention(q, q, q, "vsa", gates=gates, block=32)
            torch.autograd.grad(out.sum(), gates, create_graph=True)[0].sum().backward()

    def test_one_program_serves_any_documents(self):
        q, fitted = self.make(1, 64, 2, 64), []
        self.enterContext(mock.patch.object(_inputs, "_fit_documents", self.watch(_inputs._fit_documents, fitted)))
        for ends in (*range(8, 65, 8), 64), (64,), (10, 64):
            fresnel.attention(q, q, q, "documents", cu_seqlens=Array(torch.tensor([0, *ends], dtype=torch.int32)))
        self.assertEqual([seen["cu_seqlens"].pointer for _, seen in self.runs], [entries.data_ptr() for entries, _ in fitted])
        self.assertEqual((len(_programs._programs), len(_attention._calls.__dict__)), (1, 1))

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
        self.assertEqual(len(_programs._programs), 2)
        os.remove(method)
        with self.assertRaisesRegex(ValueError, "method: there is no file .*mine.mlir"):
            fresnel.attention(q, q, q, method)

    def test_threads_have_launches_of_their_own(self):
        q = torch.zeros(1, 64, 2, 64, dtype=torch.bfloat16)

        def work():
            for _ in range(20):
                fresnel.attention(q, q, q)

        self.assertEqual((in_threads(work), len(self.runs), len(_programs._programs)), ([], 80, 1))

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
        program, = _programs._programs.values()
        self.assertFalse(program.has_backward)

    def test_schedules_make_other_programs(self):
        q = self.make(1, 64, 2, 64)

        def schedules(**arguments):
            _programs._programs.clear()
            _attention._calls.__dict__.clear()
            fresnel.attention(q, q, q, **arguments).sum().backward()
            program, = _programs._programs.values()
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
        self.assertEqual(len(_programs._programs), 1)

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
        self.assertEqual(len(_programs._programs), 1)
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

        gates = self.make(1, 64, 2, 2)
        arguments = (q, q, q, "vsa|True|block=32", None, None, gates)
        torch.library.opcheck(torch.ops.fresnel.attention_forward, arguments,
                              test_utils=("test_schema", "test_autograd_registration", "test_faketensor"))
        with torch.no_grad():
            out, lse, kept = torch.ops.fresnel.attention_forward(*arguments)
        torch.library.opcheck(torch.ops.fresnel.attention_gated_backward,
                              (out, q, q, q, out, lse, kept, gates, "vsa|True|block=32"),
                              test_utils=("test_schema", "test_autograd_registration", "test_faketensor"))

    def test_first_call_in_a_capture_is_refused(self):
        q = self.make(1, 64, 2, 64)
        with mock.patch.object(torch.cuda, "is_current_stream_capturing", lambda: True), \
                self.assertRaisesRegex(fresnel.FresnelError, "for the first time inside a CUDA graph capture"):
            fresnel.attention(q, q, q)


if __name__ == "__main__":
    unittest.main()
