"""Estimates with 95 % intervals that allow for rows of one block being alike.

The standard error comes from leaving out one block at a time (`jackknife`), and the interval from Student's t on a
scale on which the estimate is nearly normal: the logit for proportions, F1 and areas, Fisher's z for correlations. Its
degrees of freedom are fewer where blocks are of unequal size: 1 / sum(h^2) - 1, h being a block's share of the rows.

There is no interval, and `method` says why, where there are too few blocks, or too few of them have the rarer class.
"""

import math
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from scipy import stats
from scipy.special import expit, logit

from evaluation_dart.statistics import jackknife
from evaluation_dart.statistics.blocks import Blocks
from evaluation_dart.statistics.classification import accuracy, f1_by_class, f1_macro, matthews_correlation
from evaluation_dart.statistics.intervals import CONFIDENCE, FEWEST_BLOCKS

MOST_GROUPS = 500  # of blocks, for what is computed anew without each
FEWEST_OF_CLASS = 10  # rows of the rarer class
FEWEST_BLOCKS_OF_CLASS = 5


class Scale(NamedTuple):
    """A scale on which an estimate is nearly normal: there, back, and the derivative of the way there."""

    name: str
    there: Callable[[float], float]
    back: Callable[[float], float]
    slope: Callable[[float], float]
    lowest: float
    highest: float


PLAIN = Scale("", float, float, lambda x: 1.0, -math.inf, math.inf)
LOGIT = Scale(", logit scale", lambda x: float(logit(x)), lambda x: float(expit(x)), lambda x: 1 / (x * (1 - x)), 0, 1)
FISHER = Scale(", Fisher's z", math.atanh, math.tanh, lambda x: 1 / (1 - x * x), -1, 1)


# Statistics of (..., k, k + 1) confusion counts
COUNTED: dict[str, tuple[Callable[[np.ndarray], np.ndarray], Scale]] = {
    "accuracy": (accuracy, LOGIT),
    "f1": (lambda counts: f1_by_class(counts)[..., 1], LOGIT),
    "f1_macro": (f1_macro, LOGIT),
    "mcc": (matthews_correlation, FISHER),
}


class Interval(NamedTuple):
    """The ends of an interval, None where there is none, and how it was made, or why there is none."""

    low: float | None
    high: float | None
    method: str


def student_interval(value: float, error: float, df: float, scale: Scale) -> tuple[float, float]:
    """value -+ t x error on a scale, back from it."""
    reach = float(stats.t.ppf(0.5 + CONFIDENCE / 2, df)) * error * scale.slope(value)
    middle = scale.there(value)
    return scale.back(middle - reach), scale.back(middle + reach)


def clopper_pearson(successes: float, n: float) -> tuple[float, float]:
    """Exact interval of a proportion, also for numbers that are not whole (an effective size)."""
    tail = (1 - CONFIDENCE) / 2
    low = 0.0 if successes <= 0 else float(stats.beta.ppf(tail, successes, n - successes + 1))
    high = 1.0 if successes >= n else float(stats.beta.ppf(1 - tail, successes + 1, n - successes))
    return low, high


def jackknife_interval(value: float, without: np.ndarray, blocks: Blocks, scale: Scale) -> Interval:
    """Of a statistic, from its values without each block (k,).

    At an end of its scale, or where every block says the same, the interval is that of a proportion of as many trials
    as there are blocks; a statistic that is no proportion has none there.
    """
    why = too_few(blocks)
    if why:
        return Interval(None, None, why)
    if not np.isfinite(without).all():
        return Interval(None, None, "no interval: it is not defined without one of the blocks")
    error = float(jackknife.standard_error(without))
    if not scale.lowest < value < scale.highest or error < 1e-12:
        if scale is not LOGIT:
            return Interval(None, None, "no interval: every block says the same")
        low, high = clopper_pearson(value * len(blocks), len(blocks))
        return Interval(low, high, f"Korn-Graubard, {len(blocks)} {blocks.name} as trials")
    df = jackknife.degrees_of_freedom(blocks)
    low, high = student_interval(value, error, df, scale)
    return Interval(low, high, f"jackknife of {len(blocks):,} {blocks.name}, t({df:.3g}){scale.name}")


def too_few(blocks: Blocks, positive: np.ndarray | None = None) -> str:
    """Why there is no interval; "" where there may be one. positive: (n,) bool, of two classes."""
    if len(blocks) < FEWEST_BLOCKS:
        return f"no interval: {len(blocks)} {blocks.name}, fewer than {FEWEST_BLOCKS}"
    if positive is not None:
        ones = blocks.sums(positive.astype(float))
        zeros = blocks.sizes - ones
        rarer = ones if ones.sum() <= zeros.sum() else zeros
        if rarer.sum() < FEWEST_OF_CLASS or (rarer > 0).sum() < FEWEST_BLOCKS_OF_CLASS:
            return (
                f"no interval: the rarer class has {rarer.sum():.0f} rows in {(rarer > 0).sum()} {blocks.name}; "
                f"{FEWEST_OF_CLASS} in {FEWEST_BLOCKS_OF_CLASS} are needed"
            )
    return ""


