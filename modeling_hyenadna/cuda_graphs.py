"""Forward passes replayed as CUDA graphs: one launch in place of hundreds, which is what short inputs wait for."""

from collections import OrderedDict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn
from transformers import PreTrainedModel

MOST_GRAPHS = 16  # kept at a time; each holds its inputs, its outputs, and what is computed between them


@dataclass
class Recording:
    """A forward pass that can be run again on what is copied into its inputs."""

    inputs: dict[str, torch.Tensor]
    outputs: Any
    replay: Callable[[], None]
    places: tuple[int, ...]  # of the weights that it reads


@contextmanager
def cuda_graphs(model: PreTrainedModel) -> Iterator[None]:
    """Within it, forward passes without gradients of a shape that has been seen are replayed as a CUDA graph.

    The first pass of a shape runs as ever, the second is recorded, the others are replayed. The implicit filters are
    computed in the graph, so that weights that are changed in place act at once; weights that are moved or replaced are
    noticed, and recorded again. Everything else runs as ever: on a CPU, with gradients, in training, with a cache
    (so generation), with arguments other than tensors, flags and numbers, and while a module has hooks.

        with torch.inference_mode(), cuda_graphs(model):
            for batch in batches:
                logits = model(**batch).logits

    Raises:
        RuntimeError: if the model's forward passes are replayed already.
    """
    if "forward" in vars(model):
        raise RuntimeError("the forward of this model is replaced already, by graphs or by something else")
    model.forward = Replayed(model)
    try:
        yield
    finally:
        del model.forward


class Replayed:
    """A model's `forward` that records and replays."""

    def __init__(self, model: PreTrainedModel):
        self.model, self.own = model, model.forward
        self.seen: set[Any] = set()
        self.recordings: OrderedDict[Any, Recording] = OrderedDict()

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """The model's own output, or a copy of what a graph has written."""
        if args:
            kwargs = {**kwargs, **dict(zip(("input_ids", "attention_mask"), args, strict=False))}
        key = key_of(kwargs) if len(args) <= 2 and can_record(self.model, kwargs) else None
        if key is None:
            return self.own(*args, **kwargs) if len(args) > 2 else self.own(**kwargs)
        places = tuple(tensor.data_ptr() for tensor in [*self.model.parameters(), *self.model.buffers()])
        recording = self.recordings.pop(key, None)
        if recording is None or recording.places != places:
            if key not in self.seen:
                self.seen.add(key)  # what is made once, tables and the like, is made outside of a graph
                return self.own(**kwargs)
            recording = record(self.own, kwargs, places)
        self.recordings[key] = recording
        if len(self.recordings) > MOST_GRAPHS:
            self.recordings.popitem(last=False)
        for name, tensor in recording.inputs.items():
            tensor.copy_(kwargs[name])
        recording.replay()
        return copied(recording.outputs)


def can_record(model: nn.Module, kwargs: dict[str, Any]) -> bool:
    """Whether a call can be recorded: it is the same work each time, on a GPU, without gradients."""
    if torch.is_grad_enabled() or torch.compiler.is_compiling() or kwargs.get("use_cache"):
        return False
    if not all(on_gpu(value) for value in kwargs.values() if isinstance(value, torch.Tensor)):
        return False
    # The model's own hooks are called around what is recorded.
    return not any(module.training or (module is not model and is_watched(module)) for module in model.modules())


def is_watched(module: nn.Module) -> bool:
    """Whether a hook wants to know of every call of a module; those of transformers collect what a call returns."""
    hooks = [*module._forward_hooks.values(), *module._forward_pre_hooks.values()]  # noqa: SLF001
    return any(hook.__module__ != "transformers.utils.output_capturing" for hook in hooks)


def on_gpu(tensor: torch.Tensor) -> bool:
    """Whether work on a tensor can be recorded."""
    return tensor.is_cuda


def key_of(kwargs: dict[str, Any]) -> tuple[Any, ...] | None:
    """What two calls have alike that one graph serves; None of arguments that are no tensors, flags or numbers."""
    known = (bool, int, float, str, type(None))
    if not any(isinstance(value, torch.Tensor) for value in kwargs.values()):
        return None
    if not all(isinstance(value, (*known, torch.Tensor)) for value in kwargs.values()):
        return None
    parts = [
        (name, tuple(value.shape), value.dtype, value.device) if isinstance(value, torch.Tensor) else (name, value)
        for name, value in sorted(kwargs.items())
    ]
    return (*parts, torch.is_inference_mode_enabled(), torch.is_autocast_enabled("cuda"))


def record(own: Callable[..., Any], kwargs: dict[str, Any], places: tuple[int, ...]) -> Recording:
    """Record a call, on inputs of its own."""
    inputs = {name: value.clone() for name, value in kwargs.items() if isinstance(value, torch.Tensor)}
    outputs, replay = captured(lambda: own(**{**kwargs, **inputs}))
    return Recording(inputs, outputs, replay, places)


def captured(work: Callable[[], Any]) -> tuple[Any, Callable[[], None]]:
    """The outputs of some work on the GPU, recorded but not done, and what does it."""
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        outputs = work()
    return outputs, graph.replay


def copied(outputs: Any) -> Any:
    """A model's output with tensors of its own: the next replay writes over the graph's."""
    if isinstance(outputs, torch.Tensor):
        return outputs.clone()
    if isinstance(outputs, dict):
        return type(outputs)(**{name: copied(value) for name, value in outputs.items()})
    if isinstance(outputs, tuple):
        return tuple(map(copied, outputs))
    return outputs
