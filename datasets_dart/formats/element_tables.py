"""Tables of elements as rows of fixed-width windows: BED, narrowPeak, and the original's own tables with a header."""

import os
import re
import sys
from collections.abc import Collection, Iterable, Iterator
from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np

from datasets_dart.contigs import check_within, join_contigs, note_missing, renamed
from datasets_dart.errors import InputError, refuse_rows
from datasets_dart.files import START, Position, numbered_lines, write_lines
from datasets_dart.formats.bed import SUMMIT, Windows, centred_start, is_no_row, read_intervals, summits
from datasets_dart.formats.fasta import Genome
from datasets_dart.formats.tables import split_line

CONTIG_NAMES = ("chr", "chrom", "chromosome")
LABEL_NAMES = ("label", "cell type", "cell_type")
BED_LABEL = 3  # column, from 0
_NARROWPEAK = re.compile(rb"[^\t]+\t\d+\t\d+\t[^\t]*\t[^\t]*\t[-+.]\t[^\t]+\t[^\t]+\t[^\t]+\t-?\d+\s*")


class Layout(NamedTuple):
    """Where a table keeps what. kind: "windows" have their final width; a "narrowpeak" has a summit to centre on."""

    kind: Literal["bed", "narrowpeak", "windows"]
    first: Position  # of the first row
    columns: tuple[int, int, int]  # of contig, start, end
    label: int | None  # column


class Rows(NamedTuple):
    """Consecutive rows of a table, one entry each."""

    id: np.ndarray  # (n,) int64, row of the file, from 0; a header and comments are no rows
    chrom: np.ndarray  # (n,) str objects
    start: np.ndarray  # (n,) int64, of the window; may be negative
    end: np.ndarray  # (n,) int64, of the interval in the file
    line: np.ndarray  # (n,) int64
    label: np.ndarray  # (n,) str objects, "" where the table has none

    def take(self, rows: np.ndarray) -> "Rows":
        """The rows at these positions."""
        return Rows._make(column[rows] for column in self)


def table_layout(path: Path) -> Layout:
    """How the table's rows are to be read, from its first lines.

    A header names a contig (chr, chrom), a start and an end (input_start and input_end are windows already) and maybe
    a label. Without a header: ten columns with narrowPeak's contents are narrowPeak, everything else is BED.
    Raises ValueError where a header lacks one of them.
    """
    offset = 0
    for line, text in numbered_lines(path):
        if is_no_row(text):
            offset += len(text)
            continue
        names = [name.strip().lower() for name in split_line(path, line, text, "\t")]
        if not any(name in CONTIG_NAMES for name in names):
            kind: Literal["bed", "narrowpeak"] = "narrowpeak" if _NARROWPEAK.fullmatch(text) else "bed"
            label = BED_LABEL if len(names) > BED_LABEL or len(text.split()) > BED_LABEL else None
            return Layout(kind, START, (0, 1, 2), label)
        windows = "input_start" in names
        wanted = (CONTIG_NAMES, ("input_start",) if windows else ("start",), ("input_end",) if windows else ("end",))
        columns = [next((i for i, name in enumerate(names) if name in known), -1) for known in (*wanted, LABEL_NAMES)]
        if missing := [known[0] for known, column in zip(wanted, columns, strict=False) if column < 0]:
            raise InputError(f"{path}:{line}: the header has no column {', '.join(missing)}: {', '.join(names)}")
        first = Position(offset + len(text), line + 1)
        chrom, start, end, labelled = columns
        return Layout("windows" if windows else "bed", first, (chrom, start, end), None if labelled < 0 else labelled)
    raise InputError(f"{path}: has no rows")


def read_rows(
    path: Path,
    layout: Layout,
    length: int,
    rows: int,
    position: Position | None = None,
    contigs: Collection[str] = (),
) -> Iterator[tuple[Position, Rows]]:
    """Chunks of at most `rows` rows as windows of `length` bp: on the summit, or centred on the interval.

    contigs: the genome's, under whose names the rows come.

    Raises ValueError naming file, line and value for a malformed row, or a ready-made window of another length.
    """
    extra = [SUMMIT] if layout.kind == "narrowpeak" else []
    extra += [] if layout.label is None else [layout.label]
    for at, chunk in read_intervals(path, position or layout.first, rows, layout.columns, extra):
        if layout.kind == "narrowpeak":
            start = summits(path, chunk) - length // 2
        elif layout.kind == "bed":
            start = centred_start(chunk.start, chunk.end, length)
        else:
            whys = [f"{name} is not a window of {length} bp" for name in Windows(*chunk[:3]).names()]
            refuse_rows(path, chunk.line, chunk.end - chunk.start != length, whys.__getitem__)
            start = chunk.start
        chrom = renamed(chunk.chrom, contigs)
        labels = [sys.intern(text[-1]) for text in chunk.extra] if layout.label is not None else [""] * len(start)
        ids = np.arange(at.row, at.row + len(start))
        yield at, Rows(ids, chrom, start, chunk.end, chunk.line, np.array(labels, object))


def check_rows(path: Path, rows: Rows, layout: Layout, genome: Genome, protocol: str) -> None:
    """Raise ValueError naming file, line and value of the first row that is not in the genome: on a contig that it does
    not have, or beyond its contig's end, as a row of another build is; or, in protocol="paper", with a window that
    starts before its contig. A window may otherwise run past an end: it is padded."""

    def name(row: int) -> str:
        return f"the element on {rows.chrom[row]} up to {rows.end[row]}"

    needed = rows.start + 1 if layout.kind == "windows" else rows.end
    check_within(path, rows.line, rows.chrom, needed, genome.contigs, name, genome.path)
    if protocol == "paper":
        what = 'has a window that starts before its contig (protocol="paper")'
        refuse_rows(path, rows.line, rows.start < 0, lambda row: f"{name(row)} {what}")


def read_windows(path: Path, contigs: Collection[str] = ()) -> Windows:
    """All intervals of a table, as given there, under the genome's names of their contigs, where these are given.

    Raises ValueError naming file, line and value; naming the file where it has none of the contigs.
    """
    layout = table_layout(path)
    chunks = [chunk for _, chunk in read_intervals(path, layout.first, columns=layout.columns)]
    if not chunks:
        raise InputError(f"{path}: has no rows")
    chrom, start, end = (np.concatenate([chunk[column] for chunk in chunks]) for column in range(3))
    joined = join_contigs(path, set(chrom.tolist()), contigs)
    if contigs:
        note_missing(path, joined.only_here)
    return Windows(renamed(chrom, contigs), start, end)


def write_windows(path: str | os.PathLike[str], windows: Windows) -> None:
    """The original's table of consensus windows: a header, then chrom, start, end."""
    _write_table(path, "chrom start end", windows)


def write_activity_windows(path: str | os.PathLike[str], windows: Windows, counted: int) -> None:
    """The original's table of task 4: windows, the `counted` bp in their centre, and where in them these are."""
    first = (windows.end - windows.start - counted) // 2
    columns = [*windows, windows.start + first, windows.start + first + counted, first, first + counted]
    names = "chr input_start input_end elem_start elem_end elem_relative_start elem_relative_end"
    _write_table(path, names, columns)


def _write_table(path: str | os.PathLike[str], names: str, columns: Iterable[np.ndarray]) -> None:
    rows = [names.split(), *zip(*columns, strict=True)]
    write_lines(path, ("\t".join(map(str, row)) for row in rows))
