"""The distribution of variants' scores, by class of variant."""

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from datasets_dart.errors import InputError
from datasets_dart.formats.text import plot_text
from evaluation_dart.recipes import FOUR_BASES, HEAD, JSD, UNSIGNED, VariantRecipe
from evaluation_dart.report.figures import COLOURS, figure_of, write_figure

CLASSES = ("SNV", "insertion", "deletion", "other")
FEWEST_BINS, MOST_BINS = 10, 60
FEW = 30  # scores of a class that are also drawn one by one
PANEL_INCHES = 1.3


class ClassScores(NamedTuple):
    """The scores of the alleles of one class."""

    name: str
    scores: np.ndarray  # (n,) finite


def variant_class(ref: str, alt: str) -> str:
    """One of `CLASSES`, by what is left of two alleles without the bases that they begin or end with in common.

    "other" is a substitution of several bases, or by another number of bases.
    """
    end = next(
        (n for n, (a, b) in enumerate(zip(ref[::-1], alt[::-1], strict=False)) if a != b), min(len(ref), len(alt))
    )
    ref, alt = ref[: len(ref) - end], alt[: len(alt) - end]
    begin = next((n for n, (a, b) in enumerate(zip(ref, alt, strict=False)) if a != b), min(len(ref), len(alt)))
    lengths = len(ref) - begin, len(alt) - begin
    if lengths == (1, 1):
        return "SNV"
    return "other" if 0 not in lengths or lengths == (0, 0) else "deletion" if lengths[0] else "insertion"


def by_class(refs: Sequence[str], alts: Sequence[str], scores: np.ndarray) -> list[ClassScores]:
    """The finite ones of (n,) scores, of each class that has any."""
    names = np.array(
        [variant_class(ref.upper(), alt.upper()) for ref, alt in zip(refs, alts, strict=True)], dtype=object
    )
    found = [ClassScores(name, scores[(names == name) & np.isfinite(scores)]) for name in CLASSES]
    return [own for own in found if len(own.scores)]


def unit_of(recipe: VariantRecipe) -> str:
    """What a score is, and its unit: the title of an axis."""
    if recipe.likelihood is not None:
        per = "nats" if recipe.likelihood.reduction == "sum" else "nats a token"
        return f"log-likelihood, ALT - REF ({per})"
    return {
        HEAD: "output of the trained head, ALT - REF",
        JSD: "Jensen-Shannon divergence of what follows REF and ALT (nats)",
        FOUR_BASES: "log-likelihood among four bases, ALT - REF (nats)",
        "embedding-cosine": "cosine distance of REF and ALT (0 to 2)",
    }.get(recipe.name, "Euclidean distance of the embeddings of REF and ALT")


def score_figure(
    path: Path, classes: Sequence[ClassScores], unit: str, title: str, signed: bool = True, without: int = 0
) -> None:
    """A histogram for each class below one another, with its number of alleles and its median.

    Args:
        unit: the title of the axis of scores. signed: mark 0. without: alleles without a score, which the title counts.

    Raises:
        InputError: where no allele has a score.
    """
    if not classes:
        raise InputError(f"{path}: no allele has a score to draw")
    everything = np.concatenate([own.scores for own in classes])
    bins = np.clip(len(np.histogram_bin_edges(everything, "sqrt")) - 1, FEWEST_BINS, MOST_BINS)
    edges = np.histogram_bin_edges(everything, int(bins))
    figure = figure_of(6.4, PANEL_INCHES * len(classes) + 1.0)
    axes = figure.subplots(len(classes), sharex=True, squeeze=False)[:, 0]
    for axis, own in zip(axes, classes, strict=True):
        colour = COLOURS[CLASSES.index(own.name)]
        axis.hist(own.scores, bins=edges, color=colour)
        if len(own.scores) < FEW:
            axis.plot(own.scores, np.zeros(len(own.scores)), "|", color="black", markersize=7, clip_on=False)
        median = float(np.median(own.scores))
        axis.axvline(median, color="black", linewidth=1.2)
        if signed:
            axis.axvline(0, color="black", linewidth=0.8, linestyle=":")
        axis.set_title(f"{own.name}, n = {len(own.scores):,}, median {median:.3g} (line)", fontsize=8, loc="left")
        axis.set_ylabel("alleles", fontsize=8)
        axis.yaxis.get_major_locator().set_params(integer=True)
        axis.tick_params(labelsize=7)
        axis.spines[["top", "right"]].set_visible(False)
    axes[-1].set_xlabel(plot_text(unit), fontsize=8)
    counted = f"\n{without:,} alleles without a score are left out" if without else ""
    figure.suptitle(plot_text(title) + counted, fontsize=8, x=0.01, ha="left")
    write_figure(figure, path)


def is_signed(recipe: VariantRecipe) -> bool:
    """Whether a score says which allele is preferred."""
    return recipe.name not in UNSIGNED
