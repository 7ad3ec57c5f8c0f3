"""Metrics of classifiers over a whole test set, with intervals: accuracy, F1, Matthews' correlation, AUROC.

The original averages them over batches (HyenaDNA spec 6.0); Matthews' correlation and F1 of a batch are not those of
the test set, nor is their mean.
"""

from collections.abc import Callable, Mapping, Sequence

import numpy as np
from scipy.stats import rankdata

from datasets_dart.errors import InputError
from evaluation_dart.statistics.intervals import (
    CONFIDENCE,
    FEWEST_BLOCKS,
    REPLICATES,
    block_bootstrap_interval,
    exact_proportion,
    genome_blocks,
)
from evaluation_dart.statistics.metric import Metric

LABELS_AT_ONCE = 64
AUROC_REPLICATES = 100


def confusion(called: np.ndarray, label: np.ndarray, classes: int) -> np.ndarray:
    """Counts of (label, called), (classes, classes + 1) int64; the last column counts calls of no class."""
    called = np.where((called >= 0) & (called < classes), called, classes)
    return np.bincount(label * (classes + 1) + called, minlength=classes * (classes + 1)).reshape(classes, classes + 1)


def accuracy(counts: np.ndarray) -> np.ndarray:
    """Of (..., k, k + 1) confusion counts: (...)."""
    return np.asarray(_right(counts).sum(-1) / counts.sum((-2, -1)))


def f1_by_class(counts: np.ndarray) -> np.ndarray:
    """2 TP / (2 TP + FP + FN) of each class of (..., k, k + 1) counts: (..., k); 0 for one neither there nor called."""
    called, labelled = counts[..., :-1].sum(-2), counts.sum(-1)
    return np.asarray(2 * _right(counts) / np.maximum(called + labelled, 1))


def f1_macro(counts: np.ndarray) -> np.ndarray:
    """Mean F1 of the classes of (..., k, k + 1) counts: (...)."""
    return np.asarray(f1_by_class(counts).mean(-1))


def matthews_correlation(counts: np.ndarray) -> np.ndarray:
    """Gorodkin's R_K of (..., k, k + 1) counts; of two classes, Matthews' correlation. 0 where it is not defined."""
    total, right = counts.sum((-2, -1)).astype(float), _right(counts).sum(-1)
    called, labelled = counts.sum(-2).astype(float), counts.sum(-1).astype(float)
    covariance = right * total - (called[..., :-1] * labelled).sum(-1)
    spread = np.sqrt((total**2 - (called**2).sum(-1)) * (total**2 - (labelled**2).sum(-1)))
    return np.where(spread > 0, covariance / np.where(spread > 0, spread, 1), 0.0)


def _right(counts: np.ndarray) -> np.ndarray:
    return np.diagonal(counts[..., :-1], axis1=-2, axis2=-1)


