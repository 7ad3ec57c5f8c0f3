"""The command `hyenadna dependencies`: nucleotide dependency maps (docs/mutagenesis.md)."""

from pathlib import Path
from typing import Annotated, Literal

import typer

from datasets_dart.errors import InputError
from trainer_scripts.cli.options import (
    BatchSize,
    Device,
    DtypeOption,
    Genome,
    Model,
    Overwrite,
    Revision,
    TrustRemoteCode,
)
from trainer_scripts.messages import result


def dependencies(
    genome: Genome,
    model: Model,
    output: Annotated[Path | None, typer.Option(help="table of pairs: .parquet, .tsv[.gz] or .bed[.gz]")] = None,
    figure: Annotated[Path | None, typer.Option(help="heat map: .png, .svg or .pdf")] = None,
    region: Annotated[
        str | None, typer.Option(help="chr20:1,001-1,200: from 1, both ends in it; default: the FASTA's one sequence")
    ] = None,
    window: Annotated[
        int | None,
        typer.Option(help="bases that the model reads, the region in the middle; default: the region", min=2),
    ] = None,
    measure: Annotated[
        Literal["log-odds", "log-probability"] | None,
        typer.Option(help="what is compared; default: log-odds of masked models, log-probability of causal ones"),
    ] = None,
    combine: Annotated[
        Literal["mean", "max", "directed"] | None,
        typer.Option(help="both directions of a pair; default: directed of masked models, mean of causal ones"),
    ] = None,
    strands: Annotated[
        Literal["both", "forward"] | None,
        typer.Option(help="default: forward of masked models, both of causal ones"),
    ] = None,
    batch_size: BatchSize = "auto",
    device: Device = None,
    dtype: DtypeOption = "float32",
    revision: Revision = None,
    trust_remote_code: TrustRemoteCode = False,
    overwrite: Overwrite = False,
) -> None:
    """Map how a substitution at each base of a region changes what a model predicts at every other base.

    hyenadna dependencies --genome hg38.fa --region chr20:1,001-1,200 --model my-model --output map.tsv --figure map.png
    """
    from evaluation_dart.tools.dependencies import dependency_map

    if output is None and figure is None:
        raise InputError("a map needs --output, --figure, or both")
    summary = dependency_map(
        genome,
        model,
        region=region,
        output=output,
        figure=figure,
        window=window,
        measure=measure,
        combine=combine,
        strands=strands,
        batch_size=batch_size,
        revision=revision,
        device=device,
        dtype=dtype,
        trust_remote_code=trust_remote_code,
        overwrite=overwrite,
    )
    result(summary, f"{output or figure}: {summary['region']}, {summary['measure']}, strands {summary['strands']}")
