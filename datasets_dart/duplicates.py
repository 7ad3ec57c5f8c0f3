"""Rows that repeat others: the same place, the same sequence on either strand, or most of its k-mers.

A place that comes twice is one element; the same sequence elsewhere is another element, which is counted.

Of each row 64 bits of a sequence and of the lesser of its two strands are kept, and numbers of its place: 40 bytes. Two
different sequences count as the same where their 64 bits agree: of ten million rows, once in 370,000 data sets.
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
from datasets_dart.contigs import numbers_of
from datasets_dart.files import write_text
from datasets_dart.formats.bed import Windows
from datasets_dart.kmers import LOOKED_UP, SHARED, Sketches, looked_up, nearest, sampling_of, sketched

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


def equals_together(*columns: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(n,) int64: rows, those that are equal in all of the (n,) columns one after another; (n,) bool: which of them,
    in this order, are the first of their equals."""
    numbers = [numbers_of(column, {}) if column.dtype == object else column for column in columns]
    order = np.lexsort((*numbers[::-1],))  # stable: equal rows stay in their order
    new = np.ones(len(order), dtype=bool)
    if len(order):
        new[1:] = np.logical_or.reduce([number[order[1:]] != number[order[:-1]] for number in numbers])
    return order, new


def first_rows(*columns: np.ndarray) -> np.ndarray:
    """(n,) int64: the number of the first row that is equal to each in all of the (n,) columns."""
    order, new = equals_together(*columns)
    first = np.empty(len(order), dtype=np.int64)
    first[order] = np.repeat(order[new], np.diff(np.flatnonzero(new), append=len(order)))
    return first


def repeated(*columns: np.ndarray) -> np.ndarray:
    """(n,) bool: rows that are equal in all of the (n,) columns to an earlier row."""
    order, new = equals_together(*columns)
    again = np.empty(len(order), dtype=bool)
    again[order] = ~new
    return again


def overlapping(places: Windows, others: Windows | None = None) -> np.ndarray:
    """(n,) bool: rows whose interval shares a base with that of another row, or with one of `others`.

    Contigs are names or numbers.
    """
    found = np.zeros(len(places.start), dtype=bool)
    for name in set(places.chrom) if places.chrom.dtype == object else np.unique(places.chrom):
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
    group: np.ndarray  # (n,) int32: rows of which kind are compared within the split
    places: Windows | None  # contigs as int32, the same in all splits
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
    strand, either = (count_repeated(rows.group, key) for key in rows.keys)
    close = None if rows.sketches is None else int(near(rows.sketches, rows.sketches, themselves=True).sum())
    place = None
    if rows.places is not None:
        contigs = rows.places.chrom.max(initial=0) + 1
        chrom = rows.group.astype(np.int64) * contigs + rows.places.chrom
        place = int(overlapping(rows.places._replace(chrom=chrom)).sum())
    return Counts(strand, either - strand, close, place)


def count_against(rows: SplitRows, others: SplitRows) -> Counts:
    """Rows that another split has as well."""
    strand, either = (int(are_in(own, there).sum()) for own, there in zip(rows.keys, others.keys, strict=True))
    close = place = None
    if rows.sketches is not None and others.sketches is not None:
        own = rows.keys.either[distinct(rows.keys.either)]
        close = int((near(rows.sketches, others.sketches) & ~are_in(own, others.keys.either)).sum())
    if rows.places is not None and others.places is not None:
        place = int(overlapping(rows.places, others.places).sum())
    return Counts(strand, either - strand, close, place)


def count_repeated(group: np.ndarray, key: np.ndarray) -> int:
    """How many rows have an earlier one of their group with their key."""
    count = len(key)
    for number in np.unique(group):
        ordered = np.sort(key[group == number])
        count -= 1 + int(np.count_nonzero(ordered[1:] != ordered[:-1]))
    return count


def are_in(keys: np.ndarray, others: np.ndarray) -> np.ndarray:
    """(n,) bool: keys that are among others, of which one sorted copy is made (`numpy.isin` makes several of both)."""
    ordered, found = np.sort(others), np.zeros(len(keys), dtype=bool)
    for first in range(0, len(keys) if len(ordered) else 0, LOOKED_UP):
        some = slice(first, first + LOOKED_UP)
        found[some] = looked_up(ordered, keys[some])[1]
    return found


