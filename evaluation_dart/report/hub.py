"""Records as the Hub reads them: `.eval_results` of a model's repository, and the tasks of a dataset's eval.yaml."""

import os
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
from huggingface_hub import DatasetCard, DatasetCardData, EvalResultEntry, eval_result_entries_to_yaml

from datasets_dart.errors import InputError
from datasets_dart.files import replacing, write_text
from datasets_dart.formats.documents import yaml_text
from datasets_dart.outputs import LOCK, locked, sweep_folder
from evaluation_dart.models.kinds import RANDOM_WEIGHTS
from evaluation_dart.records import choices_of, owner_folder
from evaluation_dart.report.benchmark import is_benchmark, not_published
from evaluation_dart.report.tables import data_name, headline, results_table, sound_metrics
from evaluation_dart.statistics.metric import ends_text

FRAMEWORK = "hyenadna-dart"
DESCRIPTION = "DNA language models on regulatory DNA: five tasks, a board for each task and setting."
OTHER_DATA = "not the published data of DART-Eval"  # marks entries of any other dataset repository
ABOUT = (
    "# DART-Eval results\n\nOne row for each metric of each run: value, 95 % interval and its method, n, and where "
    "it comes from: model and commit, data and their fingerprint, recipe, versions, digest of the predictions. "
    "Every value was recomputed from its predictions before it was written here.\n"
)


# Files of a report, and what shows that they are
OWN = {
    "dataset/eval.yaml": b"evaluation_framework: hyenadna-dart",
    "results/README.md": b"# DART-Eval results",
    "results/data/train-00000-of-00001.parquet": b"higher_is_better",
}


def write_report(
    records: Sequence[Mapping[str, Any]],
    output: Path,
    dataset: str,
    source_url: str | None = None,
) -> tuple[int, list[str]]:
    """Write what the Hub shows of valid records; returns the number of values, and why runs are no entries.

    results/, a dataset in Parquet with one row for each metric of all records; and of the runs that may be
    (`no_entry`), models/{model}/.eval_results/dart-eval.yaml for each model's repository, and dataset/eval.yaml for
    that of the tasks.

    Args:
        dataset: repository of the tasks: the benchmark's, of which only runs on the published data are entries, or one
            of the user's own, whose entries say that they are of other data. source_url: where the records can be seen.

    Raises:
        InputError: for a file that is in the way and not ours.
    """
    with locked(output / LOCK, output):
        check_place(output)
        return write_held(records, output, dataset, source_url)


def check_place(output: Path) -> None:
    """Remove what killed runs left in a report's folder; InputError naming a file that is in the way and not ours."""
    for folder, _, _ in list(os.walk(output)):
        if Path(folder).relative_to(output).parts[:1] in ((), ("models",), ("dataset",), ("results",)):
            sweep_folder(Path(folder))
    for name, words in OWN.items():
        path = output / name
        if os.path.lexists(path) and words not in path.read_bytes():
            raise InputError(f"{path}: already exists, and is not of a report; move it, or name another folder")


def write_held(
    records: Sequence[Mapping[str, Any]],
    output: Path,
    dataset: str,
    source_url: str | None,
) -> tuple[int, list[str]]:
    """[`write_report`] in a folder that is held."""
    if (output / "results/README.md").is_file():  # a report that had other entries
        for path in [*output.glob("models/*/.eval_results/dart-eval.yaml"), output / "dataset/eval.yaml"]:
            path.unlink(missing_ok=True)
    runs, reasons = entries_among(records, dataset)
    left_out = [f"no entry of {dataset}: {reason}" for reason in reasons]
    by_folder: dict[str, list[Mapping[str, Any]]] = defaultdict(list)
    for record in runs:
        by_folder[owner_folder(record)].append(record)
    for its in by_folder.values():
        entries = eval_result_entries_to_yaml(eval_results(its, dataset, source_url))
        target = output / "models" / owner_folder(its[0]) / ".eval_results/dart-eval.yaml"
        write_text(target, yaml_text(entries))
    if runs:
        content = eval_yaml(runs, dataset)
        check_eval_yaml(content, output / "dataset/eval.yaml")
        write_text(output / "dataset/eval.yaml", yaml_text(content))
    table = results_table(records)
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
    write_text(output / "results/README.md", str(DatasetCard(f"---\n{data.to_yaml()}\n---\n\n{ABOUT}")))
    return int(table.num_rows), left_out


def entries_among(records: Iterable[Mapping[str, Any]], dataset: str) -> tuple[list[Mapping[str, Any]], list[str]]:
    """The records that are entries, one for each model and board, and why each other run is none.

    Of several, the one with the task's default recipe and seed goes before others, then the newest.
    """
    chosen: dict[tuple[str, str], Mapping[str, Any]] = {}
    reasons = []
    newest = sorted(records, key=lambda record: str(record["date"]), reverse=True)
    for record in sorted(newest, key=lambda record: choices_of(record.get("spec", {})) != ""):
        owner, model, why = owner_folder(record), record["model"]["id"], no_entry(record, dataset)
        if why is None and any(owner == other and model != own["model"]["id"] for (other, _), own in chosen.items()):
            why = "another model has a folder of this name"
        elif why is None and (owner, task_id(record)) in chosen:
            why = f"another record of it is the one of {task_id(record)}"
        if why is None:
            chosen[owner, task_id(record)] = record
        elif record.get("kind", "task") == "task":
            reasons.append(f"{model} on {record['task']}, {record['setting']}: {why}")
    return list(chosen.values()), reasons


