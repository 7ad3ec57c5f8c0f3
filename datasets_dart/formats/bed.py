"""Genomic intervals from BED files, in chunks; coordinates 0-based, half-open, in base pairs."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from datasets_dart.errors import InputError
from datasets_dart.files import numbered_lines

CHUNK_ROWS = 1024


class Position(NamedTuple):
    """Where a chunk of rows starts: byte of the decompressed text, line number (from 1), row number (from 0)."""

    offset: int = 0
    line: int = 1
    row: int = 0


START = Position()


class Intervals(NamedTuple):
    """Consecutive rows of a file; every field has one entry a row."""

    chrom: np.ndarray  # (n,) str objects
    start: np.ndarray  # (n,) int64
    end: np.ndarray  # (n,) int64
    line: np.ndarray  # (n,) int64, line numbers in the file
    extra: list[tuple[str, ...]]


def read_intervals(
    path: Path,
    position: Position = START,
    rows: int = CHUNK_ROWS,
    columns: tuple[int, int, int] = (0, 1, 2),
    extra: Sequence[int] = (),
) -> Iterator[tuple[Position, Intervals]]:
    """Chunks of at most `rows` rows from `position` on, each with the position at which it can be read again.

    Comments, blank lines and `track` and `browser` lines are skipped and are not rows. `columns` are those of contig,
    start and end; the text of the columns `extra` comes along. Plain, gzip and bgzip text.

    Raises ValueError naming file, line and value: fewer columns than asked for, a coordinate that is not a whole
    number >= 0, an end that is not beyond its start.
    """
    offset, _, row = position
    width = max(*columns, *extra, 0) + 1
    chrom: list[str] = []
    start: list[int] = []
    end: list[int] = []
    lines: list[int] = []
    texts: list[tuple[str, ...]] = []

    def chunk() -> Intervals:
        starts, ends, numbers = (np.array(values, dtype=np.int64) for values in (start, end, lines))
        return Intervals(np.array(chrom, dtype=object), starts, ends, numbers, texts.copy())

    for line, text in numbered_lines(path, position.offset, position.line):
        word = text.split(None, 1)[0] if text.strip() else b"#"
        if word.startswith(b"#") or word in (b"track", b"browser"):
            offset += len(text)
            continue
        if not lines:
            position = Position(offset, line, row)
        fields = text.split(b"\t") if b"\t" in text else text.split()
        if len(fields) < width:
            raise InputError(f"{path}:{line}: {len(fields)} columns where {width} are needed: {_shown(text)}")
        first, last = (_coordinate(path, line, fields[column]) for column in columns[1:])
        if last <= first:
            raise InputError(f"{path}:{line}: the end {last} is not beyond the start {first}: {_shown(text)}")
        chrom.append(_decoded(path, line, fields[columns[0]]))
        start.append(first)
        end.append(last)
        lines.append(line)
        if extra:
            texts.append(tuple(_decoded(path, line, fields[column]) for column in extra))
        offset += len(text)
        row += 1
        if len(lines) == rows:
            yield position, chunk()
            for values in (chrom, start, end, lines, texts):
                values.clear()
    if lines:
        yield position, chunk()


def centred_start(start: np.ndarray, end: np.ndarray, length: int) -> np.ndarray:
    """Start of the window of `length` bp centred on [start, end); may be negative.

    Where the odd base goes is the original's choice (DART-Eval spec section 2): floor division of `length - (end -
    start)`, which here also holds for windows shorter than the interval.
    """
    return start - (length - (end - start)) // 2


def count_overlaps(start: np.ndarray, end: np.ndarray, other_start: np.ndarray, other_end: np.ndarray) -> np.ndarray:
    """(n,) int64: how many of the other intervals share a base with each [start, end), on one contig; any order."""
    begun = np.searchsorted(np.sort(other_start), end, side="left")
    over = np.searchsorted(np.sort(other_end), start, side="right")
    return begun - over


def _coordinate(path: Path, line: int, field: bytes) -> int:
    text = field.strip()
    if not text.isdigit() or len(text) > 18:
        raise InputError(f"{path}:{line}: {_shown(field)} is not a coordinate (a whole number >= 0)")
    return int(text)


def _decoded(path: Path, line: int, field: bytes) -> str:
    try:
        return field.strip().decode()
    except UnicodeDecodeError:
        raise InputError(f"{path}:{line}: {_shown(field)} is not UTF-8 text") from None


def _shown(text: bytes) -> str:
    shown = repr(text.strip())[1:]
    return shown if len(shown) <= 80 else shown[:76] + "...'"
