"""DART-Eval's supervised settings: what is trained, on which rows, and where it is kept.

Models are named as in [`models.kinds`]: of the kinds there, those that are trained; anything else is a language model.
"""

import hashlib
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from accelerate import PartialState
from accelerate.utils import set_seed
from datasets import Dataset
from torch import nn

from datasets_dart.errors import InputError
from datasets_dart.files import replacing, sha256
from datasets_dart.formats.documents import read_yaml_mapping
from evaluation_dart.models.checkpoints import load_config, loading_of, model_id, register_models, usable_device
from evaluation_dart.models.families.family import Family
from evaluation_dart.models.kinds import RANDOM_WEIGHTS, is_trained_kind, split_spec
from evaluation_dart.models.language_model import LanguageModel, load_language_model
from evaluation_dart.models.linear import Linear, LinearPredictor, choose_linear, load_linear, save_linear
from evaluation_dart.models.loading import load_scorer
from evaluation_dart.models.networks import NETWORKS, build
from evaluation_dart.training.embedding_cache import write_cache
from evaluation_dart.training.finetuning import FineTuned, load_classifier
from evaluation_dart.training.loop import CHOICES, FILES, WEIGHTS, fit, load_trained, trained_parameters
from evaluation_dart.training.objective import Objective, described_objective
from evaluation_dart.training.paper_choices import choices
from evaluation_dart.training.probing import Embedder, Probed
from evaluation_dart.training.recipe import SupervisedTraining, TrainedRecipe, changed
from evaluation_dart.training.rows import LabelledRows, labelled_rows, limited
from evaluation_dart.training.states import hold_folder, write_choices

METHODS = {"probed": ("cnn", "linear"), "finetuned": ("lora", "full"), "ab_initio": ("full",)}
# The small budget: rows of each split, drawn by a seed, and a training of 4 x 1024 / 16 = 256 steps
SPLITS = ("train", "validation")
SMALL_ROWS = {"train": 1024, "validation": 256}
SMALL = {"num_train_epochs": 4, "batch_size": 16, "per_device_train_batch_size": 16}
COUNTS = Objective("counts", 1)


class Trained(NamedTuple):
    """A trained model.

    Attributes:
        predictor: gives `predict(sequences) -> (n, outputs)`; description: what a record says of the model.
    """

    predictor: Any
    description: dict[str, Any]
    recipe: TrainedRecipe


class Predictor:
    """A trained network as the scorer of a run."""

    def __init__(self, network: nn.Module, objective: Objective, batch_size: int = 64):
        self.network, self.objective, self.batch_size = network.eval(), objective, batch_size

    @property
    def device_name(self) -> str:
        """The GPU's name, or "cpu"."""
        device = next(self.network.parameters()).device
        return torch.cuda.get_device_name(device) if device.type == "cuda" else str(device)

    @torch.inference_mode()
    def predict(self, sequences: Sequence[str]) -> np.ndarray:
        """Outputs of the network, (n, outputs) float64."""
        starts = range(0, len(sequences), self.batch_size)
        outputs = [self.network(sequences[start : start + self.batch_size]).float().cpu() for start in starts]
        return torch.cat(outputs).double().numpy() if outputs else np.empty((0, self.objective.outputs))


class Source(NamedTuple):
    """The model of a training before it is trained, and how its setting trains it.

    Attributes:
        spec: the model's name. kind: of [`models.kinds`], "" for a language model. name: what follows the kind.
        method: of `METHODS`.
    """

    spec: str
    kind: str
    name: str
    setting: str
    method: str
    loading: Mapping[str, Any]

    @property
    def linear(self) -> bool:
        """Whether a linear model of fixed features is trained."""
        return self.kind in ("kmers", "gc") or self.method == "linear"

    @property
    def id(self) -> str:
        """What a record calls the model."""
        if self.kind in ("", "random"):
            return model_id(self.name) + (RANDOM_WEIGHTS if self.kind else "")
        return f"ab-initio/{self.name}" if self.kind == "network" else str(load_scorer(self.spec).describe()["id"])


def source_of(model: str, setting: str, method: str | None = None, **loading: Any) -> Source:
    """What a model's name and a setting say.

    Raises:
        InputError: for a kind of model that the setting does not train, or a method that it does not have.
    """
    kind, name = split_spec(model)
    if not is_trained_kind(model) or (setting == "ab_initio") != bool(kind):
        known = "network:NAME, kmers:K, gc or random:MODEL" if setting == "ab_initio" else "a Hub id or folder"
        raise InputError(f"setting {setting} trains {known}, not {model}")
    if kind == "network" and name not in NETWORKS:
        raise InputError(f"{model}: there are {', '.join(f'network:{known}' for known in NETWORKS)}")
    method = method or METHODS[setting][0]
    if method not in METHODS[setting]:
        raise InputError(f"method {method}: setting {setting} has {', '.join(METHODS[setting])}")
    return Source(model, kind, name, setting, method, loading)


