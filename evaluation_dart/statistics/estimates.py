"""Every statistic in one form: its value, and its values without each block of rows that are alike.

From these follow its standard error (jackknife), its 95 % interval, the difference of two models on the same rows, and
the mean over seeds. Intervals are Student's on a scale on which the estimate is nearly normal: the logit for
proportions, F1 and areas, Fisher's z for correlations. The degrees of freedom are fewer where blocks are of unequal
size: 1 / sum(h^2) - 1, h being a block's share of the rows. There is no interval, and it is said why, where there are
too few blocks, or too few of them have the rarer class.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import NamedTuple

import numpy as np
from scipy import stats
from scipy.special import expit, logit
from sklearn.metrics import adjusted_mutual_info_score

from evaluation_dart.statistics import jackknife, scores
from evaluation_dart.statistics.blocks import ROWS, Blocks, row_blocks
from evaluation_dart.statistics.classification import (
    accuracy,
    block_confusion,
    confusion,
    f1_macro,
    f1_of_second,
    f1_weighted,
    matthews_correlation,
)
from evaluation_dart.statistics.intervals import CONFIDENCE, FEWEST_BLOCKS, Interval, binomial_interval, exact_interval
from evaluation_dart.statistics.metric import Metric

MOST_GROUPS, FEWEST_GROUPS, MOST_VISITS = 500, 50, 20_000_000  # of blocks, for what is computed anew without each
FEWEST_OF_CLASS = 10  # rows of the rarer class
FEWEST_OF_PRECISION = 20  # positives of an average precision
FEWEST_BLOCKS_OF_CLASS = 5
FEWEST_EVEN_BLOCKS = 7  # of a correlation: of equal size that would say as much
NOTHING = 1e-12  # a standard error that is rounding


class Scale(NamedTuple):
    """A scale on which an estimate is nearly normal: there, back, and the derivative of the way there."""

    name: str
    there: Callable[[float], float]
    back: Callable[[float], float]
    slope: Callable[[float], float]
    lowest: float
    highest: float


PLAIN = Scale("", float, float, lambda x: 1.0, -math.inf, math.inf)
SHARE = Scale(", logit scale", lambda x: float(logit(x)), lambda x: float(expit(x)), lambda x: 1 / (x * (1 - x)), 0, 1)
LOGIT = Scale(", logit scale", lambda x: float(logit(x)), lambda x: float(expit(x)), lambda x: 1 / (x * (1 - x)), 0, 1)
FISHER = Scale(", Fisher's z", math.atanh, math.tanh, lambda x: 1 / (1 - x * x), -1, 1)


@dataclass(frozen=True)
class Estimate:
    """A statistic with what its interval, and its difference from another, are made of.

    Attributes:
        value: NaN where it is not defined. n: how many rows (or motifs, seeds) it is of.
        blocks: of its rows. without: (k,) its values without each block. Both None where `why` says so.
        scale: on which its interval is symmetric. why: there is no interval, or no value.
        higher_is_better: None where neither is.
        drawn: the variance that comes from seeds; spread: that of the values over seeds, which has some of the rows' in
            it; draws: how many there are.
        trials: at an end of the scale, how many blocks count: of two classes, those of the rarer; None: all.
        own: an interval that is not made from `without`. iid: makes the interval that takes rows as independent.
        published: what stands in the place of the interval by protocol "paper". note: what else `method` says.
    """

    value: float
    n: int
    blocks: Blocks | None = None
    without: np.ndarray | None = None
    scale: Scale = PLAIN
    why: str = ""
    higher_is_better: bool | None = True
    drawn: float = 0.0
    spread: float = 0.0
    draws: int = 1
    trials: int | None = None
    own: Interval | None = None
    iid: Callable[[], Interval] | None = None
    published: Interval | None = None
    note: str = ""


Estimates = Mapping[str, Estimate]


def no_interval(value: float, n: int, why: str, higher_is_better: bool | None = True) -> Estimate:
    """A value without an interval, and how it was made, or why there is none."""
    return Estimate(float(value), n, why=why, higher_is_better=higher_is_better)


def undefined(why: str, n: int, higher_is_better: bool | None = True) -> Estimate:
    """A statistic without a value, and why: of a constant, say."""
    return no_interval(math.nan, n, f"not defined: {why}", higher_is_better)


def standard_error(estimate: Estimate) -> float:
    """Of the value, from blocks and seeds; NaN where there are no blocks."""
    if estimate.without is None:
        return math.nan
    return math.sqrt(float(jackknife.standard_error(estimate.without)) ** 2 + estimate.drawn)


def degrees_of_freedom(estimate: Estimate) -> float:
    """Of the standard error: the blocks', or Satterthwaite's of blocks and seeds; NaN where there are no blocks."""
    if estimate.blocks is None or estimate.without is None:
        return math.nan
    of_blocks = jackknife.degrees_of_freedom(estimate.blocks)
    if not estimate.drawn:
        return of_blocks
    rows = float(jackknife.standard_error(estimate.without)) ** 2
    return (rows + estimate.drawn) ** 2 / (rows**2 / of_blocks + estimate.spread**2 / (estimate.draws - 1))


def interval(estimate: Estimate) -> Interval:
    """The 95 % interval; at an end of its scale, or where all blocks say the same, Korn and Graubard's.

    There as many trials are taken as there are blocks, of two classes blocks with a row of the rarer: of 10 positives
    above 990 controls no more is known than 10 trials say. A statistic on another scale has no interval there.
    """
    if estimate.why or estimate.blocks is None or estimate.without is None:
        return Interval(None, None, estimate.why + estimate.note)
    found = estimate.own or _interval(estimate.value, estimate)
    return found._replace(method=found.method + estimate.note)


def _interval(value: float, estimate: Estimate) -> Interval:
    blocks, scale = estimate.blocks, estimate.scale
    assert blocks is not None
    assert estimate.without is not None
    error, df = standard_error(estimate), degrees_of_freedom(estimate)
    if not scale.lowest < value < scale.highest or error < NOTHING:
        if scale not in (LOGIT, SHARE):
            return Interval(None, None, "no interval: every block says the same")
        trials = len(blocks) if estimate.trials is None else estimate.trials
        of_class = "" if estimate.trials is None else " that have the rarer class"
        low, high = exact_interval(value * trials, trials)
        return Interval(low, high, f"Korn-Graubard, {trials:,} {blocks.name}{of_class} as trials")
    if scale is SHARE and estimate.without.min() > 0 and estimate.without.max() < 1:
        # The error of few blocks' logits: a straight line in place of the curve makes it too small near 0 and 1
        of_rows = float(jackknife.standard_error(logit(estimate.without)))
        error = math.hypot(of_rows, math.sqrt(estimate.drawn) * scale.slope(value)) / scale.slope(value)
    low, high = student_interval(value, error, df, scale)
    seeds = f", with the spread over {estimate.draws} seeds" if estimate.draws > 1 else ""
    return Interval(low, high, f"jackknife of {len(blocks):,} {blocks.name}{seeds}, t({df:.3g}){scale.name}")


def student_interval(value: float, error: float, df: float, scale: Scale) -> tuple[float, float]:
    """value -+ t x error on a scale, back from it."""
    reach = float(stats.t.ppf(0.5 + CONFIDENCE / 2, df)) * error * scale.slope(value)
    middle = scale.there(value)
    return scale.back(middle - reach), scale.back(middle + reach)


def metric(estimate: Estimate) -> Metric:
    """An estimate as a record keeps it."""
    sound = interval(estimate)
    if not math.isfinite(estimate.value):
        return Metric(math.nan, None, None, estimate.n, estimate.why, estimate.higher_is_better)
    shown = estimate.published or sound
    iid, honest = estimate.iid and estimate.iid(), None if estimate.published is None else sound
    return Metric(
        estimate.value,
        shown.low,
        shown.high,
        estimate.n,
        shown.method,
        estimate.higher_is_better,
        iid=None if iid is None or iid.low is None else iid._asdict(),
        honest=None if honest is None else honest._asdict(),
    )


def metrics_of(estimates: Estimates) -> dict[str, Metric]:
    """Metrics by name."""
    return {name: metric(estimate) for name, estimate in estimates.items()}


def difference(one: Estimate, two: Estimate) -> Estimate:
    """One less two, of the same rows: block by block, so that what both share cancels. On no scale but its own.

    The rows of one may be a part of those of two, if the blocks of both were taken from the same ones.
    """
    value = one.value - two.value
    why = one.why or two.why
    if why or one.blocks is None or two.blocks is None or one.without is None or two.without is None:
        return no_interval(value, min(one.n, two.n), why, None)
    blocks, (left, right) = _side_by_side([one, two])
    draws = [own.draws for own in (one, two) if own.draws > 1]
    return Estimate(
        value,
        min(one.n, two.n),
        blocks,
        left - right,
        higher_is_better=one.higher_is_better,
        drawn=one.drawn + two.drawn,
        spread=math.hypot(one.spread, two.spread),
        draws=min(draws, default=1),
        note=", paired",
    )


def mean_over_seeds(estimates: Sequence[Estimate]) -> Estimate:
    """Mean of one statistic over models that differ in their seed, on the same rows.

    Two sources of variation: rows, by the jackknife of the mean, and seeds, by the spread of the values, less what of
    that spread the rows bring, each seed having chances of its own on each row, which the jackknife has counted.
    """
    first, m = estimates[0], len(estimates)
    if m == 1:
        return first
    value = float(np.mean([own.value for own in estimates]))
    why = next((own.why for own in estimates if own.why), "")
    if why or any(own.blocks is None or own.without is None for own in estimates):
        return no_interval(value, first.n, why, first.higher_is_better)
    blocks, columns = _side_by_side(estimates)
    without = np.stack(columns, axis=1)
    drawn, spread = _variance_of_seeds(np.array([own.value for own in estimates]), without)
    found = replace(first, value=value, blocks=blocks, without=without.mean(axis=1))
    return replace(found, drawn=drawn, spread=spread, draws=m, own=None, iid=None, published=None)


def _variance_of_seeds(values: np.ndarray, without: np.ndarray) -> tuple[float, float]:
    """Of the mean of (m,) values, what seeds bring beside rows, and their whole spread; without: (k, m)."""
    m = len(values)
    spread = float(values.var(ddof=1)) / m
    of_rows = float((jackknife.standard_error(without - without.mean(axis=1, keepdims=True)) ** 2).sum()) / (m - 1) / m
    return max(spread - of_rows, 0.0), spread


def _side_by_side(estimates: Sequence[Estimate]) -> tuple[Blocks, list[np.ndarray]]:
    """The blocks that any of them has, and the values of each without each; (k,) its value, where it lacks a block."""
    all_blocks = [own.blocks for own in estimates if own.blocks is not None]
    numbers = all_blocks[0].numbers
    if all(len(own) == len(numbers) and (own.numbers == numbers).all() for own in all_blocks):
        return all_blocks[0], [np.asarray(own.without) for own in estimates]
    numbers = np.unique(np.concatenate([own.numbers for own in all_blocks]))
    columns = []
    for own, blocks in zip(estimates, all_blocks, strict=True):
        column = np.full(len(numbers), own.value)
        column[np.searchsorted(numbers, blocks.numbers)] = own.without
        columns.append(column)
    sizes = np.zeros((len(all_blocks), len(numbers)), dtype=np.int64)
    for row, blocks in zip(sizes, all_blocks, strict=True):
        row[np.searchsorted(numbers, blocks.numbers)] = blocks.sizes
    code = np.repeat(np.arange(len(numbers)), sizes.max(axis=0))
    return Blocks(code, all_blocks[0].name, numbers), columns


def p_value(estimate: Estimate, null: float = 0.0, two_sided: bool = True) -> float:
    """Of a value of `null`, by Student's t on no scale; one-sided, of more than it. NaN where there is no error."""
    error = standard_error(estimate)
    if not error > NOTHING:
        return math.nan
    t = (estimate.value - null) / error
    df = degrees_of_freedom(estimate)
    return float(2 * stats.t.sf(abs(t), df) if two_sided else stats.t.sf(t, df))


