"""Windows of a genome for language modelling: where they may lie, and how they are drawn.

A genome is one uint8 array of base codes (A 0, C 1, G 2, T 3, anything else 4; 8 more for a soft-masked base that is
to be read and not predicted), its contigs end to end; regions are (n, 2) int64 arrays of half-open [start, end) in that
array's coordinates, sorted and disjoint. A window lies inside one region, so it crosses neither a contig end nor
anything that was cut out.

The windows of a run are numbered, and window n is a function of the seed and n alone. So a run that goes on sees what
it would have seen, and any number of processes may share a batch.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from datasets_dart.alphabet import COMPLEMENT_CODES, UNKNOWN, encode_bases
from datasets_dart.contigs import find_contig
from datasets_dart.errors import InputError
from datasets_dart.files import input_file
from datasets_dart.formats.bed import read_intervals
from datasets_dart.formats.fasta import open_genome

SOFT_MASKED = 8  # what a soft-masked base's code has on top, where it is not to be predicted
COMPLEMENT = np.arange(SOFT_MASKED + UNKNOWN, dtype=np.uint8)
COMPLEMENT[: UNKNOWN + 1], COMPLEMENT[SOFT_MASKED:] = COMPLEMENT_CODES, SOFT_MASKED + COMPLEMENT_CODES[:UNKNOWN]
ATTEMPTS = 1000
SPLIT_NAMES = {"train": "train", "valid": "validation", "validation": "validation", "test": "test"}


@dataclass(frozen=True)
class GenomeCodes:
    """Base codes of some contigs of a genome, end to end.

    Attributes:
        path: the FASTA they were read from.
        codes: (sum of lengths,) uint8, one byte a base.
        offsets: contig name -> index of its first base in `codes`.
        lengths: name -> bases of every contig in the FASTA, read or not.
    """

    path: str
    codes: np.ndarray
    offsets: dict[str, int]
    lengths: dict[str, int]

    @classmethod
    def from_fasta(
        cls, path: str, chromosomes: Sequence[str] | None = None, soft_masked: str = "keep"
    ) -> "GenomeCodes":
        """Read the named contigs, or all of them.

        Args:
            soft_masked: what lower-case bases become: "keep" as the others, "ignore" read and not predicted, or
                "unknown" read as N.

        Raises:
            ValueError: naming file and contig, if a contig is not in the FASTA.
        """
        genome = open_genome(path)
        names = list(dict.fromkeys(map(genome.contig, chromosomes or genome.contigs)))
        *starts, end = np.cumsum([0, *map(genome.length, names)]).tolist()
        codes = np.empty(end, dtype=np.uint8)
        for name, start, after in zip(names, starts, [*starts[1:], end], strict=True):
            codes[start:after] = base_codes(genome.fetch(name, 0, after - start, keep_case=True), soft_masked)
        return cls(path, codes, dict(zip(names, starts, strict=True)), genome.contigs)

    def whole(self, chromosomes: Iterable[str] | None = None) -> np.ndarray:
        """Each contig, or each of the named ones that was read, as one region."""
        names: Iterable[str] = self.offsets
        if chromosomes is not None:
            names = [own for name in chromosomes if (own := find_contig(name, self.offsets)) is not None]
        return as_regions((self.offsets[name], self.offsets[name] + self.lengths[name]) for name in names)

    def intervals(self, bed: str, margin: int = 0, split: str | None = None) -> np.ndarray:
        """Rows of a BED file in their order, widened by `margin` bases within their contig: (n, 2) int64.

        Rows on contigs that were not read are left out, and with `split` (train, validation, test) those whose fourth
        column says otherwise, as in the files of Basenji and Enformer (which write "valid").

        Raises:
            ValueError: naming file, line and value, for a contig that is not in the FASTA (an exclusion that silently
                excludes nothing would spoil a held-out set), an end beyond its contig, or a split of another name.
        """
        pairs = []
        for _, rows in read_intervals(input_file(bed), extra=(3,) if split else ()):
            for given, start, end, line, extra in zip(*rows, strict=True):
                name = find_contig(given, self.lengths)
                if name is None:
                    raise InputError(f"{bed}:{line}: {self.path} has no contig {given!r}")
                if end > self.lengths[name]:
                    raise InputError(f"{bed}:{line}: {name} ends at {self.lengths[name]}, before {end}")
                if split and extra[0] not in SPLIT_NAMES:
                    raise InputError(f"{bed}:{line}: split {extra[0]!r} is not one of {', '.join(SPLIT_NAMES)}")
                if name in self.offsets and (not split or SPLIT_NAMES[extra[0]] == split):
                    first, last = max(0, start - margin), min(self.lengths[name], end + margin)
                    pairs.append((self.offsets[name] + int(first), self.offsets[name] + int(last)))
        return np.array(pairs, dtype=np.int64).reshape(-1, 2)

    def regions(self, bed: str, margin: int = 0, split: str | None = None) -> np.ndarray:
        """The same as regions: sorted, and merged where they overlap."""
        return as_regions(self.intervals(bed, margin, split).tolist())

    def bed_lines(self, regions: np.ndarray) -> str:
        """Regions as the text of a BED file."""
        names, offsets = list(self.offsets), np.array(list(self.offsets.values()))
        contigs = np.searchsorted(offsets, regions[:, 0], side="right") - 1
        places = zip(contigs.tolist(), (regions - offsets[contigs, None]).tolist(), strict=True)
        return "".join(f"{names[contig]}\t{start}\t{end}\n" for contig, (start, end) in places)


def base_codes(sequence: str, soft_masked: str = "keep") -> np.ndarray:
    """Codes of a sequence (L,) uint8, with lower-case bases as `GenomeCodes.from_fasta` describes."""
    codes = encode_bases(sequence)
    if soft_masked != "keep":
        letters = np.frombuffer(sequence.encode("ascii", errors="replace"), dtype=np.uint8)
        masked = (letters >= ord("a")) & (codes != UNKNOWN)
        codes[masked] = UNKNOWN if soft_masked == "unknown" else codes[masked] + SOFT_MASKED
    return codes


def as_regions(pairs: Iterable[Sequence[int]]) -> np.ndarray:
    """Sort and merge half-open pairs; empty ones vanish, and pairs that merely touch stay apart.

    Contigs lie end to end, so merging neighbours that touch would let a window cross from one to the next.
    """
    merged: list[list[int]] = []
    for start, end in sorted((start, end) for start, end in pairs if start < end):
        if merged and start < merged[-1][1]:
            merged[-1][1] = max(merged[-1][1], end)
        else:
            merged.append([start, end])
    return np.array(merged, dtype=np.int64).reshape(-1, 2)


def subtract_regions(regions: np.ndarray, removed: np.ndarray) -> np.ndarray:
    """What is left of `regions` without `removed`; both are regions."""
    first = np.searchsorted(removed[:, 1], regions[:, 0], side="right")
    after = np.searchsorted(removed[:, 0], regions[:, 1])
    kept: list[list[int]] = []
    for (start, end), own in zip(regions.tolist(), map(slice, first, after), strict=True):
        kept += np.array([start, *removed[own].flat, end]).reshape(-1, 2).tolist()  # between one cut and the next
    return as_regions(kept)


def choose_blocks(
    codes: np.ndarray, regions: np.ndarray, fraction: float, block: int, rng: np.random.Generator
) -> np.ndarray:
    """Hold out blocks of `block` bases, cut on a grid from each region's start, until they make up `fraction` of all.

    Blocks that are mostly unknown bases are no use for validation and are not chosen. At least one block is chosen.

    Raises:
        InputError: for a fraction that is not between 0 and 1, a block without a base, or if there is no such block.
    """
    if not 0 < fraction < 1 or block < 1:
        raise InputError(f"a fraction of {fraction} in blocks of {block} bases cannot be held out")
    grids = [np.arange(start, end - block + 1, block) for start, end in regions.tolist()]
    grid = np.concatenate([np.empty(0, np.int64), *grids])
    known = [start for start in grid if (codes[start : start + block] != UNKNOWN).mean() > 0.5]
    if not known:
        raise InputError(f"no block of {block:,} known bases can be held out of the training regions")
    count = max(1, round(fraction * int(np.diff(regions).sum()) / block))
    chosen = rng.choice(known, size=min(count, len(known)), replace=False)
    return as_regions((start, start + block) for start in chosen.tolist())


def draw_windows(
    codes: np.ndarray,
    regions: np.ndarray,
    numbers: np.ndarray,
    length: int,
    seed: int,
    max_unknown: float = 0.1,
    reverse_complement: bool = True,
) -> np.ndarray:
    """Draw the windows of these numbers, every start in `regions` equally likely, half of them reverse-complemented.

    Args:
        numbers: (n,) numbers of windows; each draws with a generator of its own, seeded with `seed` and its number.
        max_unknown: windows with a larger fraction of unknown bases are drawn again.

    Returns:
        (n, length) uint8 codes.

    Raises:
        ValueError: if no region is long enough, or hardly any window has few enough unknown bases.
    """
    starts_in_region = np.maximum(regions[:, 1] - regions[:, 0] - length + 1, 0)
    ends = np.cumsum(starts_in_region)
    if not len(ends) or ends[-1] == 0:
        raise InputError(f"no training region is as long as a window of {length} bases")
    windows = np.empty((len(numbers), length), dtype=codes.dtype)
    for row, number in enumerate(numbers.tolist()):
        rng = np.random.default_rng([seed, number])
        for _ in range(ATTEMPTS):
            draw = int(rng.integers(ends[-1]))
            region = np.searchsorted(ends, draw, side="right")
            start = regions[region, 1] - length + 1 - (ends[region] - draw)
            window = codes[start : start + length]
            if np.count_nonzero(window == UNKNOWN) <= max_unknown * length:
                break
        else:
            raise InputError(f"hardly any window of {length} bases has at most {max_unknown:.0%} unknown bases")
        flip = reverse_complement and rng.random() < 0.5
        windows[row] = COMPLEMENT[window[::-1]] if flip else window
    return windows


def original_spans(intervals: np.ndarray, contigs: np.ndarray, length: int) -> np.ndarray:
    """The original's window of each interval (HyenaDNA's FastaInterval; spec section 5.1): (n, 2) int64.

    The leftmost `length` bases of a longer interval, a shorter one widened on both sides; cut off, and not moved, at
    the ends of its contig, so that a window may be short.

    Args:
        intervals: (n, 2), in any order; may overlap.
        contigs: regions, of which each interval lies in one.
    """
    start, end = intervals.T
    missing = np.maximum(length - (end - start), 0)
    start = start - missing // 2
    contig = contigs[np.searchsorted(contigs[:, 0], intervals[:, 0], side="right") - 1]
    return np.stack([np.maximum(start, contig[:, 0]), np.minimum(start + length, contig[:, 1])], axis=1)


def apart_from(spans: np.ndarray, regions: np.ndarray) -> np.ndarray:
    """Which of the spans (n, 2) share no base with any of the regions: (n,) bool."""
    before = np.searchsorted(regions[:, 1], spans[:, 0], side="right")
    return np.asarray(before == np.searchsorted(regions[:, 0], spans[:, 1], side="left"))


def epoch_windows(
    codes: np.ndarray, spans: np.ndarray, numbers: np.ndarray, length: int, seed: int, reverse_complement: bool = False
) -> np.ndarray:
    """Windows at fixed places, each once an epoch in an order of that epoch: (n, length) uint8 codes.

    Short spans are filled with unknown bases on the left. Half are reverse-complemented if asked for.
    """
    windows = np.full((len(numbers), length), UNKNOWN, dtype=np.uint8)
    epochs, places = np.divmod(numbers, len(spans))
    for epoch in np.unique(epochs).tolist():
        order = np.random.default_rng([seed, epoch]).permutation(len(spans))
        for row in np.flatnonzero(epochs == epoch).tolist():
            start, end = spans[order[places[row]]].tolist()
            windows[row, length - (end - start) :] = codes[start:end]
    if reverse_complement:
        flip = np.array([np.random.default_rng([seed, 1, number]).random() < 0.5 for number in numbers.tolist()])
        windows[flip] = COMPLEMENT[windows[flip, ::-1]]
    return windows


def tile_windows(codes: np.ndarray, regions: np.ndarray, length: int, max_unknown: float = 0.0) -> np.ndarray:
    """Starts of the windows of `length` bases, end to end in each region, with few unknown bases: (n,) int64.

    Args:
        max_unknown: largest fraction of them; none at all by default.
    """
    grid = [np.arange(start, end - length + 1, length) for start, end in regions.tolist()]
    starts = np.concatenate(grid or [np.empty(0)]).astype(np.int64)
    unknown = [np.count_nonzero(codes[start : start + length] == UNKNOWN) for start in starts.tolist()]
    return starts[np.array(unknown, dtype=np.int64) <= max_unknown * length]


def sample_tiles(
    codes: np.ndarray, regions: np.ndarray, length: int, number: int, seed: int, max_unknown: float = 0.0
) -> tuple[np.ndarray, np.ndarray]:
    """At most `number` of the windows of [`tile_windows`], drawn by `seed`: starts (n,) and codes (n, length)."""
    starts = tile_windows(codes, regions, length, max_unknown)
    starts = np.random.default_rng(seed).permutation(starts)[:number]
    return starts, codes[starts[:, None] + np.arange(length)]
