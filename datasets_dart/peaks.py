"""Peaks of accessibility: consensus windows, and the windows that only one cell line has (spec section 4)."""

from collections import Counter
from collections.abc import Mapping, Sequence

import numpy as np

from datasets_dart.contigs import contig_ends, rows_by_contig
from datasets_dart.formats.bed import Peaks, Windows, count_overlaps

CONSENSUS_WIDTH = 500  # bp, as published


def consensus_windows(
    peaks: Sequence[Peaks],
    protocol: str,
    width: int = CONSENSUS_WIDTH,
    contigs: Mapping[str, int] | None = None,
    blacklist: Windows | None = None,
) -> tuple[Windows, Counter[str]]:
    """Disjoint windows of `width` bp on summits, the best q-value first, sorted by contig and start; and how many
    windows were left out, by reason.

    peaks: those of each cell line. Each window [summit - width // 2, + width) is kept unless it overlaps one kept
    before it.

    protocol="paper": equal q-values come in the order given (the original's sort is unstable), a window that ends
    where a kept one starts counts as overlapping it, and windows off a contig's start are kept.
    protocol="fixed": equal q-values come by contig and start, so that the order of the files makes no difference;
    touching is not overlapping; windows off `contigs`, by name and length in bp, or on the `blacklist` are left out
    before they can take the place of others.
    """
    every = Peaks._make(np.concatenate(columns) for columns in zip(*peaks, strict=True))
    windows = summit_windows(every, width)
    ties = () if protocol == "paper" else (windows.start, windows.chrom.astype(str))
    windows = windows.take(np.lexsort((*ties, -every.q_value)))
    left_out: Counter[str] = Counter()
    if protocol != "paper" and contigs is not None:
        windows = on_contigs(windows, contigs, left_out)
    if protocol != "paper" and blacklist is not None:
        clear = ~overlaps_any(windows, blacklist)
        left_out["are on the blacklist"] += int((~clear).sum())
        windows = windows.take(np.flatnonzero(clear))
    kept = []
    for _, rows in sorted(rows_by_contig(windows.chrom).items()):
        accepted = rows[greedily_disjoint(windows.start[rows], width, touching=protocol == "paper")]
        kept.append(accepted[np.argsort(windows.start[accepted])])
        left_out["overlap a window of a better peak"] += len(rows) - len(accepted)
    return windows.take(np.concatenate(kept) if kept else np.empty(0, dtype=np.int64)), left_out


def summit_windows(peaks: Peaks, width: int) -> Windows:
    """Windows of `width` bp on the summits, in the peaks' order; a start may be negative."""
    start = peaks.summit - width // 2
    return Windows(peaks.chrom, start, start + width)


def on_contigs(windows: Windows, contigs: Mapping[str, int], left_out: Counter[str]) -> Windows:
    """The windows that lie within their contigs (lengths in bp); the others are counted in `left_out`, by reason."""
    lengths = contig_ends(windows.chrom, contigs)
    inside = (windows.start >= 0) & (windows.end <= lengths)
    if unknown := int((lengths < 0).sum()):
        left_out["are on contigs that the genome does not have"] += unknown
    left_out["run past an end of their contig"] += int((~inside).sum()) - unknown
    return windows.take(np.flatnonzero(inside))


def greedily_disjoint(start: np.ndarray, width: int, touching: bool) -> np.ndarray:
    """(kept,) int64: the windows [start, start + width) of one contig that overlap none kept before them.

    start: (n,) int64 in order of preference. touching: whether a window that ends at the start of a kept one counts
    as overlapping it. Any `width` bp hold at most one kept start, so that a look at three cells settles each window.
    """
    kept: dict[int, int] = {}
    rows = []
    reach = width if touching else width - 1
    for row, first in enumerate(start.tolist()):
        cell = first // width
        left, here, right = kept.get(cell - 1), kept.get(cell), kept.get(cell + 1)
        if here is None and (left is None or first - left >= width) and (right is None or right - first > reach):
            kept[cell] = first
            rows.append(row)
    return np.array(rows, dtype=np.int64)


def overlaps_any(windows: Windows, others: Windows) -> np.ndarray:
    """(n,) bool: whether each window shares a base with any of the others."""
    found = np.zeros(len(windows.start), dtype=bool)
    here, there = rows_by_contig(windows.chrom), rows_by_contig(others.chrom)
    for name in here.keys() & there.keys():
        rows, theirs = here[name], there[name]
        counts = count_overlaps(windows.start[rows], windows.end[rows], others.start[theirs], others.end[theirs])
        found[rows] = counts > 0
    return found


def sole_class(positive: np.ndarray) -> np.ndarray:
    """(n,) int8: the only class that each element is positive for, -1 where there is none or more than one.

    positive: (classes, n) bool.
    """
    return np.where(positive.sum(axis=0) == 1, positive.argmax(axis=0), -1).astype(np.int8)


def sole_cell_line(windows: Windows, peaks: Sequence[Peaks]) -> np.ndarray:
    """(n,) int8: index of the only peak set that overlaps each window, -1 where none or several do."""
    return sole_class(np.stack([overlaps_any(windows, Windows(*one[:3])) for one in peaks]))
