"""Reads or fragments in each window: one column of the count matrix a sample (spec section 4, steps 2 and 3)."""

import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pysam

from datasets_dart.errors import InputError
from datasets_dart.files import input_file, numbered_lines, replacing
from datasets_dart.formats.bed import count_overlaps, read_intervals
from datasets_dart.peaks import Windows

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
    path: str | Path, windows: Windows, protocol: str, contigs: Mapping[str, int] | None = None
) -> np.ndarray:
    """(n,) int64: how many alignments of a BAM, SAM or CRAM file overlap each window. Needs no index, no order.

    protocol="paper": every mapped record counts: both mates, duplicates and secondary alignments too.
    protocol="fixed": a properly paired fragment counts once, from one mate's end to the other's, and any other read
    once; secondary, supplementary, duplicate and QC-failed records do not.

    contigs: the genome's, by name and length in bp. Raises ValueError naming the file where its header has another
    length for one of them (another build), or has none of the windows' contigs; FileNotFoundError.
    """
    path = input_file(path)
    try:
        with pysam.AlignmentFile(str(path), check_sq=False) as alignments:
            lengths = dict(zip(alignments.references, alignments.lengths, strict=True))
            check_build(path, lengths, contigs or {}, set(windows.chrom.tolist()))
            return sum_overlaps(windows, _spans(alignments, protocol))
    except (OSError, ValueError) as error:
        raise InputError(str(error) if str(path) in str(error) else f"{path}: {error}") from None


def check_build(path: Path, lengths: Mapping[str, int], genome: Mapping[str, int], used: set[str]) -> None:
    """Raise ValueError where the file's contigs are not the genome's: one of another length, or none that is used.

    lengths, genome: contig lengths in bp, of the file and of the genome; contigs not `used` do not matter.
    """
    for name in sorted(used & lengths.keys() & genome.keys()):
        if lengths[name] != genome[name]:
            raise InputError(
                f"{path}: {name} has {lengths[name]:,} bp here and {genome[name]:,} bp in the genome: another build?"
            )
    if used and not used & lengths.keys():
        raise InputError(f"{path}: has none of the contigs {', '.join(sorted(used)[:5])}: other names, another build?")


def count_fragments(path: str | Path, windows: Windows) -> np.ndarray:
    """(n,) int64: how many fragments of a BED-like file (contig, start, end, ...) overlap each window.

    Every row counts once, whatever stands in further columns. Raises ValueError naming file, line and value.
    """

    def spans() -> Iterator[Batch]:
        for _, chunk in read_intervals(input_file(path), rows=BATCH):
            for name in set(chunk.chrom.tolist()):
                rows = chunk.chrom == name
                yield name, chunk.start[rows], chunk.end[rows]

    return sum_overlaps(windows, spans())


def sum_overlaps(windows: Windows, batches: Iterator[Batch]) -> np.ndarray:
    """(n,) int64: overlaps of each window with all the batches' intervals."""
    counts = np.zeros(len(windows.start), dtype=np.int64)
    rows = {name: np.flatnonzero(windows.chrom == name) for name in set(windows.chrom.tolist())}
    for name, start, end in batches:
        here = rows.get(name)
        if here is not None:
            counts[here] += count_overlaps(windows.start[here], windows.end[here], start, end)
    return counts


def _spans(alignments: pysam.AlignmentFile, protocol: str) -> Iterator[Batch]:
    contig = -1
    start: list[int] = []
    end: list[int] = []

    def batch() -> Batch:
        return alignments.get_reference_name(contig), np.array(start), np.array(end)

    for read in alignments.fetch(until_eof=True):
        if read.is_unmapped:
            continue
        first, last = read.reference_start, read.reference_end
        if protocol != "paper":
            if read.is_secondary or read.is_supplementary or read.is_duplicate or read.is_qcfail:
                continue
            if read.is_proper_pair and read.template_length:
                if read.template_length < 0:  # the other mate stands for both
                    continue
                last = first + read.template_length
        if last is None:  # an alignment without a base
            continue
        if start and (read.reference_id != contig or len(start) == BATCH):
            yield batch()
            start, end = [], []
        contig = read.reference_id
        start.append(first)
        end.append(last)
    if start:
        yield batch()


