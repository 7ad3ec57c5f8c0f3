"""Records as rows of a table, and which of the folders below a place hold one."""

import json
import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa

from datasets_dart.errors import InputError
from datasets_dart.formats.text import one_line
from evaluation_dart.controls import board_of, control_kind, controls_of
from evaluation_dart.pretraining import in_words
from evaluation_dart.records import RESULTS, SCHEMA_VERSION, Record, load_record, remeasured, validate_record
from evaluation_dart.tasks import TASKS

SCHEMA = pa.schema(
    [
        ("model", pa.string()),
        ("model_revision", pa.string()),
        ("parameters", pa.int64()),
        ("task", pa.string()),
        ("setting", pa.string()),
        ("control", pa.string()),
        ("controls_beside", pa.string()),
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
        ("iid_low", pa.float64()),
        ("iid_high", pa.float64()),
        ("published_low", pa.float64()),
        ("published_high", pa.float64()),
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
        ("pretraining", pa.string()),
    ]
)
ENDS = ("low", "high", "method")
BY_BLOCK = "_by_block"


def record_folders(where: Iterable[str | os.PathLike[str]]) -> list[Path]:
    """The folders with a results.json in or below the given ones, sorted.

    Raises:
        FileNotFoundError: naming a folder that is missing, or has none.
    """
    folders = []
    for root in where:
        if not Path(root).exists():
            raise FileNotFoundError(f"{root}: no such folder")
        found = sorted(path.parent for path in Path(root).rglob(RESULTS))
        if not found:
            raise FileNotFoundError(f"{root}: no {RESULTS} in it")
        folders += found
    return folders


def records_below(where: Iterable[str | os.PathLike[str]]) -> tuple[list[Record], list[str]]:
    """The records in or below the given folders, and why each other results.json there is none."""
    records, skipped = [], []
    for folder in record_folders(where):
        try:
            records.append(load_record(folder))
        except (InputError, OSError) as error:
            skipped.append(f"skipped: {error}")
    return records, skipped


def valid_records_below(where: Iterable[str | os.PathLike[str]]) -> tuple[list[Record], list[str]]:
    """The records in or below the given folders that follow from their predictions, and why each other is none."""
    found, skipped = records_below(where)
    valid = []
    for record in found:
        try:
            validate_record(record.folder)
            valid.append(up_to_date(record))
        except (InputError, OSError) as error:
            skipped.append(f"skipped: {error}")
    if earlier := sum(own.schema_version < SCHEMA_VERSION for own in found):
        skipped.append(f"measured again from their predictions: {earlier} records of earlier versions")
    return valid, skipped


def up_to_date(record: Record) -> Record:
    """A record in the schema's present version, its metrics made again from its predictions if it is of an earlier."""
    if record.schema_version >= SCHEMA_VERSION:
        return record
    return Record(record.folder, remeasured(record.predictions(), record.content))


def results_table(records: Iterable[Mapping[str, Any]]) -> pa.Table:
    """One row for each metric of each record (columns: `SCHEMA`), with its interval and where it comes from.

    low and high allow for rows that are alike, iid_low and iid_high do not, published_low and published_high are the
    original's. control: which one the model is; empty for a model proper; controls_beside: those that records of the
    same task, setting, protocol and data are of.
    """
    records = list(records)
    beside, rows = controls_of(records), []
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
            "pretraining": in_words(record),
        }
        about["control"] = control_kind(record)
        about["controls_beside"] = ", ".join(beside[board_of(record)]) or "no control"
        for name, metric in sound_metrics(record).items():
            ends = {
                f"{kind}_{end}": metric[kind][end] for kind in ("iid", "published") if metric[kind] for end in ENDS[:2]
            }
            rows.append(about | {"metric": name} | metric | ends)
    return pa.Table.from_pylist(rows, schema=SCHEMA)


def naming_inputs() -> list[str]:
    """The inputs of tasks that say which data set it is, rather than the genome."""
    return list(dict.fromkeys(n for task in TASKS.values() for n, own in task.inputs.items() if own.names_data))


def data_name(record: Mapping[str, Any]) -> str:
    """What a record's data set is called: the file that makes it one, without its suffixes, and what was taken."""
    inputs = record["dataset"].get("inputs", {})
    described = next((str(inputs[name]) for name in naming_inputs() if name in inputs), "unnamed")
    files = [part.partition(" sha256:")[0].rpartition("=")[2] for part in described.split(", ")]
    stems = [file.removesuffix(".gz").rpartition(".")[0] or file for file in files]
    subset = record["dataset"].get("subset", "all")
    return ", ".join(stems) + ("" if subset == "all" else f" ({subset})")


def sound_metrics(record: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """Metrics by name, low, high and method being of the interval that allows for rows that are alike.

    `iid` is the interval that takes rows as independent and `published` that of the original, with low, high and
    method, or None. Old records have the first of a metric under another name, ending in _by_block.
    """
    found = {}
    for name, metric in record["metrics"].items():
        if name.endswith(BY_BLOCK):
            continue
        own = {"iid": None, "published": None} | {key: metric[key] for key in metric if key != "honest"}
        ends = {key: metric[key] for key in ENDS}
        by_block = record["metrics"].get(name + BY_BLOCK)
        if by_block is not None:
            own |= {key: by_block[key] for key in ENDS} | {
                "published" if record["protocol"] == "paper" else "iid": ends
            }
        elif metric.get("honest"):
            own |= {key: metric["honest"][key] for key in ENDS} | {"published": ends}
        found[name] = own
    return found


def headline(record: Mapping[str, Any]) -> str:
    """The name of a record's first metric to look at."""
    if record["task"] in TASKS and record["setting"] in TASKS[record["task"]].settings:
        return TASKS[record["task"]].headline_of(record["setting"], record["metrics"])
    return str(next(iter(record["metrics"])))


def shown_table(rows: Iterable[Mapping[str, Any]], columns: Sequence[str]) -> str:
    """Rows as aligned text, with the columns' names above."""
    texts = [list(columns), *([shown_value(row.get(name)) for name in columns] for row in rows)]
    widths = [max(map(len, column)) for column in zip(*texts, strict=True)]
    lines = ["  ".join(text.ljust(width) for text, width in zip(row, widths, strict=True)).rstrip() for row in texts]
    return "\n".join(lines)


def shown_value(value: Any) -> str:
    """A value in a table for people."""
    if value is None:
        return "-"
    if isinstance(value, float):
        return f"{value:.4g}"
    return f"{value:,}" if isinstance(value, int) else one_line(value)


def about(record: Record) -> dict[str, str]:
    """What the rows of a table that looks closer at a record have in common."""
    return {
        "model": record.model["id"],
        "task": record.task,
        "setting": record.setting,
        "record": record.fingerprint,
    }
