"""Reads or fragments in each window: one column of the count matrix a sample (spec section 4, steps 2 and 3)."""

import os
import re
from collections.abc import Iterator, Mapping, Sequence
from itertools import groupby
from operator import attrgetter
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pysam

from datasets_dart.contigs import check_same_build, find_contig, join_contigs, rows_by_contig
from datasets_dart.errors import InputError
from datasets_dart.files import batched, input_file, write_lines
from datasets_dart.formats.bed import Windows, count_overlaps, read_intervals
from datasets_dart.formats.tables import read_header, read_table

BATCH = 1_000_000  # alignments held at once
_NAME = re.compile(r"(.+):(-?\d+)-(\d+)")

Batch = tuple[str, np.ndarray, np.ndarray]  # contig, starts, ends


class CountMatrix(NamedTuple):
    """Counts of samples in windows; a sample is named {cell line}_{file}, as in the original."""

    windows: Windows
    samples: list[str]
    counts: np.ndarray  # (n windows, samples) int64

    def cells(self) -> list[str]:
        """The cell line of each sample: its name up to the first underscore."""
        return [sample.partition("_")[0] for sample in self.samples]


def count_reads(
    path: str | os.PathLike[str], windows: Windows, protocol: str, contigs: Mapping[str, int] | None = None
) -> np.ndarray:
    """(n,) int64: how many alignments of a BAM, SAM or CRAM file overlap each window. Needs no index, no order.

    protocol="paper": every mapped record counts: both mates, duplicates and secondary alignments too.
    protocol="fixed": a properly paired fragment counts once, from one mate's end to the other's, and any other read
    once; secondary, supplementary, duplicate and QC-failed records do not.

    contigs: the genome's, by name and length in bp. Raises ValueError naming the file where its header has another
    length for one that the windows are on (another build), or has none of these; FileNotFoundError.
    """
    path = input_file(path)
    try:
        with pysam.AlignmentFile(str(path), check_sq=False) as alignments:
            lengths = dict(zip(alignments.references, alignments.lengths, strict=True))
            names = join_contigs(path, lengths, set(windows.chrom.tolist())).names
            check_same_build(path, {name: lengths[name] for name in names}, contigs or {})
            return sum_overlaps(windows, _spans(alignments, protocol, names))
    except (OSError, ValueError) as error:
        raise InputError(str(error) if str(path) in str(error) else f"{path}: {error}") from None


def count_fragments(path: str | os.PathLike[str], windows: Windows) -> np.ndarray:
    """(n,) int64: how many fragments of a BED-like file (contig, start, end, ...) overlap each window.

    Every row counts once, whatever is in further columns. Raises ValueError naming file, line and value; naming the
    file where it has none of the windows' contigs.
    """
    path = input_file(path)
    seen: set[str] = set()
    own = set(windows.chrom.tolist())

    def spans() -> Iterator[Batch]:
        for _, chunk in read_intervals(path, rows=BATCH):
            seen.update(chunk.chrom.tolist())
            for name in set(chunk.chrom.tolist()):
                rows = chunk.chrom == name
                yield find_contig(name, own) or name, chunk.start[rows], chunk.end[rows]

    counts = sum_overlaps(windows, spans())
    join_contigs(path, seen, own)
    return counts


def sum_overlaps(windows: Windows, batches: Iterator[Batch]) -> np.ndarray:
    """(n,) int64: overlaps of each window with all the batches' intervals."""
    counts = np.zeros(len(windows.start), dtype=np.int64)
    rows = rows_by_contig(windows.chrom)
    for name, start, end in batches:
        if name in rows:
            here = rows[name]
            counts[here] += count_overlaps(windows.start[here], windows.end[here], start, end)
    return counts


def _spans(alignments: pysam.AlignmentFile, protocol: str, names: Mapping[str, str]) -> Iterator[Batch]:
    for name, reads in groupby(alignments.fetch(until_eof=True), key=attrgetter("reference_name")):
        spans = (span for read in reads if (span := _span(read, protocol)))
        for batch in batched(spans, BATCH):
            start, end = np.array(batch).T
            yield names.get(name, name), start, end


