"""The commands `hyenadna neutral-variants` and `hyenadna calibrate`: calibrated LLRs (docs/variants.md)."""

from pathlib import Path
from typing import Annotated

import typer

from trainer_scripts.cli.options import Genome
from trainer_scripts.messages import result

Scores = Annotated[Path, typer.Option(help="table of hyenadna score: .parquet, .tsv or .tsv.gz")]
Written = Annotated[Path, typer.Option(help="table to write: .parquet or .tsv")]


def neutral_variants(
    sites: Annotated[Path, typer.Option(help="BED of bases taken for neutral, such as ancient repeats")],
    genome: Genome,
    output: Annotated[Path, typer.Option(help="file to write, for hyenadna score: .vcf")],
    each: Annotated[int | None, typer.Option(help="at most this many bases of each five-base context", min=1)] = None,
    seed: Annotated[int, typer.Option(help="of which bases these are")] = 0,
) -> None:
    """List every SNV in neutral intervals; hyenadna calibrate uses their scores.

    hyenadna neutral-variants --sites repeats.bed --genome hg38.fa --each 100 --output neutral.vcf
    """
    from evaluation_dart.tools.calibration import neutral_variants as listed

    summary = listed(sites, genome, output=output, each=each, seed=seed)
    result(summary, f"{output}: {summary['rows']} bases")


def calibrate(
    scores: Scores,
    neutral: Annotated[Path, typer.Option(help="table of neutral variants' scores, by the same recipe")],
    genome: Genome,
    output: Written,
    fewest: Annotated[int, typer.Option(help="neutral variants that a context needs to be calibrated")] = 10,
) -> None:
    """Subtract from each score the mean score of neutral variants in the same five-base context.

    hyenadna calibrate --scores scores.parquet --neutral neutral.parquet --genome hg38.fa --output calibrated.parquet
    """
    from evaluation_dart.tools.calibration import calibrate as calibrated

    summary = calibrated(scores, neutral, genome, output=output, fewest=fewest)
    result(summary, f"{output}: {summary['rows']} variants")
