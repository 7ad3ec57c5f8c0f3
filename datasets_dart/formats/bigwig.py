"""Sums of a bigWig track over windows (spec section 5: the target of task 4)."""

import math
import os
import struct
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyBigWig

from datasets_dart.contigs import find_contig, rows_by_contig
from datasets_dart.errors import InputError
from datasets_dart.files import Reopened, input_file
from datasets_dart.formats.fasta import read_together

MAGIC = 0x888FFC26
SUMMARY_OFFSET = 44  # where the header says at which byte the summary of the whole file is
FIRST_LOOK = 1 << 20  # bp in which a covered base is looked for first


class Coverage(NamedTuple):
    """What the header of a bigWig says of the whole file."""

    bases: int  # that have a value
    total: float  # of all values; NaN where one of them is NaN


class Signal(Reopened[Any]):
    """A bigWig file. `contigs` maps names to lengths in bp.

    nan_is_nothing: a value that is stored as NaN counts as none, as in the original; by default it is an error.

    Raises FileNotFoundError; ValueError for what is no bigWig, or for one of whose bases, covered by its header, none
    can be read.
    """

    def __init__(self, path: str | os.PathLike[str], nan_is_nothing: bool = False) -> None:
        super().__init__(input_file(path))
        self.nan_is_nothing = nan_is_nothing
        self.contigs: dict[str, int] = dict(self.handle.chroms() or {})
        if self.coverage.bases and not any(self._has_interval(name) for name in self.contigs):
            raise InputError(
                f"{self.path}: its header says that {self.coverage.bases:,} bases have a value, but none can be read: "
                "a damaged file?"
            )

    @cached_property
    def coverage(self) -> Coverage:
        """What the header says. (pyBigWig's own reading of it crashes where the sum is NaN.)"""
        return read_coverage(self.path)

    def _has_interval(self, chrom: str) -> bool:
        start, step = 0, FIRST_LOOK
        while start < self.contigs[chrom]:
            if self._intervals(chrom, start, min(start + step, self.contigs[chrom])):
                return True
            start, step = start + step, 2 * step
        return False

    def _intervals(self, chrom: str, start: int, end: int) -> Any:
        try:
            return self.handle.intervals(chrom, start, end)
        except RuntimeError as error:
            raise InputError(f"{self.path}: {chrom}:{start}-{end} cannot be read: {error}") from None

    def open(self) -> Any:
        """A new handle of pyBigWig; InputError if it cannot read the file."""
        try:
            handle = pyBigWig.open(str(self.path))
        except RuntimeError as error:
            raise InputError(f"{self.path}: not a bigWig file: {error}") from None
        if not handle.isBigWig():
            raise InputError(f"{self.path}: not a bigWig file (a bigBed file)")
        return handle

    def sums(self, chrom: str, starts: np.ndarray, length: int) -> np.ndarray:
        """(n,) float64 sums over [start, start + length); what is not covered, or off the contig, adds nothing.

        Raises ValueError naming file and position where a value is NaN or infinite.

        chrom: under either name (see `datasets_dart.contigs`); a contig that the file does not have has no signal.
        starts: (n,) int64, any order, may be negative. Neighbouring windows are read together; memory beyond the result
        is bounded.
        """
        sums = np.zeros(len(starts))
        own = find_contig(chrom, self.contigs)
        if own is None:
            return sums
        for group in read_together(starts, length):
            low, end = int(starts[group[0]]), int(starts[group[-1]]) + length
            total = np.concatenate([[0.0], np.cumsum(self._values(own, low, end))])
            sums[group] = total[starts[group] - low + length] - total[starts[group] - low]
        return sums

    def _values(self, chrom: str, start: int, end: int) -> np.ndarray:
        values = np.zeros(end - start)
        low, high = max(start, 0), min(end, self.contigs[chrom])
        if low < high:
            try:
                read = self.handle.values(chrom, low, high, numpy=True)
            except RuntimeError as error:
                raise InputError(f"{self.path}: {chrom}:{low}-{high} cannot be read: {error}") from None
            if np.isinf(read).any():
                raise InputError(f"{self.path}: {chrom}:{low + int(np.argmax(np.isinf(read)))} has an infinite signal")
            # Only where the sum of all values is NaN can a base of NaN be more than one without a value.
            if math.isnan(self.coverage.total) and not self.nan_is_nothing:
                for first, _, value in self._intervals(chrom, low, high) or ():
                    if math.isnan(value):
                        raise InputError(f"{self.path}: {chrom}:{first} has NaN for its signal")
            values[low - start : high - start] = np.nan_to_num(read, nan=0.0)
        return values


def read_coverage(path: Path) -> Coverage:
    """What the header of a bigWig says of the whole file. Raises ValueError naming a file that is cut short."""
    try:
        with path.open("rb") as file:
            head = file.read(SUMMARY_OFFSET + 8)
            order = "<" if struct.unpack_from("<I", head)[0] == MAGIC else ">"
            file.seek(struct.unpack_from(f"{order}Q", head, SUMMARY_OFFSET)[0])
            bases, _, _, total = struct.unpack(f"{order}Qddd", file.read(32))
    except struct.error:
        raise InputError(f"{path}: a bigWig that is cut short") from None
    return Coverage(bases, total)


def log_counts(signal: Signal, chrom: np.ndarray, start: np.ndarray, length: int) -> np.ndarray:
    """(n,) float64 log(1 + sum) of the windows [start, start + length), natural logarithm.

    Raises ValueError naming file and window where a sum is negative: such a track holds no counts.
    """
    sums = np.empty(len(start))
    for name, rows in rows_by_contig(chrom).items():
        sums[rows] = signal.sums(name, start[rows], length)
    if (sums < 0).any():
        row = int(np.argmax(sums < 0))
        where = f"{chrom[row]}:{start[row]}-{start[row] + length}"
        raise InputError(f"{signal.path}: the signal in {where} sums to {sums[row]}; counts are >= 0")
    return np.log1p(sums)
