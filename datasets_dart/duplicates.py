"""Rows that repeat others: the same place, the same sequence on either strand, or most of its k-mers.

A place that comes twice is one element; the same sequence elsewhere is another element, which is counted.
"""

import hashlib
import json
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
from datasets import Dataset

from datasets_dart.alphabet import COMPLEMENT
from datasets_dart.files import write_text
from datasets_dart.formats.bed import Windows
from datasets_dart.kmers import SHARED, Sketches, nearest, sampling_of, sketched

FILE = "duplicates.json"  # beside the rows
ROWS = 4096  # read at once
NEAR_ROWS, NEAR_BASES = 1 << 18, 1 << 27  # of all splits, above which a builder does not look for near-duplicates
_DNA = bytes.maketrans(b"Uu", b"TT")


class Keys(NamedTuple):
    """What rows are compared by, one entry each."""

    strand: np.ndarray  # (n,) uint64, of the sequence
    either: np.ndarray  # (n,) uint64, of the sequence or its reverse complement, the same for both


@dataclass(frozen=True)
class Counts:
    """How many rows of a split repeat others: earlier ones of the split, or those of another split.

    overlapping: rows whose interval overlaps that of another row. near: different sequences that share half of their
    k-mers with another one, and are not equal to it on either strand. None: not counted.
    """

    same: int
    reverse_complement: int
    near: int | None
    overlapping: int | None

    def __str__(self) -> str:
        counts = {
            "the same": self.same,
            "the reverse complement": self.reverse_complement,
            "nearly the same": self.near,
            "overlapping in place": self.overlapping,
        }
        parts = [f"{count} {what}" for what, count in counts.items() if count]
        parts += ["near-duplicates not looked for"] if self.near is None else []
        return ", ".join(parts) or "none"


@dataclass(frozen=True)
class SplitCounts:
    """Counts of one split: within it, and against each split before it."""

    rows: int
    within: Counts
    against: Mapping[str, Counts]

    def __str__(self) -> str:
        against = "".join(f"; as in {split}: {counts}" for split, counts in self.against.items())
        return f"{self.rows} rows, repeated within: {self.within}{against}"


def keys_of(*columns: Iterable[str]) -> Keys:
    """Keys of rows of one sequence each or, of alleles, of several, in whichever order; in either case, T or U."""
    strands = [_hashes(column) for column in columns]
    if len(strands) == 1:
        return Keys(*strands[0].T)
    own, either = (np.sort(np.stack([pair[:, side] for pair in strands]), axis=0) for side in range(2))
    return Keys(_together(own), _together(either))


def _hashes(sequences: Iterable[str]) -> np.ndarray:
    found = []
    for sequence in sequences:
        text = sequence.upper().encode("ascii", "replace").translate(_DNA)
        other = text.translate(COMPLEMENT)[::-1]
        own = text_hash(text)
        found.append((own, own if text <= other else text_hash(other)))
    return np.array(found, dtype=np.uint64).reshape(-1, 2)


def text_hash(text: bytes) -> int:
    """64 bits of a text."""
    return int.from_bytes(hashlib.blake2b(text, digest_size=8).digest())


def _together(rows: np.ndarray) -> np.ndarray:
    return np.array([text_hash(column.tobytes()) for column in rows.T.copy()], dtype=np.uint64)


def repeated(*columns: np.ndarray) -> np.ndarray:
    """(n,) bool: rows that are equal in all of the (n,) columns to an earlier row."""
    numbers = [np.unique(column, return_inverse=True)[1] if column.dtype == object else column for column in columns]
    order = np.lexsort((*numbers[::-1],))  # stable: equal rows stay in their order
    again = np.zeros(len(order), dtype=bool)
    if len(order):
        equal = [number[order][1:] == number[order][:-1] for number in numbers]
        again[order[1:]] = np.logical_and.reduce(equal)
    return again


