"""Training on labelled rows with Accelerate: resumable to the bit, with the epoch chosen on validation.

A step's gradient is that of the mean loss over its whole batch, however many processes and forward passes share it.
"""

import json
import logging
import math
import shutil
from collections.abc import Callable, Mapping
from contextlib import nullcontext
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from accelerate import Accelerator, DistributedDataParallelKwargs, PartialState
from accelerate.utils import gather_object, set_seed
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import nn
from torch.optim.lr_scheduler import ReduceLROnPlateau
from transformers import get_scheduler

from datasets_dart.errors import InputError
from datasets_dart.files import replacing, sha256, write_text
from datasets_dart.formats.documents import read_json
from evaluation_dart.training.accelerators import progress_bar
from evaluation_dart.training.objective import Objective
from evaluation_dart.training.order import epoch_batches, judged_batches, reversed_rows, shares, steps_of
from evaluation_dart.training.recipe import SCHEDULES, Optimisation, SupervisedTraining, Training
from evaluation_dart.training.rows import LabelledRows
from evaluation_dart.training.states import (
    check_same_run,
    load_newest_state,
    remove_leftovers,
    save_state,
    write_choices,
)

log = logging.getLogger(__name__)

WEIGHTS, CHOICES, LOG, STATES = "weights.safetensors", "training.yaml", "log.json", "checkpoints"
FILES = (CHOICES, WEIGHTS, STATES, LOG)  # of a training, in the order in which they are written
FREE_ON_RESUME = ("save_steps", "per_device_train_batch_size")  # what changes no result, except for the last bits


def parameter_groups(model: nn.Module, training: Optimisation) -> list[dict[str, Any]]:
    """AdamW's groups as HyenaDNA's: implicit filters with a rate of their own and no decay, everything else decayed.

    Biases and norms are decayed as well, as they were there (spec 1.9); Trainer's default spares those, and decays the
    filters. Without a `filter_learning_rate` there is one group, as in DART-Eval.
    """
    groups: list[dict[str, Any]] = [
        {"params": [], "lr": training.learning_rate, "weight_decay": training.weight_decay},
        {"params": [], "lr": training.filter_learning_rate, "weight_decay": 0.0},
    ]
    apart = training.filter_learning_rate is not None
    for name, parameter in model.named_parameters():
        if parameter.requires_grad:
            groups[apart and ".implicit_filter." in name]["params"].append(parameter)
    return [group for group in groups if group["params"]]


@dataclass
class Progress:
    """How far a run has come; saved and loaded with every state.

    Attributes:
        place: batches of the epoch. loss, weight: sums over the rows of the epoch. best: the highest score.
        history: of each epoch, its number, `loss`, `validation_loss` and `score`, and the learning rate.
        weights: once the run is over, the SHA-256 of weights.safetensors.
    """

    epoch: int = 0
    place: int = 0
    step: int = 0
    loss: float = 0.0
    weight: float = 0.0
    best: float = -math.inf
    best_epoch: int = 0
    stopped: bool = False
    history: list[dict[str, float]] = field(default_factory=list)
    weights: str = ""

    @property
    def validation_loss(self) -> float:
        """That of the best epoch."""
        return self.history[self.best_epoch - 1]["validation_loss"]


