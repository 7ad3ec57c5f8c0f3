"""Supervised settings of `dart-eval run`: what is trained, on which rows, and where it is kept. And its profile."""

import dataclasses
import hashlib
import json
from collections.abc import Mapping, Sequence
from enum import StrEnum
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NamedTuple

import typer
import yaml

from datasets_dart.errors import InputError

if TYPE_CHECKING:
    from datasets import Dataset

    from evaluation_dart.training.supervised import Examples, Objective, TrainedRecipe, Training

TABLES = (".tsv", ".tsv.gz", ".csv", ".csv.gz", ".parquet")
KMERS, GC = "kmers-", "gc-content"
KMER_LENGTHS = range(1, 9)
RANDOM = "-random-weights"  # what a record's model id ends with when only the architecture is the model's
# --budget small: rows of each split, drawn by a seed, and a training of 4 x 1024 / 16 = 256 steps
SMALL_ROWS = {"train": 1024, "validation": 256, "test": 1024}
SMALL = {"epochs": 4, "batch_size": 16, "accumulate": 1}
METHODS = {"probed": ("cnn", "linear"), "finetuned": ("lora", "full"), "ab_initio": ("full",)}


class Budget(StrEnum):
    small = "small"
    full = "full"


class Wish(NamedTuple):
    """What the command line says of a supervised run."""

    model: str
    task: str
    setting: str
    protocol: str
    method: str | None = None
    budget: str = "full"
    training: Path = Path("training")  # the folder that trainings are kept below
    trained: Path | None = None  # a training of task 4, for task 5
    cache: Path | None = None
    hyperparameters: Path | None = None
    overrides: Sequence[str] = ()
    window: int | None = None
    batch_size: int = 64
    revision: str | None = None
    device: Any = None
    trust_remote_code: bool = False
    overwrite: bool = False


def is_trained(model: str, task: str, setting: str) -> bool:
    """Whether a setting trains `model`: not so a table of predictions, or a column of the table of variants."""
    from evaluation_dart.records import SUPERVISED

    if setting not in SUPERVISED or (setting == "ab_initio" and model.endswith(TABLES)):
        return False
    return setting != "ab_initio" or task != "variant_effects" or is_architecture(model) or is_small(model)


def _method(model: str, setting: str, method: str) -> str:
    if is_small(model) and setting != "ab_initio":
        raise InputError(f"--model {model} is trained from scratch: --setting ab_initio")
    if method not in METHODS[setting]:
        raise InputError(f"--method {method}: of --setting {setting} there are {', '.join(METHODS[setting])}")
    return method


def is_small(model: str) -> bool:
    """Whether a name is of a network from scratch or of a linear model."""
    from evaluation_dart.models.networks import NETWORKS

    return model in (*NETWORKS, GC) or model.startswith(KMERS)


def is_architecture(model: str) -> bool:
    return Path(model).is_dir() or "/" in model


def external(model: str, dataset: "Dataset", task: str) -> tuple[Any, dict[str, Any]]:
    """A table of predictions as a scorer, and what a record says of it."""
    from datasets_dart.files import sha256
    from evaluation_dart.models.table import PredictionTable

    path = Path(model)
    table = PredictionTable(path, dataset, task)
    return table, {"id": f"table/{path.name.partition('.')[0]}", "revision": sha256(path.resolve())[:12]}


def train_scorer(wish: Wish, load: Any, inputs: Mapping[str, Any]) -> tuple[Any, dict[str, Any], "TrainedRecipe"]:
    """A trained scorer, what a record says of its model, and of its training.

    Args:
        load: split -> Dataset. inputs: the files behind it, with their digests.
    """
    method = _method(wish.model, wish.setting, wish.method or METHODS[wish.setting][0])
    if wish.task == "variant_effects":
        return _of_task_4(wish, method)
    splits = {split: _rows(load(split), wish, split) for split in ("train", "validation")}
    if wish.model == GC or wish.model.startswith(KMERS) or method == "linear":
        return _linear(wish, splits, inputs)
    return _network(wish, method, splits, inputs)


