"""The command `hyenadna dataset`: your own regions, peaks or signal as rows to train on (docs/own_data.md)."""

from pathlib import Path
from typing import Annotated, Literal

import typer

from trainer_scripts.cli.options import NewFolder, Seed
from trainer_scripts.messages import result, say


def dataset(
    output: NewFolder,
    genome: Annotated[Path | None, typer.Option(help="FASTA: plain, gzip or bgzip")] = None,
    regions: Annotated[Path | None, typer.Option(help="BED with labels; with --signal, the regions to take")] = None,
    label_column: Annotated[int, typer.Option(help="of --regions, counted from 1", min=4)] = 4,
    regression: Annotated[bool, typer.Option("--regression", help="the labels are numbers to predict")] = False,
    peaks: Annotated[Path | None, typer.Option(help="narrowPeak: windows on summits against negatives")] = None,
    positives: Annotated[Path | None, typer.Option(help="FASTA of sequences against shuffles; no --genome")] = None,
    signal: Annotated[Path | None, typer.Option(help="bigWig: log(1 + sum) over windows")] = None,
    window: Annotated[int, typer.Option(help="bases of a row, centred (not for --positives)", min=2)] = 512,
    negatives: Annotated[
        Literal["gc_matched", "shuffled"],
        typer.Option(help="for --peaks: elsewhere in the genome with the same GC; or dinucleotide shuffles"),
    ] = "gc_matched",
    ratio: Annotated[int, typer.Option(help="negatives for each positive", min=1)] = 1,
    avoid: Annotated[list[Path] | None, typer.Option(help="BED that no window may touch: a blacklist")] = None,
    splits: Annotated[
        str, typer.Option(help='"paper", "random", or BED of blocks named train, validation, test')
    ] = "paper",
    validation: Annotated[str | None, typer.Option(help="contigs to validate on: chr8,chr9; with --test")] = None,
    test: Annotated[str | None, typer.Option(help="contigs to test on; all others are trained on")] = None,
    limit: Annotated[int | None, typer.Option(help="take this many rows at random", min=3)] = None,
    seed: Seed = 0,
) -> None:
    """Make rows to train on from a BED file with labels, peaks, sequences, or a bigWig track.

    hyenadna dataset --peaks ctcf.narrowPeak --genome hg38.fa --avoid blacklist.bed --output ctcf

    hyenadna dataset --regions enhancers.bed --genome hg38.fa --validation chr8 --test chr9 --output enhancers

    hyenadna dataset --signal atac.bw --regions peaks.bed --genome hg38.fa --window 1024 --output atac
    """
    from evaluation_dart.tools.own_data import make_dataset, spelt

    about = make_dataset(
        output,
        genome=genome,
        regions=regions,
        label_column=label_column,
        regression=regression,
        peaks=peaks,
        positives=positives,
        signal=signal,
        window=window,
        negatives=negatives,
        ratio=ratio,
        avoid=avoid or [],
        splits=splits,
        validation=validation,
        test=test,
        limit=limit,
        seed=seed,
    )
    for reason, count in about["left_out"].items():
        say(f"left out: {count} {reason}")
    result(about, f"{output}: {', '.join(spelt(split, count) for split, count in about['rows'].items())}")
