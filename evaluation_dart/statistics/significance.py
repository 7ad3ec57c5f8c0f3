"""Tests that allow for rows of one block being alike, and corrections for many of them."""

import numpy as np
from scipy import stats

from evaluation_dart.statistics import jackknife
from evaluation_dart.statistics.blocks import Blocks

FLIPS = 9_999
EXACT = 13  # blocks up to which every combination of signs is tried
FLIPS_AT_ONCE = 1_000


def sign_flip_p(difference: np.ndarray, blocks: Blocks, two_sided: bool = False) -> float:
    """p-value of no difference, by turning the signs of whole blocks: of Wilcoxon's signed ranks, summed over blocks.

    Under the hypothesis a block's differences are as likely as their opposites, all together. One-sided, of
    difference > 0, unless `two_sided`. From `FLIPS` random combinations of signs it is at least 1 / 10,000.
    """
    ranks = np.sign(difference) * stats.rankdata(np.abs(difference))
    sums = blocks.sums(ranks)
    observed, k = sums.sum(), len(sums)
    tolerance = 1e-9 * np.abs(sums).sum()

    def as_extreme(signs: np.ndarray) -> int:
        totals = signs @ sums
        return int(
            ((np.abs(totals) if two_sided else totals) >= (abs(observed) if two_sided else observed) - tolerance).sum()
        )

    if k <= EXACT:
        signs = 1 - 2 * ((np.arange(2**k)[:, None] >> np.arange(k)) & 1)
        return as_extreme(signs) / len(signs)
    rng, found = np.random.default_rng(0), 0
    for first in range(0, FLIPS, FLIPS_AT_ONCE):
        shape = (min(FLIPS_AT_ONCE, FLIPS - first), k)
        found += as_extreme(1.0 - 2.0 * rng.integers(2, size=shape))
    return (1 + found) / (1 + FLIPS)


def auroc_p(value: float, score: np.ndarray, positive: np.ndarray, blocks: Blocks) -> float:
    """One-sided p-value of an area under the ROC curve of 0.5 (Mann-Whitney's), from its jackknife of blocks."""
    error = float(jackknife.standard_error(jackknife.auroc_without(score, positive, blocks)))
    return float(stats.t.sf((value - 0.5) / error, jackknife.degrees_of_freedom(blocks))) if error else float("nan")


def benjamini_hochberg(p: np.ndarray) -> np.ndarray:
    """p-values corrected so that rejecting those up to q has a false discovery rate of at most q (1995)."""
    return np.asarray(stats.false_discovery_control(p))
