"""Tables that look closer at records: by stratum, against controls. Each is a TSV in a report's folder."""

import csv
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa

from datasets_dart.errors import InputError
from datasets_dart.files import replacing
from datasets_dart.formats.text import one_line, plain_name
from datasets_dart.outputs import LOCK, locked, sweep_folder
from evaluation_dart.controls import CHANCE_SCHEMA, chance_rows, orientation
from evaluation_dart.records import Record
from evaluation_dart.report.tables import headline, shown_table, shown_value

ORIENTATION_SCHEMA = pa.schema(
    [
        ("model", pa.string()),
        ("setting", pa.string()),
        ("column", pa.string()),
        ("effects_of", pa.string()),
        ("agreeing", pa.int64()),
        ("n", pa.int64()),
        ("share", pa.float64()),
        ("record", pa.string()),
    ]
)
# Columns that are shown once, above a table, where all rows have the same
ABOUT = ("model", "task", "setting", "by", "column", "strata", "rows_without", "permutations", "method")


def of_each(records: Sequence[Record], make: Callable[[Record], pa.Table]) -> tuple[pa.Table, list[str]]:
    """A table of each record, one below the other, and why other records have none.

    Raises:
        InputError: where no record has one, with the reason of the first.
    """
    tables, left_out = [], []
    for own in records:
        try:
            tables.append(make(own))
        except (InputError, OSError) as error:
            left_out.append(f"left out: {error}")
    if not tables:
        raise InputError(left_out[0].removeprefix("left out: ") if left_out else "there are no records")
    return pa.concat_tables(tables), left_out


def chance_table(record: Record) -> pa.Table:
    """Each metric of a record beside what it is with outcomes permuted."""
    return pa.Table.from_pylist(chance_rows(record), schema=CHANCE_SCHEMA)


def orientation_table(
    record: Record,
    column: str,
    table: str | os.PathLike[str] | None = None,
    on: Sequence[str] | None = None,
) -> pa.Table:
    """How often the signs of effects are those of a column, see [`orientation`]."""
    rows = []
    about = {"model": record.model["id"], "setting": record.setting, "column": column}
    for part, found in orientation(record, column, table, on).items():
        counts = {"agreeing": found.agreeing, "n": found.n, "share": found.share if found.n else None}
        rows.append(about | {"effects_of": part} | counts | {"record": record.fingerprint})
    return pa.Table.from_pylist(rows, schema=ORIENTATION_SCHEMA)


def write_tables(output: Path, tables: Mapping[str, pa.Table]) -> list[Path]:
    """Write tables as `output`/NAME.tsv, each whole or not at all; a table of ours that is there is replaced.

    Raises:
        InputError: for a file that is in the way and is no such table.
    """
    paths = {name: output / f"{plain_name(name)}.tsv" for name in tables}
    with locked(output / LOCK, output):
        sweep_folder(output)
        for name, path in paths.items():
            check_table_place(path, tables[name].column_names)
        for name, path in paths.items():
            write_table(path, tables[name])
    return list(paths.values())


def write_table(path: Path, table: pa.Table) -> None:
    """Write a table as TSV, whole or not at all."""
    with replacing(path) as unfinished, unfinished.open("w", encoding="utf-8", newline="") as file:
        rows = csv.writer(file, dialect="excel-tab", lineterminator="\n")
        rows.writerow(table.column_names)
        rows.writerows(map(cells, zip(*table.to_pydict().values(), strict=True)))


def check_table_place(path: Path, columns: Sequence[str]) -> None:
    """Raise InputError where there is a file that does not begin with these columns."""
    if os.path.lexists(path):
        with path.open("rb") as file:
            if file.readline().strip() != "\t".join(columns).encode():
                raise InputError(f"{path}: is there already, and is no such table; move it, or name another folder")


def cells(row: Iterable[Any]) -> list[Any]:
    """Values as a table of text has them: nothing for none, no line ends."""
    return ["" if own is None else one_line(own) if isinstance(own, str) else own for own in row]


def shown_rows(table: pa.Table, records: Iterable[Record]) -> str:
    """A table for people: of metrics, of each record the one to look at; what is the same in all rows stands above."""
    wanted = {own.fingerprint: headline(own.content) for own in records}
    rows = [row for row in table.to_pylist() if row.get("metric") in (None, wanted[row["record"]])]
    same = [name for name in ABOUT if len({row.get(name) for row in rows}) == 1] if len(rows) > 1 else []
    above = "".join(f"{name.replace('_', ' ')}: {shown_value(rows[0][name])}\n" for name in same if name in rows[0])
    return above + shown_table(rows, [name for name in table.column_names if name not in (*same, "record")])