def training_of(wish: Wish, method: str, family: str, task: str) -> "Training":
    """The hyper-parameters: the paper's, then those of the budget, of --hyperparameters, and of --set.

    Raises:
        ValueError: naming a hyper-parameter that there is not, or a value of another type.
    """
    from evaluation_dart.training.paper_choices import choices
    from evaluation_dart.training.supervised import Training

    method = {"cnn": "probing", "full": family if is_small(family) else "full"}.get(method, method)
    training = choices(method, task, family, wish.protocol)
    changes: dict[str, Any] = dict(SMALL) if wish.budget == Budget.small else {}
    if wish.hyperparameters is not None:
        read = yaml.safe_load(wish.hyperparameters.read_text())
        if not isinstance(read, dict):
            raise InputError(f"{wish.hyperparameters}: not a YAML mapping of hyper-parameters to values")
        changes |= read.get("training", read)
    for override in wish.overrides:
        name, equals, value = override.partition("=")
        if not equals:
            raise InputError(f"--set {override}: NAME=VALUE")
        changes[name] = yaml.safe_load(value)
    types = {field.name: type(getattr(training, field.name)) for field in dataclasses.fields(Training)}
    for name, value in changes.items():
        if name not in types:
            raise InputError(f"there is no hyper-parameter {name!r}: {', '.join(types)}")
        try:  # YAML reads 1e-3 as text
            fits = types[name](value) if types[name] in (float, int) and not isinstance(value, bool) else value
        except (TypeError, ValueError):
            fits = None
        if not isinstance(fits, types[name]) or (types[name] is int and fits != float(value)):
            raise InputError(f"hyper-parameter {name} is a {types[name].__name__}, not {value!r}")
        changes[name] = fits
    return dataclasses.replace(training, **{**changes, "method": method})


def _rows(dataset: "Dataset", wish: Wish, split: str) -> "Dataset":
    """The rows of a split that are learned from: not the reproducible peaks of task 4, which are among its peaks."""
    import numpy as np

    if wish.task == "chromatin_activity":
        category = np.array(dataset["category"][:])
        dataset = dataset.select(np.flatnonzero(category != "idr").tolist())
    if wish.budget == Budget.small and len(dataset) > SMALL_ROWS[split]:
        rows = np.random.default_rng(0).choice(len(dataset), SMALL_ROWS[split], replace=False)
        dataset = dataset.select(np.sort(rows).tolist())
    return dataset


def _network(
    wish: Wish, method: str, splits: Mapping[str, "Dataset"], inputs: Mapping[str, Any]
) -> tuple[Any, dict[str, Any], "TrainedRecipe"]:
    from transformers import set_seed

    from evaluation_dart.training.supervised import Examples, Predictor, TrainedRecipe, fit, objective_of

    objective = objective_of(splits["train"], wish.task)
    examples = {split: Examples(rows, objective, split, wish.window) for split, rows in splits.items()}
    length = wish.window or len(splits["train"][0]["sequence"])
    training = training_of(wish, method, family(wish), wish.task)
    set_seed(training.seed)  # of heads, adapters and networks
    built = _Built(wish, method, objective)
    network = built.network(training, length, wish.task)
    described: dict[str, Any] = {"model": built.described | {"trained_parameters": _trained_parameters(network)}}
    described |= {"data": dict(inputs), "window": length, "protocol": wish.protocol, "budget": wish.budget}
    described |= {"task": wish.task}
    if wish.cache is not None:
        examples = _cached(wish, network, training, examples, described)
    folder = _folder(wish, described["model"], method)
    fitted = fit(
        network,
        objective,
        *(examples["train"], examples["validation"], training, folder),
        described=described,
        overwrite=wish.overwrite,
    )
    recipe = {
        **dataclasses.asdict(training),
        "budget": wish.budget,
        "train_rows": len(examples["train"]),
        "validation_rows": len(examples["validation"]),
        **{name: value for name, value in fitted._asdict().items() if name != "seconds"},
        "weights": _digest(folder / "weights.safetensors"),
    }
    predictor = Predictor(network, objective, wish.batch_size)
    return predictor, described["model"], TrainedRecipe(wish.setting, recipe)


