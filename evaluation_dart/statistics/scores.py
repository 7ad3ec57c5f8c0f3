"""Statistics of scores: areas under curves, correlations, log-odds. NaN where one is not defined."""

import math

import numpy as np
from scipy import stats
from scipy.special import log_softmax, logsumexp

LABELS_AT_ONCE = 64


def pearson(one: np.ndarray, two: np.ndarray) -> float:
    """Pearson correlation of two (n,) arrays; NaN where one of them is constant."""
    if not len(one) or np.ptp(one) == 0 or np.ptp(two) == 0:
        return math.nan  # the mean of a constant may differ from it by rounding
    one, two = (values - values.mean() for values in (one, two))
    one, two = (values / np.abs(values).max() for values in (one, two))  # whose squares are within range
    return float((one * two).sum() / np.sqrt((one * one).sum() * (two * two).sum()))


def averaged_spearman(one: np.ndarray, two: np.ndarray) -> float:
    """Spearman correlation, ties having the mean of their ranks."""
    return pearson(stats.rankdata(one), stats.rankdata(two))


def ordinal_ranks(values: np.ndarray) -> np.ndarray:
    """Ranks with ties in the order of the rows, as the original's (spec section 5e)."""
    return np.asarray(stats.rankdata(values, method="ordinal"), dtype=float)


def auroc(score: np.ndarray, positive: np.ndarray) -> float:
    """Area under the ROC curve, ties counting half; NaN where a class is empty."""
    return float(auroc_by_label(score[:, None], positive[:, None])[0])


def auroc_by_label(scores: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Area under the ROC curve of each column of (n, k) scores and 0/1 labels: (k,); NaN for one of a single class."""
    areas = np.full(scores.shape[1], np.nan)
    for first in range(0, scores.shape[1], LABELS_AT_ONCE):
        part = slice(first, first + LABELS_AT_ONCE)
        positive = labels[:, part].astype(bool)
        ranks = stats.rankdata(scores[:, part], axis=0)
        ones = positive.sum(axis=0).astype(float)
        pairs = ones * (len(positive) - ones)
        above = np.where(positive, ranks, 0).sum(axis=0) - ones * (ones + 1) / 2
        areas[part] = np.divide(above, pairs, out=np.full(len(pairs), np.nan), where=pairs > 0)
    return areas


def average_precision(score: np.ndarray, positive: np.ndarray) -> float:
    """Sum over thresholds of precision x gain in recall, tied scores passing together; NaN where a class is empty."""
    if positive.all() or not positive.any():
        return math.nan
    order = np.argsort(-score, kind="stable")
    last = np.append(np.flatnonzero(np.diff(score[order])), len(score) - 1)  # of each run of ties
    hits = np.cumsum(positive[order])[last]
    return float((np.diff(hits, prepend=0) * hits / (last + 1)).sum() / positive.sum())


def log_odds(logits: np.ndarray) -> np.ndarray:
    """log p - log(1 - p) of each class of (n, k) logits, as x - logsumexp of the others: exact, however sure."""
    logits = np.asarray(logits, np.float64)
    others = [logsumexp(np.delete(logits, number, axis=1), axis=1) for number in range(logits.shape[1])]
    return np.asarray(logits - np.stack(others, axis=1))


def original_log_odds(logits: np.ndarray) -> np.ndarray:
    """The same as the original computes it: log(1 - p) from log p in float32, and -999 where p is 1 in it."""
    log_p = log_softmax(np.asarray(logits, np.float32), axis=1)
    with np.errstate(divide="ignore"):
        rest = np.where(log_p > -np.log(2), np.log(-np.expm1(log_p)), np.log1p(-np.exp(log_p)))
    return np.asarray(log_p - np.where(np.isneginf(rest), -999, rest), np.float64)