@torch.no_grad()
def predict(network: nn.Module, rows: LabelledRows, forward_rows: int) -> np.ndarray:
    """Outputs for all rows in their order, (n, ...) float32; of pairs (2 n, ...), all elements before all controls.

    Rows of similar lengths go through the network together.
    """
    network.eval()
    order = np.argsort(rows.lengths, kind="stable")
    batches = np.split(order, range(forward_rows, len(order), forward_rows))
    state = PartialState()
    mine = batches[state.process_index :: state.num_processes]
    gathered = gather_object([(batch, network(rows.read(batch)[0]).float().cpu().numpy()) for batch in mine])
    batch, values = gathered[0]
    outputs = np.empty((len(values) // len(batch), len(rows), *values.shape[1:]), dtype=np.float32)
    for batch, values in gathered:
        outputs[:, batch] = values.reshape(len(outputs), len(batch), *values.shape[1:])
    return outputs.reshape(-1, *outputs.shape[2:])


def fit(
    network: nn.Module,
    train: LabelledRows,
    validation: LabelledRows | None,
    objective: Objective,
    training: Training,
    folder: Path,
    described: Mapping[str, Any],
    *,
    score: Callable[[np.ndarray], float] | None = None,
    stage: Callable[[int | None], None] | None = None,
) -> Progress:
    """Train `network`, which maps what rows read to outputs; it then has the weights of the best epoch.

    `folder` holds training.yaml (every choice, and `described`), weights.safetensors (of the best epoch so far, only
    what was trained), log.json, and checkpoints/ until the run is over. A run that was killed resumes from its last
    state and comes to the same weights; one that is over is only loaded.

    Args:
        network: on the device where it is to be trained.
        validation: None where every epoch is as good as the last, which is then kept.
        score: of the validation rows' outputs, higher is better; None: the smallest validation loss. The first of
            equal epochs is taken.
        stage: is told how many bases are read from then on, by an epoch and by validation; None: all.

    Raises:
        InputError: if the folder holds another training, or the loss is not a number.
    """
    accelerator = Accelerator(
        device_placement=False, kwargs_handlers=[DistributedDataParallelKwargs(find_unused_parameters=True)]
    )
    main = accelerator.is_main_process
    rows = {"train": len(train), "validation": 0 if validation is None else len(validation)}
    choices = {"training": asdict(training), "rows": rows, **described}
    check_same_run(folder / CHOICES, choices, FREE_ON_RESUME)
    accelerator.wait_for_everyone()  # all have looked before one writes
    if main:
        write_choices(folder / CHOICES, choices)
    if (folder / LOG).is_file():
        load_trained(network, folder)
        if main:
            shutil.rmtree(folder / STATES, ignore_errors=True)
        return finished(folder)

    steps = steps_of(train.nonpeak, training, train.nonpeaks)
    module, optimizer = accelerator.prepare(network, torch.optim.AdamW(parameter_groups(network, training)))
    scheduler = schedule(optimizer, training, steps, training.lr_scheduler_type)
    plateau = isinstance(scheduler, ReduceLROnPlateau)
    accelerator.register_save_state_pre_hook(_drop_frozen)
    progress, states, device = Progress(), folder / STATES, next(network.parameters()).device
    best = [folder / WEIGHTS]
    if main:
        remove_leftovers(states)
    accelerator.wait_for_everyone()
    if found := load_newest_state(accelerator, states, device, best, strict=False):
        progress = Progress(**found[1]["progress"])
        scheduler.load_state_dict(found[1]["scheduler"])
    else:
        set_seed(training.seed, device_specific=True)  # processes share the weights, not the dropout masks

    def keep_state() -> None:
        state = {"progress": asdict(progress), "scheduler": scheduler.state_dict()}
        kept = best if progress.best_epoch else []
        save_state(accelerator, states, progress.step, state, device=device, files=kept)

    if main:
        log.info(
            "training on %s rows, %s for validation: %s steps of %s rows, %s a forward pass, on %s, %s",
            *(f"{number:,}" for number in (*rows.values(), steps, training.batch_size)),
            min(training.batch_size, training.per_device_train_batch_size),
            device,
            "bfloat16 by autocast" if training.bf16 else str(next(network.parameters()).dtype).removeprefix("torch."),
        )
    with progress_bar("training", steps, "steps", initial=progress.step) as bar:
        while progress.epoch < training.num_train_epochs and not progress.stopped:
            epoch = progress.epoch
            bases = training.bases_read(epoch)
            lengths = train.lengths if bases is None else train.lengths.clip(max=bases)
            batches = epoch_batches(lengths, train.nonpeak, training, epoch, train.nonpeaks)
            flips = reversed_rows(len(train), epoch, training.seed) if training.reverse_complement else None
            if stage is not None:
                stage(bases)
            module.train()
            while progress.place < len(batches) and progress.step < steps:
                batch = batches[progress.place]
                progress.loss += take_step(
                    accelerator, module, optimizer, train, batch, flips, epoch, objective, training
                )
                progress.weight += objective.weight(train.labels[batch])
                if not plateau:
                    scheduler.step()
                progress.place, progress.step = progress.place + 1, progress.step + 1
                bar.advance()
                if progress.step % training.save_steps == 0 and progress.place < len(batches):
                    keep_state()
            if stage is not None:
                stage(None)
            _end_epoch(accelerator, network, optimizer, validation, objective, score, training, progress, folder)
            progress.stopped |= progress.step >= steps
            if plateau:
                scheduler.step(progress.history[-1]["validation_loss"])
            keep_state()
    load_trained(network, folder)
    accelerator.wait_for_everyone()
    progress.weights = sha256(folder / WEIGHTS)
    if main:
        write_text(folder / LOG, json.dumps(asdict(progress), indent=1) + "\n")
        shutil.rmtree(states, ignore_errors=True)
    accelerator.wait_for_everyone()
    return progress


def _drop_frozen(models: list[nn.Module], weights: list[dict[str, torch.Tensor]], folder: str) -> None:
    """A hook of Accelerate: a state holds no weights that are never trained."""
    for model, own in zip(models, weights, strict=True):
        for name, parameter in model.named_parameters(remove_duplicate=False):
            if not parameter.requires_grad:
                own.pop(name, None)


def take_step(
    accelerator: Accelerator,
    module: nn.Module,
    optimizer: Any,
    train: LabelledRows,
    batch: np.ndarray,
    flips: np.ndarray | None,
    epoch: int,
    objective: Objective,
    training: Training,
) -> float:
    """One step of the optimiser on a batch; the sum of its rows' losses."""
    process, processes, forward_rows = (
        accelerator.process_index, accelerator.num_processes, training.per_device_train_batch_size,
    )  # fmt: skip
    bases, longest = training.bases_read(epoch), int(train.lengths.max())
    if bases is not None:  # as many bases in a forward pass as of whole sequences
        forward_rows *= max(1, longest // bases)
    parts = [
        (part, 1 / (share * objective.weight(train.labels[rows])))
        for rows, share in counted_rows(batch, training)
        for part in shares(rows, process, processes, forward_rows)
    ]
    device = next(module.parameters()).device
    total = torch.zeros((), device=device)
    for number, (part, factor) in enumerate(parts):
        # Fewer rows than processes: one row goes through for the gradients' exchange, and counts nothing.
        rows, counts = (part, 1.0) if len(part) else (batch[:1], 0.0)
        inputs, labels = train.read(rows, epoch, None if flips is None else flips[rows], bases)
        with nullcontext() if number == len(parts) - 1 else accelerator.no_sync(module):
            with _autocast(device, training):
                outputs = module(inputs)
            loss = objective.total_loss(outputs, torch.from_numpy(labels).to(device)) * counts
            accelerator.backward(loss * (processes * factor))
        total += loss.detach()
    if training.max_grad_norm > 0:
        accelerator.clip_grad_norm_([p for p in module.parameters() if p.requires_grad], training.max_grad_norm)
    optimizer.step()
    optimizer.zero_grad()
    summed = float(accelerator.reduce(total, "sum"))
    if not math.isfinite(summed):
        raise InputError(f"the loss is {summed}: choose a smaller learning rate")
    return summed


def counted_rows(batch: np.ndarray, training: Training) -> list[tuple[np.ndarray, float]]:
    """The rows of a step whose mean losses are added up, each divided by the number with it.

    All of a batch together, or `loss_rows` at a time, each an equal part of a whole batch: those of an epoch's last
    batch count as much as any, and what it lacks of a whole batch is 0 (DART-Eval spec section 1.7).
    """
    size = training.loss_rows if isinstance(training, SupervisedTraining) else None
    if size is None:
        return [(batch, 1.0)]
    return [(rows, training.batch_size / size) for rows in np.split(batch, range(size, len(batch), size))]


def validation_loss(outputs: np.ndarray, rows: LabelledRows, objective: Objective, training: Training) -> float:
    """Mean loss of all rows; or of the original's batches, each with the mean of its rows.

    The original divides the sum over batches by the number of rows in tasks 1 and 3, which chooses the same epoch.
    """
    if not isinstance(training, SupervisedTraining) or training.loss_rows is None:
        return objective.loss(outputs, rows.labels)
    members = outputs.reshape(-1, len(rows), *outputs.shape[1:])
    losses = [
        objective.loss(members[:, batch].reshape(-1, *outputs.shape[1:]), rows.labels[batch])
        for batch in judged_batches(rows.nonpeak, training)
    ]
    return float(np.mean(losses))


def _autocast(device: torch.device, training: Training) -> torch.autocast:
    return torch.autocast(device.type, torch.bfloat16, enabled=training.bf16)


def _end_epoch(
    accelerator: Accelerator,
    network: nn.Module,
    optimizer: Any,
    validation: LabelledRows | None,
    objective: Objective,
    score: Callable[[np.ndarray], float] | None,
    training: Training,
    progress: Progress,
    folder: Path,
) -> None:
    """Judge the epoch on validation, and keep its weights if they are the best so far."""
    progress.epoch += 1
    entry = {
        "epoch": progress.epoch,
        "loss": progress.loss / progress.weight,
        "learning_rate": optimizer.param_groups[0]["lr"],
    }
    found = float(progress.epoch)  # without validation, the last epoch
    if validation is not None:
        with _autocast(next(network.parameters()).device, training):
            outputs = predict(network, validation, 2 * training.per_device_train_batch_size)
        entry["validation_loss"] = validation_loss(outputs, validation, objective, training)
        found = -entry["validation_loss"] if score is None else score(outputs)
    entry["score"] = found
    if not math.isfinite(found):
        raise InputError(f"epoch {progress.epoch}: the validation score is {found}: choose a smaller learning rate")
    progress.history.append(entry)
    if found > progress.best:
        progress.best, progress.best_epoch = found, progress.epoch
        if accelerator.is_main_process:
            save_trained(network, folder)
    progress.place, progress.loss, progress.weight = 0, 0.0, 0.0
    progress.stopped = 0 < training.early_stopping_patience <= progress.epoch - progress.best_epoch
    accelerator.wait_for_everyone()


def schedule(optimizer: Any, training: Optimisation, steps: int, name: str = "cosine_with_min_lr") -> Any:
    """transformers' schedule of that name for the optimizer that Accelerate prepared."""
    if name not in SCHEDULES:
        raise InputError(f"lr_scheduler_type {name!r}: there are {', '.join(SCHEDULES)}")
    return get_scheduler(
        name,
        optimizer.optimizer,  # Accelerate's would be stepped once for each process
        num_warmup_steps=training.warmup_of(steps),
        num_training_steps=steps,
        scheduler_specific_kwargs={
            "cosine_with_min_lr": {"min_lr_rate": training.min_lr_rate},
            "reduce_lr_on_plateau": {"factor": 0.1, "patience": 0},
        }.get(name),
    )


def trained_parameters(network: nn.Module) -> int:
    """How many numbers of a network are trained."""
    return sum(parameter.numel() for parameter in network.parameters() if parameter.requires_grad)


def trained_weights(network: nn.Module) -> dict[str, torch.Tensor]:
    """The trained parameters by name; what is frozen stays out."""
    names = {name for name, parameter in network.named_parameters() if parameter.requires_grad}
    return {name: tensor for name, tensor in network.state_dict().items() if name in names}


def save_trained(network: nn.Module, folder: Path) -> None:
    """Write the trained parameters to weights.safetensors."""
    with replacing(folder / WEIGHTS) as path:
        save_file({name: tensor.detach().cpu().contiguous() for name, tensor in trained_weights(network).items()}, path)


def finished(folder: Path) -> Progress:
    """How the training of a folder went, by its log.json.

    Raises:
        FileNotFoundError, InputError: naming the file that is missing or damaged.
    """
    try:
        return Progress(**read_json(folder / LOG))
    except TypeError:
        raise InputError(f"{folder / LOG}: not the log of a training; delete {folder} to train anew") from None


def load_trained(network: nn.Module, folder: Path) -> None:
    """Load the weights of a training into the network that was trained.

    Raises:
        FileNotFoundError: if there are none. InputError: if they are not as the training left them, or naming a weight
            that is missing or of another shape.
    """
    path = folder / WEIGHTS
    if not path.is_file():
        raise FileNotFoundError(f"{path}: no such file; train the model first")
    kept = finished(folder).weights if (folder / LOG).is_file() else ""
    if kept and kept != sha256(path):
        raise InputError(f"{path}: not as the training left it (its SHA-256 differs); delete {folder} to train anew")
    try:
        weights = load_file(path)
    except SafetensorError as error:
        raise InputError(f"{path}: damaged: {error}; delete {folder} to train anew") from None
    own = trained_weights(network)
    for name in sorted(weights.keys() | own.keys()):
        there, here = (tuple(state[name].shape) if name in state else None for state in (weights, own))
        if there != here:
            raise InputError(f"{path}: {name} has shape {there} in the file, {here} in the model")
    network.load_state_dict(weights, strict=False)
