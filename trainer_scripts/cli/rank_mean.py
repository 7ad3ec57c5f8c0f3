"""The command `hyenadna rank-mean`: the mean of the ranks by several scores (docs/variants.md)."""

from pathlib import Path
from typing import Annotated

import typer

from trainer_scripts.messages import result


def rank_mean(
    scores: Annotated[list[Path], typer.Option(help="tables of hyenadna score, of the same variants; twice or more")],
    output: Annotated[Path, typer.Option(help="table to write: .parquet or .tsv")],
    turn: Annotated[
        list[str] | None, typer.Option(help="how to read each score: as-it-is, minus or magnitude; default: as-it-is")
    ] = None,
    by: Annotated[str | None, typer.Option(help="column of the first table, within which variants are ranked")] = None,
) -> None:
    """Rank variants by several scores, and take the mean.

    hyenadna rank-mean --scores llr.parquet --turn minus --scores l2.parquet --turn as-it-is --output ranks.parquet
    """
    from evaluation_dart.tools.rank_mean import rank_mean as ranked

    summary = ranked(scores, turn=turn or (), by=by, output=output)
    result(summary, f"{output}: {summary['rows']} variants")