class _Built:
    """A model of the command line, loaded as its setting needs it, and the network that is made of it.

    Attributes:
        described: what a record says of the model; its parameters without adapters.
    """

    def __init__(self, wish: Wish, method: str, objective: "Objective"):
        self.wish, self.method, self.objective = wish, method, objective
        self.loaded: Any = None
        if is_small(wish.model):
            self.described: dict[str, Any] = {"id": f"ab-initio/{wish.model}", "revision": "from-scratch"}
            return
        import modeling_hyenadna  # noqa: F401  (registers HyenaDNA with the Auto classes)
        from evaluation_dart.models.language_model import load_language_model
        from evaluation_dart.records import model_id
        from evaluation_dart.training.finetuning import load_classifier

        where = {"revision": wish.revision, "device": wish.device, "trust_remote_code": wish.trust_remote_code}
        random = wish.setting == "ab_initio"
        if method == "cnn":
            self.loaded = load_language_model(wish.model, head=False, **where)
        else:
            self.loaded = load_classifier(wish.model, objective.outputs, random_weights=random, **where)
        name = model_id(wish.model) + (RANDOM if random else "")
        self.described = {"id": name, "revision": self.loaded.revision, "parameters": self.loaded.num_parameters}

    def network(self, training: "Training", length: int, task: str) -> Any:
        from evaluation_dart.models.language_model import usable_device
        from evaluation_dart.models.networks import build
        from evaluation_dart.training.finetuning import FineTuned
        from evaluation_dart.training.probing import Embedder, Probed

        if self.loaded is None:
            network = build(self.wish.model, length, self.objective.outputs)
            self.described["parameters"] = _trained_parameters(network)
            return network.to(usable_device(self.wish.device))
        if self.method == "cnn":
            embedder = Embedder(self.loaded, task, self.wish.protocol, training.layer)
            return Probed(embedder, self.objective.outputs, training.kernel)
        return FineTuned(
            self.loaded, (training.rank, training.alpha, training.dropout) if self.method == "lora" else None
        )


def family(wish: Wish) -> str:
    """The family of the paper whose hyper-parameters are taken; of a network from scratch, its name."""
    from evaluation_dart.training.paper_choices import family_of

    if is_small(wish.model):
        return wish.model
    from transformers import AutoConfig

    import modeling_hyenadna  # noqa: F401

    config = AutoConfig.from_pretrained(wish.model, revision=wish.revision, trust_remote_code=wish.trust_remote_code)
    return family_of(wish.model, config.model_type)


def _trained_parameters(network: Any) -> int:
    return sum(parameter.numel() for parameter in network.parameters() if parameter.requires_grad)


def _cached(
    wish: Wish, network: Any, training: "Training", examples: Mapping[str, "Examples"], described: Mapping[str, Any]
) -> dict[str, "Examples"]:
    """The same examples, from embeddings on disk."""
    from evaluation_dart.training.embedding_cache import write_cache
    from evaluation_dart.training.supervised import Examples

    if wish.cache is None or training.method != "probing":
        raise InputError(f"--cache is of embeddings for --setting probed, not of {training.method}")
    if training.reverse_complement:
        raise InputError("--cache has one strand of each row: without reverse_complement")
    found = {}
    for split, own in examples.items():
        members = 2 if own.objective.kind == "pairs" else 1

        def read(rows: Sequence[int], own: "Examples" = own) -> list[str]:
            return [sequence for item in own.__getitems__(list(rows)) for sequence in item["sequences"]]

        about = {
            **{name: described[name] for name in ("data", "window", "protocol", "budget", "task")},
            **{"model": described["model"]["id"], "revision": described["model"]["revision"]},
            **{"layer": training.layer, "split": split},
        }
        say = partial(typer.echo, err=True)
        cache = write_cache(
            wish.cache / split,
            *(network.embedder, len(own), read, about),
            members=members,
            batch_size=wish.batch_size,
            say=say,
        )
        found[split] = Examples(own.dataset, own.objective, split, own.window, cache)
    return found


