"""`benchmarks/plot.py`: tables of attention.py as pictures."""

import importlib.util
import pathlib
import subprocess
import sys
import tempfile
import unittest
import xml.etree.ElementTree as xml

SCRIPT = pathlib.Path(__file__).resolve().parents[2] / "benchmarks" / "plot.py"
TABLE = """Some GPU, torch 2

| mask | B | H | N | D | kernel | sustained ms | TFLOP/s | peer over this | flushed ms | peer over this | relative L2 |
|---|---|---|---|---|---|---|---|---|---|---|---|
| causal | 2 | 16/16 | 8192 | 128 | Fresnel | 2.000 | 600 | 1.250 | 2.500 | 1.200 | 2.0e-03 |
| causal | 2 | 16/16 | 8192 | 128 | cuDNN | 2.500 | 480 | 1.000 | 3.000 | 1.000 |  |
| causal | 1 | 16/16 | 16384 | 128 | Fresnel | 4.000 | 620 | 1.250 | 4.000 | 1.200 | 2.0e-03 |
| causal | 1 | 32/8 | 16384 | 128 | Fresnel | 9.000 | 999 | 1.250 | 9.000 | 1.200 | 2.0e-03 |
| causal | 1 | 16/16 | 16384 | 192/128 | Fresnel | 2.000 | 680 | 1.250 | 2.000 | 1.200 | 2.0e-03 |
| full | 1 | 16/16 | 1000 | 64 | Fresnel | 1.000 | 300 | 1.250 | 1.000 | 1.200 | 2.0e-03 |
| lighthouse | 1 | 8/8 | 32768 | 128 | Fresnel | 1.000 | - | 3.0 | 1.000 | 3.0 |  |
"""


def load_plot():
    spec = importlib.util.spec_from_file_location("plot", SCRIPT)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


class PlotTest(unittest.TestCase):
    def test_rows_become_lines_of_panels(self):
        plot = load_plot()
        panels = plot.group(plot.read_rows(TABLE.splitlines()), "sustained")
        self.assertEqual(panels, {("causal", (128,)): {"Fresnel": {8192: 600.0, 16384: 620.0}, "cuDNN": {8192: 480.0}},
                                  ("causal", (192, 128)): {"Fresnel": {16384: 680.0}},
                                  ("full", (64,)): {"Fresnel": {1000: 300.0}}})
        flushed = plot.group(plot.read_rows(TABLE.splitlines()), "flushed")
        self.assertEqual(flushed["causal", (128,)]["cuDNN"], {8192: 400.0})

    def test_picture_has_a_point_for_each_number(self):
        with tempfile.TemporaryDirectory() as folder:
            output = pathlib.Path(folder) / "plot.svg"
            subprocess.run([sys.executable, SCRIPT, "-", "-o", output], input=TABLE, text=True, check=True)
            picture = xml.parse(output).getroot()
        name = "{http://www.w3.org/2000/svg}"
        self.assertEqual(len(list(picture.iter(name + "circle"))), 5)
        texts = [text.text for text in picture.iter(name + "text")]
        for text in ("causal, head dim 128: TFLOP/s", "causal, head dim 192/128: TFLOP/s", "full, head dim 64: TFLOP/s", "8k", "1000", "cuDNN"):
            self.assertIn(text, texts)

    def test_text_without_a_table_is_refused(self):
        result = subprocess.run([sys.executable, SCRIPT, "-", "-o", "never.svg"], input="nothing", text=True,
                                capture_output=True, check=False)
        self.assertEqual(result.returncode, 1)
        self.assertIn("holds no table of attention.py", result.stderr)
        self.assertFalse(pathlib.Path("never.svg").exists())


if __name__ == "__main__":
    unittest.main()
