"""Tables that look closer at records: by stratum, motif or label, over seeds, against controls; and their figures."""

import csv
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from datasets_dart.errors import InputError
from datasets_dart.files import replacing
from datasets_dart.formats.text import one_line, plain_name
from datasets_dart.outputs import LOCK, locked, sweep_folder
from evaluation_dart.comparison import but_for_seed, same_rows, seed_of
from evaluation_dart.controls import CHANCE_SCHEMA, chance_rows, orientation
from evaluation_dart.records import Record
from evaluation_dart.report.classes import calibration_table, label_table
from evaluation_dart.report.distances import distance_figure, distance_table
from evaluation_dart.report.figures import PICTURES, Bar, calibration_figure, forest_figure, motif_figure
from evaluation_dart.report.motifs import families_of, family_table, motif_table
from evaluation_dart.report.strata import strata_table
from evaluation_dart.report.tables import headline, shown_table, shown_value
from evaluation_dart.report.words import known_chance, metric_axis, setting_words
from evaluation_dart.seeds import each_seed, means_of
from evaluation_dart.statistics.estimates import metric

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
SEEDS_SCHEMA = pa.schema(
    [
        ("model", pa.string()),
        ("task", pa.string()),
        ("setting", pa.string()),
        ("seeds", pa.int64()),
        ("which", pa.string()),
        ("metric", pa.string()),
        ("value", pa.float64()),
        ("low", pa.float64()),
        ("high", pa.float64()),
        ("spread", pa.float64()),
        ("n", pa.int64()),
        ("method", pa.string()),
        ("record", pa.string()),
    ]
)
MOST_FAMILIES = 40  # of a figure, the largest ones
# Columns that are shown once, above a table, where all rows have the same
ABOUT = ("model", "task", "setting", "by", "column", "event", "strata", "rows_without", "permutations", "method")


def tables_of(
    records: Sequence[Record], asked: Mapping[str, Mapping[str, Any]]
) -> tuple[dict[str, pa.Table], list[str]]:
    """The tables that are asked for, by name, and why records are not in them.

    Args:
        asked: "strata", "chance", "orientation", "motifs", "labels", "calibration", "distances" or "seeds" -> the
            keywords of what makes it, beside the record.

    Raises:
        InputError: where no record has any of the tables.
    """
    makers: dict[str, Callable[[Record], pa.Table]] = {}
    for name, options in asked.items():
        if name == "strata":
            makers[f"strata_{options['column']}"] = partial(strata_table, **options)
        elif name == "motifs":
            known = None if options["families"] is None else families_of(options["families"])
            makers["motifs"] = partial(motif_table, families=known)
            makers["motif_families"] = partial(family_table, families=known)
        elif name in SIMPLE:
            makers[name] = partial(SIMPLE[name], **options)
    tables: dict[str, pa.Table] = {}
    left_out: list[str] = []
    faults: list[InputError] = []
    for name, make in makers.items():
        try:
            tables[name], reasons = of_each(records, make)
        except InputError as error:
            faults.append(error)
            reasons = [f"no table {name}: {error}"]
        left_out += [reason for reason in reasons if reason not in left_out]
    if "seeds" in asked:
        try:
            tables["seeds"] = seeds_table(records)
        except (InputError, OSError) as error:
            faults.append(InputError(str(error)))
            left_out.append(f"no table seeds: {error}")
    if not tables:
        raise faults[0]
    return tables, left_out


def draw(output: Path, tables: Mapping[str, pa.Table], records: Sequence[Record]) -> list[Path]:
    """Draw those of the tables that have a figure, as SVG and PNG; returns their files."""
    drawn = []
    for name, table in tables.items():
        make = figure_of_table(name, table, tables, records)
        if make is None:
            continue
        for ending in PICTURES:
            path = output / f"{plain_name(name)}{ending}"
            make(path)
            drawn.append(path)
    return drawn


def figure_of_table(
    name: str, table: pa.Table, tables: Mapping[str, pa.Table], records: Sequence[Record]
) -> Callable[[Path], None] | None:
    """What draws a table of this name; None for one that has no figure."""
    rows = table.to_pylist()
    if name == "calibration":
        return partial(calibration_figure, curves=by_model(rows))
    if name == "distances":
        return partial(distance_figure, rows=rows)
    if name == "motifs":
        accuracies = {title: np.array([row["accuracy"] for row in own]) for title, own in by_model(rows).items()}
        families = by_model(tables["motif_families"].to_pylist())
        shown = {title: bars(own[:MOST_FAMILIES], "family") for title, own in families.items()}
        return partial(motif_figure, accuracies=accuracies, families=shown)
    if name.startswith("strata_"):
        return partial(strata_figure, rows=rows, records=records)
    return None


