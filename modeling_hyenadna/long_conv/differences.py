"""The mixer of rows that equal others up to a position, for the price of what comes after it.

The convolution is linear in its gated input u: where a row's u is that of another row plus a difference d, its
convolution is the other's plus that of d, which is zero up to the position, and is a convolution of what is left.
No gradients.
"""

from typing import NamedTuple

import torch

from . import cpu_backend, long_conv
from .mixer import is_fused, short_convolution
from .prepared import PreparedKernel, unpacked


class Kept(NamedTuple):
    """What rows that differ from others need of these, from a position on. n positions, D channels.

    Attributes:
        before: (B, taps - 1, 3 D), the projected inputs in front of the position.
        gated: (B, n, D), the gated input of the long convolution; convolved: (B, n, D), its convolution.
    """

    before: torch.Tensor
    gated: torch.Tensor
    convolved: torch.Tensor


def reference_mixer(
    projected: torch.Tensor,
    weight: torch.Tensor,
    bias: torch.Tensor,
    k: torch.Tensor | PreparedKernel,
    skip: torch.Tensor,
    mask: torch.Tensor | None,
    start: int,
    backend: str = "auto",
    out: torch.Tensor | None = None,
) -> tuple[torch.Tensor, Kept]:
    """[`hyena_mixer`], and what rows that differ from these from position `start` on need of them.

    Args:
        out: (B, L, D), where to write the first.

    Raises:
        ValueError: as `hyena_mixer`; for a start within the taps of the short convolution, or past the end.
    """
    length, context = projected.shape[1], weight.shape[1] - 1
    if not context <= start < length:
        raise ValueError(f"rows can differ from {context} to {length - 1}, not from {start}")
    kernel, taps, spectrum, backend = unpacked(k, backend, projected, weight, bias, skip, mask)
    if taps < length:
        raise ValueError(f"k covers {taps} taps, but projected has length {length}")
    before = projected[:, start - context : start]
    if _is_fused(backend, projected, weight, kernel):
        y, gated, convolved = cpu_backend.reference_mixer(
            projected, weight, bias, kernel, skip, mask, start, spectrum, _float32(out)
        )
        return _written(y, out), Kept(before, gated, convolved)
    x0, u = _gates(projected, weight, bias, mask, None)
    c = _convolved(u, k, backend)
    return _written(x0 * (c + skip * u), out), Kept(before, u[:, start:], c[:, start:])


def difference_mixer(
    projected: torch.Tensor,
    kept: Kept,
    reference: torch.Tensor,
    weight: torch.Tensor,
    bias: torch.Tensor,
    k: torch.Tensor | PreparedKernel,
    skip: torch.Tensor,
    mask: torch.Tensor | None,
    backend: str = "auto",
    out: torch.Tensor | None = None,
) -> torch.Tensor:
    """[`hyena_mixer`] of the last n positions of rows that equal others before these.

    Args:
        projected: (A, n, 3 D); mask: (A, n).
        kept: of the others, by [`reference_mixer`]; reference: (A,) int64, of which each row is a variant.
        weight, bias, k, skip, backend: as of `hyena_mixer`; of `k`, n taps are used.
        out: (A, n, D), where to write what is returned.

    Returns:
        (A, n, D).
    """
    n = projected.shape[1]
    if kept.gated.shape[1] != n:
        raise ValueError(f"what is kept is of {kept.gated.shape[1]} positions, but projected has {n}")
    kernel, taps, spectrum, backend = unpacked(k, backend, projected, weight, bias, skip, mask)
    if taps < n:
        raise ValueError(f"k covers {taps} taps, but projected has length {n}")
    if _is_fused(backend, projected, weight, kernel):
        own = spectrum if taps == n else None
        y = cpu_backend.difference_mixer(
            projected, *kept, reference, weight, bias, kernel, skip, mask, own, _float32(out)
        )
        return _written(y, out)
    x0, u = _gates(projected, weight, bias, mask, kept.before[reference])
    c = kept.convolved[reference] + _convolved(u - kept.gated[reference], k, backend)
    return _written(x0 * (c + skip * u), out)


def _float32(out: torch.Tensor | None) -> torch.Tensor | None:
    """`out` where the compiled library can write to it."""
    return out if out is not None and out.dtype == torch.float32 else None


def _written(y: torch.Tensor, out: torch.Tensor | None) -> torch.Tensor:
    return y if out is None or out is y else out.copy_(y)


def _is_fused(backend: str, projected: torch.Tensor, weight: torch.Tensor, kernel: torch.Tensor) -> bool:
    known = backend not in ("reference", "plain") and torch.float64 not in (projected.dtype, kernel.dtype)
    return known and is_fused(backend, projected, weight)


def _gates(
    projected: torch.Tensor,
    weight: torch.Tensor,
    bias: torch.Tensor,
    mask: torch.Tensor | None,
    before: torch.Tensor | None,
) -> tuple[torch.Tensor, torch.Tensor]:
    """The output gate and the gated input, each (B, L, D)."""
    x0, x1, v = short_convolution(projected, weight, bias, before).chunk(3, dim=-1)
    u = x1 * v
    return x0, u if mask is None else u * mask[..., None].to(u.dtype)


def _convolved(u: torch.Tensor, k: torch.Tensor | PreparedKernel, backend: str) -> torch.Tensor:
    nothing = u.new_zeros(u.shape[-1])
    return long_conv(u.mT, k, nothing, backend=backend).mT