def proportion(success: np.ndarray, blocks: Blocks) -> Interval:
    """Of the share of True among (n,) bool."""
    success = np.asarray(success, dtype=float)
    return jackknife_interval(float(success.mean()), jackknife.means_without(success, blocks), blocks, LOGIT)


def mean(values: np.ndarray, blocks: Blocks) -> Interval:
    """Of the mean of (n,) values."""
    return jackknife_interval(float(values.mean()), jackknife.means_without(values, blocks), blocks, PLAIN)


def auroc(value: float, score: np.ndarray, positive: np.ndarray, blocks: Blocks) -> Interval:
    """Of an area under the ROC curve."""
    if why := too_few(blocks, positive):
        return Interval(None, None, why)
    return jackknife_interval(value, jackknife.auroc_without(score, positive, blocks), blocks, LOGIT)


def average_precision(value: float, score: np.ndarray, positive: np.ndarray, blocks: Blocks) -> Interval:
    """Of an average precision."""
    if why := too_few(blocks, positive):
        return Interval(None, None, why)
    groups = blocks.at_most(MOST_GROUPS)
    return jackknife_interval(value, jackknife.average_precision_without(score, positive, groups), groups, LOGIT)


def pearson(value: float, one: np.ndarray, two: np.ndarray, blocks: Blocks) -> Interval:
    """Of a Pearson correlation."""
    return jackknife_interval(value, jackknife.pearson_without(one, two, blocks), blocks, FISHER)


def spearman(value: float, one: np.ndarray, two: np.ndarray, blocks: Blocks) -> Interval:
    """Of a Spearman correlation."""
    groups = blocks.at_most(MOST_GROUPS)
    return jackknife_interval(value, jackknife.spearman_without(one, two, groups), groups, FISHER)


def of_confusion(name: str, called: np.ndarray, label: np.ndarray, classes: int, blocks: Blocks) -> Interval:
    """Of a statistic of confusion counts, by its name in `COUNTED`; called, label: (n,) numbers of classes."""
    if classes == 2 and (why := too_few(blocks, label == 1)):
        return Interval(None, None, why)
    statistic, scale = COUNTED[name]
    width = classes * (classes + 1)
    called = np.where((called >= 0) & (called < classes), called, classes)
    of_blocks = np.bincount(blocks.code * width + label * (classes + 1) + called, minlength=len(blocks) * width)
    counts = of_blocks.reshape(len(blocks), classes, classes + 1)
    return jackknife_interval(
        float(statistic(counts.sum(axis=0))), jackknife.counts_without(counts, statistic), blocks, scale
    )


def adjusted_mutual_information(
    by_seed: np.ndarray, label: np.ndarray, clusters: np.ndarray, blocks: Blocks
) -> Interval:
    """Of the mean over seeds of a clustering: rows and seeds both vary.

    Args:
        by_seed: (seeds,) values; label: (n,); clusters: (n, seeds).
    """
    without = jackknife.information_without(label, clusters, blocks)
    found = jackknife_interval(float(by_seed.mean()), without.mean(axis=1), blocks, PLAIN)
    if found.low is None or len(by_seed) == 1:
        return found
    error = float(np.hypot(jackknife.standard_error(without.mean(axis=1)), by_seed.std(ddof=1) / np.sqrt(len(by_seed))))
    low, high = student_interval(float(by_seed.mean()), error, jackknife.degrees_of_freedom(blocks), PLAIN)
    return Interval(low, high, f"{found.method}, with the spread over {len(by_seed)} seeds")


def quantile(values: np.ndarray, q: float, blocks: Blocks) -> Interval:
    """Of a quantile: all values x with a share of rows below x that may be at most q, and up to x at least q."""
    share = proportion(values <= np.quantile(values, q), blocks)
    if share.low is None:
        return share
    ordered = np.unique(values)

    def may_be(x: float) -> bool:
        below, up_to = proportion(values < x, blocks).low, proportion(values <= x, blocks).high
        return below is not None and up_to is not None and below <= q <= up_to

    middle = int(np.searchsorted(ordered, np.quantile(values, q)))
    middle = min(middle, len(ordered) - 1)
    low = _edge(ordered, 0, middle, may_be)
    high = _edge(ordered, len(ordered) - 1, middle, may_be)
    return Interval(float(low), float(high), f"share of rows up to it: {share.method}")


def _edge(ordered: np.ndarray, outside: int, inside: int, may_be: Callable[[float], bool]) -> float:
    """By bisection, the value nearest to `outside` for which `may_be` holds, which does at `inside`."""
    if may_be(ordered[outside]):
        return float(ordered[outside])
    while abs(outside - inside) > 1:
        between = (outside + inside) // 2
        if may_be(ordered[between]):
            inside = between
        else:
            outside = between
    return float(ordered[inside])
