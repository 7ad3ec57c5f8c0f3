"""Two records of one task and setting, paired row by row."""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa

from datasets_dart.errors import InputError
from evaluation_dart.records import Record, load_record, row_names
from evaluation_dart.tasks import TASKS


@dataclass(frozen=True)
class Difference:
    """How much a metric of one record is above that of another.

    Attributes:
        difference: a's value less b's; low, high: of its 95 % interval; p: of no difference; all three None where
            `method` says why; n: rows in common.
    """

    difference: float
    low: float | None
    high: float | None
    p: float | None
    n: int
    method: str


@dataclass(frozen=True)
class Comparison:
    """What `compare` finds.

    Attributes:
        metrics: differences by the metric's name. rows: in common; only_a, only_b: rows that one record has alone.
    """

    a: Record
    b: Record
    metrics: Mapping[str, Difference]
    rows: int
    only_a: int
    only_b: int

    def __str__(self) -> str:
        """The differences as a table, with the two models and what was paired."""
        lines = [f"a: {self.a.model['id']} ({self.a.folder})", f"b: {self.b.model['id']} ({self.b.folder})"]
        lines += [f"{self.rows:,} rows in common; only in a: {self.only_a:,}, only in b: {self.only_b:,}"]
        width = max(map(len, self.metrics), default=0)
        lines += [f"{name:<{width}}  a - b = {own.difference:+.4g}" for name, own in self.metrics.items()]
        return "\n".join(lines)


def compare(a: Record | str | os.PathLike[str], b: Record | str | os.PathLike[str]) -> Comparison:
    """Differences of the metrics of two records, over the rows that both have.

    Raises:
        InputError: for records of different tasks or settings, no row in common, or rows of one name that differ.
    """
    one, two = (own if isinstance(own, Record) else load_record(Path(own)) for own in (a, b))
    for name in ("task", "protocol"):
        if getattr(one, name) != getattr(two, name):
            raise InputError(f"records to compare have one {name}, not {getattr(one, name)} and {getattr(two, name)}")
    task = TASKS.named(one.task)
    tables = one.predictions(), two.predictions()
    names = [row_names(table, task.keys) for table in tables]
    common, *places = np.intersect1d(names[0], names[1], return_indices=True)
    if not len(common):
        raise InputError(f"{one.folder} and {two.folder} have no row in common")
    # In the order of a's rows
    order = np.argsort(places[0])
    paired = [table.take(place[order]) for table, place in zip(tables, places, strict=True)]
    check_same_rows(paired, task.keys, [set(task.settings[own.setting].columns) for own in (one, two)])
    found = [
        own.metrics if len(common) == table.num_rows else task.metrics(rows, own.protocol, own.setting)
        for own, table, rows in zip((one, two), tables, paired, strict=True)
    ]
    method = "difference of the values over the rows in common; no interval"
    differences = {
        name: Difference(metric.value - found[1][name].value, None, None, None, len(common), method)
        for name, metric in found[0].items()
        if name in found[1] and metric.is_defined and found[1][name].is_defined
    }
    return Comparison(one, two, differences, len(common), *(len(own) - len(common) for own in names))


def check_same_rows(paired: list[pa.Table], keys: tuple[str, ...], columns: list[set[str]]) -> None:
    """Raise InputError naming a row whose place, label or effect is not the same in both tables."""
    scores = {"score", "control_score", "score1", "score2", "distance", "prediction"}
    for name in sorted(columns[0] & columns[1] - scores):
        if name.startswith("cluster_"):
            continue
        if not paired[0][name].equals(paired[1][name]):
            both = zip(paired[0][name].to_pylist(), paired[1][name].to_pylist(), strict=True)
            row = next(number for number, (x, y) in enumerate(both) if x != y)
            key = ", ".join(f"{key} {paired[0][key][row]}" for key in keys)
            values = " and ".join(str(table[name][row]) for table in paired)
            raise InputError(f"the records differ in {name} of {key}: {values}")
