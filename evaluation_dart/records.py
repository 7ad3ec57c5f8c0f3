"""The result record: what was measured, on what, by what, and the predictions that prove it.

`{output}/{org}__{model}/{revision}/{task}/{setting}/results.json` beside `predictions.parquet`.
"""

import hashlib
import json
import math
import os
import tempfile
from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from datasets_dart.errors import InputError
from evaluation_dart.scoring.clustering import SEEDS
from evaluation_dart.statistics.metrics import (
    Metric,
    activity_metrics,
    class_metrics,
    clustering_metrics,
    motif_metrics,
    motif_summary,
    pair_classification_metrics,
    paired_likelihood_metrics,
    variant_metrics,
)

SCHEMA_VERSION = 1
RESULTS, PREDICTIONS = "results.json", "predictions.parquet"
# What must be in a record, and of which type.
SCHEMA: dict[str, type | tuple[type, ...]] = {
    "schema_version": int,
    "task": str,
    "split": str,
    "setting": str,
    "protocol": str,
    "recipe": dict,
    "metrics": dict,
    "model": dict,
    "dataset": dict,
    "predictions": dict,
    "versions": dict,
    "device": str,
    "processes": int,
    "seconds": (int, float),
    "sequences_per_second": (int, float),
    "date": str,
    "fingerprint": str,
}
NESTED = [
    *(("dataset", key) for key in ("rows", "fingerprint")),
    *(("predictions", key) for key in ("rows", "sha256")),
    *(("model", key) for key in ("id", "revision")),
]
# The fields that say what is run; the others say what came of it.
RUN = ("task", "split", "setting", "protocol", "recipe", "model", "dataset")
VERSIONS = ("hyenadna-dart", "torch", "transformers", "datasets", "numpy", "scipy", "scikit-learn")
METRIC_KEYS = frozenset(("value", "low", "high", "n", "method", "higher_is_better"))
# Relative. Sums are taken in another order by another numpy; p-values differ by 1e-6 between versions of scipy.
TOLERANCE, P_VALUE_TOLERANCE = 1e-9, 1e-5
# Columns of predictions by task and setting: what says which row it is, what metrics need to know, and the scores.
TRIAL = ("id", "background", "motif", "strand", "kind")
VARIANT = ("id", "chrom", "position", "label", "effect", "used", "effect_allele")
PAIR = ("id", "chrom", "start", "score", "control_score")
ACTIVITY = ("id", "cell_type", "category", "chrom", "start", "log_counts", "prediction")
ALLELES = (*VARIANT, "score1", "score2")
LOGIT = "logit_"
SUPERVISED = ("probed", "finetuned", "ab_initio")
PREDICTION_COLUMNS: dict[str, dict[str, tuple[str, ...]]] = {
    "regulatory_elements": {"zero_shot_likelihood": PAIR, **dict.fromkeys(SUPERVISED, PAIR)},
    "motif_footprinting": {
        "zero_shot_likelihood": (*TRIAL, "score"),
        "zero_shot_embedding": (*TRIAL, "distance"),
    },
    "cell_type_elements": {
        "clustering": ("id", "chrom", "start", "label", *(f"cluster_{seed}" for seed in SEEDS)),
        # and logit_{class} of each class
        **dict.fromkeys(SUPERVISED, ("id", "chrom", "start", "label")),
    },
    "chromatin_activity": {"zero_shot_likelihood": ACTIVITY, **dict.fromkeys(SUPERVISED, ACTIVITY)},
    "variant_effects": {
        "zero_shot_likelihood": ALLELES,
        "zero_shot_embedding": (*VARIANT, "distance"),
        **dict.fromkeys(SUPERVISED, ALLELES),
    },
}
# Where a dataset has none: a bare background's motif, files without coordinates, variants without controls or effects
NULLABLE = frozenset({"motif", "chrom", "start", "label", "effect"})
# Columns that together name a row, where `id` alone does not
KEYS = {"chromatin_activity": ("cell_type", "category", "id")}


def model_id(name: str) -> str:
    """What a record calls a model: its id on the Hub, or "local/{folder}", wherever that folder lies."""
    return f"local/{Path(name).resolve().name}" if Path(name).is_dir() else name


def record_folder(output: str | os.PathLike[str], model: str, revision: str, task: str, setting: str) -> Path:
    """Where the record of a model id lies."""
    return Path(output) / model.replace("/", "__") / revision / task / setting


def fingerprint(what: Mapping[str, Any]) -> str:
    """Of what a run is, as far as the record tells: equal runs have equal fingerprints."""
    return digest({key: what[key] for key in RUN})


def digest(value: Any) -> str:
    """SHA-256 of a value's JSON."""
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()


def package_versions() -> dict[str, str]:
    return {name: version(name) for name in VERSIONS}


