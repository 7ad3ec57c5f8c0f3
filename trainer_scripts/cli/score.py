"""The command `hyenadna score`: what a model says of the variants of a VCF (docs/variants.md).

Several processes:

    accelerate launch --num_processes 4 -m trainer_scripts.cli.hyenadna score ...              on GPUs
    torchrun --standalone --nproc_per_node 2 -m trainer_scripts.cli.hyenadna score ...         on CPU
"""

from pathlib import Path
from typing import Annotated, Literal

import typer

from trainer_scripts.cli.options import (
    BatchSize,
    Device,
    DtypeOption,
    Genome,
    Label,
    Layer,
    Model,
    Overwrite,
    Part,
    Revision,
    Strand,
    TrustRemoteCode,
)
from trainer_scripts.messages import result
from trainer_scripts.options import COMPUTING


def score(
    variants: Annotated[Path, typer.Option(help="VCF: plain, gzip or bgzip; in any order")],
    genome: Genome,
    model: Model,
    output: Annotated[Path, typer.Option(help="file to write: .vcf.gz, .tsv, .tsv.gz or .parquet")],
    plot: Annotated[
        Path | None,
        typer.Option(help="picture of the scores, by class of variant: .png, .svg or .pdf (extra: plot)"),
    ] = None,
    recipe: Annotated[
        str | None,
        typer.Option(
            help="one of dart-eval ls; embedding-cosine, embedding-l2, embedding-l2-tokens; next-token-jsd, "
            "four-base-llr; or head, a fine-tuned model's; default: head where there is one, otherwise whole-alleles"
        ),
    ] = None,
    strand: Annotated[Strand | None, typer.Option(help="default: the recipe's")] = None,
    window: Annotated[int, typer.Option(help="bases that the model reads around a variant", min=2)] = 1024,
    label: Label = None,
    layer: Layer = -1,
    ref_mismatch: Annotated[
        Literal["skip", "fail", "swap"],
        typer.Option(help="where REF is not the genome's: no score, an error, or ALT in its place"),
    ] = "skip",
    name: Annotated[str, typer.Option(help="of the INFO keys in a VCF")] = "DNALM",
    overwrite: Overwrite = False,
    batch_size: BatchSize = "auto",
    part: Part = None,
    share: Annotated[
        str | None,
        typer.Option(
            help="such as 3/64: of the parts, the third of 64 equal shares only, for jobs with storage in common; then "
            "the same line without it makes the output",
            rich_help_panel=COMPUTING,
        ),
    ] = None,
    device: Device = None,
    dtype: DtypeOption = "float32",
    revision: Revision = None,
    trust_remote_code: TrustRemoteCode = False,
) -> None:
    """Score the variants of a VCF with a model: SNVs, insertions, deletions, several alleles in a record.

    The output is sorted and indexed. Beside it OUTPUT.json says what was done, and OUTPUT.ref_mismatches.tsv lists
    records whose REF is not the genome's. A run that was killed goes on where it stopped when it is started again.

    hyenadna score --variants in.vcf.gz --genome hg38.fa --model my-model --output out.vcf.gz --plot out.png
    """
    from evaluation_dart.tools.variants import score_variants

    summary = score_variants(
        variants,
        genome,
        model,
        output=output,
        plot=plot,
        recipe=recipe,
        strand=strand,
        window=window,
        ref_mismatch=ref_mismatch,
        name=name,
        layer=layer,
        label=label,
        batch_size=batch_size,
        part=part,
        revision=revision,
        device=device,
        dtype=dtype,
        trust_remote_code=trust_remote_code,
        overwrite=overwrite,
        share=share,
    )
    if "share" in summary:
        there = f"{summary['parts_there']:,} of {summary['parts']:,} parts are there"
        result(summary, f"share {summary['share']}: {summary['rows_done_now']:,} records scored now; {there}")
        return
    result(summary, f"{output}: {summary['alleles']:,} alleles, {summary['status']}")
