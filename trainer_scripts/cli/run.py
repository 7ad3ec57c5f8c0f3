"""`dart-eval run`: a model on a task."""

import inspect
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import typer

from datasets_dart.errors import InputError
from datasets_dart.files import shown
from datasets_dart.formats.documents import parse_yaml, read_yaml_mapping, yaml_text
from evaluation_dart.spec import RunSpec
from evaluation_dart.tasks import TASKS
from trainer_scripts.cli.inputs import by_name
from trainer_scripts.cli.options import COMPUTING, BatchSize, Device, Dtype, Protocol, Revision, TrustRemoteCode
from trainer_scripts.messages import result

TRAINING = "Settings that train"
ROWS = "Rows"


def option(help: str, *names: str, default: str | None = None, panel: str | None = None, **more: Any) -> Any:
    """An option that is None unless it is given, so that a configuration file keeps what it says."""
    return typer.Option(*names, help=help, show_default=default or False, rich_help_panel=panel, **more)


# Common ones first; then the tasks' inputs are put in; then those of a kind.
FIRST: dict[str, Any] = {
    "model": Annotated[str | None, option("Hub id or folder of a language model, or KIND:WHAT (dart-eval ls)")],
    "task": Annotated[str | None, option("see dart-eval ls", default="regulatory_elements")],
    "setting": Annotated[str | None, option("see dart-eval ls", default="the task's first")],
    "output": Annotated[Path | None, option("folder of records", default="results")],
    "protocol": Annotated[
        Protocol | None, option("fixed: no known defects; paper: the original, with its defects", default="fixed")
    ],
    "recipe": Annotated[str | None, option("of likelihoods, see dart-eval ls", default="dart-eval")],
    "seed": Annotated[int | None, option("seed of all random draws", default="0")],
    "overwrite": Annotated[bool, option("replace a record, and start anew", "--overwrite")],
    "config": Annotated[Path | None, option("YAML of these options; options on the command line take precedence")],
    "print_config": Annotated[bool, option("print the options as YAML, and exit", "--print-config")],
}
LAST: dict[str, Any] = {
    "split": Annotated[str | None, option("train, validation or test", default="test", panel=ROWS)],
    "splits": Annotated[
        str | None, option("BED of blocks named train, validation, test; or folds", default="paper", panel=ROWS)
    ],
    "window": Annotated[int | None, option("read only this many bases in the middle of each sequence", panel=ROWS)],
    "limit": Annotated[int | None, option("only this many rows, from the first on", panel=ROWS, min=1)],
    "sample_seed": Annotated[int | None, option("with --limit: rows at random, by this seed", panel=ROWS)],
    "blocks": Annotated[
        str | None,
        option("rows that are alike: 1Mb, chromosomes or a column", default="the task's", panel=ROWS),
    ],
    "method": Annotated[str | None, option("probed: cnn, linear; finetuned: lora, full", panel=TRAINING)],
    "budget": Annotated[str | None, option("full, or small: 1024 rows, 256 steps", default="full", panel=TRAINING)],
    "training": Annotated[Path | None, option("folder that trainings are kept in", default="training", panel=TRAINING)],
    "trained": Annotated[Path | None, option("variant_effects: a training of chromatin_activity", panel=TRAINING)],
    "cache": Annotated[Path | None, option("probed: keep embeddings in this folder", panel=TRAINING)],
    "hyperparameters": Annotated[Path | None, option("YAML, as a training's training.yaml", panel=TRAINING)],
    "set_": Annotated[list[str] | None, option("NAME=VALUE of a hyper-parameter", "--set", panel=TRAINING)],
    "layer": Annotated[
        int | None, option("of embeddings and probes: index into the hidden states", default="-1", panel=COMPUTING)
    ],
    "batch_size": BatchSize,
    "device": Device,
    "dtype": Annotated[
        Dtype | None,
        option("of the model's weights; int8: on a CPU, linear layers only", default="float32", panel=COMPUTING),
    ],
    "revision": Revision,
    "trust_remote_code": TrustRemoteCode,
    "cache_dir": Annotated[Path | None, option("folder of the dataset that is built", panel=COMPUTING)],
    "pretrained_on": Annotated[
        list[str] | None,
        option(
            "what the model has read, where its card does not say: hg38, hg38:chr1,chr2, hg38:FILE.bed, FILE.fa",
            panel=ROWS,
        ),
    ],
    "num_proc": Annotated[int | None, option("processes that build the dataset", panel=COMPUTING)],
}


