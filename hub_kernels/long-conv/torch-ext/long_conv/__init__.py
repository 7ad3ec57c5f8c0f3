"""HyenaDNA's long convolution on NVIDIA GPUs, for `modeling_hyenadna.long_conv`, which says what a problem is.

Each function takes the address of a problem (`hyena::gpu::Problem`) and returns 0, or a number that `hyena_gpu_error`
puts into words.
"""

from ._ops import ops

hyena_gpu_prepare = ops.prepare  # transforms a kernel
hyena_gpu_forward = ops.forward  # convolves
hyena_gpu_backward = ops.backward  # all gradients of a convolution


def hyena_gpu_error(error: int) -> bytes:
    """The words for an error's number."""
    return ops.error(error).encode()
