"""LoRA as DART-Eval fine-tunes (spec section 1.7): peft for Linear and Embedding, our own for other affine layers.

The original uses minLoRA, which adds to weights: W + (alpha / rank) B (A * dropout(1)). Out of training, peft's layers
compute the same. They differ in training, in that peft drops single activations where minLoRA drops an input feature
for the whole batch, and in that of an embedding peft starts with A = 0 and B random, minLoRA the other way round.

peft 0.21 refuses a Conv1d with groups unless the rank is a multiple of them, as HyenaDNA's depthwise one is not. It
adapts a layer's call: where the module above reads a layer's weight instead, as Mamba's code does, its adapters would
never be used. And transformers 5 keeps the experts of Mixtral in tensors of three dimensions, and its router in a class
of its own, all of them nn.Linear in transformers 4. All of these get ours.
"""

import math
import re
from collections.abc import Callable, Collection

import torch
import torch.nn.functional as F
from torch import nn
from torch.nn.utils import parametrize

from datasets_dart.errors import InputError, MissingExtra

ADAPTER = "lora_"  # in the name of every parameter of an adapter, peft's and ours
# Parts within a backbone that are trained as the head is, and get no adapters: BERT's pooler.
BESIDE_THE_BACKBONE = "pooler"
# Parameters (experts, out, in) of a layer's experts -> how many layers of transformers 4 lie on each other in `out`
EXPERTS = {"gate_up_proj": 2, "down_proj": 1}


class WeightLoRA(nn.Module):
    """A low-rank change of a weight, for `torch.nn.utils.parametrize`: W (out, ...) seen as (out, fan-in).

    Attributes:
        lora_A: (rank, fan-in); lora_B: (out, rank), 0 at first, so that the change is.
    """

    def __init__(self, weight: torch.Tensor, rank: int, alpha: float, dropout: float):
        super().__init__()
        fan_in = weight[0].numel()
        self.lora_A = nn.Parameter(weight.new_empty(rank, fan_in))
        self.lora_B = nn.Parameter(weight.new_zeros(len(weight), rank))
        nn.init.kaiming_uniform_(self.lora_A, a=math.sqrt(5))
        self.scaling, self.dropout = alpha / rank, dropout

    def forward(self, weight: torch.Tensor) -> torch.Tensor:
        """The weight with its low-rank update."""
        # Dropout of a one for each input: what is dropped is a whole feature, as in minLoRA.
        kept = F.dropout(self.lora_A.new_ones(1, self.lora_A.shape[1]), self.dropout, self.training)
        return weight + self.scaling * (self.lora_B @ (self.lora_A * kept)).view_as(weight)


