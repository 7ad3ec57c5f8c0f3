"""What is kept of a run on one of HyenaDNA's downstream tasks: its predictions, the metrics that follow, its record."""

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

import numpy as np
import pyarrow as pa

from evaluation_dart.records import all_metrics, completed
from evaluation_dart.scoring.finite import check_finite
from evaluation_dart.statistics.calibration import calibration_estimates, class_calls
from evaluation_dart.statistics.estimates import Estimate
from evaluation_dart.statistics.metrics import classification_estimates, label_estimates
from evaluation_dart.tasks.base import MEGABASES, blocks_of
from evaluation_dart.training.recipe import Training
from evaluation_dart.training.rows import LabelledRows

OUTPUT = "output_"  # what the columns of a model's outputs begin with


def predictions_table(outputs: np.ndarray, rows: LabelledRows, model: str = "the trained model") -> pa.Table:
    """Columns id, label(s), chrom and start where rows have them, and output_0, ... of the test split, in its order.

    Raises:
        NotFinite: naming the model and the row, for an output that is NaN or infinite.
    """
    check_finite(outputs, model, lambda row: f"row {row} of the test split")
    label = "label" if rows.labels.ndim == 1 else "labels"
    columns: dict[str, Any] = {"id": rows.rows["id"][:], label: list(rows.labels)}
    columns |= {name: rows.rows[name][:] for name in ("chrom", "start") if name in rows.rows.column_names}
    return with_outputs(pa.table(columns), outputs)


def with_outputs(rows: pa.Table, outputs: np.ndarray) -> pa.Table:
    """Rows with columns output_0, ... of a model's outputs, (n, k)."""
    columns = {name: rows[name] for name in rows.column_names}
    return pa.table(columns | {f"{OUTPUT}{number}": own for number, own in enumerate(outputs.T)})


def outputs_of(predictions: pa.Table) -> np.ndarray:
    """The columns output_0, ..., (n, k)."""
    names = [name for name in predictions.column_names if name.startswith(OUTPUT)]
    return np.stack([predictions[name].to_numpy() for name in names], axis=1)


def called_classes(outputs: np.ndarray, tokens: np.ndarray) -> np.ndarray:
    """The class whose token is the likeliest of the whole vocabulary, (n,); len(tokens) where no class has it."""
    places = np.full(outputs.shape[1], len(tokens))
    places[tokens] = np.arange(len(tokens))
    return np.asarray(places[outputs.argmax(axis=1)])


def estimates_of(predictions: pa.Table, record: Mapping[str, Any]) -> dict[str, Estimate]:
    """Estimates of the metrics of the test split, by blocks of the genome where rows have coordinates.

    Args:
        record: with `classes`; `groups`, where rows have many labels; `label_tokens`, where outputs are over a
            vocabulary, in which case there are no probabilities of the classes to be judged.
    """
    outputs, blocks = outputs_of(predictions), blocks_of(predictions, record.get("blocks", MEGABASES))
    if record.get("groups"):
        labels = np.stack(predictions["labels"].to_pylist())
        return label_estimates(outputs, labels, record["groups"], blocks)
    tokens = record.get("label_tokens")
    called = called_classes(outputs, np.array(tokens)) if tokens else outputs.argmax(axis=1)
    label = predictions["label"].to_numpy()
    found = classification_estimates(called, label, tuple(record["classes"]), blocks)
    return found if tokens else found | calibration_estimates(class_calls(outputs, label, blocks))


def downstream_record(
    predictions: pa.Table,
    *,
    task: str,
    setting: str,
    protocol: str,
    budget: str,
    model: Mapping[str, Any],
    training: Training | None,
    seed: int,
    rows: Mapping[str, int],
    duplicates: Mapping[str, Any],
    in_pretraining: Mapping[str, Any],
    fingerprint: str,
    classes: tuple[str, ...],
    device: str,
    processes: int,
    seconds: float,
    **more: Any,
) -> dict[str, Any]:
    """The record of a run.

    Args:
        setting: "finetuned", "soft_prompt" or "few_shot". training: None where nothing was trained step by step.
        rows: of each split. duplicates: of the test rows, counts of those that repeat others. in_pretraining: how many
            of them the model has read (`evaluation_dart.pretraining`). fingerprint: of the rows.
        more: what else the record says: steps, epoch, reading, groups, label_tokens, published, ...
    """
    what = {
        "kind": "finetune",
        "task": task,
        "split": "test",
        "setting": setting,
        "protocol": protocol,
        "recipe": {} if training is None else {"name": setting, **asdict(training)},
        "model": dict(model),
        "dataset": {
            "rows": rows["test"],
            "fingerprint": fingerprint,
            "rows_by_split": dict(rows),
            "duplicates": dict(duplicates),
            "in_pretraining": dict(in_pretraining),
        },
        "budget": budget,
        "seed": seed,
        "rows": dict(rows),
        "classes": list(classes),
        "blocks": MEGABASES,
        **more,
    }
    return completed(what, all_metrics(predictions, what), device, processes, seconds)
