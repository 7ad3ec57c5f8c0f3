"""Metrics of the tasks: pure functions of arrays, each value with an interval, its method, and n."""

import math
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, NamedTuple

import numpy as np
from scipy import stats
from scipy.special import log_softmax, logsumexp

from datasets_dart.errors import InputError
from evaluation_dart.statistics.classification import auroc_by_label, confusion, matthews_correlation
from evaluation_dart.statistics.intervals import (
    FEWEST_BLOCKS,
    block_bootstrap_interval,
    block_resamples,
    exact_proportion,
    genome_blocks,
    normal_interval,
    standard_error_interval,
)
from evaluation_dart.statistics.metric import Metric

# Elements in ENCFF420VPZ.bed: the n of the published intervals, whichever split they are of.
PUBLISHED_ELEMENTS = 2_348_854
# Peaks of task 3 with one cell line, likewise.
PUBLISHED_PEAKS = 216_746
QUANTILES = {"q05_diff": 0.05, "q25_diff": 0.25, "median_diff": 0.5, "q75_diff": 0.75, "q95_diff": 0.95}


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
        raise InputError("there are no pairs to compare")
    if not np.isfinite(difference).all():
        row = int(np.flatnonzero(~np.isfinite(difference))[0])
        raise InputError(f"the scores of row {row}, {score[row]} and {control_score[row]}, are not finite")
    metrics = {"accuracy": _proportion(int((difference > 0).sum()), n, 2 * PUBLISHED_ELEMENTS, protocol)}

    def summary(values: np.ndarray) -> np.ndarray:
        return np.array([(values > 0).mean(), values.mean(), *np.quantile(values, list(QUANTILES.values()))])

    metrics |= _by_block(("accuracy_by_block", "mean_diff", *QUANTILES), summary, difference, chrom, start)
    statistic, p_value = _wilcoxon(difference)
    wilcoxon = "one-sided Wilcoxon signed-rank test of score > control_score"
    metrics["wilcoxon_p"] = Metric(p_value, None, None, n, wilcoxon, False)
    metrics["wilcoxon_statistic"] = Metric(statistic, None, None, n, wilcoxon, True)
    return metrics


class MotifMetrics(NamedTuple):
    """Task 2, per motif: arrays of one value a motif, in the order of `motif`."""

    motif: np.ndarray
    accuracy: np.ndarray
    p_value: np.ndarray
    n: int  # trials of a motif: backgrounds x strands
    wins: np.ndarray  # (motifs, backgrounds), mean over strands
    accuracy_vs_background: np.ndarray | None = None  # likelihoods only


def motif_metrics(
    background: np.ndarray,
    motif: np.ndarray,
    strand: np.ndarray,
    kind: np.ndarray,
    score: np.ndarray,
    distances: bool = False,
    protocol: str = "fixed",
) -> MotifMetrics:
    """Task 2, per motif: how often a model tells it from its shuffle, over backgrounds and strands (spec section 3).

    Args:
        background, motif, strand, kind: (n,), which trial a row is; kind is raw, motif or shuffled.
        score: (n,) likelihoods, of which the motif's should be higher than its shuffle's; or, with `distances`, the
            distances of the row's embedding from that of the bare background.
        protocol: "paper" counts a tie of likelihoods as right; "fixed", as wrong. (Of distances both do the latter.)

    Raises:
        ValueError: for a score that is not finite, or rows that are not one motif and one shuffle for each motif,
            background and strand.
    """
    score = _finite(score)
    rows = np.flatnonzero(kind != "raw")
    codes = [np.unique(column[rows].astype(str), return_inverse=True)[1] for column in (strand, motif)]
    rows = rows[np.lexsort((codes[0], background[rows], codes[1]))]  # motif by motif, then background, then strand
    true, shuffled = (rows[kind[rows] == which] for which in ("motif", "shuffled"))
    same = len(true) == len(shuffled) and all((x[true] == x[shuffled]).all() for x in (motif, background, strand))
    names, trials = np.unique(motif[true].astype(str), return_counts=True)
    backgrounds, strands = np.unique(background[true]), np.unique(strand[true].astype(str))
    n = len(backgrounds) * len(strands)
    if not same or not len(true) or (trials != n).any():
        raise InputError("not one motif and one shuffle of it for each motif, background and strand")
    shape = (len(names), n)
    difference = (score[true] - score[shuffled]).reshape(shape)
    right = difference >= 0 if protocol == "paper" and not distances else difference > 0
    against_background = None
    if not distances:
        raw = {(background[row], strand[row]): score[row] for row in np.flatnonzero(kind == "raw")}
        try:
            bare = np.array([raw[pair] for pair in zip(background[true], strand[true], strict=True)])
        except KeyError as error:
            raise InputError(f"there is no bare background {error}") from None
        effect = np.abs(bare - score[true]) > np.abs(bare - score[shuffled])
        against_background = effect.reshape(shape).mean(axis=1)
    return MotifMetrics(
        names,
        right.mean(axis=1),
        np.array([_wilcoxon(row)[1] for row in difference]),
        n,
        right.reshape(len(names), len(backgrounds), len(strands)).mean(axis=2),
        against_background,
    )


