"""Task 1 of DART-Eval on real human DNA, in a minute or two: `make demo`, or `python -m trainer_scripts.demo`.

Is a regulatory element likelier than its dinucleotide shuffle? Asked of the checkpoint trained here, of the same model
with random weights, and of Markov models, on the CpG islands of chrX that come with the package and that none of them
saw. A Markov model of order 0 or 1 cannot tell an element from a shuffle that keeps its dinucleotides.
"""

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any, NamedTuple

import numpy as np
import pyarrow.parquet as pq
import typer
from rich import box
from rich.console import Console
from rich.table import Table
from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer, set_seed
from transformers.utils import logging

import modeling_hyenadna  # noqa: F401  (registers HyenaDNA with the Auto classes)
from datasets_dart.files import replacing, sha256
from datasets_dart.samples import cpg_islands_chrx
from evaluation_dart.models.language_model import LanguageModel, load_language_model
from evaluation_dart.models.markov import MarkovModel
from evaluation_dart.recipes import RECIPES
from evaluation_dart.records import PREDICTIONS, read_record
from evaluation_dart.run import evaluate
from evaluation_dart.statistics.metric import Metric
from trainer_scripts.cli.dart_eval import described_inputs, load_split

CARDS = Path(__file__).parents[1] / "model_cards"
CHECKPOINT = CARDS / "hyenadna-tiny-1k-demo"
MARKOV = CARDS / "markov-chrX" / "markov.safetensors"
ORDERS = (3, 5, 7)
SEED = 0


class Contestant(NamedTuple):
    """A scorer with its name, and what its record says of it."""

    label: str
    scorer: Any
    model: dict[str, Any]


class Outcome(NamedTuple):
    """What a contestant made of the sample; `differences` (n,) are score - control_score in nats."""

    label: str
    folder: Path
    metrics: dict[str, Metric]
    differences: np.ndarray


def contestants() -> Iterator[Contestant]:
    """The models to compare, made one at a time.

    Raises:
        FileNotFoundError: if model_cards is not beside this package; it is part of a checkout, not of the wheel.
    """
    for path in (CHECKPOINT / "model.safetensors", MARKOV):
        if not path.is_file():
            raise FileNotFoundError(f"no {path}: the demo runs in a checkout of the repository")
    trained = load_language_model(CHECKPOINT)
    description = {"parameters": trained.num_parameters, "dtype": "float32"}
    yield Contestant(
        "HyenaDNA, trained here",
        trained,
        {"id": f"local/{CHECKPOINT.name}", "revision": trained.revision, **description},
    )
    set_seed(SEED)
    untrained = LanguageModel(
        AutoModelForCausalLM.from_config(AutoConfig.from_pretrained(CHECKPOINT)),
        AutoTokenizer.from_pretrained(CHECKPOINT),
        "causal",
        "local/hyenadna-tiny-1k-random",
        f"seed-{SEED}",
    )
    yield Contestant(
        "HyenaDNA, untrained",
        untrained,
        {"id": untrained.name, "revision": untrained.revision, **description},
    )
    markov = MarkovModel.load(MARKOV)
    for order in ORDERS:
        revision = sha256(MARKOV)[:12]
        yield Contestant(
            f"Markov, order {order}",
            markov.at_order(order),
            {"id": f"local/markov-chrX-order-{order}", "revision": revision},
        )


def score(contestant: Contestant, dataset: Any, inputs: dict[str, str], output: Path) -> Outcome:
    """Score one model on the sample and write its record below `output`."""
    folder = evaluate(
        contestant.scorer,
        dataset,
        "regulatory_elements",
        "zero_shot_likelihood",
        RECIPES["dart-eval"],
        output,
        model=contestant.model,
        inputs=inputs,
        split="test",
        protocol="fixed",
        overwrite=True,
    )
    predictions = pq.read_table(folder / PREDICTIONS)
    differences = predictions["score"].to_numpy() - predictions["control_score"].to_numpy()
    return Outcome(contestant.label, folder, read_record(folder)["metrics"], differences)


def with_interval(metric: Metric, digits: int) -> str:
    value = f"{metric['value']:.{digits}f}"
    return value if metric["low"] is None else f"{value} [{metric['low']:.{digits}f}, {metric['high']:.{digits}f}]"


def table_of(outcomes: list[Outcome]) -> Table:
    n = len(outcomes[0].differences)
    table = Table(
        title=f"CpG islands of chrX against their dinucleotide shuffles, n = {n}",
        caption="in brackets: 95 % intervals; p: one-sided Wilcoxon signed-rank test",
        box=box.SIMPLE_HEAD,
        pad_edge=False,
        collapse_padding=True,
    )
    table.add_column("model", no_wrap=True)
    for heading in ("accuracy", "median, nats", "p"):
        table.add_column(heading, justify="right")
    for outcome in outcomes:
        accuracy, median, p = (outcome.metrics[name] for name in ("accuracy", "median_diff", "wilcoxon_p"))
        table.add_row(outcome.label, with_interval(accuracy, 3), with_interval(median, 2), f"{p['value']:.2g}")
    return table


def draw(outcomes: list[Outcome], path: Path) -> None:
    """Beside each other, a row for each model: how much likelier elements are than shuffles, and how often.

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


def demo(
    output: Annotated[Path, typer.Option(help="folder for the records and the picture")] = Path("results/demo"),
    limit: Annotated[int | None, typer.Option(help="score the first so many pairs only", min=1)] = None,
) -> None:
    """Score the bundled checkpoint, an untrained one and Markov models on the bundled sample of task 1.

    python -m trainer_scripts.demo --output results/demo
    """
    logging.disable_progress_bar()
    console = Console()
    files = cpg_islands_chrx()
    dataset = load_split(files["genome"], files["elements"], "fixed", files["splits"], "test")
    if limit is not None:
        dataset = dataset.select(range(min(limit, len(dataset))))
    inputs = described_inputs(**files)
    outcomes = []
    for contestant in contestants():
        console.print(f"scoring {len(dataset)} elements and their shuffles: {contestant.label}")
        outcomes.append(score(contestant, dataset, inputs, output))
    picture = output / "demo.png"
    draw(outcomes, picture)
    console.print(table_of(outcomes))
    console.print("records")
    for outcome in outcomes:
        console.print(f"  {outcome.folder}", soft_wrap=True)
    console.print(f"picture\n  {picture}", soft_wrap=True)


def main() -> None:
    try:
        typer.run(demo)
    except (ValueError, OSError) as error:
        print("demo:", " ".join(str(error).split()), file=sys.stderr)
        sys.exit(1)


if __name__ == "__main__":
    main()
