"""What is kept of a run on one of HyenaDNA's downstream tasks: its record, and its predictions."""

from collections.abc import Mapping
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from datasets_dart.files import replacing
from evaluation_dart.training.loop import Progress
from evaluation_dart.training.recipe import Training
from evaluation_dart.training.rows import LabelledRows

VERSIONS = ("hyenadna-dart", "torch", "transformers", "accelerate")


def finetune_record(
    *,
    task: str,
    protocol: str,
    budget: str,
    model: Mapping[str, Any],
    training: Training,
    rows: Mapping[str, int],
    progress: Progress | None,
    max_length: int,
    reading: Mapping[str, Any],
    chosen_by: str,
    metrics: Mapping[str, Any],
    published: Mapping[str, Any],
    fingerprint: str,
    device: str,
    processes: int,
    seconds: float,
) -> dict[str, Any]:
    """The record of a fine-tuned model or a baseline. progress: None where nothing was trained step by step."""
    return {
        "task": task,
        "protocol": protocol,
        "budget": budget,
        "model": dict(model),
        "seed": training.seed,
        "rows": dict(rows),
        "steps": None if progress is None else progress.step,
        "epoch": None if progress is None else progress.best_epoch,
        "recipe": {} if progress is None else asdict(training) | {"max_length": max_length},
        "reading": dict(reading),
        "chosen_by": chosen_by,
        "metrics": dict(metrics),
        "published": dict(published),
        "fingerprint": fingerprint,
        "versions": {name: version(name) for name in VERSIONS},
        "device": device,
        "processes": processes,
        "seconds": round(seconds, 1),
    }


def in_context_record(
    *,
    task: str,
    method: str,
    size: Mapping[str, int],
    protocol: str,
    budget: str,
    model: Mapping[str, Any],
    training: Training,
    rows: Mapping[str, int],
    steps: int,
    epoch: int | None,
    max_length: int,
    calls_of_no_class: int,
    metrics: Mapping[str, Any],
    fingerprint: str,
    seconds: float,
) -> dict[str, Any]:
    """The record of in-context learning. size: the numbers of virtual tokens, or of shots and tuning rows."""
    return {
        "task": task,
        "method": method,
        **size,
        "protocol": protocol,
        "budget": budget,
        "model": dict(model),
        "seed": training.seed,
        "rows": dict(rows),
        "steps": steps,
        "epoch": epoch,
        "recipe": asdict(training) | {"max_length": max_length},
        "calls_of_no_class": calls_of_no_class,
        "metrics": dict(metrics),
        "published": {},
        "fingerprint": fingerprint,
        "seconds": round(seconds, 1),
    }


def write_predictions(path: Path, outputs: np.ndarray, rows: LabelledRows) -> None:
    """Columns id, label(s) and output_0, ... of the test split, in its order."""
    label = "label" if rows.labels.ndim == 1 else "labels"
    columns: dict[str, Any] = {"id": rows.rows["id"][:], label: list(rows.labels)}
    columns |= {f"output_{number}": outputs[:, number] for number in range(outputs.shape[1])}
    with replacing(path) as temporary:
        pq.write_table(pa.table(columns), temporary)
