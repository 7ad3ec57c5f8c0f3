"""Fine-tune a model of the Hub on one of HyenaDNA's downstream tasks, or train a baseline on the same rows.

    python -m trainer_scripts.finetune --task genomic_benchmarks/human_enhancers_cohn --data gb/datasets \\
        --genome hg38.fa --model LongSafari/hyenadna-tiny-1k-seqlen-hf --output runs/cohn

The same line starts a run, and resumes one that was killed; several processes: `accelerate launch
--multi_gpu --num_processes 2 -m trainer_scripts.finetune ...` (with ACCELERATE_USE_CPU=1 on CPU). What the
command line does not name is chosen by the paper's recipe (trainer_scripts/downstream/FAMILY.yaml), or --recipe FILE.

Where this differs from the original (protocol "paper" has the first two as there):

* The epoch is chosen on validation rows of its own, a tenth of the training rows, not on the test split.
* Pads are masked and not pooled. The original pads on the left, and convolves and averages over the pads, too.
* Metrics are of the whole test split, with intervals, not means of batches.
* The head is the Hub model's own, for HyenaDNA a linear layer without bias (protocol "paper" has one, as the original;
  --classifier_bias true); or, with --head pooled, a linear layer with bias on pooled hidden states of any model.

--model may be a Hub id or folder; network:cnn, a convolutional network; kmers:6, logistic regression of k-mer
frequencies, whose penalty validation chooses; or length, a decision tree that sees how long a sequence is and nothing
else.
"""

import hashlib
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, NamedTuple, get_type_hints

import numpy as np
import torch
from accelerate import PartialState
from accelerate.utils import set_seed
from datasets import DatasetDict
from datasets import config as datasets_config
from sklearn.tree import DecisionTreeClassifier
from transformers import HfArgumentParser
from transformers.utils import logging

import modeling_hyenadna  # noqa: F401  (registers HyenaDNA with the Auto classes)
from datasets_dart.duplicates import Compared, count_duplicates
from datasets_dart.errors import InputError
from datasets_dart.files import replacing, shown
from datasets_dart.formats.documents import parse_json, read_yaml
from datasets_dart.outputs import check_output
from datasets_hyenadna import load_task
from datasets_hyenadna.builder import FAMILIES, open_source
from datasets_hyenadna.chromatin_profile import label_groups
from evaluation_dart.models.checkpoints import model_id, usable_device
from evaluation_dart.models.kmers import kmer_frequencies
from evaluation_dart.models.linear import choose_linear, save_linear
from evaluation_dart.pretraining import described as described_sources
from evaluation_dart.pretraining import pretraining_of, rows_inside
from evaluation_dart.records import PREDICTIONS, RESULTS, finished_record, write_record
from evaluation_dart.statistics.classification import (
    accuracy,
    confusion,
    f1_macro,
    f1_of_second,
    matthews_correlation,
)
from evaluation_dart.statistics.metric import interval_text
from evaluation_dart.statistics.scores import auroc_by_label
from evaluation_dart.training.accelerators import process_state
from evaluation_dart.training.classifiers import ConvolutionalClassifier, SequenceClassifier
from evaluation_dart.training.downstream import downstream_record, predictions_table
from evaluation_dart.training.finetuning import freeze_backbone, load_classifier, load_pooled_classifier
from evaluation_dart.training.loop import (
    CHOICES,
    FILES,
    FREE_ON_RESUME,
    WEIGHTS,
    Progress,
    fit,
    predict,
    trained_parameters,
)
from evaluation_dart.training.objective import Objective
from evaluation_dart.training.recipe import DownstreamTraining, Training, renewed, typed
from evaluation_dart.training.rows import LabelledRows, limited
from evaluation_dart.training.states import check_same_run, hold_folder, write_choices
from trainer_scripts.messages import run_with_messages
from trainer_scripts.options import argument_parser, renamed

