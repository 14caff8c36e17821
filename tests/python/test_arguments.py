"""What `fresnel.attention` takes: its errors, and result shapes under tracing. Needs no GPU: its tensors are fake."""

import subprocess
import unittest
from unittest import mock

import fresnel
from support import EXECUTABLE, CacheTest, needs_compiler

try:
    import torch
    from fresnel import _arguments, _programs
    from torch._subclasses.fake_tensor import FakeTensorMode
except ModuleNotFoundError:
    torch = None


class WithoutTorchTest(unittest.TestCase):
    @unittest.skipIf(torch, "PyTorch is installed")
    def test_attention_says_that_it_needs_torch(self):
        with self.assertRaisesRegex(fresnel.FresnelError, "fresnel.attention needs PyTorch, which is not installed"):
            fresnel.attention  # noqa: B018 - the access is the test

    def test_unknown_names_are_attribute_errors(self):
        with self.assertRaisesRegex(AttributeError, "has no attribute 'atention'"):
            fresnel.atention  # noqa: B018 - the access is the test


@unittest.skipUnless(torch, "PyTorch is not installed")
class ArgumentTest(CacheTest):
    """Every wrong argument is refused with its name, its value and what to do."""

    def setUp(self):
        super().setUp()
        self.enterContext(FakeTensorMode())
        self.enterContext(mock.patch.object(_programs, "_target", lambda device: "sm_90a"))

    def make(self, *shape, dtype=None, device="cuda"):
        return torch.empty(*shape, dtype=dtype or torch.bfloat16, device=device)

    def test_tensors(self):
        good, make = self.make(1, 100, 4, 64), self.make
        cases = [
            (TypeError, "q must be a torch.Tensor, or an array that supports DLPack, but got list", ([1], good, good)),
            (ValueError, r"k has shape \(100, 4, 64\), but \[batch, sequence, heads, head_dim\]", (good, make(100, 4, 64), good)),
            (ValueError, "v is on cpu, but the kernels run on CUDA", (good, good, make(1, 100, 4, 64, device="cpu"))),
            (TypeError, "q has dtype torch.float32, .*torch.autocast", (make(1, 100, 4, 64, dtype=torch.float32), good, good)),
            (TypeError, "k has dtype torch.float16, but q has torch.bfloat16",
             (good, make(1, 100, 4, 64, dtype=torch.float16), good)),
            (ValueError, r"q has shape \(1, 0, 4, 64\), which is empty", (make(1, 0, 4, 64), good, good)),
            (ValueError, r"q has stride 100 in its last dimension.*q.contiguous\(\)",
             (make(1, 4, 64, 100).permute(0, 3, 1, 2), good, good)),
            (ValueError, r"k has stride 260 in dimension 1, but a multiple of 8",
             (good, make(1, 100, 260)[..., :256].unflatten(2, (4, 64)), good)),
            (ValueError, r"q starts 4 elements into its storage.*q.clone\(\)", (make(1, 100, 4, 72)[..., 4:68], good, good)),
            (ValueError, "k has batch size 2, but q has 1", (good, make(2, 100, 4, 64), good)),
            (ValueError, "k has head_dim 32, but q has 64", (good, make(1, 100, 4, 32), good)),
            (ValueError, "v has shape .*99.*but k has", (good, good, make(1, 99, 4, 64))),
            (ValueError, "v has shape .*they must be equal, but for head_dim", (good, good, make(1, 100, 2, 32))),
            (ValueError, "v has head_dim 32, but k has 64; they must be equal for method window: dense is the preset that",
             (good, good, make(1, 100, 4, 32), "window")),
            (ValueError, "k has 50 tokens, but q has 100; they must be equal for method window: dense and block_mask",
             (good, make(1, 50, 4, 64), make(1, 50, 4, 64), "window")),
            (ValueError, "k has 3 heads, which do not divide q's 4", (good, make(1, 100, 3, 64), make(1, 100, 3, 64))),
        ]
        for kind, message, tensors in cases:
            with self.subTest(message), self.assertRaisesRegex(kind, message):
                fresnel.attention(*tensors)

    def test_methods_and_parameters(self):
        q = self.make(1, 100, 4, 64)
        cases = [
            (TypeError, "method must be a preset's name or the path .* but got int", {"method": 3}),
            (ValueError, "head_dim is taken from the tensors", {"method": "dense", "head_dim": 64}),
            (ValueError, "value_dim is taken from the tensors", {"method": "dense", "value_dim": 64}),
            (TypeError, "topk must be a number, a bool or a string, but got list", {"method": "lighthouse", "topk": [1]}),
            (TypeError, "documents must be a number, a bool or a string, but got list",
             {"method": "lighthouse_documents", "documents": [40, 60.0]}),
            (ValueError, "there is no file /nonexistent.fkb", {"method": "/nonexistent.fkb"}),
            (ValueError, r"parameters \['topk'\] apply to presets", {"method": "/nonexistent.mlir", "topk": 3}),
            (TypeError, "gradient_schedule must be a string FIELD=VALUE:..., but got dict", {"gradient_schedule": {}}),
            (ValueError, "schedule is 'a.nb', but a schedule has one line".replace(".n", r"\\n"), {"schedule": "a\nb"}),
            (ValueError, r"method is '/a\|b.mlir', but it has one line, without \|", {"method": "/a|b.mlir"}),
            (TypeError, "deterministic must be a bool, but got str", {"deterministic": "no"}),
            (TypeError, "workspace_limit must be a number of bytes, but got str", {"workspace_limit": "1GiB"}),
            (TypeError, "group_queries must be a bool, but got int", {"group_queries": 0}),
            (ValueError, "apply to methods that are compiled, but /x.fkb is a bundle", {"method": "/x.fkb", "group_queries": False}),
            (ValueError, "workspace_limit is -1, but it is a number of bytes", {"workspace_limit": -1}),
            (ValueError, r"'a\|b' is not the name of a parameter", {"a|b": 1}),
            (ValueError, r"causal is '1\|2', but values have one line, without \|", {"causal": "1|2"}),
            (ValueError, "apply to methods that are compiled, but /x.fkb is a bundle", {"method": "/x.fkb", "schedule": "stages=2"}),
            (ValueError, "apply to methods that are compiled, but /x.fkb is a bundle", {"method": "/x.fkb", "workspace_limit": 9}),
        ]
        for kind, message, arguments in cases:
            with self.subTest(message), self.assertRaisesRegex(kind, message):
                fresnel.attention(q, q, q, **arguments)

    def test_documents(self):
        q, cu = self.make(1, 100, 4, 64), torch.empty(3, dtype=torch.int32, device="cuda")
        cases = [
            (ValueError, "cu_seqlens is missing, but method documents needs it", {}),
            (ValueError, "cu_seqlens is given, but method dense has no documents", {"method": "dense", "cu_seqlens": cu}),
            (TypeError, "cu_seqlens must be a torch.Tensor, or an array that supports DLPack, but got list",
             {"cu_seqlens": [0, 100]}),
            (TypeError, "cu_seqlens has dtype torch.int64, but torch.int32 is needed", {"cu_seqlens": cu.long()}),
            (ValueError, r"cu_seqlens has shape \(1, 3\), but \[documents \+ 1\]", {"cu_seqlens": cu[None]}),
            (ValueError, r"cu_seqlens has shape \(1,\)", {"cu_seqlens": cu[:1]}),
            (ValueError, "cu_seqlens is on cpu, but q is on cuda",
             {"cu_seqlens": torch.empty(3, dtype=torch.int32, device="cpu")}),
            (ValueError, "cu_seqlens has 2 documents, but documents is 1", {"cu_seqlens": cu, "documents": 1}),
            (TypeError, "documents must be an int, but got str", {"cu_seqlens": cu, "documents": "2"}),
        ]
        for kind, message, arguments in cases:
            with self.subTest(message), self.assertRaisesRegex(kind, message):
                fresnel.attention(q, q, q, **{"method": "documents", **arguments})
        longer = self.make(1, 101, 4, 64)
        with self.assertRaisesRegex(ValueError, "k has 101 tokens, but q has 100; documents attend to themselves"):
            fresnel.attention(q, longer, longer, "documents", cu_seqlens=cu)

    def test_masks(self):
        q, k = self.make(2, 100, 4, 64), self.make(2, 100, 2, 64)
        mask = torch.empty(1, 4, 1, 1, dtype=torch.bool, device="cuda")
        cases = [
            (ValueError, "mask is missing, but method block_mask needs it", {}),
            (ValueError, "mask is given, but method dense has none", {"method": "dense", "mask": mask}),
            (TypeError, "mask must be a torch.Tensor, or an array that supports DLPack, but got list", {"mask": [1]}),
            (TypeError, "mask has dtype torch.int32, but torch.bool, torch.int8 or torch.uint8", {"mask": mask.int()}),
            (ValueError, r"mask has shape \(4, 1, 1\), but \[batch, heads, rows, blocks\]", {"mask": mask[0]}),
            (ValueError, "mask is on cpu, but q is on cuda",
             {"mask": torch.empty(1, 1, 1, 1, dtype=torch.bool, device="cpu")}),
            (ValueError, "mask has batch size 3, but q has 2; 1 serves them all", {"mask": mask.expand(3, -1, -1, -1)}),
            (ValueError, "mask has 3 heads, but a divisor of q's 4 that is a multiple of k's 2", {"mask": mask[:, :3]}),
            (ValueError, "mask_heads is taken from the tensors", {"mask": mask, "mask_heads": 4}),
            (ValueError, r"mask has shape \[2, 4, 1, 1\] .*, but .* was made for \[2, 4, 2, 1\]; query_block and key_block",
             {"mask": mask, "query_block": 64}),
        ]
        for kind, message, arguments in cases:
            with self.subTest(message), self.assertRaisesRegex(kind, message):
                fresnel.attention(q, k, k, **{"method": "block_mask", **arguments})

    def test_gates(self):
        q, gates = self.make(2, 100, 4, 64), self.make(2, 100, 4, 3)
        cases = [
            (ValueError, "gates is missing, but method nsa needs it: what each of its 3 branches weighs", {}),
            (ValueError, "gates is given, but method dense has none; presets that have are nsa, ",
             {"method": "dense", "gates": gates}),
            (TypeError, "gates must be a torch.Tensor, or an array that supports DLPack, but got list", {"gates": [1]}),
            (ValueError, "gates is on cpu, but q is on cuda", {"gates": self.make(2, 100, 4, 3, device="cpu")}),
            (TypeError, "gates has dtype torch.float32, but q has torch.bfloat16", {"gates": gates.float()}),
            (ValueError, r"gates has shape \(2, 100, 4\), but .*\[2, 100, 4, 3\]", {"gates": gates[..., 0]}),
            (ValueError, r"gates has shape \(2, 99, 4, 3\), but .*\[2, 100, 4, 3\]", {"gates": gates[:, 1:]}),
            (ValueError, r"gates has shape \(2, 100, 4, 3\), but .*\[2, 100, 4, 2\]", {"method": "vsa", "gates": gates}),
            (ValueError, r"gates has stride 4 in its last dimension.*gates.contiguous\(\)",
             {"gates": self.make(2, 100, 3, 4).transpose(2, 3)}),
            (ValueError, r"gates starts 3 elements into its storage.*gates.clone\(\)",
             {"gates": self.make(2, 100, 4, 6)[..., 3:]}),
            (ValueError, "cu_seqlens is missing, but method nsa_documents needs it", {"method": "nsa_documents", "gates": gates}),
        ]
        for kind, message, arguments in cases:
            with self.subTest(message), self.assertRaisesRegex(kind, message):
                fresnel.attention(q, q, q, **{"method": "nsa", **arguments})

    def test_room_for_documents(self):
        for documents, room in ((1, 16), (16, 16), (17, 32), (64, 64), (65, 128)):
            self.assertEqual(_arguments.room_for(documents, {"causal": False}), room)
        self.assertEqual(_arguments.room_for(5, {"documents": 7}), 7)

    @needs_compiler
    def test_bundle_with_documents(self):
        path = str(fresnel.compile("documents", grad=False, seq_len=100, heads=4, kv_heads=4, head_dim=64, documents=2))
        q, cu = self.make(1, 100, 4, 64), torch.empty(3, dtype=torch.int32, device="cuda")
        self.assertEqual(fresnel.attention(q, q, q, path, cu_seqlens=cu).shape, q.shape)
        with self.assertRaisesRegex(ValueError, "cu_seqlens has 2 entries, but .* was made for 3"):
            fresnel.attention(q, q, q, path, cu_seqlens=cu[:2])
        with self.assertRaisesRegex(ValueError, "cu_seqlens has 0 entries, but .* was made for 3"):
            fresnel.attention(q, q, q, path)

    @needs_compiler
    def test_bundle_that_needs_documents_again_is_refused(self):
        q, cu = self.make(1, 100, 4, 64), torch.empty(17, dtype=torch.int32, device="cuda")
        sizes = ["--set=seq_len=100", "--set=heads=4", "--set=kv_heads=4", "--set=head_dim=64"]
        path = self.folder / "again.fkb"
        subprocess.run([EXECUTABLE, "compile", "documents", "--grad", "--recompute", "document_bounds", "--no-ptxas", *sizes,
                        "-o", path, "--json"], capture_output=True, check=True)
        with self.assertRaisesRegex(ValueError, "takes cu_seqlens, .*; compile it without --recompute document_bounds"):
            fresnel.attention(q, q, q, path, cu_seqlens=cu)

    @needs_compiler
    def test_bundle_for_other_shapes_or_without_gradients(self):
        path = str(fresnel.compile("dense", grad=False, seq_len=100, heads=4, kv_heads=4, head_dim=64))
        q, longer = self.make(1, 100, 4, 64), self.make(1, 101, 4, 64)
        self.assertEqual(fresnel.attention(q, q, q, path).shape, q.shape)
        with self.assertRaisesRegex(ValueError, r"q is bf16 with .*\[1, 4, 101, 64\].*made for bf16 \[1, 4, 100, 64\]"):
            fresnel.attention(longer, longer, longer, path)
        with self.assertRaisesRegex(ValueError, "has no backward plan, but an input requires a gradient"):
            fresnel.attention(q.requires_grad_(), q, q, path)
        with torch.no_grad():
            self.assertFalse(fresnel.attention(q, q, q, path).requires_grad)

    @needs_compiler
    def test_gradients_that_differ_from_run_to_run_must_be_allowed(self):
        path = str(fresnel.compile("dense", deterministic=False, seq_len=100, heads=4, kv_heads=4, head_dim=64))
        q = self.make(1, 100, 4, 64).requires_grad_()
        for arguments in ({"method": path}, {"gradient_schedule": "ordered=false"}):
            with self.assertRaisesRegex(ValueError, "ordered=false.*but deterministic is True; pass deterministic=False"):
                fresnel.attention(q, q, q, **arguments)
            self.assertTrue(fresnel.attention(q, q, q, deterministic=False, **arguments).requires_grad)
            with torch.no_grad():
                fresnel.attention(q, q, q, **arguments)

    @needs_compiler
    def test_result_shapes_are_known_while_tracing(self):
        q, kv = self.make(2, 77, 4, 64), self.make(2, 77, 2, 64)
        for method, rows, parameters in (("dense", 77, {"causal": False}), ("window", 77, {"window": 16}),
                                         ("lighthouse", None, {"topk": 8})):
            out, lse = fresnel.attention(q.requires_grad_(), kv, kv, method, return_lse=True, **parameters)
            self.assertEqual((out.shape, out.dtype, out.device), (q.shape, q.dtype, q.device))
            self.assertEqual((lse.shape[:2], lse.dtype), ((2, 4), torch.float32))
            self.assertEqual(lse.shape[2], rows or lse.shape[2])
            self.assertEqual((out.requires_grad, lse.requires_grad), (True, False))
        v = self.make(2, 77, 2, 32)
        self.assertEqual(fresnel.attention(q, kv, v).shape, (2, 77, 4, 32))
        path = str(fresnel.compile("dense", grad=False, batch=2, seq_len=77, heads=4, kv_heads=2, head_dim=64, value_dim=32))
        with torch.no_grad():
            self.assertEqual(fresnel.attention(q, kv, v, path).shape, (2, 77, 4, 32))
            with self.assertRaisesRegex(ValueError, r"v is bf16 with .*\[2, 2, 77, 64\].*made for bf16 \[2, 2, 77, 32\]"):
                fresnel.attention(q, kv, kv, path)

    def test_targets_by_capability(self):
        found = {c: _programs.target_of(c) for c in ((8, 0), (8, 7), (8, 9), (9, 0), (10, 0), (10, 3), (12, 1))}
        self.assertEqual(list(found.values()), ["sm_80", "sm_86", "sm_89", "sm_90a", "sm_100", "sm_100", "sm_120"])
        with self.assertRaisesRegex(fresnel.UnsupportedError, "capability 7.5 is too old; the kernels need 8.0"):
            _programs.target_of((7, 5))


if __name__ == "__main__":
    unittest.main()
