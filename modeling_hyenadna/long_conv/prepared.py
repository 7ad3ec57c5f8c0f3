"""Kernels transformed once and used for many inputs."""

from dataclasses import dataclass

import torch

from .operator import MODULES, chosen_backend, resolved


@dataclass(frozen=True)
class PreparedKernel:
    """A kernel transformed once, for inputs of up to `length` positions; made by [`prepare_kernel`].

    Attributes:
        kernel: (D, L') the kernel itself, detached.
        spectrum: its transform, in the order of the backend that made it.
        length: the longest input it serves.
        backend: the backend that made it.
    """

    kernel: torch.Tensor
    spectrum: torch.Tensor
    length: int
    backend: str

    @property
    def nbytes(self) -> int:
        """Bytes of kernel and transform."""
        return self.kernel.nbytes + self.spectrum.nbytes


def unpacked(k: torch.Tensor | PreparedKernel, backend: str) -> tuple[torch.Tensor, int, torch.Tensor | None, str]:
    """The kernel itself, how many taps of it there are to use, its spectrum if it is prepared, and the backend.

    Raises:
        ValueError: for an unknown backend or another than the one that prepared `k`, or if `k` is not (D, L').
    """
    backend, kernel = resolved(backend), k.kernel if isinstance(k, PreparedKernel) else k
    if kernel.ndim != 2:
        raise ValueError(f"k must be (D, L'), got {tuple(kernel.shape)}")
    if not isinstance(k, PreparedKernel):
        return kernel, kernel.shape[1], None, backend
    if backend not in ("auto", k.backend):
        raise ValueError(f"k was prepared for the {k.backend} backend of the long convolution, not for {backend}")
    return kernel, k.length, k.spectrum, k.backend


def prepare_kernel(k: torch.Tensor, length: int, backend: str = "auto") -> PreparedKernel:
    """Transform `k` (D, L') once for inputs of up to `length` <= L' positions; accepted as `k`, without gradient."""
    if k.ndim != 2 or not 1 <= length <= k.shape[1]:
        raise ValueError(f"cannot prepare a kernel of shape {tuple(k.shape)} for inputs of length {length}")
    chosen = chosen_backend(resolved(backend), k.device)
    if chosen == "reference":
        raise ValueError("the reference backend takes the kernel itself, not a prepared one")
    kernel = k.detach()
    return PreparedKernel(kernel, MODULES[chosen].transform_kernel(kernel, length), length, chosen)