def task_metrics(predictions: pa.Table, record: Mapping[str, Any]) -> dict[str, Metric]:
    """The metrics of a run from its predictions, and from what its record says of task, setting and protocol."""
    task, setting, protocol = record["task"], record["setting"], record["protocol"]
    column = {name: predictions[name].to_numpy() for name in PREDICTION_COLUMNS[task][setting]}
    where = _where(predictions, "position" if task == "variant_effects" else "start")
    if task == "regulatory_elements":
        scores = column["score"], column["control_score"]
        if setting in SUPERVISED:
            return pair_classification_metrics(*scores, *where, protocol)
        return paired_likelihood_metrics(*scores, column["chrom"], column["start"], protocol)
    if task == "motif_footprinting":
        distances = setting == "zero_shot_embedding"
        score = column["distance" if distances else "score"]
        trial = column["background"], column["motif"], column["strand"], column["kind"]
        return motif_summary(motif_metrics(*trial, score, distances, protocol), protocol)
    if task == "cell_type_elements" and setting in SUPERVISED:
        return _class_metrics(predictions, column["label"], where, protocol)
    if task == "cell_type_elements":
        clusters = np.stack([column[f"cluster_{seed}"] for seed in SEEDS], axis=1)
        return clustering_metrics(column["label"], clusters, *where, protocol)
    if task == "chromatin_activity":
        return activity_metrics(column["prediction"], column["log_counts"], column["category"], *where, protocol)
    return _variant_metrics(predictions, column, directed=setting != "zero_shot_embedding", protocol=protocol)


def _class_metrics(
    predictions: pa.Table, label: np.ndarray, where: tuple[np.ndarray | None, np.ndarray | None], protocol: str
) -> dict[str, Metric]:
    """Task 3, supervised: the classes are those that the predictions have a logit of, in the order of its columns."""
    classes = tuple(name.removeprefix(LOGIT) for name in predictions.column_names if name.startswith(LOGIT))
    if unknown := sorted(set(label.tolist()) - set(classes)):
        raise InputError(f"there is no column {LOGIT}{unknown[0]}, but rows of that label")
    logits = np.stack([predictions[LOGIT + name].to_numpy() for name in classes], axis=1)
    number = {name: i for i, name in enumerate(classes)}
    return class_metrics(logits, np.array([number[name] for name in label]), classes, *where, protocol)


def _variant_metrics(
    predictions: pa.Table, column: Mapping[str, np.ndarray], directed: bool, protocol: str
) -> dict[str, Metric]:
    """Task 5, of the variants that are used and, if any has a label, have one; its sign, that of the effect allele."""
    label = predictions["label"]
    used = column["used"].astype(bool)
    if labelled := label.null_count < len(label):
        used &= label.is_valid().to_numpy()
    if directed:
        change = (column["score2"] - column["score1"]) * np.where(column["effect_allele"] == 1, -1, 1)
    else:
        change = column["distance"]
    return variant_metrics(
        change[used],
        column["label"][used].astype(bool) if labelled else None,
        column["effect"][used].astype(np.float64) if predictions["effect"].null_count < len(predictions) else None,
        column["chrom"][used],
        column["position"][used],
        directed,
        protocol,
    )


def _where(predictions: pa.Table, position: str) -> tuple[np.ndarray | None, np.ndarray | None]:
    """Contig and position of each row, or None, None where a dataset does not know them."""
    names = [name for name in ("chrom", position) if name in predictions.column_names]
    if len(names) < 2 or any(predictions[name].null_count for name in names):
        return None, None
    return predictions["chrom"].to_numpy(), predictions[position].to_numpy()


def write_record(folder: Path, record: Mapping[str, Any], predictions: pa.Table) -> None:
    """Write predictions, then the record with their digest: both appear whole or not at all."""
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder, prefix=".writing-") as scratch:
        parquet, results = Path(scratch) / PREDICTIONS, Path(scratch) / RESULTS
        pq.write_table(predictions, parquet)
        sha256 = hashlib.sha256(parquet.read_bytes()).hexdigest()
        whole = {**record, "predictions": {"rows": predictions.num_rows, "sha256": sha256}}
        check_schema(whole, folder)
        results.write_text(json.dumps(whole, indent=2) + "\n")
        os.replace(parquet, folder / PREDICTIONS)
        os.replace(results, folder / RESULTS)


def read_record(folder: str | os.PathLike[str]) -> dict[str, Any]:
    """The record of a folder.

    Raises:
        FileNotFoundError: naming the file that is missing.
        ValueError: naming the file and the field that does not follow the schema.
    """
    path = Path(folder) / RESULTS
    if not path.is_file():
        raise FileNotFoundError(f"{path}: no such file")
    try:
        record = json.loads(path.read_text())
    except ValueError as error:
        raise InputError(f"{path}: not JSON: {error}") from None
    check_schema(record, path)
    return record


