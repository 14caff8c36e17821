"""`fresnel.attention`: a differentiable PyTorch operation on bundles.

Operations of PyTorch, `fresnel::attention_forward`, `fresnel::attention_backward` and, for methods with gates,
`fresnel::attention_gated_backward`, carry the method and its parameters as text: so torch.compile sees opaque calls with known
result shapes, and a process that loads a compiled graph finds the bundle again. Kernels have static shapes: a new shape is a
new bundle, compiled on first use.
"""

import os
import threading

import torch

from . import _arguments, _compile, _inputs, _programs
from ._library import BACKWARD, FORWARD

# ----------------------------------------------------------------------------------------------------------------------
# Operations
# ----------------------------------------------------------------------------------------------------------------------

def _dense(shape):
    strides = [1] * len(shape)
    for axis in range(len(shape) - 1, 0, -1):
        strides[axis - 1] = strides[axis] * shape[axis]
    return tuple(strides)


def _logical(shape, strides):
    """The layout of a [B, N, H, D] tensor as the plan sees it: [B, H, N, D] by strides. Others as they are."""
    return tuple(tuple(x[axis] for axis in (0, 2, 1, 3)) if len(x) == 4 else tuple(x) for x in (shape, strides))


class _Call:
    """A launch for tensors of known layouts: all that does not change from one call to the next. Belongs to a thread."""

    def __init__(self, program, direction, device, layouts):
        """`layouts` has shape and strides of the tensors that `launch` gets, by name in its order."""
        self.program = program
        with torch.cuda.device(device):
            self.plan = program.plan(device.index)
        taken = {argument.name: argument for argument in self.plan.arguments(direction)}
        layouts = {name: (name in taken and taken[name].dtype, *_logical(*layout)) for name, layout in layouts.items()}
        kept = [name for name in taken if name in program.kept]
        layouts.update((name, (taken[name].dtype, taken[name].shape, _dense(taken[name].shape))) for name in kept)
        self._launcher = self.plan.launcher(direction, layouts)
        self._kept = [program.kept[name] for name in kept]
        self._workspace = self.plan.workspace_bytes(direction)
        self._saved, self._saved_offset = program.saved_bytes, program.saved_offset

    def launch(self, tensors, kept, device):
        """Launches on the current stream, with the tensors of `kept` and a workspace from PyTorch's allocator."""
        base = kept.data_ptr()
        addresses = [x.data_ptr() for x in tensors]
        addresses += [base + offset for offset in self._kept]
        workspace = torch.empty(self._workspace, dtype=torch.uint8, device=device)
        self._launcher(addresses, workspace.data_ptr(), self._workspace, base + self._saved_offset, self._saved,
                       _current_stream(device))


_calls = threading.local()


def _find(key):
    return _calls.__dict__.get(key)


def _keep(key, call):
    calls = _calls.__dict__
    if len(calls) >= _arguments.MAX_KNOWN:
        calls.clear()
    calls[key] = call
    return call


def _current_stream(device):
    """The address of the current stream; PyTorch's own way to it makes an object each time."""
    if _raw_stream:
        return _raw_stream(device.index)
    return torch.cuda.current_stream(device).cuda_stream


_raw_stream = getattr(torch._C, "_cuda_getCurrentRawStream", None)


def _launch(call, tensors, kept, device):
    if torch.cuda.current_device() == device.index:
        return call.launch(tensors, kept, device)
    with torch.cuda.device(device):
        call.launch(tensors, kept, device)


def _result_shape(q, v):
    return (*q.shape[:3], v.shape[3])


def _results(program, q, v):
    """Where the forward operation writes: out, lse, and what is kept for the backward operation."""
    lse = q.new_empty(program.shape("lse"), dtype=torch.float32)
    return q.new_empty(_result_shape(q, v)), lse, q.new_empty(program.kept_bytes, dtype=torch.uint8)


def _forward(q, k, v, program, cu_seqlens=None, mask=None, gates=None):
    key = (program, _programs.version(program), q.dtype, q.device, q.shape, q.stride(), k.shape, k.stride(), v.shape,
           v.stride())
    others = ()
    if cu_seqlens is not None or mask is not None or gates is not None:
        given = [(name, x) for name, x in zip(_programs.OTHERS, (cu_seqlens, mask, gates)) if x is not None]
        others = tuple(x for _, x in given)
        for name, x in given:
            key += (name, x.shape, x.stride())
    call = _find(key) or _keep(key, _make_forward(program, q, k, v, cu_seqlens, mask, gates))
    out, lse, kept = _results(call.program, q, v)
    _launch(call, (q, k, v, out, lse, *others), kept, q.device)
    return out, lse, kept


