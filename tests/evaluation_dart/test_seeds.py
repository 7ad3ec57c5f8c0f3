"""Means over records that differ in their seed."""

import numpy as np
import pyarrow as pa
import pytest

from evaluation_dart.records import RESULTS, all_metrics, completed, load_record, write_record
from evaluation_dart.seeds import over_seeds


def record(folder, seed, rows=60, **changes):
    """Of a classifier that is right more often with a higher seed, on rows in an order of the seed's own."""
    rng = np.random.default_rng(seed)
    label = np.arange(rows) % 2
    called = np.where(rng.random(rows) < 0.6 + 0.1 * seed, label, 1 - label)
    order = rng.permutation(rows)
    table = pa.table(
        {
            "id": [f"r{row}" for row in range(rows)],
            "label": label,
            "output_0": (called == 0).astype(float),
            "output_1": (called == 1).astype(float),
        }
    ).take(order)
    what = {
        "kind": "finetune",
        "task": "islands",
        "split": "test",
        "setting": "finetuned",
        "protocol": "fixed",
        "recipe": {},
        "model": {"id": "local/m", "revision": "0"},
        "dataset": {"rows": rows, "fingerprint": "f"},
        "classes": ["no", "yes"],
        "rows": {"test": rows},
        "seed": seed,
        "budget": "full",
        "blocks": "1Mb",
    } | changes
    write_record(folder, completed(what, all_metrics(table, what), "cpu", 1, 1.0), table)
    return load_record(folder)


def test_rows_and_seeds_vary(tmp_path):
    runs = [record(tmp_path / str(seed), seed) for seed in (0, 1, 2)]
    found = over_seeds(runs)
    accuracy = found["accuracy"]
    values = [run.metrics["accuracy"].value for run in runs]
    assert accuracy.value == pytest.approx(np.mean(values))
    assert accuracy.method.startswith("jackknife of 60 single rows, with the spread over 3 seeds, t(")
    assert accuracy.low < accuracy.value < accuracy.high
    assert set(found) == {"accuracy", "mcc", "f1_macro", "f1", "brier", "calibration_error"}
    one = over_seeds(runs[:1])["accuracy"]
    assert one == runs[0].metrics["accuracy"]


def test_other_runs_have_no_mean(tmp_path):
    first = record(tmp_path / "a", 0)
    with pytest.raises(ValueError, match="are of different runs: their setting, finetuned and few_shot"):
        over_seeds([first, record(tmp_path / "b", 1, setting="few_shot")])
    with pytest.raises(ValueError, match="are not of the same rows"):
        over_seeds([first, record(tmp_path / "c", 1, rows=40)])
    (tmp_path / "a" / "predictions.parquet").unlink()
    with pytest.raises(FileNotFoundError, match=r"predictions\.parquet"):
        over_seeds([first])
    assert (tmp_path / "a" / RESULTS).exists()
