"""Training a classifier of sequences with Accelerate: resumable to the bit, epochs chosen on validation.

A step's gradient is that of the mean loss over its whole batch, however many processes and forward passes share it.
"""

import json
import math
import shutil
from collections.abc import Callable, Mapping
from contextlib import nullcontext
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
import yaml
from accelerate import Accelerator
from accelerate.utils import gather_object, set_seed
from safetensors.torch import load_file, save_file
from torch import nn
from torch.nn import functional as F
from torch.optim.lr_scheduler import LRScheduler, ReduceLROnPlateau
from tqdm.auto import tqdm
from transformers import get_cosine_with_min_lr_schedule_with_warmup

from datasets_dart.errors import InputError
from datasets_dart.files import replacing, write_text
from evaluation_dart.training.batches import LabelledRows, epoch_batches, reversed_rows, shares
from evaluation_dart.training.states import newest_state, save_state

WEIGHTS, CHOICES, LOG, STATES = "weights.safetensors", "training.yaml", "log.json", "checkpoints"
FREE_ON_RESUME = ("checkpoint_every", "forward_rows")  # what changes no result, but for the last bits


@dataclass
class Training:
    """Choices of a training; those of the paper's recipes are in trainer_scripts/downstream."""

    epochs: int = field(default=10, metadata={"help": "passes over the training rows"})
    batch_size: int = field(default=128, metadata={"help": "rows of an optimiser step, over all processes"})
    forward_rows: int = field(default=128, metadata={"help": "rows of a forward pass, at most"})
    learning_rate: float = field(default=6e-4, metadata={"help": "highest learning rate"})
    filter_learning_rate: float = field(default=6e-4, metadata={"help": "that of HyenaDNA's implicit filters"})
    weight_decay: float = field(default=0.1, metadata={"help": "of all but the implicit filters"})
    schedule: str = field(default="cosine", metadata={"help": "cosine, or plateau: a tenth after an epoch no better"})
    warmup: float = field(default=0.01, metadata={"help": "part of the steps with a rising learning rate"})
    final_learning_rate: float = field(default=0.1, metadata={"help": "the cosine's end, as part of the highest"})
    patience: int = field(default=0, metadata={"help": "stop after so many epochs no better; 0: never"})
    max_grad_norm: float = field(default=1.0, metadata={"help": "gradient clipping"})
    reverse_complement: bool = field(default=False, metadata={"help": "half the training rows as the other strand"})
    by_length: bool = field(default=True, metadata={"help": "batches of rows of about one length"})
    bf16: bool = field(default=False, metadata={"help": "autocast to bfloat16"})
    seed: int = field(default=0, metadata={"help": "of new weights, order and dropout"})
    checkpoint_every: int = field(default=500, metadata={"help": "steps between states to go on from, beside epochs"})


def parameter_groups(model: nn.Module, training: Training) -> list[dict[str, Any]]:
    """AdamW's groups as the original's: implicit filters with a rate of their own and no decay, all else decayed.

    Biases and norms are decayed, too, as they were there (spec 1.9); Trainer's default spares those, and decays the
    filters.
    """
    named = [(name, parameter) for name, parameter in model.named_parameters() if parameter.requires_grad]
    filters = [parameter for name, parameter in named if ".implicit_filter." in name]
    rest = [parameter for name, parameter in named if ".implicit_filter." not in name]
    groups = [{"params": rest, "lr": training.learning_rate, "weight_decay": training.weight_decay}]
    return groups + [{"params": filters, "lr": training.filter_learning_rate, "weight_decay": 0.0}] * bool(filters)


def batch_loss(logits: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    """Sum over rows of the cross-entropy, or of the mean binary cross-entropy of (n, k) labels, in nats."""
    if labels.ndim == 2:
        return F.binary_cross_entropy_with_logits(logits.float(), labels, reduction="none").mean(dim=1).sum()
    return F.cross_entropy(logits.float(), labels, reduction="sum")


def mean_loss(logits: np.ndarray, labels: np.ndarray) -> float:
    return float(batch_loss(torch.from_numpy(logits), torch.from_numpy(labels))) / len(labels)


@dataclass
class Progress:
    """What a run has behind it; saved and loaded with every state."""

    epoch: int = 0
    place: int = 0  # batches of the epoch
    step: int = 0
    loss: float = 0.0  # sums over the epoch
    rows: int = 0
    best: float = -math.inf
    best_epoch: int = 0
    stopped: bool = False
    history: list[dict[str, float]] = field(default_factory=list)

    def state_dict(self) -> dict[str, Any]:
        return asdict(self)

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)


