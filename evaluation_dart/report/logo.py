"""Pictures along a sequence: logos of importance scores, and heat maps of what substitutions change."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from datasets_dart.alphabet import BASES
from datasets_dart.errors import InputError, MissingExtra
from datasets_dart.formats.text import plot_text
from evaluation_dart.report.figures import MEDIUM, SMALL, figure_of, plain, write_figure

if TYPE_CHECKING:
    from matplotlib.axes import Axes

FORMATS = (".png", ".svg")
ROW_INCHES, MAP_INCHES, BASE_INCHES = 1.9, 1.35, 0.12
MOST_ROWS = 20  # panels
BASES_A_LINE, MOST_LINES = 100, 40
LETTER = 0.95  # of a base's width, which tangermeme begins at the base's number
COLOURS = dict(zip(BASES, ("#009e73", "#0072b2", "#e69f00", "#d55e00"), strict=True))  # Okabe and Ito's
UNKNOWN_COLOUR = "#9aa5b1"


class Panel(NamedTuple):
    """Values along a sequence.

    Attributes:
        title: what it is of. values: (L, 4), of A, C, G and T; NaN where there are none. first: coordinate of the first
            base. axis: the title of the axis of coordinates.
    """

    title: str
    values: np.ndarray
    first: int = 1
    axis: str = "position in the sequence (bp, from 1)"


class Line(NamedTuple):
    """What of a panel is on one line: values from the base `start` on, counted from 0."""

    panel: Panel
    start: int
    values: np.ndarray

    @property
    def first(self) -> int:
        """Coordinate of the first base."""
        return self.panel.first + self.start


def region_panel(chrom: str, start: int, end: int, values: np.ndarray) -> Panel:
    """Values of bases [start, end) of a contig, titled as genome browsers take it: chr5:5,001-5,100, from 1."""
    return Panel(browser_name(chrom, start, end), values, start + 1, coordinate_title(chrom))


def browser_name(chrom: str, start: int, end: int) -> str:
    """Bases [start, end) of a contig as genome browsers take them, from 1: chr5:5,001-5,100."""
    return f"{chrom}:{start + 1:,}-{end:,}"


def coordinate_title(chrom: str) -> str:
    """The title of an axis of coordinates on a contig."""
    return f"position on {chrom} (bp, from 1)"


def check_logo(path: Path) -> None:
    """Refuse a name that is no picture, and a missing library, before any work is done.

    Raises:
        ValueError: for another ending than .png or .svg. ImportError: naming the extra.
    """
    if path.suffix not in FORMATS:
        raise InputError(f"{path}: a logo is written as {' or '.join(FORMATS)}")
    try:
        import tangermeme.plot  # noqa: F401
    except ImportError as error:
        raise MissingExtra("drawing logos", "attribution") from error


def lines_of(panels: Sequence[Panel]) -> list[Line]:
    """Panels in lines of 100 bases, or of as many hundreds as it takes to have at most 40 lines."""
    longest = max(len(panel.values) for panel in panels)
    width = BASES_A_LINE
    while width < longest and sum(-(-len(panel.values) // width) for panel in panels) > MOST_LINES:
        width += BASES_A_LINE
    return [
        Line(panel, start, panel.values[start : start + width])
        for panel in panels
        for start in range(0, len(panel.values), width)
    ]


def draw_lines(
    path: Path,
    panels: Sequence[Panel],
    inches: float,
    y: str,
    draw: Callable[["Axes", Line], None],
    centre: float = 0.0,
    bar: str = "",
) -> None:
    """Lines below one another, each with its coordinates; the first of a panel has its title.

    Args:
        inches: a line is high. y: the title of the other axis. draw: draws a line, whose first base is in the
            middle of `centre`. bar: the title of a colour bar.
    """
    lines = lines_of(panels)
    longest = max(len(line.values) for line in lines)
    step = tick_step(longest)
    figure = figure_of(max(6.0, BASE_INCHES * longest), inches * len(lines) + 0.3)
    axes = figure.subplots(len(lines), squeeze=False)[:, 0]
    for axis, line in zip(axes, lines, strict=True):
        draw(axis, line)
        is_last = line.start + len(line.values) == len(line.panel.values)
        plain(axis, line.panel.title if line.start == 0 else "", line.panel.axis if is_last else "", y)
        axis.set_xlim(centre - 0.5, longest + centre - 0.5)
        places = range(-(-line.first // step) * step, line.first + len(line.values), step)
        axis.set_xticks([place - line.first + centre for place in places], [f"{place:,}" for place in places])
    if bar:
        shown = figure.colorbar(axes[0].images[0], ax=list(axes), fraction=0.05, aspect=8 * len(lines), pad=0.01)
        shown.set_label(plot_text(bar), fontsize=MEDIUM)
        shown.ax.tick_params(labelsize=SMALL)
    write_figure(figure, path)


def tick_step(length: int) -> int:
    """Bases between two numbers on an axis: 1, 2 or 5, or so many tens, hundreds and so on, for ten numbers at most."""
    return next(int(10**power) * part for power in range(12) for part in (1, 2, 5) if length / (10**power * part) <= 10)


def draw_logos(path: Path, panels: Sequence[Panel], unit: str) -> None:
    """Letters as high as their values, in lines of at most 100 bases where that can be; a panel's have one scale.

    Args:
        unit: the title of the axis of heights.
    """
    from tangermeme.plot import plot_logo

    def draw(axis: "Axes", line: Line) -> None:
        plot_logo(line.values.T.astype(np.float64), ax=axis, color=COLOURS)
        axis.axhline(0, color="black", linewidth=0.5)
        axis.set_ylim(*scale_of(line.panel.values))

    draw_lines(path, panels, ROW_INCHES, unit, draw, LETTER / 2)


def scale_of(values: np.ndarray) -> tuple[float, float]:
    """The ends of an axis for stacks of letters, with a margin."""
    low, high = np.minimum(values, 0).sum(axis=1).min(), np.maximum(values, 0).sum(axis=1).max()
    margin = 0.05 * (high - low) or 1.0
    return float(low - margin), float(high + margin)


def draw_heat_maps(path: Path, panels: Sequence[Panel], sequences: Sequence[str], unit: str) -> None:
    """What each substitution changes, by base and position; a dot is the base itself, and grey is not known.

    Args:
        panels: whose values are the changes. sequences: the bases of each. unit: the title of the colours.
    """
    from matplotlib import colormaps

    known = [np.abs(panel.values[np.isfinite(panel.values)]) for panel in panels]
    most = max((float(own.max()) for own in known if len(own)), default=0.0) or 1.0
    colours = colormaps["PuOr"].with_extremes(bad=UNKNOWN_COLOUR)
    bases = {id(panel): sequence for panel, sequence in zip(panels, sequences, strict=True)}

    def draw(axis: "Axes", line: Line) -> None:
        axis.imshow(line.values.T, cmap=colours, vmin=-most, vmax=most, aspect="auto", interpolation="nearest")
        own = bases[id(line.panel)][line.start : line.start + len(line.values)]
        places = [(place, BASES.index(base)) for place, base in enumerate(own) if base in BASES]
        axis.plot(*zip(*places, strict=True) if places else ([], []), ".", color="black", markersize=2.5)
        axis.set_yticks(range(len(BASES)), list(BASES))

    draw_lines(path, panels, MAP_INCHES, "base", draw, bar=unit)
