"""The commands `dart-eval prepare`, `inputs`, `prepare-step` and `push`: from public inputs to datasets."""

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from datasets_dart.errors import InputError, MissingExtra
from datasets_dart.outputs import described, made
from trainer_scripts.cli.inputs import InputsCommand
from trainer_scripts.cli.options import Genome, Output, Overwrite, ProtocolOption
from trainer_scripts.messages import result, say

steps = typer.Typer(
    help="Single steps of tasks 1, 2 and 5 on the way from public inputs to rows (of tasks 3 and 4: prepare-peaks).",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)


def step(
    output: Path, name: str, inputs: list[Path], write: Callable[[Path], int], overwrite: bool, **options: str
) -> int:
    """The rows of a step's output, which is made unless it already exists."""
    about = {"step": name, "inputs": [described(path) for path in inputs], **options}
    return int(made(output, about, lambda path: {"rows": write(path)}, inputs, overwrite=overwrite)["rows"])


def prepare(
    ctx: typer.Context,
    task: Annotated[
        str, typer.Option(help="regulatory_elements, motif_footprinting, ...: see dart-eval ls; all: the five tasks")
    ],
    download: Annotated[Path | None, typer.Option(help="folder to fetch the task's public inputs into")] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="list the public inputs, their sizes, and what is to be fetched by hand")
    ] = False,
    to: Annotated[
        Literal["cache", "parquet"], typer.Option(help="the datasets library's cache, or a dataset repository")
    ] = "cache",
    output: Annotated[Path | None, typer.Option(help="with --to parquet: folder of the repository")] = None,
    cache_dir: Annotated[Path | None, typer.Option(help="cache of the datasets library")] = None,
    num_proc: Annotated[int | None, typer.Option(help="processes", min=1)] = None,
) -> None:
    """Build a task's rows from its inputs, after fetching these if need be, and say what was kept and left out.

    dart-eval prepare --task motif_footprinting --download inputs --to parquet --output dart-eval-data

    dart-eval prepare --task variant_effects --genome hg38.fa --variants Afr.CaQTLS.tsv

    dart-eval prepare --task all --download inputs --dry-run
    """
    from datasets_dart import load_dart

    hide_bars(num_proc)
    if (to == "parquet") != (output is not None):
        raise InputError("--to parquet and --output go together")
    given: dict[str, Any] = ctx.obj
    if dry_run or task == "all":
        if download is None:
            raise InputError("--download: the folder of public inputs is needed")
        if dry_run:
            list_needed(task, download)
        else:
            prepare_all(download, output, given, cache_dir, num_proc)
        return
    if download is not None:
        from datasets_dart.downloads import fetch_task
        from datasets_dart.public import DATASETS, inputs_of

        inputs, said = fetch_task(task, download)
        if task in DATASETS and given.keys() <= {"protocol"}:
            inputs = inputs_of(task, download, given.get("protocol", "fixed"), num_proc or 1)
        given = {**inputs, **given}
        for line in said:
            say(line)
    rows: Any = load_dart(task, cache_dir=cache_dir, num_proc=num_proc, **given)
    for split, part in rows.items():
        typer.echo(f"{split}: {len(part)} rows, {', '.join(part.column_names)}")
    say(next(iter(rows.values())).info.description)
    if output is not None:
        from datasets_dart.export import export_parquet

        for path in export_parquet(rows, output, task, given.get("protocol", "fixed")):
            typer.echo(f"written: {path}")


def hide_bars(num_proc: int | None) -> None:
    """Leave progress to our bars and lines, but on a terminal to the datasets library's bar over several processes."""
    from datasets import disable_progress_bars

    from datasets_dart.progress import is_shown

    if num_proc in (None, 1) or not is_shown():
        disable_progress_bars()