def too_few(blocks: Blocks, classes: Sequence[np.ndarray] = (), fewest: int = FEWEST_OF_CLASS) -> str:
    """Why there is no interval; "" where there may be one. classes: (n,) bool each, that rows are of a class."""
    if len(blocks) < FEWEST_BLOCKS:
        return f"no interval: {len(blocks)} {blocks.name}, fewer than {FEWEST_BLOCKS}"
    counts = [blocks.sums(own.astype(float)) for own in classes]
    if counts:
        rarer = min(counts, key=lambda own: (own.sum(), (own > 0).sum()))
        if rarer.sum() < fewest or (rarer > 0).sum() < FEWEST_BLOCKS_OF_CLASS:
            return (
                f"no interval: the rarer class has {rarer.sum():.0f} rows in {(rarer > 0).sum()} {blocks.name}; "
                f"{fewest} in {FEWEST_BLOCKS_OF_CLASS} are needed"
            )
    return ""


def fewest_with_class(blocks: Blocks, classes: Sequence[np.ndarray]) -> int | None:
    """How many blocks have a row of that class, (n,) bool each, which the fewest have; None of no classes."""
    return min((int((blocks.sums(own.astype(float)) > 0).sum()) for own in classes), default=None)


def estimated(
    value: float,
    blocks: Blocks,
    without: Callable[[Blocks], np.ndarray],
    scale: Scale,
    why_undefined: str = "",
    classes: Sequence[np.ndarray] = (),
    fewest: int = FEWEST_OF_CLASS,
    most: int | None = None,
) -> Estimate:
    """An estimate from its value, and a function of blocks that gives its values without each.

    Args:
        why_undefined: there is no value, where it is NaN. classes, fewest: see [`too_few`]. most: blocks for which
            `without` can be had.
    """
    n = len(blocks.code)
    if math.isnan(value):
        return undefined(why_undefined, n)

    def by(own: Blocks) -> Estimate:
        if why := too_few(own, classes, fewest):
            return no_interval(value, n, why)
        own = own if most is None else own.at_most(most)
        values = without(own)
        if not np.isfinite(values).all():
            return no_interval(value, n, "no interval: it is not defined without one of the blocks")
        return Estimate(value, n, own, values, scale, trials=fewest_with_class(own, classes))

    return replace(by(blocks), iid=None if blocks.name == ROWS else lambda: interval(by(row_blocks(n))))


