"""The cache of compiled bundles: hits, damage, permissions, many processes, and the errors of the compiler."""

import os
import pathlib
import stat
import subprocess
import sys
import unittest
import warnings

import fresnel
from fresnel import _bundle, _compile
from support import EXECUTABLE, CacheTest, needs_compiler

SMALL = {"seq_len": 100, "heads": 2, "kv_heads": 1, "head_dim": 32}


@needs_compiler
class CompileTest(CacheTest):
    def test_second_call_finds_the_first_ones_bundle(self):
        path = fresnel.compile("dense", **SMALL)
        before = path.stat()
        self.assertEqual(fresnel.compile("dense", **SMALL), path)
        self.assertEqual((before.st_ino, before.st_mtime_ns), (path.stat().st_ino, path.stat().st_mtime_ns))
        self.assertNotEqual(fresnel.compile("dense", grad=False, **SMALL), path)
        self.assertNotEqual(fresnel.compile("dense", causal=False, **SMALL), path)

    def test_manifest_has_what_was_asked_for(self):
        manifest = _bundle.read_manifest(fresnel.compile("dense", causal=False, softcap=2.5, **SMALL))
        self.assertEqual(manifest["parameters"]["causal"], "false")
        self.assertEqual(float(manifest["parameters"]["softcap"]), 2.5)
        self.assertEqual(sorted(_bundle.arguments(manifest["backward"])), ["dk", "dout", "dq", "dv", "k", "lse", "out", "q", "v"])
        self.assertNotIn("backward", _bundle.read_manifest(fresnel.compile("dense", grad=False, **SMALL)))

    def test_lists_of_lengths_are_parameters(self):
        sizes = {name: size for name, size in SMALL.items() if name != "seq_len"}
        path = fresnel.compile("lighthouse_documents", documents=[40, 0, 60], topk=4, **sizes)
        self.assertEqual(_bundle.read_manifest(path)["parameters"]["documents"], "40,0,60")
        self.assertEqual(fresnel.compile("lighthouse_documents", documents="40,0,60", topk=4, **sizes), path)
        with self.assertRaisesRegex(ValueError, "'documents' sum to 100 tokens, but 'seq_len' is 101"):
            fresnel.compile("lighthouse_documents", documents=(40, 60), seq_len=101, topk=4, **sizes)

    def test_damaged_entry_is_compiled_again_with_a_warning(self):
        path = fresnel.compile("dense", **SMALL)
        good = path.read_bytes()
        for damaged in (good[:-5], good[:100] + b"x" + good[101:], good[:-200] + b"#" + good[-199:], b""):
            path.write_bytes(damaged)
            with self.assertWarnsRegex(RuntimeWarning, "put aside and compiled again"):
                self.assertEqual(fresnel.compile("dense", **SMALL), path)
            self.assertEqual(path.read_bytes(), good)

    def test_arguments_of_wrong_types_are_refused(self):
        with self.assertRaisesRegex(TypeError, "grad must be a bool, but got str"):
            fresnel.compile("dense", grad="no", **SMALL)
        with self.assertRaisesRegex(TypeError, "target must be a name such as sm_90a, but got int"):
            fresnel.compile("dense", target=90, **SMALL)
        with self.assertRaisesRegex(ValueError, "method is '--help', but a preset's name"):
            fresnel.compile("--help")

    def test_what_is_no_bundle_is_not_published(self):
        self.set_environment(FRESNEL_BIN="/bin/true")
        with self.assertRaisesRegex(fresnel.FresnelError, "/bin/true ended without an error, but wrote no bundle"):
            fresnel.compile("dense", **SMALL)
        self.assertEqual(list(self.folder.rglob("*.fkb")), [])

    def test_edited_file_is_another_bundle(self):
        text = subprocess.run([EXECUTABLE, "compile", "dense", "--emit", "program", "--set", "seq_len=64", "--set",
                               "head_dim=32"], capture_output=True, text=True, check=True).stdout
        method = self.folder / "mine.mlir"
        method.write_text(text)
        first = fresnel.compile(method)
        self.assertEqual(fresnel.compile(method), first)
        method.write_text(text.replace("x64x32x", "x80x32x").replace("x64xf32", "x80xf32"))
        second = fresnel.compile(method)
        self.assertNotEqual(first, second)
        self.assertEqual(_bundle.read_manifest(second)["buffers"][0]["shape"][2], 80)

    def test_tuning_database_is_part_of_the_key(self):
        path = fresnel.compile("dense", **SMALL)
        database = self.folder / "no-database" / "journal"
        database.mkdir(parents=True)
        (database / "a.jsonl").write_text("")
        self.assertNotEqual(fresnel.compile("dense", **SMALL), path)

    def test_folders_are_where_the_compiler_has_them(self):
        """A relative XDG_CACHE_HOME counts as none; without a home there is a word for what to set."""
        self.set_environment(FRESNEL_CACHE_DIR="", FRESNEL_DB="", XDG_CACHE_HOME="relative", HOME=str(self.folder))
        self.assertEqual(_compile.cache_folder(), self.folder / ".cache" / "fresnel")
        self.assertEqual(_compile._database(), self.folder / ".cache" / "fresnel" / "tuning")
        self.set_environment(XDG_CACHE_HOME=str(self.folder / "xdg"))
        self.assertEqual(_compile.cache_folder(), self.folder / "xdg" / "fresnel")
        self.set_environment(XDG_CACHE_HOME="", HOME="")
        self.assertIsNone(_compile._database())
        with self.assertRaisesRegex(fresnel.FresnelError, "HOME is not set; set FRESNEL_CACHE_DIR"):
            _compile.cache_folder()

    @unittest.skipIf(os.geteuid() == 0, "root reads everything")
    def test_database_that_cannot_be_read_is_named(self):
        (self.folder / "no-database").mkdir()
        (self.folder / "no-database" / "a.jsonl").write_text("")
        (self.folder / "no-database" / "a.jsonl").chmod(0)
        with self.assertRaisesRegex(fresnel.FresnelError, "no-database cannot be read: .*set FRESNEL_DB"):
            fresnel.compile("dense", **SMALL)

    def test_limits_of_the_workspace_reach_the_compiler_and_are_part_of_the_key(self):
        sizes = dict(SMALL, head_dim=64, heads=4, kv_heads=4)
        plain, limited = fresnel.compile("dense", **sizes), fresnel.compile("dense", workspace_limit=70000, **sizes)
        self.assertNotEqual(plain, limited)
        manifest = _bundle.read_manifest(limited)
        self.assertEqual(manifest["format"]["major"], 2)
        self.assertEqual(next(b for b in manifest["buffers"] if b["name"] == "q")["slices"], manifest["slices"])
        self.assertLessEqual(manifest["backward"]["workspace"]["bytes"], 70000)
        with self.assertRaisesRegex(fresnel.UnsupportedError, "the limit is 1; raise the limit"):
            fresnel.compile("dense", workspace_limit=1, **sizes)

    def test_queries_that_stay_alone_are_part_of_the_key(self):
        sizes = {"seq_len": 16384, "heads": 1, "kv_heads": 1, "grad": False}
        grouped, alone = fresnel.compile("moba", **sizes), fresnel.compile("moba", group_queries=False, **sizes)
        self.assertIn("fresnel.group_rows", self.schedules(grouped))
        self.assertNotIn("fresnel.group_rows", self.schedules(alone))

    def test_schedules_reach_the_compiler_and_are_part_of_the_key(self):
        sizes = dict(SMALL, head_dim=64)
        plain, fewer = fresnel.compile("dense", **sizes), fresnel.compile("dense", schedule="stages=2", **sizes)
        apart = fresnel.compile("dense", gradient_schedule="family=portable", **sizes)
        self.assertEqual(len({plain, fewer, apart}), 3)
        self.assertEqual(fresnel.compile("dense", schedule="stages=2", **sizes), fewer)
        self.assertEqual(self.schedules(fewer)["fresnel.attend"]["stages"], 2)
        self.assertIn("fresnel.attend_grad", self.schedules(plain))
        self.assertEqual(self.schedules(apart)["fresnel.attend_grad_q"]["family"], "portable")
        with self.assertRaisesRegex(ValueError, "--gradient-schedule: schedule field 'tiles' cannot be 3"):
            fresnel.compile("dense", gradient_schedule="tiles=3", **sizes)
        with self.assertRaisesRegex(TypeError, "gradient_schedule must be a string FIELD=VALUE:..., but got dict"):
            fresnel.compile("dense", gradient_schedule={"ordered": False}, **sizes)
        with self.assertRaisesRegex(ValueError, "schedule is 'a\\\\nb', but a schedule has one line"):
            fresnel.compile("dense", schedule="a\nb", **sizes)

    def schedules(self, path):
        return {kernel["op"]: kernel["schedule"] for kernel in _bundle.read_manifest(path)["kernels"] if "schedule" in kernel}

    def test_gradients_are_unordered_only_when_that_is_allowed(self):
        sizes = dict(SMALL, head_dim=64)
        free = fresnel.compile("dense", deterministic=False, **sizes)
        self.assertEqual(self.schedules(free)["fresnel.attend_grad"]["ordered"], False)
        self.assertNotIn("ordered", self.schedules(fresnel.compile("dense", **sizes))["fresnel.attend_grad"])
        asked = fresnel.compile("dense", deterministic=False, gradient_schedule="ordered=true", **sizes)
        self.assertNotIn("ordered", self.schedules(asked)["fresnel.attend_grad"])
        with self.assertRaisesRegex(ValueError, "gradient_schedule is 'ordered=false', .*pass deterministic=False"):
            fresnel.compile("dense", gradient_schedule="ordered=false", **sizes)
        self.assertEqual(fresnel.compile("dense", grad=False, deterministic=False, **sizes),
                         fresnel.compile("dense", grad=False, **sizes), "there is nothing to add")

    def test_kernels_with_one_order_take_it(self):
        """Head dim 32 has no kernel that adds in any order: to allow it changes nothing, to ask for it is an error."""
        path = fresnel.compile("dense", deterministic=False, **SMALL)
        self.assertEqual(self.schedules(path), self.schedules(fresnel.compile("dense", **SMALL)))
        before = path.stat().st_ino
        self.assertEqual(fresnel.compile("dense", deterministic=False, **SMALL).stat().st_ino, before)
        with self.assertRaisesRegex(fresnel.UnsupportedError, "ordered = false is for gradients of the hopper family"):
            fresnel.compile("dense", deterministic=False, gradient_schedule="ordered=false", **SMALL)
        with self.assertRaisesRegex(ValueError, "has no parameter 'tokp'"):
            fresnel.compile("dense", deterministic=False, tokp=3)

    def test_processes_compile_the_same_bundle_at_once(self):
        command = [sys.executable, "-c", f"import fresnel; print(fresnel.compile('dense', **{SMALL}))"]
        environment = dict(os.environ, PYTHONPATH=str(pathlib.Path(fresnel.__file__).parent.parent))
        processes = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment) for _ in range(4)]
        paths = {process.communicate()[0].strip() for process in processes}
        self.assertEqual([process.returncode for process in processes], [0] * 4)
        self.assertEqual(len(paths), 1)
        path = pathlib.Path(paths.pop())
        _bundle.read_manifest(path)
        self.assertEqual(os.listdir(path.parent), [path.name], "nothing temporary is left")

    def test_errors_of_the_compiler_name_the_argument(self):
        with self.assertRaisesRegex(ValueError, "method 'dense': preset 'dense' has no parameter 'tokp'"):
            fresnel.compile("dense", tokp=3)
        with self.assertRaisesRegex(ValueError, "no_such_method"):
            fresnel.compile("no_such_method")
        with self.assertRaisesRegex(fresnel.UnsupportedError, "the tensors hold f32"):
            fresnel.compile("nsa", grad=False, dtype="f32")
        with self.assertRaisesRegex(ValueError, "there is no file /nonexistent.mlir"):
            fresnel.compile("/nonexistent.mlir")
        with self.assertRaisesRegex(ValueError, "there is no file /"):
            fresnel.compile("/")
        with self.assertRaisesRegex(ValueError, "x.fkb is a bundle, which is compiled already; fresnel.load takes it"):
            fresnel.compile("x.fkb")
        with self.assertRaisesRegex(TypeError, "method must be a preset's name or a path, but got int"):
            fresnel.compile(3)

    def test_without_the_compiler_the_cache_still_serves(self):
        path = fresnel.compile("dense", **SMALL)
        self.set_environment(FRESNEL_BIN="/nonexistent/fresnel")
        self.assertEqual(fresnel.compile("dense", **SMALL), path)
        with self.assertRaisesRegex(fresnel.FresnelError, r"set FRESNEL_BIN .*FRESNEL_BIN is /nonexistent/fresnel"):
            fresnel.compile("dense", causal=False, **SMALL)


