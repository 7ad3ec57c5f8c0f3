"""The commands `dart-eval prepare`, `inputs`, `prepare-step` and `push`: from public inputs to datasets."""

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from datasets_dart.errors import InputError
from trainer_scripts.cli.prepare_peaks import Protocol, ProtocolOption

if TYPE_CHECKING:
    from datasets_dart.downloads import Download

steps = typer.Typer(no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False)


class Form(StrEnum):
    cache = "cache"
    parquet = "parquet"


Files = Annotated[list[str] | None, typer.Option(help="file, or NAME=FILE for each cell line or type")]
Motifs = Annotated[Path, typer.Option(help="MEME file")]
Output = Annotated[Path, typer.Option(help="file to write")]


def prepare(
    task: Annotated[str, typer.Option(help="regulatory_elements, motif_footprinting, ...: see dart-eval ls")],
    genome: Annotated[Path | None, typer.Option(help="FASTA: plain, gzip or bgzip")] = None,
    elements: Annotated[Path | None, typer.Option(help="BED of elements: plain, gzip or bgzip")] = None,
    motifs: Annotated[Path | None, typer.Option(help="motif_footprinting: MEME file")] = None,
    backgrounds: Annotated[Path | None, typer.Option(help="motif_footprinting: one sequence a line")] = None,
    peaks: Files = None,
    idr: Files = None,
    nonpeaks: Files = None,
    signal: Files = None,
    counts: Files = None,
    cell_type: Annotated[str | None, typer.Option(help="chromatin_activity: of single files")] = None,
    labels: Annotated[list[str] | None, typer.Option(help="cell_type_elements: the classes, in order")] = None,
    variants: Annotated[Path | None, typer.Option(help="variant_effects: table or VCF")] = None,
    effect: Annotated[str | None, typer.Option(help="variant_effects: column of the effect")] = None,
    label: Annotated[str | None, typer.Option(help="variant_effects: column of the label")] = None,
    mismatch: Annotated[str | None, typer.Option(help="variant_effects: skip, refuse or keep")] = None,
    processed: Annotated[Path | None, typer.Option(help="the original's own data.h5 or table")] = None,
    window: Annotated[int | None, typer.Option(help="bp, where not as published", min=1)] = None,
    protocol: ProtocolOption = Protocol.fixed,
    splits: Annotated[str, typer.Option(help='"paper", or BED of blocks named train, validation, test')] = "paper",
    download: Annotated[Path | None, typer.Option(help="folder to fetch the task's public inputs into")] = None,
    to: Annotated[Form, typer.Option(help="the datasets library's cache, or a dataset repository")] = Form.cache,
    output: Annotated[Path | None, typer.Option(help="with --to parquet: folder of the repository")] = None,
    cache_dir: Annotated[Path | None, typer.Option(help="of the datasets library")] = None,
    num_proc: Annotated[int | None, typer.Option(help="processes", min=1)] = None,
) -> None:
    """Build a task's rows from its inputs, after fetching these if need be, and say what was kept and left out.

    dart-eval prepare --task motif_footprinting --download inputs --to parquet --output dart-eval-data

    dart-eval prepare --task variant_effects --genome hg38.fa --variants Afr.CaQTLS.tsv
    """
    from datasets_dart import BUILDERS, load_dart
    from trainer_scripts.cli.dart_eval import by_name

    if task not in BUILDERS:
        raise InputError(f"--task {task}: there are {', '.join(BUILDERS)}")
    if (to == Form.parquet) != (output is not None):
        raise InputError("--to parquet and --output go together")
    single = {"genome": genome, "elements": elements, "motifs": motifs, "backgrounds": backgrounds}
    single |= {"variants": variants, "processed": processed}
    several = {"peaks": peaks, "idr": idr, "nonpeaks": nonpeaks, "signal": signal, "counts": counts}
    options = {"cell_type": cell_type, "labels": labels, "effect": effect, "label": label, "mismatch": mismatch}
    given: dict[str, Any] = {**single, **{name: by_name(files) for name, files in several.items()}, **options}
    given["window"] = window
    given = {name: value for name, value in given.items() if value is not None}
    if download is not None:
        given = {**fetched(task, download), **given}
    rows: Any = load_dart(task, protocol=protocol.value, splits=splits, cache_dir=cache_dir, num_proc=num_proc, **given)
    for split, part in rows.items():
        typer.echo(f"{split}: {len(part)} rows, {', '.join(part.column_names)}")
    typer.echo(next(iter(rows.values())).info.description, err=True)
    if output is not None:
        from datasets_dart.export import export_parquet

        for path in export_parquet(rows, output, task, protocol.value):
            typer.echo(f"written: {path}")


def fetched(task: str, folder: Path) -> dict[str, Any]:
    """A task's public inputs, fetched into a folder, by their names in `load_dart` where that is one file."""
    from datasets_dart.downloads import fetch_inputs, read_table

    rows = [row for row in read_table(task) if row.needed == "yes"]
    for path, sha256 in fetch_inputs(rows, folder).items():
        typer.echo(f"{path}: sha256 {sha256}", err=True)
    inputs: dict[str, Any] = {}
    for row in rows:
        name, _, cell = row.role.partition(" ")
        if cell.startswith("("):
            typer.echo(f"{folder / row.file}: {row.role}; give it as --{name}", err=True)
        elif cell:
            inputs.setdefault(name, {})[cell] = str(folder / row.file)
        else:
            inputs[name] = folder / row.file
    return inputs


