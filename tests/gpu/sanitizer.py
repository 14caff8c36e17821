"""What compute-sanitizer has said around a case.

Its exit code is that of the program it runs, whatever it reports, unless it is asked for another one; and a program whose
results are right may well have hazards. So cases look at the summary.
"""

import re


def found_nothing(wrap, result):
    """Whether the command that a case was wrapped in reports nothing, if it is compute-sanitizer."""
    if "compute-sanitizer" not in wrap:
        return True
    summaries = re.findall(r"SUMMARY: (\d+) (?:errors?|hazards?)\b", result.stdout + result.stderr)
    return bool(summaries) and all(int(count) == 0 for count in summaries)
