"""Metrics of the tasks: pure functions of arrays and blocks, whose estimates have what an interval is made of."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import NamedTuple

import numpy as np
from scipy import stats

from datasets_dart.errors import InputError
from evaluation_dart.statistics import calibration, estimates, scores, significance
from evaluation_dart.statistics.blocks import Blocks
from evaluation_dart.statistics.estimates import LOGIT, Estimate, no_interval, undefined
from evaluation_dart.statistics.intervals import Interval, published_interval

# Elements in ENCFF420VPZ.bed: the n of the published intervals, whichever split they are of.
PUBLISHED_ELEMENTS = 2_348_854
# Peaks of task 3 with one cell line, likewise.
PUBLISHED_PEAKS = 216_746
QUANTILES = {"q05_diff": 0.05, "q25_diff": 0.25, "median_diff": 0.5, "q75_diff": 0.75, "q95_diff": 0.95}


def paired_likelihood_estimates(
    score: np.ndarray, control_score: np.ndarray, blocks: Blocks, protocol: str = "fixed"
) -> dict[str, Estimate]:
    """Task 1, zero-shot: does the model find an element likelier than its shuffled control? (DART-Eval spec section 2)

    `accuracy` is the share of pairs with score > control_score, ties being wrong. Then mean and quantiles of
    score - control_score, and the one-sided signed-rank test, in which the signs of whole blocks are turned.

    Args:
        score, control_score: (n,); blocks: of the pairs.
        protocol: "paper" gives the accuracy the published interval, which takes the size of the whole data set,
            2 x 2,348,854, for n, and Wilcoxon's test, which takes pairs for independent.

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
    found = {
        "accuracy": _published_share(difference > 0, blocks, 2 * PUBLISHED_ELEMENTS, protocol),
        "mean_diff": estimates.mean(difference, blocks),
        **{name: estimates.quantile(difference, q, blocks) for name, q in QUANTILES.items()},
    }
    test = "one-sided signed-rank test of score > control_score"
    if protocol == "paper":
        p, how = significance.wilcoxon_p(difference), f"{test} (Wilcoxon); takes rows as independent"
    else:
        turned = blocks.at_most(significance.MOST_TURNED)
        p = significance.sign_flip_p(difference, turned)
        how = f"{test}, signs turned by {len(turned):,} {turned.name}"
    found["wilcoxon_p"] = no_interval(p, n, how, False)
    found["wilcoxon_statistic"] = no_interval(
        significance.signed_ranks(difference).clip(0).sum(), n, "sum of the ranks of differences above 0"
    )
    return found


class MotifMetrics(NamedTuple):
    """Task 2, per motif: arrays of one value a motif, in the order of `motif`."""

    motif: np.ndarray
    accuracy: np.ndarray
    p_value: np.ndarray
    n: int  # trials of a motif: backgrounds x strands
    wins: np.ndarray  # (motifs, backgrounds), mean over strands
    accuracy_vs_background: np.ndarray | None = None  # likelihoods only
    wins_vs_background: np.ndarray | None = None  # (motifs, backgrounds), mean over strands


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

    p-values are of the signed-rank test, in which the signs of whole backgrounds are turned, both strands together.

    Args:
        background, motif, strand, kind: (n,), which trial a row is; kind is raw, motif or shuffled.
        score: (n,) likelihoods, of which the motif's should be higher than its shuffle's; or, with `distances`, the
            distances of the row's embedding from that of the bare background.
        protocol: "paper" counts a tie of likelihoods as right, "fixed" as wrong (of distances both do the latter), and
            has p-values that take the strands of a background for independent.

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
    shape = (len(names), len(backgrounds), len(strands))
    difference = (score[true] - score[shuffled]).reshape(shape[0], n)
    right = difference >= 0 if protocol == "paper" and not distances else difference > 0
    against = None
    if not distances:
        raw = {(background[row], strand[row]): score[row] for row in np.flatnonzero(kind == "raw")}
        try:
            bare = np.array([raw[pair] for pair in zip(background[true], strand[true], strict=True)])
        except KeyError as error:
            raise InputError(f"there is no bare background {error}") from None
        against = (np.abs(bare - score[true]) > np.abs(bare - score[shuffled])).reshape(shape).mean(axis=2)
    if protocol == "paper":
        p_value = np.array([significance.wilcoxon_p(row) for row in difference])
    else:
        ranks = np.stack([significance.signed_ranks(row) for row in difference])
        p_value = significance.flipped(ranks.reshape(shape).sum(axis=2))
    return MotifMetrics(
        names,
        right.mean(axis=1),
        p_value,
        n,
        right.reshape(shape).mean(axis=2),
        None if against is None else against.mean(axis=1),
        against,
    )