def list_needed(task: str, folder: Path) -> None:
    """Print each file of the public inputs: its state, size, address and place, and the tasks that read it."""
    from datasets_dart.public import dataset_names, needed_files, task_of

    tasks = list(dict.fromkeys(map(task_of, dataset_names()))) if task == "all" else [task]
    needed = needed_files(folder, tasks)
    rows = [
        {
            "state": file.state,
            "bytes": file.size,
            "address": file.download.address,
            "file": str(folder / file.download.file),
            "tasks": list(file.tasks),
            "note": file.download.note,
        }
        for file in needed
    ]
    lines = [
        "\t".join(
            (
                file.state,
                "size unknown" if file.size is None else f"{file.size:,} bytes",
                file.download.address,
                str(folder / file.download.file),
                ", ".join(file.tasks),
                file.download.note,
            )
        )
        for file in needed
    ]
    fetched = [file for file in needed if file.state in ("download", "token")]
    known = sum(file.size or 0 for file in fetched)
    unknown = sum(file.size is None for file in fetched)
    by_hand = sum(file.state == "by hand" for file in needed)
    lines.append(
        f"{len(fetched)} to be downloaded: {known:,} bytes, and {unknown} of unknown size; {by_hand} by hand; "
        f"{sum(file.state == 'there' for file in needed)} there already"
    )
    result(rows, "\n".join(lines))


def prepare_all(
    folder: Path, output: Path | None, given: dict[str, Any], cache_dir: Path | None, num_proc: int | None
) -> None:
    """Fetch the public inputs of the five tasks, and build the rows of every dataset whose inputs are there.

    Raises:
        typer.Exit: with 1, if a dataset could not be made; the others are.
    """
    from datasets_dart import load_dart
    from datasets_dart.export import export_parquet
    from datasets_dart.public import dataset_names, fetch_needed, inputs_of, needed_files, task_of

    if given.keys() - {"protocol"}:
        raise InputError(
            f"--{sorted(given.keys() - {'protocol'})[0]}: for a single task; all takes its inputs from files"
        )
    protocol = given.get("protocol", "fixed")
    names = dataset_names()
    for line in fetch_needed(needed_files(folder, list(dict.fromkeys(map(task_of, names))), ask=False), folder):
        say(line)
    failed = []
    for name in names:
        task, _, part = name.partition("/")
        try:
            inputs = inputs_of(name, folder, protocol, num_proc or 1)
            rows: Any = load_dart(task, cache_dir=cache_dir, num_proc=num_proc, **inputs, **given)
            files = export_parquet(rows, output, task, protocol, part=part) if output is not None else []
        except (InputError, MissingExtra, OSError) as error:
            failed.append(f"{name}: left out: {' '.join(str(error).split())}")
            typer.echo(failed[-1])
            continue
        typer.echo(f"{name}: {', '.join(f'{split} {len(own):,} rows' for split, own in rows.items())}")
        say(next(iter(rows.values())).info.description)
        for path in files:
            say(f"written: {path}")
    if failed:
        raise typer.Exit(1)


def list_inputs(
    task: Annotated[str | None, typer.Option(help="of one task only")] = None,
) -> None:
    """Public inputs of the tasks: where they are, where they go, and whether anybody here has checked them.

    dart-eval inputs --task variant_effects
    """
    from datasets_dart.downloads import read_table

    for row in read_table(task):
        typer.echo("\t".join((row.task, row.role, row.file, row.address, row.status, row.note)))


def push(
    folder: Annotated[Path, typer.Argument(help="of a dataset repository, as prepare --to parquet writes it")],
    repository: Annotated[str, typer.Argument(help="owner/name of the dataset repository on the Hub")],
    private: Annotated[bool, typer.Option(help="where it does not exist yet")] = False,
) -> None:
    """Upload a dataset repository to the Hub, with the token of `hf auth login` or HF_TOKEN.

    dart-eval push dart-eval-data me/dart-eval
    """
    from datasets_dart.export import push as upload

    typer.echo(f"pushed: {upload(folder, repository, private)}")


