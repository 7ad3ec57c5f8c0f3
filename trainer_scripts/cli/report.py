"""`dart-eval report`: records made ready for the Hub and the leaderboard."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from datasets_dart.errors import InputError
from trainer_scripts.messages import result, say

if TYPE_CHECKING:
    from evaluation_dart.records import Record

CLOSER = "A closer look"


def report(
    records: Annotated[list[Path], typer.Argument(help="folders with records in or below them")],
    output: Annotated[Path, typer.Option(help="folder to write")] = Path("report"),
    dataset: Annotated[
        str, typer.Option(help="dataset repository of the tasks, for .eval_results; yours, for data of your own")
    ] = "dart-eval/dart-eval",
    source_url: Annotated[str | None, typer.Option(help="where the records can be seen, for .eval_results")] = None,
    leaderboard: Annotated[Path | None, typer.Option(help="leaderboard folder to write data.js into")] = None,
    by: Annotated[
        str | None,
        typer.Option(help="only a table of metrics by stratum: a column, gc, or repeat", rich_help_panel=CLOSER),
    ] = None,
    table: Annotated[
        Path | None,
        typer.Option(help="rows' properties: TSV, CSV, Parquet, or a prepared dataset", rich_help_panel=CLOSER),
    ] = None,
    on: Annotated[
        list[str] | None,
        typer.Option(help="columns of --table that name a row; default: those of the task", rich_help_panel=CLOSER),
    ] = None,
    genome: Annotated[Path | None, typer.Option(help="FASTA, for gc and repeat", rich_help_panel=CLOSER)] = None,
    bins: Annotated[int, typer.Option(help="strata of numbers, at quantiles", min=1, rich_help_panel=CLOSER)] = 4,
    chance: Annotated[
        bool, typer.Option("--chance", help="only a table of metrics with labels permuted", rich_help_panel=CLOSER)
    ] = False,
    orientation: Annotated[
        str | None,
        typer.Option(help="only how often effects have the sign of this column of --table", rich_help_panel=CLOSER),
    ] = None,
    per_motif: Annotated[
        bool,
        typer.Option("--per-motif", help="only tables of task 2's motifs and their families", rich_help_panel=CLOSER),
    ] = False,
    families: Annotated[
        Path | None, typer.Option(help="table of motifs' families; default: by their names", rich_help_panel=CLOSER)
    ] = None,
    per_label: Annotated[
        bool, typer.Option("--per-label", help="only a table of single labels or classes", rich_help_panel=CLOSER)
    ] = False,
    calibration: Annotated[
        bool, typer.Option("--calibration", help="only a table of calibration curves", rich_help_panel=CLOSER)
    ] = False,
    per_distance: Annotated[
        bool,
        typer.Option("--per-distance", help="only a table of long context by distance", rich_help_panel=CLOSER),
    ] = False,
    over_seeds: Annotated[
        bool, typer.Option("--over-seeds", help="only a table of means over seeds", rich_help_panel=CLOSER)
    ] = False,
    figures: Annotated[
        bool | None,
        typer.Option(
            help="draw, as PNG and SVG; default: of a report where the extra plot is installed, not of a closer look"
        ),
    ] = None,
) -> None:
    """Turn records into a report and what the Hub shows, after recomputing every metric from its predictions.

    Writes report.md and report.tex: of each task, setting and data set a table of the models, their paired differences
    and all metrics; and in figures/ forest plots with chance, the differences, panels by motif and chromosome, and
    reliability diagrams.

    Writes results/, a dataset in Parquet with one row for each metric; and of whole runs of pretrained models,
    models/{model}/.eval_results/dart-eval.yaml for each model's repository, and dataset/eval.yaml for that of the
    tasks. Entries of dart-eval/dart-eval are runs on the published data only; those of another dataset repository say
    that they are of other data. What is no record, or does not follow from its predictions, is skipped with a line.

    With an option under "A closer look", only the tables that these ask for are written, as TSV, and shown.

    dart-eval report results --output report --dataset me/my-data --leaderboard leaderboard

    dart-eval report results --by gc --genome hg38.fa

    dart-eval report results --by allele_frequency --table variants.tsv

    dart-eval report results --per-motif --families H12CORE_motifs.tsv --figures
    """
    from evaluation_dart.report.figures import PICTURES, drawn_formats
    from evaluation_dart.report.hub import write_report
    from evaluation_dart.report.leaderboard import build
    from evaluation_dart.report.summary import PAGE, write_summary
    from evaluation_dart.report.tables import valid_records_below

    rows = {"table": table, "on": on}
    asked: dict[str, dict[str, Any] | None] = {
        "strata": {"column": by, "genome": genome, "bins": bins} | rows if by else None,
        "chance": {} if chance else None,
        "orientation": {"column": orientation} | rows if orientation else None,
        "motifs": {"families": families} if per_motif else None,
        "labels": {} if per_label else None,
        "calibration": {} if calibration else None,
        "distances": {} if per_distance else None,
        "seeds": {} if over_seeds else None,
    }
    if wanted := {name: options for name, options in asked.items() if options is not None}:
        look_closer(records, output, wanted, bool(figures))
        return
    if unused := [name for name, given in (("table", table), ("families", families)) if given]:
        raise InputError(f"{unused[0]} is for a closer look, which none of the other options asks for")
    formats, none_drawn = drawn_formats(None if figures is None else PICTURES if figures else ())
    valid, skipped = valid_records_below(records)
    refuse_none(valid, skipped)
    contents = [record.content for record in valid]
    values, left_out = write_report(contents, output, dataset, source_url)
    skipped += write_summary(valid, output, formats) + none_drawn
    if leaderboard is not None:
        skipped += build(leaderboard, [record.folder for record in valid])[1]
    for line in skipped + left_out:
        say(line)
    models = len({record["model"]["id"] for record in contents})
    text = f"{output}: {len(valid)} records of {models} models, {values} values\n{output / PAGE}"
    result({"output": str(output), "records": len(valid), "models": models, "values": values}, text)


def refuse_none(found: Sequence["Record"], skipped: Sequence[str]) -> None:
    """Raise InputError where there is no record: why the first was skipped, after a line for each of the others."""
    if not found:
        first, *others = skipped  # the last may be a remark on all of them
        for line in others:
            say(line)
        raise InputError(f"no valid record: {first}")


def look_closer(folders: list[Path], output: Path, asked: dict[str, dict[str, Any]], figures: bool) -> None:
    """Write and show the tables that are asked for, by their options."""
    from evaluation_dart.report.analyses import draw, shown_rows, tables_of, write_tables
    from evaluation_dart.report.figures import check_figure
    from evaluation_dart.report.tables import records_below

    if figures:
        check_figure(output / "figure.svg")
    found, skipped = records_below(folders)
    refuse_none(found, skipped)
    tables, left_out = tables_of(found, asked)
    for line in skipped + left_out:
        say(line)
    paths = dict(zip(write_tables(output, tables), tables.values(), strict=True))
    drawn = draw(output, tables, found) if figures else []
    shown = [f"{path}\n{shown_rows(own, found)}" for path, own in paths.items()]
    result({str(path): own.to_pylist() for path, own in paths.items()}, "\n\n".join([*shown, *map(str, drawn)]))
