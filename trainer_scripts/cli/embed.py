"""The command `hyenadna embed`: vectors of the regions of a BED file (docs/embeddings.md).

Several processes:

    accelerate launch --num_processes 4 -m trainer_scripts.cli.hyenadna embed ...              on GPUs
    torchrun --standalone --nproc_per_node 2 -m trainer_scripts.cli.hyenadna embed ...         on CPU
"""

from pathlib import Path
from typing import Annotated, Literal

import typer

from trainer_scripts.cli.options import (
    BatchSize,
    Device,
    DtypeOption,
    Genome,
    Layer,
    Model,
    Overwrite,
    Part,
    Revision,
    Strand,
    TrustRemoteCode,
)
from trainer_scripts.messages import result


def embed(
    regions: Annotated[Path, typer.Option(help="BED: plain, gzip or bgzip")],
    genome: Genome,
    model: Model,
    output: Annotated[Path, typer.Option(help=".parquet: one vector a region; .zarr: one vector a base (extra: zarr)")],
    plot: Annotated[
        Path | None,
        typer.Option(help="picture of the vectors, coloured by the BED's names: .png, .svg or .pdf (extra: plot)"),
    ] = None,
    plot_method: Annotated[
        Literal["pca", "umap"], typer.Option(help="principal components, or UMAP (extra: umap)")
    ] = "pca",
    pooling: Annotated[
        Literal["mean", "max", "last"], typer.Option(help="over a region's tokens, for .parquet")
    ] = "mean",
    layer: Layer = -1,
    strand: Annotated[Strand, typer.Option(help="mean: of the vectors of both strands")] = "forward",
    chunk: Annotated[
        int | None, typer.Option(help="bases read at once; default: what the model reads, 32,768 at most", min=1)
    ] = None,
    stored_dtype: Annotated[Literal["float32", "float16"], typer.Option(help="of the vectors in the file")] = "float32",
    overwrite: Overwrite = False,
    batch_size: BatchSize = "auto",
    part: Part = None,
    device: Device = None,
    dtype: DtypeOption = "float32",
    revision: Revision = None,
    trust_remote_code: TrustRemoteCode = False,
) -> None:
    """Embed the regions of a BED file with a model, in the file's order.

    Beside the output OUTPUT.json says what was done, and with which commit of the model. A run that was killed goes on
    where it stopped when it is started again.

    hyenadna embed --regions regions.bed --genome hg38.fa --model my-model --output out.parquet --plot out.png
    """
    from evaluation_dart.tools.regions import embed_regions

    summary = embed_regions(
        regions,
        genome,
        model,
        output=output,
        plot=plot,
        plot_method=plot_method,
        pooling=pooling,
        layer=layer,
        strand=strand,
        chunk=chunk,
        stored_dtype=stored_dtype,
        batch_size=batch_size,
        part=part,
        revision=revision,
        device=device,
        dtype=dtype,
        trust_remote_code=trust_remote_code,
        overwrite=overwrite,
    )
    result(summary, f"{output}: {summary['regions']:,} regions, {summary['channels']} channels")
