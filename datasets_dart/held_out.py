"""Windows drawn at random from the blocks of a split, as recall-bench draws its background.

The public recall-bench (version 0.2.1, `recall_bench.copy_task.DNABackground`) draws a block, then a place in it, from
one stream of random numbers; with the same blocks in the same order, the same seeds give the same windows here.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from datasets_dart.errors import InputError
from datasets_dart.formats.fasta import Genome
from datasets_dart.splits import SPLITS, Blocks

MOST_UNKNOWN = 0.01  # share of N from which a window is drawn anew
TRIES = 200


class Drawn(NamedTuple):
    """A window: its bases, and where it lies; no place (None, -1) where it was joined of several blocks."""

    sequence: str
    chrom: str | None
    start: int


@dataclass(frozen=True)
class HeldOut:
    """The blocks of one split: by the genome's order of contigs, then by start; merged where they touch.

    Attributes:
        chrom: (k,) str objects. start, length: (k,) int64, bp.
    """

    genome: Genome
    chrom: np.ndarray
    start: np.ndarray
    length: np.ndarray

    def is_whole(self, length: int) -> bool:
        """Whether a block is long enough for a window of `length` bp; otherwise blocks are joined."""
        return bool((self.length >= length).any())

    def draw(self, rng: np.random.Generator, length: int) -> Drawn:
        """A window of `length` bp, of which less than 1 % is N.

        Raises:
            InputError: where 200 tries do not find one.
        """
        for _ in range(TRIES):
            drawn = self._place(rng, length) if self.is_whole(length) else self._joined(rng, length)
            if drawn.sequence.count("N") / length < MOST_UNKNOWN:
                return drawn
        raise InputError(f"{self.genome.path}: no window of {length:,} bp with less than 1 % of N in {TRIES} tries")

    def _place(self, rng: np.random.Generator, length: int) -> Drawn:
        block = rng.choice(np.flatnonzero(self.length >= length))
        offset = int(rng.integers(0, self.length[block] - length + 1))
        chrom, start = str(self.chrom[block]), int(self.start[block]) + offset
        return Drawn(self.genome.fetch(chrom, start, start + length), chrom, start)

    def _joined(self, rng: np.random.Generator, length: int) -> Drawn:
        parts: list[str] = []
        total = 0
        while total < length:
            block = rng.integers(len(self.length))
            start = int(self.start[block])
            parts.append(self.genome.fetch(str(self.chrom[block]), start, start + int(self.length[block])))
            total += len(parts[-1])
        return Drawn("".join(parts)[:length], None, -1)


def held_out(genome: Genome, blocks: Mapping[str, Blocks], split: str = "test") -> HeldOut:
    """The blocks of a split that the genome has.

    Raises:
        InputError: naming the genome, where there is none.
    """
    rows = []
    for chrom, length in genome.contigs.items():
        if chrom in blocks:
            own = blocks[chrom]
            for row in np.flatnonzero(own.split == SPLITS.index(split)).tolist():
                start, end = int(own.start[row]), min(int(own.end[row]), length)
                rows += [(chrom, start, end - start)] if end > start else []
    if not rows:
        raise InputError(f"{genome.path}: none of its contigs has a block of split {split}")
    names, starts, lengths = zip(*rows, strict=True)
    return HeldOut(genome, np.array(names, dtype=object), np.array(starts), np.array(lengths))
