"""Genomic intervals from BED and narrowPeak files, in chunks; coordinates 0-based, half-open, in base pairs."""

import logging
import sys
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from datasets_dart.contigs import check_within, renamed
from datasets_dart.errors import InputError, refuse_rows
from datasets_dart.files import START, Position, number_of, numbered_lines, row_chunks, shown, warn_once

log = logging.getLogger(__name__)

BED_SUFFIXES = (".bed", ".bed.gz", ".narrowPeak", ".narrowPeak.gz")
CHUNK_ROWS = 1024
NO_SUMMIT = "have no summit (-1 in column 10)"
NO_BASE = "have no base (their end is their start)"  # why a row is left out
STRAND = 5  # column of BED, from 0
Q_VALUE, SUMMIT = 8, 9  # columns of narrowPeak, from 0: -log10 q, and the summit's distance from the start


class Intervals(NamedTuple):
    """Consecutive rows of a file; every field has one entry a row."""

    chrom: np.ndarray  # (n,) str objects
    start: np.ndarray  # (n,) int64
    end: np.ndarray  # (n,) int64
    line: np.ndarray  # (n,) int64, line numbers in the file
    extra: list[tuple[str, ...]]


class Windows(NamedTuple):
    """Intervals [start, end), one entry each; a start may be negative in protocol="paper"."""

    chrom: np.ndarray  # (n,) str objects
    start: np.ndarray  # (n,) int64
    end: np.ndarray  # (n,) int64

    def take(self, rows: np.ndarray) -> "Windows":
        """The rows at these positions."""
        return Windows(self.chrom[rows], self.start[rows], self.end[rows])

    def names(self) -> list[str]:
        """chrom:start-end of each."""
        return [f"{chrom}:{start}-{end}" for chrom, start, end in zip(*map(np.ndarray.tolist, self), strict=True)]


class Peaks(NamedTuple):
    """Rows of a narrowPeak file, one entry each; `summit` is a position on the contig."""

    chrom: np.ndarray  # (n,) str objects
    start: np.ndarray  # (n,) int64
    end: np.ndarray  # (n,) int64
    summit: np.ndarray  # (n,) int64
    q_value: np.ndarray  # (n,) float64, -log10


def read_intervals(
    path: Path,
    position: Position = START,
    rows: int = CHUNK_ROWS,
    columns: tuple[int, int, int] = (0, 1, 2),
    extra: Sequence[int] = (),
    empty: list[int] | None = None,
) -> Iterator[tuple[Position, Intervals]]:
    """Chunks of at most `rows` rows from `position` on, each with the position at which it can be read again.

    Comments, blank lines and `track` and `browser` lines are skipped and are not rows. `columns` are those of contig,
    start and end; the text of the columns `extra` comes along. Plain, gzip and bgzip text. A row without a base, whose
    end is its start, is no row either: its line number goes into `empty`, or without this list into a warning.

    Raises ValueError naming file, line and value: fewer columns than asked for, a coordinate that is not a whole
    number >= 0, an end before its start.
    """
    without_base: list[int] = [] if empty is None else empty
    width = max(*columns, *extra, 0) + 1

    def parse(line: int, text: bytes) -> list[tuple[str, int, int, int, tuple[str, ...]]]:
        if is_no_row(text):
            return []
        fields = _fields(text)
        if len(fields) < width:
            raise InputError(f"{path}:{line}: {len(fields)} columns where {width} are needed: {shown(text)}")
        start, end = (_coordinate(path, line, fields[column]) for column in columns[1:])
        if end < start:
            raise InputError(f"{path}:{line}: the end {end} is before the start {start}: {shown(text)}")
        if end == start:
            without_base.append(line)
            return []
        name, *texts = (_decoded(path, line, fields[column]) for column in (columns[0], *extra))
        return [(sys.intern(name), start, end, line, tuple(texts))]

    for at, chunk in row_chunks(path, rows, parse, position):
        chrom, start, end, lines, texts = zip(*chunk, strict=True)
        starts, ends, numbers = (np.array(values, dtype=np.int64) for values in (start, end, lines))
        yield at, Intervals(np.array(chrom, dtype=object), starts, ends, numbers, list(texts))
    if without_base and empty is None:
        warn_once(log, path, f"{path}: {len(without_base)} rows {NO_BASE}, and are left out: {listed(without_base)}")


def listed(lines: Sequence[int], most: int = 5) -> str:
    """Line numbers, the first few of them, for people to read."""
    return f"line {', '.join(map(str, lines[:most]))}" + (", ..." if len(lines) > most else "")


def note_strands(path: Path) -> None:
    """Warn, once for a file, of rows that name the reverse strand, whose sequence is read from the forward one."""
    rows = ((line, _fields(text)) for line, text in numbered_lines(path) if not is_no_row(text))
    lines = [line for line, fields in rows if [field.strip() for field in fields[STRAND : STRAND + 1]] == [b"-"]]
    if lines:
        said = f"{len(lines)} rows are on strand - (column {STRAND + 1}), which is not looked at: {listed(lines)}"
        warn_once(log, path, f"{path}: {said}; sequences are read from the forward strand")


