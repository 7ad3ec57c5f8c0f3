"""Commands that make the element files of tasks 3 and 4 from peaks and reads, step by step as the original does."""

import os
from collections import Counter
from collections.abc import Mapping
from concurrent.futures import ProcessPoolExecutor
from enum import StrEnum
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from datasets_dart.errors import InputError

if TYPE_CHECKING:
    import numpy as np

    from datasets_dart.differential import Differential
    from datasets_dart.peaks import Windows

app = typer.Typer(no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False)

ALIGNMENTS = (".bam", ".sam", ".cram")


class Protocol(StrEnum):
    fixed = "fixed"
    paper = "paper"


Genome = Annotated[Path, typer.Option(help="FASTA: plain, gzip or bgzip")]
ProtocolOption = Annotated[Protocol, typer.Option(help="the sound one, or the original with its defects")]
Processes = Annotated[int, typer.Option(help="processes", min=1)]


@app.callback()
def prepare_peaks() -> None:
    """Element files of tasks 3 and 4 from narrowPeak, BAM and FASTA files."""


@app.command()
def consensus(
    peaks: Annotated[list[str], typer.Argument(help="narrowPeak of each cell line: CELL=FILE, or FILE named after it")],
    genome: Genome,
    output: Annotated[Path, typer.Option(help="table of windows: chrom, start, end")],
    blacklist: Annotated[Path | None, typer.Option(help="BED of regions to keep out of (protocol fixed)")] = None,
    width: Annotated[int, typer.Option(help="bp of a window", min=1)] = 500,
    protocol: ProtocolOption = Protocol.fixed,
) -> None:
    """Task 3, step 1: disjoint windows on the summits of all cell lines' peaks, the best q-value first.

    dart-eval prepare-peaks consensus GM12878=ENCFF748UZH.bed K562=ENCFF333TAT.bed --genome hg38.fa --output windows.tsv
    """
    from datasets_dart.files import input_file
    from datasets_dart.formats.element_tables import read_windows, write_windows
    from datasets_dart.formats.fasta import open_genome
    from datasets_dart.peaks import consensus_windows, read_narrowpeak

    contigs = open_genome(genome).contigs
    sets = [read_narrowpeak(input_file(path), contigs) for path in named(peaks).values()]
    excluded = read_windows(input_file(blacklist)) if blacklist else None
    windows, left_out = consensus_windows(sets, protocol.value, width, contigs, excluded)
    write_windows(output, windows)
    report(output, len(windows.start), left_out)


@app.command()
def counts(
    reads: Annotated[list[str], typer.Argument(help="BAM, or BED of fragments, of each sample: CELL_NAME=FILE")],
    windows: Annotated[Path, typer.Option(help="table of windows, of `consensus`")],
    output: Annotated[Path, typer.Option(help="CSV: peak, then a column a sample")],
    genome: Annotated[Path | None, typer.Option(help="FASTA whose contigs the BAMs must have")] = None,
    num_proc: Processes = 1,
    protocol: ProtocolOption = Protocol.fixed,
) -> None:
    """Task 3, steps 2 and 3: reads (protocol paper) or fragments (fixed) in each window, a column a sample.

    dart-eval prepare-peaks counts GM12878_1=a.bam GM12878_2=b.bam --windows windows.tsv --output counts.csv
    """
    import numpy as np
    from tqdm import tqdm

    from datasets_dart.counts import CountMatrix, write_counts
    from datasets_dart.files import input_file
    from datasets_dart.formats.element_tables import read_windows
    from datasets_dart.formats.fasta import open_genome

    samples = named(reads)
    where = read_windows(input_file(windows))
    contigs = open_genome(genome).contigs if genome else {}
    count = partial(count_sample, windows=where, protocol=protocol.value, contigs=contigs)
    with ProcessPoolExecutor(min(num_proc, len(samples))) as pool:
        columns = list(tqdm(pool.map(count, samples.values()), "samples", len(samples)))
    write_counts(output, CountMatrix(where, list(samples), np.stack(columns, axis=1)))
    report(output, len(where.start), Counter())


def count_sample(path: str, windows: "Windows", protocol: str, contigs: Mapping[str, int]) -> "np.ndarray":
    from datasets_dart.counts import count_fragments, count_reads

    if path.endswith(ALIGNMENTS):
        return count_reads(path, windows, protocol, contigs)
    return count_fragments(path, windows)


@app.command()
def differential(
    tables: Annotated[list[Path], typer.Argument(help="count tables, of `counts`")],
    output: Annotated[Path, typer.Option(help="folder: {cell line}.csv, elements.bed, top.bed")],
    top: Annotated[int, typer.Option(help="elements of each cell line in the zero-shot subset", min=1)] = 5000,
    num_proc: Annotated[int | None, typer.Option(help="processes, by default one a core", min=1)] = None,
    protocol: ProtocolOption = Protocol.fixed,
) -> None:
    """Task 3, steps 4 to 7: DESeq2's model of each cell line against the others, and the elements of one line alone.

    dart-eval prepare-peaks differential counts.csv --output differential
    """
    from tqdm import tqdm

    from datasets_dart.counts import read_counts
    from datasets_dart.differential import differential_accessibility, write_differential

    matrix = read_counts(tables)
    results = {}
    for cell in tqdm(sorted(set(matrix.cells())), "cell lines"):
        results[cell] = differential_accessibility(matrix, cell, num_proc)
        write_differential(output / f"{cell}.csv", matrix.windows, results[cell])
    write_selection(output, matrix.windows, results, top, protocol.value)


