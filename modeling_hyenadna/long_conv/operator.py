"""The long convolution as operators of torch: opaque to compilers, with gradients that are recomputed, not stored.

`hyenadna::long_conv` and `hyenadna::long_conv_backward` choose their backend when they run, so a traced graph is
good wherever it is taken.
"""

import os
from types import ModuleType

import torch

from . import cpu_backend, cuda_backend, torch_backend
from .plain_backend import long_conv_plain
from .transforms import differentiable_gradients, operations_wanted

BACKENDS = ("auto", "reference", "plain", "torch", "cpu", "cuda")
MODULES: dict[str, ModuleType] = {"cpu": cpu_backend, "cuda": cuda_backend, "torch": torch_backend}
Gradients = tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]


def resolved(backend: str) -> str:
    """`backend`, or what the environment names for "auto"; ValueError for an unknown one."""
    name = os.environ.get("HYENADNA_LONG_CONV", "auto") if backend == "auto" else backend
    if name not in BACKENDS:
        raise ValueError(f"unknown long convolution backend {name!r}; there are {', '.join(BACKENDS)}")
    return name


def chosen_backend(name: str, device: torch.device) -> str:
    """The backend for tensors on `device`: for "auto" the compiled one of the device's name or "torch", else `name`.

    Raises:
        RuntimeError: if the backend asked for is not available for tensors on `device`.
    """
    compiled = {"cpu": cpu_backend, "cuda": cuda_backend}
    wanted = device.type if name == "auto" else name
    if wanted not in compiled:
        return "torch" if name == "auto" else name
    if device.type == wanted and compiled[wanted].library() is not None:
        return wanted
    if name == "auto":
        return "torch"
    raise RuntimeError(f"the {name} backend of the long convolution is not available for tensors on {device}")


@torch.library.custom_op("hyenadna::long_conv", mutates_args=())
def gated_convolution(
    v: torch.Tensor,
    k: torch.Tensor,
    skip: torch.Tensor,
    gate_in: torch.Tensor | None,
    gate_out: torch.Tensor | None,
    spectrum: torch.Tensor | None,
    backend: str,
) -> torch.Tensor:
    """[`long_conv`] on checked inputs: `spectrum` is None or the transform of `k` that `backend` has made."""
    return MODULES[chosen_backend(backend, v.device)].forward(v, k, skip, gate_in, gate_out, spectrum)  # type: ignore[no-any-return]


@torch.library.custom_op("hyenadna::long_conv_backward", mutates_args=())
def gated_convolution_backward(
    dy: torch.Tensor,
    v: torch.Tensor,
    k: torch.Tensor,
    skip: torch.Tensor,
    gate_in: torch.Tensor | None,
    gate_out: torch.Tensor | None,
    backend: str,
) -> Gradients:
    """Gradients of [`gated_convolution`] (v, k, skip, gate_in, gate_out); of no gate an empty tensor."""
    gradients = MODULES[chosen_backend(backend, v.device)].backward(dy, v, k, skip, gate_in, gate_out)
    # An operator returns tensors only.
    return tuple(v.new_empty(0) if gradient is None else gradient for gradient in gradients)  # type: ignore[return-value]


@gated_convolution.register_fake
def _(v, k, skip, gate_in, gate_out, spectrum, backend):  # type: ignore[no-untyped-def]
    return torch.empty_like(v)


@gated_convolution_backward.register_fake
def _(dy, v, k, skip, gate_in, gate_out, backend):  # type: ignore[no-untyped-def]
    inputs = (v, k, skip, gate_in, gate_out)
    return tuple(v.new_empty(0) if tensor is None else torch.empty_like(tensor) for tensor in inputs)


def save_inputs(ctx, inputs, output):  # type: ignore[no-untyped-def]
    """Keep an operator's tensors, without the spectrum, and its backend for the backward."""
    *tensors, _, ctx.backend = inputs
    ctx.save_for_backward(*tensors)


def _gradients(ctx, dy):  # type: ignore[no-untyped-def]
    inputs = ctx.saved_tensors
    if torch.is_grad_enabled() or operations_wanted(dy, *inputs):  # to be differentiated again
        return (*differentiable_gradients(long_conv_plain, inputs, dy), None, None)
    found = gated_convolution_backward(dy, *inputs, ctx.backend)
    gradients = (None if of is None else gradient for gradient, of in zip(found, inputs, strict=True))
    return (*gradients, None, None)


gated_convolution.register_autograd(_gradients, setup_context=save_inputs)
