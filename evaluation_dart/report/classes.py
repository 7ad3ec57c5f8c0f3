"""Classifiers looked at closer: are their probabilities what they say, and which labels or classes do they know?"""

import numpy as np
import pyarrow as pa

from datasets_dart.errors import InputError
from evaluation_dart.records import Record, blocks_named
from evaluation_dart.report.tables import about
from evaluation_dart.statistics import estimates, scores, significance
from evaluation_dart.statistics.blocks import Blocks
from evaluation_dart.statistics.calibration import Calls, brier, calibration_curve, calibration_error, class_calls
from evaluation_dart.tasks import TASKS
from evaluation_dart.tasks.base import blocks_of
from evaluation_dart.tasks.cell_type_elements import logits_of

ABOUT = [("model", pa.string()), ("task", pa.string()), ("setting", pa.string())]
CURVE = pa.schema(
    [
        *ABOUT,
        ("event", pa.string()),
        ("brier", pa.float64()),
        ("brier_low", pa.float64()),
        ("brier_high", pa.float64()),
        ("calibration_error", pa.float64()),
        ("bin", pa.int64()),
        ("from", pa.float64()),
        ("to", pa.float64()),
        ("predicted", pa.float64()),
        ("observed", pa.float64()),
        ("low", pa.float64()),
        ("high", pa.float64()),
        ("n", pa.int64()),
        ("method", pa.string()),
        ("record", pa.string()),
    ]
)
LABELS = pa.schema(
    [
        *ABOUT,
        ("label", pa.string()),
        ("positives", pa.int64()),
        ("n", pa.int64()),
        ("auroc", pa.float64()),
        ("low", pa.float64()),
        ("high", pa.float64()),
        ("p", pa.float64()),
        ("p_bh_over_labels", pa.float64()),
        ("method", pa.string()),
        ("record", pa.string()),
    ]
)


def calibration_table(record: Record) -> pa.Table:
    """One row for each bin of predicted probability (columns: `CURVE`), with the record's Brier score on each.

    Raises:
        InputError: for a record whose model gives no probabilities of classes.
    """
    calls = calls_of(record)
    score, error = brier(calls), calibration_error(calls)
    low, high, _ = estimates.interval(score)
    shared = about(record) | {"event": calls.event, "brier": score.value, "brier_low": low, "brier_high": high}
    shared |= {"calibration_error": error.value}
    rows = [shared | {"bin": number} | row for number, row in enumerate(calibration_curve(calls), start=1)]
    return pa.Table.from_pylist(rows, schema=CURVE)


def label_table(record: Record) -> pa.Table:
    """One row for each label or class (columns: `LABELS`): the area under its ROC curve against all other rows.

    p is of an area of 1/2, one-sided, by DeLong's error of blocks of rows that are alike; `p_bh_over_labels` is
    corrected for all labels by Benjamini and Hochberg's method. Labels without an interval have no p.

    Raises:
        InputError: for a record without labels or classes.
    """
    names, score, positive, blocks = labels_of(record)
    found = [estimates.auroc(score[:, own], positive[:, own], blocks) for own in range(len(names))]
    p = np.array([estimates.p_value(own, null=0.5, two_sided=False) for own in found])
    corrected = np.full(len(p), np.nan)
    if (tested := np.isfinite(p)).any():
        corrected[tested] = significance.benjamini_hochberg(p[tested])
    rows = []
    for number, own in enumerate(found):
        low, high, method = estimates.interval(own)
        values = {"auroc": own.value, "p": p[number], "p_bh_over_labels": corrected[number]}
        known = {name: float(value) if np.isfinite(value) else None for name, value in values.items()}
        counts = {"positives": int(positive[:, number].sum()), "n": own.n}
        ends = {"low": low, "high": high, "method": method}
        rows.append(about(record) | {"label": names[number]} | counts | known | ends)
    return pa.Table.from_pylist(rows, schema=LABELS)


def calls_of(record: Record) -> Calls:
    """The probabilities of a record, and what came true.

    Raises:
        InputError: where there are none.
    """
    predictions = record.predictions()
    blocks = blocks_of(predictions, blocks_named(record.content))
    calls = TASKS.named(record.task).settings[record.setting].calls if record.kind == "task" else None
    if calls is not None:
        return calls(predictions, blocks)
    if not gives_probabilities(record):
        raise InputError(f"{record.folder}: {record.setting} of {record.task} gives no probabilities of classes")
    from evaluation_dart.training.downstream import outputs_of

    return class_calls(outputs_of(predictions), predictions["label"].to_numpy(), blocks)


def gives_probabilities(record: Record) -> bool:
    """Whether a record's model gives probabilities, which can be compared with what came true."""
    if record.kind == "task":
        return TASKS.named(record.task).settings[record.setting].calls is not None
    return not record.content.get("label_tokens") and not record.content.get("groups") and has_classes(record)


def has_classes(record: Record) -> bool:
    """Whether a record of no task of the benchmark is of a classifier."""
    classes = record.data["classes"] if record.kind == "own model" else record.content.get("classes")
    return bool(classes)


def labels_of(record: Record) -> tuple[list[str], np.ndarray, np.ndarray, Blocks]:
    """Names of k labels or classes, (n, k) scores and whether rows have the label, and blocks of the rows.

    Raises:
        InputError: for a record without them.
    """
    predictions = record.predictions()
    blocks = blocks_of(predictions, blocks_named(record.content))
    if record.kind == "task" and any(name.startswith("logit_") for name in predictions.column_names):
        logits, label, own = logits_of(predictions)
        return list(own), scores.log_odds(logits), label[:, None] == np.arange(len(own)), blocks
    if record.kind == "task" or record.content.get("label_tokens") or not has_classes(record):
        raise InputError(f"{record.folder}: {record.setting} of {record.task} has no labels or classes to score")
    from evaluation_dart.training.downstream import outputs_of

    outputs = outputs_of(predictions)
    if groups := record.content.get("groups"):
        of_label = {number: f"{group} {number}" for group, members in groups.items() for number in members}
        names = [of_label.get(number, str(number)) for number in range(outputs.shape[1])]
        return names, outputs, np.stack(predictions["labels"].to_pylist()).astype(bool), blocks
    names = [str(name) for name in (record.data["classes"] if record.kind == "own model" else record.classes)]
    if len(names) != outputs.shape[1]:
        raise InputError(f"{record.folder}: {outputs.shape[1]} outputs, but {len(names)} names of classes")
    label = predictions["label"].to_numpy()
    return names, scores.log_odds(outputs), label[:, None] == np.arange(len(names)), blocks
