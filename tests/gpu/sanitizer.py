"""Runs cases, and reads what compute-sanitizer has said around them.

Its exit code is that of the program it runs, whatever it reports, unless it is asked for another one; and a program whose
results are right may well have hazards. So cases look at the summary.
"""

import re
import subprocess

# Under the sanitizer, on a machine that compiles other cases beside it.
LONGEST_SECONDS = 240


def run(command):
    """What `subprocess.run` gives; a kernel that does not end fails its case rather than the sweep."""
    try:
        return subprocess.run(command, capture_output=True, text=True, check=False, timeout=LONGEST_SECONDS)
    except subprocess.TimeoutExpired:
        return subprocess.CompletedProcess(command, 124, "", f"did not end within {LONGEST_SECONDS} s")


def found_nothing(wrap, result):
    """Whether the command that a case was wrapped in reports nothing, if it is compute-sanitizer."""
    if "compute-sanitizer" not in wrap:
        return True
    summaries = re.findall(r"SUMMARY: (\d+) (?:errors?|hazards?)\b", result.stdout + result.stderr)
    return bool(summaries) and all(int(count) == 0 for count in summaries)
