"""Intervals: exact for proportions, by resampling blocks of the genome for everything else."""

from collections.abc import Callable, Iterator

import numpy as np
from scipy import stats

from evaluation_dart.statistics import blocks
from evaluation_dart.statistics.blocks import BLOCK
from evaluation_dart.statistics.metric import Metric

FEWEST_BLOCKS = 10  # a percentile bootstrap of fewer is far too narrow
REPLICATES = 1000
CONFIDENCE = 0.95


def exact_interval(successes: int, n: int, confidence: float = CONFIDENCE) -> tuple[float, float]:
    """Clopper-Pearson interval of a proportion."""
    interval = stats.binomtest(successes, n).proportion_ci(confidence, method="exact")
    return float(interval.low), float(interval.high)


def exact_proportion(successes: int, n: int) -> Metric:
    """A share with its exact interval."""
    low, high = exact_interval(successes, n)
    return Metric(successes / n, low, high, n, "exact binomial (Clopper-Pearson)")


def normal_interval(proportion: float, n: int, confidence: float = CONFIDENCE) -> tuple[float, float]:
    """Wald interval of a proportion, as DART-Eval publishes it (spec section 1.8)."""
    half_width = stats.norm.ppf(0.5 + confidence / 2) * np.sqrt(proportion * (1 - proportion) / n)
    return float(proportion - half_width), float(proportion + half_width)


def genome_blocks(chrom: np.ndarray, start: np.ndarray, size: int | None = BLOCK) -> np.ndarray:
    """(n,) block numbers 0, 1, ...: rows of the same `size` bp of the same contig have the same number.

    size None: whole contigs, of which there must be `FEWEST_BLOCKS`, too, for an interval.
    """
    return blocks.genome_blocks(chrom, start, size).code


def block_resamples(blocks: np.ndarray, replicates: int = REPLICATES, seed: int = 0) -> Iterator[np.ndarray]:
    """Row numbers of each replicate: whole blocks drawn with replacement; none for fewer than `FEWEST_BLOCKS`.

    Neighbouring elements are alike; a bootstrap of single rows would take them for independent ones.

    Args:
        blocks: (n,) block numbers of [`genome_blocks`].
    """
    order = np.argsort(blocks, kind="stable")
    rows = np.split(order, np.flatnonzero(np.diff(blocks[order])) + 1)
    if len(rows) < FEWEST_BLOCKS:
        return
    rng = np.random.default_rng(seed)
    for draw in rng.integers(len(rows), size=(replicates, len(rows))):
        yield np.concatenate([rows[block] for block in draw])


def block_bootstrap_interval(
    statistic: Callable[[np.ndarray], np.ndarray],
    values: np.ndarray,
    blocks: np.ndarray,
    replicates: int = REPLICATES,
    confidence: float = CONFIDENCE,
    seed: int = 0,
) -> tuple[np.ndarray, np.ndarray] | None:
    """Percentile interval of `statistic` when whole blocks are drawn with replacement.

    Replicates in which a statistic is not defined (NaN), a class being empty, are left out.

    Args:
        statistic: of (m, ...) values, returns a number or an array of them.
        values: (n, ...); blocks: (n,) block numbers of [`genome_blocks`].

    Returns:
        Lower and upper ends, or None for fewer than `FEWEST_BLOCKS` blocks.
    """
    replicated = [statistic(values[rows]) for rows in block_resamples(blocks, replicates, seed)]
    if not replicated:
        return None
    tail = (1 - confidence) / 2
    low, high = np.nanquantile(np.array(replicated), [tail, 1 - tail], axis=0)
    return low, high


def standard_error_interval(
    value: np.ndarray, replicated: np.ndarray, confidence: float = CONFIDENCE
) -> tuple[np.ndarray, np.ndarray]:
    """`value` -+ 1.96 standard deviations of its replicates.

    For statistics that resampling shifts: mutual information grows, and the spread of per-motif accuracies widens, when
    rows are drawn twice, so that percentiles of replicates may miss the value itself.

    Args:
        value: (k,); replicated: (replicates, k).
    """
    half_width = stats.norm.ppf(0.5 + confidence / 2) * np.std(replicated, axis=0, ddof=1)
    return value - half_width, value + half_width
