"""Training for a task: what all supervised settings have in common. Probing, fine-tuning and the networks trained from
scratch are modules that turn strings into outputs; here they get a loss, an order of rows, and transformers' Trainer.
"""

import json
import shutil
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
import yaml
from accelerate import PartialState
from datasets import ClassLabel, Dataset
from safetensors.torch import load_file, save_file
from torch import nn
from torch.utils.data import Sampler
from transformers import Trainer, TrainingArguments
from transformers.trainer_callback import ProgressCallback
from transformers.trainer_utils import PREFIX_CHECKPOINT_DIR

from datasets_dart.alphabet import reverse_complement
from datasets_dart.errors import InputError
from datasets_dart.files import replacing, write_text
from evaluation_dart.scoring.rows import centred_crop
from evaluation_dart.training.order import EpochOrder

WEIGHTS, CHOICES, LOG = "weights.safetensors", "training.yaml", "log.json"
SCHEDULED = "trainer_state.json"  # what Trainer writes last into a checkpoint


@dataclass(frozen=True)
class Training:
    """Every choice of a supervised run; all of them go into its YAML and its record.

    Attributes:
        method: what is trained: "probing", "lora", "full", or the name of a network trained from scratch.
        batch_size: rows of a forward pass, over all processes; accumulate: passes in a step of the optimizer.
        weight_decay: AdamW's; with 0 it is Adam. There is no schedule and no clipping (spec section 1.7).
        shuffle, nonpeaks: see [`training_order.epoch_rows`].
        reverse_complement: of a random half of the rows of each epoch.
        class_weights: inverse to the frequency of the classes in training.
        precision: "fp32" or "bf16" (autocast).
        rank, alpha, dropout: of LoRA. kernel, layer: of probing.
        max_steps: of the optimizer, before the epochs are over; -1 for none.
    """

    method: str
    epochs: int = 10
    batch_size: int = 64
    accumulate: int = 1
    learning_rate: float = 1e-4
    weight_decay: float = 0.01
    shuffle: bool = True
    nonpeaks: str = "all"
    reverse_complement: bool = False
    class_weights: bool = False
    precision: str = "fp32"
    rank: int = 8
    alpha: int = 16
    dropout: float = 0.05
    kernel: int = 8
    layer: int = -1
    max_steps: int = -1
    seed: int = 0


class TrainedRecipe(NamedTuple):
    """What a record says of how its model was trained."""

    name: str
    choices: dict[str, Any]

    def described(self, task: str) -> dict[str, Any]:
        return {"name": self.name, **self.choices}


class Objective(NamedTuple):
    """What a task asks of a model: "pairs" (element or control), "classes", or "counts" (log counts)."""

    kind: str
    outputs: int
    classes: tuple[str, ...] = ()

    def loss(self, logits: torch.Tensor, labels: torch.Tensor, weights: torch.Tensor | None = None) -> torch.Tensor:
        """Mean loss of a batch. labels: (B, 2) of pairs, (B,) otherwise; logits: (2 B, 2) elements first, or (B, k)."""
        if self.kind == "counts":
            return F.mse_loss(logits.float()[:, 0], labels.float())
        if self.kind == "classes":
            return F.cross_entropy(logits.float(), labels, weight=weights)
        # The sum of the two means, of elements and of controls, as the original's (spec section 2)
        return 2 * F.cross_entropy(logits.float(), labels.T.reshape(-1))


def objective_of(dataset: Dataset, task: str) -> Objective:
    """What is learned from a task's rows.

    Raises:
        ValueError: for a task that has nothing to train on.
    """
    if task == "regulatory_elements":
        return Objective("pairs", 2, ("control", "element"))
    if task == "cell_type_elements":
        feature = dataset.features["label"]
        if not isinstance(feature, ClassLabel):
            raise InputError("the labels of cell_type_elements must be a ClassLabel, which names the classes")
        return Objective("classes", len(feature.names), tuple(feature.names))
    if task == "chromatin_activity":
        return Objective("counts", 1)
    raise InputError(f"{task} has no training data")


