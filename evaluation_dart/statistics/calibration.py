"""Whether probabilities are what they say: Brier's score, calibration curves, and their error."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from scipy.special import expit, softmax

from evaluation_dart.statistics import estimates
from evaluation_dart.statistics.blocks import Blocks
from evaluation_dart.statistics.estimates import Estimate

BINS = 10
BIASED = "no interval: a mean of absolute differences is too large by chance, more so the fewer the rows in a bin"


@dataclass(frozen=True)
class Calls:
    """Probabilities of events and whether they came true.

    Attributes:
        probability: (n,) of the event. happened: (n,) bool. squared: (n,) squared errors of all probabilities of a row.
        blocks: of rows that are alike. event: what it is.
    """

    probability: np.ndarray
    happened: np.ndarray
    squared: np.ndarray
    blocks: Blocks
    event: str


def binary_calls(
    log_odds: np.ndarray, positive: np.ndarray, blocks: Blocks, event: str = "the positive class"
) -> Calls:
    """Of log p - log(1 - p) of the positive class, (n,); positive: (n,) bool."""
    probability, happened = expit(np.asarray(log_odds, np.float64)), np.asarray(positive, bool)
    return Calls(probability, happened, (probability - happened) ** 2, blocks, event)


def class_calls(logits: np.ndarray, label: np.ndarray, blocks: Blocks) -> Calls:
    """Of (n, k) logits of classes: of two, the probability of the second; of more, that of the likeliest.

    The squared error of a row is the sum over classes (Brier 1950); of two classes, half of that.

    Args:
        label: (n,) numbers of classes.
    """
    logits = np.asarray(logits, np.float64)
    if logits.shape[1] == 2:
        return binary_calls(logits[:, 1] - logits[:, 0], label == 1, blocks, "the second class")
    probability = softmax(logits, axis=1)
    called = probability.argmax(axis=1)
    squared = ((probability - np.eye(logits.shape[1])[label]) ** 2).sum(axis=1)
    return Calls(probability[np.arange(len(label)), called], called == label, squared, blocks, "the likeliest class")


def brier(calls: Calls) -> Estimate:
    """Mean squared error of the probabilities: 0 at best, 1 (of more than two classes 2) at worst."""
    return replace(estimates.mean(calls.squared, calls.blocks), higher_is_better=False)


def calibration_error(calls: Calls, bins: int = BINS) -> Estimate:
    """Expected calibration error: mean distance of predicted and observed share, over bins of about equal size."""
    bin_of = binned(calls.probability, bins)
    counts = np.bincount(bin_of)
    gaps = np.abs(np.bincount(bin_of, weights=calls.probability - calls.happened))
    return estimates.no_interval(float(gaps.sum() / counts.sum()), len(bin_of), BIASED, higher_is_better=False)


def calibration_estimates(calls: Calls) -> dict[str, Estimate]:
    """`brier` and `calibration_error`."""
    return {"brier": brier(calls), "calibration_error": calibration_error(calls)}


def calibration_curve(calls: Calls, bins: int = BINS) -> list[dict[str, Any]]:
    """Of each bin: n, mean predicted probability, share in which the event came true, and the share's interval."""
    bin_of = binned(calls.probability, bins)
    rows: list[dict[str, Any]] = []
    for number in range(int(bin_of.max()) + 1):
        own = bin_of == number
        share = estimates.proportion(calls.happened[own], calls.blocks.take(own))
        low, high, method = estimates.interval(share)
        predicted = calls.probability[own]
        row: Mapping[str, Any] = {"from": predicted.min(), "to": predicted.max(), "predicted": predicted.mean()}
        ends = {name: float(value) for name, value in row.items()}
        rows.append(ends | {"observed": share.value, "low": low, "high": high, "n": share.n, "method": method})
    return rows


def binned(values: np.ndarray, bins: int = BINS) -> np.ndarray:
    """(n,) number of each row's bin, 0, 1, ...: at quantiles; equal values are in one bin."""
    edges = np.unique(np.quantile(values, np.linspace(0, 1, bins + 1)[1:-1]))
    return np.unique(np.searchsorted(edges, values, side="left"), return_inverse=True)[1].reshape(-1)
