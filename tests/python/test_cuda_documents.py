"""Packed documents in `fresnel.attention` on a GPU: against float64, and against attention to each document alone."""

import unittest

import fresnel
import test_cuda
from support import capture
from test_cuda import BF16, F16, LIMITS, difference, dtype_of, gradients, make, mask

try:
    import torch
except ModuleNotFoundError:
    torch = None

# Type, layout, causal, length, head dim, heads, key heads, and where documents end before the last one does.
MASKED = [(BF16, "bnhd", True, 509, 64, 4, 2, (1, 130, 130, 257)), (F16, "bhnd", False, 509, 64, 4, 4, (1, 130, 130, 257)),
          (BF16, "bhnd", True, 1021, 128, 4, 1, (700, 701, 702)), (BF16, "bnhd", False, 1021, 128, 2, 2, ()),
          (F16, "bnhd", False, 333, 96, 2, 2, (300,)), (BF16, "bnhd", True, 777, 256, 2, 1, (64, 128, 512))]
# Few lengths, each of which is a program of its own for attention to one document.
ALONE = [(BF16, True, 584, 64, 4, 2, (128, 228, 356, 356, 456)), (BF16, True, 600, 128, 4, 4, (300,)),
         (BF16, False, 428, 128, 2, 1, (100, 328)), (F16, True, 628, 128, 4, 2, (300, 328))]


def bundles():
    for dtype, _, causal, n, dim, heads, kv, _ in MASKED:
        yield "documents", {"causal": causal, "documents": 16}, (2, n, heads, kv, dim, dtype)
    for dtype, causal, n, dim, heads, kv, ends in ALONE:
        yield "documents", {"causal": causal, "documents": 16}, (2, n, heads, kv, dim, dtype)
        for length in {end - begin for begin, end in spans(ends, n)}:
            yield "dense", {"causal": causal}, (2, length, heads, kv, dim, dtype)
    yield "documents", {"documents": 16}, (1, 512, 4, 4, 64, BF16)
    yield "documents", {"documents": 32}, (1, 512, 4, 4, 64, BF16)


def pack(*ends):
    return torch.tensor((0, *ends), dtype=torch.int32, device="cuda")


def spans(ends, n):
    """Where the documents that have tokens begin and end."""
    return [(begin, end) for begin, end in zip((0, *ends), (*ends, n)) if begin < end]


def documents_of(cu_seqlens, n):
    """A mask [N, N]: which tokens are of one document."""
    document = torch.searchsorted(cu_seqlens[1:], torch.arange(n, device="cuda", dtype=torch.int32), right=True)
    return document[:, None] == document[None]


