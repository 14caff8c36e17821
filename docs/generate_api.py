"""Writes the reference of the C, C++ and Python interfaces from their sources: docs/generated/{c,cpp,python}-api.md.

A section per type, and per function or constant that a comment stands before (in C with or without one): the comment,
then the declaration without private parts and bodies.
`./dev docs` runs it. Usage: generate_api.py [--out FOLDER] [--check], which compares instead of writing.
"""

import argparse
import ast
import pathlib
import re
import sys

ROOT = pathlib.Path(__file__).resolve().parents[1]
C_HEADERS = ["runtime/fresnel/c/fresnel.h"]
CPP_HEADERS = [f"runtime/fresnel/{name}.h" for name in (
    "Artifact/Status", "Artifact/Bundle", "Artifact/Manifest", "Artifact/DType", "Artifact/Safetensors", "Artifact/KernelCache",
    "Runtime/Driver", "Runtime/Plan", "Runtime/PlanHandle", "Tuning/Selection", "Tuning/Database", "Tuning/Journal",
    "Tuning/Record", "Tuning/Workload")] + [f"compiler/fresnel/{name}.h" for name in (
        "Compiler/Compiler", "Compiler/Stage", "Jit/Jit")]
PYTHON = "python/fresnel"
TYPE = re.compile(r"(struct|class|enum class|enum) (\[\[\w+\]\] )?\w+.*\{")


# ----------------------------------------------------------------------------------------------------------------------
# C and C++
# ----------------------------------------------------------------------------------------------------------------------

def head_of(text):
    """The prose at the head of a header, and the rest of the file."""
    end = text.index("#ifndef")
    lines = [re.sub(r"^\s*(//|/?\*)/? ?", "", line).rstrip() for line in text[:end].splitlines()]
    lines = [re.sub(r"^ {2,}", "    ", line) for line in lines]  # Code.
    prose = [line for line in lines if "===" not in line and "SPDX" not in line and line != "/"]
    return "\n".join(prose).strip("\n"), text[end:]


def is_comment(line):
    return line.lstrip().startswith("///")


def c_comments_to_lines(text):
    """/* */ in the form of ///, so that one reader serves both languages."""
    def convert(match):
        lines = [re.sub(r"^\s*\* ?", "", line) for line in match.group(1).strip().splitlines()]
        return "\n".join(f"/// {line}".rstrip() for line in lines)
    return re.sub(r"^/\*(.*?)\*/$", convert, text, flags=re.DOTALL | re.MULTILINE)


def depth_of(line):
    code = re.sub(r'"(\\.|[^"\\])*"|\'(\\.|[^\'\\])\'', "", line.split("//")[0])
    return sum(code.count(c) for c in "({") - sum(code.count(c) for c in ")}")


def read_declaration(lines, at):
    """The lines of the declaration that begins at `at`, up to its `;` or closing brace, and where the next one begins."""
    taken, depth = [], 0
    while at < len(lines):
        taken.append(lines[at])
        depth += depth_of(lines[at])
        code = lines[at].split("//")[0].rstrip()
        at += 1
        if depth == 0 and code.endswith((";", "}")):
            break
    return taken, at


def without_bodies(taken):
    """A declaration without private parts, and functions without their bodies."""
    result, at, private = [], 0, False
    while at < len(taken):
        line = taken[at]
        if re.match(r"\s*(private|protected|public):", line):
            private = "public" not in line
        elif private and line.startswith("}"):
            private = False
        if private:
            at += 1
            continue
        body = re.match(r"^(\s*[\w:<>&*~ ,\[\]=!-]+\(.*\)[^{};]*?)(\s*:\s[^{]*)?\s*\{", line)
        if body and not re.match(r"^\s*(struct|class|enum|typedef)\b", line):
            depth = depth_of(line)
            while depth > 0:
                at += 1
                depth += depth_of(taken[at])
            line = body.group(1).rstrip() + ";"
        result.append(line)
        at += 1
    while result and not result[-1].strip():
        result.pop()
    return [line for line, after in zip(result, [*result[1:], ""]) if line.strip() or not after.startswith("}")]


def name_of(declaration):
    text = re.sub(r"\b(FRN_API|FRN_ENUM_BASE|template\s*<[^>]*>|static|inline|constexpr|explicit|virtual)\b", " ", declaration)
    macro = re.match(r"#define (\w+)", declaration)
    typedef = re.search(r"}\s*(\w+);\s*$", text) if declaration.lstrip().startswith("typedef") else None
    kind = re.match(r"\s*(?:struct|class|enum class|enum|typedef enum|using)\s+(?:\[\[\w+\]\]\s+)?(\w+)", text)
    function = re.search(r"([\w:~]+)\s*\(", text)
    variable = re.search(r"(\w+)\s*(?:=.*|\[.*|\{.*)?;\s*$", text, re.DOTALL)
    found = macro or typedef or kind or function or variable
    return found.group(1) if found else text.split()[-1].rstrip(";")


