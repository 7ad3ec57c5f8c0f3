"""The Hyena mixer between its projections as one operator: short convolution, gates and long convolution.

Channel-last in and out, so that nothing is transposed, and the three short-convolved branches are never stored.
"""

import torch
from torch.nn import functional as F

from . import cpu_backend, cuda_backend
from .operator import MODULES, Gradients, chosen_backend, save_inputs
from .plain_backend import long_conv_plain
from .prepared import PreparedKernel, unpacked
from .reference import long_conv_reference
from .transforms import differentiable_gradients, operations_wanted

PIECE_BYTES = 4 << 20


def short_convolution(
    projected: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor, context: torch.Tensor | None = None
) -> torch.Tensor:
    """Depthwise causal convolution of (B, L, C) by a few shifted multiply-adds.

    Args:
        weight: (C, taps); bias: (C,).
        context: (B, taps - 1, C), the inputs before these, None for zeros.
    """
    length, taps = projected.shape[1], weight.shape[1]
    if context is None:
        padded = F.pad(projected, (0, 0, taps - 1, 0))
    else:
        padded = torch.cat([context, projected], dim=1)
        if length == 1:
            return (padded * weight.T).sum(dim=1, keepdim=True) + bias
    mixed = bias + padded[:, :length] * weight[:, 0]
    for tap in range(1, taps):
        mixed = torch.addcmul(mixed, padded[:, tap : tap + length], weight[:, tap])
    return mixed


def hyena_mixer(
    projected: torch.Tensor,
    weight: torch.Tensor,
    bias: torch.Tensor,
    k: torch.Tensor | PreparedKernel,
    skip: torch.Tensor,
    mask: torch.Tensor | None = None,
    backend: str = "auto",
) -> torch.Tensor:
    """``x0 * (k conv u + skip * u)`` with ``u = x1 * v * mask`` and (x0, x1, v) the short convolution of `projected`.

    HyenaDNA's operator of order 2 without its two projections (sections 1.4 to 1.6). Differentiable in all but mask.

    Args:
        projected: (B, L, 3 D), in this order x0, x1 and v.
        weight: (3 D, taps) and bias: (3 D,) of the short convolution.
        k: (D, L') with L' >= L, or a prepared kernel, without gradient then; skip: (D,).
        mask: (B, L), 0 where there is padding; `projected` must be 0 there.
        backend: as of [`long_conv`].

    Returns:
        (B, L, D).

    Raises:
        ValueError: for an unknown backend, or a kernel shorter than the input.
    """
    kernel, taps, spectrum, backend = unpacked(k, backend, projected, weight, bias, skip, mask)
    if taps < projected.shape[1]:
        raise ValueError(f"k covers {taps} taps, but projected has length {projected.shape[1]}")
    if backend == "reference":
        x0, x1, v = _branches(projected, weight, bias, mask)
        return long_conv_reference(v, kernel, skip, x1, x0).transpose(1, 2)
    if backend == "plain" or torch.float64 in (projected.dtype, kernel.dtype):
        return _plain_mixer(projected, weight, bias, kernel, skip, mask, spectrum if backend == "plain" else None)
    return _mixer(projected, weight, bias, kernel, skip, mask, spectrum, backend)  # type: ignore[no-any-return]


def is_fused(backend: str, projected: torch.Tensor, weight: torch.Tensor) -> bool:
    """Whether the whole mixer is one pass of the C++ library on a CPU."""
    return weight.shape[1] <= cpu_backend.MOST_TAPS and chosen_backend(backend, projected.device) == "cpu"


def is_fused_on_gpu(
    backend: str, projected: torch.Tensor, weight: torch.Tensor, spectrum: torch.Tensor | None = None
) -> bool:
    """Whether the CUDA kernels compute the short convolution too."""
    on_gpu = chosen_backend(backend, projected.device) == "cuda"
    return on_gpu and cuda_backend.fuses(projected.shape[1], weight.shape[1], projected.device, spectrum)


