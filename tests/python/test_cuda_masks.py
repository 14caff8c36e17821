"""Masks of blocks in `fresnel.attention` on a GPU: against float64, and against other methods."""

import unittest

import fresnel
import test_cuda
from support import capture
from test_cuda import BF16, F16, LIMITS, difference, gradients, make, mask

try:
    import torch
except ModuleNotFoundError:
    torch = None

# Type, layout, causal, length, head dim, heads, key heads, heads of the mask, and the tokens of its rows and blocks.
MASKED = [(BF16, "bnhd", True, 509, 64, 4, 2, 2, 64, 64), (F16, "bhnd", False, 509, 128, 4, 4, 4, 128, 128),
          (BF16, "bhnd", False, 1021, 128, 4, 1, 1, 128, 64), (BF16, "bnhd", True, 777, 256, 2, 1, 2, 64, 128),
          (F16, "bnhd", False, 333, 96, 2, 2, 1, 100, 48), (BF16, "bnhd", True, 300, 64, 16, 1, 1, 1, 64)]


def options(causal, query_block, key_block):
    return {"causal": causal, "query_block": query_block, "key_block": key_block}


def bundles():
    for dtype, _, causal, n, dim, heads, kv, shared, query_block, key_block in MASKED:
        yield "block_mask", {**options(causal, query_block, key_block), "mask_heads": shared if shared > 1 else kv}, \
            (2, n, heads, kv, dim, dtype)
    yield "block_mask", {"mask_heads": 4}, (1, 512, 4, 4, 64, BF16)
    yield "dense", {}, (1, 512, 4, 4, 64, BF16)


def random_mask(shape, seed):
    """Every other block or so, and the first one of each row: so that no row is empty, causal or not."""
    generator = torch.Generator("cuda").manual_seed(seed)
    allowed = torch.rand(shape, generator=generator, device="cuda") < 0.5
    allowed[..., 0] = True
    return allowed


def spread(blocks, n, query_block, key_block):
    """The mask [B, H, N, N] of tokens."""
    blocks = blocks.repeat_interleave(query_block, dim=2)[:, :, :n]
    return blocks.repeat_interleave(key_block, dim=3)[..., :n]


class MasksTest(test_cuda.GpuTest):
    bundles = staticmethod(bundles)

    def test_masks(self):
        for dtype, layout, causal, n, dim, heads, kv, shared, query_block, key_block in MASKED:
            with self.subTest(dtype=dtype, layout=layout, causal=causal, n=n, dim=dim, query_block=query_block):
                blocks = random_mask((2, shared, -(-n // query_block), -(-n // key_block)), n)
                allowed = spread(blocks, n, query_block, key_block).repeat_interleave(heads // shared, dim=1)
                if causal:
                    allowed = allowed & mask(n, n)
                self.compare((2, n, heads, dim), kv, dtype, layout, allowed, method="block_mask", mask=blocks,
                             **options(causal, query_block, key_block))

    def test_all_blocks_are_dense_attention(self):
        inputs = [make((1, 512, 4, 64), torch.bfloat16, seed) for seed in range(3)]
        dout = make((1, 512, 4, 64), torch.bfloat16, 3).detach()
        everything = torch.ones(1, 1, 4, 4, dtype=torch.uint8, device="cuda")
        found = gradients(lambda *x: fresnel.attention(*x, "block_mask", mask=everything), inputs, dout)
        expected = gradients(lambda *x: fresnel.attention(*x, "dense", causal=False), inputs, dout)
        self.expect_near(found, expected, BF16)

    def test_rows_without_blocks_are_zero(self):
        inputs = [make((1, 512, 4, 64), torch.bfloat16, seed) for seed in range(3)]
        blocks = torch.ones(1, 4, 4, 4, dtype=torch.bool, device="cuda")
        blocks[:, :, 1] = False
        blocks[..., 2] = False
        out, lse = fresnel.attention(*inputs, "block_mask", mask=blocks, return_lse=True)
        self.assertTrue((out[:, 128:256] == 0).all() and (lse[:, :, 128:256] == -float("inf")).all())
        out.float().square().sum().backward()
        for x in inputs:
            self.assertTrue(x.grad.isfinite().all())
        self.assertTrue((inputs[0].grad[:, 128:256] == 0).all() and (inputs[2].grad[:, 256:384] == 0).all())

    def test_cuda_graph_takes_the_mask_of_the_replay(self):
        inputs = [make((1, 512, 4, 64), torch.bfloat16, seed) for seed in range(3)]
        dout, blocks = make((1, 512, 4, 64), torch.bfloat16, 3).detach(), random_mask((1, 4, 4, 4), 1)

        def run():
            return gradients(lambda *x: fresnel.attention(*x, "block_mask", mask=blocks), inputs, dout)

        graph, captured = capture(run)
        blocks.copy_(random_mask((1, 4, 4, 4), 2))
        graph.replay()
        for x, y in zip(captured, run()):
            self.assertTrue(torch.equal(x, y))

    def test_torch_compile(self):
        inputs = [make((1, 512, 4, 64), torch.bfloat16, seed) for seed in range(3)]
        dout = make((1, 512, 4, 64), torch.bfloat16, 3).detach()

        def run(q, k, v, blocks):
            return fresnel.attention(q * 2, k, v, "block_mask", mask=blocks > 0) + q

        compiled = torch.compile(run, fullgraph=True)
        for seed in range(2):
            blocks = random_mask((1, 4, 4, 4), seed).to(torch.uint8)
            found, eager = (gradients(lambda *x, f=f, b=blocks: f(*x, b), inputs, dout) for f in (compiled, run))
            for x, y in zip(found, eager):
                self.assertLess(difference(x, y), LIMITS[BF16])


if __name__ == "__main__":
    unittest.main()
