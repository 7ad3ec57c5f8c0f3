"""Intervals of proportions that take their trials as independent, and what an interval is."""

from typing import NamedTuple

import numpy as np
from scipy import stats

CONFIDENCE = 0.95
FEWEST_BLOCKS = 10


class Interval(NamedTuple):
    """The ends of an interval, None where there is none, and how it was made, or why there is none."""

    low: float | None
    high: float | None
    method: str


def exact_interval(successes: float, n: float) -> tuple[float, float]:
    """Clopper-Pearson interval of a proportion, also for numbers that are not whole (an effective size)."""
    tail = (1 - CONFIDENCE) / 2
    low = 0.0 if successes <= 0 else float(stats.beta.ppf(tail, successes, n - successes + 1))
    high = 1.0 if successes >= n else float(stats.beta.ppf(1 - tail, successes + 1, n - successes))
    return low, high


def binomial_interval(successes: int, n: int) -> Interval:
    """The same with its name."""
    return Interval(*exact_interval(successes, n), "exact binomial (Clopper-Pearson)")


def normal_interval(proportion: float, n: int, confidence: float = CONFIDENCE) -> tuple[float, float]:
    """Wald interval of a proportion, as DART-Eval publishes it (spec section 1.8)."""
    half_width = stats.norm.ppf(0.5 + confidence / 2) * np.sqrt(proportion * (1 - proportion) / n)
    return float(proportion - half_width), float(proportion + half_width)


def published_interval(proportion: float, n: int, why: str = "too narrow") -> Interval:
    """The same with its name, and what is wrong with it."""
    return Interval(*normal_interval(proportion, n), f"normal approximation with n = {n}, as published: {why}")