def _make_forward(text, q, k, v, cu_seqlens, mask, gates):
    program = _programs.find_program(text, q, k, v)
    layouts = {name: (x.shape, x.stride()) for name, x in (("q", q), ("k", k), ("v", v))}
    program.check_others(cu_seqlens, mask, gates)
    results = (("out", _result_shape(q, v)), ("lse", program.shape("lse")))
    layouts.update((name, (shape, _dense(shape))) for name, shape in results)
    if cu_seqlens is not None:
        view = cu_seqlens[None, None]  # As programs have it.
        layouts["cu_seqlens"] = (view.shape, view.stride())
    if mask is not None:
        view = mask.transpose(1, 2)  # It is in the order of programs, and rows are brought to that.
        layouts["mask"] = (view.shape, view.stride())
    if gates is not None:
        layouts["gates"] = (gates.shape, gates.stride())
    return _Call(program, FORWARD, q.device, layouts)


def _forward_fake(q, k, v, program, cu_seqlens=None, mask=None, gates=None):
    compiled = _programs.find_program(program, q, k, v)
    compiled.check_others(cu_seqlens, mask, gates)
    return _results(compiled, q, v)


def _backward(dout, q, k, v, out, lse, kept, *others):
    """Gradients of q, k, v and gates: `others` are gates, if the method has them, and the program."""
    # What it needs of cu_seqlens and mask is in `kept`.
    *gates, program = others
    given = (dout, q, k, v, out, lse, *gates)
    key = (program, _programs.version(program), q.dtype, q.device, *[x.shape for x in given], *[x.stride() for x in given])
    call = _find(key) or _keep(key, _make_backward(program, given))
    gradients = tuple([x.new_empty(x.shape) for x in (q, k, v, *gates)])
    _launch(call, given + gradients, kept, q.device)
    return gradients


def _make_backward(text, given):
    layouts = {name: (x.shape, x.stride()) for name, x in zip(("dout", "q", "k", "v", "out", "lse", "gates"), given)}
    layouts.update((f"d{name}", (layouts[name][0], _dense(layouts[name][0])))
                   for name in ("q", "k", "v", "gates") if name in layouts)
    return _Call(_programs.find_program(text, *given[1:4]), BACKWARD, given[1].device, layouts)


def _backward_fake(dout, q, k, v, out, lse, kept, *others):
    return tuple(x.new_empty(x.shape) for x in (q, k, v, *others[:-1]))


class _Attention(torch.autograd.Function):
    """The forward operation with its gradient: what `register_autograd` would make of it, in half the time."""

    @staticmethod
    def forward(ctx, q, k, v, program, *others):
        with _below_autograd():
            out, lse, kept = _forward_op(q, k, v, program, *others)
        ctx.mark_non_differentiable(lse, kept)
        ctx.set_materialize_grads(False)
        ctx.save_for_backward(q, k, v, out, lse, kept, *others[len(_programs.MASKS):])
        ctx.program = program
        return out, lse, kept

    @staticmethod
    def backward(ctx, dout, dlse, dkept):
        if dout is None:
            return (None,) * len(ctx.needs_input_grad)
        gradients = _backward_autograd(_loadable(dout), *ctx.saved_tensors, ctx.program)
        others = (None,) * (len(ctx.needs_input_grad) - len(gradients))
        return *gradients[:3], *others, *gradients[3:]


class _Gradient(torch.autograd.Function):
    """The backward operation, which has no gradient."""

    @staticmethod
    def forward(ctx, *arguments):
        with _below_autograd():
            return _get_backward(arguments)(*arguments)

    @staticmethod
    def backward(ctx, *gradients):
        raise RuntimeError(f"Trying to backward through {_backward_op} but no autograd formula was registered: "
                           f"fresnel.attention is differentiable once")


def _forward_autograd(q, k, v, *others):
    if torch.is_grad_enabled() and (q.requires_grad or k.requires_grad or v.requires_grad or
                                    any([x.requires_grad for x in others[1 + len(_programs.MASKS):]])):
        return _Attention.apply(q, k, v, *others)
    with _below_autograd():
        return _forward_op(q, k, v, *others)


