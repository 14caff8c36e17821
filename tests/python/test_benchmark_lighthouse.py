"""`benchmarks/lighthouse.py` without a GPU: who takes part, and from which length on Lighthouse is faster."""

import argparse
import contextlib
import importlib
import io
import math
import pathlib
import sys
import tempfile
import unittest

BENCHMARKS = pathlib.Path(__file__).resolve().parents[2] / "benchmarks"


def load_benchmark():
    sys.path.insert(0, str(BENCHMARKS))
    try:
        return importlib.import_module("lighthouse")
    finally:
        sys.path.remove(str(BENCHMARKS))


class LighthouseBenchmarkTest(unittest.TestCase):
    def setUp(self):
        self.benchmark = load_benchmark()

    def import_authors(self, name, text="", heads=8, kv_heads=8):
        """The module and what was printed, where a module of that name has this text."""
        with tempfile.TemporaryDirectory() as folder, contextlib.redirect_stdout(io.StringIO()) as printed:
            if text:
                (pathlib.Path(folder) / f"{name}.py").write_text(text)
            sys.path.insert(0, folder)
            importlib.invalidate_caches()
            try:
                arguments = argparse.Namespace(authors=name, heads=heads, kv_heads=kv_heads)
                return self.benchmark.import_authors(arguments), printed.getvalue()
            finally:
                sys.path.remove(folder)
                sys.modules.pop(name, None)

    def test_authors_take_part_where_they_are_installed(self):
        module, printed = self.import_authors("authors_plain", "class LighthouseLocal:\n  def __init__(self, topk): pass\n")
        self.assertEqual((module.__name__, printed), ("authors_plain", ""))

    def test_says_why_authors_do_not_take_part(self):
        turning = "class LighthouseLocal:\n  def __init__(self, topk, rope_theta): pass\n"
        for name, text, kv_heads, reason in (("authors_none", "", 8, "No module named 'authors_none'"),
                                             ("authors_rope", turning, 8, "another method"),
                                             ("authors_plain", turning, 2, "8 heads of queries for 2 of keys")):
            module, printed = self.import_authors(name, text, kv_heads=kv_heads)
            self.assertIsNone(module)
            self.assertIn(reason, printed)

    def test_length_from_which_on_it_is_faster(self):
        describe = self.benchmark.describe_meeting
        self.assertEqual(describe([(1024, 0.5), (4096, 2.0), (8192, math.nan)]), "Lighthouse is faster from 2048 tokens on")
        self.assertEqual(describe([(1024, 1.5)]), "Lighthouse is faster at every length from 1024 on")
        self.assertEqual(describe([(1024, 0.5)]), "dense attention is faster at 1024 still")
        self.assertEqual(describe([(1024, math.nan)]), "dense attention was not timed")


if __name__ == "__main__":
    unittest.main()