def overlapping(places: Windows, others: Windows | None = None) -> np.ndarray:
    """(n,) bool: rows whose interval shares a base with that of another row, or with one of `others`."""
    found = np.zeros(len(places.start), dtype=bool)
    for name in dict.fromkeys(places.chrom.tolist()):
        rows = np.flatnonzero(places.chrom == name)
        start, end = places.start[rows], places.end[rows]
        if others is None:
            order = np.lexsort((end, start))
            first, last = start[order], np.maximum.accumulate(end[order])
            here = np.zeros(len(rows), dtype=bool)
            here[order[1:]] = first[1:] < last[:-1]
            here[order[:-1]] |= end[order][:-1] > first[1:]
        else:
            own = others.chrom == name
            order = np.argsort(others.start[own], kind="stable")
            firsts = others.start[own][order]
            lasts = np.maximum.accumulate(others.end[own][order])
            before = np.searchsorted(firsts, end, side="left")  # those that start before the end
            here = (before > 0) & (np.concatenate([[0], lasts])[before] > start) if len(firsts) else before > 0
        found[rows] = here
    return found


class SplitRows(NamedTuple):
    """What of a split is compared."""

    keys: Keys
    group: np.ndarray  # (n,) str objects: rows of which kind are compared within the split
    places: Windows | None
    sketches: Sketches | None  # of the different sequences, in the order of `distinct`


def distinct(either: np.ndarray) -> np.ndarray:
    """Numbers of the rows that are the first of their sequence, on either strand."""
    return np.sort(np.unique(either, return_index=True)[1])


def near(queries: Sketches, references: Sketches, themselves: bool = False) -> np.ndarray:
    """(n,) bool: queries of whose k-mers a reference has half or more."""
    share, _ = nearest(queries, references, themselves)
    return share >= SHARED


def count_splits(splits: Mapping[str, SplitRows]) -> dict[str, SplitCounts]:
    """Counts of each split, within it and against those before it."""
    found: dict[str, SplitCounts] = {}
    for split, rows in splits.items():
        against = {before: count_against(rows, splits[before]) for before in found}
        found[split] = SplitCounts(len(rows.keys.strand), count_within(rows), against)
    return found


def count_within(rows: SplitRows) -> Counts:
    """Rows that repeat an earlier one of their group."""
    strand, either = (repeated(rows.group, key) for key in rows.keys)
    close = None if rows.sketches is None else int(near(rows.sketches, rows.sketches, themselves=True).sum())
    place = None
    if rows.places is not None:
        chrom = rows.group + "\t" + rows.places.chrom
        place = int(overlapping(rows.places._replace(chrom=chrom)).sum())
    return Counts(int(strand.sum()), int((either & ~strand).sum()), close, place)


def count_against(rows: SplitRows, others: SplitRows) -> Counts:
    """Rows that another split has as well."""
    strand = np.isin(rows.keys.strand, others.keys.strand)
    either = np.isin(rows.keys.either, others.keys.either)
    close = place = None
    if rows.sketches is not None and others.sketches is not None:
        different = distinct(rows.keys.either)
        close = int((near(rows.sketches, others.sketches) & ~either[different]).sum())
    if rows.places is not None and others.places is not None:
        place = int(overlapping(rows.places, others.places).sum())
    return Counts(int(strand.sum()), int((either & ~strand).sum()), close, place)


class Compared(NamedTuple):
    """Which columns of a dataset are compared, and how.

    sequences: columns of sequence, of which the first one's k-mers count. group: columns that say of which kind a row
    is; within a split, rows of one kind are compared. contig: columns that together name a contig.
    """

    sequences: Sequence[str] = ("sequence",)
    group: Sequence[str] = ()
    contig: Sequence[str] = ("chrom",)
    rows: Callable[[pa.Table], pa.Table] = lambda table: table  # those that are compared, of a table


