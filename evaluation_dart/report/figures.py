"""Figures of results, as PNG, SVG or PDF."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from datasets_dart.errors import InputError, MissingExtra
from datasets_dart.files import replacing
from datasets_dart.formats.text import plot_text
from evaluation_dart.comparison import Comparison
from evaluation_dart.report.tables import headline

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

FORMATS = (".png", ".svg", ".pdf")
ROW_INCHES, MOST_FOREST_ROWS = 0.28, 200
DARK, LIGHT = "#1f4e79", "#9aa5b1"
# Of Okabe and Ito (2008), which people with any colour vision tell apart; black and yellow are left away
COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9")
MARKERS = ("o", "s", "^", "D", "v", "P")


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


def rows_figure(
    path: Path,
    panels: Mapping[str, Sequence[Any]],
    unit: str,
    draw: Callable[["Axes", int, Any], None],
    what: str,
    line: float | None = None,
) -> None:
    """Rows with labels below one another, a panel for each title, and a line at a value, if there is one.

    Args:
        panels: rows with a `label`, by title. draw: draws a row at its place in a panel. what: the rows are, and the
            figure is, as an error says it.

    Raises:
        InputError: for no row, or more than `MOST_FOREST_ROWS`.
    """
    count = sum(map(len, panels.values()))
    if not 0 < count <= MOST_FOREST_ROWS:
        raise InputError(f"{path}: {count} {what} has 1 to {MOST_FOREST_ROWS}")
    heights = [len(rows) + 2 for rows in panels.values()]
    figure = figure_of(8, ROW_INCHES * sum(heights) + 0.6)
    axes = figure.subplots(len(panels), squeeze=False, height_ratios=heights)[:, 0]
    for axis, (title, rows) in zip(axes, panels.items(), strict=True):
        for place, row in enumerate(reversed(rows)):
            draw(axis, place, row)
        if line is not None:
            axis.axvline(line, color="black", linewidth=0.8, linestyle=":")
        axis.set_yticks(range(len(rows)), [plot_text(row.label) for row in reversed(rows)], fontsize=7)
        axis.set_ylim(-0.7, len(rows) - 0.3)
        axis.set_title(plot_text(title), fontsize=9, loc="left")
        axis.tick_params(axis="x", labelsize=7)
    axes[-1].set_xlabel(plot_text(unit), fontsize=8)
    write_figure(figure, path)


def forest_figure(path: Path, panels: Mapping[str, Sequence[Bar]], unit: str, line: float | None = 0.0) -> None:
    """Values with intervals below one another, a panel for each title, and a line at a value, if there is one.

    Raises:
        InputError: for no value, or more than `MOST_FOREST_ROWS`.
    """

    def draw(axis: "Axes", place: int, bar: Bar) -> None:
        colour = DARK if bar.strong else LIGHT
        if bar.low is not None and bar.high is not None:
            axis.plot([bar.low, bar.high], [place, place], color=colour, linewidth=1.6)
        axis.plot([bar.value], [place], "s", color=colour, markersize=4)

    rows_figure(path, panels, unit, draw, "values; a forest plot", line)


def comparison_figure(path: Path, comparison: Comparison) -> None:
    """Differences with their intervals: of one pair of models, all metrics; of several, the metrics to look at.

    Those that are significant after the correction for all of the table (Benjamini and Hochberg, 0.05) are dark.
    """
    panels: dict[str, list[Bar]] = {}
    for pair in comparison.pairs:
        first = pair.a.first
        names = list(pair.metrics) if len(comparison.pairs) == 1 else [headline(first.content)]
        for name in (name for name in names if name in pair.metrics):
            own = pair.metrics[name]
            strong = own.p_bh is not None and own.p_bh < 0.05
            bar = Bar(f"{pair.a.label} - {pair.b.label}", own.difference, own.low, own.high, strong)
            panels.setdefault(f"{first.task}, {first.setting}: {name}", []).append(bar)
    forest_figure(path, panels, "difference, 95 % interval; dark: p < 0.05 after Benjamini and Hochberg")


def calibration_figure(path: Path, curves: Mapping[str, Sequence[Mapping[str, float | None]]]) -> None:
    """Observed share against predicted probability, with intervals; curves: rows of a calibration curve by title."""
    figure = figure_of(5, 5)
    axis = figure.subplots()
    axis.plot([0, 1], [0, 1], color="black", linewidth=0.8, linestyle=":", label="calibrated")
    for title, rows in curves.items():
        (line,) = axis.plot(_column(rows, "predicted"), _column(rows, "observed"), "o-", markersize=3, linewidth=1)
        line.set_label(plot_text(title))
        ends = np.stack([_column(rows, "low"), _column(rows, "high")])
        axis.vlines(_column(rows, "predicted"), *ends, color=line.get_color(), linewidth=1)
    axis.set(xlabel="predicted probability", ylabel="observed share", xlim=(0, 1), ylim=(0, 1), aspect="equal")
    axis.legend(fontsize=7, frameon=False)
    write_figure(figure, path)


def motif_figure(path: Path, accuracies: Mapping[str, np.ndarray], families: Mapping[str, Sequence[Bar]]) -> None:
    """Accuracies of motifs, sorted, a curve for each model; below, mean accuracies of families.

    Args:
        accuracies: model -> (motifs,). families: model -> a line for each family.
    """
    rows = max((len(own) for own in families.values()), default=0)
    figure = figure_of(8, 3.2 + ROW_INCHES * (rows + 2) * bool(rows))
    heights = [3.0, ROW_INCHES * (rows + 2)] if rows else [3.0]
    axes = figure.subplots(len(heights), squeeze=False, height_ratios=heights)[:, 0]
    for title, values in accuracies.items():
        axes[0].plot(np.arange(1, len(values) + 1), np.sort(values)[::-1], linewidth=1.2, label=plot_text(title))
    axes[0].axhline(0.5, color="black", linewidth=0.8, linestyle=":")
    axes[0].set(xlabel="motifs, best first", ylabel="accuracy", ylim=(-0.02, 1.02))
    axes[0].legend(fontsize=7, frameon=False)
    if rows:
        _families(axes[1], families)
    write_figure(figure, path)


def _families(axis: "Axes", families: Mapping[str, Sequence[Bar]]) -> None:
    names = list(dict.fromkeys(bar.label for own in families.values() for bar in own))
    place = {name: len(names) - 1 - number for number, name in enumerate(names)}
    for model, (title, bars) in enumerate(families.items()):
        shift = 0.25 * (model / max(1, len(families) - 1) - 0.5) if len(families) > 1 else 0.0
        y = np.array([place[bar.label] for bar in bars]) - shift
        (line,) = axis.plot([bar.value for bar in bars], y, "s", markersize=4, label=plot_text(title))
        known = [(at, bar.low, bar.high) for at, bar in zip(y, bars, strict=True) if bar.low is not None]
        if known:
            at, low, high = zip(*known, strict=True)
            axis.hlines(at, low, high, color=line.get_color(), linewidth=1.4)
    axis.axvline(0.5, color="black", linewidth=0.8, linestyle=":")
    axis.set_yticks(list(place.values()), [plot_text(name) for name in place], fontsize=7)
    axis.set_xlabel("mean accuracy of a family's motifs", fontsize=8)


def _column(rows: Sequence[Mapping[str, float | None]], name: str) -> np.ndarray:
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