class Seen:
    """Keys that have come, 8 bytes each: sorted arrays, each at least twice as long as the next, so that few are
    looked through and a key is moved few times."""

    def __init__(self) -> None:
        self.arrays: list[np.ndarray] = []

    def are_new(self, keys: np.ndarray) -> np.ndarray:
        """(n,) bool: (n,) uint64 keys that have not come before, here or in an earlier call; now they have."""
        new = ~repeated(keys)
        for known in self.arrays:
            new &= ~looked_up(known, keys)[1]
        self.arrays += [np.sort(keys[new])] if new.any() else []
        while len(self.arrays) > 1 and len(self.arrays[-2]) < 2 * len(self.arrays[-1]):
            self.arrays[-2:] = [np.sort(np.concatenate(self.arrays[-2:]))]
        return new


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
    contigs: dict[str, int] = {}
    read = {split: read_split(rows, compared, contigs) for split, rows in datasets.items()}
    rows, bases = sum(len(own.keys.strand) for own, _ in read.values()), sum(size for _, size in read.values())
    if rows and (all_near or (rows <= NEAR_ROWS and bases <= NEAR_BASES)):
        one_in = sampling_of(rows, bases)
        for split, (own, size) in read.items():
            sketches = sketched_split(datasets[split], compared, one_in, distinct(own.keys.either))
            read[split] = own._replace(sketches=sketches), size
    return count_splits({split: own for split, (own, _) in read.items()})


def tables_of(dataset: Dataset, compared: Compared, columns: Sequence[str] | None = None) -> Iterator[pa.Table]:
    """The compared rows of a dataset, some at a time."""
    for table in dataset.with_format("arrow").iter(ROWS):
        rows = compared.rows(table)
        yield rows if columns is None else rows.select(columns)


def read_split(dataset: Dataset, compared: Compared, contigs: dict[str, int]) -> tuple[SplitRows, int]:
    """What of a split is compared, without sketches, and how many bases it has; new contigs are added to the known."""
    most = len(dataset)
    keys = Keys(np.empty(most, dtype=np.uint64), np.empty(most, dtype=np.uint64))
    group, contig = np.empty(most, dtype=np.int32), np.empty(most, dtype=np.int32)
    start, end = np.empty(most, dtype=np.int64), np.empty(most, dtype=np.int64)
    groups: dict[str, int] = {}
    have_place, first, bases = True, 0, 0
    for table in tables_of(dataset, compared):
        sequences = [table[name].to_pylist() for name in compared.sequences]
        lengths = np.array([len(sequence) for sequence in sequences[0]], dtype=np.int64)
        bases += int(lengths.sum())
        here = slice(first, first + len(table))
        for column, own in zip(keys, keys_of(*sequences), strict=True):
            column[here] = own
        group[here] = numbers_of(joined(table, compared.group), groups)
        place = intervals(table, lengths)
        have_place &= place is not None
        if place is not None:
            contig[here] = numbers_of(joined(table, compared.contig), contigs)
            start[here], end[here] = place
        first += len(table)
    own_keys = Keys._make(column[:first] for column in keys)
    places = Windows(contig[:first], start[:first], end[:first]) if have_place and most else None
    return SplitRows(own_keys, group[:first], places, None), bases


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


def sketched_split(dataset: Dataset, compared: Compared, one_in: int, rows: np.ndarray) -> Sketches:
    """Sketches of some of the compared rows of a split, by their rising numbers."""
    row, kmer, first = [np.empty(0, dtype=np.int32)], [np.empty(0, dtype=np.uint64)], 0
    for table in tables_of(dataset, compared):
        low, high = np.searchsorted(rows, [first, first + len(table)])
        sequences = table[compared.sequences[0]].take(rows[low:high] - first).to_pylist()
        own = sketched(sequences, one_in)
        row.append((own.row + low).astype(np.int32))
        kmer.append(own.kmer)
        first += len(table)
    return Sketches(np.concatenate(row), np.concatenate(kmer), len(rows), one_in)


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