RECIPES = Path(__file__).parent / "downstream"
CNN, KMERS, LENGTH = "network:cnn", "kmers:", "length"
HEADS = ("own", "pooled")
LEAF = 10  # smallest number of rows in a leaf
SPLITS = ("train", "validation", "test")
PLACES = (
    "data",
    "genome",
    "recipe",
    "output",
    "overwrite",
    "device",
    "trust_remote_code",
)  # where things are, not what
# --budget small: rows of each split, drawn by a seed, and 4 x 1024 / 16 = 256 steps
SMALL_ROWS = {"train": 1024, "validation": 256, "test": 1024}
SMALL = {
    "num_train_epochs": 4,
    "batch_size": 16,
    "learning_rate": 1e-3,
    "filter_learning_rate": 1e-3,
    "warmup_lengths": [],
}
TRAINED = FAMILIES.keys() - {"biotypes"}  # of which embeddings are taken: trainer_scripts.biotype_embeddings
# Inputs of a family besides those that all have
FAMILY_INPUTS = {"chromatin_profile": ("build", "window"), "species": ("length", "windows", "species", "splits")}
METRICS = ("accuracy", "mcc", "f1_macro", "f1", "median_auroc")


@dataclass
class TaskArguments:
    """Which task, and its files."""

    task: str = field(metadata={"help": "FAMILY/NAME, as datasets_hyenadna.load_task takes it"})
    data: str = field(metadata={"help": "folder of the task's published files"})
    genome: list[str] = field(default_factory=list, metadata={"help": "FASTA, or CLASS=FASTA of each class"})
    build: str = field(default="hg38", metadata={"help": "chromatin_profile: hg19 or hg38"})
    window: int | None = field(default=None, metadata={"help": "chromatin_profile: bp"})
    length: int | None = field(default=None, metadata={"help": "species: bp of a window"})
    windows: int | None = field(
        default=None, metadata={"help": "species: windows in an epoch, and in the other splits"}
    )
    fresh_windows: bool = field(default=False, metadata={"help": "species: draw new windows each epoch"})
    species: list[str] | None = field(default=None, metadata={"help": "species: folders, in the order of classes"})
    splits: str | None = field(
        default=None, metadata={"help": "species: chromosomes as JSON, validation and test: lists"}
    )
    protocol: str = field(default="fixed", metadata={"help": "fixed, or paper: choose on the test split, read pads"})
    recipe: str | None = field(default=None, metadata={"help": "YAML file in place of the paper's recipe"})
    budget: str = field(default="full", metadata={"help": "full, or small: few rows, 256 steps"})
    metric: str = field(default="accuracy", metadata={"help": f"what chooses the epoch: {', '.join(METRICS)}"})


@dataclass
class ModelArguments:
    """Which model, and where results go."""

    model: str = field(metadata={"help": "Hub id, folder, network:cnn, kmers:K, or length"})
    output: str = field(metadata={"help": "folder for weights, results and predictions"})
    revision: str | None = field(default=None, metadata={"help": "commit, branch or tag on the Hub"})
    random_weights: bool = field(default=False, metadata={"help": "the model's architecture from scratch"})
    pretrained_on: list[str] = field(
        default_factory=list,
        metadata={"help": "what the model has read, where its card does not say: hg38, hg38:chr1,chr2, hg38:FILE.bed"},
    )
    max_length: int = field(default=1024, metadata={"help": "bases that are read, from the start of a sequence"})
    pooling: str = field(default="mean", metadata={"help": "mean, last or max; HyenaDNA: first or sum, too"})
    head: str = field(
        default="own",
        metadata={"help": "own: the model's classifier; pooled: a linear layer with bias", "choices": HEADS},
    )
    classifier_bias: bool = field(default=False, metadata={"help": "a bias in HyenaDNA's own head, as in the original"})
    freeze: bool = field(default=False, metadata={"help": "train only the head, as the original's freeze_backbone"})
    special_tokens: bool = field(default=False, metadata={"help": "keep [SEP] after the sequence"})
    masked: bool = field(default=True, metadata={"help": "false: pad on the left, read and pool pads, as the original"})
    embed_dropout: float = field(default=0.1, metadata={"help": "dropout after the embedding"})
    resid_dropout: float = field(default=0.0, metadata={"help": "dropout of what each block adds"})
    device: str | None = field(default=None, metadata={"help": "cpu, cuda, cuda:1; default: a GPU if there is one"})
    trust_remote_code: bool = field(default=False, metadata={"help": "run code from the model's repository"})
    overwrite: bool = field(default=False, metadata={"help": "replace what is there, and start afresh"})