def groups(blocks: Blocks) -> int:
    """Of how many blocks a statistic is computed anew without each: fewer of many rows."""
    return int(np.clip(MOST_VISITS / len(blocks.code), FEWEST_GROUPS, MOST_GROUPS))


def proportion(success: np.ndarray, blocks: Blocks) -> Estimate:
    """Of the share of True among (n,) bool."""
    values = np.asarray(success, dtype=float)
    found = estimated(float(values.mean()), blocks, partial(jackknife.means_without, values), SHARE)
    return replace(found, iid=partial(binomial_interval, int(values.sum()), len(values)))


def mean(values: np.ndarray, blocks: Blocks, scale: Scale = PLAIN) -> Estimate:
    """Of the mean of (n,) values; of shares, of which each is between 0 and 1, on the scale `LOGIT`."""
    return estimated(float(values.mean()), blocks, partial(jackknife.means_without, values), scale)


def auroc(score: np.ndarray, positive: np.ndarray, blocks: Blocks) -> Estimate:
    """Of an area under the ROC curve: DeLong's interval, of blocks."""
    without = partial(jackknife.auroc_without, score, positive)
    return estimated(
        scores.auroc(score, positive), blocks, without, LOGIT, "a class has no rows", (positive, ~positive)
    )


def average_precision(score: np.ndarray, positive: np.ndarray, blocks: Blocks) -> Estimate:
    """Of an average precision."""
    return estimated(
        scores.average_precision(score, positive),
        blocks,
        partial(jackknife.average_precision_without, score, positive),
        LOGIT,
        "a class has no rows",
        (positive, ~positive),
        FEWEST_OF_PRECISION,
        groups(blocks),
    )