class ExpertLoRA(nn.Module):
    """A low-rank change of each of a layer's experts, for a weight (experts, out, in) of `parts` layers each.

    Attributes:
        lora_A: (experts, parts, rank, in); lora_B: (experts, parts, out / parts, rank), 0 at first.
    """

    def __init__(self, weight: torch.Tensor, parts: int, rank: int, alpha: float, dropout: float):
        super().__init__()
        experts, out, fan_in = weight.shape
        self.lora_A = nn.Parameter(weight.new_empty(experts, parts, rank, fan_in))
        self.lora_B = nn.Parameter(weight.new_zeros(experts, parts, out // parts, rank))
        nn.init.uniform_(self.lora_A, -(fan_in**-0.5), fan_in**-0.5)  # as kaiming_uniform_ of each matrix
        self.scaling, self.dropout = alpha / rank, dropout

    def forward(self, weight: torch.Tensor) -> torch.Tensor:
        """The weight with its low-rank update."""
        ones = self.lora_A.new_ones(*self.lora_A.shape[:2], 1, self.lora_A.shape[3])
        kept = F.dropout(ones, self.dropout, self.training)
        return weight + self.scaling * (self.lora_B @ (self.lora_A * kept)).view_as(weight)


def layers_called(model: nn.Module, run: Callable[[], object]) -> set[str]:
    """Names of the submodules of `model` whose call is part of `run`."""
    called: set[str] = set()
    hooks = [
        layer.register_forward_pre_hook(lambda *given, name=name: called.add(name))
        for name, layer in model.named_modules()
    ]
    try:
        run()
    finally:
        for hook in hooks:
            hook.remove()
    return called


def add_lora(
    backbone: nn.Module,
    rank: int = 8,
    alpha: int = 16,
    dropout: float = 0.05,
    called: Collection[str] | None = None,
) -> nn.Module:
    """Adapters on every Linear, Embedding, Conv1d and affine layer of `backbone`, in place; all else in it is frozen.

    Linear and Embedding by exact type, as in the original. An affine layer of another class, as those of HyenaDNA's
    implicit filter, is known by its `in_features` and its matrix, Mixtral's experts by their names. A pooler is left
    as it is, and trained.

    Args:
        called: layers that a forward pass calls ([`layers_called`]); of the others, the weights are read. None: all.

    Raises:
        ImportError: naming the extra, if peft is not installed.
        ValueError: if there is nothing to adapt.
    """
    try:
        from peft import LoraConfig, inject_adapter_in_model
    except ImportError as error:
        raise MissingExtra("LoRA", "peft") from error
    layers = {name: layer for name, layer in backbone.named_modules() if BESIDE_THE_BACKBONE not in name.split(".")}
    known = {name for name, layer in layers.items() if type(layer) in (nn.Linear, nn.Embedding)}
    read = known - {*called} if called is not None else set()
    of_peft = [re.escape(name) for name in layers if name in known - read]
    others = [
        layer
        for name, layer in layers.items()
        if name in read or isinstance(layer, nn.Conv1d) or is_affine(layer) or is_router(layer)
    ]
    experts = [(layer, name) for layer in layers.values() for name in EXPERTS if holds_experts(layer, name)]
    if not of_peft and not others and not experts:
        raise InputError(f"{type(backbone).__name__} has no Linear, Embedding or Conv1d to adapt")
    if of_peft:
        targets = "|".join(of_peft)  # a pattern for the whole name: entries of a list would match the ends of names
        backbone = inject_adapter_in_model(
            LoraConfig(r=rank, lora_alpha=alpha, lora_dropout=dropout, target_modules=targets), backbone
        )
    for layer in others:
        parametrize.register_parametrization(layer, "weight", WeightLoRA(layer.weight, rank, alpha, dropout))
    for layer, name in experts:
        adapter = ExpertLoRA(getattr(layer, name), EXPERTS[name], rank, alpha, dropout)
        parametrize.register_parametrization(layer, name, adapter)
    for name, parameter in backbone.named_parameters():
        parameter.requires_grad_(ADAPTER in name or BESIDE_THE_BACKBONE in name.split("."))
    return backbone


def is_affine(layer: nn.Module) -> bool:
    """Whether a layer multiplies by a matrix as nn.Linear does, and is none."""
    weight = getattr(layer, "weight", None)
    return (
        not isinstance(layer, nn.Linear)
        and isinstance(weight, nn.Parameter)
        and weight.shape == (getattr(layer, "out_features", None), getattr(layer, "in_features", None))
    )


def is_router(layer: nn.Module) -> bool:
    """Whether a layer is a router of transformers 5, a matrix (experts, in) that was nn.Linear before."""
    weight = getattr(layer, "weight", None)
    shape = (getattr(layer, "num_experts", None), getattr(layer, "hidden_dim", None))
    return isinstance(weight, nn.Parameter) and weight.shape == shape


def holds_experts(layer: nn.Module, name: str) -> bool:
    """Whether a layer has the matrices of several experts in one parameter of that name."""
    weight = getattr(layer, name, None)
    return isinstance(weight, nn.Parameter) and weight.dim() == 3


def merge_lora(backbone: nn.Module) -> nn.Module:
    """Add what the adapters of [`add_lora`] have learned to the weights, in place, and take the adapters out."""
    from peft.tuners.tuners_utils import BaseTunerLayer

    for path, layer in [*backbone.named_modules()]:
        if isinstance(layer, BaseTunerLayer):
            layer.merge()
            parent, _, own = path.rpartition(".")
            setattr(backbone.get_submodule(parent), own, layer.get_base_layer())
        elif parametrize.is_parametrized(layer):
            for name in [*layer.parametrizations]:
                parametrize.remove_parametrizations(layer, name, leave_parametrized=True)
    return backbone
