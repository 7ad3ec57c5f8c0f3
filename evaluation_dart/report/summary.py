"""Records for people: the boards they are on as Markdown and LaTeX, with pictures of each."""

import os
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from datasets_dart.errors import InputError
from datasets_dart.files import write_text
from datasets_dart.formats.text import latex, markdown, plain_name
from datasets_dart.outputs import LOCK, locked, sweep_folder
from datasets_dart.progress import counted
from evaluation_dart.comparison import Comparison, compared, labelled, matched
from evaluation_dart.controls import board_of, chance, control_kind
from evaluation_dart.records import PREDICTIONS, Record
from evaluation_dart.report.analyses import figure_of_table, strata_figure, tables_of
from evaluation_dart.report.classes import gives_probabilities
from evaluation_dart.report.distances import RECALL, WORTH
from evaluation_dart.report.figures import Bar, check_figure, comparison_figure, forest_figure
from evaluation_dart.report.strata import strata_table
from evaluation_dart.report.tables import data_name, headline, sound_metrics
from evaluation_dart.report.words import known_chance, metric_axis, metric_unit, metric_words, setting_words, task_words
from evaluation_dart.statistics.metric import ends_text
from evaluation_dart.tasks import TASKS
from evaluation_dart.tasks.motif_footprinting import TASK as MOTIFS

PAGE, TEX, FOLDER = "report.md", "report.tex", "figures"
TITLE = "# Report of DART-Eval records"
TEX_TITLE = "% Report of DART-Eval records; needs \\usepackage{booktabs}"
MOST_COLUMNS = 6  # models of the table of all metrics
IMAGE = re.compile(rf"\]\(({FOLDER}/[^()\s]+)\)")
INTERVALS = (
    "Intervals are of 95 % and allow for rows that are alike (of the same megabase, say), as each record says; "
    "p-values of differences are two-sided, and corrected by Benjamini and Hochberg's method for a board."
)


class Grid(NamedTuple):
    """A table of texts: the names of its columns, and its rows."""

    columns: Sequence[str]
    rows: Sequence[Sequence[str]]


class Look(NamedTuple):
    """A picture of a board: what its file is called beside the board's name, what it shows, and what draws it."""

    name: str
    caption: str
    draw: Callable[[Path], None]


@dataclass(frozen=True)
class Board:
    """Records whose values stand beside one another: of one task, setting, protocol, split and data."""

    name: str
    records: Sequence[Record]

    @property
    def first(self) -> Record:
        """One of the records, by which all are described."""
        return self.records[0]

    @property
    def title(self) -> str:
        """Task and setting in words."""
        return f"{task_words(self.first.task)}; {setting_words(self.first.setting)}"

    @cached_property
    def labels(self) -> list[str]:
        """What the models are called, no two of them the same."""
        return [side.label for side in labelled([(record,) for record in self.records])]

    @cached_property
    def metric(self) -> str:
        """The metric to look at."""
        return headline(self.first.content)

    @cached_property
    def chance(self) -> float | None:
        """What a model that knows nothing has: by the metric's definition, else the mean with outcomes permuted."""
        known = known_chance(self.metric, self.first.task, self.first.setting)
        if known is not None:
            return known
        found = [chance(record).get(self.metric) for record in self.records]
        values = [own.value for own in found if own is not None]
        return float(np.mean(values)) if values else None


def boards_of(records: Iterable[Record]) -> list[Board]:
    """The boards of records, by task, those of the benchmark first and in its order."""
    found: dict[Any, list[Record]] = {}
    for record in records:
        found.setdefault((*board_of(record.content), record.split), []).append(record)

    def place(own: list[Record]) -> tuple[int, str, str]:
        first = own[0]
        return TASKS[first.task].number if first.task in TASKS else 1000, first.task, first.setting

    boards: list[Board] = []
    names: dict[str, int] = {}
    for own in sorted(found.values(), key=place):
        protocol = "" if own[0].protocol == "fixed" else f"_{own[0].protocol}"
        name = re.sub(r"[^\w.-]", "_", plain_name(f"{own[0].task}_{own[0].setting}{protocol}"))
        names[name] = names.get(name, 0) + 1
        boards.append(Board(name if names[name] == 1 else f"{name}_{names[name]}", own))
    return boards