def motif_summary(metrics: MotifMetrics, protocol: str = "fixed") -> dict[str, Metric]:
    """Task 2 in few numbers: `accuracy` is the mean over motifs; shares of motifs and quantiles over motifs follow.

    Intervals resample backgrounds, whole: what all motifs have in common. protocol "paper" has the accuracy's interval
    as published for one motif, which takes the trials of a motif, both strands, for independent.
    """
    summaries: dict[str, Callable[[np.ndarray], Any]] = {
        "accuracy": np.mean,
        "share_above_0.5": lambda accuracy: (accuracy > 0.5).mean(),
        "share_above_0.7": lambda accuracy: (accuracy > 0.7).mean(),
        **{f"q{round(100 * q):02d}_accuracy": partial(np.quantile, q=q) for q in (0, 0.25, 0.5, 0.75, 1)},
    }

    def summary(accuracy: np.ndarray) -> np.ndarray:
        return np.array([value(accuracy) for value in summaries.values()])

    value, motifs, backgrounds = summary(metrics.accuracy), len(metrics.motif), metrics.wins.shape[1]
    replicated = [summary(metrics.wins[:, draw].mean(axis=1)) for draw in block_resamples(np.arange(backgrounds))]
    low = high = np.full(len(summaries), np.nan)
    method = f"no interval: fewer than {FEWEST_BLOCKS} backgrounds"
    if replicated:
        low, high = (end.clip(0, 1) for end in standard_error_interval(value, np.array(replicated)))
        method = f"value -+ 1.96 standard errors, from 1000 bootstrap replicates of the {backgrounds} backgrounds"
    result = {name: Metric(value[i], low[i], high[i], motifs, method, True) for i, name in enumerate(summaries)}
    if protocol == "paper":
        low_, high_ = normal_interval(float(value[0]), metrics.n)
        method = f"normal approximation with n = {metrics.n}, as published for one motif: strands are not independent"
        result["accuracy"] = Metric(value[0], low_, high_, motifs, method, True)
    significant = (metrics.p_value * motifs < 0.05).mean()
    method = "one-sided Wilcoxon signed-rank tests, Bonferroni-corrected p < 0.05"
    result["share_significant"] = Metric(significant, None, None, motifs, method, True)
    if metrics.accuracy_vs_background is not None:
        method = "share of trials in which the motif changes the background's score more than its shuffle does"
        result["accuracy_vs_background"] = Metric(
            metrics.accuracy_vs_background.mean(), None, None, motifs, method, True
        )
    return result


def pair_classification_metrics(
    score: np.ndarray,
    control_score: np.ndarray,
    chrom: np.ndarray | None = None,
    start: np.ndarray | None = None,
    protocol: str = "fixed",
) -> dict[str, Metric]:
    """Task 1, supervised: are elements told from their shuffled controls? (spec section 2, probing)

    `accuracy` is over all 2 n sequences, an element being right with a score above 0 and a control without;
    `accuracy_paired` is the share of pairs with score > control_score. Both have an interval of blocks of the genome,
    too (`..._by_block`), as have AUROC, average precision ("auprc") and Matthews' correlation ("mcc").

    Args:
        score, control_score: (n,) log p(element) - log p(control) of either. protocol: "paper" has the published
            intervals, which take the size of the whole data set for n.
    """
    score, control_score = _finite(score), _finite(control_score)
    n = len(score)
    right, wins = int((score > 0).sum() + (control_score <= 0).sum()), int((score > control_score).sum())
    metrics = {
        "accuracy": _proportion(right, 2 * n, 2 * PUBLISHED_ELEMENTS, protocol),
        "accuracy_paired": _proportion(wins, n, PUBLISHED_ELEMENTS, protocol),
    }

    def summary(values: np.ndarray) -> np.ndarray:
        both, is_element = values.T.reshape(-1), np.repeat([True, False], len(values))
        return np.array(
            [
                ((both > 0) == is_element).mean(),
                (values[:, 0] > values[:, 1]).mean(),
                auroc(both, is_element),
                average_precision(both, is_element),
                matthews(both > 0, is_element),
            ]
        )

    names = ("accuracy_by_block", "accuracy_paired_by_block", "auroc", "auprc", "mcc")
    return metrics | _by_block(names, summary, np.stack([score, control_score], axis=1), chrom, start)