@torch.no_grad()
def predict(network: nn.Module, rows: LabelledRows, forward_rows: int, accelerator: Accelerator) -> np.ndarray:
    """Outputs for all rows in their order, (n, outputs) float32; rows of about one length go through together."""
    network.eval()
    order = np.argsort(rows.lengths, kind="stable")
    batches = [order[first : first + forward_rows] for first in range(0, len(order), forward_rows)]
    mine = batches[accelerator.process_index :: accelerator.num_processes]
    gathered = gather_object([(batch, network(rows.read(batch)[0]).float().cpu().numpy()) for batch in mine])
    outputs = np.empty((len(rows), gathered[0][1].shape[1]), dtype=np.float32)
    for batch, values in gathered:
        outputs[batch] = values
    return outputs


def fit(
    network: nn.Module,
    train: LabelledRows,
    validation: LabelledRows,
    score: Callable[[np.ndarray], float],
    training: Training,
    folder: Path,
    described: Mapping[str, Any],
    overwrite: bool = False,
) -> Progress:
    """Train `network`, which maps strings to (n, outputs); it then has the weights of the epoch of the best `score`.

    `folder` holds training.yaml (every choice, and `described`), weights.safetensors (of the best epoch so far, what
    was trained alone), log.json, and checkpoints/ until the run is over. A run that was killed goes on from its last
    state to the same weights; one that is over is only loaded.

    Args:
        score: of the validation rows' outputs, higher is better. The first of equal epochs is taken.

    Raises:
        ValueError: if the folder holds another training, or the loss is not a number.
    """
    accelerator = Accelerator(mixed_precision="bf16" if training.bf16 else None)
    main = accelerator.is_main_process
    if overwrite and main:
        shutil.rmtree(folder, ignore_errors=True)
    accelerator.wait_for_everyone()
    rows = {"train": len(train), "validation": len(validation)}
    _check_same_run(folder / CHOICES, {"training": asdict(training), "rows": rows, **described})
    if main:
        text = yaml.safe_dump({"training": asdict(training), "rows": rows, **described}, sort_keys=False)
        write_text(folder / CHOICES, text)
    progress = Progress()
    if (folder / LOG).is_file():
        progress.load_state_dict(json.loads((folder / LOG).read_text()))
        load_trained(network.to(accelerator.device), folder)
        return progress

    steps_an_epoch = len(epoch_batches(train.lengths, training.batch_size, 0, 0, False))
    steps = steps_an_epoch * training.epochs
    optimizer = torch.optim.AdamW(parameter_groups(network, training))
    module, optimizer = accelerator.prepare(network, optimizer)
    scheduler = _scheduler(optimizer, training, steps)
    accelerator.register_for_checkpointing(scheduler, progress)
    states = folder / STATES
    if newest := newest_state(states):
        accelerator.load_state(str(newest[0]))
    else:
        set_seed(training.seed, device_specific=True)  # processes share the weights, not the dropout masks
    bar = tqdm(total=steps, initial=progress.step, unit="step", mininterval=5, disable=not main)
    while progress.epoch < training.epochs and not progress.stopped:
        batches = epoch_batches(train.lengths, training.batch_size, progress.epoch, training.seed, training.by_length)
        flips = reversed_rows(len(train), progress.epoch, training.seed) if training.reverse_complement else None
        module.train()
        while progress.place < len(batches):
            batch = batches[progress.place]
            loss = _step(accelerator, module, optimizer, train, batch, flips, progress.epoch, training)
            if not isinstance(scheduler, ReduceLROnPlateau):
                scheduler.step()
            progress.loss, progress.rows = progress.loss + loss, progress.rows + len(batch)
            progress.place, progress.step = progress.place + 1, progress.step + 1
            bar.update()
            if progress.step % training.checkpoint_every == 0 and progress.place < len(batches):
                save_state(accelerator, states, progress.step)
        _end_epoch(accelerator, network, optimizer, validation, score, training, progress, folder)
        if isinstance(scheduler, ReduceLROnPlateau):
            scheduler.step(progress.history[-1]["validation_loss"])
        save_state(accelerator, states, progress.step)
    bar.close()
    load_trained(network, folder)
    accelerator.wait_for_everyone()
    if main:
        write_text(folder / LOG, json.dumps(progress.state_dict(), indent=1) + "\n")
        shutil.rmtree(states, ignore_errors=True)
    accelerator.wait_for_everyone()
    return progress