def write_summary(records: Sequence[Record], output: Path, formats: Sequence[str] = ()) -> list[str]:
    """Write report.md, report.tex and, in figures/, pictures of each board; returns what was not drawn, and why.

    Of each board a forest plot with chance, paired differences where there are several models, panels by motif, by
    chromosome and by distance and a reliability diagram where the task has them.

    Args:
        records: whose predictions are there. formats: endings of the pictures, such as ".png".

    Raises:
        InputError: for a file that is in the way and is of no report.
    """
    for ending in formats:
        check_figure(Path(f"figure{ending}"))
    with locked(output / LOCK, output):
        sweep_folder(output)
        before = check_place(output)
        has = [(record.folder / PREDICTIONS).is_file() for record in records]
        there = [record for record, own in zip(records, has, strict=True) if own]
        missing = [record for record, own in zip(records, has, strict=True) if not own]
        left_out = [f"not in {PAGE}: {record.folder} has no {PREDICTIONS}" for record in missing]
        boards = boards_of(there)
        page = [TITLE, "", f"{count(len(there), 'record')} on {count(len(boards), 'board')}. {INTERVALS}"]
        tex = [TEX_TITLE]
        (output / FOLDER).mkdir(exist_ok=True)
        sweep_folder(output / FOLDER)
        for board in counted(boards, "report", "boards", len(boards)):
            comparison = differences_of(board, left_out)
            grids = grids_of(board, comparison)
            tex += [
                f"% {latex(board.title)}; {latex(about(board))}",
                *(line for own in grids for line in in_latex(own)),
            ]
            page += ["", f"## {markdown(board.title)}", "", f"{markdown(about(board))}."]
            for look in looks_of(board, comparison, left_out) if formats else ():
                paths = [f"{FOLDER}/{board.name}_{look.name}{ending}" for ending in formats]
                try:
                    for path in paths:
                        look.draw(output / path)
                except InputError as error:
                    left_out.append(f"not drawn: {board.title}: {look.caption}: {error}")
                    continue
                others = "".join(f" [{Path(path).suffix[1:].upper()}]({path})" for path in paths[1:])
                page += ["", f"![{markdown(look.caption)}]({paths[0]})", "", f"{markdown(look.caption)}.{others}"]
            page += [line for own in grids for line in ("", *in_markdown(own))]
        write_text(output / TEX, "\n".join(tex) + "\n")
        write_text(output / PAGE, "\n".join(page) + "\n")
        for path in before - set(IMAGE.findall("\n".join(page))):
            (output / path).unlink(missing_ok=True)
        if not any((output / FOLDER).iterdir()):
            (output / FOLDER).rmdir()
    return left_out


def check_place(output: Path) -> set[str]:
    """The pictures of the report that is there, if there is one.

    Raises:
        InputError: naming a file that is in the way and is of no report.
    """
    for name, title in ((PAGE, TITLE), (TEX, TEX_TITLE)):
        path = output / name
        if os.path.lexists(path) and not path.read_bytes().startswith(title.encode()):
            raise InputError(f"{path}: already exists, and is not of a report; move it, or name another folder")
    if (output / PAGE).is_file():
        return set(IMAGE.findall((output / PAGE).read_text(encoding="utf-8")))
    if (output / FOLDER).is_dir() and any((output / FOLDER).iterdir()):
        raise InputError(f"{output / FOLDER}: already exists, and is not of a report; move it, or name another folder")
    return set()


def about(board: Board) -> str:
    """Data, split, protocol, metric and chance of a board."""
    first = board.first
    known = "not known" if board.chance is None else f"{board.chance:.4g}"
    return (
        f"Data: {data_name(first.content)}, {first.split} split, {first.dataset['rows']:,} rows; protocol "
        f"{first.protocol}; metric: {metric_axis(board.metric)}, chance: {known}"
    )


def count(number: int, what: str) -> str:
    """A number of things: 1 board, 2 boards."""
    return f"{number:,} {what}{'' if number == 1 else 's'}"


def grids_of(board: Board, comparison: Comparison | None) -> list[Grid]:
    """The tables of a board: models by the metric to look at, paired differences, and all metrics."""
    shown = [sound_metrics(record.content) for record in board.records]
    names = list(dict.fromkeys(name for own in shown for name in own))
    rows = [
        [label, *cells_of(own.get(board.metric)), control_kind(record.content)]
        for label, own, record in zip(board.labels, shown, board.records, strict=True)
    ]
    grids = [Grid(["model", metric_words(board.metric), "95 % interval", "n", "control"], rows)]
    if comparison is not None:
        grids.append(Grid(["models", "difference", "95 % interval", "n", "p", "p, corrected"], pair_rows(comparison)))
    for first in range(0, len(board.records), MOST_COLUMNS):
        part = slice(first, first + MOST_COLUMNS)
        every = [
            [metric_words(name), metric_unit(name), *(value_text(own.get(name)) for own in shown[part])]
            for name in names
        ]
        grids.append(Grid(["all metrics", "unit", *board.labels[part]], every))
    return grids


def cells_of(metric: dict[str, Any] | None) -> list[str]:
    """Value, interval and n of a metric."""
    if metric is None or metric["value"] is None:
        return ["-", "-", "-"]
    return [f"{metric['value']:.4g}", ends_text(metric, ".4g").strip() or "-", f"{metric['n']:,}"]