def class_metrics(
    logits: np.ndarray,
    label: np.ndarray,
    classes: tuple[str, ...],
    chrom: np.ndarray | None = None,
    start: np.ndarray | None = None,
    protocol: str = "fixed",
) -> dict[str, Metric]:
    """Task 3, supervised: accuracy, and each class against the rest by its log-odds (spec section 4).

    `auroc_{class}`, `auprc_{class}`, and of the prediction p >= 0.5, which is not the argmax, `mcc_{class}` and
    `accuracy_{class}`. `accuracy_by_block` is the accuracy with an interval of blocks of the genome.

    Args:
        logits: (n, k); label: (n,) numbers of classes. protocol: "paper" has the published interval, which takes the
            size of the whole data set for n, and log-odds in float32, with ties where p rounds to 1.

    Raises:
        ValueError: for a logit that is not finite, or a label that is none of the classes.
    """
    _finite(logits.reshape(-1))
    if outside := sorted({int(number) for number in label} - set(range(len(classes)))):
        raise InputError(f"label {outside[0]} is none of the classes {', '.join(classes)}")
    right = logits.argmax(axis=1) == label
    metrics = {"accuracy": _proportion(int(right.sum()), len(label), PUBLISHED_PEAKS, protocol)}
    odds = original_log_odds(logits) if protocol == "paper" else log_odds(logits)
    present = np.unique(label).tolist()  # of a class without rows there is nothing to say

    def summary(values: np.ndarray) -> np.ndarray:
        of_classes = []
        for number in present:
            score, positive = values[:, 2 + number], values[:, 1] == number
            of_classes += [auroc(score, positive), average_precision(score, positive)]
            of_classes += [matthews(score >= 0, positive), ((score >= 0) == positive).mean()]
        return np.array([values[:, 0].mean(), *of_classes])

    names = [f"{kind}_{classes[number]}" for number in present for kind in ("auroc", "auprc", "mcc", "accuracy")]
    values = np.column_stack([right, label, odds])
    return metrics | _by_block(["accuracy_by_block", *names], summary, values, chrom, start)


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


def matthews(called: np.ndarray, positive: np.ndarray) -> float:
    """Matthews' correlation coefficient of two (n,) bool arrays; 0 where one of them is constant, as scikit-learn."""
    return float(matthews_correlation(confusion(called.astype(int), positive.astype(int), 2)))


def clustering_metrics(
    label: np.ndarray,
    clusters: np.ndarray,
    chrom: np.ndarray | None = None,
    start: np.ndarray | None = None,
    protocol: str = "fixed",
) -> dict[str, Metric]:
    """Task 3, zero-shot: adjusted mutual information of clusters and cell lines, mean over seeds (spec section 4).

    Args:
        label: (n,) classes; clusters: (n, seeds); chrom, start: (n,), where each window lies, if known.
        protocol: "paper" has the published interval, the spread over seeds of k-means, which says nothing of other
            elements.

    Raises:
        ValueError: for labels of fewer than two classes.
    """
    from sklearn.metrics import adjusted_mutual_info_score

    n, seeds = clusters.shape
    if len(np.unique(label)) < 2:
        raise InputError("elements of two cell lines or more are needed")
    by_seed = np.array([adjusted_mutual_info_score(label, column) for column in clusters.T])
    value = by_seed.mean()
    if protocol == "paper":
        half_width = np.abs(value - np.quantile(by_seed, [0.025, 0.975])).max()
        method = f"largest distance to the 2.5 and 97.5 % quantiles over {seeds} seeds, as published: not of other data"
        return {"adjusted_mutual_information": Metric(value, value - half_width, value + half_width, n, method, True)}
    method = f"no interval: fewer than {FEWEST_BLOCKS} blocks of 1 Mb"
    interval = None
    if chrom is not None and start is not None:
        # One seed a replicate, against its own value: what remains is the sampling of elements.
        change = [
            adjusted_mutual_info_score(label[rows], clusters[rows, i % seeds]) - by_seed[i % seeds]
            for i, rows in enumerate(block_resamples(genome_blocks(chrom, start)))
        ]
        if change:
            interval = standard_error_interval(value, np.array(change))
            method = "value -+ 1.96 standard errors, from 1000 bootstrap replicates of 1-Mb blocks, one seed each"
    low, high = (None, None) if interval is None else map(float, interval)
    metrics = {"adjusted_mutual_information": Metric(value, low, high, n, method, True)}
    if seeds > 1:
        method = "standard deviation over seeds of k-means"
        metrics["spread_over_seeds"] = Metric(by_seed.std(ddof=1), None, None, seeds, method, None)
    return metrics


