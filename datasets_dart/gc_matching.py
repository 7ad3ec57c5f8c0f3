"""Background windows with the peaks' distribution of GC, as task 4's negatives are (spec section 5).

The original's own step is not public; this is the ChromBPNet way of choosing them (Pampari et al. 2025) in words:
windows tiled over the genome away from every peak, matched to the peaks by contig and GC content.
"""

from collections import Counter
from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np

from datasets_dart.contigs import rows_by_contig
from datasets_dart.errors import InputError
from datasets_dart.formats.bed import Windows
from datasets_dart.formats.fasta import SPAN, Genome
from datasets_dart.peaks import overlaps_any
from datasets_dart.shuffling import item_seed

STRIDE = 1000  # bp between candidate windows, as in the ChromBPNet pipeline
TOLERANCE = 0.02  # of GC fraction, farthest that a match may be


class Negatives(NamedTuple):
    """Background windows, sorted by contig and start."""

    windows: Windows
    peak: np.ndarray  # (n,) int64, row of the peak that each is matched to
    left_out: Counter[str]  # how many of the wanted ones were not found, by reason


def gc_fractions(genome: Genome, chrom: str, start: np.ndarray, length: int) -> np.ndarray:
    """(n,) float64: share of G and C in each window [start, start + length); nan where a base is none of A, C, G, T.

    start: (n,) int64 in increasing order. One pass over the contig in stretches, so that memory is bounded.
    """
    fractions = np.empty(len(start))
    first = 0
    while first < len(start):
        low = int(start[first])
        after = int(np.searchsorted(start, low + SPAN, side="left"))
        bases = genome.windows(chrom, np.array([low]), int(start[after - 1]) - low + length)[0]
        gc = _running_sum((bases == ord("G")) | (bases == ord("C")))
        known = _running_sum(np.isin(bases, np.frombuffer(b"ACGT", dtype=np.uint8)))
        at = start[first:after] - low
        fractions[first:after] = np.where(
            known[at + length] - known[at] == length, (gc[at + length] - gc[at]) / length, np.nan
        )
        first = after
    return fractions


def _running_sum(flags: np.ndarray) -> np.ndarray:
    return np.concatenate([[0], np.cumsum(flags, dtype=np.int64)])


def gc_matched_negatives(
    genome: Genome,
    peaks: Windows,
    width: int,
    ratio: float = 1.0,
    stride: int = STRIDE,
    tolerance: float = TOLERANCE,
    seed: int = 0,
    avoid: Sequence[Windows] = (),
    part_of: Callable[[Windows], np.ndarray] | None = None,
) -> Negatives:
    """Windows of `width` bp that overlap no peak and nothing in `avoid` (other peak sets, a blacklist).

    peaks: windows of `width` bp. part_of: (n,) int, the split of windows, -1 for none: a negative is in its peak's, and
    a peak in none has no negatives. By default there is one for all.

    For each split of each contig, `ratio` times as many negatives as peaks, each drawn without replacement at random
    among the candidates (every `stride` bp, no N) whose GC is nearest to a peak's when rounded to 0.01, at most
    `tolerance` away. The same seed gives the same windows, and a contig's do not depend on the others.

    Raises ValueError where a peak is on a contig that the genome does not have, or where no negative can be found.
    """
    chosen: list[Windows] = []
    matched: list[np.ndarray] = []
    report: Counter[str] = Counter()
    part = np.zeros(len(peaks.start), dtype=np.int8) if part_of is None else part_of(peaks)
    for name, rows in sorted(rows_by_contig(peaks.chrom).items()):
        length = genome.length(name)
        grid = np.arange(0, length - width + 1, stride, dtype=np.int64)
        candidates = Windows(np.full(len(grid), name, dtype=object), grid, grid + width)
        taken = np.logical_or.reduce([overlaps_any(candidates, others) for others in (peaks, *avoid)])
        candidates = candidates.take(np.flatnonzero(~taken))
        candidate_gc = gc_fractions(genome, name, candidates.start, width)
        candidate_part = np.zeros(len(candidates.start), dtype=np.int8) if part_of is None else part_of(candidates)
        rows = rows[np.argsort(peaks.start[rows], kind="stable")]
        peak_gc = gc_fractions(genome, name, peaks.start[rows], width)
        rng = np.random.default_rng(item_seed(name, 0, length, seed))
        found_here = [np.empty((2, 0), dtype=np.int64)]
        for own in np.unique(part[rows][part[rows] >= 0]).tolist():
            here = part[rows] == own
            known = np.flatnonzero(~np.isnan(candidate_gc) & (candidate_part == own))
            unknown = np.isnan(peak_gc) & here
            report["peak has an N or runs past an end of its contig: not matched"] += int(unknown.sum())
            wanted = _repeated(np.flatnonzero(here & ~unknown), ratio, rng)
            found = match_gc(peak_gc[wanted], candidate_gc[known], tolerance, rng)
            report["no free candidate with the peak's GC"] += int((found < 0).sum())
            found_here.append(np.stack([known[found[found >= 0]], rows[wanted[found >= 0]]]))
        candidate, peak = np.concatenate(found_here, axis=1)
        order = np.argsort(candidate)
        chosen.append(candidates.take(candidate[order]))
        matched.append(peak[order])
    if not any(len(windows.start) for windows in chosen):
        raise InputError(f"{genome.path}: has no window of {width} bp away from the peaks with a peak's GC content")
    windows = Windows._make(np.concatenate(columns) for columns in zip(*chosen, strict=True))
    return Negatives(windows, np.concatenate(matched), report)


def _repeated(rows: np.ndarray, ratio: float, rng: np.random.Generator) -> np.ndarray:
    """Rows as often as `ratio` says, its fractional part met by a random choice of them."""
    whole, part = divmod(round(ratio * len(rows)), max(len(rows), 1))
    return np.concatenate([np.repeat(rows, whole), rng.choice(rows, part, replace=False)]) if len(rows) else rows


def match_gc(wanted: np.ndarray, candidates: np.ndarray, tolerance: float, rng: np.random.Generator) -> np.ndarray:
    """(n,) int64: for each wanted GC fraction the candidate drawn for it, each at most once; -1 where none is left.

    Both are rounded to 0.01. Every exact match is made first, in random order; what is left over takes the nearest bin,
    up to `tolerance`, the lower of two as near.
    """
    free: dict[int, list[int]] = {}
    bins = np.rint(candidates * 100).astype(np.int64)
    for row in rng.permutation(len(candidates)).tolist():
        free.setdefault(int(bins[row]), []).append(row)
    found = np.full(len(wanted), -1, dtype=np.int64)
    target = np.rint(wanted * 100).astype(np.int64)
    todo = rng.permutation(len(wanted))
    for distance in range(round(tolerance * 100) + 1):
        for row in todo.tolist():
            for gc in sorted({int(target[row]) - distance, int(target[row]) + distance}):
                if free.get(gc):
                    found[row] = free[gc].pop()
                    break
        todo = todo[found[todo] < 0]
    return found
