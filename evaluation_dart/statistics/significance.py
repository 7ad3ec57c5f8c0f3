"""Tests that allow for rows of one block being alike, and corrections for many of them."""

import numpy as np
from scipy import stats

from evaluation_dart.statistics.blocks import Blocks

FLIPS = 9_999
EXACT = 13  # blocks up to which every combination of signs is tried
FLIPS_AT_ONCE = 1_000
MOST_TURNED = 2_000  # blocks; more are better put together


def signed_ranks(difference: np.ndarray) -> np.ndarray:
    """Wilcoxon's: the rank of each |difference| other than 0 among them, with the difference's sign; 0 of 0."""
    ranks = np.zeros(len(difference))
    there = difference != 0
    ranks[there] = np.sign(difference[there]) * stats.rankdata(np.abs(difference[there]))
    return ranks


def sign_flip_p(difference: np.ndarray, blocks: Blocks, two_sided: bool = False) -> float:
    """p-value of no difference, by turning the signs of whole blocks: of Wilcoxon's signed ranks, summed over blocks.

    Under the hypothesis a block's differences are as likely as their opposites, all together. One-sided, of
    difference > 0, unless `two_sided`. From `FLIPS` random combinations of signs it is at least 1 / 10,000.
    """
    sums = np.sort(blocks.sums(signed_ranks(difference)))  # so that the order of the rows does not matter
    return float(flipped(sums[None], two_sided)[0])


def flipped(sums: np.ndarray, two_sided: bool = False) -> np.ndarray:
    """(m,): of each row of (m, k) sums over blocks, how often its total with signs drawn anew is as large or larger."""
    observed, k = sums.sum(axis=1), sums.shape[1]
    least = (np.abs(observed) if two_sided else observed) - 1e-9 * np.abs(sums).sum(axis=1)

    def as_extreme(signs: np.ndarray) -> np.ndarray:
        totals = signs @ sums.T
        return np.asarray(((np.abs(totals) if two_sided else totals) >= least).sum(axis=0))

    if k <= EXACT:
        signs = 1.0 - 2 * ((np.arange(2**k)[:, None] >> np.arange(k)) & 1)
        return as_extreme(signs) / len(signs)
    rng, found = np.random.default_rng(0), np.zeros(len(sums))
    for first in range(0, FLIPS, FLIPS_AT_ONCE):
        shape = (min(FLIPS_AT_ONCE, FLIPS - first), k)
        found += as_extreme(1.0 - 2.0 * rng.integers(2, size=shape))
    return (1 + found) / (1 + FLIPS)


def wilcoxon_p(difference: np.ndarray) -> float:
    """p-value of the one-sided signed-rank test of difference > 0 that takes rows as independent."""
    if not difference.any():  # all ties: the test is not defined, and there is no evidence at all
        return 1.0
    return float(stats.wilcoxon(difference, alternative="greater").pvalue)


def benjamini_hochberg(p: np.ndarray) -> np.ndarray:
    """p-values corrected so that rejecting those up to q has a false discovery rate of at most q (1995)."""
    return np.asarray(stats.false_discovery_control(p))


def holm(p: np.ndarray) -> np.ndarray:
    """p-values corrected so that rejecting those up to q rejects any wrongly with a probability of at most q (1979)."""
    order = np.argsort(p)
    steps = np.maximum.accumulate(p[order] * np.arange(len(p), 0, -1))
    corrected = np.empty(len(p))
    corrected[order] = np.minimum(steps, 1.0)
    return corrected
