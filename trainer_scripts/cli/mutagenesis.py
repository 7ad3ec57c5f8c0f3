"""The command `hyenadna mutagenesis`: what every single substitution in a region does to a model's score
(docs/mutagenesis.md)."""

from pathlib import Path
from typing import Annotated

import typer

from trainer_scripts.cli.options import (
    BatchSize,
    Device,
    DtypeOption,
    Label,
    Model,
    Overwrite,
    Revision,
    TrustRemoteCode,
)
from trainer_scripts.messages import result


def mutagenesis(
    genome: Annotated[Path, typer.Option(help="FASTA of a genome, or of sequences to mutate whole")],
    model: Model,
    output: Annotated[Path, typer.Option(help="file to write: .parquet, .tsv[.gz] or .bed[.gz]")],
    regions: Annotated[Path | None, typer.Option(help="BED of regions to mutate")] = None,
    region: Annotated[str | None, typer.Option(help="one region, chr20:1,001-1,200: from 1, both ends in it")] = None,
    window: Annotated[
        int | None,
        typer.Option(help="bases that the model reads, the region in the middle; default: the region", min=2),
    ] = None,
    recipe: Annotated[
        str | None,
        typer.Option(help="one of dart-eval ls, or head; default: head where there is one, otherwise whole-alleles"),
    ] = None,
    strand: Annotated[
        str | None, typer.Option(help="forward or mean; default: the recipe's, for heads forward")
    ] = None,
    label: Label = None,
    logo: Annotated[Path | None, typer.Option(help="draw the regions, at most 20: .png or .svg")] = None,
    heat_map: Annotated[
        Path | None, typer.Option(help="draw every substitution in the regions, at most 20: .png, .svg or .pdf")
    ] = None,
    batch_size: BatchSize = "auto",
    device: Device = None,
    dtype: DtypeOption = "float32",
    revision: Revision = None,
    trust_remote_code: TrustRemoteCode = False,
    overwrite: Overwrite = False,
) -> None:
    """Score every single substitution in regions of a genome, or in whole sequences.

    One line a substitution; OUTPUT.json says what was done. Positions that are none of A, C, G, T, or that nothing
    predicts (the first base of a window), are left out.

    hyenadna mutagenesis --genome hg38.fa --region chr20:1,001-1,200 --model my-model --output out.tsv --logo out.png
    """
    from evaluation_dart.tools.mutagenesis import mutagenesis as mutate

    summary = mutate(
        genome,
        model,
        regions=regions,
        region=region,
        output=output,
        logo=logo,
        heat_map=heat_map,
        window=window,
        recipe=recipe,
        strand=strand,
        label=label,
        batch_size=batch_size,
        revision=revision,
        device=device,
        dtype=dtype,
        trust_remote_code=trust_remote_code,
        overwrite=overwrite,
    )
    number, missing = summary["regions"] if region is None else 1, summary["positions_left_out"]
    without = f"; {missing} positions are none of A, C, G, T" if missing else ""
    if unpredicted := summary.get("positions_not_predicted"):
        without += f"; nothing predicts {unpredicted} positions, the first of a window"
    result(summary, f"{output}: {summary['rows']} substitutions in {number} regions{without}")