class Examples(torch.utils.data.Dataset):
    """Rows of a task as strings and labels, or embeddings of a cache and labels. Items are rows or (row, flip).

    Raises:
        ValueError: for no rows, more than one cell type of task 4, a label out of its range, or a log count that is
            not finite, naming the row.
    """

    def __init__(
        self, dataset: Dataset, objective: Objective, split: str, window: int | None = None, cache: Any = None
    ):
        if not len(dataset):
            raise InputError(f"split {split!r} is empty: there is nothing to learn from")
        self.dataset, self.objective, self.window, self.cache = dataset, objective, window, cache
        n = len(dataset)
        if objective.kind == "pairs":
            self.labels = torch.tensor([[1, 0]]).expand(n, 2)
        elif objective.kind == "classes":
            labels = np.array(dataset["label"][:])
            outside = np.flatnonzero((labels < 0) | (labels >= objective.outputs))
            if len(outside):
                wrong, row = labels[outside[0]], outside[0]
                raise InputError(f"split {split!r}, row {row}: label {wrong} is none of {objective.outputs} classes")
            self.labels = torch.from_numpy(labels)
        else:
            if len(cells := sorted(set(dataset["cell_type"][:]))) > 1:
                raise InputError(f"a model is trained for one cell type, not for {', '.join(cells)}: give its files")
            counts = np.array(dataset["log_counts"][:], dtype=np.float32)
            if not np.isfinite(counts).all():
                row = int(np.flatnonzero(~np.isfinite(counts))[0])
                raise InputError(f"split {split!r}, row {row}: log_counts is {counts[row]}")
            self.labels = torch.from_numpy(counts)
        names = dataset.column_names
        self.nonpeak = np.array(dataset["category"][:]) == "nonpeaks" if "category" in names else np.zeros(n, bool)

    def __len__(self) -> int:
        return len(self.dataset)

    def __getitems__(self, items: Sequence[int | tuple[int, bool]]) -> list[dict[str, Any]]:
        """Rows of a batch at once; a flipped row is reverse-complemented."""
        pairs = [item if isinstance(item, tuple) else (item, False) for item in items]
        rows = [row for row, _ in pairs]
        if self.cache is not None:
            return [{"cached": self.cache[row], "label": self.labels[row]} for row in rows]
        batch = self.dataset[rows]
        columns = ("sequence", "control") if self.objective.kind == "pairs" else ("sequence",)
        sequences = [
            tuple(self._read(batch[column][place], flip) for column in columns) for place, (_, flip) in enumerate(pairs)
        ]
        return [{"sequences": own, "label": self.labels[row]} for own, row in zip(sequences, rows, strict=True)]

    def __getitem__(self, item: int | tuple[int, bool]) -> dict[str, Any]:
        return self.__getitems__([item])[0]

    def _read(self, sequence: str, flip: bool) -> str:
        if self.window is not None:
            sequence = centred_crop(sequence, self.window)
        return reverse_complement(sequence) if flip else sequence


