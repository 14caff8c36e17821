"""Runs every test of a build (CTest, lit and the Python package's) and adds the results up.

GoogleTest cases are counted one by one, other CTest entries as one each. Skipped tests are listed with their
reason. The last line is `N passed, N failed, N skipped`; the exit code is 1 if anything failed or nothing ran.
"""

import argparse
import collections
import json
import os
import pathlib
import shutil
import subprocess
import sys
import tempfile
import xml.etree.ElementTree as xml


class Tally:
    def __init__(self):
        self.passed = 0
        self.failed = []
        self.skipped = []

    def skip(self, name, reason):
        self.skipped.append((name, " ".join(reason.split()) or "no reason given"))


def count_gtest(report, tally):
    """Adds the cases of one GoogleTest JSON report; returns how many of them failed."""
    failures = 0
    for suite in json.loads(report.read_text())["testsuites"]:
        for case in suite["testsuite"]:
            name = f"{suite['name']}.{case['name']}"
            if case.get("failures"):
                failures += 1
                tally.failed.append(name)
            elif case["result"] == "SKIPPED" or case["status"] == "NOTRUN":
                tally.skip(name, case.get("skip message", ""))
            else:
                tally.passed += 1
    return failures


def skip_reason(log, name):
    """The line that GoogleTest prints below `file:line: Skipped`."""
    lines = log.splitlines()
    for index, line in enumerate(lines):
        if line.endswith(f"[ RUN      ] {name}"):
            for at in range(index, len(lines) - 1):
                if lines[at].endswith(": Skipped"):
                    return lines[at + 1]
    return ""


def run_ctest(build, jobs, tally):
    with tempfile.TemporaryDirectory() as scratch:
        reports = pathlib.Path(scratch) / "gtest"
        junit = pathlib.Path(scratch) / "ctest.xml"
        environment = dict(os.environ, GTEST_OUTPUT=f"json:{reports}/")
        subprocess.run(
            ["ctest", "--test-dir", build, "--output-on-failure", "--no-tests=ignore", "-j", str(jobs),
             "--test-output-size-passed", "1000000", "--output-junit", str(junit)],
            env=environment, check=False)
        if not junit.exists():
            tally.failed.append("ctest did not run")
            return
        for case in xml.parse(junit).getroot().iter("testcase"):
            count_ctest_case(case, reports, tally)


def count_ctest_case(case, reports, tally):
    name, status = case.get("name"), case.get("status")
    log = case.findtext("system-out") or ""
    report = reports / f"{name}.json"
    if report.exists():
        before = len(tally.skipped)
        failures = count_gtest(report, tally)
        tally.skipped[before:] = [(n, skip_reason(log, n) or r) for n, r in tally.skipped[before:]]
        if status == "fail" and not failures:
            tally.failed.append(f"{name} (the program failed after its tests)")
    elif status == "run":
        tally.passed += 1
    elif status == "fail":
        tally.failed.append(name)
    else:
        tally.skip(name, log.strip().splitlines()[-1] if log.strip() else status)


def run_lit(build, jobs, tally):
    site = build / "tests"
    if not (site / "lit.site.cfg.py").exists():
        return
    lit = next((line.split("=", 1)[1] for line in (build / "CMakeCache.txt").read_text().splitlines()
                if line.startswith("FRESNEL_LIT:")), "lit")
    with tempfile.TemporaryDirectory() as scratch:
        report = pathlib.Path(scratch) / "lit.json"
        subprocess.run([lit, "-sv", f"-j{jobs}", "-o", str(report), str(site)], check=False)
        if not report.exists():
            tally.failed.append("lit did not run")
            return
        for test in json.loads(report.read_text())["tests"]:
            if test["code"] in ("PASS", "XFAIL", "FLAKYPASS"):
                tally.passed += 1
            elif test["code"] in ("UNSUPPORTED", "SKIPPED", "EXCLUDED"):
                tally.skip(test["name"], test.get("output", ""))
            else:
                tally.failed.append(test["name"])


def run_python(build, tally):
    tests = pathlib.Path(__file__).resolve().parent / "python"
    environment = dict(os.environ, FRESNEL_BUILD=str(build.resolve()))
    for file in sorted(tests.glob("test_*.py")):
        with tempfile.TemporaryDirectory() as scratch:
            report = pathlib.Path(scratch) / "report.json"
            code = subprocess.run([sys.executable, tests / "run.py", file, "--json", report], env=environment,
                                  check=False).returncode
            cases = json.loads(report.read_text()) if report.exists() else []
            for name, outcome, reason in cases:
                if outcome == "passed":
                    tally.passed += 1
                elif outcome == "skipped":
                    tally.skip(name, reason)
                else:
                    tally.failed.append(name)
            if code and not any(outcome == "failed" for _, outcome, _ in cases):
                tally.failed.append(f"{file.name} did not run")


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--build", default="build", help="build directory")
    parser.add_argument("-j", "--jobs", type=int, default=int(os.environ.get("FRESNEL_JOBS") or os.cpu_count() or 1))
    arguments = parser.parse_args()
    if not shutil.which("ctest"):
        sys.exit("check.py: ctest was not found (it comes with CMake)")
    tally = Tally()
    build = pathlib.Path(arguments.build)
    run_ctest(build, arguments.jobs, tally)
    run_lit(build, arguments.jobs, tally)
    run_python(build, tally)
    reasons = collections.defaultdict(list)
    for name, reason in tally.skipped:
        reasons[reason].append(name)
    for reason, names in reasons.items():
        more = f" and {len(names) - 3} more" if len(names) > 3 else ""
        print(f"skipped: {', '.join(names[:3])}{more}: {reason}")
    for name in tally.failed:
        print(f"FAILED: {name}")
    print(f"{tally.passed} passed, {len(tally.failed)} failed, {len(tally.skipped)} skipped")
    return 1 if tally.failed or not tally.passed else 0


if __name__ == "__main__":
    sys.exit(main())