def sections_of(path, language):
    text = (ROOT / path).read_text()
    head, rest = head_of(text)
    include = path.split("/", 1)[1]
    result = [f"## {include}", ""] + ([head, ""] if head else [])
    lines = (c_comments_to_lines(rest) if language == "c" else rest).splitlines()
    at = 0
    while at < len(lines):
        is_plain = lines[at].startswith(("typedef", "FRN_API")) if language == "c" else TYPE.match(lines[at])
        if not (is_plain or is_comment(lines[at])) or lines[at].startswith(" "):
            at += 1
            continue
        comment = []
        while is_comment(lines[at]):
            comment.append(re.sub(r"^/// ?", "", lines[at]))
            at += 1
        declarations = []
        # Declarations that follow without an empty line share the comment.
        while at < len(lines) and lines[at].strip() and not is_comment(lines[at]):
            if lines[at].startswith("#define"):
                taken, at = [lines[at]], at + 1
            elif lines[at].startswith(("#", "}", "namespace")):
                break
            else:
                taken, at = read_declaration(lines, at)
            declarations.append(without_bodies(taken))
        if not declarations:
            continue
        declarations = [d for d in declarations if not d[0].startswith("static_assert")]
        names = dict.fromkeys(name_of("\n".join(d)) for d in declarations if not d[0].startswith("struct DL"))
        code = [line.replace("FRN_API ", "").replace(" FRN_ENUM_BASE", "") for d in declarations for line in d]
        title = "### " + ", ".join(f"`{name}`" for name in names)
        result += [title, "", *(comment and [*comment, ""]), f"```{language}", *code, "```", ""]
    return result


def header_reference(title, paths, language):
    parts = [f"# {title}", "", "Generated from the headers by `./dev docs`."]
    for path in paths:
        parts += ["", *sections_of(path, language)]
    return re.sub(r"\n{3,}", "\n\n", "\n".join(parts)).strip() + "\n"


# ----------------------------------------------------------------------------------------------------------------------
# Python
# ----------------------------------------------------------------------------------------------------------------------

def definitions():
    """Public name -> its syntax tree, from the modules that __init__.py takes it from."""
    package = ast.parse((ROOT / PYTHON / "__init__.py").read_text())
    exported = next(ast.literal_eval(node.value) for node in package.body
                    if isinstance(node, ast.Assign) and node.targets[0].id == "__all__")
    sources = {alias.asname or alias.name: (node.module, alias.name) for node in ast.walk(package)
               if isinstance(node, ast.ImportFrom) for alias in node.names}
    for name in exported:
        module, original = sources[name]
        for node in ast.parse((ROOT / PYTHON / f"{module}.py").read_text()).body:
            if getattr(node, "name", None) == original and ast.get_docstring(node):
                yield name, node


def signature(node, name):
    return f"{name}({ast.unparse(node.args)})"


def python_reference():
    package = ast.parse((ROOT / PYTHON / "__init__.py").read_text())
    parts = ["# Python interface", "", "Generated from `python/fresnel` by `./dev docs`.", "", ast.get_docstring(package), ""]
    for name, node in definitions():
        if isinstance(node, ast.FunctionDef):
            parts += [f"## `fresnel.{name}`", "", f"```python\n{signature(node, name)}\n```", "", ast.get_docstring(node), ""]
            continue
        parts += [f"## `fresnel.{name}`", "", ast.get_docstring(node), ""]
        for method in node.body:
            if isinstance(method, ast.FunctionDef) and not method.name.startswith("_") and ast.get_docstring(method):
                is_property = any("property" in ast.unparse(decorator) for decorator in method.decorator_list)
                parts += [f"### `{name}.{method.name}`", ""]
                parts += [] if is_property else [f"```python\n{signature(method, method.name)}\n```", ""]
                parts += [ast.get_docstring(method), ""]
    return "\n".join(parts).strip() + "\n"


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=pathlib.Path, default=ROOT / "docs" / "generated")
    parser.add_argument("--check", action="store_true")
    options = parser.parse_args()
    pages = {"c-api.md": header_reference("C interface", C_HEADERS, "c"),
             "cpp-api.md": header_reference("C++ interface", CPP_HEADERS, "cpp"), "python-api.md": python_reference()}
    files = {options.out / name: text for name, text in pages.items()}
    old = [path for path, text in files.items() if not path.exists() or path.read_text() != text]
    if options.check:
        return f"{', '.join(map(str, old))}: not as the sources say; run ./dev docs" if old else 0
    for path in old:
        path.write_text(files[path])
    return 0


if __name__ == "__main__":
    sys.exit(main())
