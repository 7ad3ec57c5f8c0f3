"""`dart-eval check`: leakage between the splits of a dataset, and shortcuts to its labels."""

from pathlib import Path
from typing import Annotated, Any

import typer

from datasets_dart.errors import InputError
from trainer_scripts.cli.options import Overwrite
from trainer_scripts.messages import GENERAL, result


def check(
    ctx: typer.Context,
    data: Annotated[
        list[str],
        typer.Argument(
            metavar="DATA...",
            help="saved dataset, folder or table with splits, files train.csv and test.csv, FASTA, BED, or a task",
        ),
    ],
    output: Annotated[Path | None, typer.Option(help="parquet file to write, a row a sequence, for seqleak")] = None,
    data_folder: Annotated[
        Path | None, typer.Option("--data", help="of a downstream task (gue/...): the folder of its files")
    ] = None,
    seqleak: Annotated[bool, typer.Option(help="call the linter seqleak where it is installed")] = True,
    cache_dir: Annotated[Path | None, typer.Option(help="of a task: cache of the datasets library")] = None,
    overwrite: Overwrite = False,
) -> None:
    """Report rows that are in several splits, and properties that give the label or the split away.

    dart-eval check train.csv dev.csv test.csv --output checks.parquet

    dart-eval check cell_type_elements --genome hg38.fa --elements elements.bed

    dart-eval check elements.bed --genome hg38.fa --splits blocks.bed
    """
    from evaluation_dart.tools.checks import check as look

    rows, compared, inputs = read(data, ctx.obj, data_folder, cache_dir)
    report = look(rows, compared, output, inputs, seqleak, overwrite)
    if GENERAL.json:
        result(report.content(), "")
    else:
        show(report)
    if output is not None and not GENERAL.json:
        typer.echo(f"written: {output}")


def read(words: list[str], given: dict[str, Any], folder: Path | None, cache_dir: Path | None) -> Any:
    """Splits, what of them is compared, and the files that they are of."""
    from datasets_dart import BUILDERS, load_dart
    from datasets_dart.duplicates import Compared
    from datasets_hyenadna import load_task
    from datasets_hyenadna.builder import FAMILIES, open_source
    from evaluation_dart.tools.checks import read_data, rows_of_task

    (first, *more) = words
    family, _, name = first.partition("/")
    if not more and not Path(first).exists() and first in BUILDERS:
        files = [Path(path) for path in given.values() if isinstance(path, str) and Path(path).is_file()]
        built: Any = load_dart(first, cache_dir=cache_dir, **given)
        return rows_of_task(built), Compared(), files
    if not more and not Path(first).exists() and family in FAMILIES:
        given = given | ({"data": str(folder)} if folder else {})
        inputs = {key: value for key, value in given.items() if key != "protocol"}
        contig = open_source(family, name, inputs, str(cache_dir or "")).contig
        rows = load_task(first, cache_dir=cache_dir, **given)
        return rows, Compared(contig=contig), []
    paths = [Path(word) for word in words]
    if unknown := sorted(given.keys() - {"genome", "splits", "window"}):
        raise InputError(f"--{unknown[0]} is an input of a task, and {first} is a file")
    window = given.get("window")
    genome = Path(given["genome"]) if "genome" in given else None
    found = read_data(paths, genome, given.get("splits", "paper"), None if window is None else int(window))
    files = [path for path in (*paths, *([genome] if genome else [])) if path.is_file()]
    return found, Compared(), files


def show(report: Any) -> None:
    """Print a report as tables."""
    from rich.console import Console
    from rich.table import Table

    console = Console()
    table = Table(
        "split", "rows", "compared with", "the same", "reverse complement", "nearly", "overlapping", title="Leakage"
    )
    for split, own in report.duplicates.items():
        for where, counts in ({f"{split} itself": own["within"]} | own["against"]).items():
            cells = ("–" if count is None else f"{count:,}" for count in counts.values())
            table.add_row(split, f"{own['rows']:,}", where, *cells)
    console.print(table)
    found = report.homology
    if found["looked_at"]:
        typer.echo(f"homology: {found['related']} of {found['rows']} test rows align with train ({found['program']})")
    else:
        typer.echo(f"homology was not looked at: {found['why']}")
    for title, shortcuts in (("Shortcuts to the label", report.shortcuts), ("What tells splits apart", report.between)):
        if shortcuts:
            console.print(shortcut_table(title, shortcuts))
    for note in report.notes:
        typer.echo(note)
    linter = report.seqleak
    if not linter["called"]:
        typer.echo(f"seqleak was not called: {linter['why']}")
        return
    table = Table("check", "verdict", "value", "why", title=f"seqleak {linter['version']}: {linter['verdict']}")
    for name, own in linter["checks"].items():
        value = own["value"]
        table.add_row(name, own["status"], f"{value:.3f}" if isinstance(value, float) else "", own["why"] or "")
    console.print(table)


def shortcut_table(title: str, shortcuts: Any) -> Any:
    """Areas under the ROC curve, with their intervals."""
    from rich.table import Table

    table = Table("property", "tells", "AUROC", "95 % interval", "n", title=title)
    for own in shortcuts:
        interval = "none" if own.low is None else f"{own.low:.3f} to {own.high:.3f}"
        table.add_row(own.property, own.of, f"{own.value:.3f}", interval, f"{own.n:,}")
    return table