def train_predictor(
    model: str,
    task: Any,
    setting: str,
    load: Callable[[str], Dataset],
    *,
    protocol: str,
    folder: Path,
    inputs: Mapping[str, str],
    method: str | None = None,
    budget: str = "full",
    trained_on: Path | None = None,
    cache: Path | None = None,
    hyperparameters: Mapping[str, Any] | None = None,
    window: int | None = None,
    batch_size: int = 64,
    revision: str | None = None,
    device: Any = None,
    trust_remote_code: bool = False,
    overwrite: bool = False,
    seed: int = 0,
) -> Trained:
    """Train a model for a task, or load it where that was done before.

    Args:
        model: as in the module's text. task: with `name`, `columns`, `objective`, `learned_rows` and `trained_on` of
            [`evaluation_dart.tasks.base.Task`].
        load: split -> rows. inputs: the files that these come from, with digests.
        method: of `METHODS`; None for the setting's first. budget: "full", or "small": few rows, 256 steps.
        folder: below which trainings are kept, in {model}/{revision}/{task}/{setting}, with -{method} except for the
            setting's first. trained_on: the training's folder itself, for a task that another's models score.
        cache: folder for the embeddings of a probed model.
        hyperparameters: by name, over those of the paper and of the budget.
        window: bases around the centre that are read; None: all.
        batch_size: sequences in a forward pass without gradients.

    Raises:
        InputError: for what cannot be trained, or a folder that holds another training. FileNotFoundError: if a model
            of another task is needed that was not trained.
    """
    register_models()
    source = source_of(model, setting, method, revision=revision, device=device, trust_remote_code=trust_remote_code)
    if task.trained_on is not None:
        return _trained_elsewhere(source, task.name, task.trained_on, protocol, folder, trained_on, batch_size)
    if task.objective is None:
        raise InputError(f"{task.name} has no training data")
    splits = {}
    for split in SPLITS:
        dataset = load(split)
        if task.learned_rows is not None:
            dataset = dataset.select(task.learned_rows(dataset).tolist())
        splits[split] = limited(dataset, SMALL_ROWS[split] if budget == "small" else None)
    objective = task.objective(splits["train"])
    rows = {
        split: labelled_rows(own, tuple(task.columns), objective, split, window=window) for split, own in splits.items()
    }
    data: dict[str, Any] = {"data": dict(inputs), "budget": budget, "task": task.name}
    if source.linear:
        return _train_linear(source, rows, objective, folder, data, batch_size)

    changes = (SMALL if budget == "small" else {}) | dict(hyperparameters or {})
    training = training_of(source, objective.kind, protocol, changes, seed)
    set_seed(training.seed)  # of heads, adapters and networks
    length = window or len(splits["train"][0]["sequence"])
    head = paper_head(source) if protocol == "paper" else {}
    loaded = load_model(source, objective.outputs, head)
    network, description = build_network(source, loaded, objective, training, length, task.name, protocol)
    if head and loaded is not None and source.method != "cnn":
        description["head"] = head
    described: dict[str, Any] = {
        "model": description,
        "objective": described_objective(objective),
        "window": length,
        "protocol": protocol,
        **data,
    }
    for own in rows.values():
        own.nonpeaks = training.nonpeaks
    if cache is not None:
        rows = {
            split: _cached(own, network, training, described | {"split": split}, cache / split, batch_size)
            for split, own in rows.items()
        }
    if training.class_weights:
        objective = objective.weighted(rows["train"].labels)
    folder = training_folder(folder, source, description["revision"], task.name)
    with ExitStack() as stack:
        hold_folder(stack, folder, FILES, overwrite)
        progress = fit(network, rows["train"], rows["validation"], objective, training, folder, described)
    recipe = {
        **asdict(training),
        "budget": budget,
        "train_rows": len(rows["train"]),
        "validation_rows": len(rows["validation"]),
        "validation_loss": progress.validation_loss,
        "best_epoch": progress.best_epoch,
        "steps": progress.step,
        "weights": sha256(folder / WEIGHTS),
    }
    return Trained(Predictor(network, objective, batch_size), description, TrainedRecipe(setting, recipe))


def training_of(
    source: Source, kind: str, protocol: str, changes: Mapping[str, Any], seed: int = 0
) -> SupervisedTraining:
    """The hyper-parameters of a training: the paper's for this kind of objective, with changes."""
    if source.kind == "network":
        chosen = choices(source.name, kind, source.name, protocol, seed)
        return with_loss_rows(changed(chosen, {**changes, "method": source.name}))
    family = config_of(source)[1].key
    method = {"cnn": "probing"}.get(source.method, source.method)
    return with_loss_rows(changed(choices(method, kind, family, protocol, seed), {**changes, "method": method}))


