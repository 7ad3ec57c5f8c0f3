"""Metrics of parts of a test set, by a property of its rows, from predictions only."""

import os
from collections.abc import Sequence

import numpy as np
import pyarrow as pa

from datasets_dart.errors import InputError
from evaluation_dart.records import Record, all_metrics
from evaluation_dart.report.row_properties import as_floats, is_number, row_property
from evaluation_dart.report.tables import about
from evaluation_dart.statistics.calibration import binned
from evaluation_dart.tasks import TASKS

BINS = 4
MOST_STRATA = 200
SCHEMA = pa.schema(
    [
        ("model", pa.string()),
        ("task", pa.string()),
        ("setting", pa.string()),
        ("by", pa.string()),
        ("stratum", pa.string()),
        ("strata", pa.int64()),
        ("rows", pa.int64()),
        ("rows_without", pa.int64()),
        ("metric", pa.string()),
        ("value", pa.float64()),
        ("low", pa.float64()),
        ("high", pa.float64()),
        ("n", pa.int64()),
        ("method", pa.string()),
        ("record", pa.string()),
    ]
)


def strata_table(
    record: Record,
    column: str,
    *,
    table: str | os.PathLike[str] | None = None,
    genome: str | os.PathLike[str] | None = None,
    on: Sequence[str] | None = None,
    bins: int = BINS,
) -> pa.Table:
    """Metrics of a record in each stratum of its rows (columns: `SCHEMA`), with their intervals.

    Rows with the same value are a stratum; numbers of more than `bins` values are cut at quantiles into that many.
    `rows_without` counts the rows that have no value and are in no stratum. A stratum without metrics (of one class,
    say) has one row, whose `method` says why. Intervals are each stratum's own, not corrected for their number, which
    is `strata`.

    Args:
        column, table, genome, on: what the strata are of, see [`row_property`].

    Raises:
        InputError: for a column that there is not, no value at all, or more than `MOST_STRATA` values that are no
            numbers.
    """
    if bins < 1:
        raise InputError(f"bins is {bins}, not 1 or more")
    predictions = record.predictions()
    values = row_property(record, predictions, column, table, genome, on)
    names, of_row = strata_of(values, column, bins)
    shared = np.zeros(len(of_row), bool)
    task = TASKS[record.task] if record.kind == "task" else None
    if task is not None and task.shared_rows is not None:
        shared = task.shared_rows(predictions)
    without = int(((of_row < 0) & ~shared).sum())
    common = about(record) | {"by": column, "strata": len(names), "rows_without": without}
    rows = []
    for number, name in enumerate(names):
        own = (of_row == number) & ~shared
        stratum = common | {"stratum": name, "rows": int(own.sum())}
        try:
            metrics = all_metrics(predictions.filter(pa.array(own | shared)), record.content)
        except InputError as error:
            rows.append(stratum | {"n": int(own.sum()), "method": f"no metrics: {error}"})
            continue
        for metric, found in metrics.items():
            value = found.value if found.is_defined else None
            shown = {"value": value, "low": found.low, "high": found.high, "n": found.n, "method": found.method}
            rows.append(stratum | {"metric": metric} | shown)
    return pa.Table.from_pylist(rows, schema=SCHEMA)


def strata_of(values: pa.Array, column: str, bins: int = BINS) -> tuple[list[str], np.ndarray]:
    """Names of strata, and the number of each row's, -1 where it has no value.

    Raises:
        InputError: if no row has a value, or texts have more than `MOST_STRATA`.
    """
    if is_number(values):
        numbers = as_floats(values)
        known = np.isfinite(numbers)
        if not known.any():
            raise InputError(f"no row has a value of {column}")
        distinct = np.unique(numbers[known])
        if len(distinct) > bins:
            return quantile_strata(numbers, known, bins)
        of_row = np.where(known, np.searchsorted(distinct, np.where(known, numbers, distinct[0])), -1)
        return [f"{value:.6g}" for value in distinct], of_row
    texts = ["" if value is None else str(value) for value in values.to_pylist()]
    names = sorted(set(texts) - {""})
    if not names:
        raise InputError(f"no row has a value of {column}")
    if len(names) > MOST_STRATA:
        raise InputError(f"{column} has {len(names):,} values that are no numbers; at most {MOST_STRATA} are strata")
    number = {name: place for place, name in enumerate(names)} | {"": -1}
    return names, np.array([number[text] for text in texts])


def quantile_strata(numbers: np.ndarray, known: np.ndarray, bins: int) -> tuple[list[str], np.ndarray]:
    """Of numbers: `bins` parts of about equal size, fewer where many are equal; named by their least and largest."""
    of_row = np.full(len(numbers), -1)
    of_row[known] = binned(numbers[known], bins)
    parts = [numbers[of_row == own] for own in range(int(of_row.max()) + 1)]
    return [f"{part.min():.4g} to {part.max():.4g}" for part in parts], of_row