def count_duplicates(
    datasets: Mapping[str, Dataset], compared: Compared, all_near: bool = False
) -> dict[str, SplitCounts]:
    """Counts of each split of a dataset.

    all_near: near-duplicates are looked for in data of any size.
    """
    read = {split: read_split(rows, compared) for split, rows in datasets.items()}
    rows, bases = sum(len(own.keys.strand) for own, _ in read.values()), sum(size for _, size in read.values())
    if rows and (all_near or (rows <= NEAR_ROWS and bases <= NEAR_BASES)):
        one_in = sampling_of(rows, bases)
        for split, (own, size) in read.items():
            sketches = sketched_split(datasets[split], compared, one_in).take(distinct(own.keys.either))
            read[split] = own._replace(sketches=sketches), size
    return count_splits({split: own for split, (own, _) in read.items()})


def tables_of(dataset: Dataset, compared: Compared, columns: Sequence[str] | None = None) -> Iterator[pa.Table]:
    """The compared rows of a dataset, some at a time."""
    for table in dataset.with_format("arrow").iter(ROWS):
        rows = compared.rows(table)
        yield rows if columns is None else rows.select(columns)


def read_split(dataset: Dataset, compared: Compared) -> tuple[SplitRows, int]:
    """What of a split is compared, without sketches, and how many bases it has."""
    keys, groups, contigs, starts, ends, bases = [], [], [], [], [], 0
    for table in tables_of(dataset, compared):
        sequences = [table[name].to_pylist() for name in compared.sequences]
        lengths = np.array([len(sequence) for sequence in sequences[0]], dtype=np.int64)
        bases += int(lengths.sum())
        keys.append(keys_of(*sequences))
        groups.append(joined(table, compared.group))
        place = intervals(table, lengths)
        if place is not None:
            contigs.append(joined(table, compared.contig))
            starts.append(place[0])
            ends.append(place[1])
    either = Keys._make(np.concatenate(own) for own in zip(*keys, strict=True)) if keys else keys_of(())
    group = np.concatenate(groups) if groups else np.empty(0, dtype=object)
    windows = Windows(*map(np.concatenate, (contigs, starts, ends))) if len(contigs) == len(keys) and keys else None
    return SplitRows(either, group, windows, None), bases


def joined(table: pa.Table, columns: Sequence[str]) -> np.ndarray:
    """(n,) str objects: the values of some columns, joined by tabs."""
    values = [table[name].to_pylist() for name in columns]
    texts = [sys.intern("\t".join(map(str, row))) for row in zip(*values, strict=True)] if values else [""] * len(table)
    return np.array(texts, dtype=object)


def intervals(table: pa.Table, lengths: np.ndarray) -> tuple[np.ndarray, np.ndarray] | None:
    """Start and end of each row, (n,) int64: of its window where it is a variant; None where rows have no place."""
    names = table.column_names
    if "chrom" not in names or table["chrom"].null_count:
        return None
    if "position" in names:
        start = np.array(table["position"]) - 1 - lengths // 2
    elif "start" in names and not table["start"].null_count:
        start = np.array(table["start"])
    else:
        return None
    return start, np.array(table["end"]) if "end" in names and "position" not in names else start + lengths


def sketched_split(dataset: Dataset, compared: Compared, one_in: int) -> Sketches:
    """Sketches of the compared rows of a split."""
    found, first = [], 0
    for table in tables_of(dataset, compared):
        own = sketched(table[compared.sequences[0]].to_pylist(), one_in)
        found.append(own._replace(row=own.row + first))
        first += own.rows
    if not found:
        return sketched([], one_in)
    return Sketches(
        np.concatenate([own.row for own in found]), np.concatenate([own.kmer for own in found]), first, one_in
    )


def write_counts(folder: Path, counts: Mapping[str, SplitCounts]) -> None:
    """Keep the counts beside the rows."""
    write_text(folder / FILE, json.dumps({split: asdict(own) for split, own in counts.items()}, indent=1) + "\n")


def counts_of(dataset: Dataset) -> dict[str, Any] | None:
    """The counts that were kept beside a dataset's rows, by split; None where there are none."""
    for file in dataset.cache_files[:1]:
        path = Path(file["filename"]).parent / FILE
        if path.is_file():
            counts: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
            return counts
    return None


def said(counts: Mapping[str, SplitCounts]) -> str:
    """Counts of all splits, for people to read."""
    return ". ".join(f"{split}: {own}" for split, own in counts.items())
