"""The command `dart-eval`: score a model on DART-Eval's tasks.

Several processes, on GPUs or on CPU (where `accelerate launch --cpu` would start only one):

    torchrun --standalone --nproc_per_node 2 -m trainer_scripts.dart_eval run ...
"""

import sys
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from datasets import Dataset

app = typer.Typer(no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False)

TASKS = {"regulatory_elements": ("zero_shot_likelihood",)}


class Protocol(StrEnum):
    fixed = "fixed"
    paper = "paper"


@app.callback()
def dart_eval() -> None:
    """Score DNA language models on regulatory DNA: tasks, protocols and intervals of DART-Eval."""


@app.command("ls")
def list_tasks() -> None:
    """What can be run: tasks with their settings, recipes, and the model families of the paper.

    dart-eval ls
    """
    from evaluation_dart.language_models import PAPER_FAMILIES
    from evaluation_dart.likelihood import RECIPES

    typer.echo("tasks and settings")
    for task, settings in TASKS.items():
        typer.echo(f"  {task}: {', '.join(settings)}")
    typer.echo("recipes")
    for recipe in RECIPES.values():
        typer.echo(f"  {recipe.name}: {recipe.reduction} over tokens, strand {recipe.strand}")
    typer.echo("model families of the paper (any other model of the Auto classes runs the same way)")
    for family in PAPER_FAMILIES:
        typer.echo(f"  {family.name}, {family.kind}, {family.model}: {family.status}")


@app.command()
def run(
    model: Annotated[str, typer.Option(help="Hub id or folder of a causal or masked language model")],
    genome: Annotated[Path, typer.Option(help="FASTA: plain, gzip or bgzip")],
    elements: Annotated[Path, typer.Option(help="BED of elements: plain, gzip or bgzip")],
    task: Annotated[str, typer.Option(help="see dart-eval ls")] = "regulatory_elements",
    setting: Annotated[str, typer.Option(help="see dart-eval ls")] = "zero_shot_likelihood",
    output: Annotated[Path, typer.Option(help="folder of records")] = Path("results"),
    protocol: Annotated[
        Protocol, typer.Option(help="the sound one, or the original with its defects")
    ] = Protocol.fixed,
    recipe: Annotated[str, typer.Option(help="see dart-eval ls")] = "dart-eval",
    splits: Annotated[str, typer.Option(help='"paper", or BED of blocks named train, validation, test')] = "paper",
    split: Annotated[str, typer.Option(help="train, validation or test")] = "test",
    window: Annotated[int | None, typer.Option(help="score the central so many bases only")] = None,
    limit: Annotated[int | None, typer.Option(help="score the first so many pairs only", min=1)] = None,
    batch_size: Annotated[int, typer.Option(help="rows in a forward pass", min=1)] = 64,
    revision: Annotated[str | None, typer.Option(help="commit, branch or tag on the Hub")] = None,
    device: Annotated[str | None, typer.Option(help="cpu, cuda, cuda:1, ...; default: what there is")] = None,
    dtype: Annotated[str, typer.Option(help="float32, bfloat16 or float16")] = "float32",
    cache_dir: Annotated[Path | None, typer.Option(help="of the dataset built from the inputs")] = None,
    num_proc: Annotated[int | None, typer.Option(help="processes that build the dataset")] = None,
    trust_remote_code: Annotated[bool, typer.Option(help="run code from the model's repository")] = False,
    overwrite: Annotated[bool, typer.Option(help="replace a record, and start afresh")] = False,
) -> None:
    """Score a model on a task; writes predictions.parquet and results.json, and prints the metrics.

    A run that was killed goes on where it stopped when the same line is given again.

    dart-eval run --model model_cards/hyenadna-tiny-1k-demo --genome hg38.fa --elements ENCFF420VPZ.bed
    """
    if setting not in TASKS.get(task, ()):
        known = "; ".join(f"{name}: {', '.join(settings)}" for name, settings in TASKS.items())
        raise ValueError(f"--task {task} --setting {setting}: there are {known}")
    from datetime import timedelta

    import torch
    from accelerate import PartialState
    from transformers.utils import logging

    import modeling_hyenadna  # noqa: F401  (registers HyenaDNA with the Auto classes)
    from evaluation_dart.language_models import load_language_model
    from evaluation_dart.likelihood import RECIPES
    from evaluation_dart.results import model_id, read_record
    from evaluation_dart.run import centred_crop, evaluate_regulatory_elements

    if recipe not in RECIPES:
        raise ValueError(f"--recipe {recipe}: there are {', '.join(RECIPES)}")
    # Without being told so, accelerate takes several processes on a machine without GPUs for one each.
    # They wait for each other at the end, for as long as the slowest takes.
    on_cpu = device == "cpu" or not torch.accelerator.is_available()
    state = PartialState(cpu=on_cpu, timeout=timedelta(days=7))
    logging.disable_progress_bar()  # of every process, for a second's work
    # The model first: what is wrong with it shows before a whole genome is read.
    scorer = load_language_model(model, revision, device or state.device, dtype, trust_remote_code)
    with state.main_process_first():
        dataset = load_split(genome, elements, protocol, splits, split, cache_dir, num_proc)
    if limit is not None:
        dataset = dataset.select(range(min(limit, len(dataset))))
    example = [dataset[0]["sequence"] if window is None else centred_crop(dataset[0]["sequence"], window)]
    passes = scorer.forward_passes(example)  # refuses a window that the model cannot read
    if scorer.kind == "masked" and state.is_main_process:
        rows = 2 * len(dataset) * passes * (2 if RECIPES[recipe].strand == "mean" else 1)
        typer.echo(f"masked model: about {rows:,} rows through the model, one for each token", err=True)
    folder = evaluate_regulatory_elements(
        scorer,
        dataset,
        RECIPES[recipe],
        output,
        model={"id": model_id(model), "revision": scorer.revision, "parameters": scorer.num_parameters, "dtype": dtype},
        inputs=described_inputs(genome=genome, elements=elements, splits=splits),
        split=split,
        protocol=protocol.value,
        window=window,
        overwrite=overwrite,
        batch_size=batch_size,
    )
    if state.is_main_process:
        print_metrics(read_record(folder))
        typer.echo(f"record: {folder}")