def _branches(
    projected: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor, mask: torch.Tensor | None
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """gate_out, gate_in and v, each (B, D, L)."""
    mixed = short_convolution(projected, weight, bias).transpose(1, 2)
    x0, x1, v = mixed.chunk(3, dim=1)
    return x0, x1 if mask is None else x1 * mask[:, None].to(x1.dtype), v


def _plain_mixer(
    projected: torch.Tensor,
    weight: torch.Tensor,
    bias: torch.Tensor,
    k: torch.Tensor,
    skip: torch.Tensor,
    mask: torch.Tensor | None,
    spectrum: torch.Tensor | None = None,
) -> torch.Tensor:
    x0, x1, v = _branches(projected, weight, bias, mask)
    return long_conv_plain(v, k, skip, x1, x0, spectrum).transpose(1, 2)


@torch.library.custom_op("hyenadna::mixer", mutates_args=())
def _mixer(
    projected: torch.Tensor,
    weight: torch.Tensor,
    bias: torch.Tensor,
    k: torch.Tensor,
    skip: torch.Tensor,
    mask: torch.Tensor | None,
    spectrum: torch.Tensor | None,
    backend: str,
) -> torch.Tensor:
    if is_fused(backend, projected, weight):
        return cpu_backend.mixer_forward(projected, weight, bias, k, skip, mask, spectrum)
    if is_fused_on_gpu(backend, projected, weight, spectrum):
        return cuda_backend.mixer_forward(projected, weight, bias, k, skip, mask, spectrum)
    forward = MODULES[chosen_backend(backend, projected.device)].forward
    batch, length, channels = projected.shape
    y = projected.new_empty(batch, length, channels // 3)
    # A few rows at a time where memory is what takes the time: the branches of all would not stay in a CPU's cache.
    rows = max(1, PIECE_BYTES // (4 * length * channels)) if projected.device.type == "cpu" else batch
    for start in range(0, batch, rows):
        some = slice(start, start + rows)
        x0, x1, v = _branches(projected[some], weight, bias, None if mask is None else mask[some])
        y[some] = forward(v, k, skip, x1, x0, spectrum).transpose(1, 2)
    return y


@torch.library.custom_op("hyenadna::mixer_backward", mutates_args=())
def _mixer_backward(
    dy: torch.Tensor,
    projected: torch.Tensor,
    weight: torch.Tensor,
    bias: torch.Tensor,
    k: torch.Tensor,
    skip: torch.Tensor,
    mask: torch.Tensor | None,
    backend: str,
) -> Gradients:
    if is_fused(backend, projected, weight):
        return cpu_backend.mixer_backward(dy, projected, weight, bias, k, skip, mask)
    if is_fused_on_gpu(backend, projected, weight):
        dmixed, dk, dskip = cuda_backend.mixer_backward(dy, projected, weight, bias, k, skip, mask)
        return *_short_convolution_backward(dmixed, projected, weight), dk, dskip
    x0, x1, v = _branches(projected, weight, bias, mask)
    module = MODULES[chosen_backend(backend, v.device)]
    dv, dk, dskip, dx1, dx0 = module.backward(dy.transpose(1, 2), v, k, skip, x1, x0)
    if mask is not None:
        dx1 = dx1 * mask[:, None].to(dx1.dtype)
    dmixed = torch.cat([dx0, dx1, dv], dim=1).transpose(1, 2)
    return *_short_convolution_backward(dmixed, projected, weight), dk, dskip


def _short_convolution_backward(
    dmixed: torch.Tensor, projected: torch.Tensor, weight: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Gradients of [`short_convolution`] (projected, weight, bias) from that of its output (B, L, C)."""
    length, taps = projected.shape[1], weight.shape[1]
    dprojected, dweight = torch.zeros_like(projected), torch.zeros_like(weight)
    for tap in range(taps):
        lag = taps - 1 - tap
        late, early = dmixed[:, lag:], slice(0, max(0, length - lag))
        dprojected[:, early] += late * weight[:, tap]
        dweight[:, tap] = (late * projected[:, early]).sum(dim=(0, 1))
    return dprojected, dweight, dmixed.sum(dim=(0, 1)).to(weight.dtype)


@_mixer.register_fake
def _(projected, weight, bias, k, skip, mask, spectrum, backend):  # type: ignore[no-untyped-def]
    return projected.new_empty(projected.shape[0], projected.shape[1], skip.shape[0])


@_mixer_backward.register_fake
def _(dy, projected, weight, bias, k, skip, mask, backend):  # type: ignore[no-untyped-def]
    return tuple(torch.empty_like(tensor) for tensor in (projected, weight, bias, k, skip))


def _gradients(ctx, dy):  # type: ignore[no-untyped-def]
    inputs = ctx.saved_tensors
    if torch.is_grad_enabled() or operations_wanted(dy, *inputs):  # to be differentiated again
        return (*differentiable_gradients(_plain_mixer, inputs, dy), None, None)
    return (*_mixer_backward(dy, *inputs, ctx.backend), None, None, None)


_mixer.register_autograd(_gradients, setup_context=save_inputs)