def value_text(metric: dict[str, Any] | None) -> str:
    """A metric with its interval."""
    return "-" if metric is None or metric["value"] is None else f"{metric['value']:.4g}{ends_text(metric, '.4g')}"


def pair_rows(comparison: Comparison) -> list[list[str]]:
    """The differences of pairs in the metric to look at."""
    rows = []
    for pair in comparison.pairs:
        own = pair.metrics.get(headline(pair.a.first.content))
        if own is not None:
            ends = ends_text({"low": own.low, "high": own.high}, ".4g").strip() or "-"
            p = ["-" if value is None else f"{value:.2g}" for value in (own.p, own.p_bh)]
            rows.append([f"{pair.a.label} - {pair.b.label}", f"{own.difference:.4g}", ends, f"{own.n:,}", *p])
    return rows


def in_markdown(grid: Grid) -> Iterator[str]:
    """A table of Markdown."""
    yield f"| {' | '.join(map(markdown, grid.columns))} |"
    yield f"|{' --- |' * len(grid.columns)}"
    yield from (f"| {' | '.join(map(markdown, row))} |" for row in grid.rows)


def in_latex(grid: Grid) -> Iterator[str]:
    """A tabular of booktabs."""
    yield f"\\begin{{tabular}}{{l{'r' * (len(grid.columns) - 1)}}}"
    yield "\\toprule"
    yield " & ".join(map(latex, grid.columns)) + " \\\\"
    yield "\\midrule"
    yield from (" & ".join(map(latex, row)) + " \\\\" for row in grid.rows)
    yield from ("\\bottomrule", "\\end{tabular}", "")


def differences_of(board: Board, left_out: list[str]) -> Comparison | None:
    """Paired differences of a board's models; None of one model, or where none can be compared."""
    if len(board.records) < 2:
        return None
    try:
        found = compared(*matched(board.records))
    except (InputError, OSError) as error:
        left_out.append(f"not compared: {board.title}: {error}")
        return None
    left_out += found.left_out
    return found


def looks_of(board: Board, comparison: Comparison | None, left_out: list[str]) -> Iterator[Look]:
    """The pictures that a board has."""
    metric = metric_words(board.metric)
    yield Look("forest", f"Each model's {metric} with its interval", partial(forest, board=board))
    if comparison is not None:
        metrics = "all metrics" if len(comparison.pairs) == 1 else metric
        yield Look(
            "differences",
            f"Paired differences of models in {metrics}",
            partial(comparison_figure, comparison=comparison),
        )
    first = board.first
    if first.kind == "task" and first.task == MOTIFS.name:
        yield from closer(board, "motifs", {"motifs": {"families": None}}, "Accuracy by motif and family", left_out)
    if gives_probabilities(first):
        yield from closer(board, "calibration", {"calibration": {}}, "Reliability of the probabilities", left_out)
    if first.task in (RECALL, WORTH):
        yield from closer(board, "distances", {"distances": {}}, "Metrics by distance", left_out)
    if first.kind == "task" and has_chromosomes(first):
        rows = [row for record in board.records for row in strata_table(record, "chrom").to_pylist()]
        yield Look(
            "chromosomes",
            f"Each model's {metric} by chromosome",
            partial(strata_figure, rows=rows, records=board.records, chance=board.chance),
        )


def closer(
    board: Board, name: str, asked: dict[str, dict[str, Any]], caption: str, left_out: list[str]
) -> Iterator[Look]:
    """A picture of a table that looks closer at each record, where there is such a table."""
    try:
        tables, reasons = tables_of(board.records, asked)
    except InputError as error:
        left_out.append(f"not drawn: {board.title}: {caption}: {error}")
        return
    left_out += reasons
    draw = figure_of_table(name, tables[name], tables, board.records)
    if draw is not None:
        yield Look(name, caption, draw)


def has_chromosomes(record: Record) -> bool:
    """Whether the rows of a record are on several chromosomes."""
    predictions = record.predictions()
    return "chrom" in predictions.column_names and len(predictions["chrom"].unique()) > 1


def forest(path: Path, board: Board) -> None:
    """The metric to look at of each model; controls in the lighter colour."""
    bars = []
    for label, record in zip(board.labels, board.records, strict=True):
        own = sound_metrics(record.content).get(board.metric)
        if own is not None and own["value"] is not None:
            bars.append(Bar(label, own["value"], own["low"], own["high"], not control_kind(record.content)))
    if not bars:
        raise InputError(f"no record has {board.metric}")
    line = board.chance
    key = "" if line is None else f"; dotted: chance, {line:.3g}"
    key += "" if all(bar.low is not None for bar in bars) else "; a square alone: no interval"
    light = "; light: controls" if not all(bar.strong for bar in bars) else ""
    forest_figure(path, {board.title: bars}, f"{metric_axis(board.metric)}, 95 % interval{key}{light}", line)