class Splits(NamedTuple):
    """The rows of a task, and what its classes are called; groups of labels where a row has many."""

    train: LabelledRows
    validation: LabelledRows
    test: LabelledRows
    classes: tuple[str, ...]
    groups: dict[str, list[int]] | None
    contig: tuple[str, ...] = ("chrom",)  # columns that name one

    @property
    def sizes(self) -> dict[str, int]:
        """Rows of each split."""
        return {split: len(getattr(self, split)) for split in SPLITS}

    @property
    def outputs(self) -> int:
        """Numbers that a model gives for a sequence."""
        return len(self.classes) if self.groups is None else int(self.train.labels.shape[1])

    @property
    def objective(self) -> Objective:
        """What is learned."""
        return Objective("classes" if self.groups is None else "labels", self.outputs, self.classes)

    @property
    def longest(self) -> int:
        """Bases of the longest sequence, as far as it is read."""
        return max(int(rows.lengths.max()) for rows in (self.train, self.validation, self.test))

    def duplicates(self) -> dict[str, Any]:
        """How many test rows repeat others, of the rows that are used; see [`datasets_dart.duplicates`]."""
        rows = {split: getattr(self, split).rows for split in SPLITS}
        return asdict(count_duplicates(rows, Compared(contig=self.contig))["test"])

    def fingerprint(self) -> str:
        """16 hexadecimal digits of all sequences and labels, in their order."""
        digest = hashlib.sha256()
        for rows in (self.train, self.validation, self.test):
            for batch in rows.rows.select_columns(["sequence"]).iter(1000):
                digest.update("\n".join(batch["sequence"]).encode())
            digest.update(rows.labels.tobytes())
        return digest.hexdigest()[:16]


def recipe_of(task: str, length: int | None = None, path: Path | None = None) -> tuple[dict[str, Any], dict[str, Any]]:
    """Arguments that a recipe sets for a task, and what it says of published results.

    Raises:
        FileNotFoundError: if there is no such file. ValueError: naming file and an entry that is no argument.
    """
    family, _, name = task.partition("/")
    if family not in TRAINED:
        raise InputError(f"--task {task}: FAMILY/NAME, with FAMILY one of {', '.join(sorted(TRAINED))}")
    path = path or RECIPES / f"{family}.yaml"
    read = read_yaml(path)
    if not isinstance(read, dict) or not isinstance(read.get("all"), dict):
        raise InputError(f"{path}: not a recipe: a mapping with an entry `all`")
    own = _entry(path, _entry(path, read, "tasks"), name)
    if family == "species":
        length = length or 1024
        own = {"length": length, "max_length": length} | _entry(path, _entry(path, read, "lengths"), length)
    arguments = {name: read[name] for name in ("metric", "model", "published") if name in read} | read["all"] | own
    about = {"published": _entry(path, arguments, "published") or None}
    arguments.pop("published", None)
    arguments = renewed(arguments)
    known = {name: hint for kind in ARGUMENTS for name, hint in get_type_hints(kind).items()}
    if unknown := sorted(map(str, arguments.keys() - known.keys())):
        raise InputError(f"{path}: {unknown[0]} is not an argument of finetune")
    return {name: typed(f"{path}: {name}", known[name], value) for name, value in arguments.items()}, about


def _entry(path: Path, content: Mapping[Any, Any], name: str | int) -> dict[str, Any]:
    """The mapping that a recipe has under a name, empty where it has none."""
    own = content.get(name) or {}
    if not isinstance(own, dict):
        raise InputError(f"{path}: {name} is {shown(own)}, not a mapping")
    return own


def task_inputs(arguments: TaskArguments) -> dict[str, Any]:
    """The inputs of `load_task` that the command line gives."""
    names = FAMILY_INPUTS.get(arguments.task.partition("/")[0], ())
    inputs: dict[str, Any] = {name: getattr(arguments, name) for name in ("data", *names)}
    if arguments.genome:
        named = dict(entry.split("=", 1) for entry in arguments.genome if "=" in entry)
        if named and len(named) < len(arguments.genome):
            raise InputError("--genome: one FASTA, or CLASS=FASTA of each class")
        inputs["genome"] = named or arguments.genome[0]
    if inputs.get("splits") is not None:
        inputs["splits"] = parse_json(inputs["splits"], f"--splits {arguments.splits}")
    return {name: value for name, value in inputs.items() if value is not None}


