"""Statistics of classifiers' calls, as functions of counts: accuracy, F1, Matthews' correlation.

The original averages them over batches (HyenaDNA spec 6.0); Matthews' correlation and F1 of a batch are not those of
the test set, nor is their mean.
"""

import numpy as np

from evaluation_dart.statistics.blocks import Blocks


def confusion(called: np.ndarray, label: np.ndarray, classes: int) -> np.ndarray:
    """Counts of (label, called), (classes, classes + 1) int64; the last column counts calls of no class."""
    everything = Blocks(np.zeros(len(label), dtype=np.int64), "all rows")
    return np.asarray(block_confusion(called, label, classes, everything)[0])


def block_confusion(called: np.ndarray, label: np.ndarray, classes: int, blocks: Blocks) -> np.ndarray:
    """The same of each block: (k, classes, classes + 1)."""
    called = np.where((called >= 0) & (called < classes), called, classes)
    width = classes * (classes + 1)
    counts = np.bincount(blocks.code * width + label * (classes + 1) + called, minlength=max(len(blocks), 1) * width)
    return counts.reshape(-1, classes, classes + 1)


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


def f1_weighted(counts: np.ndarray) -> np.ndarray:
    """F1 of the classes of (..., k, k + 1) counts, weighted by how many rows each has: (...)."""
    rows = counts.sum(-1)
    return np.asarray((f1_by_class(counts) * rows).sum(-1) / rows.sum(-1))


def f1_of_second(counts: np.ndarray) -> np.ndarray:
    """F1 of the second class of (..., k, k + 1) counts: (...)."""
    return np.asarray(f1_by_class(counts)[..., 1])


def matthews_correlation(counts: np.ndarray) -> np.ndarray:
    """Gorodkin's R_K of (..., k, k + 1) counts; of two classes, Matthews' correlation. 0 where it is not defined."""
    total, right = counts.sum((-2, -1)).astype(float), _right(counts).sum(-1)
    called, labelled = counts.sum(-2).astype(float), counts.sum(-1).astype(float)
    covariance = right * total - (called[..., :-1] * labelled).sum(-1)
    spread = np.sqrt((total**2 - (called**2).sum(-1)) * (total**2 - (labelled**2).sum(-1)))
    return np.where(spread > 0, covariance / np.where(spread > 0, spread, 1), 0.0)


def _right(counts: np.ndarray) -> np.ndarray:
    return np.diagonal(counts[..., :-1], axis1=-2, axis2=-1)
