"""Metrics of the tasks: pure functions of arrays, each value with an interval, its method, and n."""

from typing import TypedDict

import numpy as np
from scipy import stats

from evaluation_dart.bootstrap import (
    FEWEST_BLOCKS,
    block_bootstrap_interval,
    exact_interval,
    genome_blocks,
    normal_interval,
)

# Elements in ENCFF420VPZ.bed: the n of the published intervals, whichever split they are of.
PUBLISHED_ELEMENTS = 2_348_854
QUANTILES = {"q05_diff": 0.05, "q25_diff": 0.25, "median_diff": 0.5, "q75_diff": 0.75, "q95_diff": 0.95}


class Metric(TypedDict):
    """A value; low and high are the ends of its 95 % interval, None where there is none."""

    value: float
    low: float | None
    high: float | None
    n: int
    method: str
    higher_is_better: bool | None


def paired_likelihood_metrics(
    score: np.ndarray, control_score: np.ndarray, chrom: np.ndarray, start: np.ndarray, protocol: str = "fixed"
) -> dict[str, Metric]:
    """Task 1, zero-shot: does the model find an element likelier than its shuffled control? (DART-Eval spec section 2)

    `accuracy` is the share of pairs with score > control_score, ties being wrong. `accuracy_by_block` is the
    same with an interval that allows for neighbouring elements being alike: the exact one takes all pairs for
    independent. Then mean and quantiles of score - control_score, and the one-sided Wilcoxon signed-rank test.

    Args:
        score, control_score: (n,); chrom, start: (n,), where each window lies.
        protocol: "paper" gives the accuracy the published interval, which takes the size of the whole data set,
            2 x 2,348,854, for n, and so is too narrow.

    Raises:
        ValueError: for no pairs, or a score that is not finite.
    """
    difference = np.asarray(score, dtype=np.float64) - np.asarray(control_score, dtype=np.float64)
    n = len(difference)
    if n == 0:
        raise ValueError("there are no pairs to compare")
    if not np.isfinite(difference).all():
        row = int(np.flatnonzero(~np.isfinite(difference))[0])
        raise ValueError(f"the scores of row {row}, {score[row]} and {control_score[row]}, are not finite")
    wins = int((difference > 0).sum())
    if protocol == "paper":
        low, high = normal_interval(wins / n, 2 * PUBLISHED_ELEMENTS)
        method = f"normal approximation with n = {2 * PUBLISHED_ELEMENTS}, as published: too narrow"
    else:
        low, high = exact_interval(wins, n)
        method = "exact binomial (Clopper-Pearson)"
    metrics: dict[str, Metric] = {"accuracy": _metric(wins / n, low, high, n, method, True)}

    def summary(values: np.ndarray) -> np.ndarray:
        return np.array([(values > 0).mean(), values.mean(), *np.quantile(values, list(QUANTILES.values()))])

    names = ("accuracy_by_block", "mean_diff", *QUANTILES)
    interval = block_bootstrap_interval(summary, difference, genome_blocks(chrom, start))
    for i, (name, value) in enumerate(zip(names, summary(difference), strict=True)):
        if interval is None:
            metrics[name] = _metric(
                value, None, None, n, f"no interval: fewer than {FEWEST_BLOCKS} blocks of 1 Mb", True
            )
        else:
            method = "bootstrap of 1-Mb blocks, percentiles of 1000 replicates"
            metrics[name] = _metric(value, interval[0][i], interval[1][i], n, method, True)

    if difference.any():
        test = stats.wilcoxon(difference, alternative="greater")
        statistic, p_value = float(test.statistic), float(test.pvalue)
    else:  # all ties: the test is not defined, and there is no evidence at all
        statistic, p_value = 0.0, 1.0
    wilcoxon = "one-sided Wilcoxon signed-rank test of score > control_score"
    metrics["wilcoxon_p"] = _metric(p_value, None, None, n, wilcoxon, False)
    metrics["wilcoxon_statistic"] = _metric(statistic, None, None, n, wilcoxon, True)
    return metrics


def _metric(
    value: float, low: float | None, high: float | None, n: int, method: str, higher_is_better: bool | None
) -> Metric:
    return {
        "value": float(value),
        "low": None if low is None else float(low),
        "high": None if high is None else float(high),
        "n": n,
        "method": method,
        "higher_is_better": higher_is_better,
    }