def _span(read: pysam.AlignedSegment, protocol: str) -> tuple[int, int] | None:
    """The interval that an alignment counts with; None where it does not count, or has no base."""
    first, last = read.reference_start, read.reference_end
    if read.is_unmapped:
        return None
    if protocol != "paper":
        if read.is_secondary or read.is_supplementary or read.is_duplicate or read.is_qcfail:
            return None
        if read.is_proper_pair and read.template_length:  # of two mates the one on the left counts for both
            last = first + read.template_length if read.template_length > 0 else None
    return None if last is None else (first, last)


def read_counts(paths: Sequence[str | os.PathLike[str]]) -> CountMatrix:
    """Count matrix from one or more tables: `peak` (chrom:start-end), then a column a sample; commas or tabs.

    Columns are joined by the peak's name, whatever the files' order and names, and samples belong to cell lines by
    their own name. (The original takes every three consecutive columns of the files that a pattern matches.)

    Raises ValueError naming file, line and value: another header, a peak that is in one file only or twice, a sample
    that is there twice, a count that is no whole number >= 0.
    """
    if not paths:
        raise InputError("no count tables")
    samples: list[str] = []
    columns: list[np.ndarray] = []
    first: list[str] = []  # peaks, in the order of the first file
    for path in map(input_file, paths):
        names, peaks, counts = _read_counts(path)
        if repeated := set(names) & set(samples):
            raise InputError(f"{path}:1: sample {min(repeated)!r} appears a second time")
        first = first or peaks
        if odd := set(first) ^ set(peaks):
            raise InputError(f"{path}: peak {min(odd)} is in only one of this file and {paths[0]}")
        row_of = {peak: row for row, peak in enumerate(peaks)}
        samples += names
        columns.append(counts[[row_of[peak] for peak in first]])
    return CountMatrix(parse_windows(input_file(paths[0]), first), samples, np.concatenate(columns, axis=1))


def _read_counts(path: Path) -> tuple[list[str], list[str], np.ndarray]:
    """Samples, peaks, and counts (peaks, samples) of one table."""
    first, *samples = read_header(path).names
    if first not in ("peak", "") or not samples:
        raise InputError(f"{path}:1: not a count table (peak, then samples): {', '.join([first, *samples])[:80]!r}")
    peaks: dict[str, int] = {}
    counts = []
    for line, row in read_table(path):
        peak, *values = row.values()
        if peak in peaks:
            raise InputError(f"{path}:{line}: peak {peak} appears a second time, first in line {peaks[peak]}")
        if not all(value.isdecimal() for value in values):
            text = ",".join(row.values())
            raise InputError(f"{path}:{line}: not a peak and {len(samples)} counts (whole numbers >= 0): {text[:80]!r}")
        peaks[peak] = line
        counts.append([int(value) for value in values])
    if not peaks:
        raise InputError(f"{path}: has no peaks")
    return samples, list(peaks), np.array(counts, dtype=np.int64)


def parse_windows(path: Path, names: list[str]) -> Windows:
    """Windows from names chrom:start-end, row 0 in line 2. Raises ValueError naming file, line and value."""
    matches = [_NAME.fullmatch(name) for name in names]
    if None in matches:
        row = matches.index(None)
        raise InputError(f"{path}:{row + 2}: {names[row]!r} is not chrom:start-end")
    chrom, start, end = zip(*(match.groups() for match in matches if match), strict=True)
    return Windows(np.array(chrom, dtype=object), np.array(start, dtype=np.int64), np.array(end, dtype=np.int64))


def write_counts(path: str | os.PathLike[str], matrix: CountMatrix) -> None:
    """The table that `read_counts` reads, comma-separated, as the original's."""
    rows = zip(matrix.windows.names(), matrix.counts.tolist(), strict=True)
    lines = (",".join([name, *map(str, counts)]) for name, counts in rows)
    write_lines(path, [",".join(["peak", *matrix.samples]), *lines])
