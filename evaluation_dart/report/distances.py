"""Metrics against distance, of the tasks that ask about long context; and the line that a model's card has of them."""

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa

from datasets_dart.errors import InputError
from datasets_dart.formats.text import plot_text
from evaluation_dart.records import Record
from evaluation_dart.report.figures import figure_of, legend_below, look_of, plain, write_figure
from evaluation_dart.report.words import metric_axis, setting_words
from evaluation_dart.statistics.metric import ends_text

RECALL, WORTH = "long_range_recall", "likelihood_by_position"
AT_DISTANCE = re.compile(r"(.+)_(\d+)$")
SCHEMA = pa.schema(
    [
        ("model", pa.string()),
        ("task", pa.string()),
        ("setting", pa.string()),
        ("measure", pa.string()),
        ("distance", pa.int64()),
        ("value", pa.float64()),
        ("low", pa.float64()),
        ("high", pa.float64()),
        ("n", pa.int64()),
        ("method", pa.string()),
        ("record", pa.string()),
    ]
)


def distance_table(record: Record) -> pa.Table:
    """The metrics of a record that are at a distance, by it: bases between two copies, or before a base.

    Raises:
        InputError: for a record of another task.
    """
    if record.task not in (RECALL, WORTH):
        raise InputError(f"{record.folder}: {record.task} has no metrics at a distance; {RECALL} and {WORTH} have")
    about = {"model": record.model["id"], "task": record.task, "setting": record.setting, "record": record.fingerprint}
    rows = []
    for name, metric in record.metrics.items():
        if (found := AT_DISTANCE.fullmatch(name)) is not None:
            sound = metric.honest or metric
            own = {"measure": found[1], "distance": int(found[2]), "value": metric.value, "n": metric.n}
            rows.append(about | own | {key: sound[key] for key in ("low", "high", "method")})
    rows.sort(key=lambda row: (row["measure"], row["distance"]))
    return pa.Table.from_pylist(rows, schema=SCHEMA)


def distance_figure(path: Path, rows: Sequence[Mapping[str, Any]]) -> None:
    """Values with their intervals against distance, on a scale of powers of two: a panel a metric, a line a model."""
    names = list(dict.fromkeys(row["measure"] for row in rows))
    figure = figure_of(7, 2.8 * len(names) + 0.4)
    axes = figure.subplots(len(names), squeeze=False)[:, 0]
    titles = list(dict.fromkeys(title_of(row) for row in rows))
    for axis, name in zip(axes, names, strict=True):
        for number, title in enumerate(titles):
            own = [row for row in rows if row["measure"] == name and title_of(row) == title]
            look = look_of(number)
            axis.plot([row["distance"] for row in own], [row["value"] for row in own], **look, label=plot_text(title))
            known = [row for row in own if row["low"] is not None]
            ends = [[row[end] for row in known] for end in ("low", "high")]
            axis.vlines([row["distance"] for row in known], *ends, color=look["color"], linewidth=1.2)
        axis.axhline(0, color="black", linewidth=0.8, linestyle=":")
        plain(axis, x="distance (bp)", y=metric_axis(name))
        axis.set_xscale("log", base=2)
        axis.xaxis.set_major_formatter(lambda value, _: f"{value:,.0f}")
    legend_below(figure, axes[0])
    write_figure(figure, path)


def title_of(row: Mapping[str, Any]) -> str:
    """Which line of a figure a row is on."""
    return f"{row['model']}, {setting_words(row['setting'])}"


def card_line(records: Sequence[Record]) -> str:
    """What a model's card says of long context, in a line, from its records of both tasks.

    Raises:
        InputError: for records of several models, or without either task.
    """
    if len(names := {record.model["id"] for record in records}) != 1:
        raise InputError(f"a card is of one model, not of {', '.join(sorted(names)) or 'none'}")
    by_task: dict[str, list[Record]] = {}
    for record in records:
        by_task.setdefault(record.task, []).append(record)
    if missing := [task for task in (RECALL, WORTH) if task not in by_task]:
        raise InputError(f"a card's line of long context needs a record of {missing[0]}")
    parts = []
    for record in by_task[RECALL]:
        furthest = max(distance_rows(record, "copy_advantage"), key=lambda row: row["distance"])
        copy = str(record.recipe["copy"])
        parts.append(
            f"an {copy} copy saves {with_ends(furthest)} nats a base of a segment {furthest['distance']:,} bp later"
            if copy != "mutated"
            else f"a mutated one {with_ends(furthest)}"
        )
    for record in by_task[WORTH]:
        furthest = max(distance_rows(record, "worth"), key=lambda row: row["distance"])
        more, least = f"{furthest['distance']:,} and more bases of context", "16 to 31"
        parts.append(f"{more} are worth {with_ends(furthest)} nats a base beside {least}")
    genomes = sorted({str(own.dataset["inputs"]["genome"]).partition(" ")[0] for own in records})
    return f"Long context: {'; '.join(parts)} ({', '.join(genomes)})."


def distance_rows(record: Record, measure: str) -> list[dict[str, Any]]:
    """Rows of [`distance_table`] of one measure.

    Raises:
        InputError: where it has no value.
    """
    rows = [row for row in distance_table(record).to_pylist() if row["measure"] == measure]
    if not rows:
        raise InputError(f"{record.folder}: {measure} has no value at any distance")
    return rows


def with_ends(row: Mapping[str, Any]) -> str:
    """A value with its interval and n."""
    return f"{row['value']:.4f}{ends_text(row, '.4f')} (n {row['n']:,})"