def _step(
    accelerator: Accelerator,
    module: nn.Module,
    optimizer: Any,
    train: LabelledRows,
    batch: np.ndarray,
    flips: np.ndarray | None,
    epoch: int,
    training: Training,
) -> float:
    """One step of the optimiser on a batch; the sum of its rows' losses."""
    parts = shares(batch, accelerator.process_index, accelerator.num_processes, training.forward_rows)
    total = torch.zeros((), device=accelerator.device)
    for number, part in enumerate(parts):
        # Fewer rows than processes: one row goes through for the gradients' exchange, and counts nothing.
        rows, weight = (part, 1.0) if len(part) else (batch[:1], 0.0)
        sequences, labels = train.read(rows, epoch, None if flips is None else flips[rows])
        with nullcontext() if number == len(parts) - 1 else accelerator.no_sync(module):
            loss = batch_loss(module(sequences), torch.from_numpy(labels).to(accelerator.device)) * weight
            accelerator.backward(loss * (accelerator.num_processes / len(batch)))
        total += loss.detach()
    if training.max_grad_norm > 0:
        accelerator.clip_grad_norm_([p for p in module.parameters() if p.requires_grad], training.max_grad_norm)
    optimizer.step()
    optimizer.zero_grad()
    summed = accelerator.reduce(total, "sum").item()
    if not math.isfinite(summed):
        raise InputError(f"the loss is {summed}; take a smaller learning rate")
    return summed


def _end_epoch(
    accelerator: Accelerator,
    network: nn.Module,
    optimizer: Any,
    validation: LabelledRows,
    score: Callable[[np.ndarray], float],
    training: Training,
    progress: Progress,
    folder: Path,
) -> None:
    """Judge the epoch on validation, and keep its weights if they are the best so far."""
    outputs = predict(network, validation, 2 * training.forward_rows, accelerator)
    entry = {
        "epoch": progress.epoch + 1,
        "loss": progress.loss / progress.rows,
        "validation_loss": mean_loss(outputs, validation.labels),
        "score": score(outputs),
        "learning_rate": optimizer.param_groups[0]["lr"],
    }
    if not math.isfinite(entry["score"]):
        raise InputError(f"epoch {entry['epoch']}: the validation score is {entry['score']}")
    progress.history.append(entry)
    if entry["score"] > progress.best:
        progress.best, progress.best_epoch = entry["score"], progress.epoch + 1
        if accelerator.is_main_process:
            save_trained(network, folder)
    progress.epoch, progress.place, progress.loss, progress.rows = progress.epoch + 1, 0, 0.0, 0
    progress.stopped = 0 < training.patience <= progress.epoch - progress.best_epoch
    accelerator.wait_for_everyone()


def _scheduler(optimizer: Any, training: Training, steps: int) -> LRScheduler | ReduceLROnPlateau:
    inner = optimizer.optimizer  # Accelerate's would be stepped once for each process
    if training.schedule == "plateau":
        return ReduceLROnPlateau(inner, factor=0.1, patience=0)
    if training.schedule != "cosine":
        raise InputError(f"schedule {training.schedule!r} is neither cosine nor plateau")
    warmup = math.ceil(training.warmup * steps)
    return get_cosine_with_min_lr_schedule_with_warmup(inner, warmup, steps, min_lr_rate=training.final_learning_rate)


def trained_names(network: nn.Module) -> set[str]:
    return {name for name, parameter in network.named_parameters() if parameter.requires_grad}


def save_trained(network: nn.Module, folder: Path) -> None:
    """The trained parameters; what is frozen stays out."""
    names = trained_names(network)
    weights = {
        name: tensor.detach().cpu().contiguous() for name, tensor in network.state_dict().items() if name in names
    }
    with replacing(folder / WEIGHTS) as path:
        save_file(weights, path)


def load_trained(network: nn.Module, folder: Path) -> None:
    """The weights of a training into the network that it was of.

    Raises:
        FileNotFoundError: if there are none. ValueError: if they are of another network.
    """
    path = folder / WEIGHTS
    if not path.is_file():
        raise FileNotFoundError(f"{path}: no such file; train the model first")
    weights = load_file(path)
    own = network.state_dict()
    if weights.keys() != trained_names(network) or any(own[name].shape != w.shape for name, w in weights.items()):
        raise InputError(f"{path}: holds the weights of another network")
    network.load_state_dict(weights, strict=False)


def _check_same_run(path: Path, choices: Mapping[str, Any]) -> None:
    if not path.is_file():
        return
    old, new = _flat(yaml.safe_load(path.read_text())), _flat(choices)
    for name in sorted(old.keys() | new.keys()):
        if old.get(name) != new.get(name) and name.rpartition(".")[2] not in FREE_ON_RESUME:
            raise InputError(
                f"{path} is of another run: {name} is {old.get(name)!r} there and {new.get(name)!r} here; give another "
                "--output_dir, or --overwrite"
            )


def _flat(choices: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for name, value in choices.items():
        flat |= _flat(value, f"{prefix}{name}.") if isinstance(value, Mapping) else {f"{prefix}{name}": value}
    return flat
