"""The arguments of a run as one object: those of `evaluate`, of a configuration file, and of a record."""

import dataclasses
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import NoneType
from typing import Any, get_args, get_type_hints

from datasets_dart.errors import InputError
from datasets_dart.files import shown
from evaluation_dart.models.kinds import DTYPES, INT8, KINDS, check_batch_size, split_spec
from evaluation_dart.recipes import DEFAULT, recipe_named
from evaluation_dart.tasks import SUPERVISED, Task, task_named


@dataclass(frozen=True)
class RunSpec:
    """The arguments of a run: of [`evaluate`], of a configuration file, and of `dart-eval run`.

    Attributes:
        model: a Hub id or folder of a language model, or a kind and what it is of (`load_scorer`). task, setting: see
            `TASKS`; by default the task's first setting. inputs: of the task's builder, by name.
        protocol: "fixed", the sound one, or "paper", the original with its defects. recipe: of likelihoods (`RECIPES`).
        layer: of embeddings and probes, an index into the hidden states.
        split: "train", "validation" or "test". splits: "paper", a BED of blocks with these names or, of
            motif_footprinting and variant_effects, "folds", which sets rows aside for validation.
        window: only the central so many bases of each sequence. limit: only so many rows: the first or, with
            sample_seed, rows at random.
        blocks: which rows are taken as alike by intervals and tests: "1Mb" of the genome, which is the default of most
            settings, "chromosomes", or a column of the predictions, whose equal values are one block.
        batch_size: rows of a forward pass; "auto" takes the largest that fits.
        seed: of what is drawn: random weights, new heads, the order of training rows.
        output: folder of records. overwrite: replace a record, and start anew.
        method, budget, training, trained, cache, hyperparameters: of settings that train: "cnn" or "linear" (probed),
            "lora" or "full" (finetuned); "full", or "small" of few rows and steps; the folder that trainings are kept
            in; of variant_effects, the folder of a training of chromatin_activity; a folder to keep embeddings in; and
            values in place of the paper's.
        revision, device, dtype, trust_remote_code: of a language model. cache_dir, num_proc: of building the dataset.
        pretrained_on: what the model has read, where its card does not say it (`evaluation_dart.pretraining`): "hg38",
            "hg38:chr1,chr2", "hg38:FILE.bed", a BED of the test's build, a FASTA; or several.
    """

    model: str
    task: str = "regulatory_elements"
    setting: str | None = None
    inputs: dict[str, Any] = field(default_factory=dict)
    protocol: str = "fixed"
    recipe: str | None = None
    layer: int = -1
    split: str = "test"
    splits: str = "paper"
    window: int | None = None
    limit: int | None = None
    sample_seed: int | None = None
    blocks: str | None = None
    batch_size: int | str = "auto"
    seed: int = 0
    output: str = "results"
    overwrite: bool = False
    method: str | None = None
    budget: str = "full"
    training: str = "training"
    trained: str | None = None
    cache: str | None = None
    hyperparameters: dict[str, Any] = field(default_factory=dict)
    revision: str | None = None
    device: str | None = None
    dtype: str = "float32"
    trust_remote_code: bool = False
    cache_dir: str | None = None
    num_proc: int | None = None
    pretrained_on: str | list[str] | None = None

    @property
    def chosen_setting(self) -> str:
        """The setting, or the task's first."""
        return self.setting or next(iter(task_named(self.task).settings))

    @classmethod
    def of(cls, arguments: Mapping[str, Any]) -> "RunSpec":
        """From a flat mapping, in which the task's inputs stand beside the other arguments.

        Raises:
            InputError: naming an argument that there is not, or one that is missing or of another type.
        """
        given = {name: plain(value) for name, value in arguments.items() if value is not None}
        if "model" not in given:
            raise InputError("a run needs a model")
        for name, value in given.items():
            kinds = TYPES.get(name, (object,))
            if not isinstance(value, kinds) or (isinstance(value, bool) and not {bool, object} & {*kinds}):
                wanted = " or ".join(kind.__name__ for kind in kinds)
                raise InputError(f"{name} is {shown(value)}, but should be {wanted}")
        task = task_named(given.get("task", "regulatory_elements"))
        inputs = {name: given.pop(name) for name in task.inputs if name in given} | given.pop("inputs", {})
        if unknown := sorted(map(str, given.keys() - TYPES.keys())):
            raise InputError(
                f"{task.name} takes no argument {shown(unknown[0])}; its inputs are {', '.join(task.inputs)}"
            )
        told = given.get("pretrained_on", [])
        if not all(isinstance(text, str) for text in ([told] if isinstance(told, str) else told)):
            raise InputError(f"pretrained_on is {shown(told)}, but should be text, or a list of texts")
        inputs = {name: written(value) if name in texts_of(task) else value for name, value in inputs.items()}
        for name, value in inputs.items():
            own = value.values() if isinstance(value, dict) else value if isinstance(value, list) else [value]
            if not all(isinstance(path, str) for path in own):
                raise InputError(f"{name} is {shown(value)}, but should be text, or a list or mapping of texts")
        spec = cls(**given, inputs=inputs)
        spec.check(task)
        return spec

    def check(self, task: Task) -> None:
        """Raise InputError naming a value that is not among those there are, or that has no effect here."""
        setting = self.chosen_setting
        if setting not in task.settings:
            raise InputError(f"{task.name} has no setting {setting}: there are {', '.join(task.settings)}")
        for name, allowed in (("protocol", ("fixed", "paper")), ("budget", ("full", "small"))):
            if getattr(self, name) not in allowed:
                raise InputError(f"{name} {getattr(self, name)!r}: there are {' and '.join(allowed)}")
        for name, smallest in SMALLEST.items():
            value = getattr(self, name)
            if value is not None and not smallest <= value <= LARGEST:
                raise InputError(f"{name} is {shown(value)}, not from {smallest} to {LARGEST:,}")
        if self.dtype not in (*DTYPES, INT8):
            raise InputError(f"dtype {shown(self.dtype)}: there are {', '.join((*DTYPES, INT8))}")
        check_batch_size(self.batch_size)
        recipe_named(self.recipe)
        needs = task.settings[setting].needs
        if self.recipe not in (None, DEFAULT) and needs != "likelihoods":
            raise InputError(f"recipe {self.recipe} is for likelihoods, which {setting} does not take")
        if self.layer != -1 and needs == "likelihoods":
            raise InputError(f"layer {self.layer} is for embeddings, which {setting} does not take")
        if self.seed and setting not in SUPERVISED and split_spec(self.model)[0] != "random":
            raise InputError(f"seed {self.seed}: nothing is drawn in {setting} of {self.model}")
        if setting not in SUPERVISED:
            for name in ("method", "trained", "cache", "hyperparameters"):
                if getattr(self, name):
                    raise InputError(f"{name} is for settings that train, which {setting} does not")

    def flat(self) -> dict[str, Any]:
        """What [`of`] makes it from again: only what is not the default, the inputs beside the rest."""
        chosen = {
            own.name: getattr(self, own.name)
            for own in dataclasses.fields(self)
            if own.name != "inputs" and getattr(self, own.name) not in (own.default, {})
        }
        return {"model": self.model, "task": self.task} | chosen | self.inputs

    def recorded(self) -> dict[str, Any]:
        """What a record keeps: no absolute path of this machine, and nothing of where it ran."""
        left_out = ("output", "overwrite", "device", "cache_dir", "num_proc")
        return {name: unrooted(value) for name, value in self.flat().items() if name not in left_out}


