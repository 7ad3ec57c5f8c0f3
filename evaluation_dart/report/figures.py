"""Figures of results, as PNG, SVG or PDF."""

from collections.abc import Callable, Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path
from textwrap import wrap
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from datasets_dart.errors import InputError, MissingExtra
from datasets_dart.files import replacing
from datasets_dart.formats.text import plot_text
from evaluation_dart.comparison import Comparison
from evaluation_dart.report.tables import headline
from evaluation_dart.report.words import metric_axis, metric_unit, metric_words, setting_words, task_words

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

FORMATS = (".png", ".svg", ".pdf")
PICTURES = (".png", ".svg")  # what is drawn where nothing else is asked for
ROW_INCHES, MOST_FOREST_ROWS = 0.3, 200
LABEL_LETTERS = 42  # of a row's label in a line, of which there are two at most
TITLE_LETTERS, AXIS_LETTERS = 108, 80  # in a line
SMALL, MEDIUM = 8, 9  # points
LEAST_WIDTH = 0.25  # of predicted probabilities that are shown on all of 0 to 1
DARK, LIGHT = "#1f4e79", "#9aa5b1"
# Of Okabe and Ito (2008), which people with any colour vision tell apart; black and yellow are left away
COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9")
MARKERS = ("o", "s", "^", "D", "v", "P")
LINES = ("-", "--", ":", "-.")


class Bar(NamedTuple):
    """A line of a forest plot: a value with its interval, which may be missing; strong: in the darker colour."""

    label: str
    value: float
    low: float | None
    high: float | None
    strong: bool = True


def check_figure(path: Path) -> None:
    """Refuse a name that is no picture, and a missing library, before any work is done.

    Raises:
        ValueError: for another ending than .png, .svg or .pdf. ImportError: naming the extra.
    """
    if path.suffix not in FORMATS:
        raise InputError(f"{path}: a figure is written as {', '.join(FORMATS)}")
    try:
        import matplotlib  # noqa: F401
    except ImportError as error:
        raise MissingExtra("drawing figures", "plot") from error


def drawn_formats(asked: Sequence[str] | None, default: Sequence[str] = PICTURES) -> tuple[tuple[str, ...], list[str]]:
    """Endings of figures to draw, and notes why there are none.

    Args:
        asked: endings, of which none may be; None for the default where something can draw them.

    Raises:
        InputError: for another ending than .png, .svg or .pdf. MissingExtra: if nothing can draw what is asked for.
    """
    if asked is None and find_spec("matplotlib") is None:
        return (), [f"no figures: {MissingExtra('drawing them', 'plot')}"]
    chosen = tuple(default if asked is None else asked)
    for ending in chosen:
        check_figure(Path(f"figure{ending}"))
    return chosen, []


