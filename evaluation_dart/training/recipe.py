"""Every choice of a training, by the names of transformers' TrainingArguments where it has them."""

import dataclasses
import logging
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import NoneType
from typing import Any, NamedTuple, TypeVar, get_args, get_origin, get_type_hints

from datasets_dart.errors import InputError

STRATEGIES = ("random", "sequential", "group_by_length")
SCHEDULES = ("cosine_with_min_lr", "reduce_lr_on_plateau", "constant")
# Former names of hyper-parameters, which may still be used.
OLD_NAMES = {
    "epochs": "num_train_epochs",
    "forward_rows": "per_device_train_batch_size",
    "schedule": "lr_scheduler_type",
    "warmup": "warmup_steps",
    "final_learning_rate": "min_lr_rate",
    "patience": "early_stopping_patience",
    "checkpoint_every": "save_steps",
    "by_length": "train_sampling_strategy",
    "shuffle": "train_sampling_strategy",
    "precision": "bf16",
    "rank": "lora_rank",
    "alpha": "lora_alpha",
    "dropout": "lora_dropout",
    "accumulate": "batch_size",
}
OLD_VALUES: dict[tuple[str, Any], Any] = {
    ("schedule", "cosine"): "cosine_with_min_lr",
    ("schedule", "plateau"): "reduce_lr_on_plateau",
    ("by_length", True): "group_by_length",
    ("by_length", False): "random",
    ("shuffle", True): "random",
    ("shuffle", False): "sequential",
    ("precision", "bf16"): True,
    ("precision", "fp32"): False,
}
logger = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class Optimisation:
    """What every training of this package can choose: pretraining as well as learning from labels."""

    learning_rate: float = field(default=6e-4, metadata={"help": "highest learning rate"})
    filter_learning_rate: float | None = field(
        default=6e-4,
        metadata={"help": "of HyenaDNA's implicit filters, which then have no weight decay; none: as everything else"},
    )
    weight_decay: float = field(default=0.1, metadata={"help": "AdamW's, of all trained weights but those filters"})
    warmup_steps: float = field(
        default=0.01, metadata={"help": "steps with a rising learning rate; below 1, this part of all steps"}
    )
    min_lr_rate: float = field(default=0.1, metadata={"help": "the cosine's end, as a part of the highest rate"})
    max_grad_norm: float = field(default=1.0, metadata={"help": "largest norm of a step's gradient; 0: any"})
    max_steps: int = field(default=-1, metadata={"help": "optimiser steps, before all epochs are over; -1: no limit"})
    per_device_train_batch_size: int = field(default=128, metadata={"help": "rows in a forward pass, at most"})
    bf16: bool = field(default=False, metadata={"help": "autocast to bfloat16"})
    seed: int = field(default=0, metadata={"help": "of new weights, the order of rows and dropout"})
    save_steps: int = field(default=500, metadata={"help": "steps between states to resume from, besides epochs"})

    def warmup_of(self, steps: int) -> int:
        """Steps with a rising learning rate, of so many in all."""
        return math.ceil(self.warmup_steps * steps if self.warmup_steps < 1 else self.warmup_steps)


@dataclass(frozen=True, kw_only=True)
class Training(Optimisation):
    """Choices of a training on labelled rows; those of the HyenaDNA paper are in trainer_scripts/downstream."""

    num_train_epochs: int = field(default=10, metadata={"help": "passes over the training rows"})
    batch_size: int = field(default=128, metadata={"help": "rows in an optimiser step, over all processes and passes"})
    lr_scheduler_type: str = field(
        default="cosine_with_min_lr",
        metadata={"help": f"{', '.join(SCHEDULES)}; on a plateau, a tenth after an epoch without improvement"},
    )
    early_stopping_patience: int = field(
        default=0, metadata={"help": "stop after this many epochs without improvement; 0: never"}
    )
    train_sampling_strategy: str = field(
        default="group_by_length",
        metadata={"help": f"order of rows: {', '.join(STRATEGIES)} (a batch's rows have similar lengths)"},
    )
    reverse_complement: bool = field(
        default=False, metadata={"help": "read a random half of the rows from the other strand"}
    )

    def bases_read(self, epoch: int) -> int | None:
        """How many bases of a sequence an epoch reads at most, from its start; None: all."""
        return None


@dataclass(frozen=True, kw_only=True)
class DownstreamTraining(Training):
    """Choices of a training on a downstream task of HyenaDNA, which may begin with shorter sequences (appendix A.1)."""

    warmup_lengths: list[int] = field(
        default_factory=list, metadata={"help": "bases that the first epochs read of each sequence, from its start"}
    )
    warmup_length_epochs: list[int] = field(
        default_factory=list, metadata={"help": "epochs at each of warmup_lengths, or one number for all; 1 each"}
    )

    def bases_read(self, epoch: int) -> int | None:
        """See the base class: a stage for each of `warmup_lengths`, and everything after them."""
        for length, epochs in self.stages():
            if epoch < epochs:
                return length
            epoch -= epochs
        return None

    def stages(self) -> list[tuple[int, int]]:
        """Bases and epochs of each shorter stage.

        Raises:
            InputError: for other numbers of lengths and of epochs, lengths or epochs below 1, or no epoch left for
                whole sequences.
        """
        epochs = each_stage("warmup_length_epochs", self.warmup_length_epochs or [1], self.warmup_lengths)
        if min([*self.warmup_lengths, 1]) < 1:
            raise InputError(f"warmup_lengths {self.warmup_lengths}: must be at least 1 base")
        if self.warmup_lengths and sum(epochs) >= self.num_train_epochs:
            raise InputError(
                f"the shorter lengths take {sum(epochs)} epochs, which leaves none of {self.num_train_epochs} "
                "(num_train_epochs) for whole sequences"
            )
        return list(zip(self.warmup_lengths, epochs, strict=True))


