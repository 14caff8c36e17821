"""The runtime by ctypes, on the fake driver: what plans say of themselves, and what launches refuse."""

import ctypes
import gc
import os
import pathlib
import subprocess
import tempfile
import unittest

import fresnel
from fresnel import _library
from support import EXECUTABLE, FAKE_DRIVER, INPUTS, CacheTest, in_threads, needs_compiler, needs_fake_driver, use_fake_driver

use_fake_driver()


def references(plan, direction, **changes):
    """Contiguous tensors for a plan, at made-up addresses."""
    tensors = {}
    for index, argument in enumerate(plan.arguments(direction)):
        strides = [1] * len(argument.shape)
        for axis in range(len(strides) - 1, 0, -1):
            strides[axis - 1] = strides[axis] * argument.shape[axis]
        tensors[argument.name] = fresnel.TensorRef(0x100000 * (index + 1), argument.dtype, argument.shape, tuple(strides))
    for name, change in changes.items():
        tensors[name] = tensors[name]._replace(**change)
    return tensors


@needs_compiler
@needs_fake_driver
class PlanTest(CacheTest):
    @classmethod
    def setUpClass(cls):
        folder = tempfile.TemporaryDirectory()
        cls.addClassCleanup(folder.cleanup)
        cls.path = pathlib.Path(folder.name) / "lighthouse.fkb"
        sets = [f"--set={name}" for name in ("seq_len=300", "heads=4", "kv_heads=2", "head_dim=64", "topk=20")]
        subprocess.run([EXECUTABLE, "compile", "lighthouse", "--grad", *sets, "-o", cls.path, "--no-ptxas", "--no-db",
                        "--json"], check=True, stdout=subprocess.DEVNULL)

    def setUp(self):
        super().setUp()
        self.plan = fresnel.load(self.path)
        self.memory = dict(workspace=0x10000000, workspace_bytes=1 << 30, saved=0x20000000, saved_bytes=1 << 30)
        self.fake = ctypes.CDLL(str(FAKE_DRIVER))

    def test_plan_describes_its_tensors(self):
        names = [argument.name for argument in self.plan.arguments()]
        self.assertEqual(names, ["q", "k", "v", "selected", "lse", "out"])
        k = self.plan.arguments()[1]
        self.assertEqual(k, fresnel._library.Argument("k", "bf16", (1, 2, 300, 64), False))
        backward = {argument.name: argument.is_output for argument in self.plan.arguments(fresnel.BACKWARD)}
        self.assertEqual({name for name, is_output in backward.items() if is_output}, {"dq", "dk", "dv"})
        saved = self.plan.saved()
        self.assertGreater(len(saved), 0)
        self.assertLessEqual(max(s.offset + s.bytes for s in saved), self.plan.saved_bytes)
        self.assertGreater(self.plan.workspace_bytes(fresnel.BACKWARD), 0)

    def test_both_directions_launch_their_kernels(self):
        before = self.fake.FakeDriver_launches()
        self.plan.run(fresnel.FORWARD, references(self.plan, fresnel.FORWARD), **self.memory)
        forward = self.fake.FakeDriver_launches()
        self.plan.run(fresnel.BACKWARD, references(self.plan, fresnel.BACKWARD), **self.memory)
        self.assertGreater(forward, before)
        self.assertGreater(self.fake.FakeDriver_launches(), forward)
        self.assertEqual(self.fake.FakeDriver_allocations(), 0)

    def test_digests_compare_what_is_loaded(self):
        same, other = fresnel.load(self.path), fresnel.load(fresnel.compile("dense", grad=False, seq_len=100, head_dim=32))
        self.assertRegex(same.digest, "^[0-9a-f]{64}$")
        self.assertEqual(same.digest, self.plan.digest)
        self.assertNotEqual(other.digest, self.plan.digest)
        both = fresnel.loaded_digest()
        del other
        gc.collect()
        self.assertNotEqual(fresnel.loaded_digest(), both)
        self.assertRegex(fresnel.selection_digest(), "^[0-9a-f]{64}$")
        (self.folder / "empty").mkdir()
        self.assertEqual(fresnel.selection_digest(self.folder / "empty"), fresnel.selection_digest())
        for missing in (self.folder / "none", ""):
            with self.assertRaisesRegex(fresnel.FresnelError, f"^{missing}: no such database"):
                fresnel.selection_digest(missing)
        with self.assertRaisesRegex(fresnel.FresnelError, r"cuDeviceGet\(5\)"):
            fresnel.selection_digest(device=5)

    def test_kernels_say_what_chose_their_schedules(self):
        names = [kernel.op for kernel in self.plan.kernels()]
        self.assertEqual(names[-1], "fresnel.scatter_by_slots")
        self.assertEqual({kernel.choice for kernel in self.plan.kernels(fresnel.BACKWARD)}, {"heuristic"})
        self.assertEqual({kernel.op: kernel.schedule["family"] for kernel in self.plan.kernels()}["fresnel.attend"], "hopper")
        database, sizes = self.folder / "tuned", ["--head-dim", "64", "--heads", "2", "--target", "sm_90a"]
        self.set_environment(FRESNEL_TUNE_WORKER=str(INPUTS / "fake_worker.py"), FRESNEL_DB=str(database))
        subprocess.run([EXECUTABLE, "tune", "dense", "--seq", "64", "--most", "1", *sizes], check=True, capture_output=True)
        for seq_len, choice in ((64, "exact"), (80, "nearest"), (4096, "heuristic")):
            path = fresnel.compile("dense", grad=False, seq_len=seq_len, head_dim=64, heads=2, kv_heads=2)
            self.assertEqual([(kernel.op, kernel.choice) for kernel in fresnel.load(path).kernels()],
                             [("fresnel.attend", choice)])

    def test_layouts_may_change_from_call_to_call(self):
        plain = references(self.plan, fresnel.FORWARD)
        padded = references(self.plan, fresnel.FORWARD, q={"strides": (4 * 300 * 72, 300 * 72, 72, 1)})
        for tensors, stride in ((plain, 64), (padded, 72), (plain, 64)):
            self.plan.run(fresnel.FORWARD, tensors, **self.memory)
            entries = self.plan._layouts.__dict__[fresnel.FORWARD][1].entries
            self.assertEqual(entries[0].strides[2], stride)

    def test_wrong_tensors_are_named(self):
        cases = {
            "tensor 'q' .*is f16, but the kernels take bf16": {"q": {"dtype": "f16"}},
            "tensor 'k' .*size 301 in dimension 2, but 300": {"k": {"shape": (1, 2, 301, 64)}},
            "tensor 'v' .*stride 2 in its last dimension": {"v": {"strides": (38400, 19200, 64, 2)}},
            "tensor 'q' .*not aligned to 16 bytes": {"q": {"pointer": 0x100008}},
            "tensor 'out' .*null pointer": {"out": {"pointer": None}},
            "'q'.*has dtype 'f64'": {"q": {"dtype": "f64"}},
        }
        before = self.fake.FakeDriver_launches()
        for message, change in cases.items():
            with self.subTest(message), self.assertRaisesRegex(ValueError, message):
                self.plan.run(fresnel.FORWARD, references(self.plan, fresnel.FORWARD, **change), **self.memory)
        tensors = references(self.plan, fresnel.FORWARD)
        with self.assertRaisesRegex(ValueError, r"lacks \['q'\] and has \['x'\] too many"):
            self.plan.run(fresnel.FORWARD, {("x" if name == "q" else name): t for name, t in tensors.items()}, **self.memory)
        self.assertEqual(self.fake.FakeDriver_launches(), before)

    def test_memory_that_is_too_small_is_refused(self):
        tensors = references(self.plan, fresnel.FORWARD)
        with self.assertRaisesRegex(fresnel.FresnelError, "workspace has 0 bytes"):
            self.plan.run(fresnel.FORWARD, tensors, saved=0x20000000, saved_bytes=1 << 30)
        with self.assertRaisesRegex(fresnel.FresnelError, "saved buffer has 0 bytes"):
            self.plan.run(fresnel.FORWARD, tensors, workspace=0x10000000, workspace_bytes=1 << 30)

    def test_bundle_without_gradients_says_so(self):
        plan = fresnel.load(fresnel.compile("dense", grad=False, seq_len=100, head_dim=32))
        self.assertFalse(plan.has_backward)
        for call in (plan.arguments, plan.workspace_bytes):
            with self.assertRaisesRegex(fresnel.UnsupportedError, "compile the method with --grad"):
                call(fresnel.BACKWARD)
        with self.assertRaisesRegex(ValueError, "direction is 7"):
            plan.arguments(7)

    def test_errors_of_the_driver_are_passed_on(self):
        self.set_environment(FRESNEL_FAKE="launch")
        with self.assertRaisesRegex(fresnel.FresnelError, "CUDA_ERROR_LAUNCH_FAILED"):
            self.plan.run(fresnel.FORWARD, references(self.plan, fresnel.FORWARD), **self.memory)
        os.environ["FRESNEL_FAKE"] = "other-context"
        with self.assertRaisesRegex(ValueError, r"not the primary context of GPU 0.*cudaSetDevice\(0\)"):
            self.plan.run(fresnel.FORWARD, references(self.plan, fresnel.FORWARD), **self.memory)
        os.environ["FRESNEL_FAKE"] = "bad-ptx"
        with self.assertRaisesRegex(fresnel.FresnelError, "JIT log:\nline 1; fatal"):
            fresnel.load(self.path)
        with self.assertRaisesRegex(fresnel.FresnelError, r"cuDeviceGet\(5\)"):
            fresnel.load(self.path, device=5)

    def test_plan_is_unloaded_with_its_last_reference(self):
        before = self.fake.FakeDriver_releases()
        plan = fresnel.load(self.path)
        self.assertEqual(self.fake.FakeDriver_releases(), before)
        del plan
        gc.collect()
        self.assertEqual(self.fake.FakeDriver_releases(), before + 1)

    def test_threads_share_a_plan(self):
        def work():
            for _ in range(50):
                self.plan.run(fresnel.FORWARD, references(self.plan, fresnel.FORWARD), **self.memory)

        self.assertEqual(in_threads(work), [])

    def test_paths_are_checked(self):
        with self.assertRaisesRegex(ValueError, "there is no file /nonexistent.fkb; `fresnel compile"):
            fresnel.load("/nonexistent.fkb")
        with self.assertRaisesRegex(TypeError, "path must be a path, but got int"):
            fresnel.load(3)
        for device in ("cuda:0", -1, None):
            with self.assertRaisesRegex(ValueError, f"device is {device!r}, but the number of a GPU is expected"):
                fresnel.load(self.path, device)
        damaged = self.folder / "damaged.fkb"
        damaged.write_bytes(self.path.read_bytes()[:-1])
        with self.assertRaisesRegex(fresnel.FresnelError, "damaged"):
            fresnel.load(damaged)


class MissingRuntimeTest(CacheTest):
    def test_missing_library_names_the_variable(self):
        self.set_environment(FRESNEL_RUNTIME="/nonexistent/libfresnel_rt.so.1")
        loaded, _library._library = _library._library, None
        self.addCleanup(setattr, _library, "_library", loaded)
        with self.assertRaisesRegex(fresnel.FresnelError, "set FRESNEL_RUNTIME .*/nonexistent"):
            _library.runtime()


if __name__ == "__main__":
    unittest.main()
