"""Task 1 with several shuffles of each element: scores, metrics and chance, against the scorer called by hand."""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from datasets_dart import load_dart
from evaluation_dart import compare, evaluate, load_scorer
from evaluation_dart.controls import chance
from evaluation_dart.tasks.regulatory_elements import TASK, members_swapped

ROOT = Path(__file__).parents[3]
MARKOV = f"markov:{ROOT / 'model_cards' / 'markov-chrX' / 'markov.safetensors'}"
FIXTURES = ROOT / "tests" / "fixtures"
INPUTS = {"genome": FIXTURES / "genome" / "genome.fa", "elements": FIXTURES / "task1" / "ccre.bed"}


def test_scores_and_metrics_of_three_shuffles(tmp_path):
    inputs = INPUTS | {"cache_dir": tmp_path / "cache"}
    record = evaluate(MARKOV, shuffles=3, output=tmp_path / "three", **inputs)
    rows = load_dart("regulatory_elements", split="test", shuffles=3, **inputs)
    scorer = load_scorer(MARKOV)
    names = ("sequence", "control", "control_2", "control_3")
    score, *controls = (scorer.log_likelihood(rows[name][:]) for name in names)
    predictions = record.predictions()
    for name, expected in zip(
        ("score", "control_score", "control_2_score", "control_3_score"), [score, *controls], strict=True
    ):
        assert predictions[name].to_numpy() == pytest.approx(expected)
    difference = score[:, None] - np.stack(controls, axis=1)
    found = record.metrics
    assert found["accuracy"].value == pytest.approx((difference > 0).mean())
    assert found["mean_diff"].value == pytest.approx(difference.mean())
    within = difference.var(axis=1, ddof=1).mean()
    assert found["mean_diff_shuffle_error"].value == pytest.approx(np.sqrt(within / 3 / len(rows)))
    assert "of its standard error is the draw of 3 shuffles" in found["mean_diff"].method
    assert record.spec["shuffles"] == "3"
    assert 0.2 < chance(record, permutations=5)["accuracy"].value < 0.8
    one = evaluate(MARKOV, output=tmp_path / "one", **inputs)
    assert "accuracy_shuffle_error" not in one.metrics
    assert one.metrics["accuracy"].value == pytest.approx((difference[:, 0] > 0).mean())
    assert compare(record, one).metrics["accuracy"].difference == pytest.approx(
        found["accuracy"].value - one.metrics["accuracy"].value
    )


def test_chance_takes_each_member_of_a_group_as_often():
    n = 4000
    scores = {"score": 3.0, "control_score": 0.0, "control_2_score": 1.0, "control_3_score": 2.0}
    table = pa.table({name: np.full(n, value) for name, value in scores.items()})
    swapped = members_swapped(table, np.random.default_rng(0))
    shares = np.bincount(swapped["score"].to_numpy().astype(int)) / n
    assert shares == pytest.approx([0.25] * 4, abs=0.03)
    rows = np.stack([swapped[name].to_numpy() for name in scores], axis=1)
    assert (np.sort(rows, axis=1) == [0, 1, 2, 3]).all()
    assert TASK.settings["zero_shot_likelihood"].permute is members_swapped
