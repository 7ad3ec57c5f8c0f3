"""Task 1 of DART-Eval on real human DNA, in a minute or two.

Is a regulatory element likelier than its dinucleotide shuffle? Asked of a checkpoint, of the same architecture with
random weights, and of Markov models, on the CpG islands of chrX that come with the package. A Markov model of order 0
or 1 cannot distinguish an element from a shuffle that keeps its dinucleotides.
"""

import logging
import os
import shutil
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from datasets_dart.errors import InputError
from datasets_dart.files import replacing, write_text
from datasets_dart.formats.bed import read_intervals
from datasets_dart.formats.fasta import open_genome
from datasets_dart.outputs import LOCK, check_output, locked, made_folder, sweep
from datasets_dart.samples import cpg_islands_chrx
from evaluation_dart import evaluate, load_scorer
from evaluation_dart.models.markov import MarkovScorer
from evaluation_dart.records import RESULTS
from evaluation_dart.statistics.metric import Metric
from evaluation_dart.tools.loading import VCF_HEADER

ORDERS = (3, 5, 7)
SEED = 0
PICTURE, INPUTS = "demo.png", "inputs"
VARIANTS = 20
TRANSITION = {"A": "G", "C": "T", "G": "A", "T": "C"}
INSTALLED = Path(__file__).parent / "demo_models"
DEMO_MODEL, MARKOV = INSTALLED / "hyenadna-tiny-1k-demo", INSTALLED / "markov-chrX" / "markov.safetensors"

log = logging.getLogger(__name__)


class Outcome(NamedTuple):
    """What a contestant made of the sample; `differences` (n,) are score - control_score in nats."""

    label: str
    folder: Path
    metrics: dict[str, Metric]
    differences: np.ndarray


def write_inputs(folder: Path) -> None:
    """What other commands can be tried on: the installed model, the sample's genome and elements, and variants.

    The variants are made up: a transition in the middle of each of the first elements.
    """
    folder.mkdir()
    shutil.copytree(DEMO_MODEL, folder / "model")
    sample = cpg_islands_chrx()
    for path in sample["genome"].parent.glob(f"{sample['genome'].name}*"):
        shutil.copyfile(path, folder / path.name.replace(sample["genome"].name, "genome.fa.gz"))
    shutil.copyfile(sample["elements"], folder / "elements.bed")
    rows = []
    genome = open_genome(sample["genome"])
    _, elements = next(read_intervals(sample["elements"], rows=VARIANTS))
    for contig, start, end in zip(elements.chrom, elements.start, elements.end, strict=True):
        middle = int(start + end) // 2
        ref = genome.fetch(contig, middle, middle + 1).upper()
        rows.append(f"{contig}\t{middle + 1}\t.\t{ref}\t{TRANSITION[ref]}\t.\t.\t.\n")
    write_text(folder / "variants.vcf", VCF_HEADER + "".join(rows))


def contestants(model: Path, markov: Path) -> Iterator[tuple[str, Any]]:
    """The models to compare, each with its name, made one at a time.

    Args:
        model: folder of a causal language model. markov: file of a Markov model of order 7 or more.

    Raises:
        OSError: if they are not there.
    """
    counts = MarkovScorer(markov)
    whole = counts.model
    yield "HyenaDNA, trained here", load_scorer(model)
    yield "HyenaDNA, untrained", load_scorer(f"random:{model}", seed=SEED)
    for order in ORDERS:
        counts.model = whole.at_order(order)
        yield f"Markov, order {order}", counts


