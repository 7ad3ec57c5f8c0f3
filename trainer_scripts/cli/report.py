"""`dart-eval report`: records made ready for the Hub and the leaderboard."""

from pathlib import Path
from typing import Annotated

import typer

from datasets_dart.errors import InputError
from trainer_scripts.cli.app import result, say


def report(
    records: Annotated[list[Path], typer.Argument(help="folders with records in or below them")],
    output: Annotated[Path, typer.Option(help="folder to write")] = Path("report"),
    dataset: Annotated[
        str, typer.Option(help="dataset repository of the tasks, for .eval_results; yours, for data of your own")
    ] = "dart-eval/dart-eval",
    source_url: Annotated[str | None, typer.Option(help="where the records can be seen, for .eval_results")] = None,
    leaderboard: Annotated[Path | None, typer.Option(help="leaderboard folder to write data.js into")] = None,
) -> None:
    """Turn records into what the Hub shows, after recomputing every metric from its predictions.

    Writes results/, a dataset in Parquet with one row for each metric; and of whole runs of pretrained models,
    models/{model}/.eval_results/dart-eval.yaml for each model's repository, and dataset/eval.yaml for that of the
    tasks. Entries of dart-eval/dart-eval are runs on the published data only; those of another dataset repository say
    that they are of other data. What is no record, or does not follow from its predictions, is skipped with a line.

    dart-eval report results --output report --dataset me/my-data --leaderboard leaderboard
    """
    from evaluation_dart.report.hub import write_report
    from evaluation_dart.report.leaderboard import build
    from evaluation_dart.report.tables import valid_records_below

    valid, skipped = valid_records_below(records)
    if not valid:
        raise InputError(f"no valid record: {'; '.join(skipped)[:1000]}")
    contents = [record.content for record in valid]
    values, left_out = write_report(contents, output, dataset, source_url)
    if leaderboard is not None:
        skipped += build(leaderboard, [record.folder for record in valid])[1]
    for line in skipped + left_out:
        say(line)
    models = len({record["model"]["id"] for record in contents})
    text = f"{output}: {len(valid)} records of {models} models, {values} values"
    result({"output": str(output), "records": len(valid), "models": models, "values": values}, text)