def collate(examples: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """A batch: labels, and `sequences` (of pairs, all elements before all controls) or what a cache gives."""
    labels = torch.stack([example["label"] for example in examples])
    if "cached" in examples[0]:
        from evaluation_dart.training.embedding_cache import stack

        members = zip(*(example["cached"] for example in examples), strict=True)
        return {"labels": labels} | stack([own for member in members for own in member])
    members = zip(*(example["sequences"] for example in examples), strict=True)
    return {"labels": labels, "sequences": [sequence for member in members for sequence in member]}


class Supervised(nn.Module):
    """A network with its loss, as Trainer wants it. Its state is what is trained: frozen weights stay out of it."""

    accepts_loss_kwargs = False  # the loss is a batch's mean: Trainer divides by the passes of a step

    def __init__(self, network: nn.Module, objective: Objective, class_weights: torch.Tensor | None = None):
        super().__init__()
        self.network, self.objective, self.class_weights = network, objective, class_weights
        self.register_state_dict_post_hook(_drop_frozen)

    def forward(self, labels: torch.Tensor | None = None, **inputs: Any) -> dict[str, torch.Tensor]:
        logits = self.network(**inputs)
        if labels is None:
            return {"logits": logits}
        weights = None if self.class_weights is None else self.class_weights.to(logits.device)
        return {"loss": self.objective.loss(logits, labels.to(logits.device), weights), "logits": logits}


def _drop_frozen(module: nn.Module, state: dict[str, Any], prefix: str, metadata: Any) -> None:
    trained = {prefix + name for name, parameter in module.named_parameters() if parameter.requires_grad}
    for name in [name for name in state if name.startswith(prefix) and name not in trained]:
        del state[name]


class _Trainer(Trainer):
    """Trainer that reads rows in the order of [`EpochOrder`], and loads checkpoints without frozen weights in them."""

    order: EpochOrder

    def _issue_warnings_after_load(self, load_result: Any) -> None:
        pass

    def _get_train_sampler(self, train_dataset: Any = None) -> Sampler | None:
        return self.order


class Fitted(NamedTuple):
    """What came of a training: the smallest validation loss, the epoch it is of, steps and seconds done."""

    validation_loss: float
    best_epoch: float
    steps: int
    seconds: float


def fit(
    network: nn.Module,
    objective: Objective,
    train: Examples,
    validation: Examples,
    training: Training,
    folder: Path,
    *,
    described: Mapping[str, Any] | None = None,
    overwrite: bool = False,
) -> Fitted:
    """Train `network` in place; it has the weights of the epoch with the smallest validation loss, the first of them.

    `folder` then holds weights.safetensors (what was trained), training.yaml (every choice, and `described`) and
    log.json. A training that was killed goes on from its last epoch; a finished one is only loaded.

    Raises:
        ValueError: if the folder holds another training, the batch cannot be divided among the processes, or the
            loss is not a number.
    """
    state = PartialState()
    module = Supervised(network, objective, _class_weights(train, objective) if training.class_weights else None)
    choices = {
        "training": asdict(training),
        "objective": {"kind": objective.kind, "outputs": objective.outputs, "classes": list(objective.classes)},
        "rows": {"train": len(train), "validation": len(validation)},
        **(described or {}),
    }
    if overwrite and state.is_main_process:
        shutil.rmtree(folder, ignore_errors=True)
    state.wait_for_everyone()
    _same_choices(folder / CHOICES, choices)
    if (folder / LOG).is_file():
        load_trained(module, folder)
        return Fitted(**json.loads((folder / LOG).read_text())["fitted"])
    state.wait_for_everyone()
    if state.is_main_process:
        write_text(folder / CHOICES, yaml.safe_dump(choices, sort_keys=False))
    if training.batch_size % state.num_processes:
        raise InputError(f"a batch of {training.batch_size} cannot be shared by {state.num_processes} processes")
    checkpoints = folder / "checkpoints"
    on_gpu = next(module.parameters()).device.type == "cuda"
    arguments = TrainingArguments(
        output_dir=str(checkpoints),
        per_device_train_batch_size=training.batch_size // state.num_processes,
        per_device_eval_batch_size=training.batch_size // state.num_processes,
        gradient_accumulation_steps=training.accumulate,
        num_train_epochs=training.epochs,
        max_steps=training.max_steps,
        learning_rate=training.learning_rate,
        weight_decay=training.weight_decay,
        lr_scheduler_type="constant",
        max_grad_norm=0.0,
        eval_strategy="epoch",
        save_strategy="epoch",
        save_total_limit=2,  # the best and the last
        load_best_model_at_end=True,
        metric_for_best_model="eval_loss",
        greater_is_better=False,
        prediction_loss_only=True,
        remove_unused_columns=False,
        label_names=["labels"],
        logging_strategy="epoch",
        logging_nan_inf_filter=False,
        bf16=training.precision == "bf16",
        use_cpu=not on_gpu,
        report_to="none",
        seed=training.seed,
        ddp_find_unused_parameters=state.num_processes > 1,
        disable_tqdm=not state.is_main_process,
    )
    started = time.perf_counter()
    trainer = _Trainer(
        model=module, args=arguments, train_dataset=train, eval_dataset=validation, data_collator=collate
    )
    trainer.order = EpochOrder(
        train.nonpeak, training.nonpeaks, training.shuffle, training.reverse_complement, training.seed
    )
    trainer.remove_callback(ProgressCallback)
    trainer.add_callback(_quiet_progress())
    trainer.train(resume_from_checkpoint=last_whole_checkpoint(checkpoints))
    evaluations = [entry for entry in trainer.state.log_history if "eval_loss" in entry]
    best = min(evaluations, key=lambda entry: entry["eval_loss"])
    if not np.isfinite([entry["eval_loss"] for entry in evaluations]).all():
        raise InputError(f"{folder}: the validation loss is not a number; take a smaller learning rate")
    fitted = Fitted(best["eval_loss"], best["epoch"], trainer.state.global_step, time.perf_counter() - started)
    if state.is_main_process:
        weights = {name: tensor.detach().cpu().contiguous() for name, tensor in module.state_dict().items()}
        with replacing(folder / WEIGHTS) as path:
            save_file(weights, path)
        log = {"fitted": fitted._asdict(), "history": trainer.state.log_history}
        write_text(folder / LOG, json.dumps(log, indent=2) + "\n")
        shutil.rmtree(checkpoints)
    state.wait_for_everyone()
    return fitted


def load_trained(module: Supervised, folder: Path) -> None:
    """The weights of a finished training into the module that it was of.

    Raises:
        FileNotFoundError: if there are none. ValueError: naming a weight that is missing or of another shape.
    """
    path = folder / WEIGHTS
    if not path.is_file():
        raise FileNotFoundError(f"{path}: no such file; train the model first")
    weights, own = load_file(path), module.state_dict()
    for name in sorted(weights.keys() | own.keys()):
        shapes = [tuple(state[name].shape) if name in state else None for state in (weights, own)]
        if shapes[0] != shapes[1]:
            raise InputError(f"{path}: {name} has shape {shapes[0]} in the file, {shapes[1]} in the model")
    module.load_state_dict(weights, strict=False)


def trained_choices(folder: Path) -> dict[str, Any]:
    """What a training's YAML says.

    Raises:
        FileNotFoundError: naming the file.
    """
    path = folder / CHOICES
    if not path.is_file():
        raise FileNotFoundError(f"{path}: no such file; train the model first")
    return yaml.safe_load(path.read_text())


def last_whole_checkpoint(folder: Path) -> str | None:
    """The newest checkpoint that was written to its end; others, of a run killed while writing, are left aside."""
    whole = []
    for path in folder.glob(f"{PREFIX_CHECKPOINT_DIR}-*"):
        try:
            whole.append((json.loads((path / SCHEDULED).read_text())["global_step"], str(path)))
        except (OSError, ValueError, KeyError):
            continue
    return max(whole)[1] if whole else None


class Predictor:
    """A trained network as the scorer of a run."""

    def __init__(self, network: nn.Module, objective: Objective, batch_size: int = 64):
        self.network, self.objective, self.batch_size = network.eval(), objective, batch_size

    @property
    def device_name(self) -> str:
        device = next(self.network.parameters()).device
        return torch.cuda.get_device_name(device) if device.type == "cuda" else str(device)

    @torch.inference_mode()
    def predict(self, sequences: Sequence[str]) -> np.ndarray:
        """Outputs of the network, (n, outputs) float64."""
        starts = range(0, len(sequences), self.batch_size)
        outputs = [self.network(sequences[start : start + self.batch_size]).float().cpu() for start in starts]
        return torch.cat(outputs).double().numpy() if outputs else np.empty((0, self.objective.outputs))


def _class_weights(train: Examples, objective: Objective) -> torch.Tensor | None:
    """n / (classes x rows of the class); classes without rows have 0."""
    if objective.kind != "classes":
        return None
    counts = torch.bincount(train.labels, minlength=objective.outputs).float()
    return torch.where(counts > 0, len(train) / (objective.outputs * counts.clamp(min=1)), 0.0)


def _same_choices(path: Path, choices: Mapping[str, Any]) -> None:
    if not path.is_file():
        return
    existing = yaml.safe_load(path.read_text())
    for name in sorted(existing.keys() | choices.keys()):
        if existing.get(name) != choices.get(name):
            old, new = existing.get(name), choices.get(name)
            if isinstance(old, dict) and isinstance(new, dict):
                part = next(key for key in sorted(old.keys() | new.keys()) if old.get(key) != new.get(key))
                name, old, new = f"{name}.{part}", old.get(part), new.get(part)
            raise InputError(
                f"{path} is of another training: {name} is {old} there and {new} here; give another --training "
                "folder, or --overwrite"
            )


def _quiet_progress() -> ProgressCallback:
    """Trainer's bar without its log lines."""
    callback = ProgressCallback()
    callback.on_log = lambda *_, **__: None  # type: ignore[method-assign]
    return callback
