"""Checks the rules that keep the parts of Fresnel separable, and the size budget.

  runtime/   includes nothing of mlir/ or llvm/
  dialects/  includes neither compiler/ nor runtime/
  compiler/  includes of runtime/ only fresnel/Artifact/ and fresnel/Reference/, but compiler/fresnel/Jit/, in which
             compiler and runtime meet, includes all of it; nothing else in compiler/ includes fresnel/Jit/
  every source file starts with its header comment and names its licence; it, every Python file and every C++ file of
             tests and examples have at most 500 lines

Usage: include_rules.py SOURCE_DIR. Exit code 1 and one line per violation.
"""

import pathlib
import re
import sys

INCLUDE = re.compile(r'^\s*#\s*include\s*[<"]([^>"]+)[>"]')
LICENCE = "SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception"
MAX_LINES = 500


def folders(root):
    """Names of the folders below ROOT/fresnel, i.e. what `fresnel/<name>/` includes reach."""
    base = root / "fresnel"
    return {p.name for p in base.iterdir() if p.is_dir()} if base.is_dir() else set()


def too_long(where, lines):
    if len(lines) > MAX_LINES:
        yield f"{where}:{len(lines)}: more than {MAX_LINES} lines; split by concern"


def violations(source):
    for part in ("python", "examples", "benchmarks", "tests", "docs"):
        for path in sorted((source / part).rglob("*")):
            if path.suffix in (".py", ".h", ".cpp", ".c"):
                yield from too_long(path.relative_to(source), path.read_text().splitlines())
    parts = {name: folders(source / name) for name in ("dialects", "compiler", "runtime")}
    forbidden = {
        "runtime": parts["compiler"] | parts["dialects"],
        "dialects": parts["compiler"] | parts["runtime"],
        "compiler": parts["runtime"] - {"Artifact", "Reference"},
    }
    for part in (*parts, "tools"):
        for path in sorted((source / part).rglob("*")):
            if path.suffix not in (".h", ".cpp", ".c", ".def", ".td"):
                continue
            lines = path.read_text().splitlines()
            where = path.relative_to(source)
            if not any(LICENCE in line for line in lines[:12]):
                yield f"{where}:1: no licence line ({LICENCE}) in the first 12 lines"
            yield from too_long(where, lines)
            for number, line in enumerate(lines, 1):
                match = INCLUDE.match(line)
                if not match:
                    continue
                target = match.group(1)
                head, _, rest = target.partition("/")
                if part == "runtime" and head in ("mlir", "llvm"):
                    yield f"{where}:{number}: runtime/ must not include {target}"
                jit = part == "compiler" and where.parts[2] == "Jit"
                banned = forbidden.get(part, set()) | ({"Jit"} if part == "compiler" else set())
                if head == "fresnel" and not jit and rest.split("/")[0] in banned:
                    yield f"{where}:{number}: {part}/ must not include {target}"


def main():
    found = list(violations(pathlib.Path(sys.argv[1])))
    print("\n".join(found) or "include rules: ok")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
