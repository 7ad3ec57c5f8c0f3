"""Standard errors by leaving out one block of rows at a time, computed from sums over blocks where that can be done.

Each function gives (k,) values of a statistic, each without one of k blocks; `standard_error` makes one number of them.
"""

from collections.abc import Callable

import numpy as np
from scipy.stats import entropy
from sklearn.metrics.cluster import expected_mutual_information

from evaluation_dart.statistics.blocks import Blocks


def standard_error(without: np.ndarray) -> np.ndarray:
    """Of a statistic, from its values without each of k blocks, (k,) or (k, m): (k - 1) / k times their spread."""
    k = len(without)
    return np.asarray(np.sqrt((k - 1) / k * ((without - without.mean(axis=0)) ** 2).sum(axis=0)))


def degrees_of_freedom(blocks: Blocks) -> float:
    """1 / (sum of squared shares of the rows) - 1: k - 1 of k equal blocks, fewer of unequal ones, at least 1."""
    share = blocks.sizes / blocks.sizes.sum()
    return max(float(1 / (share**2).sum() - 1), 1.0)


def means_without(values: np.ndarray, blocks: Blocks) -> np.ndarray:
    """Of the mean of (n,) values."""
    total, sums = values.sum(), blocks.sums(values)
    return np.asarray((total - sums) / (len(values) - blocks.sizes))


def counts_without(counts: np.ndarray, statistic: Callable[[np.ndarray], np.ndarray]) -> np.ndarray:
    """Of a statistic of counts, (k, ...) of each block."""
    return statistic(counts.sum(axis=0) - counts)


def auroc_without(score: np.ndarray, positive: np.ndarray, blocks: Blocks) -> np.ndarray:
    """Of the area under the ROC curve of (n,) scores, positive (n,) bool: DeLong's placements, summed over blocks."""
    placements = wins(score, positive)
    ones = blocks.sums(positive.astype(float))
    zeros = blocks.sizes - ones
    of_both = blocks.sums(placements)  # wins of the block's positives, and against its negatives
    within = wins_within(score, positive, blocks)
    left = placements[positive].sum() - of_both + within
    pairs = (ones.sum() - ones) * (zeros.sum() - zeros)
    return np.asarray(np.divide(left, pairs, out=np.full(len(pairs), np.nan), where=pairs > 0))


def wins(score: np.ndarray, positive: np.ndarray) -> np.ndarray:
    """(n,): of a positive, how many negatives have a lower score; of a negative, how many positives a higher one.

    Ties count half.
    """
    found = np.empty(len(score))
    for own in (True, False):
        others = np.sort(score[positive != own])
        low, high = (np.searchsorted(others, score[positive == own], side=side) for side in ("left", "right"))
        below = (low + high) / 2
        found[positive == own] = below if own else len(others) - below
    return found


def wins_within(score: np.ndarray, positive: np.ndarray, blocks: Blocks) -> np.ndarray:
    """(k,): pairs of a positive and a negative of one block with the positive's score higher; ties count half."""
    ranks = np.unique(score, return_inverse=True)[1]
    width = int(ranks.max()) + 1
    apart = blocks.code * width + ranks  # the scores, each block's above those of the block before
    negatives = np.sort(apart[~positive])
    first = np.searchsorted(negatives, np.arange(len(blocks.sizes)) * width)
    low, high = (np.searchsorted(negatives, apart[positive], side=side) for side in ("left", "right"))
    below = (low + high) / 2 - first[blocks.code[positive]]
    return np.bincount(blocks.code[positive], weights=below, minlength=len(blocks.sizes))


