"""The long convolution of HyenaDNA: causal, one kernel a channel as long as the input, with its gates fused.

Needs torch alone.
"""

import torch

from .reference import long_conv_reference
from .torch_backend import PreparedKernel, long_conv_torch, transform_kernel

BACKENDS = ("auto", "reference", "torch")


def long_conv(
    v: torch.Tensor,
    k: torch.Tensor | PreparedKernel,
    skip: torch.Tensor,
    gate_in: torch.Tensor | None = None,
    gate_out: torch.Tensor | None = None,
    backend: str = "auto",
) -> torch.Tensor:
    """Gated causal convolution ``y = gate_out * (k conv u + skip * u)`` with ``u = v * gate_in``.

    ``(k conv u)[b, d, t] = sum_{s <= t} k[d, t - s] u[b, d, s]`` (HyenaDNA, equation of the Hyena operator of
    order 2). Differentiable in v, k, skip and the gates. Half precisions are computed in float32.

    Args:
        v: (B, D, L), any strides: a transposed view of (B, L, D) costs no copy of its own.
        k: (D, L') with L' >= L, of which the first L taps are used; or what [`prepare_kernel`] returned.
        skip: (D,) weight of the input itself.
        gate_in: (B, D, L) or None for ones.
        gate_out: (B, D, L) or None for ones.
        backend: "torch" (any device), "reference" (the definition, O(L^2)), or "auto".

    Returns:
        (B, D, L) in v's dtype.

    Raises:
        ValueError: for an unknown backend or shapes that do not fit.
    """
    if backend not in BACKENDS:
        raise ValueError(f"unknown long convolution backend {backend!r}; there are {', '.join(BACKENDS)}")
    check_shapes(v, k, skip, gate_in, gate_out)
    if backend == "reference":
        if isinstance(k, PreparedKernel):
            raise ValueError("the reference backend takes the kernel itself, not a prepared one")
        return long_conv_reference(v, k, skip, gate_in, gate_out)
    return long_conv_torch(v, k, skip, gate_in, gate_out)


def prepare_kernel(k: torch.Tensor, length: int) -> PreparedKernel:
    """Transform `k` (D, L') once for inputs of up to `length` <= L' positions; accepted as `k`, without gradient."""
    if k.ndim != 2 or not 1 <= length <= k.shape[1]:
        raise ValueError(f"cannot prepare a kernel of shape {tuple(k.shape)} for inputs of length {length}")
    with torch.no_grad():
        return transform_kernel(k, length)


def check_shapes(
    v: torch.Tensor,
    k: torch.Tensor | PreparedKernel,
    skip: torch.Tensor,
    gate_in: torch.Tensor | None,
    gate_out: torch.Tensor | None,
) -> None:
    if v.ndim != 3 or 0 in v.shape:
        raise ValueError(f"v must be (B, D, L) with none of them 0, got {tuple(v.shape)}")
    _, channels, length = v.shape
    if isinstance(k, PreparedKernel):
        kernel_channels, kernel_length = k.spectrum.shape[0], k.length
    elif k.ndim == 2:
        kernel_channels, kernel_length = k.shape
    else:
        raise ValueError(f"k must be (D, L'), got {tuple(k.shape)}")
    if kernel_channels != channels or kernel_length < length:
        raise ValueError(
            f"k covers {kernel_channels} channels and {kernel_length} taps, "
            f"but v has {channels} channels and length {length}"
        )
    if skip.shape != (channels,):
        raise ValueError(f"skip must be ({channels},), got {tuple(skip.shape)}")
    for name, gate in (("gate_in", gate_in), ("gate_out", gate_out)):
        if gate is not None and gate.shape != v.shape:
            raise ValueError(f"{name} must have v's shape {tuple(v.shape)}, got {tuple(gate.shape)}")


__all__ = ["BACKENDS", "PreparedKernel", "long_conv", "prepare_kernel"]
