"""Figures of published values beside measured ones."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from datasets_dart.formats.text import plot_text
from evaluation_dart.report.figures import DARK, SMALL, figure_of, look_of, plain, rows_figure, write_figure

if TYPE_CHECKING:
    from matplotlib.axes import Axes


class Point(NamedTuple):
    """A cell of a published table: what is measured, with its interval, and what is published, each as far as known.

    Attributes:
        x: of a figure of lines, and series: which of its lines.
    """

    label: str
    value: float | None
    low: float | None
    high: float | None
    published: float | None
    x: float | None = None
    series: str = ""


def published_figure(path: Path, panels: Mapping[str, Sequence[Point]], unit: str) -> None:
    """Published values (circles) and measured ones (squares, with their intervals), a panel for each title.

    Raises:
        InputError: for no point, or more than `MOST_FOREST_ROWS`.
    """

    def draw(axis: "Axes", place: int, point: Point) -> None:
        if point.low is not None and point.high is not None:
            axis.plot([point.low, point.high], [place, place], color=DARK, linewidth=1.6)
        if point.value is not None:
            axis.plot([point.value], [place], "s", color=DARK, markersize=4)
        if point.published is not None:
            axis.plot([point.published], [place], "o", color="black", fillstyle="none", markersize=5)

    rows_figure(path, panels, unit, draw, "cells; such a figure")


def lines_figure(path: Path, panels: Mapping[str, Sequence[Point]], x_label: str, logarithmic: bool = False) -> None:
    """Measured values against x with their intervals, a panel for each title and a line for each series.

    Args:
        logarithmic: values on a logarithmic axis. x is on one that has 0, too.
    """
    figure = figure_of(5, 3.2 * len(panels))
    axes = figure.subplots(len(panels), squeeze=False)[:, 0]
    for axis, (title, points) in zip(axes, panels.items(), strict=True):
        for number, name in enumerate(dict.fromkeys(point.series for point in points)):
            own = [point for point in points if point.series == name and point.value is not None]
            look = look_of(number)
            axis.plot([p.x for p in own], [p.value for p in own], **look, label=plot_text(name))
            known = [(p.x, p.low, p.high) for p in own if p.low is not None and p.high is not None]
            if known:
                axis.vlines(*zip(*known, strict=True), color=look["color"], linewidth=1.2)
        told = [(p.x, p.published) for p in points if p.published is not None]
        if told:
            axis.plot(*zip(*told, strict=True), "o", color="black", fillstyle="none", label="published")
        axis.set_xscale("symlog", base=2, linthresh=2)
        axis.set_yscale("log" if logarithmic else "linear")
        plain(axis, title, x_label)
        axis.legend(fontsize=SMALL, frameon=False)
    write_figure(figure, path)
