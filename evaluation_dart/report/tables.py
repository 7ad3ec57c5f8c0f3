"""Result records as others read them: rows of a table, `.eval_results` of a model's repository, the tasks of
`eval.yaml`, and the rows of the leaderboard."""

import json
import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import pyarrow as pa
from huggingface_hub import EvalResultEntry

from datasets_dart.errors import InputError
from evaluation_dart.records import RESULTS

# The metric of each task that its leaderboard is sorted by at first: the first of these that a record has.
HEADLINES = {
    "regulatory_elements": ("accuracy",),
    "motif_footprinting": ("accuracy",),
    "cell_type_elements": ("accuracy", "adjusted_mutual_information"),
    "chromatin_activity": ("spearman_peaks", "pearson_peaks"),
    "variant_effects": ("auroc", "spearman"),
}
# The input of a task that says which data set it is, rather than the genome.
NAMING_INPUTS = ("elements", "motifs", "processed", "variants", "peaks", "counts", "backgrounds")
SCHEMA = pa.schema(
    [
        ("model", pa.string()),
        ("model_revision", pa.string()),
        ("parameters", pa.int64()),
        ("task", pa.string()),
        ("setting", pa.string()),
        ("protocol", pa.string()),
        ("split", pa.string()),
        ("recipe", pa.string()),
        ("window", pa.int64()),
        ("metric", pa.string()),
        ("value", pa.float64()),
        ("low", pa.float64()),
        ("high", pa.float64()),
        ("n", pa.int64()),
        ("method", pa.string()),
        ("higher_is_better", pa.bool_()),
        ("data", pa.string()),
        ("data_rows", pa.int64()),
        ("data_fingerprint", pa.string()),
        ("data_inputs", pa.string()),
        ("predictions_sha256", pa.string()),
        ("versions", pa.string()),
        ("device", pa.string()),
        ("seconds", pa.float64()),
        ("date", pa.string()),
        ("record", pa.string()),
    ]
)


def record_folders(where: Iterable[str | os.PathLike[str]]) -> list[Path]:
    """The folders with a record in or below the given ones, sorted.

    Raises:
        FileNotFoundError: naming a folder that is not there, or has none.
    """
    folders = []
    for root in where:
        found = sorted(path.parent for path in Path(root).rglob(RESULTS))
        if not found:
            raise FileNotFoundError(f"{root}: no {RESULTS} in it")
        folders += found
    return folders


def results_table(records: Iterable[Mapping[str, Any]]) -> pa.Table:
    """One row for each metric of each record (columns: `SCHEMA`), with its interval and where it comes from."""
    rows = []
    for record in records:
        model, dataset = record["model"], record["dataset"]
        about = {
            "model": model["id"],
            "model_revision": model["revision"],
            "parameters": model.get("parameters"),
            **{name: record[name] for name in ("task", "setting", "protocol", "split", "device", "seconds", "date")},
            "recipe": json.dumps(record["recipe"], sort_keys=True),
            "window": record["recipe"].get("window"),
            "data": data_name(record),
            "data_rows": dataset["rows"],
            "data_fingerprint": dataset["fingerprint"],
            "data_inputs": json.dumps(dataset.get("inputs", {}), sort_keys=True),
            "predictions_sha256": record["predictions"]["sha256"],
            "versions": json.dumps(record["versions"], sort_keys=True),
            "record": record["fingerprint"],
        }
        rows += [about | {"metric": name} | dict(metric) for name, metric in record["metrics"].items()]
    return pa.Table.from_pylist(rows, schema=SCHEMA)


def data_name(record: Mapping[str, Any]) -> str:
    """What a record's data set is called: the file that makes it one, without its suffixes, and what was taken."""
    inputs = record["dataset"].get("inputs", {})
    described = next((str(inputs[name]) for name in NAMING_INPUTS if name in inputs), "unnamed")
    files = [part.partition(" sha256:")[0].rpartition("=")[2] for part in described.split(", ")]
    stems = [file.removesuffix(".gz").rpartition(".")[0] or file for file in files]
    subset = record["dataset"].get("subset", "all")
    return ", ".join(stems) + ("" if subset == "all" else f" ({subset})")


def headline(record: Mapping[str, Any]) -> str:
    """The name of a record's first metric to look at."""
    names = [name for name in HEADLINES.get(record["task"], ()) if name in record["metrics"]]
    return (names or list(record["metrics"]))[0]


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
    for record in records:
        models.add(record["model"]["id"])
        if len(models) > 1:
            raise InputError(f"records of several models, {' and '.join(sorted(models))}: one repository is of one")
        name, board = headline(record), task_id(record)
        if board in entries:
            raise InputError(f"two records of {record['model']['id']} are of {board}: give the one to publish")
        metric = record["metrics"][name]
        interval = "" if metric["low"] is None else f" [{metric['low']:.4g}, {metric['high']:.4g}]"
        recipe = record["recipe"].get("name", "")
        entries[board] = EvalResultEntry(
            dataset_id=dataset_id,
            task_id=board,
            value=metric["value"],
            date=record["date"][:10],
            source_url=source_url,
            source_name=None if source_url is None else "hyenadna-dart record",
            notes=f"{name}{interval}, n = {metric['n']}, {data_name(record)}, {record['split']} split, recipe {recipe}",
        )
    return list(entries.values())


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
        raise InputError(f"{where}: is no mapping")
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


def board_row(record: Mapping[str, Any], link: str | None = None) -> dict[str, Any]:
    """A record as a row of the leaderboard; `link` is the address of the record itself."""
    model = record["model"]
    return {
        "task": record["task"],
        "setting": record["setting"],
        "model": model["id"],
        "revision": model["revision"],
        "parameters": model.get("parameters"),
        "context": record["recipe"].get("window"),
        "protocol": record["protocol"],
        "recipe": record["recipe"].get("name", ""),
        "data": data_name(record),
        "baseline": is_baseline(record),
        "source": "run",
        "date": record["date"][:10],
        "headline": headline(record),
        "metrics": {
            name: {key: metric[key] for key in ("value", "low", "high", "n", "higher_is_better")}
            for name, metric in record["metrics"].items()
        },
        "link": link,
    }


def is_baseline(record: Mapping[str, Any]) -> bool:
    """Whether a record is there for comparison only: no network, random weights, or no pretraining."""
    model = record["model"]
    return (
        record["setting"] == "ab_initio"
        or "parameters" not in model
        or str(model["id"]).endswith(("-random", "-untrained"))
    )
