"""The files that the original makes on the way to its rows, step by step: elements, windows, motifs and backgrounds.

Every function writes a file and returns what is in it; of tasks 3 and 4 also what was left out, by reason.
"""

import os
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np
from datasets import IterableDataset

from datasets_dart.cell_type_elements import WINDOW, write_elements
from datasets_dart.chromatin_activity import COUNTED
from datasets_dart.chromatin_activity import WINDOW as ACTIVITY_WINDOW
from datasets_dart.counts import CountMatrix, count_fragments, count_reads, parse_windows, read_counts, write_counts
from datasets_dart.differential import (
    TOP,
    Differential,
    differential_accessibility,
    is_gained,
    read_differential,
    sole_gain,
    top_elements,
    write_differential,
)
from datasets_dart.errors import InputError
from datasets_dart.files import input_file, write_lines
from datasets_dart.formats.bed import CHUNK_ROWS, Windows, read_narrowpeak
from datasets_dart.formats.element_tables import (
    read_rows,
    read_windows,
    table_layout,
    write_activity_windows,
    write_windows,
)
from datasets_dart.formats.fasta import open_genome
from datasets_dart.formats.meme import read_meme
from datasets_dart.gc_matching import STRIDE, gc_matched_negatives
from datasets_dart.motif_footprinting import backgrounds_from_elements, original_key
from datasets_dart.peaks import consensus_windows, on_contigs, summit_windows
from datasets_dart.progress import counted
from datasets_dart.regulatory_elements import PROCESSED_HEADER, read_elements
from datasets_dart.regulatory_elements import WINDOW as ELEMENT_WINDOW

ALIGNMENTS = (".bam", ".sam", ".cram")
File = str | os.PathLike[str]


class Written(NamedTuple):
    """A file that was made."""

    path: File
    rows: int
    left_out: Counter[str]  # by reason


class Selection(NamedTuple):
    """Files of the elements that are specific to a cell line."""

    files: list[Written]
    gained: dict[str, tuple[int, int]]  # of each cell line: elements that it gained, and those that no other did


def write_elements_table(elements: File, output: File) -> int:
    """Task 1: a BED's windows and strands as the original's table, which `elements=` takes too; returns the rows.

    Raises ValueError naming file, line and element that is longer than the window, or whose window starts before its
    contig; the original can read neither.
    """
    path = input_file(elements)
    total = sum(len(lines) for _, (_, lines) in read_elements(path, CHUNK_ROWS))

    def table() -> Iterator[str]:
        yield PROCESSED_HEADER
        for _, (chunk, lines) in read_elements(path, CHUNK_ROWS, total=total):
            columns = zip(*(column.tolist() for column in chunk), lines.tolist(), strict=True)
            for _, chrom, start, end, first, reverse, line in columns:
                last = first + ELEMENT_WINDOW
                if not 0 <= first <= start < end <= last:
                    where = f"{path}:{line}: {chrom}:{start}-{end}"
                    raise InputError(f"{where} has no window of {ELEMENT_WINDOW} bp on its contig")
                yield "\t".join(map(str, (chrom, first, last, start, end, start - first, end - first, reverse)))

    return write_lines(output, table()) - 1


def write_consensus(motifs: File, output: File, protocol: str = "fixed") -> int:
    """Task 2: a table of motif and consensus; returns the number of motifs."""
    found = read_meme(input_file(motifs), protocol)
    return write_lines(output, (f"{motif.name}\t{motif.consensus}" for motif in found))


def write_backgrounds(genome: File, elements: File, output: File, protocol: str = "fixed") -> int:
    """Task 2: controls of 100 elements, one sequence a line, which `backgrounds=` takes; returns their number."""
    chosen = backgrounds_from_elements(open_genome(genome), elements, protocol)["test"]
    return write_lines(output, (background.letters.tobytes().decode() for background in chosen))


def write_motif_table(rows: Iterable[IterableDataset], output: File) -> int:
    """Task 2: key and sequence of every row, the original's table, which `processed=` takes; returns the rows."""
    return write_lines(output, (f"{original_key(row)}\t{row['sequence']}" for split in rows for row in split))


def write_consensus_windows(
    peaks: Mapping[str, File],
    genome: File,
    output: File,
    blacklist: File | None = None,
    width: int = WINDOW,
    protocol: str = "fixed",
) -> Written:
    """Task 3, step 1: disjoint windows on the summits of all cell lines' peaks, the best q-value first.

    peaks: narrowPeak file of each cell line. blacklist: BED of regions to keep out of, in protocol="fixed".
    """
    contigs = open_genome(genome).contigs
    sets = [read_narrowpeak(input_file(path), contigs) for path in peaks.values()]
    excluded = read_windows(input_file(blacklist), contigs) if blacklist else None
    windows, left_out = consensus_windows(sets, protocol, width, contigs, excluded)
    write_windows(output, windows)
    return Written(output, len(windows.start), left_out)


