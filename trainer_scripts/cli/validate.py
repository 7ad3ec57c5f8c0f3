"""`dart-eval validate`: whether records follow from their predictions."""

from pathlib import Path
from typing import Annotated

import typer

from trainer_scripts.messages import result


def validate(
    folders: Annotated[list[Path], typer.Argument(help="folders with results.json and predictions.parquet")],
    submitted_to: Annotated[
        Path | None,
        typer.Option(help="the root of submissions: each folder must lie at its place there and hold only a record"),
    ] = None,
) -> None:
    """Check that every metric of a record follows from its predictions.

    dart-eval validate results/local__hyenadna-tiny-1k-demo/*/regulatory_elements/zero_shot_likelihood
    """
    from evaluation_dart.records import validate_record, validate_submission

    for folder in folders:
        record = validate_record(folder) if submitted_to is None else validate_submission(folder, submitted_to)
        rows = record["predictions"]["rows"]
        result({"folder": str(folder), "predictions": rows}, f"{folder}: valid ({rows} predictions)")
