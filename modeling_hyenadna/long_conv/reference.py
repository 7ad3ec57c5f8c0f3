"""The long convolution by its definition: slow, obvious, and what every backend is tested against."""

import torch


def causal_convolution(u: torch.Tensor, k: torch.Tensor) -> torch.Tensor:
    """``y[..., t] = sum_{s <= t} k[..., t - s] u[..., s]``, by one Toeplitz matrix a channel.

    Args:
        u: (B, D, L) signal.
        k: (D, L') kernel with L' >= L.
    """
    length = u.shape[-1]
    lag = torch.arange(length, device=u.device)[:, None] - torch.arange(length, device=u.device)  # (t, s) -> t - s
    toeplitz = k[:, lag.clamp(min=0)].masked_fill(lag < 0, 0.0)  # (D, L, L)
    return torch.einsum("dts,bds->bdt", toeplitz, u)


def long_conv_reference(
    v: torch.Tensor,
    k: torch.Tensor,
    skip: torch.Tensor,
    gate_in: torch.Tensor | None = None,
    gate_out: torch.Tensor | None = None,
) -> torch.Tensor:
    """[`long_conv`] by its definition, in float64. O(L^2) time and D L^2 memory; shapes as there."""
    u = v.double() if gate_in is None else v.double() * gate_in.double()
    y = causal_convolution(u, k.double()) + skip.double()[:, None] * u
    return (y if gate_out is None else y * gate_out.double()).to(v.dtype)
