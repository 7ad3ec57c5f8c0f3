"""`dart-eval report`: records made ready for the Hub and the leaderboard."""

from pathlib import Path
from typing import Annotated

import typer

from trainer_scripts.cli.app import result, say


def report(
    records: Annotated[list[Path], typer.Argument(help="folders with records in or below them")],
    output: Annotated[Path, typer.Option(help="folder to write")] = Path("report"),
    dataset: Annotated[
        str, typer.Option(help="dataset repository of the tasks, for .eval_results")
    ] = "dart-eval/dart-eval",
    source_url: Annotated[str | None, typer.Option(help="where the records can be seen, for .eval_results")] = None,
    leaderboard: Annotated[Path | None, typer.Option(help="leaderboard folder to write data.js into")] = None,
) -> None:
    """Turn records into what the Hub shows, after recomputing every metric from its predictions.

    Writes models/{model}/.eval_results/dart-eval.yaml for each model's repository, dataset/eval.yaml for that of the
    tasks, and results/: a dataset in Parquet with one row for each metric. Files that are no records are skipped.

    dart-eval report results --output report --leaderboard leaderboard
    """
    from evaluation_dart.records import validate_record
    from evaluation_dart.report.hub import write_report
    from evaluation_dart.report.leaderboard import build
    from evaluation_dart.report.tables import records_below

    found, skipped = records_below(records)
    valid = [validate_record(record.folder) for record in found]
    values = write_report(valid, output, dataset, source_url)
    if leaderboard is not None:
        skipped += build(leaderboard, [record.folder for record in found])[1]
    for line in skipped:
        say(line)
    models = len({record["model"]["id"] for record in valid})
    text = f"{output}: {len(valid)} records of {models} models, {values} values"
    result({"output": str(output), "records": len(valid), "models": models, "values": values}, text)