CONSTANT = "what is correlated is constant over these rows"


def pearson(one: np.ndarray, two: np.ndarray, blocks: Blocks) -> Estimate:
    """Of a Pearson correlation."""
    without = partial(jackknife.pearson_without, one, two)
    return _correlation(scores.pearson(one, two), blocks, without, None)


def spearman(one: np.ndarray, two: np.ndarray, blocks: Blocks) -> Estimate:
    """Of a Spearman correlation."""
    without = partial(jackknife.spearman_without, one, two)
    return _correlation(scores.averaged_spearman(one, two), blocks, without, groups(blocks))


def _correlation(value: float, blocks: Blocks, without: Callable[[Blocks], np.ndarray], most: int | None) -> Estimate:
    """None where few blocks have most of the rows."""
    found = estimated(value, blocks, without, FISHER, CONSTANT, most=most)
    even = 1 / float(((blocks.sizes / blocks.sizes.sum()) ** 2).sum())
    if found.why or even > FEWEST_EVEN_BLOCKS - NOTHING:
        return found
    why = f"no interval: {len(blocks)} {blocks.name}, so unequal that they count as {even:.1f} equal ones"
    return replace(no_interval(value, found.n, f"{why}, fewer than {FEWEST_EVEN_BLOCKS}"), iid=found.iid)


# Statistics of (..., k, k + 1) confusion counts
COUNTED: dict[str, tuple[Callable[[np.ndarray], np.ndarray], Scale]] = {
    "accuracy": (accuracy, LOGIT),
    "mcc": (matthews_correlation, FISHER),
    "f1_macro": (f1_macro, LOGIT),
    "f1": (f1_of_second, LOGIT),
    "f1_weighted": (f1_weighted, LOGIT),
}