def load_splits(arguments: TaskArguments, max_length: int) -> Splits:
    """The task's rows, limited by the budget."""
    inputs = task_inputs(arguments)
    rows = load_task(arguments.task, protocol=arguments.protocol, **inputs)
    assert isinstance(rows, DatasetDict)
    family, _, name = arguments.task.partition("/")
    label = "labels" if family == "chromatin_profile" else "label"
    if arguments.budget not in ("small", "full"):
        raise InputError(f"--budget {arguments.budget}: small or full")
    source: Any = open_source(family, name, inputs, str(datasets_config.HF_DATASETS_CACHE))
    fresh = {"train": source.windows("train")} if family == "species" and arguments.fresh_windows else {}
    made = {}
    for split in SPLITS:
        own = limited(rows[split], SMALL_ROWS[split] if arguments.budget == "small" else None)
        labels = np.array(own[label][:], dtype=np.float32 if label == "labels" else np.int64)
        made[split] = LabelledRows(own, labels, max_length=max_length, fresh=fresh.get(split))
    if label == "label":
        names = tuple(rows["test"].features["label"].names)
        return Splits(**made, classes=names, groups=None, contig=source.contig)
    return Splits(**made, classes=("no", "yes"), groups=label_groups(source.names), contig=source.contig)


def scorer(metric: str, labels: np.ndarray, classes: int) -> Any:
    """The number an epoch is judged by, as a function of outputs, (n, outputs).

    Raises:
        ValueError: for a metric that there is not, or not of these labels.
    """
    if labels.ndim == 2:
        if not metric.startswith("median_auroc"):
            raise InputError(f"--metric {metric}: of many labels, median_auroc")
        return lambda outputs: float(np.nanmedian(auroc_by_label(outputs, labels)))
    of_counts = {"accuracy": accuracy, "mcc": matthews_correlation, "f1_macro": f1_macro}
    if classes == 2:
        of_counts["f1"] = f1_of_second
    if metric not in of_counts:
        raise InputError(f"--metric {metric}: of {classes} classes, {', '.join(of_counts)}")
    return lambda outputs: float(of_counts[metric](confusion(outputs.argmax(axis=1), labels, classes)))


def build_network(arguments: ModelArguments, outputs: int, longest: int) -> tuple[torch.nn.Module, dict[str, Any]]:
    """The network that is trained, for sequences of up to `longest` bases, and what a record says of it."""
    if arguments.model == CNN:
        network: torch.nn.Module = ConvolutionalClassifier(longest, outputs)
        about = {"id": "cnn", "revision": "from-scratch"}
    else:
        names = ("pooling", "classifier_bias", "embed_dropout", "resid_dropout")
        load = load_pooled_classifier if arguments.head == "pooled" else load_classifier
        loaded = load(
            arguments.model,
            outputs,
            revision=arguments.revision,
            device=arguments.device,
            trust_remote_code=arguments.trust_remote_code,
            random_weights=arguments.random_weights,
            changes={name: getattr(arguments, name) for name in names},
        )
        if arguments.freeze:
            freeze_backbone(loaded)
        length = longest if arguments.masked else arguments.max_length
        network = SequenceClassifier(loaded, length, arguments.special_tokens, arguments.masked)
        suffix = "-random-weights" if arguments.random_weights else ""
        about = {"id": model_id(arguments.model) + suffix, "revision": loaded.revision}
    return network, about | {"parameters": trained_parameters(network)}


def train_linear(arguments: ModelArguments, splits: Splits, folder: Path) -> tuple[np.ndarray, dict[str, Any]]:
    """Logistic regression of k-mer frequencies: outputs of the test split, and what a record says of the model."""
    k = arguments.model.removeprefix(KMERS)
    if not k.isdecimal() or not 1 <= int(k) <= 8:
        raise InputError(f"--model {arguments.model}: kmers:1 to kmers:8")
    rows = {split: getattr(splits, split) for split in SPLITS}
    tables = {split: kmer_frequencies(own.sequences(range(len(own))), int(k)) for split, own in rows.items()}
    name = f"kmers-{k}"
    chosen = choose_linear(
        {name: tables["train"]},
        splits.train.labels,
        {name: tables["validation"]},
        splits.validation.labels,
        splits.objective,
    )
    with replacing(folder / WEIGHTS) as path:
        save_linear(chosen.model, path)
    parameters = chosen.model.coefficients.size + chosen.model.intercept.size
    about = {"id": name, "revision": "from-scratch", "parameters": parameters, "penalty": chosen.strength}
    return chosen.model(tables["test"]).astype(np.float32), about


