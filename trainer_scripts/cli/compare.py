"""`dart-eval compare`: models on the same rows."""

from pathlib import Path
from typing import Annotated

import typer

from trainer_scripts.messages import result, say


def compare(
    records: Annotated[list[Path], typer.Argument(help="records, or folders with records in or below them")],
    blocks: Annotated[
        str | None, typer.Option(help="rows that are alike: 1Mb, chromosomes, or a column; default: as recorded")
    ] = None,
    output: Annotated[Path | None, typer.Option(help="TSV of all metrics of all pairs")] = None,
    figure: Annotated[Path | None, typer.Option(help="forest plot of the differences: .png, .svg or .pdf")] = None,
    per_motif: Annotated[
        Path | None, typer.Option(help="TSV of the differences motif by motif, where the records are of task 2")
    ] = None,
) -> None:
    """Differences between models, row by row: intervals, tests, and what difference could have been found.

    Two records are compared with one another. Of folders, all records below them: those of one task, setting, protocol
    and data in all pairs; those that differ in their seed only are one model, the mean over its seeds.

    dart-eval compare results/org__a results/org__b --output differences.tsv --figure differences.svg

    dart-eval compare results/org__a/main/variant_effects/zero_shot_likelihood results/org__b/main/variant_effects/...
    """
    from evaluation_dart import compare as compared
    from evaluation_dart.comparison import SCHEMA
    from evaluation_dart.report.analyses import check_table_place, write_table
    from evaluation_dart.report.figures import check_figure, comparison_figure
    from evaluation_dart.report.motifs import DIFFERENCES, motif_differences

    if figure is not None:
        check_figure(figure)
    if output is not None:
        check_table_place(output, SCHEMA.names)
    if per_motif is not None:
        check_table_place(per_motif, DIFFERENCES.names)
    found = compared(*records, blocks=blocks)
    if output is not None:
        write_table(output, found.table)
    if per_motif is not None:
        write_table(per_motif, motif_differences(found))
    if figure is not None:
        comparison_figure(figure, found)
    for line in found.left_out if len(found.pairs) == 1 else ():
        say(line)
    result({"differences": found.table.to_pylist(), "left_out": list(found.left_out)}, str(found))
