"""The inputs of `fresnel.attention` beside q, k and v, in the form that its programs take."""

import torch

from . import _arguments


def _fit_documents(cu_seqlens, length, parameters):
    """cu_seqlens with as many entries as its program takes, and the program's parameters.

    Documents that do not exist end where the sequence does: so one program serves any number of them.
    """
    documents = cu_seqlens.shape[0] - 1
    room = _arguments.room_for(documents, parameters)
    return torch.nn.functional.pad(cu_seqlens, (0, room - documents), value=length), dict(parameters, documents=room)


def _fit_mask(mask, q, k, parameters):
    """mask with the batch of q and heads that a list may have, and the program's parameters: one for all is not copied."""
    heads = k.shape[2] if mask.shape[1] == 1 else mask.shape[1]
    return mask.expand(q.shape[0], heads, -1, -1), dict(parameters, mask_heads=heads)


def take_others(method, is_file, q, k, given, parameters):
    """What the operation gets behind the program's text, of `given` (cu_seqlens, mask, gates), and the program's parameters."""
    cu_seqlens, mask, gates = given
    if cu_seqlens is not None or method in _arguments.PACKED:
        cu_seqlens = _arguments.take("cu_seqlens", cu_seqlens)
        _arguments.check_documents(method, is_file, cu_seqlens, q, k)
        if is_file:
            cu_seqlens = cu_seqlens.contiguous()
        else:
            cu_seqlens, parameters = _fit_documents(cu_seqlens, q.shape[1], parameters)
    if mask is not None or method == "block_mask":
        mask = _arguments.take("mask", mask)
        _arguments.check_mask(method, is_file, mask, q, k)
        mask = mask.contiguous()
        if not is_file:
            mask, parameters = _fit_mask(mask, q, k, parameters)
    if gates is not None or method in _arguments.GATED:
        _arguments.check_gates(method, is_file, gates, q)
    others = [cu_seqlens, mask, gates]
    while others and others[-1] is None:
        others.pop()
    return others, parameters