def activity_metrics(
    prediction: np.ndarray,
    log_counts: np.ndarray,
    category: np.ndarray,
    chrom: np.ndarray | None = None,
    start: np.ndarray | None = None,
    protocol: str = "fixed",
) -> dict[str, Metric]:
    """Task 4: do predictions follow log counts, and tell reproducible peaks from background? (spec section 5)

    Pearson and Spearman correlations over peaks, idr, nonpeaks and "all", peaks with nonpeaks; AUROC and average
    precision ("auprc") of idr against nonpeaks. Categories without rows have no metrics.

    Args:
        prediction, log_counts, category: (n,); chrom, start: where each window lies, if known.
        protocol: "paper" ranks ties in the order of the rows; "fixed" averages them. Published were no intervals.
    """
    prediction = _finite(prediction)
    spearman = ordinal_spearman if protocol == "paper" else averaged_spearman
    metrics: dict[str, Metric] = {}
    groups = {name: category == name for name in ("peaks", "idr", "nonpeaks")}
    groups["all"] = groups["peaks"] | groups["nonpeaks"]
    for name, rows in groups.items():
        if rows.sum() > 1 and (name != "all" or (groups["peaks"].any() and groups["nonpeaks"].any())):
            values, names = np.stack([prediction, log_counts], axis=1), (f"pearson_{name}", f"spearman_{name}")
            metrics |= _by_block(names, lambda v: np.array([pearson(*v.T), spearman(*v.T)]), values, chrom, start, rows)
    if groups["idr"].any() and groups["nonpeaks"].any():
        values, rows = np.stack([prediction, groups["idr"]], axis=1), groups["idr"] | groups["nonpeaks"]
        metrics |= _by_block(("auroc", "auprc"), _discrimination, values, chrom, start, rows)
    if not metrics:
        raise InputError("there are no two rows of a category to correlate")
    return metrics


def variant_metrics(
    change: np.ndarray,
    label: np.ndarray | None,
    effect: np.ndarray | None,
    chrom: np.ndarray,
    position: np.ndarray,
    directed: bool = True,
    protocol: str = "fixed",
) -> dict[str, Metric]:
    """Task 5: do variants that change accessibility stand out, and does the predicted change follow theirs?

    With both classes: AUROC and average precision ("auprc") of |change|, and the one-sided Mann-Whitney test. Over
    positives with an effect: Pearson and Spearman correlation of change and effect and, of directed changes other than
    0, how often their signs agree (`direction_accuracy`). (spec section 6e)

    Args:
        change: (n,) of the allele that `effect` is of against the other; or distances, if not `directed`.
        label: (n,) bool, or None: all are positives. effect: (n,), NaN where there is none, or None.
        protocol: "paper" correlates distances, which have no sign, with signed effects; "fixed", with |effect|.
            Published were no intervals.

    Raises:
        ValueError: for no rows, or a score that is not finite, or if there is nothing to compare.
    """
    change = _finite(change)
    positive = np.ones(len(change), bool) if label is None else np.asarray(label, bool)
    metrics: dict[str, Metric] = {}
    if positive.any() and not positive.all():
        values = np.stack([np.abs(change), positive], axis=1)
        metrics |= _by_block(("auroc", "auprc"), _discrimination, values, chrom, position)
        test = stats.mannwhitneyu(np.abs(change[positive]), np.abs(change[~positive]), alternative="greater")
        method = "one-sided Mann-Whitney test of positives > controls"
        metrics["mannwhitney_p"] = Metric(test.pvalue, None, None, len(change), method, False)
    if effect is not None:
        rows = positive & np.isfinite(effect)
        if rows.sum() > 1:
            values = np.stack([change, effect if directed or protocol == "paper" else np.abs(effect)], axis=1)
            metrics |= _by_block(
                ("pearson", "spearman"),
                lambda v: np.array([pearson(*v.T), averaged_spearman(*v.T)]),
                values,
                chrom,
                position,
                rows,
            )
        rows &= np.asarray(effect) != 0
        if directed and rows.any():
            metrics["direction_accuracy"] = _direction_accuracy(change[rows], effect[rows])
    if not metrics:
        raise InputError("neither controls beside positives nor effects: there is nothing to compare scores with")
    return metrics


