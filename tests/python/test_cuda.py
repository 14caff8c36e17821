"""`fresnel.attention` on a GPU: results and gradients against float64, determinism, torch.compile, AMP, CUDA graphs.

The reference is PyTorch in float64, for Lighthouse with the kernels' selection taken as given. The selection itself is
compared with the CPU oracle's (`fresnel run --device cpu`) on the same tensors.
"""

import concurrent.futures
import itertools
import json
import math
import os
import pathlib
import struct
import subprocess
import tempfile
import threading
import unittest

import fresnel
from support import EXECUTABLE, CacheTest, capture, needs_compiler

try:
    import torch
    from fresnel import _programs
except ModuleNotFoundError:
    torch = None

BF16, F16, F64 = ("torch.bfloat16", "torch.float16", "torch.float64")
# Relative L2, as `fresnel run --check` has it. The kernels round probabilities and dS to the element type, 8 and 11 bits.
LIMITS = {BF16: 1e-2, F16: 2e-3}

# Most of the time goes into compiling, ours and the driver's: these are compiled at once, before the first test.
DENSE = [(*case, *shape) for case, shape in zip(
    itertools.product((BF16, F16), ("bnhd", "bhnd"), (True, False)),  # Causal; then length, head dim, heads, key heads.
    itertools.cycle(((67, 64, 4, 4), (509, 128, 8, 2), (256, 96, 4, 1), (130, 256, 2, 1), (333, 192, 2, 2))))]
WINDOW = [(*case, *shape) for case, shape in zip(
    itertools.product((BF16, F16), ("bnhd", "bhnd")),  # Then length, head dim, window, sinks.
    itertools.cycle(((509, 128, 100, 4), (331, 64, 64, 0), (1021, 128, 257, 64))))]
LIGHTHOUSE = [(BF16, 509, 64, 4, 4, 3, 4, 37), (BF16, 1021, 128, 4, 1, 3, 4, 64), (F16, 768, 128, 4, 2, 2, 8, 48),
              (F16, 257, 64, 2, 2, 3, 2, 200)]  # Length, head dim, heads, key heads, levels, factor, topk.


def bundles():
    """Method, options and sizes (batch, length, heads, key heads, head dim, type) of what the tests need. What is missing
    here is compiled when it is needed."""
    for dtype, _, causal, n, dim, heads, kv in DENSE:
        yield "dense", {"causal": causal}, (2, n, heads, kv, dim, dtype)
    for dtype, _, n, dim, window, sinks in WINDOW:
        yield "window", {"window": window, "sinks": sinks}, (2, n, 4, 2, dim, dtype)
    for dtype, n, dim, heads, kv, levels, factor, topk in LIGHTHOUSE:
        yield "lighthouse", {"levels": levels, "factor": factor, "topk": topk}, (2, n, heads, kv, dim, dtype)
    yield "dense", {"kv_len": 171}, (1, 100, 4, 2, 64, BF16)
    yield "dense", {"softcap": 20.0}, (1, 131, 4, 2, 64, BF16)
    yield "lighthouse", {"levels": 1}, (1, 300, 4, 4, 64, BF16)
    for options in ({"deterministic": False}, {"gradient_schedule": "family=portable"}, {"schedule": "stages=2"},
                    {"workspace_limit": 600000}):
        yield "dense", options, (1, 509, 4, 2, 128, BF16)
    for dim, n in ((64, 512), (128, 512)):
        yield "lighthouse", {"topk": 64}, (1, n, 4, 4, dim, BF16)
    for sizes in ((1, 200, 2, 2, 64), (2, 200, 4, 2, 64), (2, 128, 4, 4, 64), (1, 128, 2, 2, 64), (1, 300, 4, 4, 64),
                  (1, 509, 4, 2, 128)):
        yield "dense", {}, (*sizes, BF16)


