"""When torch has to see the operations of a function themselves, not an operator whose inside it does not know."""

from collections.abc import Callable, Sequence

import torch
from torch.autograd import forward_ad

# What a graph of torch's operations is for any of torch's transformations.
TRANSPARENT = ("plain", "reference")


def functions_transformed() -> bool:
    """Whether a transformation of torch.func runs this, or forward-mode derivatives may be asked for."""
    return _mapped() or _forward_mode()


def _mapped() -> bool:
    # A compiler that sees the question compiles anew for every length. It refuses an operator that it cannot map.
    return not torch.compiler.is_compiling() and torch._C._functorch.peek_interpreter_stack() is not None  # noqa: SLF001


def _forward_mode() -> bool:
    return forward_ad._current_level >= 0  # noqa: SLF001


def operations_wanted(*tensors: torch.Tensor | None) -> bool:
    """Whether a function of `tensors` is exported, mapped or differentiated forward, or has no values at all (meta)."""
    if torch.compiler.is_exporting() or _mapped():
        return True
    given = [tensor for tensor in tensors if tensor is not None]
    if _forward_mode() and any(forward_ad.unpack_dual(tensor).tangent is not None for tensor in given):
        return True
    return any(tensor.device.type == "meta" for tensor in given)


def refuse_unless_operations(backend: str) -> None:
    """Refuse a backend that was named where [`operations_wanted`], unless it is made of torch's operations.

    An exported program may hold the operators themselves, to be run where they are registered; ONNX has none.

    Raises:
        ValueError: for all other backends.
    """
    if backend in TRANSPARENT:
        return
    if functions_transformed():
        what = "be mapped (torch.vmap) or differentiated forward (torch.func, torch.autograd.forward_ad)"
    elif torch.compiler.is_exporting() and torch.onnx.is_in_onnx_export():
        what = "be written as ONNX"
    else:
        return
    raise ValueError(
        f"the {backend} backend of the long convolution cannot {what}: "
        'use the backend "plain", or "auto", which takes it by itself'
    )


def differentiable_gradients(
    function: Callable[..., torch.Tensor], inputs: Sequence[torch.Tensor | None], dy: torch.Tensor
) -> tuple[torch.Tensor | None, ...]:
    """Gradients of ``function(*inputs)``, made of torch's operations so that they can be differentiated themselves.

    Args:
        function: of torch's operations only.
        inputs: tensors of floats, and None for what is not given.
        dy: the gradient of its value.

    Returns:
        One for each input that requires a gradient, None for the others.
    """
    differentiable = torch.is_grad_enabled()
    with torch.enable_grad():
        # Aliases: an input may be computed from another one, or given twice.
        aliases = [None if tensor is None else tensor.view_as(tensor) for tensor in inputs]
        leaves = {index: alias for index, alias in enumerate(aliases) if alias is not None and alias.requires_grad}
        found = torch.autograd.grad(function(*aliases), [*leaves.values()], dy, create_graph=differentiable)
    gradients = dict(zip(leaves, found, strict=True))
    return tuple(gradients.get(index) for index in range(len(inputs)))