def read_counts(paths: Sequence[str | Path]) -> CountMatrix:
    """Count matrix from one or more tables: `peak` (chrom:start-end), then a column a sample; commas or tabs.

    Columns are joined by the peak's name, whatever the files' order and names, and samples belong to cell lines by
    their own name. (The original takes every three consecutive columns of the files that a pattern matches.)

    Raises ValueError naming file, line and value: another header, a peak that is in one file only or twice, a sample
    that stands twice, a count that is no whole number >= 0.
    """
    if not paths:
        raise InputError("no count tables")
    matrix: CountMatrix | None = None
    row_of: dict[str, int] = {}
    columns: list[np.ndarray] = []
    samples: list[str] = []
    for path in map(input_file, paths):
        names, peaks, counts = _read_table(path)
        if repeated := set(names) & set(samples):
            raise InputError(f"{path}:1: sample {min(repeated)!r} stands a second time")
        samples += names
        if matrix is None:
            row_of = {peak: row for row, peak in enumerate(peaks)}
            matrix = CountMatrix(parse_windows(path, peaks), samples, counts)
            order = np.arange(len(peaks))
        else:
            if odd := row_of.keys() ^ set(peaks):
                raise InputError(f"{path}: peak {min(odd)} is in only one of this file and {paths[0]}")
            order = np.array([row_of[peak] for peak in peaks])
        placed = np.empty_like(counts)
        placed[order] = counts
        columns.append(placed)
    assert matrix is not None
    return matrix._replace(counts=np.concatenate(columns, axis=1))


def _read_table(path: Path) -> tuple[list[str], list[str], np.ndarray]:
    lines = numbered_lines(path)
    _, header = next(lines)
    mark = b"\t" if b"\t" in header else b","
    first, *names = header.decode(errors="replace").strip().split(mark.decode())
    if first.strip('"') not in ("peak", "") or not names:
        raise InputError(f"{path}:1: not a count table (peak, then samples): {header[:80].decode(errors='replace')!r}")
    peaks: dict[str, int] = {}
    counts = []
    for line, text in lines:
        peak, *fields = text.strip().split(mark)
        name = peak.decode(errors="replace").strip('"')
        if name in peaks:
            raise InputError(f"{path}:{line}: peak {name} stands a second time, first in line {peaks[name]}")
        if len(fields) != len(names) or not all(field.isdigit() for field in fields):
            shown = text[:80].decode(errors="replace").strip()
            raise InputError(f"{path}:{line}: not a peak and {len(names)} counts (whole numbers >= 0): {shown!r}")
        peaks[name] = line
        counts.append([int(field) for field in fields])
    if not peaks:
        raise InputError(f"{path}: has no peaks")
    return [name.strip('"') for name in names], list(peaks), np.array(counts, dtype=np.int64)


def parse_windows(path: Path, names: list[str]) -> Windows:
    """Windows from names chrom:start-end, row 0 in line 2. Raises ValueError naming file, line and value."""
    matches = [_NAME.fullmatch(name) for name in names]
    if None in matches:
        row = matches.index(None)
        raise InputError(f"{path}:{row + 2}: {names[row]!r} is not chrom:start-end")
    chrom, start, end = zip(*(match.groups() for match in matches if match), strict=True)
    return Windows(np.array(chrom, dtype=object), np.array(start, dtype=np.int64), np.array(end, dtype=np.int64))


def write_counts(path: str | Path, matrix: CountMatrix) -> None:
    """The table that `read_counts` reads, comma-separated, as the original's."""
    with replacing(path) as temporary, temporary.open("w", encoding="utf-8") as file:
        file.write(",".join(["peak", *matrix.samples]) + "\n")
        for name, counts in zip(matrix.windows.names(), matrix.counts.tolist(), strict=True):
            file.write(",".join([name, *map(str, counts)]) + "\n")