def counted(name: str, called: np.ndarray, label: np.ndarray, classes: int, blocks: Blocks) -> Estimate:
    """Of a statistic of confusion counts, by its name in `COUNTED`.

    Args:
        called, label: (n,) numbers of classes; a call outside of them is a wrong one.
    """
    if name == "accuracy":
        return proportion(called == label, blocks)
    statistic, scale = COUNTED[name]

    def without(own: Blocks) -> np.ndarray:
        return jackknife.counts_without(block_confusion(called, label, classes, own), statistic)

    value = float(statistic(confusion(called, label, classes)))
    present = [label == number for number in np.unique(label)]
    return estimated(value, blocks, without, scale, "", present, most=groups(blocks))


class LabelAreas:
    """Areas under the ROC curves of many labels, and without each block, once for all groups of them."""

    def __init__(self, score: np.ndarray, labels: np.ndarray, blocks: Blocks):
        """Of (n, k) scores and 0/1 labels."""
        self.blocks, self.why = blocks, too_few(blocks)
        self.areas = scores.auroc_by_label(score, labels)
        self.without = np.full((len(blocks), len(self.areas)), np.nan)
        self.trials = np.zeros(len(self.areas))
        for label in np.flatnonzero(np.isfinite(self.areas)) if not self.why else ():
            positive = labels[:, label].astype(bool)
            self.without[:, label] = jackknife.auroc_without(score[:, label], positive, blocks)
            self.trials[label] = fewest_with_class(blocks, (positive, ~positive))

    def median(self, members: Sequence[int]) -> Estimate:
        """Of the median over the members that have both a positive and a negative row."""
        n, areas = len(self.blocks.code), self.areas[list(members)]
        there = np.array(members)[np.isfinite(areas)]
        if not len(there):
            return undefined("no label has both a positive and a negative row", n)
        value = float(np.median(self.areas[there]))
        if self.why:
            return no_interval(value, n, self.why)
        trials = int(np.median(self.trials[there]))
        return Estimate(value, n, self.blocks, np.nanmedian(self.without[:, there], axis=1), LOGIT, trials=trials)


def information_by_seed(label: np.ndarray, clusters: np.ndarray) -> np.ndarray:
    """(seeds,) adjusted mutual information of (n,) labels and each of (n, seeds) clusterings."""
    return np.array([adjusted_mutual_info_score(label, column) for column in clusters.T])


def mutual_information(by_seed: np.ndarray, label: np.ndarray, clusters: np.ndarray, blocks: Blocks) -> Estimate:
    """Of the mean over seeds of [`information_by_seed`]: rows and seeds both vary."""
    value, n, seeds = float(by_seed.mean()), len(label), len(by_seed)
    if why := too_few(blocks):
        return no_interval(value, n, why)
    without = jackknife.information_without(label, clusters, blocks)
    drawn, spread = _variance_of_seeds(by_seed, without) if seeds > 1 else (0.0, 0.0)
    return Estimate(value, n, blocks, without.mean(axis=1), drawn=drawn, spread=spread, draws=seeds)


def quantile(values: np.ndarray, q: float, blocks: Blocks) -> Estimate:
    """Of a quantile: all values x with a share of rows below x that may be at most q, and up to x at least q.

    Its values without each block, of which differences are made, are straight lines: what the share of rows up to it
    changes, over the density that the interval's width shows (Woodruff).
    """
    value = float(np.quantile(values, q))
    share = proportion(values <= value, blocks)
    iid = partial(order_statistics, values, q)
    if share.why or share.blocks is None or share.without is None:
        return replace(share, value=value, iid=iid)
    around = interval(share)
    assert around.low is not None
    assert around.high is not None
    ordered = np.unique(values)

    def may_be(x: float) -> bool:
        below, up_to = interval(proportion(values < x, blocks)).low, interval(proportion(values <= x, blocks)).high
        return below is not None and up_to is not None and below <= q <= up_to

    middle = min(int(np.searchsorted(ordered, value)), len(ordered) - 1)
    low = _edge(ordered, 0, middle, may_be)
    high = _edge(ordered, len(ordered) - 1, middle, may_be)
    own = Interval(min(low, value), max(high, value), f"share of rows up to it: {around.method}")
    density = (around.high - around.low) / (high - low) if high > low else math.inf
    return Estimate(value, len(values), share.blocks, value - (share.without - share.value) / density, own=own, iid=iid)


def order_statistics(values: np.ndarray, q: float) -> Interval:
    """Of a quantile, rows being taken as independent; none where there are too few of them."""
    found = stats.quantile_test(values, p=q).confidence_interval(CONFIDENCE)
    if not np.isfinite([found.low, found.high]).all():
        return Interval(None, None, "no interval: too few rows")
    return Interval(float(found.low), float(found.high), "order statistics, exact binomial")


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
