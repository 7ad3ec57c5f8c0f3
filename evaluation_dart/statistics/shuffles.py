"""Task 1 with several shuffles of each element: what their draw adds to the variance, told apart from the elements'.

One-way analysis of variance with random effects (Searle, Casella and McCulloch 1992, section 3.6): n elements with k
shuffles each, x_ij the outcome of element i and shuffle j,

    within  = sum_ij (x_ij - x_i)^2 / (n (k - 1)),   what the draw of a shuffle brings;
    between = k sum_i (x_i - x)^2 / (n - 1),         whose expectation is within + k x variance of the elements.

The variance of the mean over all is variance of the elements / n + within / (n k). Elements are taken as independent in
these two components; intervals are the jackknife's of blocks as elsewhere, and have both in them.
"""

from dataclasses import replace
from typing import NamedTuple

import numpy as np

from datasets_dart.errors import InputError
from evaluation_dart.statistics import estimates, jackknife
from evaluation_dart.statistics.blocks import Blocks
from evaluation_dart.statistics.estimates import LOGIT, Estimate, estimated, no_interval
from evaluation_dart.statistics.metrics import paired_likelihood_estimates


class Components(NamedTuple):
    """Of the variance of one outcome: of elements, and of the shuffles of one element."""

    of_elements: float
    of_shuffles: float

    @property
    def share_of_shuffles(self) -> float:
        """Of the variance of an outcome with one shuffle; NaN where nothing varies."""
        total = self.of_elements + self.of_shuffles
        return self.of_shuffles / total if total > 0 else np.nan


def components(outcomes: np.ndarray) -> Components:
    """Of (n, k) outcomes of n elements and k shuffles, n and k at least 2; a negative variance is taken for 0."""
    n, k = outcomes.shape
    means = outcomes.mean(axis=1)
    within = float(((outcomes - means[:, None]) ** 2).sum()) / (n * (k - 1))
    between = k * float(means.var(ddof=1))
    return Components(max((between - within) / k, 0.0), within)


def several_shuffles_estimates(score: np.ndarray, controls: np.ndarray, blocks: Blocks) -> dict[str, Estimate]:
    """Task 1 of likelihoods, with k shuffles of each element.

    `accuracy` is the mean over elements and shuffles of score > control; the others of one shuffle are of the score
    less the mean over controls. Then, of `accuracy` and of `mean_diff` each: `..._shuffle_error`, the part of its
    standard error that the draw of the shuffles brings, and `..._shuffle_share`, their share of the variance of one
    element's outcome with one shuffle.

    Args:
        score: (n,). controls: (n, k), k at least 2. blocks: of the elements.

    Raises:
        InputError: for fewer than 2 elements or shuffles, or a score that is not finite.
    """
    n, k = controls.shape
    if n < 2 or k < 2:
        raise InputError(f"{n} elements with {k} shuffles: variances need two of each")
    found = paired_likelihood_estimates(score, controls.mean(axis=1), blocks)
    difference = score[:, None] - controls
    if not np.isfinite(difference).all():
        raise InputError(f"the scores of row {int(np.argwhere(~np.isfinite(difference))[0, 0])} are not finite")
    right = (difference > 0).astype(float)
    found["accuracy"] = estimates.mean(right.mean(axis=1), blocks, LOGIT)
    for name, outcomes in (("accuracy", right), ("mean_diff", difference)):
        own = components(outcomes)
        error = float(np.sqrt(own.of_shuffles / (n * k)))
        found[name] = replace(found[name], note=f"; {error:.3g} of its standard error is the draw of {k} shuffles")
        found[f"{name}_shuffle_error"] = no_interval(
            error, n, f"square root of the mean variance within an element / ({n:,} elements x {k} shuffles)", False
        )
        found[f"{name}_shuffle_share"] = share_of_shuffles(outcomes, blocks)
    return found


def share_of_shuffles(outcomes: np.ndarray, blocks: Blocks) -> Estimate:
    """[`Components.share_of_shuffles`] of (n, k) outcomes."""
    k = outcomes.shape[1]
    means = outcomes.mean(axis=1)
    # Of each element, what the components are sums of: 1, mean, mean squared, squares within it
    terms = np.stack([np.ones(len(means)), means, means**2, ((outcomes - means[:, None]) ** 2).sum(axis=1)], axis=1)

    def share(sums: np.ndarray) -> np.ndarray:
        n, total, squares, within = np.moveaxis(sums, -1, 0)
        with np.errstate(invalid="ignore", divide="ignore"):
            of_shuffles = within / (n * (k - 1))
            of_elements = np.maximum((squares - total**2 / n) / (n - 1) - of_shuffles / k, 0)
            return np.asarray(of_shuffles / (of_shuffles + of_elements))

    def without(own: Blocks) -> np.ndarray:
        sums = np.stack([own.sums(term) for term in terms.T], axis=1)
        return jackknife.counts_without(sums, share)

    value = float(share(terms.sum(axis=0)))
    if value in (0.0, 1.0):
        return no_interval(value, len(means), "no interval: all of the variance is of one kind", None)
    found = estimated(value, blocks, without, LOGIT, "no outcome differs from another")
    return replace(found, higher_is_better=None)
