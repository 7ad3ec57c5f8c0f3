"""What an implicit filter computes, kept for the next input of the same length while its weights stay as they are."""

from collections.abc import Callable

import torch
from torch import nn

from .long_conv import PreparedKernel, prepare_kernel

FLOAT_BYTES = 4


def effective_weights(layers: nn.ModuleDict, width: int) -> torch.Tensor | None:
    """A value copy, (n,), of all that a stack of affine layers and activations computes with.

    Their parameters and buffers, and what each layer makes of zero and of every unit vector: its matrix and bias as
    they act, whatever adapters or parametrisations are active, merged or switched off.

    Args:
        width: features that the first layer takes.

    Returns:
        None where the values are not at hand: on the meta device, while tracing, with sharded or fake tensors.
    """
    tensors = [*layers.parameters(), *layers.buffers()]
    if any(t.is_meta or type(t) not in (torch.Tensor, nn.Parameter) or t.dtype != torch.float32 for t in tensors):
        return None
    for layer in layers.values():
        tensors.append(layer(torch.eye(width + 1, width, device=tensors[0].device)))
        width = tensors[-1].shape[-1]
    return torch.cat([tensor.flatten() for tensor in tensors])


class KernelCache:
    """Prepared kernels of one filter by length, those used longest ago given up beyond `limit` bytes.

    Copies and pickles of it are empty.
    """

    def __init__(self, limit: int):
        self.limit = limit
        self.clear()

    def __reduce__(self) -> tuple[type["KernelCache"], tuple[int]]:
        return KernelCache, (self.limit,)

    def clear(self) -> None:
        """Forget all kernels."""
        # Weights and kernels are replaced together, so that threads never see those of one with those of another.
        self.state: tuple[torch.Tensor, dict[int, PreparedKernel]] | None = None

    def get(
        self, weights: torch.Tensor, length: int, channels: int, compute: Callable[[int], torch.Tensor], backend: str
    ) -> torch.Tensor | PreparedKernel:
        """The kernel of `length` positions, prepared for `backend`; the kernel itself where that would be too large.

        Args:
            weights: [`effective_weights`] of the filter now; kernels made with any others are forgotten.
            compute: gives the kernel (channels, length).
        """
        if 3 * FLOAT_BYTES * channels * length > self.limit:  # the kernel, and its complex transform
            return compute(length)
        state = self.state
        if state is None or state[0].device != weights.device or not torch.equal(state[0], weights):
            state = self.state = weights, {}
        kernels = state[1]
        prepared = kernels.pop(length, None)
        if prepared is None or backend not in ("auto", prepared.backend):
            prepared = prepare_kernel(compute(length), length, backend)
        kernels[length] = prepared  # the last one is the one used last
        while len(kernels) > 1 and sum(kernel.nbytes for kernel in kernels.values()) > self.limit:
            del kernels[next(iter(kernels))]
        return prepared
