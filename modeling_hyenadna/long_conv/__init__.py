"""The long convolution of HyenaDNA: causal, one kernel a channel as long as the input, with its gates fused.

It needs torch and nothing else.
"""

import torch

from .mixer import hyena_mixer, short_convolution
from .operator import BACKENDS, gated_convolution, resolved
from .plain_backend import long_conv_plain
from .prepared import PreparedKernel, prepare_kernel, unpacked
from .reference import long_conv_reference
from .transforms import functions_transformed


def long_conv(
    v: torch.Tensor,
    k: torch.Tensor | PreparedKernel,
    skip: torch.Tensor,
    gate_in: torch.Tensor | None = None,
    gate_out: torch.Tensor | None = None,
    backend: str = "auto",
) -> torch.Tensor:
    """Gated causal convolution ``y = gate_out * (k conv u + skip * u)`` with ``u = v * gate_in``.

    ``(k conv u)[b, d, t] = sum_{s <= t} k[d, t - s] u[b, d, s]``: the Hyena operator of order 2 (HyenaDNA, section
    2.2). Differentiable in v, k, skip and the gates; half precisions are computed in float32, float64 in float64.

    Args:
        v: (B, D, L), any strides: a transposed view of (B, L, D) costs no copy.
        k: (D, L') with L' >= L, of which the first L taps are used; or what [`prepare_kernel`] returned.
        skip: (D,) weight of the input itself.
        gate_in: (B, D, L) or None for ones.
        gate_out: (B, D, L) or None for ones.
        backend: "cpu" (C++, for CPU tensors), "cuda" (for those on an NVIDIA GPU), "torch" (any device), "plain" (torch
            operations only, for export and any derivative; more memory), "reference" (the definition, O(L^2)), or
            "auto": "plain" under torch.export, torch.func, with forward-mode derivatives and on the meta device,
            elsewhere the fastest one available. The environment variable HYENADNA_LONG_CONV names another "auto".

    Returns:
        (B, D, L) in v's dtype.

    Raises:
        ValueError: for an unknown backend, shapes that do not fit, or where a backend was named that torch cannot map,
            differentiate forward or write as ONNX.
        RuntimeError: if the backend asked for is not available.
    """
    kernel, taps, spectrum, backend = unpacked(k, backend, v, skip, gate_in, gate_out)
    if v.ndim != 3 or 0 in v.shape:
        raise ValueError(f"v must be (B, D, L) with none of them 0, got {tuple(v.shape)}")
    _, channels, length = v.shape
    if kernel.shape[0] != channels or taps < length:
        raise ValueError(
            f"k covers {kernel.shape[0]} channels and {taps} taps, but v has {channels} channels and length {length}"
        )
    if skip.shape != (channels,):
        raise ValueError(f"skip must be ({channels},), got {tuple(skip.shape)}")
    for name, gate in (("gate_in", gate_in), ("gate_out", gate_out)):
        if gate is not None and gate.shape != v.shape:
            raise ValueError(f"{name} must have v's shape {tuple(v.shape)}, got {tuple(gate.shape)}")
    if backend == "reference":
        return long_conv_reference(v, kernel, skip, gate_in, gate_out)
    if backend == "plain" or torch.float64 in (v.dtype, kernel.dtype):
        return long_conv_plain(v, kernel, skip, gate_in, gate_out, spectrum if backend == "plain" else None)
    return gated_convolution(v, kernel, skip, gate_in, gate_out, spectrum, backend)  # type: ignore[no-any-return]


__all__ = [
    "BACKENDS",
    "PreparedKernel",
    "functions_transformed",
    "hyena_mixer",
    "long_conv",
    "prepare_kernel",
    "resolved",
    "short_convolution",
]