def _backward_autograd(*arguments):
    if torch.is_grad_enabled() and any([x.requires_grad for x in arguments[:-1]]):
        return _Gradient.apply(*arguments)
    with _below_autograd():
        return _get_backward(arguments)(*arguments)


def _get_backward(arguments):
    """The operation for them: with gates there is one more."""
    return _backward_op if len(arguments) == 8 else _gated_backward_op


def _register(schema, kernel, fake, autograd):
    """As torch.library.custom_op does it, less what that checks and wraps in every call."""
    name = schema.partition("(")[0]
    _operations.define(schema, tags=(torch.Tag.pt2_compliant_tag,))
    _operations.impl(name, kernel, "CompositeExplicitAutograd")
    _operations.impl(name, autograd, "Autograd")
    torch.library.register_fake(f"fresnel::{name}", fake, lib=_operations)
    return getattr(torch.ops.fresnel, name).default


_below_autograd = torch._C._AutoDispatchBelowAutograd
_operations = torch.library.Library("fresnel", "FRAGMENT")
_forward_op = _register("attention_forward(Tensor q, Tensor k, Tensor v, str program, Tensor? cu_seqlens=None, "
                        "Tensor? mask=None, Tensor? gates=None) -> (Tensor, Tensor, Tensor)", _forward, _forward_fake,
                        _forward_autograd)
_backward_op = _register("attention_backward(Tensor dout, Tensor q, Tensor k, Tensor v, Tensor out, Tensor lse, Tensor kept, "
                         "str program) -> (Tensor, Tensor, Tensor)", _backward, _backward_fake, _backward_autograd)
_gated_backward_op = _register("attention_gated_backward(Tensor dout, Tensor q, Tensor k, Tensor v, Tensor out, Tensor lse, "
                               "Tensor kept, Tensor gates, str program) -> (Tensor, Tensor, Tensor, Tensor)", _backward,
                               _backward_fake, _backward_autograd)


def _loadable(dout):
    """`dout` as kernels can read it. Autograd makes it, so it may be an expanded scalar; that alone is copied."""
    size = dout.element_size()
    ok = dout.storage_offset() * size % 16 == 0 and (dout.is_contiguous() and dout.shape[3] * size % 16 == 0 or all(
        extent == 1 or (stride == 1 if axis == 3 else stride > 0 and stride * size % 16 == 0)
        for axis, (extent, stride) in enumerate(zip(dout.shape, dout.stride()))))
    return dout if ok else dout.clone(memory_format=torch.contiguous_format)


# ----------------------------------------------------------------------------------------------------------------------
# The function
# ----------------------------------------------------------------------------------------------------------------------

def _option_lines(grad, deterministic, schedule, gradient_schedule, workspace_limit, group_queries):
    """The options that matter and are not the defaults, as lines of a program's text."""
    lines = [f"schedule={schedule}"] * bool(schedule) + [f"workspace_limit={workspace_limit}"] * bool(workspace_limit)
    if not group_queries:
        lines.append("group_queries=false")
    if grad and gradient_schedule:
        lines.append(f"gradient_schedule={gradient_schedule}")
    if grad and not deterministic and not torch.are_deterministic_algorithms_enabled():
        lines.append("deterministic=false")
    return lines