def with_loss_rows(training: SupervisedTraining) -> SupervisedTraining:
    """The same where means of `loss_rows` rows make up a step, at most a step's own.

    Raises:
        InputError: if a step is not made up of so many rows.
    """
    if training.loss_rows is None:
        return training
    size = min(training.loss_rows, training.batch_size)
    if size < 1 or training.batch_size % size:
        raise InputError(
            f"batch_size {training.batch_size}: no multiple of the {size} rows that count as one (loss_rows)"
        )
    return replace(training, loss_rows=size)


def config_of(source: Source) -> tuple[Any, Family]:
    """The configuration of the language model that a setting trains, and its family."""
    with loading_of(source.name):
        return load_config(source.name, source.loading["revision"], source.loading["trust_remote_code"])


def paper_head(source: Source) -> dict[str, Any]:
    """What in the configuration of a fine-tuned model makes its head the original's, as far as it has such fields."""
    if source.kind == "network":
        return {}
    config, family = config_of(source)
    return {name: value for name, value in family.paper_head.items() if hasattr(config, name)}


def load_model(source: Source, outputs: int, head: Mapping[str, Any] | None = None) -> LanguageModel | None:
    """The language model that a setting trains; None for the others.

    Args:
        outputs: of a new head, if it is fine-tuned. head: fields of its configuration then, of [`paper_head`].
    """
    if source.kind in ("network", "kmers", "gc"):
        return None
    if source.method in ("cnn", "linear"):
        return load_language_model(source.name, head=False, **source.loading)
    return load_classifier(source.name, outputs, random_weights=source.kind == "random", changes=head, **source.loading)


def build_network(
    source: Source,
    loaded: LanguageModel | None,
    objective: Objective,
    training: SupervisedTraining,
    length: int,
    task: str,
    protocol: str,
) -> tuple[nn.Module, dict[str, Any]]:
    """The network that is trained, on its device, and what a record says of the model.

    Args:
        loaded: of [`load_model`]. length: bases of a sequence. task, protocol: of [`probing.tokens_read`].
    """
    network: nn.Module
    description: dict[str, Any] = {"id": source.id, "revision": "from-scratch"}
    if loaded is None:
        network = build(source.name, length, objective.outputs).to(usable_device(source.loading["device"]))
        description |= {"parameters": trained_parameters(network)}
    else:
        description |= {"revision": loaded.revision, "parameters": loaded.num_parameters}  # without adapters
        if source.method == "cnn":
            network = Probed(Embedder(loaded, task, protocol, training.layer), objective.outputs, training.kernel)
        else:
            lora = (training.lora_rank, training.lora_alpha, training.lora_dropout)
            network = FineTuned(loaded, lora if source.method == "lora" else None)
    return network, description | {"trained_parameters": trained_parameters(network)}


def training_folder(folder: Path, source: Source, revision: str, task: str) -> Path:
    """Where a training is kept below `folder`."""
    usual = METHODS[source.setting][0] == source.method and not source.linear
    method = "linear" if source.linear else source.method
    return folder / source.id.replace("/", "__") / revision / task / (source.setting + ("" if usual else f"-{method}"))


def _cached(
    rows: LabelledRows,
    network: nn.Module,
    training: SupervisedTraining,
    described: Mapping[str, Any],
    folder: Path,
    batch_size: int,
) -> LabelledRows:
    """The same rows, read from embeddings on disk."""
    if not isinstance(network, Probed):
        raise InputError(f"a cache is of embeddings, for setting probed with method cnn, not for {training.method}")
    if training.reverse_complement:
        raise InputError("a cache has one strand of each row: train without reverse_complement")
    about = {name: described[name] for name in ("data", "window", "protocol", "budget", "task", "split")}
    about |= {"model": described["model"]["id"], "revision": described["model"]["revision"], "layer": training.layer}

    def read(numbers: Sequence[int]) -> list[str]:  # a row's members one after the other
        sequences = rows.sequences(numbers)
        return [text for row in range(len(numbers)) for text in sequences[row :: len(numbers)]]

    cache = write_cache(
        folder, network.embedder, len(rows), read, about, members=len(rows.columns), batch_size=batch_size
    )
    return LabelledRows(rows.rows, rows.labels, rows.columns, window=rows.window, cache=cache, nonpeaks=rows.nonpeaks)