def write_count_matrix(
    reads: Mapping[str, File],
    windows: File,
    output: File,
    genome: File | None = None,
    num_proc: int = 1,
    protocol: str = "fixed",
) -> Written:
    """Task 3, steps 2 and 3: reads (protocol="paper") or fragments ("fixed") in each window, a column a sample.

    reads: BAM, SAM or CRAM, or BED of fragments, of each sample. genome: whose contigs the alignments must have.
    """
    where = read_windows(input_file(windows))
    contigs = open_genome(genome).contigs if genome else {}
    count = partial(count_sample, windows=where, protocol=protocol, contigs=contigs)
    with ProcessPoolExecutor(min(num_proc, len(reads))) as pool:
        columns = list(counted(pool.map(count, map(str, reads.values())), "counting", "samples", len(reads)))
    write_counts(output, CountMatrix(where, list(reads), np.stack(columns, axis=1)))
    return Written(output, len(where.start), Counter())


def count_sample(path: str, windows: Windows, protocol: str, contigs: Mapping[str, int]) -> np.ndarray:
    """(n,) int64: alignments or fragments of a file that overlap each window."""
    if path.endswith(ALIGNMENTS):
        return count_reads(path, windows, protocol, contigs)
    return count_fragments(path, windows)


def write_differential_elements(
    tables: Sequence[Path], output: Path, top: int = TOP, num_proc: int | None = None, protocol: str = "fixed"
) -> Selection:
    """Task 3, steps 4 to 7: DESeq2's model of each cell line against the others, and the elements of only one."""
    matrix = read_counts(tables)
    results = {}
    cells = sorted(set(matrix.cells()))
    for cell in counted(cells, "DESeq2", "cell lines", len(cells)):
        results[cell] = differential_accessibility(matrix, cell, num_proc)
        write_differential(output / f"{cell}.csv", matrix.windows, results[cell])
    return write_selection(output, matrix.windows, results, top, protocol)


def write_selected_elements(
    tables: Mapping[str, File], output: Path, top: int = TOP, protocol: str = "fixed"
) -> Selection:
    """Task 3, steps 5 to 7 from DESeq2 results of each cell line that were made elsewhere."""
    results: dict[str, Differential] = {}
    peaks: list[str] = []
    for cell, path in tables.items():
        names, results[cell] = read_differential(path)
        if peaks and names != peaks:
            raise InputError(f"{path}: not the same elements in the same order as in the first table")
        peaks = names
    return write_selection(output, parse_windows(input_file(path), peaks), results, top, protocol)


def write_selection(
    output: Path, windows: Windows, results: dict[str, Differential], top: int, protocol: str
) -> Selection:
    """elements.bed, the elements that only one cell line gained, and top.bed, its zero-shot subset, in a folder."""
    names = np.array([*results, ""], dtype=object)
    sole = sole_gain(results)
    gained = {
        cell: (int(is_gained(result).sum()), int((sole == code).sum()))
        for code, (cell, result) in enumerate(results.items())
    }
    kept = write_elements(output / "elements.bed", windows, names[sole])
    left_out = Counter({"belong to no cell line or to several": len(sole) - kept})
    chosen = write_elements(output / "top.bed", windows, names[top_elements(results, protocol, top)])
    written = [Written(output / "elements.bed", kept, left_out), Written(output / "top.bed", chosen, Counter())]
    return Selection(written, gained)


def write_peak_windows(peaks: File, genome: File, output: File, width: int = ACTIVITY_WINDOW) -> Written:
    """Task 4: windows on the summits of a narrowPeak file, as the original's table."""
    contigs = open_genome(genome).contigs
    left_out: Counter[str] = Counter()
    kept = on_contigs(summit_windows(read_narrowpeak(input_file(peaks), contigs), width), contigs, left_out)
    write_activity_windows(output, kept, COUNTED)
    return Written(output, len(kept.start), left_out)


def write_negatives(
    peaks: File,
    genome: File,
    output: File,
    avoid: Sequence[File] = (),
    ratio: float = 1.0,
    width: int = ACTIVITY_WINDOW,
    stride: int = STRIDE,
    seed: int = 0,
) -> Written:
    """Task 4: background windows with the peaks' GC content, contig by contig, away from every peak.

    peaks: narrowPeak, BED or the original's table. avoid: further files to keep away from, such as a blacklist.
    """
    path, opened = input_file(peaks), open_genome(genome)
    chunks = [rows for _, rows in read_rows(path, table_layout(path), width, 1 << 16, contigs=opened.contigs)]
    chrom, start = np.concatenate([rows.chrom for rows in chunks]), np.concatenate([rows.start for rows in chunks])
    around = [read_windows(input_file(other), opened.contigs) for other in avoid]
    wanted = Windows(chrom, start, start + width)
    found, _, missed = gc_matched_negatives(opened, wanted, width, ratio, stride, seed=seed, avoid=around)
    write_activity_windows(output, found, COUNTED)
    return Written(output, len(found.start), missed)
