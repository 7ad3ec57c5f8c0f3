"""Which rows are alike: those of one block of the genome, or with one value of a column; and sums over such blocks."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

BLOCK = 1_000_000  # bp


@dataclass(frozen=True)
class Blocks:
    """Rows in blocks that are taken as independent of one another.

    Attributes:
        code: (n,) number of each row's block, 0, 1, ... name: what the blocks are.
    """

    code: np.ndarray
    name: str

    @cached_property
    def sizes(self) -> np.ndarray:
        """(k,) rows of each block."""
        return np.bincount(self.code)

    def __len__(self) -> int:
        return len(self.sizes)

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
        """Of some of the rows; blocks that have none of them are no more."""
        return Blocks(np.unique(self.code[rows], return_inverse=True)[1], self.name)


def genome_blocks(chrom: np.ndarray, start: np.ndarray, size: int | None = BLOCK) -> Blocks:
    """Rows of the same `size` bp of the same contig are one block; size None: of the same contig."""
    _, contig = np.unique(np.asarray(chrom, dtype=str), return_inverse=True)
    if size is None:
        return Blocks(contig, "chromosomes")
    pairs = np.stack([contig, np.asarray(start) // size], axis=1)
    megabases = f"{size / 1e6:g}-Mb"
    return Blocks(np.unique(pairs, axis=0, return_inverse=True)[1].reshape(-1), f"{megabases} blocks of the genome")


def column_blocks(values: Sequence[object] | np.ndarray, name: str) -> Blocks:
    """Rows with the same value are one block."""
    return Blocks(np.unique(np.asarray(values, dtype=str), return_inverse=True)[1], f"values of {name}")


def row_blocks(n: int) -> Blocks:
    """Every row is a block of its own."""
    return Blocks(np.arange(n), "rows, taken as independent")