def each_stage(name: str, values: list[int], lengths: list[int]) -> list[int]:
    """How long each stage of `lengths` is: as `values` say, or the only one of them for all.

    Raises:
        InputError: naming `name`, for another number of values, or one below 1.
    """
    if len(values) not in (1, len(lengths)) or min(values) < 1:
        raise InputError(
            f"{name}: {values} must be one number of at least 1, or one for each of {len(lengths)} lengths"
        )
    return values * len(lengths) if len(values) == 1 else values


@dataclass(frozen=True, kw_only=True)
class SupervisedTraining(Training):
    """Choices of a training for one of DART-Eval's supervised settings, or on one's own rows.

    As in the original, everything is trained with one constant learning rate, and no gradient is clipped (spec 1.7).
    """

    method: str = field(default="full", metadata={"help": "probing, lora, full, or the name of a network"})
    learning_rate: float = field(default=1e-4, metadata={"help": "learning rate"})
    filter_learning_rate: float | None = field(default=None, metadata={"help": "of HyenaDNA's implicit filters"})
    weight_decay: float = field(default=0.01, metadata={"help": "AdamW's; with 0 it is Adam"})
    max_grad_norm: float = field(default=0.0, metadata={"help": "largest norm of a step's gradient; 0: any"})
    batch_size: int = field(default=64, metadata={"help": "rows in an optimiser step, over all processes and passes"})
    lr_scheduler_type: str = field(default="constant", metadata={"help": ", ".join(SCHEDULES)})
    train_sampling_strategy: str = field(default="random", metadata={"help": ", ".join(STRATEGIES)})
    nonpeaks: str = field(default="all", metadata={"help": "which nonpeaks an epoch reads, see order.thinned"})
    class_weights: bool = field(default=False, metadata={"help": "weigh classes inversely to their frequency"})
    lora_rank: int = field(default=8, metadata={"help": "rank of LoRA's adapters"})
    lora_alpha: int = field(default=16, metadata={"help": "LoRA's changes are scaled by alpha / rank"})
    lora_dropout: float = field(default=0.05, metadata={"help": "dropout of the adapters' inputs"})
    loss_rows: int | None = field(
        default=None,
        metadata={"help": "rows whose mean loss counts as one, however few the last has; none: each row counts as one"},
    )
    kernel: int = field(default=8, metadata={"help": "width of the probing head's convolutions"})
    layer: int = field(default=-1, metadata={"help": "hidden states that the probing head reads; -1: the last"})


class TrainedRecipe(NamedTuple):
    """What a record says of how its model was trained."""

    name: str
    choices: dict[str, Any]

    def described(self, alleles: bool) -> dict[str, Any]:
        """The recipe's entry in a record."""
        return {"name": self.name, **self.choices}


Choices = TypeVar("Choices", bound=Optimisation)


def renewed(changes: Mapping[str, Any]) -> dict[str, Any]:
    """The same choices by today's names; each former one is reported in a line of the log."""
    found = {name: value for name, value in changes.items() if name not in OLD_NAMES}
    for old, new in OLD_NAMES.items():
        if old not in changes:
            continue
        logger.warning("hyper-parameter %s is now %s; the former name goes with the next version", old, new)
        found[new] = OLD_VALUES.get((old, changes[old]), changes[old])
        if old == "accumulate":  # batch_size was the rows of one of so many passes
            if "batch_size" not in changes:
                raise InputError("accumulate is now batch_size, the rows in a step: give their number")
            found["per_device_train_batch_size"] = changes["batch_size"]
            found[new] = changes["batch_size"] * changes[old]
    return found


def changed(training: Choices, changes: Mapping[str, Any]) -> Choices:
    """The training with other choices, of which numbers may be text, as YAML reads 1e-3.

    Raises:
        InputError: naming a hyper-parameter that there is not, or a value of another type.
    """
    hints = get_type_hints(type(training))
    found: dict[str, Any] = {}
    for name, value in renewed(changes).items():
        if name not in hints:
            raise InputError(f"there is no hyper-parameter {str(name)[:80]!r}: {', '.join(hints)}")
        found[name] = typed(f"hyper-parameter {name}", hints[name], value)
    return dataclasses.replace(training, **found)


def typed(what: str, hint: Any, value: Any) -> Any:
    """A value as a field of this type has it; a number may be text, as YAML reads 1e-3.

    Args:
        hint: float, int, bool, str, a list of one of these, or one of these or None.

    Raises:
        InputError: naming `what`, for a value of another type, or a number that is not finite.
    """
    kinds = [kind for kind in get_args(hint) if kind is not NoneType] or [hint]
    if get_origin(hint) is list:
        if not isinstance(value, list):
            raise InputError(f"{what}: {repr(value)[:80]} is not a list")
        return [typed(what, kinds[0], own) for own in value]
    if value is None and NoneType in get_args(hint):
        return None
    kind = get_origin(kinds[0]) or kinds[0]
    if kind is list:
        return typed(what, kinds[0], value)
    try:
        fits = kind(value) if kind in (float, int) and not isinstance(value, bool) else value
        exact = kind is not int or fits == float(value)
    except (TypeError, ValueError, OverflowError):
        fits, exact = None, False
    if not isinstance(fits, kind) or not exact or (isinstance(fits, float) and not math.isfinite(fits)):
        raise InputError(f"{what}: {repr(value)[:80]} is not of type {kind.__name__}")
    return fits
