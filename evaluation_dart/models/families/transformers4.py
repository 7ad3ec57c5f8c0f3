"""What code that was written for transformers 4 no longer finds in transformers 5: supplied, and only to that code.

Checked against 4.36 and 5.23: names of modules that it imports, methods that its classes inherited, fields that every
configuration had.
"""

import inspect
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib import import_module
from types import ModuleType
from typing import Any

import torch
from torch import nn
from transformers import PretrainedConfig, PreTrainedModel

# Fields that every configuration of transformers 4 had, with their defaults
FIELDS: dict[str, Any] = {
    "add_cross_attention": False,
    "bos_token_id": None,
    "cross_attention_hidden_size": None,
    "eos_token_id": None,
    "is_decoder": False,
    "pad_token_id": None,
    "pruned_heads": {},
    "sep_token_id": None,
    "tie_encoder_decoder": False,
    "tie_word_embeddings": True,
    "torchscript": False,
    "use_bfloat16": False,
}
# Names of weights that are tied, a list in transformers 4; in 5 they are pairs
TIED = "_tied_weights_keys"


def no_pruning(*given: Any) -> Any:
    """In the place of the functions that prune heads, which are imported and never called here.

    Raises:
        NotImplementedError: always.
    """
    raise NotImplementedError("attention heads cannot be pruned: transformers 5 has no such function")


# Module -> names that were there
NAMES: dict[str, dict[str, Any]] = {
    "transformers.pytorch_utils": {"find_pruneable_heads_and_indices": no_pruning},
    "transformers.modeling_utils": {
        "find_pruneable_heads_and_indices": no_pruning,
        "prune_linear_layer": no_pruning,
    },
}


@contextmanager
def names_of_transformers_4(hidden: Sequence[str] = ()) -> Iterator[None]:
    """While a repository's code is imported: `NAMES` can be imported; afterwards all is as it was.

    Args:
        hidden: packages that cannot be imported meanwhile, even where they are installed.
    """
    supplied = []
    found = {name: sys.modules[name] for name in hidden if name in sys.modules}
    for path, names in NAMES.items():
        module = import_module(path)
        for name, value in names.items():
            if not hasattr(module, name):
                setattr(module, name, value)
                supplied.append((module, name))
    sys.modules.update(dict.fromkeys(hidden))  # type: ignore[arg-type]  # None: an import is refused
    try:
        yield
    finally:
        for module, name in supplied:
            delattr(module, name)
        for name in hidden:
            del sys.modules[name]
        sys.modules.update(found)


def with_fields_of_transformers_4(config: PretrainedConfig) -> PretrainedConfig:
    """The configuration itself, with those of `FIELDS` that it lacks."""
    for name, value in FIELDS.items():
        if not hasattr(config, name):
            setattr(config, name, value)
    return config


def get_head_mask(self: Any, head_mask: Any, num_hidden_layers: int, is_attention_chunked: bool = False) -> list[None]:
    """No head of any layer is masked.

    Raises:
        NotImplementedError: if one is to be.
    """
    if head_mask is not None:
        raise NotImplementedError("attention heads cannot be masked")
    return [None] * num_hidden_layers


def get_extended_attention_mask(
    self: Any, attention_mask: torch.Tensor, input_shape: Any = None, device: Any = None, dtype: Any = None
) -> torch.Tensor:
    """What an encoder adds to its attention scores: 0 for tokens of the mask (B, T), else the smallest number.

    Raises:
        NotImplementedError: for a decoder, or a mask of another shape.
    """
    if attention_mask.dim() != 2 or getattr(self.config, "is_decoder", False):
        raise NotImplementedError(f"an attention mask of shape {tuple(attention_mask.shape)} other than an encoder's")
    dtype = dtype or next(self.parameters()).dtype
    return (1.0 - attention_mask[:, None, None, :].to(dtype)) * torch.finfo(dtype).min


def tied_as_in_transformers_4(model: Any) -> None:
    """Give the output embeddings the weight of the input embeddings, where the configuration does not forbid it."""
    try:
        outputs = model.get_output_embeddings()
        inputs = model.get_input_embeddings() if isinstance(outputs, nn.Module) else None
    except NotImplementedError:  # of a model that does not say what they are: it ties them itself, or not
        return
    weight = getattr(inputs, "weight", None)
    if not getattr(model.config, "tie_word_embeddings", True) or not isinstance(weight, nn.Parameter):
        return
    if "weight" in dict(outputs.named_parameters(recurse=False)):
        outputs.weight = weight


def adapt(module: ModuleType) -> None:
    """Give the models of an imported module what they inherited in transformers 4, each only where it is missing."""
    for model in vars(module).values():
        of_module = inspect.isclass(model) and model.__module__ == module.__name__
        if not of_module or not issubclass(model, PreTrainedModel) or "adapted" in vars(model):
            continue
        for method in (get_head_mask, get_extended_attention_mask):
            if not hasattr(model, method.__name__):
                setattr(model, method.__name__, method)
        if not hasattr(model, "invert_attention_mask"):
            model.invert_attention_mask = get_extended_attention_mask
        if isinstance(getattr(model, TIED, None), list):
            setattr(model, TIED, None)
        model.tie_weights = tying(model, vars(model).get("tie_weights"))
        model.adapted = True


def tying(model: type[PreTrainedModel], own: Any) -> Any:
    """The method `tie_weights` of a model, which takes what transformers 5 passes; `own`: the class's, or None."""

    def tie_weights(self: Any, missing_keys: Any = None, recompute_mapping: bool = True) -> None:
        if own is not None:
            own(self)
        elif recompute_mapping or hasattr(self, "all_tied_weights_keys"):  # which code without `post_init` lacks
            super(model, self).tie_weights(missing_keys=missing_keys, recompute_mapping=recompute_mapping)
        tied_as_in_transformers_4(self)

    return tie_weights
