"""The result record: what was measured, on what, by what, and the predictions that prove it.

`{output}/{org}__{model}/{revision}/{task}/{setting}/results.json` beside `predictions.parquet`; where another recipe,
seed, layer or window than the default was chosen, in one more folder, such as `recipe=carbon,seed=1`. What a record
holds is in record.schema.json.
"""

import hashlib
import json
import math
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cache
from importlib import import_module
from importlib.metadata import version
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from datasets_dart.errors import InputError
from datasets_dart.files import replacing
from datasets_dart.formats.documents import read_json
from datasets_dart.outputs import read_json as mapping_of
from evaluation_dart.recipes import with_current_name
from evaluation_dart.statistics.metric import Metric
from evaluation_dart.tasks import TASKS
from evaluation_dart.tasks.base import MEGABASES, blocks_of

if TYPE_CHECKING:
    from evaluation_dart.statistics.estimates import Estimate

SCHEMA_VERSION = 4
RESULTS, PREDICTIONS = "results.json", "predictions.parquet"
# The fields that say what is run; the others say what came of it.
RUN = ("task", "split", "setting", "protocol", "recipe", "model", "dataset")
# The choices that have a folder of their own, where they are not the default
CHOICES = {"recipe": None, "method": None, "layer": -1, "window": None, "seed": 0}
VERSIONS = ("hyenadna-dart", "torch", "transformers", "accelerate", "datasets", "numpy", "scipy", "scikit-learn")
# Kind of record -> "module:function" that gives its metrics' estimates from (predictions, record)
MEASURES = {
    "task": "evaluation_dart.records:task_estimates",
    "finetune": "evaluation_dart.training.downstream:estimates_of",
    "own model": "evaluation_dart.tools.own_model:estimates_of",
}
# What versions below 4 measured otherwise, or not under this name
REMADE, DROPPED = frozenset({"wilcoxon_p", "mannwhitney_p", "share_significant"}), "_by_block"
# Relative. Sums are taken in another order by another numpy; p-values differ by 1e-6 between versions of scipy.
TOLERANCE, P_VALUE_TOLERANCE = 1e-9, 1e-5
# Columns of predictions that a dataset may lack: a bare background's motif, places, labels and effects of variants
NULLABLE = frozenset({"motif", "chrom", "start", "label", "effect"})
# What metrics raise on columns of other types, or values that no model gives
NOT_OF_SUCH_A_RECORD = (KeyError, IndexError, TypeError, ValueError, AttributeError, ArithmeticError, pa.ArrowException)
# What may be handed in: bytes of each file; rows and bytes of the predictions once they are read
LIMITS = {RESULTS: 1 << 20, PREDICTIONS: 256 << 20}
MOST_ROWS, MOST_BYTES, BATCH_ROWS = 20_000_000, 1 << 30, 1 << 13
MOST_FAULTS = 50  # of a record that are looked at for the one that tells most
MOST_NAME_BYTES = 200  # of a folder's name, of which file systems take 255


@dataclass(frozen=True)
class Record:
    """A record in its folder.

    Attributes:
        folder: where it is.
        content: what its results.json holds.
    """

    folder: Path
    content: Mapping[str, Any]

    @property
    def metrics(self) -> dict[str, Metric]:
        """Metrics by name."""
        return {name: Metric(**metric) for name, metric in self.content["metrics"].items()}

    @property
    def spec(self) -> dict[str, Any]:
        """The arguments of `evaluate` that made it, as a configuration file takes them; version 1 has none."""
        return dict(self.content.get("spec", {}))

    @property
    def kind(self) -> str:
        """ "task", "finetune" or "own model"."""
        return str(self.content.get("kind", "task"))

    def predictions(self) -> pa.Table:
        """The predictions that the record was made from.

        Raises:
            FileNotFoundError: if they are missing.
            InputError: if they are not those.
        """
        return predictions_of(self.folder, self.content)

    def __getattr__(self, name: str) -> Any:
        """task, setting, protocol, model, dataset, ...: the entries of the record."""
        if name in ("content", "folder") or name not in self.content:
            raise AttributeError(f"a record has no {name!r}")
        return self.content[name]