def look_of(number: int, line: str | None = None) -> dict[str, Any]:
    """Colour, marker and line of the series of this number: no two of the first 24 have the same.

    Args:
        line: the same line for all of them.
    """
    kind = LINES[number // len(COLOURS) % len(LINES)] if line is None else line
    place = number % len(COLOURS)
    return {"color": COLOURS[place], "marker": MARKERS[place], "linestyle": kind, "linewidth": 1.2, "markersize": 4}


def row_label(text: str) -> str:
    """A row's label, in two lines where it is long, with its middle left out where it is longer than that."""
    if len(text) > 2 * LABEL_LETTERS:
        text = f"{text[:LABEL_LETTERS]}…{text[-LABEL_LETTERS + 1 :]}"
    if len(text) <= LABEL_LETTERS:
        return plot_text(text)
    cut = text.rfind(" ", len(text) - LABEL_LETTERS - 1, LABEL_LETTERS + 1)
    first = cut if cut > 0 else LABEL_LETTERS
    return f"{plot_text(text[:first])}\n{plot_text(text[first:].strip())}"


def in_lines(text: str, letters: int) -> str:
    """Text in lines of so many letters at most."""
    return "\n".join(map(plot_text, wrap(text, letters)))


def plain(axis: "Axes", title: str = "", x: str = "", y: str = "") -> None:
    """The look that axes have: no box, a title on the left, and titles of the axes."""
    axis.spines[["top", "right"]].set_visible(False)
    axis.tick_params(labelsize=SMALL)
    axis.set_title(plot_text(title), fontsize=MEDIUM, loc="left")
    axis.set_xlabel(plot_text(x), fontsize=MEDIUM)
    axis.set_ylabel(plot_text(y), fontsize=MEDIUM)


def legend_below(figure: "Figure", axis: "Axes") -> None:
    """What the lines of an axis are, below the figure, which gets higher for it."""
    handles, labels = axis.get_legend_handles_labels()
    columns = 2 if max(map(len, labels)) <= LABEL_LETTERS else 1
    figure.set_figheight(figure.get_figheight() + 0.2 * -(-len(labels) // columns) + 0.1)
    figure.legend(handles, labels, loc="outside lower left", ncols=columns, fontsize=SMALL, frameon=False)


def rows_figure(
    path: Path,
    panels: Mapping[str, Sequence[Any]],
    unit: str,
    draw: Callable[["Axes", int, Any], None],
    what: str,
    line: float | None = None,
    title: str = "",
    one_scale: bool = False,
) -> None:
    """Rows with labels below one another, a panel for each title, and a line at a value, if there is one.

    Args:
        panels: rows with a `label`, by title. draw: draws a row at its place in a panel. what: the rows are, and the
            figure is, as an error says it. title: of the figure. one_scale: of all panels.

    Raises:
        InputError: for no row, or more than `MOST_FOREST_ROWS`.
    """
    count = sum(map(len, panels.values()))
    if len(panels) == 1 and not title:
        ((title, single),) = panels.items()
        panels = {"": single}
    if not 0 < count <= MOST_FOREST_ROWS:
        raise InputError(f"{path}: {count} {what} has 1 to {MOST_FOREST_ROWS}")
    heights = [len(rows) + 2 for rows in panels.values()]
    figure = figure_of(8, ROW_INCHES * sum(heights) + 0.6 + 0.3 * bool(title))
    axes = figure.subplots(len(panels), squeeze=False, height_ratios=heights, sharex=one_scale)[:, 0]
    for axis, (name, rows) in zip(axes, panels.items(), strict=True):
        for place, row in enumerate(reversed(rows)):
            draw(axis, place, row)
        if line is not None:
            axis.axvline(line, color="black", linewidth=0.8, linestyle=":")
        plain(axis, name)
        axis.set_yticks(range(len(rows)), [row_label(row.label) for row in reversed(rows)])
        axis.set_ylim(-0.7, len(rows) - 0.3)
    axes[-1].set_xlabel(in_lines(unit, AXIS_LETTERS), fontsize=MEDIUM)
    if title:
        figure.suptitle(in_lines(title, TITLE_LETTERS), fontsize=MEDIUM, x=0.01, ha="left")
    write_figure(figure, path)


def forest_figure(
    path: Path,
    panels: Mapping[str, Sequence[Bar]],
    unit: str,
    line: float | None = 0.0,
    title: str = "",
    one_scale: bool = False,
) -> None:
    """Values with intervals below one another, see [`rows_figure`].

    Raises:
        InputError: for no value, or more than `MOST_FOREST_ROWS`.
    """

    def draw(axis: "Axes", place: int, bar: Bar) -> None:
        colour = DARK if bar.strong else LIGHT
        if bar.low is not None and bar.high is not None:
            axis.plot([bar.low, bar.high], [place, place], color=colour, linewidth=1.6)
        axis.plot([bar.value], [place], "s", color=colour, markersize=4)

    rows_figure(path, panels, unit, draw, "values; a forest plot", line, title, one_scale)


def comparison_figure(path: Path, comparison: Comparison) -> None:
    """Differences with their intervals: of one pair of models, all metrics; of several, the metrics to look at.

    Those that are significant after the correction for all of the table (Benjamini and Hochberg, 0.05) are dark.
    """
    panels: dict[str, list[Bar]] = {}
    title, single = "", len(comparison.pairs) == 1
    for pair in comparison.pairs:
        first, models = pair.a.first, f"{pair.a.label} - {pair.b.label}"
        board = f"{task_words(first.task)}; {setting_words(first.setting)}"
        title = f"{models}; {board}" if single else ""
        names = list(pair.metrics) if single else [headline(first.content)]
        for name in (name for name in names if name in pair.metrics):
            own = pair.metrics[name]
            strong = own.p_bh is not None and own.p_bh < 0.05
            bar = Bar(metric_words(name) if single else models, own.difference, own.low, own.high, strong)
            panels.setdefault(metric_unit(name) if single else f"{board}: {metric_axis(name)}", []).append(bar)
    what = "difference"
    if len(panels) == 1 and not single:
        ((name, bars),) = panels.items()
        title, _, what = name.rpartition(": ")
        panels, what = {"": bars}, f"difference of {what}"
    axis = f"{what}, 95 % interval; dotted: no difference; dark: p < 0.05 after Benjamini and Hochberg"
    forest_figure(path, panels, axis, title=title)


def calibration_figure(path: Path, curves: Mapping[str, Sequence[Mapping[str, Any]]]) -> None:
    """A reliability diagram: observed share against predicted probability with intervals, and the rows of each bin.

    Args:
        curves: rows of a calibration curve by title, see `calibration_curve`; `event` of a row says what is predicted.
    """
    figure = figure_of(6, 6.6)
    axis, counts = figure.subplots(2, sharex=True, height_ratios=[4, 1])
    axis.plot([0, 1], [0, 1], color="black", linewidth=0.8, linestyle=":", label="calibrated")
    for number, (title, rows) in enumerate(curves.items()):
        look = look_of(number)
        predicted = _column(rows, "predicted")
        axis.plot(predicted, _column(rows, "observed"), **look, label=plot_text(title))
        axis.vlines(predicted, _column(rows, "low"), _column(rows, "high"), color=look["color"], linewidth=1.2)
        n = _column(rows, "n")
        counts.hlines(n, _column(rows, "from"), _column(rows, "to"), color=look["color"], linewidth=1.2)
        counts.plot(predicted, n, **{**look, "linestyle": "none"})
    events = {str(row["event"]) for rows in curves.values() for row in rows if "event" in row}
    plain(axis, y="observed share, 95 % interval")
    axis.set(xlim=shown_range(curves), ylim=(0, 1))
    plain(
        counts, x=f"predicted probability of {events.pop() if len(events) == 1 else 'the event'}", y="rows in the bin"
    )
    counts.set_ylim(0, 1.15 * max(row["n"] for rows in curves.values() for row in rows))
    counts.yaxis.get_major_locator().set_params(integer=True)
    legend_below(figure, axis)
    write_figure(figure, path)


def shown_range(curves: Mapping[str, Sequence[Mapping[str, Any]]]) -> tuple[float, float]:
    """Which predicted probabilities are shown: 0 to 1, or about those there are where they are close together."""
    ends = [row[end] for rows in curves.values() for row in rows for end in ("from", "to")]
    low, high = min(ends), max(ends)
    if high - low >= LEAST_WIDTH:
        return 0.0, 1.0
    margin = 0.1 * (high - low) or 0.01
    return max(0.0, low - margin), min(1.0, high + margin)


def motif_figure(path: Path, accuracies: Mapping[str, np.ndarray], families: Mapping[str, Sequence[Bar]]) -> None:
    """Accuracies of motifs, sorted, a curve for each model; below, mean accuracies of families.

    Args:
        accuracies: model -> (motifs,). families: model -> a line for each family.
    """
    rows = max((len(own) for own in families.values()), default=0)
    figure = figure_of(8, 3.4 + ROW_INCHES * (rows + 2) * bool(rows))
    heights = [3.2, ROW_INCHES * (rows + 2)] if rows else [3.2]
    axes = figure.subplots(len(heights), squeeze=False, height_ratios=heights)[:, 0]
    few = max(map(len, accuracies.values())) <= 30
    for number, (title, values) in enumerate(accuracies.items()):
        look = look_of(number) | ({} if few else {"marker": ""})
        axes[0].plot(np.arange(1, len(values) + 1), np.sort(values)[::-1], **look, label=plot_text(title))
    axes[0].axhline(0.5, color="black", linewidth=0.8, linestyle=":")
    plain(axes[0], x="motifs, best first; dotted: chance, 0.5", y="accuracy (share of trials)")
    axes[0].set_ylim(-0.02, 1.02)
    axes[0].xaxis.get_major_locator().set_params(integer=True)
    if rows:
        _families(axes[1], families)
    legend_below(figure, axes[0])
    write_figure(figure, path)


def _families(axis: "Axes", families: Mapping[str, Sequence[Bar]]) -> None:
    names = list(dict.fromkeys(bar.label for own in families.values() for bar in own))
    place = {name: len(names) - 1 - number for number, name in enumerate(names)}
    step = min(0.25, 0.7 / len(families))
    for model, bars in enumerate(families.values()):
        shift = step * (model - (len(families) - 1) / 2)
        y = np.array([place[bar.label] for bar in bars]) - shift
        look = look_of(model, "none")
        axis.plot([bar.value for bar in bars], y, **look)
        known = [(at, bar.low, bar.high) for at, bar in zip(y, bars, strict=True) if bar.low is not None]
        if known:
            at, low, high = zip(*known, strict=True)
            axis.hlines(at, low, high, color=look["color"], linewidth=1.4)
    axis.axvline(0.5, color="black", linewidth=0.8, linestyle=":")
    plain(axis, x="mean accuracy of a family's motifs (share of trials), 95 % interval; dotted: chance, 0.5")
    axis.set_yticks(list(place.values()), [plot_text(name) for name in place])
    axis.set_ylim(-0.7, len(names) - 0.3)


def _column(rows: Sequence[Mapping[str, Any]], name: str) -> np.ndarray:
    """(n,) values, NaN for None."""
    return np.array([row[name] for row in rows], dtype=float)


def figure_of(width: float, height: float) -> "Figure":
    """An empty figure of so many inches."""
    from matplotlib.figure import Figure

    return Figure(figsize=(width, height), layout="constrained")


def write_figure(figure: "Figure", path: Path) -> None:
    """Written whole or not at all; the same values give the same file."""
    import matplotlib

    metadata = {".png": {"Software": None}, ".svg": {"Date": None}, ".pdf": {"CreationDate": None}}[path.suffix]
    with replacing(path) as temporary, matplotlib.rc_context({"svg.hashsalt": path.name}):
        figure.savefig(temporary, format=path.suffix[1:], dpi=150, metadata=metadata, bbox_inches="tight")
