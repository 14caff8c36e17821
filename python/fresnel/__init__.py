"""Fresnel for Python: sparse attention on GPUs, over the runtime's C interface.

    out = fresnel.attention(q, k, v, method="lighthouse", topk=2048)

is a differentiable PyTorch operation (docs/training.md). `fresnel.load` gives a bundle's plans without PyTorch, and
`fresnel.compile` compiles a bundle into the cache. Importing this module imports neither PyTorch nor the runtime.
"""

from ._compile import compile_bundle as compile  # noqa: A004 - fresnel.compile reads as the command does
from ._errors import FresnelError, UnsupportedError
from ._library import BACKWARD, FORWARD, Plan, TensorRef, load, loaded_digest, selection_digest

__version__ = "0.1.0"
__all__ = ["BACKWARD", "FORWARD", "FresnelError", "Plan", "TensorRef", "UnsupportedError", "attention", "compile", "load",
           "loaded_digest", "selection_digest"]


def __getattr__(name):
    # PyTorch is imported when it is first needed: bundles load without it.
    if name != "attention":
        raise AttributeError(f"module 'fresnel' has no attribute '{name}'")
    try:
        from ._attention import attention
    except ModuleNotFoundError as error:
        if error.name != "torch":
            raise
        raise FresnelError("fresnel.attention needs PyTorch, which is not installed; fresnel.load does not") from error
    globals()["attention"] = attention
    return attention
