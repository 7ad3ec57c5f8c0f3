"""What every metric is: a value with its interval, how the interval was made, and n."""

import math
from typing import Any


class Metric(dict[str, Any]):
    """A metric as JSON holds it, with its entries as attributes too.

    Attributes:
        value: the metric; low, high: the ends of its 95 % interval, None where there is none; n: how many rows (or
            motifs, seeds) it is of; method: how the interval was made; higher_is_better: None where neither is.
    """

    value: float
    low: float | None
    high: float | None
    n: int
    method: str
    higher_is_better: bool | None

    def __init__(
        self,
        value: float,
        low: float | None,
        high: float | None,
        n: int,
        method: str,
        higher_is_better: bool | None = True,
    ):
        super().__init__(
            value=float(value),
            low=None if low is None or not math.isfinite(low) else float(low),
            high=None if high is None or not math.isfinite(high) else float(high),
            n=n,
            method=method,
            higher_is_better=higher_is_better,
        )

    def __getattr__(self, name: str) -> Any:
        if name in self:
            return self[name]
        raise AttributeError(f"a metric has no {name!r}: {', '.join(self)}")
