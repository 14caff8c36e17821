"""Documentation that follows the sources: the generated reference of the interfaces, quoted messages, links."""

import pathlib
import re
import subprocess
import sys
import tempfile
import unittest

from support import EXECUTABLE, needs_compiler

ROOT = pathlib.Path(__file__).resolve().parents[2]
SCRIPT = ROOT / "docs" / "generate_api.py"
GENERATED = ROOT / "docs" / "generated"


class ReferenceTest(unittest.TestCase):
    def test_committed_pages_are_as_the_sources_say(self):
        result = subprocess.run([sys.executable, SCRIPT, "--check"], capture_output=True, text=True, check=False)
        self.assertEqual((result.returncode, result.stderr), (0, ""))

    def test_old_pages_are_named(self):
        with tempfile.TemporaryDirectory() as folder:
            result = subprocess.run([sys.executable, SCRIPT, "--check", "--out", folder], capture_output=True, text=True,
                                    check=False)
        self.assertEqual(result.returncode, 1)
        self.assertIn("python-api.md: not as the sources say; run ./dev docs", result.stderr)

    def test_every_function_of_the_c_interface_is_there(self):
        page = (GENERATED / "c-api.md").read_text()
        headings = " ".join(line for line in page.splitlines() if line.startswith("### "))
        declared = re.findall(r"(?m)^FRN_API [^;(]*?(\w+)\(", (ROOT / "runtime/fresnel/c/fresnel.h").read_text())
        self.assertGreater(len(declared), 20)
        for name in declared:
            self.assertIn(f"`{name}`", headings)

    def test_private_parts_and_bodies_are_left_out(self):
        page = (GENERATED / "cpp-api.md").read_text()
        self.assertNotIn("private:", page)
        self.assertIn("  bool hasBackward() const;", page)
        self.assertEqual(page.count("```") % 2, 0)

    def test_every_public_name_of_python_is_there(self):
        page = (GENERATED / "python-api.md").read_text()
        for name in ("attention", "compile", "load", "Plan", "TensorRef", "UnsupportedError", "selection_digest"):
            self.assertIn(f"## `fresnel.{name}`", page)

    def test_every_environment_variable_has_a_line(self):
        page, names = (ROOT / "docs/environment.md").read_text(), set()
        for folder in ("runtime", "compiler", "tools", "python"):
            for path in (ROOT / folder).rglob("*"):
                if path.suffix in (".cpp", ".h", ".py"):
                    names |= set(re.findall(r'(?:getenv\(|value\(|environ\.get\(|environ\[)"([A-Z_]+)"', path.read_text()))
        self.assertLess({"FRESNEL_DB", "FRESNEL_JIT", "FRESNEL_BIN", "XDG_CACHE_HOME"}, names)
        self.assertEqual([name for name in sorted(names) if f"`{name}`" not in page], [])

    def test_messages_that_the_troubleshooting_page_quotes_exist(self):
        sources = " ".join(path.read_text() for folder in ("runtime", "compiler", "tools", "python")
                           for path in sorted((ROOT / folder).rglob("*")) if path.suffix in (".cpp", ".h", ".py"))
        sources = re.sub(r'"\s*\n\s*f?"', "", sources)  # A text that goes on in the next line.
        rows = re.findall(r"(?m)^\| (`.*?) \|", (ROOT / "docs/troubleshooting.md").read_text())
        self.assertGreater(len(rows), 10)
        parts = [part.strip(" '") for message in re.findall(r"`(.*?)`", " ".join(rows)) for part in message.split("...")]
        self.assertEqual([part for part in parts if part not in sources], [])

    def test_links_between_pages_lead_somewhere(self):
        for page in [ROOT / "README.md", *(ROOT / "docs").glob("*.md")]:
            for target in re.findall(r"\]\(([^)#:]+)\)", page.read_text()):
                self.assertTrue((page.parent / target).exists(), f"{page.name}: {target}")


@needs_compiler
class CommandLineTest(unittest.TestCase):
    """The pages and `fresnel COMMAND --help` speak of the same commands and options."""

    @staticmethod
    def options_of(*command):
        result = subprocess.run([EXECUTABLE, *command, "--help"], capture_output=True, text=True, check=False)
        return set(re.findall(r"(?m)^ +(?:-\w,)?(--[a-z][a-z-]*)", result.stdout.replace(",", ", ").replace(" -o, --", " --")))

    def test_every_option_has_a_line(self):
        page = (ROOT / "docs/cli.md").read_text()
        for command in ("compile", "run", "bench", "tune"):
            section = re.search(rf"(?ms)^## fresnel {command} .*?(?=^## )", page)[0]
            options = self.options_of(command) - {"--help", "--json"}
            self.assertGreater(len(options), 8)
            self.assertEqual([option for option in sorted(options) if option not in section], [], command)
            named = set(re.findall(r"(?<![\w-])--[a-z][a-z-]*", "".join(re.findall(r"(?m)^\| (`.*?) \|", section))))
            self.assertEqual(named - self.options_of(command), set(), command)

    def test_commands_of_the_pages_are_as_written_there(self):
        seen = 0
        for page in [ROOT / "README.md", *(ROOT / "docs").glob("*.md")]:
            for line in re.findall(r"(?m)^\$ (?:\w+=\S+ )?(?:build/bin/)?fresnel ([^#\n]*)", page.read_text()):
                words = line.split()
                command = words[:2] if words[0] in ("db", "cache") else words[:1]
                given = {word.split("=")[0] for word in words if word.startswith("--")}
                self.assertEqual(given - self.options_of(*command), set(), f"{page.name}: {line}")
                seen += 1
        self.assertGreater(seen, 20)


if __name__ == "__main__":
    unittest.main()