def _train_linear(
    source: Source,
    rows: Mapping[str, LabelledRows],
    objective: Objective,
    folder: Path,
    data: Mapping[str, Any],
    batch_size: int,
) -> Trained:
    """A linear model of composition, or of embeddings by layer and pooling."""
    features, description = _features(source, batch_size)
    tables: dict[str, dict[str, np.ndarray]] = {}
    labels = {}
    for split, own in rows.items():
        sequences = own.sequences(range(len(own)))
        tables[split] = {name: of(sequences) for name, of in features.items()}
        labels[split] = own.labels.T.flatten()  # of pairs, all elements before all controls
    chosen = choose_linear(tables["train"], labels["train"], tables["validation"], labels["validation"], objective)
    model = chosen.model
    recipe = {
        "method": "linear",
        "features": chosen.features,
        "strength": chosen.strength,
        "validation_loss": chosen.validation_loss,
        "candidates": ", ".join(features),
        "budget": data["budget"],
        "train_rows": len(rows["train"]),
        "validation_rows": len(rows["validation"]),
        "weights": _linear_digest(model),
    }
    description |= {"trained_parameters": model.coefficients.size + model.intercept.size}
    folder = training_folder(folder, source, description["revision"], data["task"])
    with ExitStack() as stack:
        hold_folder(stack, folder, FILES)
        if PartialState().is_main_process:
            write_choices(
                folder / CHOICES,
                {"training": recipe, "model": description, "objective": described_objective(objective), **data},
            )
            with replacing(folder / WEIGHTS) as path:
                save_linear(model, path)
    return Trained(
        LinearPredictor(model, features[chosen.features], objective),
        description,
        TrainedRecipe(f"{source.setting}-linear", recipe),
    )


def _linear_digest(model: Linear) -> str:
    return hashlib.sha256(b"".join(array.tobytes() for array in model)).hexdigest()


def _features(
    source: Source, batch_size: int
) -> tuple[dict[str, Callable[[Sequence[str]], np.ndarray]], dict[str, Any]]:
    """Features to choose from, by name, and what a record says of the model."""
    if source.kind in ("kmers", "gc"):
        composition = load_scorer(source.spec)
        described = composition.describe()
        return {described["id"].removeprefix("ab-initio/"): composition.embed}, described
    loaded = load_language_model(source.name, head=False, **source.loading)
    features: dict[str, Callable[[Sequence[str]], np.ndarray]] = {
        f"layer {layer}, {pooling}": partial(loaded.embed, layer=layer, pooling=pooling, batch_size=batch_size)
        for layer in range(loaded.model.config.num_hidden_layers + 1)
        for pooling in ("mean", "mean_with_next")
    }
    return features, {"id": source.id, "revision": loaded.revision, "parameters": loaded.num_parameters}


def _trained_elsewhere(
    source: Source,
    task: str,
    other: str,
    protocol: str,
    folder: Path,
    trained_on: Path | None,
    batch_size: int,
) -> Trained:
    """A finished training of another task: the paper scores variants by models of GM12878's activity."""
    if source.linear:
        features, description = _features(source, batch_size)
        revision = description["revision"]
    else:
        loaded = load_model(source, COUNTS.outputs)
        revision = "from-scratch" if loaded is None else loaded.revision
    folder = trained_on or training_folder(folder, source, revision, other)
    path = folder / CHOICES
    if not path.is_file():
        raise FileNotFoundError(f"{path}: no such file; train the model first")
    kept = read_yaml_mapping(path)
    needed = {"task", "model", "training", "data", *(() if source.linear else ("window", "budget", "rows"))}
    if missing := sorted(needed - kept.keys()):
        raise InputError(f"{path}: not the choices of a training: no {missing[0]}")
    if kept["task"] != other:
        raise InputError(f"{folder}: a training of {kept['task']}, but {task} needs one of {other}")
    if kept["model"]["id"] != source.id or kept["model"]["revision"] != revision:
        raise InputError(f"{folder}: a training of {kept['model']['id']}, not of {source.id}, revision {revision}")
    recipe = {**kept["training"], "trained_on": kept["data"]}
    if source.linear:
        linear = load_linear(folder / WEIGHTS)
        if recipe.get("weights") != _linear_digest(linear):
            raise InputError(f"{folder / WEIGHTS}: not as the training left it; delete {folder} to train anew")
        predictor = LinearPredictor(linear, features[recipe["features"]], COUNTS)
        return Trained(predictor, description, TrainedRecipe(f"{source.setting}-linear", recipe))
    training = changed(SupervisedTraining(), kept["training"])
    if head := kept["model"].get("head"):
        loaded = load_model(source, COUNTS.outputs, head)
    network, description = build_network(source, loaded, COUNTS, training, kept["window"], task, protocol)
    load_trained(network, folder)
    recipe |= {"weights": sha256(folder / WEIGHTS), "budget": kept["budget"], "train_rows": kept["rows"]["train"]}
    return Trained(Predictor(network, COUNTS, batch_size), description, TrainedRecipe(source.setting, recipe))
