"""`tests/gpu/sanitizer.py`: a case under compute-sanitizer fails if anything is reported, whatever its exit code."""

import importlib.util
import pathlib
import subprocess
import unittest

SCRIPT = pathlib.Path(__file__).resolve().parents[1] / "gpu" / "sanitizer.py"
RACECHECK = "compute-sanitizer --tool racecheck"


def load_sanitizer():
    spec = importlib.util.spec_from_file_location("sanitizer", SCRIPT)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def finished(output):
    return subprocess.CompletedProcess([], 0, output, "")


class SanitizerTest(unittest.TestCase):
    def test_summaries_decide(self):
        found_nothing = load_sanitizer().found_nothing
        for clean in ("========= RACECHECK SUMMARY: 0 hazards displayed (0 errors, 0 warnings)",
                      "========= ERROR SUMMARY: 0 errors"):
            self.assertTrue(found_nothing(RACECHECK, finished(clean)), clean)
        for found in ("========= RACECHECK SUMMARY: 4 hazards displayed (4 errors, 0 warnings)",
                      "========= RACECHECK SUMMARY: 1 hazard displayed (0 errors, 1 warning)",
                      "========= ERROR SUMMARY: 1 error", "no summary at all"):
            self.assertFalse(found_nothing(RACECHECK, finished(found)), found)

    def test_other_commands_have_no_summary(self):
        self.assertTrue(load_sanitizer().found_nothing("", finished("")))
        self.assertTrue(load_sanitizer().found_nothing("nice", finished("")))


if __name__ == "__main__":
    unittest.main()