SHARES = {"share_above_0.5": 0.5, "share_above_0.7": 0.7}
MOTIF_QUANTILES = (0, 0.25, 0.5, 0.75, 1)
SPREAD = "no interval: chance spreads motifs apart, and so moves this value, more so the fewer the backgrounds"


def mean_over_backgrounds(wins: np.ndarray) -> Estimate:
    """Of a mean of (backgrounds,) shares, backgrounds being the blocks."""
    return estimates.mean(wins, Blocks(np.arange(len(wins)), "backgrounds"), LOGIT)


def motif_estimates(found: MotifMetrics, protocol: str = "fixed") -> dict[str, Estimate]:
    """Task 2 in few numbers: `accuracy` is the mean over motifs; shares of motifs and quantiles over motifs follow.

    Blocks are backgrounds: what all motifs have in common. protocol "paper" has the accuracy's interval as published
    for one motif, which takes the trials of a motif, both strands, for independent.
    """
    motifs = len(found.motif)

    def mean_over_motifs(wins: np.ndarray) -> Estimate:
        return replace(mean_over_backgrounds(wins.mean(axis=0)), n=motifs, iid=None)

    accuracy = mean_over_motifs(found.wins)
    if protocol == "paper":
        interval = published_interval(accuracy.value, found.n, "for one motif; its strands are not independent")
        accuracy = replace(accuracy, published=interval)
    result = {"accuracy": accuracy}
    for name, threshold in SHARES.items():
        result[name] = no_interval((found.accuracy > threshold).mean(), motifs, SPREAD)
    for q in MOTIF_QUANTILES:
        result[f"q{round(100 * q):02d}_accuracy"] = no_interval(np.quantile(found.accuracy, q), motifs, SPREAD)
    if protocol == "paper":
        significant = (found.p_value * motifs < 0.05).mean()
        method = "one-sided Wilcoxon signed-rank tests that take strands as independent, Bonferroni-corrected p < 0.05"
    else:
        significant = (significance.benjamini_hochberg(found.p_value) < 0.05).mean()
        method = "one-sided signed-rank tests, signs turned by backgrounds, both strands at once; Benjamini-Hochberg"
        method += "-corrected p < 0.05"
    name = "share_significant_bonferroni" if protocol == "paper" else "share_significant_bh"
    result[name] = no_interval(significant, motifs, method)
    if found.wins_vs_background is not None:
        result["accuracy_vs_background"] = replace(
            mean_over_motifs(found.wins_vs_background),
            note="; share of trials in which the motif changes the background's score more than its shuffle does",
        )
    return result