def load_record(folder: str | os.PathLike[str]) -> Record:
    """The record of a folder.

    Args:
        folder: what `evaluate` wrote: it holds results.json, and predictions.parquet beside it.

    Raises:
        FileNotFoundError: naming the file that is missing.
        InputError: naming file and field at fault.
    """
    return Record(Path(folder), read_record(folder))


def choices_of(spec: Mapping[str, Any]) -> str:
    """The name of the folder for the choices of a run that are not the default, or ""."""
    chosen = {name: spec[name] for name, default in CHOICES.items() if spec.get(name, default) != default}
    return ",".join(f"{name}={value}" for name, value in chosen.items())


def owner_folder(record: Mapping[str, Any]) -> str:
    """The name of the folder for what is of a record's model."""
    return str(record["model"]["id"]).replace("/", "__")


def record_folder(output: str | os.PathLike[str], record: Mapping[str, Any]) -> Path:
    """Where a record lies below `output`, by its model, task, setting and choices."""
    model, owner = record["model"], owner_folder(record)
    return Path(output, owner, model["revision"], record["task"], record["setting"], choices_of(record.get("spec", {})))


def fingerprint(what: Mapping[str, Any]) -> str:
    """Of what a run is, as far as the record says: equal runs have equal fingerprints."""
    return digest({key: what[key] for key in RUN})


def digest(value: Any) -> str:
    """SHA-256 of a value's JSON."""
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()