def train_on_length(splits: Splits) -> tuple[np.ndarray, dict[str, Any]]:
    """The class as far as length gives it away: log probabilities of a decision tree, and what a record says of it."""
    tree = DecisionTreeClassifier(min_samples_leaf=LEAF, random_state=0)
    tree.fit(splits.train.lengths[:, None], splits.train.labels)
    least = float(np.finfo(np.float32).tiny)  # in place of a probability of 0, whose logarithm is no number
    probabilities = np.full((len(splits.test), splits.outputs), least)
    probabilities[:, tree.classes_] = np.maximum(tree.predict_proba(splits.test.lengths[:, None]), least)
    return np.log(probabilities).astype(np.float32), {
        "id": LENGTH,
        "revision": "from-scratch",
        "parameters": int(tree.tree_.node_count),
    }


def finetune(
    task: TaskArguments,
    model: ModelArguments,
    training: DownstreamTraining,
    published: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """Train, judge on the test split, and write results.json, predictions.parquet and the weights to `output`.

    A finished run is not done again: its record is returned.

    Raises:
        InputError, FileNotFoundError: for inputs that do not fit, naming what is wrong with which.
    """
    training.stages()  # what they lack is said before anything is read
    state = process_state(model.device)
    with state.main_process_first():
        splits = load_splits(task, model.max_length)
    if splits.groups is not None and (model.model.startswith(KMERS) or model.model == LENGTH):
        raise InputError(f"--model {model.model}: a sequence has one label for it, not many")
    if model.freeze and (model.model in (CNN, LENGTH) or model.model.startswith(KMERS)):
        raise InputError(f"{model.model} has no pretrained backbone to freeze: train it as it is")
    described = described_run(splits, task=task, model=model)
    with ExitStack() as stack:
        hold_run(stack, model)
        return train_and_judge(task, model, training, published, splits, described)


def hold_run(stack: ExitStack, model: ModelArguments) -> None:
    """Hold a run's folder to the end of `stack`.

    Raises:
        InputError: if another process writes there, or files are in the way that no run of ours wrote.
    """
    check_output(model.output, [model.model])
    hold_folder(stack, Path(model.output), (*FILES, PREDICTIONS, RESULTS), model.overwrite)


def note_choices(folder: Path, training: Training, described: Mapping[str, Any]) -> None:
    """Write the choices of a run without a training to its folder, which is known by them, or refuse another run's."""
    choices = {"training": asdict(training), **described}
    check_same_run(folder / CHOICES, choices, FREE_ON_RESUME)
    PartialState().wait_for_everyone()  # all have looked before one writes
    if PartialState().is_main_process:
        write_choices(folder / CHOICES, choices)


def train_and_judge(
    task: TaskArguments,
    model: ModelArguments,
    training: Training,
    published: Mapping[str, Any] | None,
    splits: Splits,
    described: dict[str, dict[str, Any]],
) -> dict[str, Any]:
    """[`finetune`] in a folder that is held."""
    folder, state, began = Path(model.output), PartialState(), time.perf_counter()
    progress: Progress | None = None
    if model.model.startswith(KMERS) or model.model == LENGTH:
        note_choices(folder, training, described)
    if model.model.startswith(KMERS):
        outputs, about = train_linear(model, splits, folder)
    elif model.model == LENGTH:
        outputs, about = train_on_length(splits)
    else:
        set_seed(training.seed)
        network, about = build_network(model, splits.outputs, splits.longest)
        progress = fit(
            network.to(usable_device(model.device or state.device)),
            splits.train,
            splits.validation,
            splits.objective,
            training,
            folder,
            described,
            score=scorer(task.metric, splits.validation.labels, len(splits.classes)),
            stage=network.read_at_most if isinstance(network, SequenceClassifier) else None,
        )
        if (folder / RESULTS).is_file():
            return finished_record(folder)
        outputs = predict(network, splits.test, 2 * training.per_device_train_batch_size)
    return write_results(
        folder,
        outputs,
        splits,
        task,
        model,
        fingerprint=described["data"]["fingerprint"],
        seconds=time.perf_counter() - began,
        setting="finetuned",
        about=about,
        training=None if progress is None else training,
        seed=training.seed,
        groups=splits.groups,
        steps=None if progress is None else progress.step,
        epoch=None if progress is None else progress.best_epoch,
        max_length=model.max_length,
        reading={"pooling": model.pooling, "masked": model.masked, "special_tokens": model.special_tokens}
        | ({"head": model.head} if model.head != "own" else {})
        | ({"frozen": True} if model.freeze else {}),
        chosen_by=task.metric,
        published=published,
    )


def described_run(splits: Splits, **arguments: Any) -> dict[str, dict[str, Any]]:
    """What decides what comes of a run: its arguments, but for where things are, and its rows."""
    described = {
        name: {key: value for key, value in asdict(own).items() if key not in PLACES} for name, own in arguments.items()
    }
    return described | {"data": {"fingerprint": splits.fingerprint()}}


def write_results(
    folder: Path,
    outputs: np.ndarray,
    splits: Splits,
    task: TaskArguments,
    model: ModelArguments,
    about: Mapping[str, Any],
    **more: Any,
) -> dict[str, Any]:
    """Write predictions.parquet and results.json of outputs for the test split; the record.

    Args:
        about: what the record says of the model. more: what else [`downstream_record`] takes.
    """
    state, predictions = PartialState(), predictions_table(outputs, splits.test)
    untrained = model.random_weights or model.model == LENGTH
    sources = [] if untrained else pretraining_of(model.model, model.pretrained_on, model.revision)
    genome = task.genome[0] if len(task.genome) == 1 and "=" not in task.genome[0] else None
    record = downstream_record(
        predictions,
        task=task.task,
        protocol=task.protocol,
        budget=task.budget,
        rows=splits.sizes,
        duplicates=splits.duplicates(),
        in_pretraining=rows_inside(splits.test.rows, sources, genome),
        model={**about, "pretrained_on": described_sources(sources)},
        classes=splits.classes,
        device=str(state.device),
        processes=state.num_processes,
        **more,
    )
    if state.is_main_process:
        record = write_record(folder, record, predictions)
    state.wait_for_everyone()
    return record


ARGUMENTS: Any = (TaskArguments, ModelArguments, DownstreamTraining)


def parse(words: Sequence[str]) -> tuple[TaskArguments, ModelArguments, DownstreamTraining, dict[str, Any]]:
    """Arguments of a command line, over the recipe's, over the budget's and the protocol's."""
    parser = argument_parser(ARGUMENTS, "finetune", __doc__)
    words = renamed(list(words), "finetune")
    about: dict[str, Any] = {"published": None}
    if not {"-h", "--help"} & set(words):
        first = HfArgumentParser(ARGUMENTS[:1], add_help=False, allow_abbrev=False)
        task, _ = first.parse_args_into_dataclasses(words, return_remaining_strings=True)
        arguments, about = recipe_of(task.task, task.length, Path(task.recipe) if task.recipe else None)
        if task.budget == "small":
            arguments |= SMALL
        if task.protocol == "paper":
            arguments |= {"masked": False, "train_sampling_strategy": "random", "classifier_bias": True}
        words = with_recipe(parser, arguments, words)
    task, model, training = parser.parse_args_into_dataclasses(words)
    return task, model, training, about


def with_recipe(parser: HfArgumentParser, arguments: dict[str, Any], words: list[str]) -> list[str]:
    """Make a recipe's arguments the defaults; its model, which is a required option, goes before the words."""
    model = arguments.pop("model", None)
    parser.set_defaults(**arguments)
    return words if model is None else ["--model", model, *words]


def summary(record: Mapping[str, Any]) -> str:
    """The metrics of a record, a line each, and published ones beside them."""
    lines = [f"{record['task']}: {record['model']['id']}, test rows {record['rows']['test']:,}"]
    for name, metric in record["metrics"].items():
        lines.append(f"  {name:<20} {metric['value']:.3f}{interval_text(metric)}")
    if published := record.get("published"):  # in_context has none
        said = ", ".join(f"{name} {value}" for name, value in published.items())
        lines.append(f"  published, in per cent: {said}")
    return "\n".join(lines)


def train(words: Sequence[str]) -> dict[str, Any]:
    """The record of the run that a command line asks for."""
    task, model, training, about = parse(words)
    return finetune(task, model, training, about["published"])


def run_training(trained: Callable[[list[str]], dict[str, Any]], script: str) -> None:
    """Run a script's command line, and print the metrics of the record that comes of it."""

    def program(words: list[str]) -> None:
        logging.disable_progress_bar()
        record = trained(words)
        if PartialState().is_main_process:
            print(summary(record))

    run_with_messages(program, script)


def main() -> None:
    """Run the command line."""
    run_training(train, "finetune")


if __name__ == "__main__":
    main()
