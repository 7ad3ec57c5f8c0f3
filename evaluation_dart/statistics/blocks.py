"""Which rows are alike: those of one block of the genome, or with one value of a column; and sums over such blocks."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np

BLOCK = 1_000_000  # bp
ROWS = "single rows"


@dataclass(frozen=True)
class Blocks:
    """Rows in blocks that are taken as independent of one another.

    Attributes:
        code: (n,) number of each row's block, 0, 1, ..., all of which occur. name: what the blocks are.
        origin: (k,) the blocks' numbers among those that they were taken from; None: the same numbers.
    """

    code: np.ndarray
    name: str
    origin: np.ndarray | None = field(default=None)

    @cached_property
    def sizes(self) -> np.ndarray:
        """(k,) rows of each block."""
        return np.bincount(self.code)

    def __len__(self) -> int:
        return len(self.sizes)

    @property
    def numbers(self) -> np.ndarray:
        """(k,) by which blocks of several selections of the same rows are known as the same."""
        return np.arange(len(self)) if self.origin is None else self.origin

    def sums(self, values: np.ndarray) -> np.ndarray:
        """(k,) sums of (n,) values over each block."""
        return np.bincount(self.code, weights=values, minlength=len(self))

    def at_most(self, most: int) -> "Blocks":
        """Blocks put together at random, so that there are no more than `most`; these, if there are no more."""
        if len(self) <= most:
            return self
        group = np.random.default_rng(0).permutation(len(self)) % most
        return Blocks(group[self.code], f"groups of {self.name}")

    def take(self, rows: np.ndarray) -> "Blocks":
        """Of some of the rows, (m,) numbers or (n,) bool; blocks that have none of them are no more."""
        kept, code = np.unique(self.code[rows], return_inverse=True)
        return Blocks(code.reshape(-1), self.name, self.numbers[kept])

    def twice(self) -> "Blocks":
        """Of the rows and, after them, as many that go with them one by one."""
        return Blocks(np.tile(self.code, 2), "single pairs" if self.name == ROWS else self.name, self.origin)


def genome_blocks(chrom: np.ndarray, start: np.ndarray, size: int = BLOCK) -> Blocks:
    """Rows of the same `size` bp of the same contig are one block.

    Rows without a contig (None) or a start (None, NaN or below 0) are blocks of their own, and `name` says how many.
    """
    chrom, start = np.asarray(chrom, dtype=object), np.asarray(start, dtype=float)  # None becomes NaN
    known = np.array([own is not None for own in chrom], dtype=bool) & (start >= 0)
    if not known.any():
        return row_blocks(len(chrom))
    _, contig = np.unique(chrom[known].astype(str), return_inverse=True)
    pairs = np.stack([contig, start[known] // size], axis=1)
    _, of_known = np.unique(pairs, axis=0, return_inverse=True)
    code = np.empty(len(chrom), dtype=np.int64)
    code[known] = of_known.reshape(-1)
    alone = int((~known).sum())
    code[~known] = of_known.max() + 1 + np.arange(alone)
    rest = f" and {alone:,} {ROWS}" if alone else ""
    return Blocks(code, f"{size / 1e6:g}-Mb blocks of the genome{rest}")


def column_blocks(values: Sequence[object] | np.ndarray, name: str) -> Blocks:
    """Rows with the same value are one block; `name` says what the blocks are."""
    _, code = np.unique(np.asarray(values, dtype=str), return_inverse=True)
    return Blocks(code.reshape(-1), name)


def row_blocks(n: int) -> Blocks:
    """Every row is a block of its own."""
    return Blocks(np.arange(n), ROWS)


def blocks_at(chrom: np.ndarray | None, start: np.ndarray | None, n: int) -> Blocks:
    """Blocks of the genome; of n rows whose places are not known (None), single rows."""
    return row_blocks(n) if chrom is None or start is None else genome_blocks(chrom, start)
