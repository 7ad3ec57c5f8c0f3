"""Forward passes replayed as CUDA graphs: one launch in place of hundreds, which is what short inputs wait for."""

from collections import OrderedDict, deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from inspect import signature
from typing import Any, cast

import torch
from torch import nn
from transformers import PreTrainedModel
from transformers.cache_utils import Cache

from .cache_hyenadna import HyenaDNACacheLayer

PLAIN = (bool, int, float, str, type(None))  # arguments that are a part of what is recorded
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
    noticed, and recorded again. In generation with a cache the prompt runs as ever, and of each token what is the same
    for all is replayed, until what the cache keeps has outgrown its place: then it is recorded again. Everything else
    runs as ever: on a CPU, with gradients, in training, with arguments other than tensors, flags and numbers, and while
    a module has hooks.

        with torch.inference_mode(), cuda_graphs(model):
            for batch in batches:
                logits = model(**batch).logits
            tokens = model.generate(prompts, max_new_tokens=500)

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
        self.__signature__ = signature(model.forward)  # by which generation sees what a model takes
        self.seen: deque[Any] = deque(maxlen=4 * MOST_GRAPHS)
        self.recordings: OrderedDict[Any, Recording] = OrderedDict()

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """The model's own output, or a copy of what a graph has written."""
        if len(args) > 2:
            return self.own(*args, **kwargs)
        kwargs = {**kwargs, **dict(zip(("input_ids", "attention_mask"), args, strict=False))}
        if not can_record(self.model, kwargs):
            return self.own(**kwargs)
        if kwargs.get("past_key_values") is not None:
            return self.step(**kwargs) if is_step(self.model, **kwargs) else self.own(**kwargs)
        return self.own(**kwargs) if kwargs.get("use_cache") else self.repeated(self.own, kwargs, ())

    def step(self, past_key_values: Cache, attention_mask: torch.Tensor | None = None, **kwargs: Any) -> Any:
        """One token after those of a cache."""
        layers, blocks = layers_of(past_key_values), cast(Any, self.model.base_model).backbone.layers
        for block, layer in zip(blocks, layers, strict=True):
            layer.convolution.make_ready(block.mixer.kernel_for(layer))
        (places,) = {layer.convolution.places for layer in layers}
        state = [tensor for layer in layers for tensor in layer.state]
        kwargs["indices"] = torch.tensor(places, device=state[0].device)
        if attention_mask is not None:
            kwargs["attention_mask"] = attention_mask[:, -1:]

        def own(indices: torch.Tensor, **inputs: Any) -> Any:
            with at(layers, indices):
                outputs = self.own(past_key_values=past_key_values, **inputs)
            return type(outputs)(**{name: value for name, value in outputs.items() if name != "past_key_values"})

        outputs = self.repeated(own, kwargs, state)
        for layer in layers:
            layer.convolution.length += 1
        return type(outputs)(**outputs, past_key_values=past_key_values)

    def repeated(self, own: Callable[..., Any], kwargs: dict[str, Any], state: Sequence[torch.Tensor]) -> Any:
        """What `own` gives, which reads and writes `state` in its place, from a graph if it has been recorded."""
        key = key_of(kwargs)
        if key is None:
            return own(**kwargs)
        key = (*key, *(tensor.data_ptr() for tensor in state))
        places = tuple(tensor.data_ptr() for tensor in [*self.model.parameters(), *self.model.buffers()])
        recording = self.recordings.pop(key, None)
        if recording is None or recording.places != places:
            if key not in self.seen:
                self.seen.append(key)  # what is made once, tables and the like, is made outside of a graph
                return own(**kwargs)
            recording = record(own, kwargs, places)
        self.recordings[key] = recording
        if len(self.recordings) > MOST_GRAPHS:
            self.recordings.popitem(last=False)
        for name, tensor in recording.inputs.items():
            tensor.copy_(kwargs[name])
        recording.replay()
        return copied(recording.outputs)


def layers_of(cache: Cache) -> list[HyenaDNACacheLayer]:
    """The layers of a cache that is made for HyenaDNA; of any other, none."""
    if not all(map(HyenaDNACacheLayer.is_kind_of, cache.layers)):
        return []
    return cast(list[HyenaDNACacheLayer], cache.layers)


@contextmanager
def at(layers: Sequence[HyenaDNACacheLayer], indices: torch.Tensor | None) -> Iterator[None]:
    """Within it, the next token of cache layers takes the places that a tensor says."""
    for layer in layers:
        layer.convolution.indices = indices
    try:
        yield
    finally:
        for layer in layers:
            layer.convolution.indices = None


def can_record(model: nn.Module, kwargs: dict[str, Any]) -> bool:
    """Whether a call can be recorded: it is the same work each time, on a GPU, without gradients."""
    if torch.is_grad_enabled() or torch.compiler.is_compiling():
        return False
    if not all(on_gpu(value) for value in kwargs.values() if isinstance(value, torch.Tensor)):
        return False
    # The model's own hooks are called around what is recorded.
    return not any(module.training or (module is not model and is_watched(module)) for module in model.modules())


def is_step(
    model: PreTrainedModel,
    past_key_values: Cache,
    input_ids: torch.Tensor | None = None,
    attention_mask: torch.Tensor | None = None,
    use_cache: bool | None = None,
    return_dict: bool | None = None,
    **kwargs: Any,
) -> bool:
    """Whether a call reads one more token into a cache of this model, which has begun, and no more than that."""
    layers = layers_of(past_key_values)
    if not use_cache or return_dict is False or not model.config.return_dict or past_key_values.offloading:
        return False
    if not all(isinstance(value, PLAIN) for value in kwargs.values()):
        return False
    if not layers or not all(layer.can_step for layer in layers):
        return False
    rows, past = layers[0].values.shape[0], past_key_values.get_seq_length()
    if input_ids is None or input_ids.shape != (rows, 1) or not 0 < past < model.config.max_seq_len:
        return False
    if len({layer.convolution.places for layer in layers}) > 1:
        return False
    return attention_mask is None or attention_mask.shape in ((rows, 1), (rows, past + 1))


def is_watched(module: nn.Module) -> bool:
    """Whether a hook wants to know of every call of a module; those of transformers collect what a call returns."""
    hooks = [*module._forward_hooks.values(), *module._forward_pre_hooks.values()]  # noqa: SLF001
    return any(hook.__module__ != "transformers.utils.output_capturing" for hook in hooks)


def on_gpu(tensor: torch.Tensor) -> bool:
    """Whether work on a tensor can be recorded."""
    return tensor.is_cuda


def key_of(kwargs: dict[str, Any]) -> tuple[Any, ...] | None:
    """What two calls have alike that one graph serves; None of arguments that are no tensors, flags or numbers."""
    if not any(isinstance(value, torch.Tensor) for value in kwargs.values()):
        return None
    if not all(isinstance(value, (*PLAIN, torch.Tensor)) for value in kwargs.values()):
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