def _direction_accuracy(change: np.ndarray, effect: np.ndarray) -> Metric:
    """How often the signs of changes and of effects other than 0 agree; a change of 0 has none, and does not count."""
    signed = change != 0
    n, without = int(signed.sum()), int((~signed).sum())
    if n == 0:
        return Metric.undefined("all scores are 0, and have no sign", without)
    found = exact_proportion(int((np.sign(change[signed]) == np.sign(effect[signed])).sum()), n)
    if without:
        found["method"] += f"; {without} scores of 0, which have no sign, left out"
    return found


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


def ordinal_spearman(one: np.ndarray, two: np.ndarray) -> float:
    """Spearman correlation with ties ranked in the order of the rows, as the original's (spec section 5e)."""
    return pearson(*(stats.rankdata(values, method="ordinal") for values in (one, two)))


def auroc(score: np.ndarray, positive: np.ndarray) -> float:
    """Area under the ROC curve, ties counting half; NaN where a class is empty."""
    return float(auroc_by_label(score[:, None], positive[:, None])[0])


def average_precision(score: np.ndarray, positive: np.ndarray) -> float:
    """Sum over thresholds of precision x gain in recall, tied scores passing together; NaN where a class is empty."""
    if positive.all() or not positive.any():
        return math.nan
    order = np.argsort(-score, kind="stable")
    last = np.append(np.flatnonzero(np.diff(score[order])), len(score) - 1)  # of each run of ties
    hits = np.cumsum(positive[order])[last]
    return float((np.diff(hits, prepend=0) * hits / (last + 1)).sum() / positive.sum())


def _discrimination(values: np.ndarray) -> np.ndarray:
    score, positive = values[:, 0], values[:, 1] > 0
    return np.array([auroc(score, positive), average_precision(score, positive)])


def _finite(score: np.ndarray) -> np.ndarray:
    """`score` in float64.

    Raises:
        ValueError: if there is none, or naming the first that is not finite.
    """
    score = np.asarray(score, dtype=np.float64)
    if not len(score):
        raise InputError("there are no scores")
    if not np.isfinite(score).all():
        row = int(np.flatnonzero(~np.isfinite(score))[0])
        raise InputError(f"the score of row {row}, {score[row]}, is not finite")
    return score


def _wilcoxon(difference: np.ndarray) -> tuple[float, float]:
    """Statistic and p-value of the one-sided signed-rank test of difference > 0."""
    if not difference.any():  # all ties: the test is not defined, and there is no evidence at all
        return 0.0, 1.0
    test = stats.wilcoxon(difference, alternative="greater")
    return float(test.statistic), float(test.pvalue)


def _by_block(
    names: Sequence[str],
    statistic: Callable[[np.ndarray], np.ndarray],
    values: np.ndarray,
    chrom: np.ndarray | None,
    start: np.ndarray | None,
    rows: np.ndarray | slice = slice(None),
) -> dict[str, Metric]:
    """Metrics of the `rows` of `values` (n, ...) with intervals by resampling blocks of the genome."""
    values = values[rows]
    value, interval = statistic(values), None
    low = high = np.full(len(names), np.nan)
    method = f"no interval: fewer than {FEWEST_BLOCKS} blocks of 1 Mb"
    if chrom is not None and start is not None and not np.isnan(value).all():
        interval = block_bootstrap_interval(statistic, values, genome_blocks(chrom[rows], start[rows]))
    if interval is not None:
        low, high = interval
        method = "bootstrap of 1-Mb blocks, percentiles of 1000 replicates"
    return {
        name: Metric.undefined(_why_undefined(name), len(values))
        if math.isnan(value[i])
        else Metric(value[i], low[i], high[i], len(values), method, True)
        for i, name in enumerate(names)
    }


def _why_undefined(name: str) -> str:
    """Why a statistic of this name may be NaN."""
    if name.startswith(("pearson", "spearman")):
        return "what is correlated is constant over these rows"
    return "a class has no rows"


def _proportion(successes: int, n: int, published: int, protocol: str) -> Metric:
    """A share with its exact interval, or with the published one."""
    if protocol != "paper":
        return exact_proportion(successes, n)
    low, high = normal_interval(successes / n, published)
    return Metric(successes / n, low, high, n, f"normal approximation with n = {published}, as published: too narrow")