@app.command()
def validate(
    folders: Annotated[list[Path], typer.Argument(help="folders with results.json and predictions.parquet")],
) -> None:
    """Check that every metric of a record follows from its predictions.

    dart-eval validate results/local__hyenadna-tiny-1k-demo/*/regulatory_elements/zero_shot_likelihood
    """
    from evaluation_dart.results import validate_record

    for folder in folders:
        record = validate_record(folder)
        typer.echo(f"{folder}: valid ({record['predictions']['rows']} predictions)")


def load_split(
    genome: Path | str,
    elements: Path | str,
    protocol: str,
    splits: Path | str,
    split: str,
    cache_dir: Path | None = None,
    num_proc: int | None = None,
) -> "Dataset":
    """One split of task 1 as a Dataset.

    Raises:
        ValueError: naming the split, if no element is in it.
    """
    from datasets import disable_progress_bars

    from datasets_dart import load_dart

    disable_progress_bars()
    rows = load_dart(
        "regulatory_elements",
        protocol=str(protocol),
        splits=splits,
        cache_dir=cache_dir,
        num_proc=num_proc,
        genome=genome,
        elements=elements,
    )
    if split not in rows:
        raise ValueError(f"{elements}: no element is in split {split!r}; there are {', '.join(rows)}")
    return rows[split]


def described_inputs(**paths: Path | str) -> dict[str, str]:
    """`name: file name, SHA-256` of each input file."""
    from datasets_dart.files import sha256

    return {
        name: value if value == "paper" else f"{Path(value).name} sha256:{sha256(Path(value).resolve())}"
        for name, value in ((name, str(path)) for name, path in paths.items())
    }


def print_metrics(record: dict[str, Any]) -> None:
    from rich.console import Console
    from rich.table import Table

    title = f"{record['model']['id']} on {record['task']}, {record['setting']}, protocol {record['protocol']}"
    table = Table("metric", "value", "95 % interval", "n", title=title)
    for name, metric in record["metrics"].items():
        interval = "" if metric["low"] is None else f"{metric['low']:.4g} to {metric['high']:.4g}"
        table.add_row(name, f"{metric['value']:.4g}", interval, str(metric["n"]))
    Console().print(table)


def main() -> None:
    try:
        app()
    except (ValueError, OSError) as error:
        print("dart-eval:", " ".join(str(error).split()), file=sys.stderr)
        sys.exit(1)


if __name__ == "__main__":
    main()