def draw(outcomes: list[Outcome], path: Path) -> None:
    """Two panels with a row for each model: how much likelier elements are than shuffles, and how often.

    Left, the density of score - control_score, solid where the element wins; right, the accuracy with its interval.
    """
    from matplotlib.figure import Figure

    rows = range(len(outcomes) - 1, -1, -1)  # the first on top
    low, high = np.quantile(np.concatenate([outcome.differences for outcome in outcomes]), [0.002, 0.998])
    grid = np.linspace(min(low, -1), max(high, 1), 600)
    figure = Figure(figsize=(9.5, 0.75 * len(outcomes) + 1.4), layout="constrained")
    left, right = figure.subplots(1, 2, sharey=True, width_ratios=[3, 2])
    for y, outcome in zip(rows, outcomes, strict=True):
        colour = "C0" if y == len(outcomes) - 1 else "0.45"
        # A Gaussian kernel density by the rule of thumb; never narrower than the line that draws it.
        width = max(1.06 * outcome.differences.std() * len(outcome.differences) ** -0.2, grid[1] - grid[0])
        density = np.exp(-0.5 * ((grid[:, None] - outcome.differences) / width) ** 2).mean(axis=1)
        top = y + 0.85 * density / density.max()
        left.fill_between(grid, y, top, where=grid >= 0, color=colour, linewidth=0)
        left.fill_between(grid, y, top, where=grid <= 0, color=colour, alpha=0.3, linewidth=0)
        left.axhline(y, color="0.85", linewidth=0.8, zorder=0)

        accuracy = outcome.metrics["accuracy"]
        centre = y + 0.3
        right.axhline(centre, color="0.92", linewidth=0.8, zorder=0)
        ends = [100 * end for end in (accuracy["low"], accuracy["high"]) if end is not None]
        right.plot(ends, [centre] * len(ends), color=colour, linewidth=2.5)
        right.plot(100 * accuracy["value"], centre, "o", color=colour, markersize=7)
        right.annotate(
            f"{100 * accuracy['value']:.1f} %",
            (100 * accuracy["value"], centre),
            xytext=(0, 8),
            textcoords="offset points",
            ha="center",
            color=colour,
        )
    left.axvline(0, color="0.3", linewidth=0.8)
    right.axvline(50, color="0.3", linewidth=0.8, linestyle=":")
    left.set_yticks([y + 0.3 for y in rows], [outcome.label for outcome in outcomes])
    left.set(xlim=(grid[0], grid[-1]), ylim=(-0.1, len(outcomes)), xlabel="log-likelihood, element − shuffle (nats)")
    right.set(xlim=(0, 103), xlabel="pairs in which the element wins (%)")
    for axes in (left, right):
        axes.tick_params(axis="y", length=0)
        axes.spines[["top", "right", "left"]].set_visible(False)
    n = len(outcomes[0].differences)
    figure.suptitle(
        f"CpG islands of human chrX against their dinucleotide shuffles, n = {n}; bars: 95 % intervals",
        x=0.01,
        ha="left",
        fontsize=11,
    )
    with replacing(path) as unfinished:
        figure.savefig(unfinished, dpi=150, format="png")


def compare_models(
    model: Path, markov: Path, output: Path, limit: int | None = None
) -> tuple[list[Outcome], Path | None]:
    """Score a checkpoint, its architecture untrained, and Markov models on the bundled sample of task 1.

    Args:
        model, markov: see [`contestants`]. output: folder for the records and demo.png. limit: so many pairs only.

    Returns:
        What each model made of it, and the picture, None where matplotlib is not installed.
    """
    check_output(output / PICTURE, [model, markov])
    with locked(output / LOCK, output):
        sweep(output / PICTURE)
        if os.path.lexists(output / PICTURE) and not any(output.glob(f"local__*/*/*/*/{RESULTS}")):
            raise InputError(f"{output / PICTURE}: is not a picture of the demo, which goes there; move it")
        found = compared(model, markov, output, limit)
        made_folder(output / INPUTS, write_inputs, [])
        return found


def compared(model: Path, markov: Path, output: Path, limit: int | None) -> tuple[list[Outcome], Path | None]:
    """[`compare_models`] in a folder that is held."""
    outcomes = []
    for label, scorer in contestants(model, markov):
        log.info("scoring the sample's elements and their shuffles: %s", label)
        inputs: Any = cpg_islands_chrx()
        record = evaluate(scorer, "regulatory_elements", output=output, limit=limit, overwrite=True, **inputs)
        predictions = record.predictions()
        differences = predictions["score"].to_numpy() - predictions["control_score"].to_numpy()
        outcomes.append(Outcome(label, record.folder, record.metrics, differences))
    if find_spec("matplotlib") is None:
        (output / PICTURE).unlink(missing_ok=True)  # of another run
        return outcomes, None
    draw(outcomes, output / PICTURE)
    return outcomes, output / PICTURE