def pair_classification_estimates(
    score: np.ndarray, control_score: np.ndarray, blocks: Blocks, protocol: str = "fixed"
) -> dict[str, Estimate]:
    """Task 1, supervised: are elements told from their shuffled controls? (spec section 2, probing)

    `accuracy` is over all 2 n sequences, an element being right with a score above 0 and a control without;
    `accuracy_paired` is the share of pairs with score > control_score. Then AUROC, average precision ("auprc") and
    Matthews' correlation ("mcc"), `brier` and `calibration_error` of the probabilities. An element and its control are
    in one block.

    Args:
        score, control_score: (n,) log p(element) - log p(control) of either. blocks: of the pairs. protocol: "paper"
            has the published intervals, which take the size of the whole data set for n.
    """
    score, control_score = _finite(score), _finite(control_score)
    both, is_element = np.concatenate([score, control_score]), np.repeat([True, False], len(score))
    pairs = blocks.twice()
    return {
        "accuracy": _published_share((both > 0) == is_element, pairs, 2 * PUBLISHED_ELEMENTS, protocol),
        "accuracy_paired": _published_share(score > control_score, blocks, PUBLISHED_ELEMENTS, protocol),
        "auroc": estimates.auroc(both, is_element, pairs),
        "auprc": estimates.average_precision(both, is_element, pairs),
        "mcc": estimates.counted("mcc", (both > 0).astype(int), is_element.astype(int), 2, pairs),
        **calibration.calibration_estimates(calibration.binary_calls(both, is_element, pairs)),
    }


def class_estimates(
    logits: np.ndarray, label: np.ndarray, classes: tuple[str, ...], blocks: Blocks, protocol: str = "fixed"
) -> dict[str, Estimate]:
    """Task 3, supervised: accuracy, and each class against the rest by its log-odds (spec section 4).

    `auroc_{class}`, `auprc_{class}`, and of the prediction p >= 0.5, which is not the argmax, `mcc_{class}` and
    `accuracy_{class}`. Then `brier` and `calibration_error` of the probabilities.

    Args:
        logits: (n, k); label: (n,) numbers of classes. protocol: "paper" has the published interval, which takes the
            size of the whole data set for n, and log-odds in float32, with ties where p rounds to 1.

    Raises:
        ValueError: for a logit that is not finite, or a label that is none of the classes.
    """
    _finite(logits.reshape(-1))
    _check_labels(label, classes)
    found = {"accuracy": _published_share(logits.argmax(axis=1) == label, blocks, PUBLISHED_PEAKS, protocol)}
    odds = scores.original_log_odds(logits) if protocol == "paper" else scores.log_odds(logits)
    for number in np.unique(label).tolist():  # of a class without rows there is nothing to say
        name, score, positive = classes[number], odds[:, number], label == number
        called = score >= 0
        found[f"auroc_{name}"] = estimates.auroc(score, positive, blocks)
        found[f"auprc_{name}"] = estimates.average_precision(score, positive, blocks)
        found[f"mcc_{name}"] = estimates.counted("mcc", called.astype(int), positive.astype(int), 2, blocks)
        found[f"accuracy_{name}"] = estimates.proportion(called == positive, blocks)
    return found | calibration.calibration_estimates(calibration.class_calls(logits, label, blocks))


def clustering_estimates(
    label: np.ndarray, clusters: np.ndarray, blocks: Blocks, protocol: str = "fixed"
) -> dict[str, Estimate]:
    """Task 3, zero-shot: adjusted mutual information of clusters and cell lines, mean over seeds (spec section 4).

    Args:
        label: (n,) classes; clusters: (n, seeds).
        protocol: "paper" has the published interval, the spread over seeds of k-means, which says nothing of other
            elements.

    Raises:
        ValueError: for labels of fewer than two classes.
    """
    seeds = clusters.shape[1]
    if len(np.unique(label)) < 2:
        raise InputError("elements of two cell lines or more are needed")
    by_seed = estimates.information_by_seed(label, clusters)
    found = estimates.mutual_information(by_seed, label, clusters, blocks)
    if not found.blocks:
        found = replace(found, note=f"; mean over {seeds} seeds of k-means")
    if protocol == "paper":
        half_width = np.abs(found.value - np.quantile(by_seed, [0.025, 0.975])).max()
        method = f"largest distance to the 2.5 and 97.5 % quantiles over {seeds} seeds, as published: not of other data"
        ends = float(found.value - half_width), float(found.value + half_width)
        found = replace(found, published=Interval(*ends, method))
    result = {"adjusted_mutual_information": found}
    if seeds > 1:
        method = f"standard deviation over {seeds} seeds of k-means"
        result["spread_over_seeds"] = no_interval(by_seed.std(ddof=1), seeds, method, None)
    return result


