"""The command `hyenadna demo`: task 1 of DART-Eval on real human DNA, in a minute or two."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from trainer_scripts.messages import result

if TYPE_CHECKING:
    from evaluation_dart.statistics.metric import Metric


def demo(
    model: Annotated[
        Path | None, typer.Option(help="folder of a causal language model; default: the small one that is installed")
    ] = None,
    markov: Annotated[
        Path | None, typer.Option(help="file of a Markov model of order 7 or more; default: the installed one")
    ] = None,
    output: Annotated[Path, typer.Option(help="folder for the records and the picture")] = Path("results/demo"),
    limit: Annotated[int | None, typer.Option(help="score only this many pairs, from the first on", min=1)] = None,
) -> None:
    """Score a checkpoint, an untrained one and Markov models on the bundled sample of task 1.

    hyenadna demo

    hyenadna demo --model my-model
    """
    from datasets import disable_progress_bars
    from rich import box
    from rich.console import Console
    from rich.table import Table

    from trainer_scripts.demo import DEMO_MODEL, INPUTS, MARKOV, compare_models

    disable_progress_bars()
    outcomes, picture = compare_models(model or DEMO_MODEL, markov or MARKOV, output, limit)
    n = len(outcomes[0].differences)
    table = Table(
        title=f"CpG islands of chrX against their dinucleotide shuffles, n = {n}",
        caption="in brackets: 95 % intervals; p: signed-rank test, signs of 1-Mb blocks turned, at least 0.0001",
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
    console = Console()
    with console.capture() as captured:
        console.print(table)
    folders = [str(outcome.folder) for outcome in outcomes]
    lines = [captured.get().rstrip(), "records", *(f"  {own}" for own in folders)]
    lines += ["picture", f"  {picture}"] if picture else ["no picture: pip install 'hyenadna-dart[plot]' for one"]
    lines += ["files to try other commands on", f"  {output / INPUTS}"]
    result({"records": folders, "picture": picture, "inputs": output / INPUTS}, "\n".join(lines))


def with_interval(metric: "Metric", digits: int) -> str:
    """A value, with its interval where it has one."""
    from evaluation_dart.statistics.metric import interval_text

    return f"{metric['value']:.{digits}f}{interval_text(metric, f'.{digits}f')}"