def has_column(path: Path, column: int) -> bool:
    """Whether any row of a BED file has this column, counted from 0."""
    return any(not is_no_row(text) and len(_fields(text)) > column for _, text in numbered_lines(path))


def _fields(text: bytes) -> list[bytes]:
    return text.split(b"\t") if b"\t" in text else text.split()


def is_no_row(text: bytes) -> bool:
    """Whether a line of a BED file is blank, a comment, or a `track` or `browser` line."""
    words = text.split(None, 1)
    return not words or words[0].startswith(b"#") or words[0] in (b"track", b"browser")


def read_narrowpeak(
    path: Path, contigs: Mapping[str, int] | None = None, left_out: Counter[str] | None = None
) -> Peaks:
    """All peaks of a narrowPeak file (ENCODE: BED6+4), plain or compressed, in the file's order.

    contigs: the genome's, by name and length in bp, under whose names the peaks come.
    left_out: counts peaks whose summit is not called (-1), which are left out; without it there is a warning.

    Raises ValueError naming file, line and value: fewer than 10 columns, no peak with a summit, a summit that lies
    outside its peak, a q-value that is no number, a peak on none of `contigs` or beyond its end.
    """
    chunks = [chunk for _, chunk in read_intervals(path, extra=(Q_VALUE, SUMMIT))]
    uncalled = [
        line
        for chunk in chunks
        for line, (_, text) in zip(chunk.line.tolist(), chunk.extra, strict=True)
        if text == "-1"
    ]
    chunks = [own for own in map(_with_summit, chunks) if len(own.line)]
    if not chunks:
        raise InputError(f"{path}: has no peaks{' with a summit (column 10)' if uncalled else ''}")
    if left_out is not None:
        left_out[NO_SUMMIT] += len(uncalled)
    elif uncalled:
        warn_once(log, path, f"{path}: {len(uncalled)} peaks {NO_SUMMIT}, and are left out: {listed(uncalled)}")
    q_values = [
        _q_value(path, line, q) for chunk in chunks for line, (q, _) in zip(chunk.line, chunk.extra, strict=True)
    ]
    chrom, start, end, lines = (np.concatenate([chunk[column] for chunk in chunks]) for column in range(4))
    summit = np.concatenate([summits(path, chunk, column=1) for chunk in chunks])
    if contigs is not None:
        chrom = renamed(chrom, contigs)
        check_within(path, lines, chrom, end, contigs, lambda row: f"{chrom[row]}:{start[row]}-{end[row]}")
    return Peaks(chrom, start, end, summit, np.array(q_values))


def _with_summit(chunk: Intervals) -> Intervals:
    """The rows whose last extra column, the summit, is not -1."""
    kept = [row for row, texts in enumerate(chunk.extra) if texts[-1] != "-1"]
    extra = [chunk.extra[row] for row in kept]
    return Intervals(chunk.chrom[kept], chunk.start[kept], chunk.end[kept], chunk.line[kept], extra)


def summits(path: Path, chunk: Intervals, column: int = 0) -> np.ndarray:
    """(n,) int64 positions of the summits of narrowPeak rows, whose distances from the start are `extra[column]`.

    Raises ValueError naming file, line and value where a summit is not called (-1) or lies outside its peak.
    """
    texts, lengths = [extra[column] for extra in chunk.extra], chunk.end - chunk.start
    inside = [text.isdecimal() and int(text) < length for text, length in zip(texts, lengths.tolist(), strict=True)]
    refuse_rows(
        path,
        chunk.line,
        ~np.array(inside, dtype=bool),
        lambda row: f"summit {texts[row]!r} (column {SUMMIT + 1}) is not within a peak of {lengths[row]} bp",
    )
    return chunk.start + np.array(texts, dtype=object).astype(np.int64)


def _q_value(path: Path, line: int, text: str) -> float:
    try:
        value = number_of(text)
    except ValueError:
        value = np.nan
    if np.isnan(value):
        raise InputError(f"{path}:{line}: q-value {text!r} (column {Q_VALUE + 1}) is not a number")
    return value


def centred_start(start: np.ndarray, end: np.ndarray, length: int) -> np.ndarray:
    """Start of the window of `length` bp centred on [start, end); may be negative.

    Where the odd base goes is the original's choice (DART-Eval spec section 2): floor division of `length - (end -
    start)`, which here also holds for windows shorter than the interval.
    """
    return np.asarray(start - (length - (end - start)) // 2)


def count_overlaps(start: np.ndarray, end: np.ndarray, other_start: np.ndarray, other_end: np.ndarray) -> np.ndarray:
    """(n,) int64: how many of the other intervals share a base with each [start, end), on one contig; any order."""
    begun = np.searchsorted(np.sort(other_start), end, side="left")
    over = np.searchsorted(np.sort(other_end), start, side="right")
    return np.asarray(begun - over)


def _coordinate(path: Path, line: int, field: bytes) -> int:
    text = field.strip()
    if not text.isdigit() or len(text) > 18:
        raise InputError(f"{path}:{line}: {shown(field)} is not a coordinate (a whole number >= 0)")
    return int(text)


def _decoded(path: Path, line: int, field: bytes) -> str:
    try:
        return field.strip().decode()
    except UnicodeDecodeError:
        raise InputError(f"{path}:{line}: {shown(field)} is not UTF-8 text") from None
