"""Vectors of regions in two dimensions, by principal components or UMAP."""

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from datasets_dart.errors import InputError, MissingExtra
from datasets_dart.formats.text import plot_text
from evaluation_dart.report.figures import COLOURS, LIGHT, MARKERS, figure_of, write_figure

METHODS = ("pca", "umap")
MOST_GROUPS = len(COLOURS)
NEIGHBOURS = 15  # of UMAP, its authors' default
SEED = 0
MANY = 5000  # points, from which on those of a vector picture are pixels


class Projection(NamedTuple):
    """(n, 2) places, and the titles of both axes."""

    places: np.ndarray
    axes: tuple[str, str]


def check_method(method: str) -> None:
    """Refuse an unknown method, and a missing library, before any work is done.

    Raises:
        InputError: naming those there are. MissingExtra: naming the extra.
    """
    if method not in METHODS:
        raise InputError(f"plot_method {method!r}: there are {', '.join(METHODS)}")
    if method == "umap":
        try:
            import umap  # noqa: F401
        except ImportError as error:
            raise MissingExtra("UMAP", "umap") from error


def projected(vectors: np.ndarray, method: str = "pca") -> Projection:
    """(n, C) vectors in two dimensions.

    "pca": the first two principal components of the centred vectors, by scikit-learn, and the share of the variance
    that each has. "umap": UMAP (McInnes et al. 2018) with 15 neighbours or all there are, Euclidean distances and seed
    0; its axes have no unit, and distances between groups of points mean little.

    Raises:
        InputError: for fewer than 3 regions or 2 channels, or vectors that are all equal.
    """
    vectors = np.asarray(vectors, dtype=np.float64)
    if len(vectors) < 3 or vectors.shape[1] < 2:
        raise InputError(
            f"a picture needs 3 regions and 2 channels, and here are {len(vectors)} and {vectors.shape[1]}"
        )
    if not np.isfinite(vectors).all():
        raise InputError("a picture needs finite vectors")
    if not (vectors != vectors[0]).any():
        raise InputError("a picture needs vectors that differ, and all of these are equal")
    if method == "umap":
        return Projection(_umap(vectors), ("UMAP 1 (no unit)", "UMAP 2 (no unit)"))
    from sklearn.decomposition import PCA

    pca = PCA(2, svd_solver="covariance_eigh")
    places = pca.fit_transform(vectors)
    first, second = (
        f"PC {n + 1} ({100 * share:.1f} % of the variance)" for n, share in enumerate(pca.explained_variance_ratio_)
    )
    return Projection(places, (first, second))


def _umap(vectors: np.ndarray) -> np.ndarray:
    import umap

    neighbours = min(NEIGHBOURS, len(vectors) - 1)
    # Few points have no spectrum to begin with
    start = "spectral" if len(vectors) > NEIGHBOURS else "random"
    reducer = umap.UMAP(n_neighbors=neighbours, init=start, random_state=SEED, n_jobs=1)
    return np.asarray(reducer.fit_transform(vectors), dtype=np.float64)


def groups_of(names: Sequence[str] | None) -> list[str] | None:
    """The group of each point: its name, where names are shared, and at most `MOST_GROUPS`; None for no groups.

    The commonest names are groups, and those that are over are "other names".
    """
    if names is None or len(set(names)) == len(names):
        return None
    counts = Counter(names)
    kept = [name for name, _ in sorted(counts.items(), key=lambda item: (-item[1], item[0]))]
    if len(kept) > MOST_GROUPS:
        kept = kept[: MOST_GROUPS - 1]
    return [name if name in kept else f"other names ({len(counts) - len(kept)})" for name in names]


def embedding_figure(path: Path, found: Projection, groups: Sequence[str] | None, title: str) -> None:
    """Points, with a colour and a marker for each group, and how many points it has."""
    figure = figure_of(5.6, 4.0)
    axis = figure.subplots()
    raster = len(found.places) > MANY
    x, y = found.places.T
    size = 12 if len(found.places) <= 2000 else 3
    if groups is None:
        axis.scatter(x, y, s=size, color=COLOURS[0], linewidths=0, alpha=0.7, rasterized=raster)
    else:
        names = np.array(groups, dtype=object)
        counts = Counter(groups)
        ordered = sorted(counts, key=lambda name: (name.startswith("other names ("), -counts[name], name))
        for number, name in enumerate(ordered):
            colour = LIGHT if name.startswith("other names (") else COLOURS[number]
            axis.scatter(
                x[names == name],
                y[names == name],
                s=size,
                color=colour,
                marker=MARKERS[number],
                linewidths=0,
                alpha=0.7,
                label=plot_text(f"{name}, n = {counts[name]:,}"),
                rasterized=raster,
            )
        axis.legend(fontsize=7, frameon=False, loc="upper left", bbox_to_anchor=(1.0, 1.0), markerscale=1.5)
    axis.set_xlabel(found.axes[0], fontsize=8)
    axis.set_ylabel(found.axes[1], fontsize=8)
    axis.tick_params(labelsize=7)
    axis.spines[["top", "right"]].set_visible(False)
    axis.set_title(plot_text(title), fontsize=8, loc="left")
    write_figure(figure, path)
