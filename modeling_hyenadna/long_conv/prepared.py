"""Kernels transformed once and used for many inputs."""

from dataclasses import dataclass

import torch

from . import plain_backend
from .operator import MODULES, chosen_backend, resolved
from .transforms import operations_wanted, refuse_unless_operations


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


def unpacked(
    k: torch.Tensor | PreparedKernel, backend: str, *tensors: torch.Tensor | None
) -> tuple[torch.Tensor, int, torch.Tensor | None, str]:
    """The kernel itself, how many taps of it there are to use, its spectrum if it is prepared, and the backend.

    For "auto" the backend is "plain" where torch has to see the operations on `k` and the other `tensors`.

    Raises:
        ValueError: for an unknown backend or another than the one that prepared `k`, for a backend that was named and
            cannot do what is asked for, or if `k` is not (D, L').
    """
    backend, kernel = resolved(backend), k.kernel if isinstance(k, PreparedKernel) else k
    if kernel.ndim != 2:
        raise ValueError(f"k must be (D, L'), got {tuple(kernel.shape)}")
    taps = k.length if isinstance(k, PreparedKernel) else kernel.shape[1]
    if operations_wanted(kernel, *tensors):
        if backend == "auto":
            return kernel, taps, None, "plain"
        refuse_unless_operations(backend)
    if not isinstance(k, PreparedKernel):
        return kernel, taps, None, backend
    if backend not in ("auto", k.backend):
        raise ValueError(f"k was prepared for the {k.backend} backend of the long convolution, not for {backend}")
    return kernel, taps, k.spectrum, k.backend


def prepare_kernel(k: torch.Tensor, length: int, backend: str = "auto") -> PreparedKernel:
    """Transform a kernel once for many inputs; what is returned is accepted as `k`, without gradient.

    Args:
        k: (D, L').
        length: the longest input, at most L' positions.
        backend: as of [`long_conv`], except "reference".

    Returns:
        The kernel with its transform, for this backend only.

    Raises:
        ValueError: for an unknown backend, "reference", or a length that `k` does not cover.
        RuntimeError: if the backend asked for is not available.
    """
    if k.ndim != 2 or not 1 <= length <= k.shape[1]:
        raise ValueError(f"cannot prepare a kernel of shape {tuple(k.shape)} for inputs of length {length}")
    chosen = chosen_backend(resolved(backend), k.device)
    if chosen == "reference":
        raise ValueError("the reference backend takes the kernel itself, not a prepared one")
    kernel, module = k.detach(), plain_backend if chosen == "plain" else MODULES[chosen]
    return PreparedKernel(kernel, module.transform_kernel(kernel, length), length, chosen)