# Whole numbers that a run can begin with
LARGEST = (1 << 32) - 1
SMALLEST = {"window": 1, "limit": 1, "sample_seed": 0, "seed": 0, "num_proc": 1, "layer": -LARGEST}
# Of the fields, for configuration files: a type, or several
TYPES: dict[str, tuple[type, ...]] = {
    name: tuple(kind for kind in get_args(hint) or (hint,) if kind is not NoneType)
    for name, hint in get_type_hints(RunSpec).items()
} | {"hyperparameters": (dict,), "inputs": (dict,), "pretrained_on": (str, list)}


def texts_of(task: Task) -> list[str]:
    """The inputs of a task that are no files."""
    return [name for name, own in task.inputs.items() if own.kind == "text"]


def written(value: Any) -> Any:
    """A number as text, and a list of numbers with commas between them; all else as it is."""
    numbers = value if isinstance(value, list) else [value]
    whole = all(isinstance(own, int | float) and not isinstance(own, bool) for own in numbers)
    return ",".join(map(str, numbers)) if whole and numbers else value


def plain(value: Any) -> Any:
    """Paths as text, in lists and mappings too."""
    if isinstance(value, os.PathLike):
        return os.fspath(value)
    if isinstance(value, Mapping):
        return {name: plain(own) for name, own in value.items()}
    return [plain(own) for own in value] if isinstance(value, list | tuple) else value


def unrooted(value: Any) -> Any:
    """Absolute paths as their last part."""
    if isinstance(value, dict):
        return {name: unrooted(own) for name, own in value.items()}
    if isinstance(value, list):
        return [unrooted(own) for own in value]
    if not isinstance(value, str):
        return value
    kind, colon, of = value.partition(":")
    if (kind in KINDS or (colon and "/" not in kind and not of.startswith("//"))) and os.path.isabs(of):
        return f"{kind}{colon}{Path(of).name}"
    return Path(value).name if os.path.isabs(os.path.expanduser(value)) else value
