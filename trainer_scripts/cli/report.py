"""`dart-eval report`: result records made ready for the Hub and the leaderboard."""

from collections import defaultdict
from pathlib import Path
from typing import Annotated, Any

import typer

from datasets_dart.files import replacing, write_text

BENCHMARK: dict[str, Any] = {
    "name": "DART-Eval",
    "description": "DNA language models on regulatory DNA: five tasks, a board for each task and setting.",
    "evaluation_framework": "hyenadna-dart",
}


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
    tasks, and results/: a dataset in Parquet with one row for each metric.

    dart-eval report results --output report --leaderboard leaderboard
    """
    import pyarrow.parquet as pq
    import yaml
    from huggingface_hub import DatasetCard, DatasetCardData, eval_result_entries_to_yaml

    from evaluation_dart.records import validate_record
    from evaluation_dart.report.tables import check_eval_yaml, eval_results, eval_tasks, record_folders, results_table

    folders = record_folders(records)
    valid = [validate_record(folder) for folder in folders]
    by_model: dict[str, list[dict[str, Any]]] = defaultdict(list)
    for record in valid:
        by_model[record["model"]["id"]].append(record)
    for model, its in by_model.items():
        entries = eval_result_entries_to_yaml(eval_results(its, dataset, source_url))
        target = output / "models" / model.replace("/", "__") / ".eval_results/dart-eval.yaml"
        write_text(target, yaml.safe_dump(entries, sort_keys=False))
    benchmark = BENCHMARK | {"tasks": eval_tasks(valid)}
    check_eval_yaml(benchmark, output / "dataset/eval.yaml")
    write_text(output / "dataset/eval.yaml", yaml.safe_dump(benchmark, sort_keys=False))

    table = results_table(valid)
    parquet = output / "results/data/train-00000-of-00001.parquet"
    parquet.parent.mkdir(parents=True, exist_ok=True)
    with replacing(parquet) as unfinished:
        pq.write_table(table, unfinished)
    data = DatasetCardData(
        license="apache-2.0",
        pretty_name="DART-Eval results",
        tags=["biology", "genomics", "dna", "dart-eval"],
        configs=[{"config_name": "default", "data_files": [{"split": "train", "path": "data/train-*"}]}],
    )
    about = (
        "# DART-Eval results\n\nOne row for each metric of each run: value, 95 % interval and its method, n, and where "
        "it comes from: model and commit, data and their fingerprint, recipe, versions, digest of the predictions. "
        "Every value was recomputed from its predictions before it was written here.\n"
    )
    write_text(output / "results/README.md", str(DatasetCard(f"---\n{data.to_yaml()}\n---\n\n{about}")))
    if leaderboard is not None:
        build = leaderboard_builder(leaderboard)
        build(leaderboard, folders)
    typer.echo(f"{output}: {len(valid)} records of {len(by_model)} models, {table.num_rows} values")


def leaderboard_builder(folder: Path) -> Any:
    """The function of the leaderboard's own build.py, which is not part of the installed package.

    Raises:
        FileNotFoundError: if `folder` is no leaderboard.
    """
    import importlib.util

    path = folder / "build.py"
    if not path.is_file():
        raise FileNotFoundError(f"{path}: no such file; --leaderboard names the leaderboard folder of the repository")
    spec = importlib.util.spec_from_file_location("leaderboard_build", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.build
