"""GELU by its tanh approximation: on a CPU in one pass of the compiled library, equal to rounding to torch's own."""

import math
from typing import Any, cast

import torch
from torch.nn import functional as F

from .long_conv import cpu_backend, resolved
from .long_conv.operator import chosen_backend
from .long_conv.transforms import operations_wanted


def gelu(x: torch.Tensor, backend: str = "auto", followed: bool = False) -> torch.Tensor:
    """GELU of any shape: x (1 + tanh z) / 2 is x sigmoid(2 z), z = sqrt(2 / pi) (x + 0.044715 x^3).

    Args:
        backend: of the long convolution, in whose library it is.
        followed: whether torch follows the operations, which then are its own.
    """
    if followed or type(x) is not torch.Tensor or x.device.type != "cpu" or x.dtype != torch.float32:
        return F.gelu(x, approximate="tanh")
    compiled = chosen_backend(resolved(backend), x.device) == "cpu"
    if torch.is_grad_enabled():
        if not compiled:
            return F.gelu(x, approximate="tanh")  # which keeps one tensor for the backward, as the compiled one does
        return cast(torch.Tensor, _Compiled.apply(x))  # type: ignore[no-untyped-call]
    if compiled:
        return cpu_backend.gelu(x)
    scale = 2 * math.sqrt(2 / math.pi)  # torch's sigmoid takes a fraction of the time of its tanh
    return (x * x).mul_(0.044715 * scale).add_(scale).mul_(x).sigmoid_().mul_(x)


class _Compiled(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: torch.Tensor) -> torch.Tensor:
        ctx.save_for_backward(x)
        return cpu_backend.gelu(x)

    @staticmethod
    def backward(ctx: Any, dy: torch.Tensor) -> torch.Tensor:
        (x,) = ctx.saved_tensors
        batched = torch._C._functorch.is_legacy_batchedtensor(dy)  # of is_grads_batched  # noqa: SLF001
        if batched or torch.is_grad_enabled() or operations_wanted(dy, x):  # or to be differentiated again
            return cast(torch.Tensor, torch.ops.aten.gelu_backward(dy, x, approximate="tanh"))
        return cpu_backend.gelu_backward(dy, x)
