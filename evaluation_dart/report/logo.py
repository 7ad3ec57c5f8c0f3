"""Sequence logos of importance scores, as PNG or SVG."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from datasets_dart.errors import InputError, MissingExtra
from datasets_dart.files import replacing
from datasets_dart.formats.text import plot_text

FORMATS = (".png", ".svg")
ROW_INCHES, BASE_INCHES, WIDEST = 1.8, 0.12, 24.0
MOST_ROWS = 20


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


def draw_logos(path: Path, panels: Sequence[tuple[str, np.ndarray]], unit: str) -> None:
    """One row a panel: a title, and (L, 4) heights of A, C, G and T."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot
    from tangermeme.plot import plot_logo

    longest = max(len(heights) for _, heights in panels)
    size = (min(WIDEST, max(6.0, BASE_INCHES * longest)), ROW_INCHES * len(panels) + 0.3)
    figure, axes = pyplot.subplots(len(panels), figsize=size, squeeze=False, layout="constrained")
    for axis, (title, heights) in zip(axes[:, 0], panels, strict=True):
        plot_logo(heights.T.astype(np.float64), ax=axis)
        axis.set_title(plot_text(title), fontsize=9, loc="left")
        axis.set_ylabel(unit, fontsize=8)
        axis.tick_params(labelsize=7)
        axis.spines[["top", "right"]].set_visible(False)
    with replacing(path) as temporary:
        figure.savefig(temporary, format=path.suffix[1:], dpi=150)
    pyplot.close(figure)