class DocumentsTest(test_cuda.GpuTest):
    bundles = staticmethod(bundles)

    def test_documents(self):
        for dtype, layout, causal, n, dim, heads, kv, ends in MASKED:
            with self.subTest(dtype=dtype, layout=layout, causal=causal, n=n, dim=dim, ends=ends):
                cu = pack(*ends, n)
                allowed = documents_of(cu, n) & mask(n, n) if causal else documents_of(cu, n)
                self.compare((2, n, heads, dim), kv, dtype, layout, allowed, method="documents", cu_seqlens=cu, causal=causal)

    def test_documents_are_as_if_alone(self):
        for dtype, causal, n, dim, heads, kv, ends in ALONE:
            with self.subTest(dtype=dtype, causal=causal, n=n, dim=dim, ends=ends):
                inputs = [make((2, n, count, dim), dtype_of(dtype), seed) for seed, count in enumerate((heads, kv, kv))]
                dout, cu, parts = make((2, n, heads, dim), dtype_of(dtype), 3).detach(), pack(*ends, n), spans(ends, n)

                def together(q, k, v, cu=cu, causal=causal):
                    return fresnel.attention(q, k, v, "documents", cu_seqlens=cu, causal=causal)

                def alone(q, k, v, parts=parts, causal=causal):
                    return torch.cat([fresnel.attention(*(x[:, begin:end] for x in (q, k, v)), "dense", causal=causal)
                                      for begin, end in parts], dim=1)

                found, expected = gradients(together, inputs, dout), gradients(alone, inputs, dout)
                for begin, end in parts:  # Each of them, or the long ones would hide the short ones.
                    self.expect_near([x[:, begin:end] for x in found], [x[:, begin:end] for x in expected], dtype)

    def test_log_sum_exp(self):
        q, ends = make((1, 512, 4, 64), torch.bfloat16, 0).detach(), (100, 300, 301, 512)
        _, lse = fresnel.attention(q, q, q, "documents", cu_seqlens=pack(*ends), return_lse=True)
        scores = q.double().transpose(1, 2) @ q.double().permute(0, 2, 3, 1) / 8
        allowed = documents_of(pack(*ends), 512) & mask(512, 512)
        self.assertLess((lse - scores.masked_fill(~allowed, -float("inf")).logsumexp(3)).abs().max().item(), 1e-3)

    def test_number_of_documents_does_not_matter(self):
        """Nor does the room for them: results are the same bits."""
        inputs = [make((1, 512, 4, 64), torch.bfloat16, seed) for seed in range(3)]
        dout = make((1, 512, 4, 64), torch.bfloat16, 3).detach()

        def run(cu, **arguments):
            return gradients(lambda *x: fresnel.attention(*x, "documents", cu_seqlens=cu, **arguments), inputs, dout)

        plain = run(pack(100, 356, 512))
        for found in (run(pack(0, 100, 100, 356, 512, 512)), run(pack(100, 356, 512), documents=32),
                      run(pack(100, 356, *20 * [512])), run(torch.stack(2 * [pack(100, 356, 512)], 1)[:, 1])):
            self.assertTrue(all(torch.equal(x, y) for x, y in zip(found, plain)))
        others = run(pack(100, 512))
        self.assertLess(difference(others[0][:, :356], plain[0][:, :356]), LIMITS[BF16])
        self.assertGreater(difference(others[0][:, 356:], plain[0][:, 356:]), 0.1)

    def test_cuda_graph_takes_the_entries_of_the_replay(self):
        inputs = [make((1, 512, 4, 64), torch.bfloat16, seed) for seed in range(3)]
        dout, cu = make((1, 512, 4, 64), torch.bfloat16, 3).detach(), pack(100, 356, 512)

        def run():
            return gradients(lambda *x: fresnel.attention(*x, "documents", cu_seqlens=cu), inputs, dout)

        graph, captured = capture(run)
        cu.copy_(pack(17, 490, 512))
        graph.replay()
        for x, y in zip(captured, run()):
            self.assertTrue(torch.equal(x, y))

    def test_torch_compile(self):
        inputs = [make((1, 512, 4, 64), torch.bfloat16, seed) for seed in range(3)]
        dout = make((1, 512, 4, 64), torch.bfloat16, 3).detach()

        def run(q, k, v, cu):
            return fresnel.attention(q * 2, k, v, "documents", cu_seqlens=cu) + q

        compiled = torch.compile(run, fullgraph=True)
        for ends in (100, 512), (512,), (30, 60, 90, 400, 512):  # From the second on with any number of them.
            cu = pack(*ends)
            found, eager = (gradients(lambda *x, f=f, cu=cu: f(*x, cu), inputs, dout) for f in (compiled, run))
            for x, y in zip(found, eager):
                self.assertLess(difference(x, y), LIMITS[BF16])

    def test_operation_passes_the_checks_of_torch(self):
        q, k, v = (make((1, 512, 4, 64), torch.bfloat16, seed) for seed in range(3))
        torch.library.opcheck(torch.ops.fresnel.attention_forward, (q, k, v, "documents|True|documents=2", pack(100, 512)))


if __name__ == "__main__":
    unittest.main()