@steps.command()
def windows(
    elements: Annotated[Path, typer.Argument(help="BED of elements")],
    output: Output,
    overwrite: Overwrite = False,
) -> None:
    """Task 1: windows of 350 bp and their strands, as the original's table of the elements.

    dart-eval prepare-step windows ENCFF420VPZ.bed.gz --output ENCFF420VPZ_processed.tsv
    """
    from datasets_dart.element_files import write_elements_table

    rows = step(output, "windows", [elements], partial(write_elements_table, elements), overwrite)
    typer.echo(f"{output}: {rows} elements")


@steps.command()
def consensus(
    motifs: Annotated[Path, typer.Argument(help="MEME file")],
    output: Output,
    protocol: ProtocolOption = "fixed",
    overwrite: Overwrite = False,
) -> None:
    """Task 2: the consensus of each motif.

    dart-eval prepare-step consensus H12CORE_meme_format.meme --output consensus.tsv
    """
    from datasets_dart.element_files import write_consensus

    write = partial(write_consensus, motifs, protocol=protocol)
    typer.echo(f"{output}: {step(output, 'consensus', [motifs], write, overwrite, protocol=protocol)} motifs")


@steps.command()
def backgrounds(
    elements: Annotated[Path, typer.Argument(help="BED of elements, or the original's table of them")],
    genome: Genome,
    output: Output,
    protocol: ProtocolOption = "fixed",
    overwrite: Overwrite = False,
) -> None:
    """Task 2: the backgrounds, controls of 100 elements of task 1, one sequence a line.

    dart-eval prepare-step backgrounds ENCFF420VPZ.bed.gz --genome hg38.fa --output backgrounds.txt
    """
    from datasets_dart.element_files import write_backgrounds

    write = partial(write_backgrounds, str(genome), str(elements), protocol=protocol)
    rows = step(output, "backgrounds", [genome, elements], write, overwrite, protocol=protocol)
    typer.echo(f"{output}: {rows} backgrounds")


@steps.command()
def insertions(
    motifs: Annotated[Path, typer.Option(help="MEME file")],
    backgrounds: Annotated[Path, typer.Option(help="one sequence a line")],
    output: Output,
    protocol: ProtocolOption = "fixed",
    overwrite: Overwrite = False,
) -> None:
    """Task 2: motifs and their shuffles in the backgrounds, as the original's table of key and sequence.

    dart-eval prepare-step insertions --motifs m.meme --backgrounds bg.txt --output footprint_dataset_350_v1.txt
    """
    from datasets_dart import load_dart
    from datasets_dart.element_files import write_motif_table

    rows: Any = load_dart(
        "motif_footprinting", protocol=protocol, streaming=True, motifs=motifs, backgrounds=backgrounds
    )
    write = partial(write_motif_table, rows.values())
    number = step(output, "insertions", [motifs, backgrounds], write, overwrite, protocol=protocol)
    typer.echo(f"{output}: {number} sequences")


@steps.command()
def alleles(
    variants: Annotated[Path, typer.Argument(help="table or VCF")],
    genome: Genome,
    output: Output,
    overwrite: Overwrite = False,
) -> None:
    """Task 5: list the variants neither of whose alleles is the genome's base.

    dart-eval prepare-step alleles Afr.CaQTLS.tsv --genome hg38.fa --output mismatches.tsv
    """
    from datasets_dart.variant_effects import list_mismatches

    def write(path: Path) -> dict[str, int]:
        total, found = list_mismatches(str(variants), str(genome), path)
        return {"variants": total, "rows": found}

    about = {"step": "alleles", "inputs": [described(variants), described(genome)]}
    found = made(output, about, write, [variants, genome], overwrite=overwrite)
    typer.echo(f"{output}: {found['rows']} of {found['variants']} variants")


def register(app: typer.Typer) -> None:
    """Add this module's commands to `dart-eval`."""
    app.command(cls=InputsCommand)(prepare)
    app.command("inputs")(list_inputs)
    app.command()(push)
    app.add_typer(steps, name="prepare-step")
