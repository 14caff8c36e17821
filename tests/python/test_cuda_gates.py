"""Methods with gates in `fresnel.attention` on a GPU: results and gradients against the CPU oracle, `fresnel run --device cpu`."""

import math
import subprocess
import unittest

import fresnel
import test_cuda
from support import EXECUTABLE, capture
from test_cuda import BF16, F16, difference, dtype_of, make, read_safetensors, write_safetensors

try:
    import torch
except ModuleNotFoundError:
    torch = None

NSA = {"window": 16, "stride": 8, "block": 32, "topk": 4, "sliding": 48}
# Method, parameters, type, length, head dim, heads, key heads, where documents end.
CASES = [("nsa", NSA, BF16, 301, 64, 8, 2, ()), ("nsa", NSA, F16, 256, 128, 4, 1, ()),
         ("vsa", {"block": 64, "topk": 3}, BF16, 500, 128, 4, 2, ()), ("vsa", {"block": 32, "topk": 2}, F16, 257, 64, 2, 2, ()),
         ("nsa_documents", NSA, BF16, 300, 64, 4, 2, (100, 101, 230)),
         ("vsa_documents", {"block": 64, "topk": 2}, BF16, 300, 64, 2, 1, (130,))]


def bundles():
    for method, parameters, dtype, n, dim, heads, kv, ends in CASES:
        packed = {"documents": 16} if ends else {}
        yield method, {**parameters, **packed}, (1, n, heads, kv, dim, dtype)


def tensors_of(case):
    """q, k, v, gates and dout of a case."""
    method, _, dtype, n, dim, heads, kv, _ = case
    branches = 3 if method.startswith("nsa") else 2
    shapes = ((heads, dim), (kv, dim), (kv, dim), (heads, branches), (heads, dim))
    return [make((1, n, *shape), dtype_of(dtype), seed) for seed, shape in enumerate(shapes)]


class GatesTest(test_cuda.GpuTest):
    bundles = staticmethod(bundles)

    def run_on_gpu(self, case, q, k, v, gates, dout):
        method, parameters, ends = case[0], case[1], case[-1]
        if ends:
            cu = torch.tensor((0, *ends, case[3]), dtype=torch.int32, device="cuda")
            parameters = {**parameters, "cu_seqlens": cu}
        out = fresnel.attention(q, k, v, method, gates=gates, **parameters)
        return (out.detach(), *torch.autograd.grad(out, (q, k, v, gates), dout))

    def run_on_cpu(self, case, tensors):
        """By the interpreter, which computes in f64 with the choices of the tensors' own values."""
        method, parameters, dtype, n, dim, heads, kv, ends = case
        names = ("q", "k", "v", "gates", "dout")
        inputs = {name: x.detach() for name, x in zip(names, tensors)}
        if ends:
            cu = torch.tensor((0, *ends, *(17 - 1 - len(ends)) * (n,)), dtype=torch.int32)
            inputs["cu_seqlens"] = cu.view(1, 1, 17)
            parameters = {**parameters, "documents": 16}
        path, results = self.folder / "in.safetensors", self.folder / "out.safetensors"
        write_safetensors(path, inputs)
        sizes = {"heads": heads, "kv_heads": kv, "seq_len": n, "head_dim": dim, "dtype": "bf16" if dtype == BF16 else "f16"}
        options = [f"--set={name}={value}" for name, value in {**parameters, **sizes}.items()]
        subprocess.run([EXECUTABLE, "run", method, "--device", "cpu", "--grad", "--input", path, "--output", results, *options],
                       check=True, capture_output=True)
        found = read_safetensors(results)
        return [found[name].to("cuda") for name in ("out", "dq", "dk", "dv", "dgates")]

    def check(self, case, tensors):
        q, k, v, gates, dout = tensors
        found = self.run_on_gpu(case, q, k, v, gates, dout.detach())
        for x, y in zip(found, self.run_on_gpu(case, q, k, v, gates, dout.detach())):
            self.assertTrue(torch.equal(x, y), "two runs differ")
        expected = self.run_on_cpu(case, (q, k, v, gates, dout))
        limit = 2e-2 if case[2] == BF16 else 4e-3  # Branches are rounded before they are added up.
        for name, x, y in zip(("out", "dq", "dk", "dv", "dgates"), found, expected):
            self.assertEqual((x.dtype, x.shape), (dtype_of(case[2]), y.shape))
            self.assertLessEqual(difference(x, y), limit, name)

    def test_gates(self):
        for case in CASES:
            with self.subTest(case):
                self.check(case, tensors_of(case))

    def test_extreme_gates(self):
        """Weights that are 0 or 1 to all digits: nothing flows through a branch, or all of it, and never NaN."""
        for case in CASES:
            if case[0].startswith("nsa"):  # Gates of other methods are weights themselves.
                with self.subTest(case):
                    tensors = tensors_of(case)
                    extreme = torch.tensor((-200, 200, -30, -math.inf, math.inf), dtype=tensors[3].dtype, device="cuda")
                    flat = tensors[3].detach().view(-1)[::7]
                    flat.copy_(extreme.repeat(len(flat) // len(extreme) + 1)[:len(flat)])
                    self.check(case, tensors)

    def test_gates_of_a_layer(self):
        """A slice of a projection, and what a graph of the call replays."""
        case = CASES[0]
        q, k, v, gates, dout = tensors_of(case)
        wide = torch.zeros(1, case[3], 8, 8, dtype=q.dtype, device="cuda")
        wide[..., :3] = gates.detach()
        wide.requires_grad_()

        def run():
            out = fresnel.attention(q, k, v, "nsa", gates=wide[..., :3], **NSA)
            return (out.detach(), *torch.autograd.grad(out, (q, wide), dout.detach()))

        expected = self.run_on_gpu(case, q, k, v, gates, dout.detach())
        out, dq, dwide = run()
        self.assertTrue(torch.equal(out, expected[0]) and torch.equal(dq, expected[1]))
        self.assertTrue(torch.equal(dwide[..., :3], expected[4]) and (dwide[..., 3:] == 0).all())
        graph, captured = capture(run)
        for x in captured:
            x.zero_()
        graph.replay()
        for x, y in zip(captured, (out, dq, dwide)):
            self.assertTrue(torch.equal(x, y))

    def test_torch_compile(self):
        q, k, v, gates, dout = tensors_of(CASES[3])

        def run(q, k, v, gates):
            return fresnel.attention(q * 2, k, v, "vsa", gates=torch.tanh(gates), block=32, topk=2) + q

        found, eager = ([*torch.autograd.grad(f(q, k, v, gates), (q, k, v, gates), dout.detach())]
                        for f in (torch.compile(run, fullgraph=True), run))
        for x, y in zip(found, eager):
            self.assertLess(difference(x, y), 2e-3)


if __name__ == "__main__":
    unittest.main()