def activity_estimates(
    prediction: np.ndarray, log_counts: np.ndarray, category: np.ndarray, blocks: Blocks, protocol: str = "fixed"
) -> dict[str, Estimate]:
    """Task 4: do predictions follow log counts, and tell reproducible peaks from background? (spec section 5)

    Pearson and Spearman correlations over peaks, idr, nonpeaks and "all", peaks with nonpeaks; AUROC and average
    precision ("auprc") of idr against nonpeaks. Categories without rows have no metrics.

    Args:
        prediction, log_counts, category: (n,).
        protocol: "paper" ranks ties in the order of the rows; "fixed" averages them. Published were no intervals.
    """
    prediction = _finite(prediction)
    result: dict[str, Estimate] = {}
    groups = {name: category == name for name in ("peaks", "idr", "nonpeaks")}
    groups["all"] = groups["peaks"] | groups["nonpeaks"]
    for name, rows in groups.items():
        if rows.sum() > 1 and (name != "all" or (groups["peaks"].any() and groups["nonpeaks"].any())):
            one, two, own = prediction[rows], log_counts[rows], blocks.take(rows)
            result[f"pearson_{name}"] = estimates.pearson(one, two, own)
            if protocol == "paper":
                one, two = scores.ordinal_ranks(one), scores.ordinal_ranks(two)
            result[f"spearman_{name}"] = estimates.spearman(one, two, own)
    if groups["idr"].any() and groups["nonpeaks"].any():
        rows = groups["idr"] | groups["nonpeaks"]
        result |= _discrimination(prediction[rows], groups["idr"][rows], blocks.take(rows))
    if not result:
        raise InputError("there are no two rows of a category to correlate")
    return result


def variant_estimates(
    change: np.ndarray,
    label: np.ndarray | None,
    effect: np.ndarray | None,
    blocks: Blocks,
    directed: bool = True,
    protocol: str = "fixed",
) -> dict[str, Estimate]:
    """Task 5: do variants that change accessibility stand out, and does the predicted change follow theirs?

    With both classes: AUROC and average precision ("auprc") of |change|, and the one-sided Mann-Whitney test. Over
    positives with an effect: Pearson and Spearman correlation of change and effect and, of directed changes other than
    0, how often their signs agree (`direction_accuracy`). (spec section 6e)

    Args:
        change: (n,) of the allele that `effect` is of against the other; or distances, if not `directed`.
        label: (n,) bool, or None: all are positives. effect: (n,), NaN where there is none, or None.
        protocol: "paper" correlates distances, which have no sign, with signed effects; "fixed", with |effect|. The
            test of "paper" takes rows as independent. Published were no intervals.

    Raises:
        ValueError: for no rows, or a score that is not finite, or if there is nothing to compare.
    """
    change = _finite(change)
    positive = np.ones(len(change), bool) if label is None else np.asarray(label, bool)
    result: dict[str, Estimate] = {}
    if positive.any() and not positive.all():
        result |= _discrimination(np.abs(change), positive, blocks)
        result["mannwhitney_p"] = _mann_whitney(np.abs(change), positive, result["auroc"], protocol)
    if effect is not None:
        rows = positive & np.isfinite(effect)
        if rows.sum() > 1:
            one = change[rows]
            two = effect[rows] if directed or protocol == "paper" else np.abs(effect[rows])
            result["pearson"] = estimates.pearson(one, two, blocks.take(rows))
            result["spearman"] = estimates.spearman(one, two, blocks.take(rows))
        rows &= np.asarray(effect) != 0
        if directed and rows.any():
            result["direction_accuracy"] = _direction_accuracy(change[rows], effect[rows], blocks.take(rows))
    if not result:
        raise InputError("neither controls beside positives nor effects: there is nothing to compare scores with")
    return result


