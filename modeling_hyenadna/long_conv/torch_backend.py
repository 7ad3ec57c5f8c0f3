"""The long convolution on any device torch has, by real FFTs of a good length."""

from dataclasses import dataclass

import torch

from .fft_plan import good_fft_length


@dataclass(frozen=True)
class PreparedKernel:
    """A kernel transformed once for inputs of up to `length` positions; made by [`prepare_kernel`].

    Attributes:
        spectrum: (D, fft_length // 2 + 1) complex, the real FFT of the zero-padded kernel.
        length: the longest input it serves.
        fft_length: the transformed length, at least ``2 * length - 1`` so that nothing wraps around.
    """

    spectrum: torch.Tensor
    length: int
    fft_length: int


def fft_dtype(*dtypes: torch.dtype) -> torch.dtype:
    """Half precisions are computed in float32, float64 stays."""
    return torch.float64 if torch.float64 in dtypes else torch.float32


def transform_kernel(k: torch.Tensor, length: int) -> PreparedKernel:
    """Transform the first `length` taps of `k` (D, L'). Differentiable."""
    fft_length = good_fft_length(2 * length - 1)
    spectrum = torch.fft.rfft(k[:, :length].to(fft_dtype(k.dtype)), n=fft_length)
    return PreparedKernel(spectrum, length, fft_length)


def long_conv_torch(
    v: torch.Tensor,
    k: torch.Tensor | PreparedKernel,
    skip: torch.Tensor,
    gate_in: torch.Tensor | None = None,
    gate_out: torch.Tensor | None = None,
) -> torch.Tensor:
    """[`long_conv`] by a zero-padded linear convolution (HyenaDNA section 1.6); shapes as there."""
    length = v.shape[-1]
    prepared = k if isinstance(k, PreparedKernel) else transform_kernel(k, length)
    dtype = torch.float64 if prepared.spectrum.dtype == torch.complex128 else fft_dtype(v.dtype)
    u = v.to(dtype) if gate_in is None else v.to(dtype) * gate_in.to(dtype)
    product = torch.fft.rfft(u, n=prepared.fft_length) * prepared.spectrum
    y = torch.fft.irfft(product, n=prepared.fft_length)[..., :length]
    y = torch.addcmul(y, u, skip.to(dtype)[:, None])
    return (y if gate_out is None else y * gate_out.to(dtype)).to(v.dtype)
