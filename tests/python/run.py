"""Runs the unittest cases of one file and writes their outcomes as JSON, for check.py.

A file a process: the runtime reads its driver once, so tests on the fake driver and tests on a GPU do not mix.
Usage: run.py FILE [-k PATTERN ...] [--json REPORT]. Environment: FRESNEL_BUILD, the build folder. Exit code 1 if a case failed.
"""

import argparse
import importlib.util
import json
import pathlib
import sys
import unittest

HERE = pathlib.Path(__file__).resolve().parent


class Result(unittest.TextTestResult):
    """Remembers every case: (name, "passed" | "failed" | "skipped", reason)."""

    def __init__(self, *arguments, **options):
        super().__init__(*arguments, **options)
        self.cases = []

    def addSuccess(self, test):
        super().addSuccess(test)
        self.cases.append((test.id(), "passed", ""))

    def addSkip(self, test, reason):
        super().addSkip(test, reason)
        self.cases.append((test.id(), "skipped", reason))

    def addFailure(self, test, error):
        super().addFailure(test, error)
        self.cases.append((test.id(), "failed", str(error[1])))

    def addError(self, test, error):
        super().addError(test, error)
        self.cases.append((test.id(), "failed", str(error[1])))

    def addSubTest(self, test, subtest, error):
        super().addSubTest(test, subtest, error)
        if error:
            self.cases.append((subtest.id(), "failed", str(error[1])))


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("file", type=pathlib.Path)
    parser.add_argument("-k", dest="patterns", action="append", help="run the cases whose names match this, as in unittest")
    parser.add_argument("--json", type=pathlib.Path)
    arguments = parser.parse_args()
    sys.path[:0] = [str(HERE), str(HERE.parent.parent / "python")]
    spec = importlib.util.spec_from_file_location(arguments.file.stem, arguments.file)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    loader = unittest.TestLoader()
    loader.testNamePatterns = arguments.patterns and [p if "*" in p else f"*{p}*" for p in arguments.patterns]
    suite = loader.loadTestsFromModule(module)
    result = unittest.TextTestRunner(resultclass=Result, verbosity=2).run(suite)
    if arguments.json:
        arguments.json.write_text(json.dumps(result.cases))
    return 0 if result.wasSuccessful() else 1


if __name__ == "__main__":
    sys.exit(main())