@app.command()
def select(
    tables: Annotated[list[str], typer.Argument(help="DESeq2 results of each cell line: CELL=FILE, or FILE named so")],
    output: Annotated[Path, typer.Option(help="folder: elements.bed, top.bed")],
    top: Annotated[int, typer.Option(help="elements of each cell line in the zero-shot subset", min=1)] = 5000,
    protocol: ProtocolOption = Protocol.fixed,
) -> None:
    """Task 3, steps 5 to 7 from DESeq2 results made elsewhere, such as the original's diff_acc_peaks.csv.

    dart-eval prepare-peaks select GM12878=GM12878/diff_acc_peaks.csv K562=K562/diff_acc_peaks.csv --output elements
    """
    from datasets_dart.counts import parse_windows
    from datasets_dart.differential import read_differential
    from datasets_dart.files import input_file

    results: dict[str, Differential] = {}
    peaks: list[str] = []
    for cell, path in named(tables).items():
        names, results[cell] = read_differential(path)
        if peaks and names != peaks:
            raise InputError(f"{path}: not the same elements in the same order as in the first table")
        peaks = names
    write_selection(output, parse_windows(input_file(path), peaks), results, top, protocol.value)


def write_selection(
    output: Path, windows: "Windows", results: dict[str, "Differential"], top: int, protocol: str
) -> None:
    import numpy as np

    from datasets_dart.cell_type_elements import write_elements
    from datasets_dart.differential import is_gained, sole_gain, top_elements

    names = np.array([*results, ""], dtype=object)
    alone = sole_gain(results)
    gained = {cell: int(is_gained(result).sum()) for cell, result in results.items()}
    for code, cell in enumerate(results):
        typer.echo(f"{cell}: {gained[cell]} elements gained, {int((alone == code).sum())} of them alone", err=True)
    kept = write_elements(output / "elements.bed", windows, names[alone])
    report(output / "elements.bed", kept, Counter({"belong to no cell line or to several": len(alone) - kept}))
    report(output / "top.bed", write_elements(output / "top.bed", windows, names[top_elements(results, protocol, top)]))


@app.command()
def windows(
    peaks: Annotated[Path, typer.Argument(help="narrowPeak")],
    genome: Genome,
    output: Annotated[Path, typer.Option(help="the original's table of task 4")],
    width: Annotated[int, typer.Option(help="bp of a window", min=1000)] = 2114,
) -> None:
    """Task 4: windows on the summits. The builder takes narrowPeak files too; this writes the original's table of one.

    dart-eval prepare-peaks windows GM12878.narrowPeak --genome hg38.fa --output GM12878_peaks.bed
    """
    from datasets_dart.chromatin_activity import COUNTED
    from datasets_dart.files import input_file
    from datasets_dart.formats.element_tables import write_activity_windows
    from datasets_dart.formats.fasta import open_genome
    from datasets_dart.peaks import on_contigs, read_narrowpeak, summit_windows

    contigs = open_genome(genome).contigs
    left_out: Counter[str] = Counter()
    kept = on_contigs(summit_windows(read_narrowpeak(input_file(peaks), contigs), width), contigs, left_out)
    write_activity_windows(output, kept, COUNTED)
    report(output, len(kept.start), left_out)


@app.command()
def negatives(
    peaks: Annotated[Path, typer.Argument(help="narrowPeak, BED or the original's table of task 4")],
    genome: Genome,
    output: Annotated[Path, typer.Option(help="the original's table of task 4, of background windows")],
    avoid: Annotated[list[Path] | None, typer.Option(help="further files to keep away from: a blacklist")] = None,
    ratio: Annotated[float, typer.Option(help="background windows a peak", min=0.01)] = 1.0,
    width: Annotated[int, typer.Option(help="bp of a window", min=1000)] = 2114,
    stride: Annotated[int, typer.Option(help="bp between candidates", min=1)] = 1000,
    seed: Annotated[int, typer.Option(help="of the draws")] = 0,
) -> None:
    """Task 4: background windows with the peaks' GC content, contig by contig, away from every peak.

    dart-eval prepare-peaks negatives GM12878_peaks.bed --genome hg38.fa --avoid blacklist.bed --output nonpeaks.bed
    """
    import numpy as np

    from datasets_dart.chromatin_activity import COUNTED
    from datasets_dart.files import input_file
    from datasets_dart.formats.element_tables import read_rows, read_windows, table_layout, write_activity_windows
    from datasets_dart.formats.fasta import open_genome
    from datasets_dart.gc_matching import gc_matched_negatives
    from datasets_dart.peaks import Windows

    path = input_file(peaks)
    chunks = [rows for _, rows in read_rows(path, table_layout(path), width, 1 << 16)]
    chrom, start = (np.concatenate([getattr(rows, name) for rows in chunks]) for name in ("chrom", "start"))
    around = [read_windows(input_file(other)) for other in avoid or []]
    found, missed = gc_matched_negatives(
        open_genome(genome), Windows(chrom, start, start + width), width, ratio, stride, seed=seed, avoid=around
    )
    write_activity_windows(output, found, COUNTED)
    report(output, len(found.start), missed)


def named(files: list[str]) -> dict[str, str]:
    """Files by name, from NAME=FILE, or FILE whose name up to the first dot is NAME."""
    found: dict[str, str] = {}
    for text in files:
        name, mark, path = text.partition("=")
        if not mark or os.path.exists(text):
            name, path = os.path.basename(text).partition(".")[0], text
        if name in found:
            raise InputError(f"{found[name]} and {path} are both named {name!r}; write NAME=FILE")
        found[name] = path
    return found


def report(output: Path, rows: int, left_out: Counter[str] | None = None) -> None:
    typer.echo(f"{output}: {rows} rows", err=True)
    for reason, count in (left_out or Counter()).items():
        if count:
            typer.echo(f"  {count} left out: {reason}", err=True)