def no_entry(record: Mapping[str, Any], board: str) -> str | None:
    """Why a record is no entry of the boards of the dataset repository `board`; None for a whole run of a pretrained
    model, for the benchmark's own boards on the published data.
    """
    dataset, identity = record["dataset"], str(record["model"]["id"])
    if record.get("kind", "task") != "task":
        return "not a run of a task"
    if dataset.get("subset", "all") != "all" or record["split"] != "test":
        return f"not all rows of the test split ({record['split']}, {dataset.get('subset', 'all')})"
    if record["recipe"].get("budget", "full") != "full":
        return "trained with the small budget"
    if identity.startswith("ab-initio/") or identity.endswith(RANDOM_WEIGHTS):
        return "not a pretrained model"
    return not_published(record["task"], dataset["fingerprint"]) if is_benchmark(board) else None


def task_id(record: Mapping[str, Any]) -> str:
    """What eval.yaml calls the board of a record: its configuration of the dataset repository, and the setting."""
    config = record["task"] if record["protocol"] == "fixed" else f"{record['task']}-{record['protocol']}"
    return f"{config}-{record['setting']}".replace("_", "-")


def eval_results(
    records: Iterable[Mapping[str, Any]], dataset_id: str, source_url: str | None = None
) -> list[EvalResultEntry]:
    """Entries for `.eval_results/dart-eval.yaml` of the repository of the model that made the records.

    The Hub keeps one number for each model and task: the headline metric. `dataset_id` is the repository whose
    eval.yaml has the tasks.

    Raises:
        ValueError: for records of several models, or two of the same task.
    """
    entries: dict[str, EvalResultEntry] = {}
    models = set()
    other = "" if is_benchmark(dataset_id) else f"{OTHER_DATA}: "
    for record in records:
        models.add(record["model"]["id"])
        if len(models) > 1:
            raise InputError(f"records of several models, {' and '.join(sorted(models))}: one repository is of one")
        name, board = headline(record), task_id(record)
        if board in entries:
            raise InputError(f"two records of {record['model']['id']} are of {board}: give the one to publish")
        metric = sound_metrics(record)[name]
        interval = ends_text(metric, ".4g")
        recipe = record["recipe"].get("name", "")
        entries[board] = EvalResultEntry(
            dataset_id=dataset_id,
            task_id=board,
            value=metric["value"],
            date=record["date"][:10],
            source_url=source_url,
            source_name=None if source_url is None else "hyenadna-dart record",
            notes=f"{other}{name}{interval}, n = {metric['n']}, {data_name(record)}, {record['split']} split, "
            f"recipe {recipe}",
        )
    return list(entries.values())


def eval_yaml(records: Iterable[Mapping[str, Any]], dataset: str) -> dict[str, Any]:
    """Content of the eval.yaml of a dataset repository that the records are entries of."""
    own = is_benchmark(dataset)
    return {
        "name": "DART-Eval" if own else f"{dataset}: tasks of DART-Eval on other data",
        "description": DESCRIPTION if own else f"{DESCRIPTION} These are {OTHER_DATA}.",
        "evaluation_framework": FRAMEWORK,
        "tasks": eval_tasks(records),
    }


def eval_tasks(records: Iterable[Mapping[str, Any]]) -> list[dict[str, str]]:
    """The `tasks` of eval.yaml that the records belong to: id, configuration and split of the dataset repository."""
    tasks = {}
    for record in records:
        config = record["task"] if record["protocol"] == "fixed" else f"{record['task']}-{record['protocol']}"
        tasks[task_id(record)] = {"id": task_id(record), "config": config, "split": record["split"]}
    return [tasks[name] for name in sorted(tasks)]


def check_eval_yaml(content: Any, where: str | os.PathLike[str]) -> None:
    """Raise ValueError naming the first thing in the content of an eval.yaml that the Hub's schema does not have so.

    As documented by the Hub (beta, 2026): name, description and evaluation_framework are text; tasks is a list, each
    with an id of its own, and if need be a config and a split.
    """
    if not isinstance(content, dict):
        raise InputError(f"{where}: is not a mapping")
    for name in ("name", "description", "evaluation_framework"):
        if not isinstance(content.get(name), str) or not content[name]:
            raise InputError(f"{where}: {name} is {content.get(name)!r}, not text")
    if not isinstance(content.get("tasks"), list) or not content["tasks"]:
        raise InputError(f"{where}: has no list of tasks")
    seen: set[str] = set()
    for task in content["tasks"]:
        if not isinstance(task, dict) or not isinstance(task.get("id"), str):
            raise InputError(f"{where}: task {task!r} has no id")
        if unknown := task.keys() - {"id", "config", "split"}:
            raise InputError(f"{where}: task {task['id']!r} has an unknown {min(unknown)!r}")
        if not all(isinstance(value, str) for value in task.values()):
            raise InputError(f"{where}: task {task['id']!r} has a value that is not text")
        if task["id"] in seen:
            raise InputError(f"{where}: two tasks are called {task['id']!r}")
        seen.add(task["id"])
