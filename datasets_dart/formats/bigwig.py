"""Sums of a bigWig track over windows (spec section 5: the target of task 4)."""

import os
from typing import Any

import numpy as np
import pyBigWig

from datasets_dart.contigs import find_contig, rows_by_contig
from datasets_dart.errors import InputError
from datasets_dart.files import Reopened, input_file
from datasets_dart.formats.fasta import read_together


class Signal(Reopened[Any]):
    """A bigWig file. `contigs` maps names to lengths in bp.

    Raises FileNotFoundError; ValueError for what is no bigWig.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        super().__init__(input_file(path))
        self.contigs: dict[str, int] = dict(self.handle.chroms())

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
            values[low - start : high - start] = np.nan_to_num(read, nan=0.0)
        return values


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