def _linear(
    wish: Wish, splits: Mapping[str, "Dataset"], inputs: Mapping[str, Any]
) -> tuple[Any, dict[str, Any], "TrainedRecipe"]:
    """A linear model of composition, or of embeddings by layer and pooling."""
    from evaluation_dart.models.linear import LinearPredictor, choose_linear, labels_of
    from evaluation_dart.training.supervised import Examples, TrainedRecipe, objective_of

    objective = objective_of(splits["train"], wish.task)
    examples = {split: Examples(rows, objective, split, wish.window) for split, rows in splits.items()}
    features, about = _features(wish)
    tables: dict[str, dict[str, Any]] = {}
    for split, own in examples.items():
        sequences = [s for item in own.__getitems__(range(len(own))) for s in item["sequences"]]
        tables[split] = {name: of(sequences) for name, of in features.items()}
    labels = {split: labels_of(own, objective) for split, own in examples.items()}
    chosen = choose_linear(tables["train"], labels["train"], tables["validation"], labels["validation"], objective)
    recipe = {
        "method": "linear",
        **chosen._asdict(),
        "candidates": ", ".join(features),
        "budget": wish.budget,
        "train_rows": len(examples["train"]),
        "validation_rows": len(examples["validation"]),
        "weights": _digest_of(chosen.model),
    }
    del recipe["model"]
    about["trained_parameters"] = chosen.model.coefficients.size + chosen.model.intercept.size
    _keep_linear(wish, chosen.model, about, recipe | {"data": dict(inputs)}, objective)
    predictor = LinearPredictor(chosen.model, features[chosen.features], objective)
    return predictor, about, TrainedRecipe(f"{wish.setting}-linear", recipe)


def _keep_linear(wish: Wish, model: Any, about: Mapping[str, Any], said: Mapping[str, Any], objective: Any) -> None:
    from accelerate import PartialState

    from datasets_dart.files import replacing, write_text
    from evaluation_dart.models.linear import save_linear
    from evaluation_dart.training.supervised import CHOICES, WEIGHTS

    if not PartialState().is_main_process:
        return
    folder = _folder(wish, about, "linear")
    with replacing(folder / WEIGHTS) as path:
        save_linear(model, path)
    choices = {"training": dict(said), "model": dict(about), "task": wish.task}
    choices["objective"] = {"kind": objective.kind, "outputs": objective.outputs, "classes": list(objective.classes)}
    write_text(folder / CHOICES, yaml.safe_dump(choices, sort_keys=False))


def _folder(wish: Wish, model: Mapping[str, Any], method: str) -> Path:
    """Where a training is kept: {training}/{model}/{revision}/{task}/{setting}, and -{method} but of the usual one."""
    task = "chromatin_activity" if wish.task == "variant_effects" else wish.task
    usual = METHODS[wish.setting][0] == method
    setting = wish.setting if usual else f"{wish.setting}-{method}"
    return wish.training / model["id"].replace("/", "__") / model["revision"] / task / setting


def _features(wish: Wish) -> tuple[dict[str, Any], dict[str, Any]]:
    """Features to choose from, by name, and the model that a record names."""
    from evaluation_dart.models.kmers import gc_content, kmer_frequencies

    if wish.model == GC:
        return {GC: gc_content}, {"id": f"ab-initio/{GC}", "revision": "from-scratch"}
    if wish.model.startswith(KMERS):
        length = wish.model.removeprefix(KMERS)
        if not length.isdecimal() or int(length) not in KMER_LENGTHS:
            raise InputError(f"--model {wish.model}: {KMERS}1 to {KMERS}{KMER_LENGTHS[-1]}")
        return {wish.model: partial(kmer_frequencies, k=int(length))}, {
            "id": f"ab-initio/{wish.model}",
            "revision": "from-scratch",
        }

    import modeling_hyenadna  # noqa: F401
    from evaluation_dart.models.language_model import load_language_model
    from evaluation_dart.records import model_id

    where = {"revision": wish.revision, "device": wish.device, "trust_remote_code": wish.trust_remote_code}
    loaded = load_language_model(wish.model, head=False, **where)
    layers = range(loaded.model.config.num_hidden_layers + 1)
    features: dict[str, Any] = {
        f"layer {layer}, {pooling}": partial(loaded.embed, layer=layer, pooling=pooling, batch_size=wish.batch_size)
        for layer in layers
        for pooling in ("mean", "mean_with_next")
    }
    return features, {
        "id": model_id(wish.model),
        "revision": loaded.revision,
        "parameters": loaded.num_parameters,
    }