class CacheFolderTest(CacheTest):
    def test_folder_that_others_may_write_is_refused(self):
        folder = _compile.cache_folder()
        self.assertEqual(stat.S_IMODE(folder.stat().st_mode), 0o700)
        folder.chmod(0o770)
        with self.assertRaisesRegex(fresnel.FresnelError, "chmod go-w"):
            _compile.cache_folder()

    def test_link_is_refused(self):
        (self.folder / "elsewhere").mkdir(mode=0o700)
        (self.folder / "cache").symlink_to(self.folder / "elsewhere")
        with self.assertRaisesRegex(fresnel.FresnelError, "it is a link"):
            _compile.cache_folder()

    def test_folder_that_cannot_be_made_names_the_variable(self):
        (self.folder / "file").write_text("")
        self.set_environment(FRESNEL_CACHE_DIR=str(self.folder / "file" / "cache"))
        with self.assertRaisesRegex(fresnel.FresnelError, "set FRESNEL_CACHE_DIR"):
            _compile.cache_folder()

    def test_first_published_entry_stays(self):
        entry = self.folder / "entry"
        for text in ("first", "second"):
            (self.folder / "temporary").write_text(text)
            _compile._publish(self.folder / "temporary", entry)
            self.assertEqual(os.listdir(self.folder), ["entry"])
        self.assertEqual(entry.read_text(), "first")

    def test_what_is_no_bundle_is_refused(self):
        path = self.folder / "x.fkb"
        for content in (b"", b"PK\x03\x04" + b" " * 100, b"FKB\x02" + b" " * 100):
            path.write_bytes(content)
            with self.assertRaises(_bundle.DamagedBundle), warnings.catch_warnings():
                _bundle.read_manifest(path)


if __name__ == "__main__":
    unittest.main()
