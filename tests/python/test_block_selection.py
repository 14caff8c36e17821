"""`benchmarks/block_selection.py`: what `fresnel bench` says as tables, by hand and on the fake driver."""

import importlib.util
import os
import pathlib
import subprocess
import sys
import tempfile
import unittest

from support import EXECUTABLE, FAKE_DRIVER, needs_compiler, needs_fake_driver

SCRIPT = pathlib.Path(__file__).resolve().parents[2] / "benchmarks" / "block_selection.py"


def load_script():
    spec = importlib.util.spec_from_file_location("block_selection", SCRIPT)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def make_kernel(name, us, flops=0, exact=True):
    """It moves 4 MB."""
    return {"kernel": f"{name}_0", "op": f"fresnel.{name}", "us": {"median": us}, "bytes_read": 3000000, "bytes_written": 1000000,
            "flops": flops, "exact": exact}


def make_document(kernels, modes, saved=0):
    """Two events with nothing between them take 2 us here, and a copy moves 4 TB/s."""
    plan = {"plan": "forward", "us": {mode: {"median": us} for mode, us in modes.items()}, "workspace_bytes": 3 << 20,
            "kernels": kernels}
    return {"ok": True, "device": {"name": "Some GPU"}, "ceilings": {"copy_tb_s": 4.0}, "empty_us": 2.0, "saved_bytes": saved,
            "checks": [], "plans": [plan]}


class TableTest(unittest.TestCase):
    def test_rates_are_of_the_time_between_the_events(self):
        kernels = [make_kernel("pool", 4.0, flops=2000000), make_kernel("block_score", 12.0, flops=10**9)]
        lines = "\n".join(load_script().report("some", make_document(kernels, {"plain": 42.0, "graph": 1.0}))).splitlines()
        self.assertIn("some, forward: 0.040 ms, workspace 3 MiB, device copy 4.00 TB/s", lines)
        # 4 MB in 2 us, and in 10 us 10^9 operations. Half an operation for each byte is no product.
        self.assertIn("| pool_0 | 0.0020 | 4.0 | 2.00 | 50 % |  |", lines)
        self.assertIn("| block_score_0 | 0.0100 | 4.0 | 0.40 | 10 % | 100 |", lines)

    def test_selection_is_set_beside_attention(self):
        kernels = [make_kernel("attend", 102.0, flops=10**10), make_kernel("regroup_scored", 12.0, flops=10**9),
                   make_kernel("select_blocks", 7.0), make_kernel("attend", 52.0, flops=10**10, exact=False)]
        document = make_document(kernels, {"plain": 999.0, "dependent": 202.0}, saved=5 << 20)
        text = "\n".join(load_script().report("some", document))
        self.assertIn("some, forward: 0.200 ms, workspace 3 MiB, saved 5 MiB, device copy 4.00 TB/s; scores and top-k 0.015 ms, "
                      "10.0 % of the 2 attentions (0.150 ms), 7.5 % of the whole", text)
        self.assertIn("| 2 % | at most 200 |", text)


@needs_compiler
@needs_fake_driver
class BenchTest(unittest.TestCase):
    """The driver's events are 0.25 ms apart, whatever is between them."""

    def setUp(self):
        self.environment = dict(os.environ, FRESNEL_CUDA_DRIVER=str(FAKE_DRIVER), FRESNEL_FAKE="writes")
        self.script = load_script()

    def bench(self, made, **options):
        before = dict(os.environ)
        self.addCleanup(lambda: (os.environ.clear(), os.environ.update(before)))
        os.environ.update(self.environment)
        return self.script.bench(str(EXECUTABLE), made, samples=1, **options)

    def test_programs_compile_and_give_rows(self):
        cases = {"blocks": (self.script.blocks(1024, 2, 128, 4), "block_score_2"),
                 "moba": (self.script.moba(32768, 2, 512, 3, stored=False), "select_scored_1"),
                 "stored": (self.script.moba(1024, 2, 128, 3, stored=True), "select_blocks_2"),
                 "nsa": (self.script.nsa(2048, 2, 1), "regroup_2"),
                 "combine": (self.script.combine(256, 2, 64), "gate_grad_3")}
        for name, (program, kernel) in cases.items():
            with self.subTest(name):
                self.assertIn(f"\n| {kernel} | ", "\n".join(self.script.report(name, self.bench(program))))

    def test_whole_method_has_its_gradients(self):
        parameters = {"seq_len": 1024, "heads": 2, "kv_heads": 1, "head_dim": 32}
        self.assertEqual([plan["plan"] for plan in self.bench(parameters)["plans"]], ["forward"])
        document = self.bench(parameters, grad=True)
        self.assertEqual([plan["plan"] for plan in document["plans"]], ["forward", "backward"])
        text = "\n".join(self.script.report("small", document))
        self.assertIn("of the 3 attentions", text)
        self.assertIn("\n| gate_delta_", text)

    def test_wrong_results_are_no_rows(self):
        self.environment["FRESNEL_FAKE"] = "writes-most"
        with self.assertRaisesRegex(RuntimeError, "i: 4 of 64 elements are not written"):
            self.bench(self.script.blocks(1024, 2, 128, 4))
        with self.assertRaisesRegex(RuntimeError, "no_such_parameter"):
            self.bench({"no_such_parameter": 1})


class CommandTest(unittest.TestCase):
    def test_unknown_names_and_failures_end_with_an_error(self):
        unknown = subprocess.run([sys.executable, SCRIPT, "--only", "nothing"], text=True, capture_output=True, check=False)
        self.assertEqual(unknown.returncode, 1)
        self.assertIn("no program has nothing in its name; there are blocks of 128", unknown.stderr)
        with tempfile.TemporaryDirectory() as folder:
            tool = pathlib.Path(folder) / "fresnel"
            tool.write_text("#!/bin/sh\necho broken >&2\nexit 4\n")
            tool.chmod(0o755)
            failed = subprocess.run([sys.executable, SCRIPT, "--fresnel", tool, "--only", "combine"], text=True,
                                    capture_output=True, check=False)
        self.assertEqual(failed.returncode, 1)
        self.assertIn("combine, N 65536 H16, blocks of 64: broken", failed.stderr)


if __name__ == "__main__":
    unittest.main()
