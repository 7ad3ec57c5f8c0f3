"""Several records of one run that differ in their seed: the mean of each metric, and how sure it is."""

from collections.abc import Mapping, Sequence

import numpy as np
import pyarrow as pa

from datasets_dart.errors import InputError
from evaluation_dart.records import Record, estimates_of, row_keys, row_names
from evaluation_dart.statistics.estimates import Estimate, mean_over_seeds, metric
from evaluation_dart.statistics.metric import Metric

SAME = ("task", "split", "setting", "protocol")


def over_seeds(records: Sequence[Record]) -> dict[str, Metric]:
    """Each metric's mean over records of any kind, with an interval in which both rows and seeds vary.

    Metrics that a record lacks are left out, and so are p-values, whose mean says nothing.
    """
    means = means_of(each_seed(records))
    return {name: metric(own) for name, own in means.items() if np.isfinite(own.value) and not name.endswith("_p")}


def means_of(found: Sequence[Mapping[str, Estimate]]) -> dict[str, Estimate]:
    """Estimates of one model: of several seeds, the means of those that all of them have."""
    shared = [name for name in found[0] if all(name in own for own in found)]
    return {name: mean_over_seeds([own[name] for own in found]) for name in shared}


def each_seed(records: Sequence[Record]) -> list[dict[str, Estimate]]:
    """The estimates of each record, all of the same rows.

    Raises:
        InputError: for records of other runs, or of other rows. FileNotFoundError: for predictions that are missing.
    """
    first = records[0]
    for other in records[1:]:
        for name in SAME:
            if getattr(other, name) != getattr(first, name):
                both = f"{getattr(first, name)} and {getattr(other, name)}"
                raise InputError(f"{first.folder} and {other.folder} are of different runs: their {name}, {both}")
    tables = [record.predictions() for record in records]
    return [
        estimates_of(in_order(table, tables[0], first, record), record.content)
        for table, record in zip(tables, records, strict=True)
    ]


def in_order(table: pa.Table, like: pa.Table, first: Record, record: Record) -> pa.Table:
    """Rows in the order of another table, by what names them where something does.

    Raises:
        InputError: if they are not the same rows.
    """
    keys = row_keys(first.content)
    differ = InputError(f"{first.folder} and {record.folder} are not of the same rows")
    if table.num_rows != like.num_rows:
        raise differ
    if not set(keys) <= set(table.column_names) & set(like.column_names):
        return table
    names, wanted = row_names(table, keys), row_names(like, keys)
    if (names == wanted).all():
        return table
    order = np.argsort(names, kind="stable")
    if not (names[order] == np.sort(wanted)).all():
        raise differ
    return table.take(order[np.argsort(np.argsort(wanted, kind="stable"), kind="stable")])