def average_precision_without(score: np.ndarray, positive: np.ndarray, blocks: Blocks) -> np.ndarray:
    """Of the average precision of (n,) scores, positive (n,) bool; tied scores pass a threshold together."""
    order = np.argsort(-score, kind="stable")
    code, hit = blocks.code[order], positive[order].astype(float)
    last = np.append(np.flatnonzero(np.diff(score[order])), len(score) - 1)  # of each run of ties
    hits, rows = np.cumsum(hit), np.arange(1, len(score) + 1)
    found = np.empty(len(blocks.sizes))
    for block in range(len(found)):
        own = code == block
        left = (hits - np.cumsum(hit * own))[last]
        passed = (rows - np.cumsum(own))[last]
        precision = np.divide(left, passed, out=np.zeros(len(last)), where=passed > 0)
        found[block] = (np.diff(left, prepend=0) * precision).sum() / left[-1] if left[-1] else np.nan
    return found


def pearson_without(one: np.ndarray, two: np.ndarray, blocks: Blocks) -> np.ndarray:
    """Of the Pearson correlation of two (n,) arrays; NaN where one of them would be constant."""
    one, two = one - one.mean(), two - two.mean()
    columns = np.stack([np.ones(len(one)), one, two, one * one, two * two, one * two], axis=1)
    of_blocks = np.stack([blocks.sums(column) for column in columns.T])
    n, x, y, xx, yy, xy = of_blocks.sum(axis=1, keepdims=True) - of_blocks
    scale = np.sqrt(np.maximum(n * xx - x * x, 0) * np.maximum(n * yy - y * y, 0))
    return np.asarray(np.divide(n * xy - x * y, scale, out=np.full(scale.shape, np.nan), where=scale > 0))


def spearman_without(one: np.ndarray, two: np.ndarray, blocks: Blocks) -> np.ndarray:
    """Of the Spearman correlation of two (n,) arrays, ranked anew, ties having the mean of their ranks."""
    sorted_ = [_Ranks(values, blocks.code) for values in (one, two)]
    found = np.empty(len(blocks.sizes))
    for block in range(len(found)):
        left = blocks.code != block
        ranks = [own.without(block)[left] for own in sorted_]
        x, y = (rank - rank.mean() for rank in ranks)
        scale = np.sqrt((x @ x) * (y @ y))
        found[block] = (x @ y) / scale if scale > 0 else np.nan
    return found


class _Ranks:
    """Mean ranks of values among those left when a block is left out, from one sort."""

    def __init__(self, values: np.ndarray, code: np.ndarray):
        self.group = np.unique(values, return_inverse=True)[1]  # of equal values, in their order
        self.code = code
        self.all = np.bincount(self.group)

    def without(self, block: int) -> np.ndarray:
        counts = self.all - np.bincount(self.group[self.code == block], minlength=len(self.all))
        end = np.cumsum(counts)
        return np.asarray((end - (counts - 1) / 2)[self.group])


def information_without(label: np.ndarray, clusters: np.ndarray, blocks: Blocks) -> np.ndarray:
    """(k, seeds): of the adjusted mutual information of (n,) labels and each of (n, seeds) clusterings.

    The expected information of a random clustering, which is nearly inversely proportional to the rows, is computed
    once, and scaled.
    """
    return np.stack([_information_without(label, column, blocks) for column in clusters.T], axis=1)


def _information_without(label: np.ndarray, cluster: np.ndarray, blocks: Blocks) -> np.ndarray:
    rows, columns = (np.unique(values, return_inverse=True)[1] for values in (label, cluster))
    shape = int(rows.max()) + 1, int(columns.max()) + 1
    flat = np.bincount(
        (blocks.code * shape[0] + rows) * shape[1] + columns, minlength=len(blocks) * shape[0] * shape[1]
    )
    of_blocks = flat.reshape(len(blocks), *shape)
    whole = of_blocks.sum(axis=0)
    expected = expected_mutual_information(whole, len(label))
    left = whole - of_blocks
    n = left.sum(axis=(1, 2))
    by_row, by_column = (entropy(left.sum(axis=axis), axis=1) for axis in (2, 1))
    information = by_row + by_column - entropy(left.reshape(len(blocks), -1), axis=1)
    chance = expected * len(label) / n
    return np.asarray((information - chance) / ((by_row + by_column) / 2 - chance))
