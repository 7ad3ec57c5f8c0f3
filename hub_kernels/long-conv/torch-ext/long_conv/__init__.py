"""HyenaDNA's long convolution on NVIDIA GPUs, for `modeling_hyenadna.long_conv`, which says what a problem is.

Each function takes the address of a problem (`hyena::gpu::Problem`) and returns 0, or a number that `hyena_gpu_error`
puts into words.
"""

from ._ops import ops


def hyena_gpu_prepare(problem: int) -> int:
    """Transform a kernel."""
    return ops.prepare(problem)


def hyena_gpu_forward(problem: int) -> int:
    """Convolve."""
    return ops.forward(problem)


def hyena_gpu_backward(problem: int) -> int:
    """All gradients of a convolution."""
    return ops.backward(problem)


def hyena_gpu_error(error: int) -> bytes:
    """The words for an error's number."""
    return ops.error(error).encode()


__all__ = ["hyena_gpu_backward", "hyena_gpu_error", "hyena_gpu_forward", "hyena_gpu_prepare"]