def attention(q, k, v, method="dense", *, cu_seqlens=None, mask=None, gates=None, return_lse=False, deterministic=True,
              schedule="", gradient_schedule="", workspace_limit=0, group_queries=True, **parameters):
    """Attention of q over k and v by `method`, differentiable with respect to all three and to gates.

    q is [batch, sequence, heads, head_dim]; k and v have heads that divide q's (GQA); "dense" takes another sequence
    length there, and another head_dim of v. All are bfloat16 or float16 CUDA tensors of any strides with a contiguous
    head_dim; none is copied. Under torch.autocast they are converted to its type first. `method` is a preset ("dense",
    "window", "documents", "block_mask", "lighthouse", ...; `fresnel presets` lists them with their `parameters`), or the path
    of an .mlir program or of a .fkb bundle made for these shapes.

    "documents" attends within the documents that lie packed in the sequence, cut by `cu_seqlens`, an int32 tensor on the
    same device: 0, then the end of each document in ascending order, the last of them the sequence's; the same for the whole
    batch. Its values are not looked at (that would wait for the GPU); whatever they are, tokens between two of them see each
    other. The program has room for more documents: up to the next power of two, at least 16, or for `documents` of them.

    "moba_documents", "nsa_documents" and "vsa_documents" are "moba", "nsa" and "vsa" within such documents.

    "nsa" and "vsa" add up branches that `gates` weighs, a tensor of q's type, [batch, sequence, heads, branches]: of "nsa" the
    compressed, the selected and the sliding one, by the sigmoid of their gates; of "vsa" the coarse and the fine one, as they
    are. The log-sum-exp of "vsa" is that of the fine branch; "nsa" has none.

    "lighthouse_documents" is "lighthouse" within each of `documents`, a list of their lengths, and
    "lighthouse_dilated_documents" is "lighthouse_dilated": numbers of the host, for which a program is compiled. Each document
    gets what it would get alone, with a `topk` of its own.

    "block_mask" attends to the blocks of keys that `mask` allows: a tensor of bools or bytes, [batch, heads, rows, blocks],
    on the same device, where a row stands for `query_block` tokens of q and a column for `key_block` tokens of k (128 each if
    they are not passed). Batch and heads may be 1 for all; else the heads are a divisor of q's and a multiple of k's. The
    lists of blocks are made on the GPU. Rows that allow nothing give zeros.

    Arrays of other libraries (CuPy, JAX) are taken by DLPack; results are PyTorch tensors, which can be exported again.

    Returns out, typed like q and shaped like it but for the head_dim, which is v's; with `return_lse` also the f32
    log-sum-exp of each row that attends ([batch, heads, rows]), which carries no gradient. Runs on the current stream; the
    same bits in every run, both ways.

    `deterministic=False` lets the gradients differ from run to run in their last bits where there are kernels that are
    faster for it; torch.use_deterministic_algorithms(True) takes that back. `schedule` and `gradient_schedule`
    ("FIELD=VALUE:...", as for `fresnel compile`) change the kernels of attention and of its gradients. `workspace_limit`,
    in bytes, cuts batch and heads into as many slices, computed one after the other, as each pass needs to stay below it.
    `group_queries=False` goes from query to query where "moba" and "moba_documents" would go from block to block of keys:
    less memory, and faster if documents have a block or two each.

    The first call with new shapes or parameters compiles a bundle (a second or so) into the cache. Raises TypeError or
    ValueError for arguments that do not fit, UnsupportedError for what has no kernel. There is no slower path behind it.
    """
    _arguments.check_parameters(method, parameters)
    _compile.check_options(deterministic, workspace_limit, group_queries, schedule=schedule, gradient_schedule=gradient_schedule)
    q, k, v = _arguments.take("q", q), _arguments.take("k", k), _arguments.take("v", v)
    if gates is not None:
        gates = _arguments.take("gates", gates)
    if torch.is_autocast_enabled("cuda"):
        dtype = torch.get_autocast_dtype("cuda")
        q, k, v, gates = (x.to(dtype) if isinstance(x, torch.Tensor) and x.is_floating_point() else x
                          for x in (q, k, v, gates))
    _arguments.check_tensors(q, k, v)
    if not isinstance(method, str):
        method = os.fspath(method)
    is_file = _programs.is_file(method)
    if is_file and parameters:
        raise ValueError(f"method: parameters {sorted(parameters)} apply to presets, but {method} is a file")
    if method.endswith(".fkb") and (schedule or gradient_schedule or workspace_limit or not group_queries):
        raise ValueError("schedule, gradient_schedule, workspace_limit and group_queries apply to methods that are compiled, "
                         f"but {method} is a bundle")
    _arguments.check_lengths(method, is_file, q, k, v)
    others, parameters = _inputs.take_others(method, is_file, q, k, (cu_seqlens, mask, gates), parameters)
    grad = torch.is_grad_enabled() and (q.requires_grad or k.requires_grad or v.requires_grad or
                                        (gates is not None and gates.requires_grad))
    options = _option_lines(grad, deterministic, schedule, gradient_schedule, workspace_limit, group_queries)
    out, lse, _ = _forward_op(q, k, v, _programs.describe(method, parameters, grad, options), *others)
    if return_lse and lse.dim() == 1:
        raise ValueError(f"return_lse: method {method} has no output 'lse'")
    return (out, lse) if return_lse else out
