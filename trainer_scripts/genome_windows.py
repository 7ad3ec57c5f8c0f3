"""Windows of a genome for language modelling: where they may lie, and how they are drawn.

A genome is one uint8 array of base codes (A 0, C 1, G 2, T 3, anything else 4), its contigs end to end; regions are
(n, 2) int64 arrays of half-open [start, end) in that array's coordinates, sorted and disjoint. A window lies inside one
region, so it crosses neither a contig end nor anything that was cut out.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from datasets_dart.files import input_file
from datasets_dart.genome import open_genome
from datasets_dart.intervals import read_intervals
from evaluation_dart.baselines import UNKNOWN, encode_bases

COMPLEMENT = np.array([3, 2, 1, 0, UNKNOWN], dtype=np.uint8)
ATTEMPTS = 1000


@dataclass(frozen=True)
class GenomeCodes:
    """Base codes of some contigs of a genome, end to end.

    Attributes:
        path: the FASTA they were read from.
        codes: (sum of lengths,) uint8.
        offsets: contig name -> index of its first base in `codes`.
        lengths: name -> bases of every contig in the FASTA, read or not.
    """

    path: str
    codes: np.ndarray
    offsets: dict[str, int]
    lengths: dict[str, int]

    @classmethod
    def from_fasta(cls, path: str, chromosomes: Sequence[str] | None = None) -> "GenomeCodes":
        """Read the named contigs, or all of them.

        Raises:
            ValueError: naming file and contig, if a contig is not in the FASTA.
        """
        genome = open_genome(path)
        offsets, parts, end = {}, [], 0
        for name in chromosomes or genome.contigs:
            offsets[name] = end
            parts.append(encode_bases(genome.fetch(name, 0, genome.length(name))))
            end += len(parts[-1])
        return cls(path, np.concatenate(parts), offsets, genome.contigs)

    def whole(self) -> np.ndarray:
        """Each contig that was read, as one region."""
        return as_regions((offset, offset + self.lengths[name]) for name, offset in self.offsets.items())

    def regions(self, bed: str, margin: int = 0) -> np.ndarray:
        """Rows of a BED file, widened by `margin` bases within their contig, as regions.

        Rows on contigs that were not read are left out.

        Raises:
            ValueError: naming file, line and value, for a contig that is not in the FASTA (an exclusion that silently
                excludes nothing would spoil a held-out set) or an end beyond its contig.
        """
        pairs = []
        for _, rows in read_intervals(input_file(bed)):
            for name, start, end, line in zip(rows.chrom, rows.start, rows.end, rows.line, strict=True):
                if name not in self.lengths:
                    raise ValueError(f"{bed}:{line}: {self.path} has no contig {name!r}")
                if end > self.lengths[name]:
                    raise ValueError(f"{bed}:{line}: {name} ends at {self.lengths[name]}, before {end}")
                if name in self.offsets:
                    first, last = max(0, start - margin), min(self.lengths[name], end + margin)
                    pairs.append((self.offsets[name] + int(first), self.offsets[name] + int(last)))
        return as_regions(pairs)

    def bed_lines(self, regions: np.ndarray) -> str:
        """Regions as the text of a BED file."""
        names, offsets = list(self.offsets), np.array(list(self.offsets.values()))
        lines = []
        for start, end in regions.tolist():
            contig = np.searchsorted(offsets, start, side="right") - 1
            lines.append(f"{names[contig]}\t{start - offsets[contig]}\t{end - offsets[contig]}\n")
        return "".join(lines)


def as_regions(pairs: Iterable[tuple[int, int]]) -> np.ndarray:
    """Sort and merge half-open pairs; empty ones vanish, and pairs that merely touch stay apart.

    Contigs lie end to end, so merging neighbours that touch would let a window cross from one to the next.
    """
    merged: list[list[int]] = []
    for start, end in sorted(pair for pair in pairs if pair[0] < pair[1]):
        if merged and start < merged[-1][1]:
            merged[-1][1] = max(merged[-1][1], end)
        else:
            merged.append([start, end])
    return np.array(merged, dtype=np.int64).reshape(-1, 2)


def subtract_regions(regions: np.ndarray, removed: np.ndarray) -> np.ndarray:
    """What is left of `regions` without `removed`; both are regions."""
    kept = []
    for start, end in regions.tolist():
        first = np.searchsorted(removed[:, 1], start, side="right")
        for cut_start, cut_end in removed[first:].tolist():
            if cut_start >= end:
                break
            kept.append((start, cut_start))
            start = cut_end
        kept.append((start, end))
    return as_regions(kept)


def choose_blocks(
    codes: np.ndarray, regions: np.ndarray, fraction: float, block: int, rng: np.random.Generator
) -> np.ndarray:
    """Hold out blocks of `block` bases, cut on a grid from each region's start, until they make up `fraction` of all.

    Blocks that are mostly unknown bases are no use for validation and are not chosen. At least one block is chosen.
    """
    grids = [np.arange(start, end - block + 1, block) for start, end in regions.tolist()]
    grid = np.concatenate([np.empty(0, np.int64), *grids])
    known = [start for start in grid if (codes[start : start + block] != UNKNOWN).mean() > 0.5]
    if not known:
        raise ValueError(f"no block of {block:,} known bases can be held out of the training regions")
    count = max(1, round(fraction * int(np.diff(regions).sum()) / block))
    chosen = rng.choice(known, size=min(count, len(known)), replace=False)
    return as_regions((start, start + block) for start in chosen.tolist())


def draw_windows(
    codes: np.ndarray,
    regions: np.ndarray,
    count: int,
    length: int,
    rng: np.random.Generator,
    max_unknown: float = 0.1,
    reverse_complement: bool = True,
) -> np.ndarray:
    """Draw windows, every start in `regions` equally likely, half of them reverse-complemented.

    Args:
        max_unknown: windows with a larger fraction of unknown bases are drawn again.

    Returns:
        (count, length) uint8 codes.

    Raises:
        ValueError: if no region is long enough, or hardly any window has few enough unknown bases.
    """
    starts_in_region = np.maximum(regions[:, 1] - regions[:, 0] - length + 1, 0)
    ends = np.cumsum(starts_in_region)
    if not len(ends) or ends[-1] == 0:
        raise ValueError(f"no training region is as long as a window of {length} bases")
    windows = np.empty((0, length), dtype=np.uint8)
    for _ in range(ATTEMPTS):
        draw = rng.integers(ends[-1], size=count - len(windows))
        region = np.searchsorted(ends, draw, side="right")
        start = regions[region, 0] + draw - (ends[region] - starts_in_region[region])
        drawn = codes[start[:, None] + np.arange(length)]
        windows = np.concatenate([windows, drawn[(drawn == UNKNOWN).mean(axis=1) <= max_unknown]])
        if len(windows) == count:
            break
    else:
        raise ValueError(f"hardly any window of {length} bases has at most {max_unknown:.0%} unknown bases")
    if reverse_complement:
        flip = rng.random(count) < 0.5
        windows[flip] = COMPLEMENT[windows[flip, ::-1]]
    return windows


def tile_windows(codes: np.ndarray, regions: np.ndarray, length: int) -> np.ndarray:
    """Starts of the windows of `length` bases, end to end in each region, that hold no unknown base: (n,) int64."""
    grid = [np.arange(start, end - length + 1, length) for start, end in regions.tolist()]
    starts = np.concatenate(grid or [np.empty(0)]).astype(np.int64)
    unknown = np.concatenate([[0], np.cumsum(codes == UNKNOWN)])
    return starts[unknown[starts + length] == unknown[starts]]