def check_schema(record: Any, where: str | os.PathLike[str]) -> None:
    """Raise ValueError naming the first field of `record` that is missing, unknown or of another type."""
    if not isinstance(record, dict):
        raise InputError(f"{where}: a record is a JSON object, not {type(record).__name__}")
    for name, expected in SCHEMA.items():
        if name not in record:
            raise InputError(f"{where}: the record has no {name!r}")
        if not isinstance(record[name], expected) or isinstance(record[name], bool):
            raise InputError(f"{where}: {name!r} is {record[name]!r}, of the wrong type")
    if unknown := record.keys() - SCHEMA.keys():
        raise InputError(f"{where}: unknown field {min(unknown)!r}")
    if record["schema_version"] != SCHEMA_VERSION:
        raise InputError(f"{where}: schema_version is {record['schema_version']}, this package reads {SCHEMA_VERSION}")
    if record["setting"] not in PREDICTION_COLUMNS.get(record["task"], ()):
        raise InputError(f"{where}: unknown task and setting {record['task']!r}, {record['setting']!r}")
    for name, metric in record["metrics"].items():
        if not isinstance(metric, dict) or metric.keys() != METRIC_KEYS:
            raise InputError(f"{where}: metric {name!r} must have exactly {', '.join(sorted(METRIC_KEYS))}")
    for field, key in NESTED:
        if key not in record[field]:
            raise InputError(f"{where}: {field!r} has no {key!r}")


def predictions_of(folder: Path, record: Mapping[str, Any]) -> pa.Table:
    """The predictions that a folder's record was made from.

    Raises:
        FileNotFoundError, ValueError: if they are not there, or not those.
    """
    path = folder / PREDICTIONS
    if not path.is_file():
        raise FileNotFoundError(f"{path}: no such file")
    if hashlib.sha256(path.read_bytes()).hexdigest() != record["predictions"]["sha256"]:
        raise InputError(f"{path}: not the file that the record was made from (its SHA-256 differs)")
    return pq.read_table(path)


def validate_record(folder: str | os.PathLike[str]) -> dict[str, Any]:
    """The record of a folder, if every metric follows from its predictions, and its fingerprint from what was run.

    Raises:
        FileNotFoundError, ValueError: saying what is missing, or which value is not what the predictions give.
    """
    folder = Path(folder)
    record = read_record(folder)
    if fingerprint(record) != record["fingerprint"]:
        raise InputError(f"{folder / RESULTS}: the fingerprint is not that of {', '.join(RUN)} as they stand there")
    path, predictions = folder / PREDICTIONS, predictions_of(folder, record)
    for column in PREDICTION_COLUMNS[record["task"]][record["setting"]]:
        if column not in predictions.column_names:
            raise InputError(f"{path}: no column {column!r}")
        if predictions[column].null_count and column not in NULLABLE:
            raise InputError(f"{path}: column {column!r} has {predictions[column].null_count} missing values")
    if predictions.num_rows != record["predictions"]["rows"] or predictions.num_rows != record["dataset"]["rows"]:
        raise InputError(
            f"{path}: {predictions.num_rows} rows, but the record counts {record['predictions']['rows']} "
            f"of a dataset of {record['dataset']['rows']}"
        )
    names = KEYS.get(record["task"], ("id",))
    times = predictions.group_by(list(names)).aggregate([([], "count_all")]).sort_by([("count_all", "descending")])
    if (most := times.slice(0, 1).to_pylist()) and most[0]["count_all"] > 1:
        row = ", ".join(f"{name} {most[0][name]}" for name in names)
        raise InputError(f"{path}: {row} stands there {most[0]['count_all']} times")
    expected = task_metrics(predictions, record)
    if record["metrics"].keys() != expected.keys():
        difference = sorted(record["metrics"].keys() ^ expected.keys())
        raise InputError(f"{folder / RESULTS}: metrics {', '.join(difference)} are missing or unknown")
    for name, metric in expected.items():
        for key, value in metric.items():
            if not _same(record["metrics"][name][key], value, P_VALUE_TOLERANCE if name.endswith("_p") else TOLERANCE):
                raise InputError(
                    f"{folder / RESULTS}: {name} {key} is {record['metrics'][name][key]}, "
                    f"but the predictions give {value}"
                )
    return record


def _same(recorded: Any, expected: Any, tolerance: float) -> bool:
    if isinstance(expected, float) and isinstance(recorded, int | float) and not isinstance(recorded, bool):
        return math.isclose(recorded, expected, rel_tol=tolerance)
    return bool(recorded == expected and type(recorded) is type(expected))