def strata_figure(
    path: Path, rows: Sequence[Mapping[str, Any]], records: Sequence[Record], chance: float | None = None
) -> None:
    """Each record's metric to look at in each stratum, a panel a record, and chance.

    Args:
        rows: of [`strata_table`], of these records. chance: None for what the metric's definition says.
    """
    wanted = {own.fingerprint: headline(own.content) for own in records}
    own = [row for row in rows if row["metric"] == wanted[row["record"]]]
    panels = {title: bars(part, "stratum") for title, part in by_model(own).items()}
    kinds = {(row["metric"], row["task"], row["setting"]) for row in own}
    names = dict.fromkeys(metric_axis(name) for name, _, _ in sorted(kinds))
    lines = {known_chance(*kind) for kind in kinds} if chance is None else {chance}
    line = lines.pop() if len(lines) == 1 else None
    key = "" if line is None else f"; dotted: chance, {line:.3g}"
    forest_figure(path, panels, f"{', '.join(names)}, 95 % interval{key}", line, one_scale=len(names) == 1)


def by_model(rows: Iterable[Mapping[str, Any]]) -> dict[str, list[Mapping[str, Any]]]:
    """Rows of each record, under the name of its model and setting."""
    found: dict[str, list[Mapping[str, Any]]] = {}
    names: dict[str, str] = {}
    for row in rows:
        name = names.get(row["record"])
        if name is None:
            name = f"{row['model']}, {setting_words(row['setting'])}"
            name = names[row["record"]] = f"{name} ({row['record'][:8]})" if name in found else name
        found.setdefault(name, []).append(row)
    return found


def bars(rows: Iterable[Mapping[str, Any]], label: str) -> list[Bar]:
    """Rows with a value and an interval as lines of a figure."""
    key = "value" if label == "stratum" else "accuracy"
    return [
        Bar(stratum_label(row) if label == "stratum" else str(row[label]), row[key], row["low"], row["high"])
        for row in rows
        if row[key] is not None
    ]


def stratum_label(row: Mapping[str, Any]) -> str:
    """A stratum with what it is of; a chromosome's name says it."""
    return str(row["stratum"]) if row["by"] == "chrom" else f"{row['by']} {row['stratum']}"


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


def seeds_table(records: Sequence[Record]) -> pa.Table:
    """Means over seeds of the metrics of models that differ in their seed only (columns: `SEEDS_SCHEMA`).

    Their intervals have both sources of variation, rows and seeds. Models of one seed are not in it.

    Raises:
        InputError: where no model has several seeds.
    """
    groups: dict[str, list[Record]] = {}
    for own in records:
        groups.setdefault(same_rows(own) + but_for_seed(own), []).append(own)
    rows = []
    for group in (sorted(own, key=seed_of) for own in groups.values() if len({seed_of(one) for one in own}) > 1):
        first, seeds = group[0], [seed_of(own) for own in group]
        about = {"model": first.model["id"], "task": first.task, "setting": first.setting, "seeds": len(group)}
        found = each_seed(group)
        for name, estimate in means_of(found).items():
            mean = metric(estimate)
            values = [one[name].value for one in found]
            shown: dict[str, Any] = {
                "value": mean.value if mean.is_defined else None,
                "low": mean.low,
                "high": mean.high,
            }
            shown |= {"spread": float(np.std(values, ddof=1)), "n": mean.n, "method": mean.method}
            rows.append(
                about | {"which": ", ".join(map(str, seeds)), "metric": name, "record": first.fingerprint} | shown
            )
    if not rows:
        raise InputError("no model has records of several seeds")
    return pa.Table.from_pylist(rows, schema=SEEDS_SCHEMA)


# What makes a table of one record, where nothing else is to be done
SIMPLE: dict[str, Callable[..., pa.Table]] = {
    "chance": chance_table,
    "orientation": orientation_table,
    "labels": label_table,
    "calibration": calibration_table,
    "distances": distance_table,
}


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
                raise InputError(f"{path}: already exists, and is not such a table; move it, or name another folder")


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
