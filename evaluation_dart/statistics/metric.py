"""What every metric is: a value with its interval, how the interval was made, and n."""

import math
from collections.abc import Mapping
from typing import Any


class Entries(dict[str, Any]):
    """A mapping as JSON holds it, with its entries as attributes too."""

    def __getattr__(self, name: str) -> Any:
        if name in self:
            return self[name]
        raise AttributeError(f"there is no {name!r}: {', '.join(self)}")


class Metric(Entries):
    """A metric as JSON holds it, with its entries as attributes too.

    Attributes:
        value: the metric; NaN where it is not defined, for the reason that `method` says.
        low: the lower end of its 95 % interval; None where there is none.
        high: the upper end.
        n: how many rows (or motifs, seeds) it is of.
        method: how the interval was made.
        higher_is_better: None where neither is.
        iid: the interval that takes rows as independent of one another (low, high, method), or None.
        honest: of protocol "paper", whose low, high and method are the original's: the interval that allows for rows
            that are alike (low, high, method); otherwise None.
    """

    value: float
    low: float | None
    high: float | None
    n: int
    method: str
    higher_is_better: bool | None
    iid: Entries | None
    honest: Entries | None

    def __init__(
        self,
        value: float,
        low: float | None,
        high: float | None,
        n: int,
        method: str,
        higher_is_better: bool | None = True,
        iid: Mapping[str, Any] | None = None,
        honest: Mapping[str, Any] | None = None,
    ):
        super().__init__(
            value=float(value),
            low=None if low is None or not math.isfinite(low) else float(low),
            high=None if high is None or not math.isfinite(high) else float(high),
            n=n,
            method=method,
            higher_is_better=higher_is_better,
            iid=None if iid is None else Entries(iid),
            honest=None if honest is None else Entries(honest),
        )

    @classmethod
    def undefined(cls, why: str, n: int, higher_is_better: bool | None = True) -> "Metric":
        """A metric without a value, and why: of a constant, say."""
        return cls(math.nan, None, None, n, f"not defined: {why}", higher_is_better)

    @property
    def is_defined(self) -> bool:
        """Whether it has a value."""
        return math.isfinite(self.value)


def interval_text(metric: Mapping[str, Any], digits: str = ".3f") -> str:
    """The interval of a metric as text after its value, in brackets; the sound one beside one that was published."""
    text = ends_text(metric, digits)
    honest = metric.get("honest")
    return f"{text} as published,{ends_text(honest, digits) or ' none'} by blocks" if honest else text


def ends_text(interval: Mapping[str, Any], digits: str = ".3f") -> str:
    """The ends in brackets after a space; "" where there are none."""
    low, high = interval["low"], interval["high"]
    return "" if low is None or high is None else f" [{low:{digits}}, {high:{digits}}]"