def flattened(value: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Mappings within mappings as one, with names such as model.dtype."""
    found: dict[str, Any] = {}
    for name, own in value.items():
        found |= flattened(own, f"{prefix}{name}.") if isinstance(own, Mapping) else {f"{prefix}{name}": own}
    return found


def package_versions() -> dict[str, str]:
    """The versions of the packages that numbers depend on, and the instructions that a CPU computes with."""
    from torch.backends.cpu import get_cpu_capability

    named = {"HYENADNA_CPU": build} if (build := os.environ.get("HYENADNA_CPU")) else {}
    return {name: version(name) for name in VERSIONS} | {"cpu": get_cpu_capability()} | named


def completed(
    what: Mapping[str, Any], metrics: Mapping[str, Metric], device: str, processes: int, seconds: float
) -> dict[str, Any]:
    """A record of what was run, with what came of it; [`write_record`] adds the predictions' digest.

    Metrics without a value (of a constant, say) are in `undefined`, with the reason.

    Raises:
        InputError: if no metric has a value.
    """
    found = split_by_value(metrics)
    if not found["metrics"]:
        reasons = ", ".join(f"{name} is {why}" for name, why in found["undefined"].items())
        raise InputError(f"{what['model']['id']}: no metric has a value: {reasons or 'there is none'}")
    return {
        "schema_version": SCHEMA_VERSION,
        "spec": {},
        **what,
        **found,
        "versions": package_versions(),
        "device": device,
        "processes": processes,
        "seconds": round(seconds, 3),
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "fingerprint": fingerprint(what),
    }


def all_metrics(predictions: pa.Table, record: Mapping[str, Any]) -> dict[str, Metric]:
    """The metrics of a record of any kind, from its predictions or some of them; those without a value too."""
    from evaluation_dart.statistics.estimates import metrics_of  # with scipy and scikit-learn: a second

    return metrics_of(estimates_of(predictions, record))


def measured(predictions: pa.Table, record: Mapping[str, Any]) -> dict[str, Metric]:
    """The metrics that have a value."""
    return {name: metric for name, metric in all_metrics(predictions, record).items() if metric.is_defined}


def split_by_value(metrics: Mapping[str, Metric]) -> dict[str, dict[str, Any]]:
    """The entries of a record: metrics that have a value, and why the others have none."""
    return {
        "metrics": {name: dict(metric) for name, metric in metrics.items() if metric.is_defined},
        "undefined": {name: metric.method for name, metric in metrics.items() if not metric.is_defined},
    }


def estimates_of(predictions: pa.Table, record: Mapping[str, Any]) -> "dict[str, Estimate]":
    """What the metrics of a record of any kind are made of, from its predictions."""
    module, _, name = MEASURES[record.get("kind", "task")].partition(":")
    found: dict[str, Estimate] = getattr(import_module(module), name)(predictions, record)
    return found


def task_estimates(predictions: pa.Table, record: Mapping[str, Any]) -> "dict[str, Estimate]":
    """Of a run, from its predictions, and from what its record says of task, setting, recipe, protocol and blocks."""
    task, recipe = TASKS.named(record["task"]), str(record["recipe"].get("name"))
    blocks = blocks_named(record)
    found = task.estimates(predictions, record["protocol"], record["setting"], blocks)
    if task.of_recipe is not None and task.settings[record["setting"]].needs == "likelihoods":
        found |= task.of_recipe(predictions, recipe, blocks_of(predictions, blocks))
    return found


def remeasured(predictions: pa.Table, record: Mapping[str, Any]) -> dict[str, Any]:
    """A record whose metrics are made again from its predictions, in the schema's present version."""
    return {**record, "schema_version": SCHEMA_VERSION, **split_by_value(all_metrics(predictions, record))} | {
        "kind": record.get("kind", "task"),
        "spec": record.get("spec", {}),
        "blocks": blocks_named(record),
        "fingerprint": fingerprint(record),  # recipes that had another name have the present one
    }


def row_keys(record: Mapping[str, Any]) -> tuple[str, ...]:
    """Columns of a record's predictions that together name a row."""
    return TASKS.named(record["task"]).keys if record.get("kind", "task") == "task" else ("id",)


def blocks_named(record: Mapping[str, Any]) -> str:
    """The blocks that a record names, or those that its setting has."""
    if "blocks" in record:
        return str(record["blocks"])
    if record.get("kind", "task") == "task":
        return TASKS.named(record["task"]).settings[record["setting"]].blocks
    return MEGABASES


def remeasure(folder: str | os.PathLike[str], blocks: str | None = None) -> dict[str, Any]:
    """Make the metrics of a record of any kind again from its predictions, and write it in the present version.

    The record is replaced in one step; its predictions, and all else that it says, stay as they are.

    Args:
        blocks: which rows are taken as alike; None: those that the record names.

    Returns:
        The new record.

    Raises:
        FileNotFoundError, InputError: if it does not follow from its predictions.
    """
    folder = Path(folder)
    found = validate_record(folder)
    whole = remeasured(predictions_of(folder, found), found if blocks is None else {**found, "blocks": blocks})
    check_schema(whole, folder)
    with replacing(folder / RESULTS) as results:
        results.write_text(json.dumps(whole, indent=2) + "\n")
    return whole


def finished_record(folder: Path) -> dict[str, Any]:
    """The record of a folder.

    Raises:
        InputError: saying what to delete, where its predictions are not there or not those that it was made from.
    """
    record = read_record(folder)
    try:
        predictions_of(folder, record)
    except (OSError, InputError) as error:
        raise InputError(f"{error}; delete {folder / RESULTS} to make it again") from None
    return record


def check_record_place(folder: Path) -> None:
    """Raise InputError where a file that is no record of ours is in the place of one."""
    path = folder / RESULTS
    if os.path.lexists(path) and not {"fingerprint", "schema_version"} & mapping_of(path).keys():
        raise InputError(
            f"{path}: was not written by this program, and a record goes there; move it, or name another output"
        )


def write_record(folder: Path, record: Mapping[str, Any], predictions: pa.Table) -> dict[str, Any]:
    """Write predictions, then the record with their digest, which is returned: each appears whole or not at all."""
    with replacing(folder / RESULTS) as results, replacing(folder / PREDICTIONS) as parquet:
        pq.write_table(predictions, parquet)
        sha256 = hashlib.sha256(parquet.read_bytes()).hexdigest()
        whole = {**record, "predictions": {"rows": predictions.num_rows, "sha256": sha256}}
        check_schema(whole, folder)
        results.write_text(json.dumps(whole, indent=2) + "\n")
        (folder / RESULTS).unlink(missing_ok=True)  # which would say something else of what comes now
    return whole


def read_record(folder: str | os.PathLike[str]) -> dict[str, Any]:
    """What the results.json of a folder holds.

    Raises:
        FileNotFoundError: naming the file that is missing.
        InputError: naming the file and the field that does not follow the schema.
    """
    return with_current_names(read_written(folder))


def read_written(folder: str | os.PathLike[str]) -> dict[str, Any]:
    """[`read_record`], with recipes by the names that the file has, of which its fingerprint is."""
    path = Path(folder) / RESULTS
    record: dict[str, Any] = read_json(path, finite=True)
    check_schema(record, path)
    return record


def with_current_names(record: Mapping[str, Any]) -> dict[str, Any]:
    """A record with its recipe by the name that the recipe has now."""
    version = record["schema_version"]
    named = {**record, "recipe": with_current_name(record["recipe"], version)}
    if isinstance(recipe := record.get("spec", {}).get("recipe"), str):
        named["spec"] = {**record["spec"], "recipe": with_current_name({"name": recipe}, version)["name"]}
    return named


@cache
def schema_validator() -> Any:
    """The validator of record.schema.json."""
    from jsonschema import Draft202012Validator

    schema = json.loads(Path(__file__).with_name("record.schema.json").read_text(encoding="utf-8"))
    return Draft202012Validator(schema)


def check_schema(record: Any, where: str | os.PathLike[str]) -> None:
    """Raise InputError naming the first field of `record` that is missing, unknown or not as the schema has it."""
    from jsonschema.exceptions import best_match

    try:
        json.dumps(record, allow_nan=False, ensure_ascii=False).encode()  # no half of a surrogate pair either
        error = best_match(islice(schema_validator().iter_errors(record), MOST_FAULTS))
    except (RecursionError, OverflowError, TypeError, ValueError) as fault:
        raise InputError(f"{where}: the record cannot be JSON: {str(fault)[:200]}") from None
    if error is not None:
        field = ".".join(map(str, error.absolute_path)) or "the record"
        if error.validator == "required":
            missing = next(name for name in error.validator_value if name not in error.instance)
            raise InputError(f"{where}: {field if error.absolute_path else 'the record'} has no {missing!r}")
        if error.validator == "type":
            raise InputError(f"{where}: {field!r} is {shown(error.instance)}, of the wrong type")
        raise InputError(f"{where}: {field}: {error.message[:200]}")
    owner = owner_folder(record)
    if owner in (".", "..") or "\\" in owner or len(owner.encode()) > MOST_NAME_BYTES:
        raise InputError(f"{where}: model.id {shown(owner)} cannot be the name of a folder")
    if record.get("kind", "task") == "task":
        settings = TASKS[record["task"]].settings if record["task"] in TASKS else {}
        if record["setting"] not in settings:
            raise InputError(f"{where}: unknown task and setting {record['task']!r}, {record['setting']!r}")


def shown(value: Any) -> str:
    """A value as an error shows it."""
    return repr(value)[:100]


def predictions_of(folder: Path, record: Mapping[str, Any]) -> pa.Table:
    """The predictions that a folder's record was made from.

    Raises:
        FileNotFoundError, InputError: if they are missing, are not those, or are more than can be read.
    """
    path = folder / PREDICTIONS
    if not path.is_file():
        raise FileNotFoundError(f"{path}: no such file")
    predictions = read_bounded(path, flat=record.get("kind", "task") == "task")
    with open(path, "rb") as file:
        if hashlib.file_digest(file, "sha256").hexdigest() != record["predictions"]["sha256"]:
            raise InputError(f"{path}: not the file that the record was made from (its SHA-256 differs)")
    return predictions


def read_bounded(path: Path, flat: bool = False) -> pa.Table:
    """A Parquet file of at most `MOST_ROWS` rows and `MOST_BYTES` bytes, counted as they are decoded.

    A text that a file has once can stand in many rows: texts are counted before they are written out for each row.

    Args:
        flat: whether columns hold numbers, texts and truth values only, as those of tasks do.

    Raises:
        InputError: naming the file, if it is larger, not Parquet, or not flat.
    """
    size = 0
    try:
        file = pq.ParquetFile(path)
        schema, rows = file.schema_arrow, file.metadata.num_rows
        if flat and (nested := [own.name for own in schema if not is_flat(own.type)]):
            raise InputError(f"{path}: column {shown(nested[0])} is of type {schema.field(nested[0]).type}")
        texts = [own.name for own in schema if pa.types.is_string(own.type) or pa.types.is_large_string(own.type)]
        kept = sum(file.metadata.row_group(number).total_byte_size for number in range(file.num_row_groups))
        batches: list[pa.RecordBatch] = []
        if rows <= MOST_ROWS and kept <= MOST_BYTES:
            for batch in pq.ParquetFile(path, read_dictionary=texts).iter_batches(batch_size=BATCH_ROWS):
                size += sum(decoded_bytes(column) for column in batch.columns)
                if size > MOST_BYTES:
                    break
                batches.append(batch.cast(schema))
    except InputError:
        raise
    except (OSError, ValueError, TypeError, KeyError, pa.ArrowException) as error:
        raise InputError(f"{path}: not a Parquet file: {str(error)[:300]}") from None
    if rows > MOST_ROWS or max(size, kept) > MOST_BYTES:
        raise InputError(f"{path}: {rows:,} rows of {max(size, kept):,} bytes, too many to be read")
    return pa.Table.from_batches(batches, schema)


def is_flat(kind: pa.DataType) -> bool:
    """Whether a column of this type holds at most one number, text or truth value a row."""
    types = pa.types
    return bool(
        types.is_null(kind)  # a table without labels, say
        or types.is_integer(kind)
        or types.is_floating(kind)
        or types.is_boolean(kind)
        or types.is_string(kind)
        or types.is_large_string(kind)
    )


def decoded_bytes(column: pa.Array) -> int:
    """Bytes of a column with its texts written out in each row."""
    if not pa.types.is_dictionary(column.type):
        return int(column.nbytes)
    lengths = pc.binary_length(column.dictionary).take(column.indices)
    return int(pc.sum(pc.cast(lengths, pa.int64())).as_py() or 0) + 4 * len(column)


def validate_record(folder: str | os.PathLike[str]) -> dict[str, Any]:
    """The record of a folder, if every metric follows from its predictions, and its fingerprint from what was run.

    Raises:
        FileNotFoundError, InputError: naming what is missing, or which value is not what the predictions give.
    """
    folder = Path(folder)
    written = read_written(folder)
    record = with_current_names(written)
    if fingerprint(written) != record["fingerprint"]:
        raise InputError(f"{folder / RESULTS}: the fingerprint is not that of {', '.join(RUN)} as they stand there")
    path, predictions = folder / PREDICTIONS, predictions_of(folder, record)
    task = TASKS[record["task"]] if record.get("kind", "task") == "task" else None
    for column in () if task is None else task.settings[record["setting"]].columns:
        if column not in predictions.column_names:
            raise InputError(f"{path}: no column {column!r}")
        if predictions[column].null_count and column not in NULLABLE:
            raise InputError(f"{path}: column {column!r} has {predictions[column].null_count} missing values")
    if predictions.num_rows != record["predictions"]["rows"] or predictions.num_rows != record["dataset"]["rows"]:
        raise InputError(
            f"{path}: {predictions.num_rows} rows, but the record counts {record['predictions']['rows']} "
            f"of a dataset of {record['dataset']['rows']}"
        )
    keys = ("id",) if task is None else task.keys
    if set(keys) <= set(predictions.column_names):
        check_keys(path, predictions, keys)
    try:
        expected = measured(predictions, record)
    except NOT_OF_SUCH_A_RECORD as error:
        raise InputError(f"{path}: not the predictions of such a record: {shown(str(error))}") from None
    if difference := unexpected(record, expected):
        raise InputError(f"{folder / RESULTS}: metrics {', '.join(sorted(difference))} are missing or unknown")
    earlier = record["schema_version"] < 4  # whose intervals were made another way
    for name, metric in expected.items():
        for key, value in metric.items():
            if earlier and (key not in ("value", "n") or name in REMADE or name not in record["metrics"]):
                continue
            recorded = record["metrics"][name].get(key)
            if not same(recorded, value, P_VALUE_TOLERANCE if name.endswith("_p") else TOLERANCE):
                raise InputError(
                    f"{folder / RESULTS}: {name} {key} is {shown(recorded)}, but the predictions give {value}"
                )
    return record


def unexpected(record: Mapping[str, Any], expected: Mapping[str, Metric]) -> set[str]:
    """Names of metrics that a record lacks or should not have; versions below 4 may lack some, and had some more."""
    unknown = set(record["metrics"]) - set(expected)
    if record["schema_version"] >= 4:
        return unknown | (set(expected) - set(record["metrics"]))
    return {name for name in unknown if name not in REMADE and not name.endswith(DROPPED)}


def check_keys(path: Path, predictions: pa.Table, keys: tuple[str, ...]) -> None:
    """Raise InputError naming a row that occurs twice."""
    times = predictions.group_by(list(keys)).aggregate([([], "count_all")]).sort_by([("count_all", "descending")])
    if (most := times.slice(0, 1).to_pylist()) and most[0]["count_all"] > 1:
        row = ", ".join(f"{name} {shown(most[0][name])}" for name in keys)
        raise InputError(f"{path}: {row} occurs {most[0]['count_all']} times")


def row_names(table: pa.Table, keys: Sequence[str]) -> np.ndarray:
    """What names each row of a table, as text: the values of its keys."""
    columns = [table[name].to_pylist() for name in keys]
    return np.array(["\t".join(map(str, row)) for row in zip(*columns, strict=True)], dtype=str)


def same(recorded: Any, expected: Any, tolerance: float) -> bool:
    """Whether a recorded value is the expected one, numbers up to a relative tolerance."""
    if isinstance(expected, dict) and isinstance(recorded, dict):
        return expected.keys() == recorded.keys() and all(
            same(recorded[key], expected[key], tolerance) for key in expected
        )
    if isinstance(expected, float) and isinstance(recorded, int | float) and not isinstance(recorded, bool):
        return math.isclose(recorded, expected, rel_tol=tolerance)
    return bool(recorded == expected and type(recorded) is type(expected))


def validate_submission(folder: str | os.PathLike[str], root: str | os.PathLike[str]) -> dict[str, Any]:
    """The record of a folder that is at its place below `root`, holds nothing else, and follows from its predictions.

    Nothing in the folder is read before it is known to be a plain file of an allowed name and size.

    Raises:
        FileNotFoundError, InputError: naming the file and the reason why it is refused.
    """
    folder, root = Path(folder), Path(root)
    if not folder.is_dir():
        raise FileNotFoundError(f"{folder}: no such folder")
    if not folder.resolve().is_relative_to(root.resolve()):
        raise InputError(f"{folder}: is not in {root}")
    for step in [folder, *folder.parents]:
        if step == root:
            break
        if step.is_symlink():
            raise InputError(f"{step}: is a link")
    for path in sorted(folder.iterdir()):
        if "=" in path.name and path.is_dir() and not path.is_symlink():
            continue  # the same setting with other choices: a record of its own
        if path.name not in LIMITS:
            raise InputError(f"{path}: a submission holds only {' and '.join(LIMITS)}")
        if path.is_symlink() or not path.is_file():
            raise InputError(f"{path}: is not a plain file")
        if path.stat().st_size > LIMITS[path.name]:
            raise InputError(f"{path}: {path.stat().st_size:,} bytes, more than {LIMITS[path.name]:,}")
    record = read_record(folder)
    if record.get("kind", "task") != "task":
        raise InputError(f"{folder}: a record of kind {record['kind']!r} is on no board")
    place = record_folder(root, read_written(folder))
    if place.resolve() != folder.resolve():
        raise InputError(f"{folder}: a record of this model, task and setting belongs into {place}")
    return validate_record(folder)