def compile_bundle(method, options, sizes):
    """Into our cache, and by loading it into the driver's."""
    names = dict(zip(("batch", "seq_len", "heads", "kv_heads", "head_dim"), sizes))
    try:
        fresnel.load(fresnel.compile(method, target=_programs._target(torch.device("cuda", 0)), **options, **names,
                                     dtype="bf16" if sizes[-1] == BF16 else "f16"))
    except (ValueError, fresnel.FresnelError):
        pass  # The test that needs it will say so.


def dtype_of(name):
    return getattr(torch, name.split(".")[1])


def make(shape, dtype, seed, layout="bnhd"):
    """A random [B, N, H, D] tensor, contiguous or with the memory order [B, H, N, D]."""
    generator = torch.Generator("cuda").manual_seed(seed)
    b, n, h, d = shape
    if layout == "bhnd":
        return torch.randn(b, h, n, d, generator=generator, device="cuda").to(dtype).transpose(1, 2).requires_grad_()
    return torch.randn(shape, generator=generator, device="cuda").to(dtype).requires_grad_()


def reference(q, k, v, allowed, softcap=0.0):
    """Attention in float64, written out; `allowed` is the mask [N, N_kv]."""
    q, k, v = (x.double().transpose(1, 2) for x in (q, k, v))
    k, v = (x.repeat_interleave(q.shape[1] // k.shape[1], dim=1) for x in (k, v))
    scores = q @ k.transpose(2, 3) / math.sqrt(q.shape[3])
    if softcap:
        scores = softcap * torch.tanh(scores / softcap)
    scores = scores.masked_fill(~allowed, -math.inf)
    return (torch.softmax(scores, dim=3) @ v).transpose(1, 2)


def pyramid(x, levels, factor):
    """Levels of window means of [B, H, N, D], one behind the other; the last window of a level may be shorter."""
    n, parts = x.shape[2], []
    for window in (factor ** level for level in range(levels)):
        padded = torch.nn.functional.pad(x, (0, 0, 0, -n % window)).unflatten(2, (-1, window)).sum(3)
        counts = (n - torch.arange(padded.shape[2], device=x.device) * window).clamp(max=window)
        parts.append(padded / counts[:, None])
    return torch.cat(parts, dim=2)


def lighthouse_reference(q, k, v, selected, levels, factor):
    """Lighthouse in float64 over `selected` [B, H, S], entries of the pyramid in causal order; slots at the end may be -1."""
    n, depth = q.shape[1], q.shape[3]
    used = (selected >= 0)[..., None]
    index = selected.long().clamp(min=0)[..., None].expand(-1, -1, -1, depth)
    rows = [pyramid(x.double().transpose(1, 2), levels, factor) for x in (q, k, v)]
    rows = [x.repeat_interleave(selected.shape[1] // x.shape[1], dim=1).gather(2, index) * used for x in rows]
    rows = reference(*(x.transpose(1, 2) for x in rows), mask(selected.shape[2], selected.shape[2])).transpose(1, 2)
    entries = sum(-(-n // factor ** level) for level in range(levels))
    slots = torch.full((*selected.shape[:2], entries + 1), -1, device=q.device)  # The last one takes the unused.
    order = torch.arange(selected.shape[2], device=q.device).expand_as(selected)
    slots.scatter_(2, torch.where(selected < 0, entries, selected).long(), order)
    out, offset = 0, 0
    for window in (factor ** level for level in range(levels)):  # A window's row reaches the tokens from its last one on.
        token = torch.arange(n, device=q.device) - window + 1
        slot = slots[:, :, offset + token.clamp(min=0) // window].masked_fill(token < 0, -1)
        found = rows.gather(2, slot.clamp(min=0)[..., None].expand(-1, -1, -1, depth))
        out = out + found * (slot >= 0)[..., None]
        offset += -(-n // window)
    return out.transpose(1, 2)


def mask(rows, columns, window=None, sinks=0):
    """Causal, aligned at the ends; with `window` only the last tokens and the first `sinks`."""
    i = torch.arange(rows, device="cuda")[:, None] + columns - rows
    j = torch.arange(columns, device="cuda")[None]
    near = (i - j < window) | (j < sinks) if window else torch.ones_like(i - j, dtype=torch.bool)
    return (j <= i) & near


def difference(x, expected):
    """Relative L2; inf if anything is not finite."""
    x, expected = x.double(), expected.double()
    value = ((x - expected).norm() / expected.norm().clamp(min=1e-30)).item()
    return value if math.isfinite(value) else math.inf


def gradients(function, inputs, dout):
    out = function(*inputs)
    return (out.detach(), *torch.autograd.grad(out, inputs, dout))


def write_safetensors(path, tensors):
    names = {torch.bfloat16: "BF16", torch.float16: "F16", torch.int32: "I32"}
    header, blobs, offset = {}, [], 0
    for name, x in tensors.items():
        blob = x.detach().contiguous().cpu().flatten().view(torch.uint8).numpy().tobytes()
        header[name] = {"dtype": names[x.dtype], "shape": list(x.shape), "data_offsets": [offset, offset + len(blob)]}
        offset += len(blob)
        blobs.append(blob)
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    path.write_bytes(struct.pack("<Q", len(text)) + text + b"".join(blobs))


def read_safetensors(path):
    data = bytearray(path.read_bytes())
    (length,) = struct.unpack_from("<Q", data)
    types = {"F32": torch.float32, "BF16": torch.bfloat16, "F16": torch.float16, "I32": torch.int32}
    tensors = {}
    for name, entry in json.loads(data[8:8 + length]).items():
        if name != "__metadata__":
            begin, end = entry["data_offsets"]
            raw = data[8 + length + begin:8 + length + end]
            tensors[name] = torch.frombuffer(raw, dtype=types[entry["dtype"]]).reshape(entry["shape"])
    return tensors


@unittest.skipUnless(torch, "PyTorch is not installed")
@unittest.skipUnless(torch and torch.cuda.is_available(), "no CUDA device was found")
@needs_compiler
class GpuTest(CacheTest):
    """What tests on a GPU share; `bundles` is a function that yields what to compile before the first test."""

    @classmethod
    def setUpClass(cls):
        folder = tempfile.TemporaryDirectory()
        cls.addClassCleanup(folder.cleanup)
        cls.cache = pathlib.Path(folder.name) / "cache"
        test = cls()
        test.setUp()  # The environment of a test.
        with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
            list(pool.map(lambda bundle: compile_bundle(*bundle), cls.bundles()))
        test.doCleanups()

    def setUp(self):
        super().setUp()
        self.set_environment(FRESNEL_CACHE_DIR=str(self.cache))

    def expect_near(self, found, expected, dtype):
        for name, x, y in zip(("out", "dq", "dk", "dv"), found, expected):
            self.assertEqual(x.dtype, dtype_of(dtype))
            self.assertLessEqual(difference(x, y), LIMITS[dtype], name)

    def compare(self, shape, kv_heads, dtype, layout, allowed, kv_len=None, value_dim=None, **arguments):
        (b, n, h, d), keys, values = shape, kv_len or shape[1], value_dim or shape[3]
        inputs = [make((b, length, heads, dim), dtype_of(dtype), seed, layout)
                  for seed, (length, heads, dim) in enumerate(((n, h, d), (keys, kv_heads, d), (keys, kv_heads, values)))]
        dout = make((b, n, h, values), dtype_of(dtype), 3).detach()
        found = gradients(lambda q, k, v: fresnel.attention(q, k, v, **arguments), inputs, dout)
        again = gradients(lambda q, k, v: fresnel.attention(q, k, v, **arguments), inputs, dout)
        for x, y in zip(found, again):
            self.assertTrue(torch.equal(x, y), "two runs differ")
        softcap = arguments.get("softcap", 0.0)
        expected = gradients(lambda q, k, v: reference(q, k, v, allowed, softcap), inputs, dout.double())
        self.expect_near(found, expected, dtype)


class CudaTest(GpuTest):
    bundles = staticmethod(bundles)

    def test_dense(self):
        for dtype, layout, causal, n, dim, heads, kv in DENSE:
            with self.subTest(dtype=dtype, layout=layout, causal=causal, n=n, dim=dim):
                allowed = mask(n, n) if causal else torch.ones(n, n, dtype=torch.bool, device="cuda")
                self.compare((2, n, heads, dim), kv, dtype, layout, allowed, method="dense", causal=causal)

    def test_dense_with_other_key_length_and_softcap(self):
        self.compare((1, 100, 4, 64), 2, BF16, "bnhd", mask(100, 171), kv_len=171, method="dense")
        self.compare((1, 131, 4, 64), 2, BF16, "bnhd", mask(131, 131), method="dense", softcap=20.0)

    def test_values_narrower_than_keys(self):
        for dim, value_dim, kv in ((192, 128, 4), (128, 64, 2), (64, 32, 4)):
            with self.subTest(dim=dim, value_dim=value_dim):
                self.compare((2, 300, 4, dim), kv, BF16, "bnhd", mask(300, 300), value_dim=value_dim, method="dense")

    def test_window(self):
        for dtype, layout, n, dim, window, sinks in WINDOW:
            with self.subTest(dtype=dtype, layout=layout, n=n, dim=dim):
                self.compare((1, n, 4, dim), 2, dtype, layout, mask(n, n, window, sinks), method="window", window=window,
                             sinks=sinks)

    def oracle(self, inputs, parameters):
        source, target = self.folder / "in.safetensors", self.folder / "out.safetensors"
        write_safetensors(source, dict(zip(("q", "k", "v"), inputs)))
        (b, n, h, d), kv = inputs[0].shape, inputs[1].shape[2]
        sets = dict(parameters, batch=b, seq_len=n, heads=h, kv_heads=kv, head_dim=d)
        dtype = "bf16" if inputs[0].dtype == torch.bfloat16 else "f16"
        command = [EXECUTABLE, "run", "lighthouse", "--device", "cpu", "--dtype", dtype, "--input", source, "--output", target,
                   "--json"]
        subprocess.run(command + [f"--set={name}={value}" for name, value in sets.items()], check=True,
                       stdout=subprocess.DEVNULL)
        return read_safetensors(target)["selected"].cuda()

    def selection(self, inputs, parameters):
        """What the kernels select: it lies in the buffer that the forward operation keeps."""
        text = _programs.describe("lighthouse", parameters, True)
        kept = torch.ops.fresnel.attention_forward(*(x.detach() for x in inputs), text)[2]
        program = _programs.find_program(text, *inputs)
        shape, offset = program.arguments["selected"]["shape"], program.kept["selected"]
        return kept[offset:offset + 4 * math.prod(shape)].view(torch.int32).view(shape)

    def test_lighthouse(self):
        for dtype, n, dim, heads, kv, levels, factor, topk in LIGHTHOUSE:
            with self.subTest(dtype=dtype, n=n, dim=dim, topk=topk):
                inputs = [make((2, n, count, dim), dtype_of(dtype), seed) for seed, count in enumerate((heads, kv, kv))]
                dout = make((2, n, heads, dim), dtype_of(dtype), 3).detach()
                parameters = {"levels": levels, "factor": factor, "topk": topk}

                def run(q, k, v, parameters=parameters):
                    return fresnel.attention(q, k, v, "lighthouse", **parameters)

                found, again = gradients(run, inputs, dout), gradients(run, inputs, dout)
                self.assertTrue(all(torch.equal(x, y) for x, y in zip(found, again)), "two runs differ")
                selected, wanted = self.selection(inputs, parameters), self.oracle(inputs, parameters)
                expected = gradients(lambda q, k, v: lighthouse_reference(q, k, v, selected, levels, factor), inputs,
                                     dout.double())
                self.expect_near(found, expected, dtype)
                self.assertEqual((selected != wanted).sum().item(), 0, "entries that the oracle does not select")

    def test_lighthouse_with_one_level_is_dense(self):
        inputs = [make((1, 300, 4, 64), torch.bfloat16, seed) for seed in range(3)]
        dout = make((1, 300, 4, 64), torch.bfloat16, 3).detach()
        found = gradients(lambda *x: fresnel.attention(*x, "lighthouse", levels=1), inputs, dout)
        expected = gradients(lambda q, k, v: reference(q, k, v, mask(300, 300)), inputs, dout.double())
        self.expect_near(found, expected, BF16)

    def options(self):
        """Inputs, gradient, reference and a function of further arguments for the options' tests."""
        inputs = [make((1, 509, heads, 128), torch.bfloat16, seed) for seed, heads in enumerate((4, 2, 2))]
        dout = make((1, 509, 4, 128), torch.bfloat16, 3).detach()
        expected = gradients(lambda q, k, v: reference(q, k, v, mask(509, 509)), inputs, dout.double())
        return expected, lambda **arguments: gradients(lambda *x: fresnel.attention(*x, **arguments), inputs, dout)

    def test_gradients_in_any_order(self):
        expected, run = self.options()
        plain, free = run(), run(deterministic=False)
        self.expect_near(free, expected, BF16)
        self.assertTrue(torch.equal(plain[0], free[0]), "the forward plan is the same")
        torch.use_deterministic_algorithms(True, warn_only=True)
        self.addCleanup(torch.use_deterministic_algorithms, False)
        for x, y in zip(run(deterministic=False), plain):
            self.assertTrue(torch.equal(x, y), "PyTorch's own switch is stronger")

    def test_schedules(self):
        expected, run = self.options()
        for arguments in ({"schedule": "stages=2"}, {"gradient_schedule": "family=portable"}, {"workspace_limit": 600000}):
            with self.subTest(**arguments):
                self.expect_near(run(**arguments), expected, BF16)
        with self.assertRaisesRegex(ValueError, "schedule field 'tiles'"):
            run(gradient_schedule="tiles=3")

    def plan_and_arrays(self):
        """A bundle's plan, tensors for it as DLPack arrays [B, H, N, D], and what it must compute."""
        inputs = [make((1, 300, 4, 64), torch.bfloat16, seed).detach() for seed in range(3)]
        expected, lse = fresnel.attention(*inputs, return_lse=True)
        names = {"batch": 1, "seq_len": 300, "heads": 4, "kv_heads": 4, "head_dim": 64, "dtype": "bf16"}
        plan = fresnel.load(fresnel.compile("dense", grad=False, target=_programs._target(inputs[0].device), **names))
        arrays = dict(zip("qkv", (x.transpose(1, 2) for x in inputs)))
        arrays.update(out=torch.full_like(expected, math.nan).transpose(1, 2), lse=torch.full_like(lse, math.nan))
        return plan, arrays, expected.transpose(1, 2), lse

    def test_plan_runs_on_dlpack_arrays(self):
        plan, arrays, expected, lse = self.plan_and_arrays()
        size = plan.workspace_bytes()
        workspace, stream = torch.empty(size, dtype=torch.uint8, device="cuda"), torch.cuda.Stream()
        late = {name: x.clone() for name, x in arrays.items()}
        for name in "qkv":
            late[name].zero_()
        torch.cuda._sleep(200_000_000)  # The inputs come late, on a stream that the kernels' waits for.
        for name in "qkv":
            late[name].copy_(arrays[name])
        plan.run(fresnel.FORWARD, late, workspace=workspace.data_ptr(), workspace_bytes=size, stream=stream.cuda_stream)
        stream.synchronize()
        self.assertTrue(torch.equal(late["out"], expected) and torch.equal(late["lse"], lse))
        torch.cuda.synchronize()
        plan.run(fresnel.FORWARD, arrays, workspace=workspace.data_ptr(), workspace_bytes=size)
        torch.cuda.synchronize()
        self.assertTrue(torch.equal(arrays["out"], expected) and torch.equal(arrays["lse"], lse))
        with self.assertRaisesRegex(ValueError, r"tensors\['q'\] is on device type 1 \(CPU\)"):
            plan.run(fresnel.FORWARD, dict(arrays, q=arrays["q"].cpu()))
        with self.assertRaisesRegex(ValueError, r"tensors\['q'\] cannot be exported: .*gradient"):
            plan.run(fresnel.FORWARD, dict(arrays, q=arrays["q"].clone().requires_grad_()))

    def test_arrays_of_other_libraries(self):
        class Array:
            def __init__(self, tensor):
                self.__dlpack__, self.__dlpack_device__ = tensor.__dlpack__, tensor.__dlpack_device__

        inputs = [make((1, 300, 4, 64), torch.bfloat16, seed).detach() for seed in range(3)]
        out = fresnel.attention(*(Array(x) for x in inputs))
        self.assertTrue(torch.equal(out, fresnel.attention(*inputs)))

    def test_log_sum_exp(self):
        q, k, v = (make((1, 200, 2, 64), torch.bfloat16, seed) for seed in range(3))
        _, lse = fresnel.attention(q, k, v, return_lse=True)
        scores = (q.double().transpose(1, 2) @ k.double().permute(0, 2, 3, 1) / 8).masked_fill(~mask(200, 200), -math.inf)
        self.assertLess((lse - scores.logsumexp(3)).abs().max().item(), 1e-3)

    def test_slices_of_one_projection_share_its_gradient(self):
        qkv = make((2, 200, 8, 64), torch.bfloat16, 0)
        dout = make((2, 200, 4, 64), torch.bfloat16, 3).detach()

        def apply(attend):
            out = attend(qkv[:, :, :4], qkv[:, :, 4:6], qkv[:, :, 6:])
            return out.detach(), *torch.autograd.grad(out, [qkv], dout.to(out.dtype))

        found = apply(fresnel.attention)
        expected = apply(lambda q, k, v: reference(q, k, v, mask(200, 200)))
        self.expect_near(found, expected, BF16)

    def test_expanded_keys(self):
        q, k = make((2, 128, 4, 64), torch.bfloat16, 0), make((1, 128, 4, 64), torch.bfloat16, 1)
        dout = make((2, 128, 4, 64), torch.bfloat16, 3).detach()

        def apply(attend):
            shared = k.expand(2, -1, -1, -1)
            out = attend(q, shared, shared)
            return out.detach(), *torch.autograd.grad(out, [q, k], dout.to(out.dtype))

        self.expect_near(apply(fresnel.attention), apply(lambda q, k, v: reference(q, k, v, mask(128, 128))), BF16)

    def test_torch_compile(self):
        inputs = [make((1, 512, 4, 64), torch.bfloat16, seed) for seed in range(3)]
        dout = make((1, 512, 4, 64), torch.bfloat16, 3).detach()

        def run(q, k, v):
            return fresnel.attention(q * 2, k, v, "lighthouse", topk=64) + q

        eager = gradients(run, inputs, dout)
        found = gradients(torch.compile(run, fullgraph=True), inputs, dout)
        for x, y in zip(found, eager):
            self.assertLess(difference(x, y), 5e-3)

    def test_operations_pass_the_checks_of_torch(self):
        q, k, v = (make((1, 128, 2, 64), torch.bfloat16, seed) for seed in range(3))
        fresnel.attention(q, k, v)  # Registers the operations.
        torch.library.opcheck(torch.ops.fresnel.attention_forward, (q, k, v, "dense|True"))

    def test_autocast(self):
        inputs = [make((1, 128, 2, 64), torch.float32, seed) for seed in range(3)]
        with self.assertRaisesRegex(TypeError, "torch.autocast"):
            fresnel.attention(*inputs)
        with torch.autocast("cuda", dtype=torch.bfloat16):
            out = fresnel.attention(*inputs)
        self.assertEqual(out.dtype, torch.bfloat16)
        found = torch.autograd.grad(out.float().square().sum(), inputs)
        expected = reference(*inputs, mask(128, 128))
        for x, y in zip(found, torch.autograd.grad(expected.square().sum(), inputs)):
            self.assertEqual(x.dtype, torch.float32)
            self.assertLess(difference(x, y), 2e-2)

    def test_cuda_graph_of_forward_and_backward(self):
        inputs = [make((1, 512, 4, 128), torch.bfloat16, seed) for seed in range(3)]
        dout = make((1, 512, 4, 128), torch.bfloat16, 3).detach()

        def run():
            return gradients(lambda *x: fresnel.attention(*x, "lighthouse", topk=64), inputs, dout)

        graph, captured = capture(run)
        with torch.no_grad():
            for x in inputs:
                x.copy_(torch.randn_like(x))
        for x in captured:
            x.fill_(math.nan)
        graph.replay()
        for x, y in zip(captured, run()):
            self.assertTrue(torch.equal(x, y))

    def test_threads_and_streams(self):
        inputs = [make((1, 300, 4, 64), torch.bfloat16, seed) for seed in range(3)]
        dout = make((1, 300, 4, 64), torch.bfloat16, 3).detach()
        expected, results = gradients(fresnel.attention, inputs, dout), {}

        def work(index):
            stream = torch.cuda.Stream()
            with torch.cuda.stream(stream):
                results[index] = gradients(fresnel.attention, [x.detach().requires_grad_() for x in inputs], dout)
            stream.synchronize()

        torch.cuda.synchronize()
        threads = [threading.Thread(target=work, args=(index,)) for index in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        self.assertEqual(len(results), 4)
        for found in results.values():
            self.assertTrue(all(torch.equal(x, y) for x, y in zip(found, expected)))

    @unittest.skipUnless(torch and torch.cuda.device_count() > 1, "needs two GPUs")
    def test_two_devices(self):
        found, inputs = [], [make((1, 300, 4, 64), torch.bfloat16, 0).detach().to(f"cuda:{device}") for device in (0, 1)]
        for device, x in enumerate(inputs):
            q = x.clone().requires_grad_()
            out = fresnel.attention(q, q, q)  # The current device stays 0.
            self.assertEqual((out.device.index, torch.cuda.current_device()), (device, 0))
            found.append((out.detach().cpu(), torch.autograd.grad(out, q, torch.ones_like(out))[0].cpu()))
        self.assertTrue(all(torch.equal(x, y) for x, y in zip(*found)))
        with self.assertRaisesRegex(ValueError, "k is on cuda:1, but q is on cuda:0; they must be on one device"):
            fresnel.attention(inputs[0], inputs[1], inputs[0])

    @unittest.skipUnless(torch and torch.cuda.device_count() > 1, "needs two GPUs")
    def test_streams_and_threads_of_the_second_device(self):
        x, results = make((1, 300, 4, 64), torch.bfloat16, 0).detach().to("cuda:1"), {}
        expected = fresnel.attention(x, x, x)
        torch.cuda.synchronize(1)

        def work(late):  # A new thread's current device is 0.
            stream = torch.cuda.Stream(1)
            with torch.cuda.stream(stream):
                torch.cuda._sleep(200_000_000)
                late.copy_(x)  # The kernels must be on this stream, behind this.
                torch.cuda.set_device(0)
                results["out"] = fresnel.attention(late, late, late)
            stream.synchronize()

        thread = threading.Thread(target=work, args=(torch.zeros_like(x),))
        torch.cuda.synchronize(1)
        thread.start()
        thread.join()
        self.assertTrue(torch.equal(results["out"], expected))

    @unittest.skipUnless(torch and torch.cuda.device_count() > 1, "needs two GPUs")
    def test_plan_refuses_arrays_of_another_device(self):
        plan, arrays, _, _ = self.plan_and_arrays()
        with self.assertRaisesRegex(ValueError, r"tensors\['v'\] is on GPU 1, but the plan is on GPU 0"):
            plan.run(fresnel.FORWARD, dict(arrays, v=arrays["v"].to("cuda:1")))


if __name__ == "__main__":
    unittest.main()
