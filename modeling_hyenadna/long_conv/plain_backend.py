"""The long convolution as a graph of torch's own operations, which torch can export, differentiate and map as it likes.

Its gradients store what they need, where the other backends recompute it: it takes several times their memory.
"""

import torch

from . import matrix_convolution
from .fft_plan import good_fft_length


def transform_kernel(k: torch.Tensor, length: int) -> torch.Tensor:
    """Real FFT of the first `length` taps of `k` (D, L'), zero-padded so that nothing wraps around."""
    compute = torch.promote_types(k.dtype, torch.float32)
    return torch.fft.rfft(k[:, :length].to(compute), n=real_fft_length(length))  # type: ignore[no-any-return]


def real_fft_length(length: int | torch.SymInt) -> int | torch.SymInt:
    """Points of a real FFT for causal convolutions of `length` positions: a good number, 2 L where L is a symbol."""
    # Exporting in strict mode torch passes a symbol off as an int.
    if isinstance(length, torch.SymInt) or (torch.compiler.is_exporting() and torch.compiler.is_dynamo_compiling()):
        return 2 * length
    return good_fft_length(2 * length - 1)


def long_conv_plain(
    v: torch.Tensor,
    k: torch.Tensor,
    skip: torch.Tensor,
    gate_in: torch.Tensor | None = None,
    gate_out: torch.Tensor | None = None,
    spectrum: torch.Tensor | None = None,
) -> torch.Tensor:
    """The gated convolution by plain differentiable torch operations; `spectrum` replaces `k`.

    Zero-padded linear convolution (HyenaDNA section 1.6); shapes as in [`long_conv`].
    """
    compute = torch.promote_types(v.dtype, torch.float32)
    u = v.to(compute) if gate_in is None else v.to(compute) * gate_in.to(compute)
    if torch.compiler.is_exporting() and torch.onnx.is_in_onnx_export():
        y = matrix_convolution.causal_convolution(u, k[:, : v.shape[-1]].to(compute))
    else:
        points = real_fft_length(v.shape[-1]) if spectrum is None else 2 * (spectrum.shape[-1] - 1)
        spectrum = transform_kernel(k, v.shape[-1]) if spectrum is None else spectrum
        y = torch.fft.irfft(torch.fft.rfft(u, n=points) * spectrum, n=points)[..., : v.shape[-1]]
    y = torch.addcmul(y, u, skip.to(compute)[:, None])
    return (y if gate_out is None else y * gate_out.to(compute)).to(v.dtype)