def _of_task_4(wish: Wish, method: str) -> tuple[Any, dict[str, Any], "TrainedRecipe"]:
    """Task 5: a finished training of task 4, which the paper takes from GM12878."""
    from evaluation_dart.models.linear import LinearPredictor, load_linear
    from evaluation_dart.training.supervised import (
        Objective,
        Predictor,
        Supervised,
        TrainedRecipe,
        Training,
        load_trained,
        trained_choices,
    )

    counts = Objective("counts", 1)
    linear = wish.model == GC or wish.model.startswith(KMERS) or method == "linear"
    built = None if linear else _Built(wish, method, counts)
    if wish.trained is not None:
        folder = wish.trained
    elif built is None:
        folder = _folder(wish, _features(wish)[1], "linear")
    else:
        folder = _folder(wish, built.described, method)
    choices = trained_choices(folder)
    if choices["task"] != "chromatin_activity":
        raise InputError(f"{folder}: a training of {choices['task']}; variants are scored by one of chromatin_activity")
    recipe = {**choices["training"], "trained_on": choices.get("data", choices["training"].get("data"))}
    if built is None:
        features, about = _features(wish)
        model = load_linear(folder / "weights.safetensors")
        recipe["weights"] = _digest_of(model)
        scorer = LinearPredictor(model, features[recipe["features"]], counts)
        return scorer, about, TrainedRecipe(f"{wish.setting}-linear", recipe)
    network = built.network(Training(**choices["training"]), choices["window"], wish.task)
    about = built.described | {"trained_parameters": _trained_parameters(network)}
    if (about["id"], about["revision"]) != (choices["model"]["id"], choices["model"]["revision"]):
        raise InputError(f"{folder}: a training of {choices['model']['id']}, not of {about['id']}")
    load_trained(Supervised(network, counts), folder)
    recipe["weights"] = _digest(folder / "weights.safetensors")
    recipe |= {"budget": choices["budget"], "train_rows": choices["rows"]["train"]}
    return Predictor(network, counts, wish.batch_size), about, TrainedRecipe(wish.setting, recipe)


def _digest_of(arrays: Sequence[Any]) -> str:
    return hashlib.sha256(b"".join(array.tobytes() for array in arrays)).hexdigest()


def _digest(path: Path) -> str:
    if not path.is_file():
        raise FileNotFoundError(f"{path}: no such file; train the model first")
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def profile(
    model: Annotated[str, typer.Option(help="Hub id or folder, or a network trained from scratch")],
    setting: Annotated[str, typer.Option(help="finetuned, probed or ab_initio")] = "finetuned",
    method: Annotated[str | None, typer.Option(help="full (as the paper), lora; of probed: cnn")] = None,
    length: Annotated[int, typer.Option(help="bases of a sequence", min=1)] = 2114,
    batch_size: Annotated[int, typer.Option(help="sequences in a batch", min=1)] = 16,
    warmup: Annotated[int, typer.Option(help="batches before measuring", min=0)] = 10,
    batches: Annotated[int, typer.Option(help="batches to measure", min=1)] = 20,
    revision: Annotated[str | None, typer.Option(help="commit, branch or tag on the Hub")] = None,
    device: Annotated[str | None, typer.Option(help="cpu, cuda, ...; default: what there is")] = None,
    output: Annotated[Path | None, typer.Option(help="write JSON there, too")] = None,
    trust_remote_code: Annotated[bool, typer.Option(help="run code from the model's repository")] = False,
) -> None:
    """Parameters, and time and peak memory of forward and backward passes, on random DNA.

    dart-eval profile --model model_cards/hyenadna-tiny-1k-demo --length 1000
    """
    import numpy as np

    from evaluation_dart.models.language_model import usable_device
    from evaluation_dart.tools.profile import resource_profile
    from evaluation_dart.training.supervised import Objective

    if setting not in METHODS:
        raise InputError(f"--setting {setting}: there are {', '.join(METHODS)}")
    method = _method(model, setting, method or {"probed": "cnn"}.get(setting, "full"))
    wish = Wish(
        *(model, "chromatin_activity", setting, "fixed", method),
        batch_size=batch_size,
        revision=revision,
        device=usable_device(device),
        trust_remote_code=trust_remote_code,
    )
    built = _Built(wish, method, Objective("counts", 1))
    network = built.network(training_of(wish, method, family(wish), wish.task), length, wish.task)
    rng = np.random.default_rng(0)
    drawn = (
        ["".join(row) for row in rng.choice(list("ACGT"), size=(batch_size, length))] for _ in range(warmup + batches)
    )
    found = {
        "model": built.described["id"],
        "setting": setting,
        "method": method,
        "length": length,
        "batch_size": batch_size,
        **resource_profile(network, drawn, warmup, batches),
    }
    text = json.dumps(found, indent=2)
    typer.echo(text)
    if output is not None:
        from datasets_dart.files import write_text

        write_text(output, text + "\n")