def classification_estimates(
    called: np.ndarray, label: np.ndarray, classes: Sequence[str], blocks: Blocks
) -> dict[str, Estimate]:
    """`accuracy`, `mcc`, `f1_macro` and, of two classes, `f1` of the second, of a whole test set.

    Args:
        called, label: (n,) numbers of classes; a call outside of them is a wrong one.

    Raises:
        ValueError: for no rows, or a label that is none of the classes.
    """
    if len(label) == 0:
        raise InputError("there are no rows to judge")
    _check_labels(label, classes)
    names = ("accuracy", "mcc", "f1_macro", *(("f1",) if len(classes) == 2 else ()))
    return {name: estimates.counted(name, called, label, len(classes), blocks) for name in names}


def label_estimates(
    score: np.ndarray, labels: np.ndarray, groups: Mapping[str, Sequence[int]], blocks: Blocks
) -> dict[str, Estimate]:
    """`median_auroc_{group}` over the labels of each group, and over all of them; (n, k) scores and labels.

    Labels without both a positive and a negative row are left out.
    """
    areas = estimates.LabelAreas(score, labels, blocks)
    everything = range(score.shape[1])
    return {"median_auroc": areas.median(everything)} | {
        f"median_auroc_{group}": areas.median(members) for group, members in groups.items()
    }


def _check_labels(label: np.ndarray, classes: Sequence[str]) -> None:
    if outside := sorted({int(number) for number in label} - set(range(len(classes)))):
        raise InputError(f"label {outside[0]} is none of the classes {', '.join(classes)}")


def _direction_accuracy(change: np.ndarray, effect: np.ndarray, blocks: Blocks) -> Estimate:
    """How often the signs of changes and of effects other than 0 agree; a change of 0 has none, and does not count."""
    signed = change != 0
    without = int((~signed).sum())
    if not signed.any():
        return undefined("all scores are 0, and have no sign", without)
    agree = np.sign(change[signed]) == np.sign(effect[signed])
    note = f"; {without} scores of 0, which have no sign, left out" if without else ""
    return replace(estimates.proportion(agree, blocks.take(signed)), note=note)


def _discrimination(score: np.ndarray, positive: np.ndarray, blocks: Blocks) -> dict[str, Estimate]:
    return {
        "auroc": estimates.auroc(score, positive, blocks),
        "auprc": estimates.average_precision(score, positive, blocks),
    }


def _mann_whitney(score: np.ndarray, positive: np.ndarray, area: Estimate, protocol: str) -> Estimate:
    """p-value of positives > controls: of ranks, or of the area under the curve with its error of blocks."""
    n, test = len(score), "one-sided Mann-Whitney test of positives > controls"
    if protocol == "paper":
        found = stats.mannwhitneyu(score[positive], score[~positive], alternative="greater")
        return no_interval(found.pvalue, n, f"{test}; takes rows as independent", False)
    if area.blocks is None:
        return undefined(area.why.removeprefix("no interval: "), n, False)
    p = estimates.p_value(area, null=0.5, two_sided=False)
    if not np.isfinite(p):
        return undefined("every block says the same", n, False)
    df = estimates.degrees_of_freedom(area)
    return no_interval(
        p, n, f"{test}, by DeLong's error of {len(area.blocks):,} {area.blocks.name}, t({df:.3g})", False
    )


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


def _published_share(success: np.ndarray, blocks: Blocks, published: int, protocol: str) -> Estimate:
    """A share, by protocol "paper" with the published interval."""
    found = estimates.proportion(success, blocks)
    if protocol != "paper":
        return found
    return replace(found, published=published_interval(found.value, published))