def classification_metrics(
    called: np.ndarray,
    label: np.ndarray,
    classes: Sequence[str],
    chrom: np.ndarray | None = None,
    start: np.ndarray | None = None,
    seed: int = 0,
) -> dict[str, Metric]:
    """`accuracy` with its exact interval; `mcc`, `f1_macro` and, of two classes, `f1` of the second, by bootstrap.

    What is resampled are 1-Mb blocks of the genome where coordinates are given and there are ten, else rows, as
    `method` says. All three
    are functions of the confusion counts, so that a replicate is a draw of counts.

    Args:
        called, label: (n,) numbers of classes; a call outside of them is a wrong one.

    Raises:
        ValueError: for no rows, or a label that is none of the classes.
    """
    n, k = len(label), len(classes)
    if n == 0:
        raise InputError("there are no rows to judge")
    if outside := sorted({int(number) for number in label} - set(range(k))):
        raise InputError(f"label {outside[0]} is none of the classes {', '.join(classes)}")
    counts = confusion(called, label, k)
    rng = np.random.default_rng(seed)
    blocks = None if chrom is None or start is None else genome_blocks(chrom, start)
    if blocks is not None and blocks.max() + 1 >= FEWEST_BLOCKS:
        number = int(blocks.max()) + 1
        of_blocks = np.stack([confusion(called[blocks == block], label[blocks == block], k) for block in range(number)])
        drawn = rng.multinomial(number, np.full(number, 1 / number), size=REPLICATES)
        replicates = np.einsum("rb,bij->rij", drawn, of_blocks)
        method = f"bootstrap of 1-Mb blocks, percentiles of {REPLICATES} replicates"
    else:
        replicates = rng.multinomial(n, counts.ravel() / n, size=REPLICATES).reshape(REPLICATES, k, k + 1)
        few = f" (fewer than {FEWEST_BLOCKS} blocks of 1 Mb: too narrow where neighbours are alike)"
        method = f"bootstrap of rows{few if blocks is not None else ''}, percentiles of {REPLICATES} replicates"
    metrics = {"accuracy": exact_proportion(int(_right(counts).sum()), n)}
    statistics: dict[str, Callable[[np.ndarray], np.ndarray]] = {"mcc": matthews_correlation, "f1_macro": f1_macro}
    if k == 2:
        statistics["f1"] = lambda of: f1_by_class(of)[..., 1]
    tail = (1 - CONFIDENCE) / 2
    for name, statistic in statistics.items():
        low, high = np.nanquantile(statistic(replicates), [tail, 1 - tail])
        metrics[name] = Metric(float(statistic(counts)), low, high, n, method)
    return metrics


def auroc_by_label(scores: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Area under the ROC curve of each column of (n, k) scores and 0/1 labels: (k,); NaN for one of a single class."""
    areas = np.full(scores.shape[1], np.nan)
    for first in range(0, scores.shape[1], LABELS_AT_ONCE):
        part = slice(first, first + LABELS_AT_ONCE)
        positive = labels[:, part].astype(bool)
        ranks = rankdata(scores[:, part], axis=0)
        ones = positive.sum(axis=0).astype(float)
        pairs = ones * (len(positive) - ones)
        above = np.where(positive, ranks, 0).sum(axis=0) - ones * (ones + 1) / 2
        areas[part] = np.divide(above, pairs, out=np.full(len(pairs), np.nan), where=pairs > 0)
    return areas


def label_metrics(
    scores: np.ndarray,
    labels: np.ndarray,
    groups: Mapping[str, Sequence[int]],
    chrom: np.ndarray,
    start: np.ndarray,
    replicates: int = AUROC_REPLICATES,
    seed: int = 0,
) -> dict[str, Metric]:
    """`median_auroc_{group}` over the labels of each group, and over all of them; (n, k) scores and labels.

    Labels without both a positive and a negative row are left out. Intervals resample 1-Mb blocks of the genome.
    """

    def medians(rows: np.ndarray) -> np.ndarray:
        areas = auroc_by_label(scores[rows], labels[rows])
        chosen = [areas, *(areas[list(members)] for members in groups.values())]
        return np.array([np.nanmedian(own) if not np.isnan(own).all() else np.nan for own in chosen])

    values, blocks = medians(np.arange(len(scores))), genome_blocks(chrom, start)
    names = ["median_auroc", *(f"median_auroc_{group}" for group in groups)]
    defined = np.flatnonzero(~np.isnan(values)).tolist()
    interval = block_bootstrap_interval(
        lambda rows: medians(rows)[defined], np.arange(len(scores)), blocks, replicates, seed=seed
    )
    method = f"bootstrap of 1-Mb blocks, percentiles of {replicates} replicates"
    if interval is None:
        method = f"no interval: fewer than {FEWEST_BLOCKS} blocks of 1 Mb"
    lows, highs = interval or ([None] * len(defined),) * 2
    metrics = {name: Metric.undefined("no label has both a positive and a negative row", len(scores)) for name in names}
    for own, low, high in zip(defined, lows, highs, strict=True):
        metrics[names[own]] = Metric(values[own], low, high, len(scores), method)
    return metrics
