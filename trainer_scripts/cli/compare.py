"""`dart-eval compare`: two records, row by row."""

from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from trainer_scripts.cli.app import result


def compare(
    a: Annotated[Path, typer.Argument(help="folder of a record")],
    b: Annotated[Path, typer.Argument(help="folder of another of the same task and protocol")],
) -> None:
    """Differences between the metrics of two records, over the rows that both have.

    dart-eval compare results/org__a/main/variant_effects/zero_shot_likelihood results/org__b/main/variant_effects/...
    """
    from evaluation_dart import compare as compared

    found = compared(a, b)
    metrics = {name: asdict(difference) for name, difference in found.metrics.items()}
    result({"rows": found.rows, "only_a": found.only_a, "only_b": found.only_b, "metrics": metrics}, str(found))