def input_options() -> dict[str, Any]:
    """The tasks' inputs as options: those of one task under its name, shared ones together."""
    takers: dict[str, list[str]] = {}
    for name, task in TASKS.items():
        for own in task.inputs:
            takers.setdefault(own, []).append(name)
    options = {}
    for own, names in takers.items():
        taken = TASKS[names[0]].inputs[own]
        kind: Any = {"file": Path, "files": list[str], "text": str}[taken.kind]
        many = "; a file, or NAME=FILE for each cell line" if taken.kind == "files" else ""
        panel = "Inputs of several tasks" if len(names) > 1 else f"Inputs of {names[0]}"
        options[own] = Annotated[kind | None, option(taken.help + many, panel=panel)]
    return options


def run(**given: Any) -> None:
    """Score a model on a task; writes predictions.parquet and results.json, and prints the metrics.

    A run that was killed goes on where it stopped when the same line is given again.

    dart-eval run --model model_cards/hyenadna-tiny-1k-demo --genome hg38.fa --elements ENCFF420VPZ.bed
    """
    arguments = read_config(given.pop("config")) | chosen(given)
    spec = RunSpec.of(arguments)
    if given["print_config"]:
        typer.echo(yaml_text(spec.flat()), nl=False)
        return
    from evaluation_dart.run import run as run_spec

    print_metrics(run_spec(spec))


options = FIRST | input_options() | LAST
run.__signature__ = inspect.Signature(  # type: ignore[attr-defined]
    [
        inspect.Parameter(
            name,
            inspect.Parameter.KEYWORD_ONLY,
            annotation=annotation,
            default=False if name in ("overwrite", "print_config", "trust_remote_code") else None,
        )
        for name, annotation in options.items()
    ]
)


def read_config(path: Path | None) -> dict[str, Any]:
    """The arguments in a YAML file; none of None.

    Raises:
        FileNotFoundError, InputError: naming the file.
    """
    return {} if path is None else read_yaml_mapping(path, "options to values")


def chosen(given: Mapping[str, Any]) -> dict[str, Any]:
    """The options on the command line as arguments of a run."""
    arguments = {
        name: value
        for name, value in given.items()
        if value not in (None, False) and name not in ("print_config", "set_", "hyperparameters")
    }
    several = {name for task in TASKS.values() for name, own in task.inputs.items() if own.kind == "files"}
    for name in several & arguments.keys():
        arguments[name] = by_name(arguments[name])
    changes: dict[str, Any] = {}
    if given["hyperparameters"] is not None:
        read = read_config(given["hyperparameters"])
        changes = read.get("training", read)
        if not isinstance(changes, dict):
            raise InputError(f"{given['hyperparameters']}: training is {shown(changes)}, not a mapping")
    for override in given["set_"] or ():
        name, equals, value = override.partition("=")
        if not equals:
            raise InputError(f"--set {override}: NAME=VALUE")
        changes[name] = parse_yaml(value, f"--set {name}")
    return arguments | ({"hyperparameters": changes} if changes else {})


def print_metrics(record: Any) -> None:
    """A record's metrics as a table, on the main process."""
    from accelerate import PartialState
    from rich.console import Console
    from rich.table import Table

    from evaluation_dart.statistics.metric import ends_text
    from trainer_scripts.messages import GENERAL

    if not PartialState().is_main_process:
        return
    if GENERAL.json:
        result(dict(record.content) | {"folder": str(record.folder)}, "")
        return
    title = f"{record.model['id']} on {record.task}, {record.setting}, protocol {record.protocol}"
    paper = ["as published"] if record.protocol == "paper" else []
    table = Table("metric", "value", "95 % interval", *paper, "n", title=title)
    for name, metric in record.metrics.items():
        sound = metric.honest or metric
        ends = [ends_text(sound, ".4g"), *([ends_text(metric, ".4g") if metric.honest else ""] if paper else [])]
        ends = [own.strip(" []").replace(", ", " to ") for own in ends]
        table.add_row(name, f"{metric.value:.4g}", *ends, str(metric.n))
    Console().print(table)
    for name, why in record.content.get("undefined", {}).items():
        typer.echo(f"{name}: {why}")
    typer.echo(f"record: {record.folder}")