def list_inputs(
    task: Annotated[str | None, typer.Option(help="of one task only")] = None,
) -> None:
    """Public inputs of the tasks: where they are, where they go, and whether anybody here has checked them.

    dart-eval inputs --task variant_effects
    """
    from datasets_dart.downloads import read_table

    rows = read_table(task)
    if not rows:
        raise InputError(f"--task {task}: no inputs are known of it")
    for row in rows:
        typer.echo(described(row))


def described(row: "Download") -> str:
    where = f"https://www.synapse.org/Synapse:{row.source}" if row.synapse else row.source
    return f"{row.task}\t{row.role}\t{row.file}\t{where}\t{row.status}\t{row.note}"


def push(
    folder: Annotated[Path, typer.Argument(help="of a dataset repository, as prepare --to parquet writes it")],
    repository: Annotated[str, typer.Argument(help="owner/name of the dataset repository on the Hub")],
    private: Annotated[bool, typer.Option(help="where it is made anew")] = False,
) -> None:
    """Upload a dataset repository to the Hub, with the token of `hf auth login` or HF_TOKEN.

    dart-eval push dart-eval-data me/dart-eval
    """
    from datasets_dart.export import push as upload

    typer.echo(f"pushed: {upload(folder, repository, private)}")


@steps.callback()
def prepare_step() -> None:
    """Single steps of tasks 1, 2 and 5 on the way from public inputs to rows (of tasks 3 and 4: prepare-peaks)."""


@steps.command()
def windows(
    elements: Annotated[Path, typer.Argument(help="BED of elements")],
    output: Output,
) -> None:
    """Task 1: windows of 350 bp and their strands, as the original's table of the elements.

    dart-eval prepare-step windows ENCFF420VPZ.bed.gz --output ENCFF420VPZ_processed.tsv
    """
    from datasets_dart.original_tables import write_elements_table

    typer.echo(f"{output}: {write_elements_table(elements, output)} elements")


@steps.command()
def consensus(
    motifs: Annotated[Path, typer.Argument(help="MEME file")],
    output: Output,
    protocol: ProtocolOption = Protocol.fixed,
) -> None:
    """Task 2: the consensus of each motif.

    dart-eval prepare-step consensus H12CORE_meme_format.meme --output consensus.tsv
    """
    from datasets_dart.original_tables import write_consensus

    typer.echo(f"{output}: {write_consensus(motifs, output, protocol.value)} motifs")


@steps.command()
def backgrounds(
    elements: Annotated[Path, typer.Argument(help="BED of elements, or the original's table of them")],
    genome: Annotated[Path, typer.Option(help="FASTA: plain, gzip or bgzip")],
    output: Output,
    protocol: ProtocolOption = Protocol.fixed,
) -> None:
    """Task 2: the backgrounds, controls of 100 elements of task 1, one sequence a line.

    dart-eval prepare-step backgrounds ENCFF420VPZ.bed.gz --genome hg38.fa --output backgrounds.txt
    """
    from datasets_dart.original_tables import write_backgrounds

    typer.echo(f"{output}: {write_backgrounds(str(genome), str(elements), output, protocol.value)} backgrounds")


@steps.command()
def insertions(
    motifs: Motifs,
    backgrounds: Annotated[Path, typer.Option(help="one sequence a line")],
    output: Output,
    protocol: ProtocolOption = Protocol.fixed,
) -> None:
    """Task 2: motifs and their shuffles in the backgrounds, as the original's table of key and sequence.

    dart-eval prepare-step insertions --motifs m.meme --backgrounds bg.txt --output footprint_dataset_350_v1.txt
    """
    from datasets_dart import load_dart
    from datasets_dart.original_tables import write_motif_table

    inputs: dict[str, Any] = {"motifs": motifs, "backgrounds": backgrounds}
    rows: Any = load_dart("motif_footprinting", protocol=protocol.value, streaming=True, **inputs)
    typer.echo(f"{output}: {write_motif_table(rows.values(), output)} sequences")


@steps.command()
def alleles(
    variants: Annotated[Path, typer.Argument(help="table or VCF")],
    genome: Annotated[Path, typer.Option(help="FASTA: plain, gzip or bgzip")],
    output: Output,
) -> None:
    """Task 5: list the variants neither of whose alleles is the genome's base.

    dart-eval prepare-step alleles Afr.CaQTLS.tsv --genome hg38.fa --output mismatches.tsv
    """
    from datasets_dart.variant_effects import list_mismatches

    total, found = list_mismatches(str(variants), str(genome), output)
    typer.echo(f"{output}: {found} of {total} variants")


def register(app: typer.Typer) -> None:
    """Add this module's commands to `dart-eval`."""
    app.command()(prepare)
    app.command("inputs")(list_inputs)
    app.command()(push)
    app.add_typer(steps, name="prepare-step")
